package seal

import (
	"encoding/base64"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer/internal/jose"
)

// ObjectKeyID is the key id of the one recipient that every native object has: whoever holds its [ObjectKey]. It is the
// same in all of them, so it says nothing.
const ObjectKeyID = "urn:coffer:object"

// The constant recipient, around the wrapped content key (RFC 7518, section 4.4). doc/sealing.md fixes the bytes.
const (
	objectAlg       = "A256KW"
	recipientBefore = `{"header":{"kid":"` + ObjectKeyID + `","alg":"` + objectAlg + `"},"encrypted_key":"`
	recipientAfter  = `"}`
	wrapLabel       = "coffer wrap 1"
)

// wrapped is a content key of 32 bytes, wrapped.
type wrapped [jose.KeySize + 8]byte

// recipient returns the constant recipient for a content key.
func (k ObjectKey) recipient(content []byte) jsontext.Value {
	w := k.wrap([jose.KeySize]byte(content))
	b := append(make([]byte, 0, 160), recipientBefore...)
	return append(base64.RawURLEncoding.AppendEncode(b, w[:]), recipientAfter...)
}

// wrap wraps a content key (RFC 3394, section 2.2.1).
func (k ObjectKey) wrap(content [jose.KeySize]byte) wrapped {
	kek := derive(k[:], wrapLabel)
	return wrapped(jose.WrapKey(kek[:], content[:]))
}

// unwrap undoes wrap (RFC 3394, section 2.2.2). It reports false when this key did not wrap it.
func (k ObjectKey) unwrap(in wrapped) (content [jose.KeySize]byte, ok bool) {
	kek := derive(k[:], wrapLabel)
	b, ok := jose.UnwrapKey(kek[:], in[:])
	copy(content[:], b)
	return content, ok
}

// objectRecipient returns the wrapped content key of the constant recipient, and false for a JWE without one.
func objectRecipient(j *jose.JWE) (string, bool) {
	var list []struct {
		Header struct {
			KeyID string `json:"kid"`
			Alg   string `json:"alg"`
		} `json:"header"`
		EncryptedKey string `json:"encrypted_key"`
	}
	if jose.DecodeOpen(j.Recipients, &list) != nil {
		return "", false
	}
	for _, r := range list {
		if r.Header.KeyID == ObjectKeyID && r.Header.Alg == objectAlg {
			return r.EncryptedKey, true
		}
	}
	return "", false
}
