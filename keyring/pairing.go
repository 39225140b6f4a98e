package keyring

import (
	"crypto/rand"
	"strings"

	"github.com/cofferhq/coffer"
)

// A Pairing is what follows from a pairing code: where and under what one device leaves an identity's bundle for
// another one, to which its owner carries the code. It is a secret; it prints as nothing.
type Pairing struct {
	mute
	code func() [codeData]byte // a function, so that no verb of fmt reaches it through a copy
}

// A code is 20 random characters of Crockford's base32 and 4 to check them, in groups of four. With 100 bits nobody can
// try all codes, so what follows from one needs no costly derivation like Argon2id, which is there for secrets that
// people choose; HKDF keeps apart what is used for different things.
const (
	codeDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeData   = 20
	codeSize   = codeData + 4
	codeGroup  = 4
	maxCode    = 128 // of the text, with all that people put between
)

// NewPairing returns a random code and what follows from it. The code looks like ABCD-EFGH-JKMN-PQRS-TVWX-YZ01. It is
// as secret as the identity for as long as there is a bundle under it.
func NewPairing() (code string, p Pairing) {
	var data [codeData]byte
	rand.Read(data[:])
	for i := range data {
		data[i] &= 31
	}
	return formatCode(data), newPairing(data)
}

func newPairing(data [codeData]byte) Pairing {
	return Pairing{code: func() [codeData]byte { return data }}
}

func formatCode(data [codeData]byte) string {
	var b strings.Builder
	for i, d := range append(data[:], codeCheck(data)...) {
		if i > 0 && i%codeGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(codeDigits[d])
	}
	return b.String()
}

// ParsePairing reads a code as people type it: in capitals or not, with any spaces and hyphens, O for 0, I and L for 1.
// It is Invalid if characters are missing or too many, and if up to four are wrong or two are swapped; of other
// mistakes it takes one in a million for a code.
func ParsePairing(code string) (Pairing, error) {
	const op = "pairing code"
	if len(code) > maxCode {
		return Pairing{}, coffer.Errorf(op, coffer.Invalid, "too long")
	}
	var digits []byte
	for _, c := range strings.ToUpper(code) {
		switch c {
		case ' ', '-', '\t', '\r', '\n', '\u2010', '\u2011', '\u2012', '\u2013', '\u00a0':
			continue
		case 'O':
			c = '0'
		case 'I', 'L':
			c = '1'
		}
		i := strings.IndexRune(codeDigits, c)
		if i < 0 {
			return Pairing{}, coffer.Errorf(op, coffer.Invalid, "there is a character that no code has")
		}
		digits = append(digits, byte(i))
	}
	if len(digits) != codeSize {
		return Pairing{}, coffer.Errorf(op, coffer.Invalid, "a code has 24 letters and digits")
	}
	data := [codeData]byte(digits)
	if string(codeCheck(data)) != string(digits[codeData:]) { // no secret: it follows from what was typed
		return Pairing{}, coffer.Errorf(op, coffer.Invalid, "mistyped: a character is wrong, or two are swapped")
	}
	return newPairing(data), nil
}

// codeCheck returns the check characters: the remainder of a Reed-Solomon code over GF(32) of distance 5, which finds
// any four wrong characters. The field is that of x^5+x^2+1, the generator polynomial has the roots 2, 4, 8 and 16.
func codeCheck(data [codeData]byte) []byte {
	generator := [...]byte{1, 30, 6, 9, 17} // (x+2)(x+4)(x+8)(x+16), greatest power first
	var rest [codeSize]byte
	copy(rest[:], data[:])
	for i := range codeData {
		for j, g := range generator {
			if j > 0 {
				rest[i+j] ^= times(rest[i], g)
			}
		}
	}
	return rest[codeData:]
}

// times multiplies in GF(32).
func times(a, b byte) (p byte) {
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			p ^= a
		}
		if a <<= 1; a > 31 {
			a ^= 0b100101
		}
	}
	return p
}

// derive returns n bytes that follow from the code's data, as characters, and what they are for.
func (p Pairing) derive(label string, n int) []byte {
	text := make([]byte, codeData)
	for i, d := range p.code() {
		text[i] = codeDigits[d]
	}
	defer clear(text)
	return derive(text, "coffer-pairing/1 "+label, n)
}

// ID returns the id of the object that the bundle is in.
func (p Pairing) ID() coffer.ObjectID { return coffer.ObjectID(p.derive("object", 16)) }

// Secret returns the secret that admits to reading that object, an open one, without any capability.
func (p Pairing) Secret() coffer.Secret { return coffer.Secret(p.derive("open", 32)) }

// Key returns the secret to seal the bundle under: that of [Ring.SealBundleUnder] and [OpenBundleUnder].
func (p Pairing) Key() [32]byte { return [32]byte(p.derive("bundle", 32)) }

// Bearer returns the identity by which the new device may answer before it has the bundle's.
func (p Pairing) Bearer() *Ring { return Bearer([32]byte(p.derive("bearer", 32))) }
