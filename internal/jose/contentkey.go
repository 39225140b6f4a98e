package jose

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// An Encryption names how content is encrypted: a JWE's "enc".
type Encryption string

// The encryptions. All of them take a key of 32 bytes and give a tag of 16.
const (
	XC20P   Encryption = "XC20P"   // XChaCha20-Poly1305, iv of 24 bytes (draft-amringer-jose-chacha)
	A256GCM Encryption = "A256GCM" // AES-256-GCM, iv of 12 bytes (RFC 7518, section 5.3)
	C20P    Encryption = "C20P"    // ChaCha20-Poly1305, iv of 12 bytes: read, never written
)

// KeySize is the length of every content key, TagSize that of every authentication tag.
const (
	KeySize = 32
	TagSize = 16
)

// A ContentKey encrypts content. It may be used by several goroutines at once.
//
// Each encryption draws a random iv. With the 12 bytes of A256GCM that is safe for 2^32 messages under one key
// (NIST SP 800-38D, section 8.3); whoever encrypts many pieces under one key must stop there.
type ContentKey struct {
	enc  Encryption
	raw  [KeySize]byte
	aead cipher.AEAD
}

// NewContentKey returns a new random key. It fails for encryptions that are not written.
func NewContentKey(enc Encryption) (*ContentKey, error) {
	if enc == C20P {
		return nil, errors.New("this content encryption is only read")
	}
	var raw [KeySize]byte
	rand.Read(raw[:])
	return ContentKeyOf(enc, raw[:])
}

// ContentKeyOf returns the key made of these 32 bytes. It fails for other lengths and unknown encryptions.
func ContentKeyOf(enc Encryption, raw []byte) (*ContentKey, error) {
	if len(raw) != KeySize {
		return nil, errors.New("content key has a wrong length")
	}
	k := &ContentKey{enc: enc, raw: [KeySize]byte(raw)}
	var err error
	switch enc {
	case XC20P:
		k.aead, err = chacha20poly1305.NewX(raw)
	case C20P:
		k.aead, err = chacha20poly1305.New(raw)
	case A256GCM:
		var block cipher.Block
		if block, err = aes.NewCipher(raw); err == nil {
			k.aead, err = cipher.NewGCM(block)
		}
	default:
		err = errors.New("unknown content encryption")
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Enc returns the encryption that the key is for.
func (k *ContentKey) Enc() Encryption { return k.enc }

// String returns a text without the key, so that one can be printed by accident.
func (k ContentKey) String() string { return "jose.ContentKey" }

// GoString is String.
func (k ContentKey) GoString() string { return k.String() }

// Bytes returns the key itself, to be sealed inside something else.
func (k *ContentKey) Bytes() []byte { return append([]byte(nil), k.raw[:]...) }

// ivSize returns the length of an encryption's iv, 0 for an unknown one.
func (e Encryption) ivSize() int {
	switch e {
	case XC20P:
		return chacha20poly1305.NonceSizeX
	case A256GCM, C20P:
		return chacha20poly1305.NonceSize
	}
	return 0
}
