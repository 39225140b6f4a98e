package ident

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer"
)

// A site is a host of did:web documents on this machine, at https://localhost:port.
type site struct {
	*httptest.Server
	roots *x509.CertPool
	host  string // localhost:port
	did   string // did:web:localhost%3Aport
	asked atomic.Int32
}

func newSite(t *testing.T, secure bool, h func(s *site, w http.ResponseWriter, r *http.Request)) *site {
	t.Helper()
	s := &site{roots: x509.NewCertPool()}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		h(s, w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
		if err != nil {
			t.Fatal(err)
		}
		cert, _ := x509.ParseCertificate(der)
		s.roots.AddCert(cert)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	s.host, s.did = "localhost:"+port, "did:web:localhost%3A"+port
	return s
}

// documentOf returns the document of somebody with alice's key.
func documentOf(did string) string {
	return `{"id":"` + did + `","verificationMethod":[{"id":"#a","type":"Multikey","controller":"` + did +
		`","publicKeyMultibase":"` + alice + `"}],"capabilityInvocation":["#a"]}`
}

func TestWeb(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, true, func(s *site, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/did.json":
			io.WriteString(w, documentOf(s.did))
		case "/people/alice/did.json":
			io.WriteString(w, documentOf(s.did+":people:alice"))
		case "/mallory/did.json":
			io.WriteString(w, documentOf(s.did+":people:alice"))
		case "/html/did.json":
			io.WriteString(w, "<html>")
		case "/long/did.json":
			io.WriteString(w, documentOf(s.did+":long"))
			io.WriteString(w, strings.Repeat(" ", maxDocument))
		case "/endless/did.json":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/cut/did.json":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, documentOf(s.did+":cut"))
		case "/moved/did.json":
			http.Redirect(w, r, "/people/alice/did.json", http.StatusFound)
		case "/broken/did.json":
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, documentOf(s.did+":broken"))
		case "/gone/did.json":
			w.WriteHeader(http.StatusGone)
		case "/packed/did.json":
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "\x1f\x8b")
		default:
			http.NotFound(w, r)
		}
	})
	r := newResolver(t, Options{AllowWeb: []string{s.host}, RootCAs: s.roots})
	for _, c := range []struct {
		path string
		kind coffer.Kind
	}{
		{"", 0},
		{":people:alice", 0},
		{":mallory", coffer.Invalid},
		{":html", coffer.Invalid},
		{":long", coffer.Invalid},
		{":endless", coffer.Invalid},
		{":cut", coffer.Unavailable},
		{":moved", coffer.Unavailable},
		{":broken", coffer.Unavailable},
		{":gone", coffer.NotExist},
		{":packed", coffer.Invalid},
		{":nobody", coffer.NotExist},
		{":people:..:alice", coffer.Invalid},
		{":people::alice", coffer.Invalid},
		{":people%2Falice", coffer.Invalid},
		{":people:al%69ce", coffer.Invalid},
	} {
		id := s.did + c.path
		got, err := r.Resolve(ctx, id)
		switch {
		case c.kind == 0 && (err != nil || got.ID != id || ids(got.Invoke) != id+"#a"):
			t.Errorf("%q: %+v, %v", c.path, got, err)
		case c.kind != 0 && (got != nil || !errors.Is(err, c.kind)):
			t.Errorf("%q: %+v, %v", c.path, got, err)
		case err != nil && strings.Contains(err.Error(), "localhost"):
			t.Errorf("%q: the error names the host: %v", c.path, err)
		}
	}
	if v, err := r.Key(ctx, s.did+"#a", coffer.Invocation); err != nil || v == nil {
		t.Errorf("key: %v", err)
	}
	if _, err := r.Key(ctx, s.did+"#a", coffer.Delegation); !errors.Is(err, coffer.Denied) {
		t.Errorf("key for another purpose: %v", err)
	}

	// Somebody else's certificate, no TLS, nobody there.
	for name, r := range map[string]*Resolver{
		"unknown authority": newResolver(t, Options{AllowWeb: []string{s.host}}),
		"TLS asked plainly": newResolver(t, Options{AllowWeb: []string{"http://" + s.host}}),
	} {
		if _, err := r.Resolve(ctx, s.did); !errors.Is(err, coffer.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := newSite(t, false, func(s *site, w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, documentOf(s.did))
	})
	r = newResolver(t, Options{AllowWeb: []string{plain.host}})
	if _, err := r.Resolve(ctx, plain.did); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("no TLS: %v", err)
	}
	if _, err := newResolver(t, Options{AllowWeb: []string{"http://" + plain.host}}).Resolve(ctx, plain.did); err != nil {
		t.Errorf("no TLS, as allowed: %v", err)
	}
	plain.Close()
	r = newResolver(t, Options{AllowWeb: []string{plain.host}})
	if _, err := r.Resolve(ctx, plain.did); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestWebAllowed asks with many lists, and without: nothing may be asked that the list does not have.
func TestWebAllowed(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, true, func(s *site, w http.ResponseWriter, r *http.Request) { io.WriteString(w, documentOf(s.did)) })
	for name, allow := range map[string][]string{
		"nothing": nil, "all": {"*"}, "suffix": {".localhost"}, "same host": {"localhost"}, "other port": {"localhost:1"},
		"other host": {"example.org"},
	} {
		_, err := newResolver(t, Options{AllowWeb: allow, RootCAs: s.roots}).Resolve(ctx, s.did)
		if !errors.Is(err, coffer.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := s.asked.Load(); n > 0 {
		t.Errorf("asked %d times", n)
	}
	for _, bad := range []string{
		"", "http://example.org", "https://example.org", "http://", "Example.org", "example.org/", "*.example.org",
		"127.0.0.1", "http://127.0.0.1:80", "[::1]", "example.org:", "example.org:0", "example.org:65536",
		"example.org:+1", ".example.org:443",
		".", "..", "example..org", "-a.org", "a-.org", strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 127) + "org",
	} {
		if _, err := New(Options{AllowWeb: []string{bad}}); !errors.Is(err, coffer.Invalid) {
			t.Errorf("allowed %q: %v", bad, err)
		}
	}
	w, err := newWeb([]string{"a.example", "b.example:8443", ".c.example", "http://localhost:80"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"a.example": "https private", "b.example:8443": "https private", "x.c.example": "https public",
		"localhost:80": "http private", "y.x.c.example": "https public",
		"b.example": "", "a.example:8443": "", "c.example": "", "xc.example": "", "x.c.example:8443": "", "x.a.example": "",
		"localhost": "", "c.example.org": "",
	} {
		client, scheme, err := w.client(host)
		got := ""
		switch {
		case client == w.private:
			got = scheme + " private"
		case client == w.public:
			got = scheme + " public"
		}
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", host, got, err, want)
		}
	}
}

func TestWebURL(t *testing.T) {
	for rest, want := range map[string]string{
		"example.org":                   "example.org/.well-known/did.json",
		"example.org:a":                 "example.org/a/did.json",
		"example.org:a:b.c-d_E":         "example.org/a/b.c-d_E/did.json",
		"example.org%3A8443":            "example.org:8443/.well-known/did.json",
		"example.org%3a8443:user:alice": "example.org:8443/user/alice/did.json",
		"xn--bcher-kva.example":         "xn--bcher-kva.example/.well-known/did.json",
		"example.org%3A8443%3A1":        "", "example.org%3A": "", "example.org%3A443": "", "example.org%3A08": "",
		"Example.org": "", "127.0.0.1": "", "127.1": "", "0x7f.1": "", "2130706433": "", "0x7f000001": "", "example.org.": "",
		"%5B%3A%3A1%5D": "", "a%40b": "", "example.org:.": "", "example.org:..": "", "example.org::a": "",
		"example.org:%2e%2e": "", "example.org%2Fa": "", "example_org": "", "": "", "%3A80": "", "1.2.3.4%3A80": "", "a.5": "",
	} {
		got, _, err := webURL(rest)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", rest, got, err, want)
		}
	}
}

func TestMayDial(t *testing.T) {
	for addr, want := range map[string]string{
		"8.8.8.8": "all", "1.1.1.1": "all", "172.15.0.1": "all", "172.32.0.1": "all", "100.63.0.1": "all",
		"100.128.0.1": "all", "2606:4700::1111": "all", "2a00::1": "all", "2001:200::1": "all",
		"127.0.0.1": "private", "127.255.255.254": "private", "10.0.0.1": "private", "172.16.0.1": "private",
		"172.31.255.255": "private", "192.168.1.1": "private", "100.64.0.1": "private", "198.18.0.1": "private",
		"::1": "private", "fc00::1": "private", "fd12::1": "private", "::ffff:127.0.0.1": "private",
		"::ffff:10.0.0.1": "private", "0.0.0.0": "", "0.1.2.3": "", "169.254.169.254": "", "169.254.0.1": "", "224.0.0.1": "", "240.0.0.1": "",
		"255.255.255.255": "", "192.0.0.192": "", "100.100.100.200": "", "168.63.129.16": "", "::": "", "fe80::1": "",
		"fe80::1%eth0": "", "ff02::1": "", "fd00:ec2::254": "", "fd20:ce::254": "", "::ffff:169.254.169.254": "",
		"64:ff9b::a9fe:a9fe": "", "2002:7f00:1::": "", "2001::1": "", "::127.0.0.1": "", "fec0::1": "", "100::1": "",
	} {
		a, err := netip.ParseAddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		switch {
		case mayDial(a, false):
			got = "all"
		case mayDial(a, true):
			got = "private"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if mayDial(netip.Addr{}, true) {
		t.Error("no address may be dialled")
	}
}

// TestGuard names hosts whose addresses strangers must not reach through us, and listens there.
func TestGuard(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	here, metadata := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254")
	lookup := func(addrs ...netip.Addr) func(context.Context, string) ([]netip.Addr, error) {
		return func(context.Context, string) ([]netip.Addr, error) { return addrs, nil }
	}
	for name, c := range map[string]struct {
		d    *dialer
		kind coffer.Kind
	}{
		"this machine":         {&dialer{lookup: lookup(here)}, coffer.Denied},
		"this machine in IPv6": {&dialer{lookup: lookup(netip.MustParseAddr("::ffff:127.0.0.1"))}, coffer.Denied},
		"a mixture":            {&dialer{lookup: lookup(here, netip.MustParseAddr("8.8.8.8"))}, coffer.Denied},
		"never":                {&dialer{lookup: lookup(here, metadata), private: true}, coffer.Denied},
		"none":                 {&dialer{lookup: lookup(), private: true}, coffer.Unavailable},
	} {
		if _, err := c.d.dial(context.Background(), "tcp", "public.example:"+port); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
		// The same through a client: the refusal must come out as one.
		_, _, err := get(context.Background(), newClient(c.d, nil), "http://public.example:"+port, "")
		if !errors.Is(err, c.kind) {
			t.Errorf("%s, through a client: %v", name, err)
		}
	}
	// A public name that leads here: the list has it, the guard refuses it.
	r := newResolver(t, Options{AllowWeb: []string{"*"}})
	r.web.public = newClient(&dialer{lookup: lookup(here)}, nil)
	if _, err := r.Resolve(context.Background(), "did:web:public.example"); !errors.Is(err, coffer.Denied) {
		t.Errorf("rebound name: %v", err)
	}
	// The first connection to arrive is the first that was allowed.
	d := &dialer{lookup: lookup(here), private: true}
	conn, err := d.dial(context.Background(), "tcp", "private.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.RemoteAddr().String() != conn.LocalAddr().String() {
		t.Error("an address was dialled that may not be")
	}
}

// TestKept follows what is asked again, and when.
func TestKept(t *testing.T) {
	ctx := context.Background()
	up := atomic.Bool{}
	up.Store(true)
	s := newSite(t, true, func(s *site, w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, documentOf(s.did))
	})
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	r := newResolver(t, Options{AllowWeb: []string{s.host}, RootCAs: s.roots, Now: func() time.Time { return now }})
	step := func(what string, after time.Duration, fails bool, asked int32) {
		t.Helper()
		now = now.Add(after)
		if _, err := r.Resolve(ctx, s.did); (err != nil) != fails || s.asked.Load() != asked {
			t.Errorf("%s: asked %d times, want %d; %v", what, s.asked.Load(), asked, err)
		}
	}
	step("first", 0, false, 1)
	step("again", 0, false, 1)
	up.Store(false)
	step("nearly five minutes", keepFound-1, false, 1)
	step("five minutes", 1, true, 2)
	up.Store(true)
	step("failed", keepFailed-1, true, 2)
	step("half a minute", 1, false, 3)
}

// TestTogether lets many ask at once: one of them is called off, one asks for all.
func TestTogether(t *testing.T) {
	arrived, goOn := make(chan struct{}, 10), make(chan struct{})
	s := newSite(t, true, func(s *site, w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		io.WriteString(w, documentOf(s.did))
	})
	r := newResolver(t, Options{AllowWeb: []string{s.host}, RootCAs: s.roots})
	leader, callOff := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := r.Resolve(leader, s.did); !errors.Is(err, coffer.Unavailable) {
			t.Errorf("the one called off: %v", err)
		}
	})
	<-arrived
	for range 20 {
		wg.Go(func() {
			if _, err := r.Resolve(context.Background(), s.did); err != nil {
				t.Error(err)
			}
		})
	}
	impatient, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Resolve(impatient, s.did); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("one who does not wait: %v", err)
	}
	callOff()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		wg.Wait()
	}()
	select {
	case <-arrived: // another one asks
	case <-answered:
		t.Error("all were answered, and nobody asked")
	}
	close(goOn)
	<-answered
	if n := s.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestPatience(t *testing.T) {
	if testing.Short() {
		t.Skip("takes five seconds")
	}
	t.Parallel()
	s := newSite(t, true, func(s *site, w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r := newResolver(t, Options{AllowWeb: []string{s.host}, RootCAs: s.roots})
	start := time.Now()
	for range 2 { // the second answer is kept
		if _, err := r.Resolve(context.Background(), s.did); !errors.Is(err, coffer.Unavailable) {
			t.Error(err)
		}
	}
	if d := time.Since(start); d < lookupTime || d > 2*lookupTime {
		t.Errorf("took %v", d)
	}
}

// TestBounded keeps many long answers and looks at what is held.
func TestBounded(t *testing.T) {
	l := newLookups(time.Now)
	document := make([]byte, maxDocument)
	for i := range 200 {
		id := fmt.Sprint("did:example:", i%150)
		_, err := l.do(context.Background(), id, func(context.Context) (*coffer.Identity, error) {
			return &coffer.Identity{ID: id, Document: document}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for _, id := range l.answers.Keys() {
		a, _ := l.answers.Peek(id)
		held += a.size(id)
	}
	if held != l.size || l.size > maxKept || l.size < maxKept/2 || len(l.flights) > 0 {
		t.Errorf("%d bytes are held, %d counted, %d flights", held, l.size, len(l.flights))
	}
	for i := range 2 * maxAnswers {
		l.do(context.Background(), fmt.Sprint(i), func(context.Context) (*coffer.Identity, error) {
			return nil, coffer.Errorf("", coffer.NotExist, "")
		})
	}
	if l.answers.Len() > maxAnswers || l.size > maxKept {
		t.Errorf("%d answers, %d bytes", l.answers.Len(), l.size)
	}
}

// TestOldAnswerReplaced pins that an answer that has grown old gives back the room it took.
func TestOldAnswerReplaced(t *testing.T) {
	now := time.Now()
	l := newLookups(func() time.Time { return now })
	for range 5 {
		l.do(context.Background(), "a", func(context.Context) (*coffer.Identity, error) {
			return &coffer.Identity{Document: make([]byte, 1000)}, nil
		})
		now = now.Add(keepFound)
	}
	if want := (answer{identity: &coffer.Identity{Document: make([]byte, 1000)}}).size("a"); l.size != want {
		t.Errorf("%d bytes counted, want %d", l.size, want)
	}
}

// TestBusy takes all places and lets two more ask for one name: both are told so in time, and nothing of it is kept.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookups(time.Now)
		for range maxLookups {
			l.slots <- struct{}{}
		}
		ask := func(context.Context) (*coffer.Identity, error) { return &coffer.Identity{}, nil }
		start := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := l.do(context.Background(), "a", ask); !errors.Is(err, coffer.Unavailable) {
					t.Errorf("all places taken: %v", err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != lookupTime {
			t.Errorf("waited %v", d)
		}
		<-l.slots
		if _, err := l.do(context.Background(), "a", ask); err != nil {
			t.Errorf("a place is free: %v", err)
		}
	})
}

// TestPanicReleases pins that a look-up that panics leaves nobody waiting.
func TestPanicReleases(t *testing.T) {
	l := newLookups(time.Now)
	func() {
		defer func() { recover() }()
		l.do(context.Background(), "a", func(context.Context) (*coffer.Identity, error) { panic("defect") })
	}()
	_, err := l.do(context.Background(), "a", func(context.Context) (*coffer.Identity, error) {
		return &coffer.Identity{}, nil
	})
	if err != nil || len(l.slots) != 0 || len(l.flights) != 0 {
		t.Errorf("%v, %d slots, %d flights", err, len(l.slots), len(l.flights))
	}
}
