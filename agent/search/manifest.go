package search

import (
	"math"

	"github.com/cofferhq/coffer"
)

const (
	manifestVersion = 1
	maxSegments     = 32 // each is eight times the next, so that there are never so many
)

// encodeManifest writes what there is: less than 3 KiB.
func encodeManifest(segments []*segment) []byte {
	b := appendUvarint([]byte{manifestVersion}, uint64(len(segments)))
	for _, s := range segments {
		b = appendUvarint(b, uint64(s.entries))
		b = appendUvarint(b, s.weight)
		b = appendRef(b, s.root)
	}
	return b
}

// decodeManifest reads what encodeManifest writes, and nil. Corrupt for anything else, Invalid for another version.
func decodeManifest(b []byte) (segments []*segment, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != manifestVersion {
		return nil, coffer.Errorf("search", coffer.Invalid, "a manifest of another version")
	}
	r := reader{b: b[1:]}
	for n := r.count(maxSegments); n > 0 && !r.bad; n-- {
		s := &segment{entries: uint32(r.count(math.MaxInt32)), weight: r.uvarint(), root: r.ref()}
		if s.weight > 1<<50 {
			r.fail()
		}
		segments = append(segments, s)
	}
	if r.bad || len(r.b) > 0 {
		return nil, errCorrupt("a manifest is malformed")
	}
	return segments, nil
}
