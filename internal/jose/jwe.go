package jose

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// A JWE is a JSON Web Encryption in the general serialization (RFC 7516, section 7.2.1), as encrypted data vaults use
// it: "protected", "recipients", "iv", "ciphertext" and "tag", and nothing else. The protected header says how the
// content is encrypted; how its key is wrapped stands in each recipient's own header.
type JWE struct {
	Enc        Encryption
	Protected  string         // as it stands in the JWE; authenticated with the content
	Recipients jsontext.Value // as it stands in the JWE; looked into by [JWE.KeyIDs] and [JWE.Unwrap] only
	IV         []byte
	Ciphertext []byte // empty when it is kept elsewhere
	Tag        []byte

	header map[string]jsontext.Value
}

// ErrDecrypt is returned when a JWE, or the key in it, is not what its writer made or was not made for the reader. It
// says no more on purpose.
var ErrDecrypt = errors.New("decryption failed")

// A Member is a further member of a protected header. Readers that do not know it pass over it, but it cannot be
// changed or removed without the content failing to decrypt.
type Member struct{ Name, Value string }

// maxProtected bounds a protected header.
const maxProtected = 8 << 10

// elsewhere are header members that may not stand in the protected header: these belong to the recipients, or ask for
// what is not done here (RFC 7516, section 4.1.13; RFC 7515, section 4.1.11).
var elsewhere = []string{"alg", "apu", "apv", "crit", "epk", "kid", "zip"}

// Protected returns the text of the protected header for content encrypted with the key. It fails for encryptions that
// are not written, for member names that mean something else in a JWE, for invalid UTF-8, and beyond 8 KiB.
func (k *ContentKey) Protected(members ...Member) (string, error) {
	if k.enc == C20P {
		return "", errors.New("this content encryption is only read")
	}
	b := append(make([]byte, 0, 128), `{"enc":"`...)
	b = append(append(b, k.enc...), '"')
	var err error
	for i, m := range members {
		same := func(other Member) bool { return other.Name == m.Name }
		if m.Name == "enc" || slices.Contains(elsewhere, m.Name) || slices.ContainsFunc(members[:i], same) {
			return "", errors.New("name of a protected header member is taken")
		}
		if b, err = jsontext.AppendQuote(append(b, ','), m.Name); err != nil {
			return "", errors.New("protected header is not UTF-8")
		}
		if b, err = jsontext.AppendQuote(append(b, ':'), m.Value); err != nil {
			return "", errors.New("protected header is not UTF-8")
		}
	}
	if b = append(b, '}'); base64.RawURLEncoding.EncodedLen(len(b)) > maxProtected {
		return "", errors.New("protected header is too long")
	}
	return encode64(b), nil
}

// Encrypt returns a JWE of the plaintext. The protected header is one that the key's [ContentKey.Protected] made, the
// recipients those that its [ContentKey.Wrap] made.
func (k *ContentKey) Encrypt(protected string, recipients jsontext.Value, plaintext []byte) []byte {
	j := &JWE{Protected: protected, Recipients: recipients, IV: k.newIV()}
	sealed := k.aead.Seal(nil, j.IV, plaintext, []byte(protected))
	j.Ciphertext, j.Tag = sealed[:len(plaintext)], sealed[len(plaintext):]
	size := 128 + len(protected) + len(recipients) + base64.RawURLEncoding.EncodedLen(len(plaintext))
	return j.append(make([]byte, 0, size))
}

// AppendDetached is Encrypt for bulk. It appends to dst the JWE with an empty ciphertext, then tail, then the
// ciphertext as it is, which is as long as the plaintext; and returns the extended slice. Given enough capacity (the
// plaintext, 16 bytes more, and the head) it copies nothing. Plaintext and dst must not overlap.
func (k *ContentKey) AppendDetached(dst []byte, protected string, recipients jsontext.Value, tail string,
	plaintext []byte) []byte {
	j := JWE{Protected: protected, Recipients: recipients, IV: k.newIV(), Tag: make([]byte, TagSize)}
	dst = j.append(dst)
	tagEnd := len(dst) - len(`"}`)
	dst = append(dst, tail...)
	dst = k.aead.Seal(dst, j.IV, plaintext, []byte(protected))
	end := len(dst) - TagSize
	base64.RawURLEncoding.Encode(dst[tagEnd-base64.RawURLEncoding.EncodedLen(TagSize):tagEnd], dst[end:])
	return dst[:end]
}

func (k *ContentKey) newIV() []byte {
	iv := make([]byte, k.enc.ivSize())
	rand.Read(iv)
	return iv
}

// append appends the JSON of the JWE. All texts but the recipients are base64url, which JSON does not escape.
func (j *JWE) append(dst []byte) []byte {
	dst = append(append(dst, `{"protected":"`...), j.Protected...)
	dst = append(append(dst, `","recipients":`...), j.Recipients...)
	dst = base64.RawURLEncoding.AppendEncode(append(dst, `,"iv":"`...), j.IV)
	dst = base64.RawURLEncoding.AppendEncode(append(dst, `","ciphertext":"`...), j.Ciphertext)
	dst = base64.RawURLEncoding.AppendEncode(append(dst, `","tag":"`...), j.Tag)
	return append(dst, `"}`...)
}

// Parse reads a JWE strictly: what [Decode] refuses, other members than the five, an unknown encryption, header members
// that ask for what is not done here, padded or loose base64url, and an iv or tag of wrong length are errors. The
// recipients are kept as they are and read only when they are needed.
func Parse(b []byte) (*JWE, error) {
	var w struct {
		Protected  string         `json:"protected"`
		Recipients jsontext.Value `json:"recipients"`
		IV         string         `json:"iv"`
		Ciphertext *string        `json:"ciphertext"`
		Tag        string         `json:"tag"`
	}
	if err := Decode(b, &w); err != nil {
		return nil, err
	}
	j := &JWE{Protected: w.Protected, Recipients: w.Recipients}
	if j.Recipients.Kind() != '[' || w.Ciphertext == nil {
		return nil, errors.New("JWE lacks a member")
	}
	if len(w.Protected) > maxProtected {
		return nil, errors.New("protected header is too long")
	}
	header, ok := Decode64(w.Protected)
	if !ok {
		return nil, errors.New("protected header is not base64url")
	}
	if err := Decode(header, &j.header); err != nil {
		return nil, err
	}
	for _, name := range elsewhere {
		if _, ok := j.header[name]; ok {
			return nil, errors.New("protected header asks for what is not done here")
		}
	}
	enc, _ := j.Member("enc")
	if j.Enc = Encryption(enc); j.Enc.ivSize() == 0 {
		return nil, errors.New("unknown content encryption")
	}
	var okIV, okTag bool
	j.IV, okIV = Decode64(w.IV)
	j.Tag, okTag = Decode64(w.Tag)
	j.Ciphertext, ok = Decode64(*w.Ciphertext)
	if !ok || !okIV || !okTag || len(j.IV) != j.Enc.ivSize() || len(j.Tag) != TagSize {
		return nil, errors.New("JWE has a member that is not base64url or of wrong length")
	}
	return j, nil
}

// Member returns the protected header member of that name, and false if there is none or it is no text. It can be
// believed only once the content has been decrypted.
func (j *JWE) Member(name string) (string, bool) {
	v, ok := j.header[name]
	if !ok || v.Kind() != '"' {
		return "", false
	}
	s, err := jsontext.AppendUnquote(nil, v)
	return string(s), err == nil
}

// Decrypt appends the plaintext to dst and returns the extended slice. It fails with [ErrDecrypt].
func (j *JWE) Decrypt(dst []byte, key *ContentKey) ([]byte, error) {
	return j.DecryptDetached(dst, j.Ciphertext, key)
}

// DecryptDetached is Decrypt for a ciphertext that is kept elsewhere. To decrypt in place, give ciphertext[:0] as dst;
// with room for 16 bytes after the ciphertext nothing is copied then. Otherwise the two must not overlap.
func (j *JWE) DecryptDetached(dst, ciphertext []byte, key *ContentKey) ([]byte, error) {
	if key.enc != j.Enc {
		return nil, ErrDecrypt
	}
	// Go's AEADs want the tag behind the ciphertext, so both are brought to where the plaintext will stand.
	n := len(dst)
	buf := slices.Grow(dst, len(ciphertext)+TagSize)[:n+len(ciphertext)]
	if len(ciphertext) > 0 && &buf[n] != &ciphertext[0] {
		copy(buf[n:], ciphertext)
	}
	buf = append(buf, j.Tag...)
	out, err := key.aead.Open(buf[:n], j.IV, buf[n:], []byte(j.Protected))
	if err != nil {
		return nil, ErrDecrypt
	}
	return out, nil
}
