package grant

import (
	"context"
	"crypto/sha256"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// oneCache is a Cache without bounds.
type oneCache map[[32]byte]*Capability

func (c oneCache) Get(key [32]byte) (*Capability, bool) {
	v, ok := c[key]
	return v, ok
}

func (c oneCache) Add(key [32]byte, v *Capability) { c[key] = v }

// free is a key whose signatures cost nothing, to see what all the rest costs.
type free struct{}

func (free) Verify([]byte, []byte) bool { return true }

const benchVault = "https://vault.example/edvs/z1A5sEs297TrgBd1P2m2sm8jB"

// delegated returns a chain of n delegations and the one who may invoke it.
func delegated(t testing.TB, n int, suite Suite) (string, *person) {
	t.Helper()
	parent := benchVault
	for i := range n {
		b, err := Delegate(t.Context(), named(byte(0x11+i)), parent, DelegateOptions{
			Controller: named(byte(0x12 + i)).did, Actions: []Action{Read}, Suite: suite,
			Created: when.Add(-time.Hour), Expires: when.Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		parent = string(b)
	}
	return parent, named(byte(0x11 + n))
}

// request signs a GET for a document below the vault and returns it as the server sees it.
func request(t testing.TB, i *Invoker) *Invocation {
	t.Helper()
	h, err := i.Sign(t.Context(), Request{
		Method: "GET", URL: benchVault + "/documents/z19inwPEW2tBULosfqG97hZd8", Action: Read, Now: when,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Invocation{
		Method: "GET", URI: strings.TrimPrefix(benchVault, "https://vault.example") + "/documents/z19inwPEW2tBULosfqG97hZd8",
		Host: "vault.example", Header: h,
	}
}

func BenchmarkVerify(b *testing.B) {
	alice := named(0x11)
	run := func(name string, authority string, who *person, cached bool, s *Session) {
		for _, keys := range []string{"ed25519", "freeKeys"} {
			b.Run(name+"/"+keys, func(b *testing.B) {
				i, err := NewInvoker(who, authority)
				if err != nil {
					b.Fatal(err)
				}
				f := facts(benchVault, alice.did)
				f.Session = func(string) *Session { return s }
				known := map[string]coffer.Verifier{}
				for n := range 12 {
					p := named(byte(0x11 + n))
					known[p.keyID()], _ = didKey(b.Context(), p.keyID(), coffer.Invocation)
					if keys == "freeKeys" {
						known[p.keyID()] = free{}
					}
				}
				f.Key = func(_ context.Context, id string, _ coffer.Purpose) (coffer.Verifier, error) { return known[id], nil }
				if cached {
					f.Cache = oneCache{}
				}
				in := request(b, i.Under(s))
				if _, err := Verify(b.Context(), in, f); err != nil {
					b.Fatal(err)
				}
				ctx := b.Context()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Verify(ctx, in, f); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	run("root", benchVault, alice, false, nil)
	o, err := OpenSession()
	if err != nil {
		b.Fatal(err)
	}
	s, _, err := NewSession(o.Public(), alice.keyID(), "https://vault.example", when, 0)
	if err != nil {
		b.Fatal(err)
	}
	run("session", benchVault, alice, false, s)
	for _, n := range []int{1, 3, 5, 9} {
		capability, who := delegated(b, n, "")
		run("cached"+strconv.Itoa(n), capability, who, true, nil)
		run("uncached"+strconv.Itoa(n), capability, who, false, nil)
	}
}

func BenchmarkStranger(b *testing.B) {
	capability, who := delegated(b, 3, "")
	i, err := NewInvoker(who, capability)
	if err != nil {
		b.Fatal(err)
	}
	f := facts(benchVault, "did:key:zNobody")
	in := request(b, i)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(b.Context(), in, f); coffer.KindOf(err) != coffer.NotExist {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	alice := named(0x11)
	i, err := NewInvoker(alice, benchVault)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	r := Request{
		Method: "POST", URL: benchVault + "/documents", Action: Write, BodySum: &sum, ContentType: "application/json", Now: when,
	}
	o, err := OpenSession()
	if err != nil {
		b.Fatal(err)
	}
	s, _, err := NewSession(o.Public(), alice.keyID(), "https://vault.example", when, 0)
	if err != nil {
		b.Fatal(err)
	}
	for name, i := range map[string]*Invoker{"ed25519": i, "session": i.Under(s)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Sign(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
