package jose

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
)

// wrapIV is the initial value of RFC 3394, section 2.2.3.1: finding it again is the integrity check.
var wrapIV = [8]byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6}

// WrapKey wraps key, a multiple of 8 and at least 16 bytes long, under a key-encryption key of 16, 24 or 32 bytes (RFC
// 3394, section 2.2.1). The result is 8 bytes longer than key. Other lengths are a defect of the caller: it panics.
func WrapKey(kek, key []byte) []byte {
	block, err := aes.NewCipher(kek)
	if err != nil || len(key) < 16 || len(key)%8 != 0 {
		panic("jose: key wrap of impossible length")
	}
	out := make([]byte, 8+len(key))
	copy(out[8:], key)
	b, n := [16]byte(append(wrapIV[:], make([]byte, 8)...)), len(key)/8
	for t := uint64(1); t <= uint64(6*n); t++ {
		r := out[8*(1+(int(t)-1)%n):][:8]
		copy(b[8:], r)
		block.Encrypt(b[:], b[:])
		copy(r, b[8:])
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
	}
	copy(out, b[:8])
	return out
}

// UnwrapKey undoes [WrapKey] (RFC 3394, section 2.2.2). It reports false when wrapped is not what kek wrapped.
func UnwrapKey(kek, wrapped []byte) ([]byte, bool) {
	block, err := aes.NewCipher(kek)
	if err != nil || len(wrapped) < 24 || len(wrapped)%8 != 0 {
		return nil, false
	}
	n := len(wrapped)/8 - 1
	key := make([]byte, 8*n)
	copy(key, wrapped[8:])
	var b [16]byte
	copy(b[:8], wrapped)
	for t := uint64(6 * n); t >= 1; t-- {
		r := key[8*((int(t)-1)%n):][:8]
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
		copy(b[8:], r)
		block.Decrypt(b[:], b[:])
		copy(r, b[8:])
	}
	return key, subtle.ConstantTimeCompare(b[:8], wrapIV[:]) == 1
}
