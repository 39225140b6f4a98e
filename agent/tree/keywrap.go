package tree

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// wrapLabel, with the child's id behind it, derives the key that wraps a child's write key from its page's write key.
const wrapLabel = "coffer tree write 1\x00"

// wrapIV is the initial value of RFC 3394, section 2.2.3.1: finding it again is the integrity check.
const wrapIV = 0xa6a6a6a6a6a6a6a6

// steps is how often the cipher is used for a key of 32 bytes.
const steps = 6 * 32 / 8

// A wrapped is the write key of what stands in a page, readable only with the page's write key. The wrapping has no
// nonce, so that the same key may wrap again after a change; the key that wraps follows from the child's id, so that
// one child's write key cannot be passed off as another's.
type wrapped [40]byte

// wrap wraps a child's write key under its page's (RFC 3394, section 2.2.1).
func wrap(page seal.WriteKey, id coffer.ObjectID, child seal.WriteKey) (out wrapped) {
	block := wrapping(page, id)
	copy(out[8:], child[:])
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[:], wrapIV)
	for t := range uint64(steps) {
		r := out[8*(1+t%4):][:8]
		copy(b[8:], r)
		block.Encrypt(b[:], b[:])
		copy(r, b[8:])
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^(t+1))
	}
	copy(out[:8], b[:8])
	return out
}

// unwrap undoes wrap (RFC 3394, section 2.2.2). Without the page's write key the child's is zero, too. Corrupt when
// the page's key did not wrap it for this child.
func unwrap(page seal.WriteKey, id coffer.ObjectID, in wrapped) (child seal.WriteKey, err error) {
	if page == (seal.WriteKey{}) {
		return child, nil
	}
	block := wrapping(page, id)
	copy(child[:], in[8:])
	var b [aes.BlockSize]byte
	copy(b[:8], in[:])
	for t := uint64(steps); t > 0; t-- {
		r := child[8*((t-1)%4):][:8]
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
		copy(b[8:], r)
		block.Decrypt(b[:], b[:])
		copy(r, b[8:])
	}
	var iv [8]byte
	binary.BigEndian.PutUint64(iv[:], wrapIV)
	if subtle.ConstantTimeCompare(b[:8], iv[:]) != 1 {
		return seal.WriteKey{}, corrupt("a write key is not wrapped under its page's")
	}
	return child, nil
}

// rewrap wraps under another page's write key.
func rewrap(from, to seal.WriteKey, id coffer.ObjectID, in wrapped) (wrapped, error) {
	child, err := unwrap(from, id, in)
	if err != nil {
		return wrapped{}, err
	}
	return wrap(to, id, child), nil
}

// wrapping returns the cipher that wraps a child's write key.
func wrapping(page seal.WriteKey, id coffer.ObjectID) cipher.Block {
	kek, err := hkdf.Key(sha256.New, page[:], nil, wrapLabel+string(id[:]), 32)
	if err != nil {
		panic("tree: HKDF refuses a fixed length")
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		panic("tree: AES refuses a key of 32 bytes")
	}
	return block
}
