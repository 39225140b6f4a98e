package ident

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

// lookupTime is how long one look-up may take, from asking for the host's address to the last byte.
const lookupTime = 5 * time.Second

// A web says which hosts did:web may ask, and asks them.
type web struct {
	exact    map[string]string // host, host:port -> scheme
	suffixes []string          // ".example.org"
	all      bool

	public  *http.Client // dials public addresses only
	private *http.Client // dials addresses in private networks and this machine too
}

func newWeb(allow []string, roots *x509.CertPool) (*web, error) {
	w := &web{
		exact:   make(map[string]string),
		public:  newClient(&dialer{lookup: lookupHost}, roots),
		private: newClient(&dialer{lookup: lookupHost, private: true}, roots),
	}
	for _, entry := range allow {
		scheme, host := "https", entry
		if local, ok := strings.CutPrefix(entry, "http://"); ok {
			scheme, host = "http", local
		}
		name, port, _ := strings.Cut(strings.TrimPrefix(host, "."), ":")
		switch {
		case entry == "*":
			w.all = true
		case !isHost(name) || strings.Contains(host, ":") && !isPort(port) || scheme == "http" && name != "localhost":
			return nil, coffer.Errorf("did:web", coffer.Invalid, "an allowed host is malformed")
		case host[0] != '.':
			w.exact[host] = scheme
		case port != "":
			return nil, coffer.Errorf("did:web", coffer.Invalid, "an allowed suffix has no port")
		default:
			w.suffixes = append(w.suffixes, host)
		}
	}
	return w, nil
}

// client returns the client that may ask a host, and the scheme to ask it by, or Denied. Only a host that the operator
// named may be in a private network, or at a port other than 443: else strangers could probe what is behind the
// firewall by means of identifiers.
func (w *web) client(host string) (*http.Client, string, error) {
	if scheme, ok := w.exact[host]; ok {
		return w.private, scheme, nil
	}
	allowed := w.all
	for _, s := range w.suffixes {
		allowed = allowed || strings.HasSuffix(host, s)
	}
	if !allowed || strings.Contains(host, ":") {
		return nil, "", coffer.Errorf("did:web", coffer.Denied, "the host is not among those that may be asked")
	}
	return w.public, "https", nil
}

// webURL returns where the document of a did:web is, without the scheme, and the host with its port if it has one
// (did:web Method Specification, section 2.5.2). Hosts in upper case, IP addresses, and percent-encoding other than
// that of the port's colon are Invalid.
func webURL(rest string) (url, host string, err error) {
	name, path, hasPath := strings.Cut(rest, ":")
	host = strings.Replace(strings.Replace(name, "%3A", ":", 1), "%3a", ":", 1)
	name, port, hasPort := strings.Cut(host, ":")
	if !isHost(name) || hasPort && (!isPort(port) || port == "443") {
		return "", "", coffer.Errorf("did:web", coffer.Invalid, "not a host")
	}
	if !hasPath {
		return host + "/.well-known/did.json", host, nil
	}
	for segment := range strings.SplitSeq(path, ":") {
		if segment == "" || segment == "." || segment == ".." || strings.Contains(segment, "%") {
			return "", "", coffer.Errorf("did:web", coffer.Invalid, "not a path")
		}
	}
	return host + "/" + strings.ReplaceAll(path, ":", "/") + "/did.json", host, nil
}

// isHost reports whether s is a DNS name in lower case (RFC 1123, section 2.1). As there, the last label is not a
// number: so no text that some resolver takes for an IP address is a host.
func isHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	label := ""
	for label = range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !('a' <= c && c <= 'z' || isDigit(c) || c == '-') {
				return false
			}
		}
	}
	return !isDigit(label[0])
}

// isPort reports whether s is a port as a number is written, without leading zeros: one text per port.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0' && s[0] != '+'
}

// fetch gets and reads the identity document of id.
func fetch(ctx context.Context, client *http.Client, url, id string) (*coffer.Identity, error) {
	status, body, err := get(ctx, client, url, "application/did+ld+json, application/did+json, application/json")
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
		return parseDocument(id, body)
	case http.StatusNotFound, http.StatusGone:
		return nil, coffer.Errorf("look up", coffer.NotExist, "the host has no such document")
	}
	return nil, coffer.Errorf("look up", coffer.Unavailable, "the host did not answer with a document")
}

// get returns the answer to a GET, at most a little longer than a document may be. Errors are Denied if the address may
// not be dialled, else Unavailable; they do not name whom was asked.
func get(ctx context.Context, client *http.Client, url, accept string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, coffer.Errorf("look up", coffer.Invalid, "not a URL")
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "coffer")
	res, err := client.Do(req)
	if errors.Is(err, coffer.Denied) {
		return 0, nil, coffer.Errorf("look up", coffer.Denied, "the host's address may not be asked")
	}
	if err != nil {
		return 0, nil, coffer.Errorf("look up", coffer.Unavailable, "the host could not be reached")
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxDocument+maxEnvelope+1))
	if err != nil {
		return 0, nil, coffer.Errorf("look up", coffer.Unavailable, "the answer broke off")
	}
	return res.StatusCode, body, nil
}

// newClient returns a client that follows no redirects, keeps no connections, uses no proxy (which would dial for us,
// past the guard) and unpacks nothing.
func newClient(d *dialer, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            d.dial,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A dialer is the guard against being sent to addresses that strangers cannot reach themselves. It looks the host up,
// judges the addresses, and dials just what it has judged: a name that changes its address in between changes nothing.
type dialer struct {
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	private bool // private networks and this machine may be dialled
}

func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// dial connects to the first of the host's addresses that answers. It is Denied if any of the addresses may not be
// dialled: an honest host has no such mixture.
func (d *dialer) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if !mayDial(a, d.private) {
			return nil, coffer.Errorf("dial", coffer.Denied, "not a public address")
		}
	}
	err = coffer.Errorf("dial", coffer.Unavailable, "the host has no address")
	for _, a := range addrs[:min(len(addrs), 4)] {
		var conn net.Conn
		dialer := net.Dialer{Timeout: lookupTime / 3} // leaves time for the next address
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// mayDial reports whether an address may be dialled: one of the public internet, or with private also one in a private
// network or on this machine. Never a link-local or multicast one, nor those where clouds serve their machines secrets.
func mayDial(a netip.Addr, private bool) bool {
	a = a.Unmap().WithZone("")
	within := func(list []string) bool {
		for _, s := range list {
			if netip.MustParsePrefix(s).Contains(a) {
				return true
			}
		}
		return false
	}
	switch {
	case !a.IsValid(), within(neverDialled):
		return false
	case within(privateNetworks):
		return private
	case a.Is6():
		return within(globalUnicast)
	}
	return true
}

// The networks of the IANA special-purpose address registries that are not public; those of IPv6 outside 2000::/3,
// where all public addresses are, need not be listed. Prefixes that carry an IPv4 address within (6to4, Teredo, NAT64)
// lead to wherever that leads.
var (
	neverDialled = []string{
		"0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/3", "100.100.100.200/32", "168.63.129.16/32",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fd00:ec2::254/128", "fd20:ce::254/128",
	}
	privateNetworks = []string{
		"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15",
		"::1/128", "fc00::/7",
	}
	globalUnicast = []string{"2000::/3"}
)
