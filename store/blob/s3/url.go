package s3

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// A Target is what the URL of a bucket says. The forms are
//
//	s3://[KEY:SECRET@]HOST[:PORT]/BUCKET[/PREFIX][?region=REGION]        over TLS
//	s3+http://[KEY:SECRET@]HOST[:PORT]/BUCKET[/PREFIX][?region=REGION]   without
//	s3://BUCKET?endpoint=https://HOST[:PORT][&region=REGION]             over TLS
//
// and nothing else. In KEY and SECRET, what a URL has other uses for is written as %2F and so on.
type Target struct {
	Key, Secret string // both or none
	Endpoint    string // HOST or HOST:PORT
	TLS         bool
	Bucket      string
	Prefix      string // segments joined by "/", as in a blob's key; may be empty
	Region      string // may be empty: the server is asked
}

// Bounds on URLs.
const (
	maxURL    = 2048
	maxPrefix = 200 // bytes: with the longest key less than the 1,024 that S3 has for a name
)

// ParseURL reads the URL of a bucket. What it refuses is Invalid; the reason says what is wrong with it and does not
// repeat it.
func ParseURL(text string) (t Target, err error) {
	const op = "bucket's URL"
	bad := func(reason string) (Target, error) { return Target{}, coffer.Errorf(op, coffer.Invalid, reason) }
	if len(text) > maxURL {
		return bad("too long")
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(text, "#") {
		return bad(`no URL: write s3://KEY:SECRET@HOST/BUCKET, with "/" in the secret as %2F`)
	}
	scheme, _, _ := strings.Cut(text, "://")
	switch scheme {
	case "s3":
		t.TLS = true
	case "s3+http":
	default:
		return bad("it begins with s3:// or, without TLS, s3+http://")
	}
	endpoint, region, hasEndpoint, ok := parameters(u.RawQuery)
	switch {
	case !ok || u.ForceQuery:
		return bad("after the question mark there may be region=… and endpoint=https://…, once each")
	case region != "" && !isRegion(region):
		return bad("the region is made of lower-case letters, digits and -")
	}
	t.Region = region
	if u.User != nil {
		t.Key = u.User.Username()
		t.Secret, _ = u.User.Password()
		if t.Key == "" || t.Secret == "" || hasControl(t.Key) || hasControl(t.Secret) {
			return bad("before the @ there are an access key and its secret, with a colon between")
		}
	}
	if hasEndpoint {
		host, isHTTPS := strings.CutPrefix(endpoint, "https://")
		switch {
		case !t.TLS || !isHTTPS || u.User != nil || u.Path != "":
			return bad("with an endpoint it is s3://BUCKET?endpoint=https://HOST, without credentials and path; " +
				"the other form is s3://KEY:SECRET@HOST/BUCKET/PREFIX")
		case !isHost(host):
			return bad("the endpoint is https:// and a host, with or without a port")
		case !isBucket(u.Host):
			return bad(badBucket)
		}
		t.Endpoint, t.Bucket = host, u.Host
		return t, nil
	}
	if !isHost(u.Host) {
		return bad("it lacks the server's host, or that has no right form")
	}
	t.Endpoint = u.Host
	path := u.EscapedPath()
	if path == "" || path == "/" {
		return bad("it lacks the bucket: write s3://HOST/BUCKET")
	}
	t.Bucket, t.Prefix, ok = strings.Cut(path[1:], "/")
	switch {
	case !isBucket(t.Bucket):
		return bad(badBucket)
	case ok && (len(t.Prefix) > maxPrefix || blob.CheckKey(t.Prefix) != nil):
		return bad("the prefix is made of lower-case letters, digits, - and _, with single / between")
	}
	return t, nil
}

const badBucket = "a bucket's name is 3 to 63 lower-case letters, digits, - and ."

// parameters reads a query of at most one region and one endpoint.
func parameters(query string) (endpoint, region string, hasEndpoint, ok bool) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", "", false, false
	}
	for name, v := range values {
		if len(v) != 1 || v[0] == "" {
			return "", "", false, false
		}
		switch name {
		case "endpoint":
			endpoint, hasEndpoint = v[0], true
		case "region":
			region = v[0]
		default:
			return "", "", false, false
		}
	}
	return endpoint, region, hasEndpoint, true
}

// made reports whether s is not empty and has only lower-case letters, digits and the other characters.
func made(s, others string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	})
}

func isRegion(s string) bool { return len(s) <= 32 && made(s, "-") }

// isBucket reports whether a name is one that all servers take: see "Bucket naming rules" of Amazon S3.
func isBucket(s string) bool {
	if len(s) < 3 || len(s) > 63 || !made(s, "-.") || strings.Contains(s, "..") {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	return made(s[:1]+s[len(s)-1:], "")
}

// isHost reports whether s is a name or an address, with or without a port.
func isHost(s string) bool {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
			return false
		}
		host = h
		if strings.HasPrefix(s, "[") {
			host = "[" + h + "]"
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return closed && err == nil && a.Is6() && a.Zone() == ""
	}
	if len(host) > 253 || !made(strings.ToLower(host), "-.") {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
