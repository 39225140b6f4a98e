package seal

import (
	"bytes"
	"math"
	"math/bits"

	"github.com/cofferhq/coffer"
)

// Padme returns the length that something of n bytes is padded to, so that its length says little of n: Padmé
// (Nikitin, Barman, Lueks, Underwood, Hubaux, Ford: Reducing Metadata Leakage from Encrypted Files and Communication
// with PURBs, PoPETs 2019, section 4). With E = ⌊log₂ n⌋ and S = ⌊log₂ E⌋ + 1 it is n rounded up to a
// multiple of 2^(E-S). All lengths up to M fall into O(log² M) classes, and at most 12 % are added, less the longer n
// is. Lengths of less than 2 stay as they are; one whose class has no int64 becomes the greatest.
func Padme(n int64) int64 {
	if n < 2 {
		return n
	}
	e := bits.Len64(uint64(n)) - 1
	s := bits.Len(uint(e))
	mask := uint64(1)<<(e-s) - 1
	return int64(min((uint64(n)+mask)&^mask, math.MaxInt64))
}

// maxPadded is the most bytes of plaintext that an object may have: its envelope then has less than [MaxBody].
const maxPadded = MaxBody/4*3 - 1<<20

// padMember are the bytes of an empty member "pad", the comma before it and the brace behind it.
const padMember = len(`,"pad":""}`)

// padded returns the length that plaintext of n bytes, all told, is brought to; the errors are those of [SealObject].
func padded(n, size int, fixed bool) (int, error) {
	const op = "seal"
	switch {
	case size < 0 || fixed && size == 0:
		return 0, coffer.Errorf(op, coffer.Invalid, "no size to pad to")
	case n <= size:
		n = size
	case fixed:
		return 0, coffer.Errorf(op, coffer.Exhausted, "does not fit")
	default:
		n = int(Padme(int64(n)))
	}
	if n > maxPadded {
		return 0, coffer.Errorf(op, coffer.Exhausted, "object is too large")
	}
	return n, nil
}

// appendPad closes the JSON object in b, which lacks only its closing brace, with a pad that makes it n bytes long.
func appendPad(b []byte, n int) []byte {
	fill := n - len(b) - padMember
	b = append(b, `,"pad":"`...)
	b = append(b, bytes.Repeat([]byte{'A'}, fill)...)
	return append(b, `"}`...)
}

// isPad reports whether the JSON value is one that [appendPad] wrote.
func isPad(v []byte) bool {
	n := len(v)
	return n >= 2 && v[0] == '"' && v[n-1] == '"' && len(bytes.Trim(v[1:n-1], "A")) == 0
}

// Classes of attributes that an object's index entry is padded to.
const (
	leastAttributes = 4
	mostAttributes  = 2048
	dummyNames      = 8
)
