package grant

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

// Bounds on what stands in a signed request.
const (
	maxAuthorization = 4096  // bytes of the Authorization header
	maxKeyID         = 1024  // bytes of a verification method's id
	maxSigned        = 32    // names in the list of signed headers
	maxSigning       = 64000 // bytes of the signing string
)

// A signature is a parsed Authorization header of the "cavage" style (draft-cavage-http-signatures).
type signature struct {
	keyID            string
	headers          string // names of what is signed, separated by spaces
	created, expires string // decimal seconds, as sent
	sum              [64]byte
	size             int // bytes of sum that are used
}

func (s *signature) bytes() []byte { return s.sum[:s.size] }

// parseAuthorization reads an Authorization header: the scheme Signature, and parameters separated by commas alone,
// each at most once, quoted without escapes. Created and expires may also be bare.
func parseAuthorization(values []string) (s signature, err error) {
	const op = "authorization"
	bad := func(reason string) (signature, error) {
		return signature{}, coffer.Errorf(op, coffer.NotExist, reason)
	}
	if len(values) == 0 {
		return bad("no Authorization header")
	}
	if len(values) > 1 || len(values[0]) > maxAuthorization {
		return bad("the Authorization header is repeated or too long")
	}
	rest, ok := strings.CutPrefix(values[0], "Signature ")
	if !ok {
		return bad("the scheme is not Signature")
	}
	var sum, algorithm string
	for more := true; more; {
		var p parameter
		if p, rest, more, ok = nextParameter(rest); !ok {
			return bad("malformed parameters")
		}
		var field *string
		bare := false
		switch p.name {
		case "keyId":
			field = &s.keyID
		case "headers":
			field = &s.headers
		case "signature":
			field = &sum
		case "algorithm":
			field = &algorithm
		case "created":
			field, bare = &s.created, true
		case "expires":
			field, bare = &s.expires, true
		default:
			return bad("unknown parameter")
		}
		if *field != "" || p.value == "" || !p.quoted && !bare {
			return bad("a parameter is repeated, empty or not quoted")
		}
		*field = p.value
	}
	switch {
	case s.keyID == "" || s.headers == "" || sum == "":
		return bad("keyId, headers or signature is missing")
	case len(s.keyID) > maxKeyID:
		return bad("keyId is too long")
	case algorithm != "" && algorithm != "hs2019" && algorithm != "ed25519":
		return bad("unknown algorithm")
	case base64.StdEncoding.DecodedLen(len(sum)) > len(s.sum)+2:
		return bad("the signature is too long")
	}
	var decoded [len(s.sum) + 2]byte
	s.size, err = base64.StdEncoding.Decode(decoded[:], []byte(sum))
	if err != nil || s.size > len(s.sum) {
		return bad("the signature is not base64")
	}
	copy(s.sum[:], decoded[:s.size])
	return s, nil
}

// A parameter is one name="value" of a header.
type parameter struct {
	name, value string
	quoted      bool
}

// nextParameter reads one parameter, and the comma after it if there is more. Names are letters; values are printable
// ASCII, in quotes without escapes, or bare digits.
func nextParameter(s string) (p parameter, rest string, more, ok bool) {
	i := 0
	for i < len(s) && 'a' <= s[i]|0x20 && s[i]|0x20 <= 'z' {
		i++
	}
	if i == 0 || i == len(s) || s[i] != '=' {
		return p, "", false, false
	}
	p.name, s = s[:i], s[i+1:]
	i = 0
	if p.quoted = strings.HasPrefix(s, `"`); p.quoted {
		s = s[1:]
		for i < len(s) && s[i] != '"' {
			if s[i] < ' ' || s[i] > '~' {
				return p, "", false, false
			}
			i++
		}
		if i == len(s) {
			return p, "", false, false
		}
		p.value, s = s[:i], s[i+1:]
	} else {
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		p.value, s = s[:i], s[i:]
	}
	if s == "" {
		return p, "", false, true
	}
	return p, s[1:], true, s[0] == ','
}

// seconds reads decimal seconds since the epoch.
func seconds(s string) (n int64, ok bool) {
	if s == "" || len(s) > 12 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}

// checkTimes compares what the request says of its age with the clock: created not in the future, expires not past,
// and a Date, X-Date or Expires header, where there is one, not older than the tolerance.
func (s *signature) checkTimes(in *Invocation, now time.Time, skew time.Duration) error {
	const op = "authorization"
	created, ok1 := seconds(s.created)
	expires, ok2 := seconds(s.expires)
	switch {
	case !ok1 || !ok2:
		return coffer.Errorf(op, coffer.NotExist, "created or expires is missing or not a decimal")
	case time.Unix(created, 0).After(now.Add(skew)):
		return coffer.Errorf(op, coffer.NotExist, "the signature was created in the future")
	case time.Unix(expires, 0).Before(now.Add(-skew)):
		return coffer.Errorf(op, coffer.NotExist, "the signature has expired")
	}
	for _, name := range [...]string{"Date", "X-Date", "Expires"} {
		for _, v := range in.Header[name] {
			t, ok := parseHTTPTime(v)
			if !ok || t.Before(now.Add(-skew)) {
				return coffer.Errorf(op, coffer.NotExist, "a date header is too old or not a date")
			}
		}
	}
	return nil
}

// parseHTTPTime reads the three forms of dates in HTTP (RFC 9110, section 5.6.7).
func parseHTTPTime(s string) (t time.Time, ok bool) {
	if len(s) > 40 {
		return t, false
	}
	for _, layout := range [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return t, false
}

// Which of the required names a list of signed headers has.
const (
	signsKeyID = 1 << iota
	signsCreated
	signsExpires
	signsTarget
	signsHost
	signsInvocation
	signsType
	signsDigest

	signsAlways = signsKeyID | signsCreated | signsExpires | signsTarget | signsHost | signsInvocation
	signsBody   = signsType | signsDigest
)

// signingString returns the bytes that the signature is over: a line for each signed header, in the order of the list.
// It refuses a list that names something twice, that lacks one of the required names, or that names what is not there.
func (s *signature) signingString(in *Invocation) ([]byte, error) {
	const op = "authorization"
	b := make([]byte, 0, 256+len(s.keyID)+len(in.URI)+size(in.Header["Capability-Invocation"]))
	signs := 0
	list := s.headers
	for n := 0; list != ""; n++ {
		if n == maxSigned || len(b) > maxSigning {
			return nil, coffer.Errorf(op, coffer.NotExist, "too much is signed")
		}
		name, rest, more := strings.Cut(list, " ")
		before := s.headers[:len(s.headers)-len(list)]
		if name == "" || more && rest == "" || listed(before, name) {
			return nil, coffer.Errorf(op, coffer.NotExist, "the list of signed headers is malformed or repeats a name")
		}
		list = rest
		if len(b) > 0 {
			b = append(b, '\n')
		}
		b = append(append(b, name...), ": "...)
		key := ""
		switch name {
		case "(key-id)":
			signs |= signsKeyID
			b = append(b, s.keyID...)
		case "(created)":
			signs |= signsCreated
			b = append(b, s.created...)
		case "(expires)":
			signs |= signsExpires
			b = append(b, s.expires...)
		case "(request-target)":
			signs |= signsTarget
			for i := range len(in.Method) {
				c := in.Method[i]
				if 'A' <= c && c <= 'Z' {
					c |= 0x20
				}
				b = append(b, c)
			}
			b = append(append(b, ' '), in.URI...)
		case "host":
			signs |= signsHost
			b = append(b, in.Host...)
		case "capability-invocation":
			signs |= signsInvocation
			key = "Capability-Invocation"
		case "content-type":
			signs |= signsType
			key = "Content-Type"
		case "digest":
			signs |= signsDigest
			key = "Digest"
		default:
			if strings.ToLower(name) != name {
				return nil, coffer.Errorf(op, coffer.NotExist, "the list of signed headers is not in lower case")
			}
			key = canonicalName(name)
		}
		if key == "" {
			continue
		}
		values := in.Header[key]
		if len(values) == 0 {
			return nil, coffer.Errorf(op, coffer.NotExist, "a signed header is not there")
		}
		for i, v := range values {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, strings.Trim(v, " \t")...)
		}
	}
	need := signsAlways
	if in.HasBody || len(in.Header["Content-Type"]) > 0 || len(in.Header["Digest"]) > 0 {
		need |= signsBody
	}
	if signs&need != need || len(b) > maxSigning {
		return nil, coffer.Errorf(op, coffer.NotExist, "a header that must be signed is not")
	}
	return b, nil
}

// canonicalName returns a header's name in lower case as net/http spells it: a capital at the start and after hyphens.
func canonicalName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if (i == 0 || b[i-1] == '-') && 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// listed reports whether name is one of the names in list, which are separated by spaces.
func listed(list, name string) bool {
	for list != "" {
		var first string
		if first, list, _ = strings.Cut(list, " "); first == name {
			return true
		}
	}
	return false
}

func size(values []string) (n int) {
	for _, v := range values {
		n += len(v)
	}
	return n
}

// parseDigest reads a Digest header, which says the SHA-256 of the body in one of three forms:
// mh=u<base64url of a multihash>, SHA-256=<base64> and SHA-256=:<base64>:.
func parseDigest(values []string) (sum [32]byte, present bool, err error) {
	const op = "digest"
	if len(values) == 0 {
		return sum, false, nil
	}
	if len(values) > 1 || len(values[0]) > 128 {
		return sum, false, coffer.Errorf(op, coffer.Invalid, "the Digest header is repeated or too long")
	}
	algorithm, text, _ := strings.Cut(strings.Trim(values[0], " \t"), "=")
	var decoded [128]byte
	b := decoded[:0]
	switch {
	case strings.EqualFold(algorithm, "mh") && strings.HasPrefix(text, "u"):
		b, err = base64.RawURLEncoding.AppendDecode(b, []byte(text[1:]))
		if err != nil || len(b) != 34 || b[0] != 0x12 || b[1] != 32 {
			return sum, false, coffer.Errorf(op, coffer.Invalid, "not a SHA-256 multihash")
		}
		b = b[2:]
	case strings.EqualFold(algorithm, "sha-256"):
		if n := len(text); n > 1 && text[0] == ':' && text[n-1] == ':' {
			text = text[1 : n-1]
		}
		b, err = base64.StdEncoding.AppendDecode(b, []byte(text))
		if err != nil || len(b) != 32 {
			return sum, false, coffer.Errorf(op, coffer.Invalid, "not the base64 of a SHA-256")
		}
	default:
		return sum, false, coffer.Errorf(op, coffer.Invalid, "unknown algorithm")
	}
	copy(sum[:], b)
	return sum, true, nil
}

// FormatDigest returns the Digest header for a body with the SHA-256, in the form that the published clients send.
func FormatDigest(sum [32]byte) string {
	var b [34]byte
	b[0], b[1] = 0x12, 32
	copy(b[2:], sum[:])
	return "mh=u" + base64.RawURLEncoding.EncodeToString(b[:])
}
