package jose

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// AgreementAlg is the one way in which content keys are wrapped here: an ephemeral key agreed with the recipient's
// static one, a key-encryption key derived from the outcome, AES key wrap (RFC 7518, section 4.6). The derivation's
// PartyUInfo is the ephemeral public key and its PartyVInfo the recipient's key id, as encrypted data vault clients
// have it.
const AgreementAlg = "ECDH-ES+A256KW"

// A Curve is one on which keys are agreed, by its name in a JWK.
type Curve string

// The curves.
const (
	X25519 Curve = "X25519"
	P256   Curve = "P-256"
)

// A Recipient is whom a content key is wrapped for.
type Recipient struct {
	KeyID  string // goes into the JWE in the clear, and into the derivation of the key
	Curve  Curve
	Public []byte // X25519: 32 bytes; P-256: the uncompressed point, 65 bytes
}

// A Reader is a private key as this package needs it: what it is called and what it can do. The key itself stays where
// it is.
type Reader struct {
	KeyID string
	Curve Curve
	// Agree returns the secret shared with the holder of an ephemeral public key, which has the form that
	// [Recipient].Public has.
	Agree func(ephemeral []byte) ([]byte, error)
}

// Bounds on recipients.
const (
	MaxRecipients = 1024 // in one JWE
	MaxKeyID      = 1024 // bytes
)

// ErrNoRecipient is returned when a JWE is not addressed to a reader.
var ErrNoRecipient = errors.New("not a recipient")

// recipient is a member of a JWE's recipients, with the header members that matter here.
type recipient struct {
	Header       recipientHeader `json:"header"`
	EncryptedKey string          `json:"encrypted_key"`
}

type recipientHeader struct {
	KeyID string                    `json:"kid"`
	Alg   string                    `json:"alg"`
	EPK   *publicJWK                `json:"epk,omitempty"`
	APU   string                    `json:"apu,omitempty"`
	APV   string                    `json:"apv,omitempty"`
	Rest  map[string]jsontext.Value `json:",embed"`
}

// publicJWK is an ephemeral public key. Other members are passed over: one client writes its private "d" there.
type publicJWK struct {
	Type  string                    `json:"kty"`
	Curve Curve                     `json:"crv"`
	X     string                    `json:"x"`
	Y     string                    `json:"y,omitempty"`
	Rest  map[string]jsontext.Value `json:",embed"`
}

// Wrap returns the "recipients" of a JWE whose content key this is. It makes one ephemeral key (for each curve), so the
// outcome may be repeated in many JWEs that share a content key, and saves each reader all agreements but the first.
// It fails when there are no recipients or more than [MaxRecipients], when two have the same key id, and for public
// keys that are malformed or of low order.
func (k *ContentKey) Wrap(recipients ...Recipient) (jsontext.Value, error) {
	if len(recipients) == 0 || len(recipients) > MaxRecipients {
		return nil, errors.New("no recipients, or too many")
	}
	ephemeral := map[Curve]*ecdh.PrivateKey{}
	seen := map[string]bool{}
	list := make([]recipient, 0, len(recipients))
	for _, r := range recipients {
		curve := r.Curve.ecdh()
		if curve == nil || r.KeyID == "" || len(r.KeyID) > MaxKeyID || seen[r.KeyID] {
			return nil, errors.New("a recipient's key id or curve is unusable or repeated")
		}
		seen[r.KeyID] = true
		public, err := curve.NewPublicKey(r.Public)
		if err != nil {
			return nil, errors.New("a recipient's public key is malformed")
		}
		if ephemeral[r.Curve] == nil {
			if ephemeral[r.Curve], err = curve.GenerateKey(rand.Reader); err != nil {
				return nil, err
			}
		}
		z, err := ephemeral[r.Curve].ECDH(public)
		if err != nil {
			return nil, errors.New("a recipient's public key is of low order")
		}
		epk, apu := jwkOf(r.Curve, ephemeral[r.Curve].PublicKey().Bytes())
		list = append(list, recipient{
			Header: recipientHeader{
				KeyID: r.KeyID, Alg: AgreementAlg, EPK: epk, APU: encode64(apu), APV: encode64([]byte(r.KeyID)),
			},
			EncryptedKey: encode64(WrapKey(deriveKEK(z, apu, r.KeyID), k.raw[:])),
		})
	}
	return Encode(list)
}

// KeyIDs returns the key ids of the recipients, in order. It fails when the recipients are malformed, none, or too
// many.
func (j *JWE) KeyIDs() ([]string, error) {
	list, err := j.recipients()
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.Header.KeyID
	}
	return ids, nil
}

// Unwrap returns the content key of the JWE, for its first recipient with the reader's key id. It fails with
// [ErrNoRecipient] when there is none, with [ErrDecrypt] when the key cannot be had from what stands there, and with
// the reader's own error when the reader could not agree.
func (j *JWE) Unwrap(reader Reader) (*ContentKey, error) {
	list, err := j.recipients()
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Header.KeyID == reader.KeyID && r.Header.Alg == AgreementAlg {
			return r.unwrap(j.Enc, reader)
		}
	}
	return nil, ErrNoRecipient
}

func (j *JWE) recipients() ([]recipient, error) {
	var list []recipient
	if err := Decode(j.Recipients, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > MaxRecipients {
		return nil, errors.New("JWE has no recipients, or too many")
	}
	for _, r := range list {
		if r.Header.KeyID == "" || len(r.Header.KeyID) > MaxKeyID || r.Header.Alg == "" {
			return nil, errors.New("a recipient of the JWE lacks a member")
		}
	}
	return list, nil
}

func (r *recipient) unwrap(enc Encryption, reader Reader) (*ContentKey, error) {
	ephemeral, apu, ok := r.Header.EPK.point(reader.Curve)
	if !ok {
		return nil, ErrDecrypt
	}
	// Clients recompute both values and pass over what the header says. Where it says something else it was tampered
	// with, or written for another derivation.
	if s := r.Header.APU; s != "" && s != encode64(apu) {
		return nil, ErrDecrypt
	}
	if s := r.Header.APV; s != "" && s != encode64([]byte(reader.KeyID)) {
		return nil, ErrDecrypt
	}
	wrapped, ok := Decode64(r.EncryptedKey)
	if !ok || len(wrapped) != KeySize+8 {
		return nil, ErrDecrypt
	}
	z, err := reader.Agree(ephemeral)
	if err != nil {
		return nil, err
	}
	raw, ok := UnwrapKey(deriveKEK(z, apu, reader.KeyID), wrapped)
	if !ok {
		return nil, ErrDecrypt
	}
	return ContentKeyOf(enc, raw)
}

// deriveKEK derives the key-encryption key for the recipient with that key id.
func deriveKEK(z, apu []byte, keyID string) []byte {
	return deriveKey(z, AgreementAlg, apu, []byte(keyID), KeySize)
}

// deriveKey derives a key of at most 32 bytes from a shared secret (Concat KDF with SHA-256 and one round: RFC 7518,
// section 4.6.2).
func deriveKey(z []byte, alg string, apu, apv []byte, size int) []byte {
	sum := sha256.Sum256(kdfInput(z, alg, apu, apv, size))
	return sum[:size]
}

func kdfInput(z []byte, alg string, apu, apv []byte, size int) []byte {
	in := make([]byte, 0, 128+len(apv))
	in = append(binary.BigEndian.AppendUint32(in, 1), z...)
	in = append(binary.BigEndian.AppendUint32(in, uint32(len(alg))), alg...)
	in = append(binary.BigEndian.AppendUint32(in, uint32(len(apu))), apu...)
	in = append(binary.BigEndian.AppendUint32(in, uint32(len(apv))), apv...)
	return binary.BigEndian.AppendUint32(in, uint32(8*size))
}

func (c Curve) ecdh() ecdh.Curve {
	switch c {
	case X25519:
		return ecdh.X25519()
	case P256:
		return ecdh.P256()
	}
	return nil
}

// jwkOf returns a public key as a JWK, and as it enters the derivation: for P-256 that is the compressed point.
func jwkOf(c Curve, public []byte) (*publicJWK, []byte) {
	if c == X25519 {
		return &publicJWK{Type: "OKP", Curve: c, X: encode64(public)}, public
	}
	x, y := public[1:33], public[33:65]
	return &publicJWK{Type: "EC", Curve: c, X: encode64(x), Y: encode64(y)}, append([]byte{2 | y[31]&1}, x...)
}

// point undoes [jwkOf]. It reports false unless the key is well-formed and on the curve c.
func (p *publicJWK) point(c Curve) (public, apu []byte, ok bool) {
	if p == nil || p.Curve != c {
		return nil, nil, false
	}
	x, okX := Decode64(p.X)
	y, okY := Decode64(p.Y)
	switch {
	case !okX || !okY || len(x) != 32:
		return nil, nil, false
	case c == X25519 && p.Type == "OKP" && len(y) == 0:
		return x, x, true
	case c == P256 && p.Type == "EC" && len(y) == 32:
		public = bytes.Join([][]byte{{4}, x, y}, nil)
		_, apu = jwkOf(c, public)
		return public, apu, true
	}
	return nil, nil, false
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
