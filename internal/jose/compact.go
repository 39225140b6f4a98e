package jose

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// The algorithms of a compact JWE, and how its content may be encrypted.
const (
	RSAOAEP = "RSA-OAEP" // RFC 7518, section 4.3: with SHA-1, as the published hub client has it under any name
	ECDHES  = "ECDH-ES"  // RFC 7518, section 4.6, with direct agreement; X25519 (RFC 8037) and P-256

	A128GCM = "A128GCM"
	A192GCM = "A192GCM"
)

// A CompactRecipient is whom a compact JWE is for.
type CompactRecipient struct {
	KeyID string // goes into the JWE in the clear; at most 2 KiB
	Key   *JWK   // RSA, X25519 or P-256
}

// A CompactReader is a private key as a compact JWE needs it. Agree or Decrypt is nil if the key cannot do that.
type CompactReader struct {
	KeyID string
	Curve Curve // of Agree
	// Agree returns the secret shared with the holder of an ephemeral public key: 32 bytes for X25519, the uncompressed
	// point for P-256. It must refuse points that are not on the curve, and shared secrets of zeros.
	Agree func(ephemeral []byte) ([]byte, error)
	// Decrypt undoes RSA-OAEP with SHA-1.
	Decrypt func(ciphertext []byte) ([]byte, error)
}

// A CompactJWE is a JSON Web Encryption in the compact serialization (RFC 7516, section 7.1), taken apart and not yet
// opened. What it says of itself can be believed only when [CompactJWE.Open] succeeded.
type CompactJWE struct {
	header         compactHeader
	protected      string
	encryptedKey   []byte
	iv, ciphertext []byte // the ciphertext with its tag
}

type compactHeader struct {
	KeyID string         `json:"kid"`
	Alg   string         `json:"alg"`
	Enc   string         `json:"enc"`
	EPK   *publicJWK     `json:"epk"`
	APU   jsontext.Value `json:"apu"`
	APV   jsontext.Value `json:"apv"`
	Zip   jsontext.Value `json:"zip"`
	B64   jsontext.Value `json:"b64"`
}

// maxCompactKeyID bounds the key id of a compact JWE: a did:jwk with an RSA key is long.
const maxCompactKeyID = 2 << 10

// compactIV is the length of an iv: all encryptions of a compact JWE are AES-GCM.
const compactIV = 12

// SealCompact returns a compact JWE of the plaintext. For enc == "" it is [A128GCM] for RSA keys, which the published
// hub client expects, and [A256GCM] for others. It fails for other encryptions, for keys that cannot be encrypted to,
// and for key ids that are empty, too long or not UTF-8.
func SealCompact(plaintext []byte, to CompactRecipient, enc string) (string, error) {
	if to.Key == nil || to.Key.Use == "sig" || to.KeyID == "" || len(to.KeyID) > maxCompactKeyID {
		return "", errors.New("a recipient needs a key for encryption, and an id of at most 2 KiB")
	}
	if enc == "" {
		enc = string(A256GCM)
		if to.Key.Kty == "RSA" {
			enc = A128GCM
		}
	}
	size := compactKeySize(enc)
	if size == 0 {
		return "", errors.New("unknown content encryption")
	}
	header, err := jsontext.AppendQuote([]byte(`{"kid":`), to.KeyID)
	if err != nil {
		return "", errors.New("a key id is not UTF-8")
	}
	var cek, encryptedKey []byte
	switch {
	case to.Key.Kty == "RSA":
		public, err := to.Key.rsa()
		if err != nil {
			return "", err
		}
		cek = make([]byte, size)
		rand.Read(cek)
		if encryptedKey, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, public, cek, nil); err != nil {
			return "", errMalformedKey
		}
		header = append(header, `,"alg":"RSA-OAEP","enc":"`...)
	default:
		epk, z, err := agreeWith(to.Key)
		if err != nil {
			return "", err
		}
		cek = deriveKey(z, enc, nil, nil, size)
		header = append(append(append(header, `,"alg":"ECDH-ES","epk":`...), epk...), `,"enc":"`...)
	}
	header = append(append(header, enc...), `"}`...)

	aead := newGCM(cek)
	iv := make([]byte, compactIV)
	rand.Read(iv)
	b := make([]byte, 0, 64+base64.RawURLEncoding.EncodedLen(len(header)+len(encryptedKey)+len(plaintext)+TagSize))
	b = base64.RawURLEncoding.AppendEncode(b, header)
	sealed := aead.Seal(nil, iv, plaintext, b)
	for _, part := range [][]byte{encryptedKey, iv, sealed[:len(plaintext)], sealed[len(plaintext):]} {
		b = base64.RawURLEncoding.AppendEncode(append(b, '.'), part)
	}
	return string(b), nil
}

// agreeWith makes an ephemeral key on the curve of a recipient's key, and returns it as a JWK with the shared secret.
func agreeWith(k *JWK) (epk []byte, z []byte, err error) {
	key := publicJWK{Type: k.Kty, Curve: Curve(k.Crv), X: k.X, Y: k.Y}
	point, _, ok := key.point(key.Curve)
	if !ok {
		return nil, nil, errors.New("the recipient's key cannot be encrypted to")
	}
	curve := key.Curve.ecdh()
	public, err := curve.NewPublicKey(point)
	if err != nil {
		return nil, nil, errMalformedKey
	}
	ephemeral, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if z, err = ephemeral.ECDH(public); err != nil {
		return nil, nil, errMalformedKey
	}
	jwk, _ := jwkOf(key.Curve, ephemeral.PublicKey().Bytes())
	epk, err = Encode(jwk)
	return epk, z, err
}

// ParseCompactJWE reads a compact JWE strictly: a header that [JWS.Header] would refuse, an alg or enc that is not
// listed above, "zip", "b64", "apu" and "apv", a missing or long kid, parts that are not canonical base64url or of
// wrong length are errors. The caller bounds the length of s.
func ParseCompactJWE(s string) (*CompactJWE, error) {
	var parts [5]string
	for i := range parts {
		var found bool
		if parts[i], s, found = strings.Cut(s, "."); found != (i < 4) {
			return nil, errors.New("not a compact JWE")
		}
	}
	j := &CompactJWE{protected: parts[0]}
	h := &j.header
	if err := decodeHeader(j.protected, h); err != nil {
		return nil, err
	}
	if h.APU != nil || h.APV != nil || h.Zip != nil || h.B64 != nil {
		return nil, errors.New("protected header asks for what is not done here")
	}
	if h.KeyID == "" || len(h.KeyID) > maxCompactKeyID {
		return nil, errors.New("JWE has no key id, or a long one")
	}
	if compactKeySize(h.Enc) == 0 {
		return nil, errors.New("unknown content encryption")
	}
	key, okKey := Decode64(parts[1])
	iv, okIV := Decode64(parts[2])
	tag, okTag := Decode64(parts[4])
	// The tag goes behind the ciphertext, where Go's AEADs want it.
	n := base64.RawURLEncoding.DecodedLen(len(parts[3]))
	sealed, err := base64.RawURLEncoding.AppendDecode(make([]byte, 0, n+TagSize), []byte(parts[3]))
	if err != nil || !CheckSegment(parts[3]) || !okKey || !okIV || !okTag || len(iv) != compactIV || len(tag) != TagSize {
		return nil, errors.New("JWE has a part that is not base64url or of wrong length")
	}
	j.encryptedKey, j.iv, j.ciphertext = key, iv, append(sealed, tag...)
	switch {
	case h.Alg == RSAOAEP && len(key) >= MinRSA/8 && len(key) <= MaxRSA/8 && h.EPK == nil:
	case h.Alg == ECDHES && len(key) == 0 && h.EPK != nil:
	default:
		return nil, errors.New("JWE does not say in a way known here how its key is had")
	}
	return j, nil
}

// KeyID returns the id of the key that the JWE says it was encrypted to.
func (j *CompactJWE) KeyID() string { return j.header.KeyID }

// Open returns the plaintext. Whatever is wrong it is [ErrDecrypt]: another key, a key that failed, a changed text.
func (j *CompactJWE) Open(r CompactReader) ([]byte, error) {
	size := compactKeySize(j.header.Enc)
	// If the key cannot be had the content is tried with a random one, so that nobody can tell from the answer or from
	// the time it took how far his ciphertext came (RFC 7516, section 11.5): knowing that opens RSA step by step.
	cek := make([]byte, size)
	rand.Read(cek)
	switch {
	case j.header.KeyID != r.KeyID:
	case j.header.Alg == RSAOAEP && r.Decrypt != nil:
		if b, err := r.Decrypt(j.encryptedKey); err == nil && len(b) == size {
			cek = b
		}
	case j.header.Alg == ECDHES && r.Agree != nil:
		if ephemeral, _, ok := j.header.EPK.point(r.Curve); ok {
			if z, err := r.Agree(ephemeral); err == nil {
				cek = deriveKey(z, j.header.Enc, nil, nil, size)
			}
		}
	}
	plaintext, err := newGCM(cek).Open(nil, j.iv, j.ciphertext, []byte(j.protected))
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}

// compactKeySize returns the length of an encryption's key, 0 for one that is not known here.
func compactKeySize(enc string) int {
	switch enc {
	case A128GCM:
		return 16
	case A192GCM:
		return 24
	case string(A256GCM):
		return 32
	}
	return 0
}

// newGCM returns AES-GCM under a key of 16, 24 or 32 bytes.
func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("jose: content key of impossible length")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("jose: " + err.Error())
	}
	return aead
}
