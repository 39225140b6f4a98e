package tree

import (
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/jose"
)

// wrapLabel, with the child's id behind it, derives the key that wraps a child's write key from its page's write key.
const wrapLabel = "coffer tree write 1\x00"

// A wrapped is the write key of what stands in a page, readable only with the page's write key. The wrapping has no
// nonce, so that the same key may wrap again after a change; the key that wraps follows from the child's id, so that
// one child's write key cannot be passed off as another's.
type wrapped [40]byte

// wrap wraps a child's write key under its page's (RFC 3394, section 2.2.1).
func wrap(page seal.WriteKey, id coffer.ObjectID, child seal.WriteKey) wrapped {
	return wrapped(jose.WrapKey(wrapping(page, id), child[:]))
}

// unwrap undoes wrap (RFC 3394, section 2.2.2). Without the page's write key the child's is zero, too. Corrupt when
// the page's key did not wrap it for this child.
func unwrap(page seal.WriteKey, id coffer.ObjectID, in wrapped) (child seal.WriteKey, err error) {
	if page == (seal.WriteKey{}) {
		return child, nil
	}
	b, ok := jose.UnwrapKey(wrapping(page, id), in[:])
	if !ok {
		return child, corrupt("a write key is not wrapped under its page's")
	}
	return seal.WriteKey(b), nil
}

// rewrap wraps under another page's write key.
func rewrap(from, to seal.WriteKey, id coffer.ObjectID, in wrapped) (wrapped, error) {
	child, err := unwrap(from, id, in)
	if err != nil {
		return wrapped{}, err
	}
	return wrap(to, id, child), nil
}

// wrapping returns the key that wraps a child's write key.
func wrapping(page seal.WriteKey, id coffer.ObjectID) []byte {
	kek, err := hkdf.Key(sha256.New, page[:], nil, wrapLabel+string(id[:]), 32)
	if err != nil {
		panic("tree: HKDF refuses a fixed length")
	}
	return kek
}
