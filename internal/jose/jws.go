package jose

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A JWS is a JSON Web Signature with one signature (RFC 7515), its three texts exactly as they came: what is signed and
// hashed is the texts, so they are never written anew.
type JWS struct {
	Protected string // base64url of the protected header
	Payload   string // base64url; may be empty
	Signature string // base64url; empty while there is none
}

// MaxHeader bounds the protected header of a JWS, and that of a compact JWE: bytes of JSON.
const MaxHeader = 16 << 10

// ParseCompactJWS reads the compact serialization (RFC 7515, section 7.1): three texts in canonical base64url, of which
// the payload alone may be empty. It does not look into them; the caller bounds the length of s.
func ParseCompactJWS(s string) (*JWS, error) {
	protected, rest, _ := strings.Cut(s, ".")
	payload, signature, found := strings.Cut(rest, ".")
	if !found || protected == "" || signature == "" ||
		!CheckSegment(protected) || !CheckSegment(payload) || !CheckSegment(signature) {
		return nil, errors.New("not a compact JWS")
	}
	return &JWS{protected, payload, signature}, nil
}

// NewJWS returns a JWS without a signature. The header is a struct or a map that is a JSON object; texts in it that are
// not UTF-8 are mended. It panics for headers that JSON cannot have, a raw value that is not JSON among them.
func NewJWS(header any, payload []byte) *JWS {
	b, err := json.Marshal(header, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil || jsontext.Value(b).Kind() != '{' {
		panic("jose: a JWS header is not a JSON object")
	}
	return &JWS{Protected: encode64(b), Payload: encode64(payload)}
}

// Input returns what is signed (RFC 7515, section 5.1).
func (j *JWS) Input() []byte {
	b := make([]byte, 0, len(j.Protected)+1+len(j.Payload))
	return append(append(append(b, j.Protected...), '.'), j.Payload...)
}

// Compact returns the compact serialization.
func (j *JWS) Compact() string { return j.Protected + "." + j.Payload + "." + j.Signature }

// Header reads the protected header into v as [DecodeOpen] does. It also fails for what is no JSON object, beyond
// [MaxHeader], and when there is a "crit" member: no extension is known here (RFC 7515, section 4.1.11).
func (j *JWS) Header(v any) error { return decodeHeader(j.Protected, v) }

func decodeHeader(protected string, v any) error {
	if len(protected) > (MaxHeader*4+2)/3 {
		return errors.New("protected header is too long")
	}
	b, ok := Decode64(protected)
	if !ok {
		return errors.New("protected header is not base64url")
	}
	if jsontext.Value(b).Kind() != '{' {
		return errors.New("protected header is not a JSON object")
	}
	var critical struct {
		Crit jsontext.Value `json:"crit"`
	}
	if err := DecodeOpen(b, &critical); err != nil {
		return err
	}
	if critical.Crit != nil {
		return errors.New("protected header asks for what is not done here")
	}
	return DecodeOpen(b, v)
}

// CheckSegment reports whether s is base64url without padding, and the one text of its bytes: no line ends, no spare
// bits. It is so for the empty text.
func CheckSegment(s string) bool {
	// A bit for each byte that may stand in it. There are no branches: which sort of byte comes next nobody can foretell.
	const digits, letters = 1<<10 - 1, 1<<26 - 1
	may := [4]uint64{
		0: 1<<'-' | digits<<'0',
		1: 1<<('_'-64) | letters<<('A'-64) | letters<<('a'-64),
	}
	all := uint64(1)
	for i := range len(s) {
		all &= may[s[i]>>6] >> (s[i] & 63)
	}
	if all&1 == 0 || len(s)%4 == 1 {
		return false
	}
	if len(s)%4 == 0 {
		return true
	}
	// What is left over of the last byte's six bits must be zero.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", s[len(s)-1])
	if len(s)%4 == 2 {
		return last&15 == 0
	}
	return last&3 == 0
}

// Decode64 returns the bytes of unpadded base64url (RFC 4648, section 5), of which each value has one text: just those
// that [CheckSegment] accepts. It returns false for others.
func Decode64(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && base64.RawURLEncoding.EncodedLen(len(b)) == len(s) // the decoder passes over line ends
}
