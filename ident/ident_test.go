package ident

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

var _ coffer.Resolver = (*Resolver)(nil)

const (
	alice = "z6MktULudTtAsAhRegYPiZ6631RV3viv12qd4GQF8z1xB22S"
	bob   = "z6MkqGC3nWZhYieEVTVDKW5v588CiGfsDSmRVG9ZwwWTvLSK"
	carol = "z6LSj72tK8brWgZja8NLRwPigth2T9QRiG1uH9oKZuKjdh9p" // X25519
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newResolver(t testing.TB, o Options) *Resolver {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMalformed asks for names that are none, or that nobody here knows.
func TestMalformed(t *testing.T) {
	r := newResolver(t, Options{AllowWeb: []string{"*"}})
	for _, c := range []struct {
		id     string
		kind   coffer.Kind
		method bool // whether the error says that the kind of name is unknown
	}{
		{"", coffer.Invalid, false},
		{"alice", coffer.Invalid, true},
		{"mailto:alice@example.org", coffer.Invalid, true},
		{"http://example.org/alice", coffer.Invalid, true},
		{"DID:key:" + alice, coffer.Invalid, true},
		{"did:plc:yk4dd2qkboz2yv6tpubpc6co", coffer.Invalid, true},
		{"did:", coffer.Invalid, false},
		{"did:key", coffer.Invalid, false},
		{"did:key:", coffer.Invalid, false},
		{"did:Key:" + alice, coffer.Invalid, false},
		{"did::" + alice, coffer.Invalid, false},
		{"did:example:a:", coffer.Invalid, false},
		{"did:example:a%2", coffer.Invalid, false},
		{"did:example:a%2g", coffer.Invalid, false},
		{"did:example:a b", coffer.Invalid, false},
		{"did:example:ä", coffer.Invalid, false},
		{"did:example:a\n", coffer.Invalid, false},
		{"did:example:a@b", coffer.Invalid, false},
		{"did:example:" + strings.Repeat("a", maxID), coffer.Invalid, false},
		{"did:key:" + alice + "#" + alice, coffer.Invalid, false},
		{"did:key:" + alice + "/path", coffer.Invalid, false},
		{"did:key:" + alice + "?query", coffer.Invalid, false},
		{"did:key:1:" + alice, coffer.Invalid, false},
		{"did:key:1.1:" + alice, coffer.Invalid, false},
		{"did:key:" + alice[:47], coffer.Invalid, false},
		{"did:key:" + alice + "1", coffer.Invalid, false},
		{"did:key:z1" + alice[1:], coffer.Invalid, false},
		{"did:key:Z" + alice[1:], coffer.Invalid, false},
		{"did:key:" + strings.Replace(alice, "t", "0", 1), coffer.Invalid, false},
		{"did:key:uMEq0QkbwSJHmMSTZjYuGAuKGhpo", coffer.Invalid, false},
		{"did:key:z", coffer.Invalid, false},
		// A BLS12-381 and a P-384 key of the specification.
		{"did:key:zUC7EK3ZakmukHhuncwkbySmomv3FmrkmS36E4Ks5rsb6VQSRpoCrx6Hb8e2Nk6UvJFSdyw9NK1scFXJp21gNNYFjVWNgaqyGnkyhtagagCpQb5B7tagJu3HDbjQ8h5ypoHjwBb", coffer.Invalid, false},
		{"did:key:z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54", coffer.Invalid, false},
		// Not points of their curves.
		{"did:key:" + key{Ed25519, append([]byte{2}, make([]byte, 31)...)}.multikey(), coffer.Invalid, false},
		{"did:key:" + key{P256, append([]byte{2}, strings.Repeat("\xff", 32)...)}.multikey(), coffer.Invalid, false},
		{"did:key:" + key{P256, append([]byte{4}, make([]byte, 32)...)}.multikey(), coffer.Invalid, false},
		{"did:key:" + key{Secp256k1, append([]byte{2}, strings.Repeat("\xff", 32)...)}.multikey(), coffer.Invalid, false},
		{"did:key:" + key{Secp256k1, append([]byte{2}, append(make([]byte, 31), 5)...)}.multikey(), coffer.Invalid, false},
		{"did:key:" + key{Secp256k1, append([]byte{0}, append(make([]byte, 31), 1)...)}.multikey(), coffer.Invalid, false},
		{"did:key:" + key{X25519, make([]byte, 31)}.multikey(), coffer.Invalid, false},
		{"https:alice", coffer.Invalid, false},
		{"https://", coffer.Invalid, false},
		{"https://alice@example.org/", coffer.Invalid, false},
		{"https://example.org/%zz", coffer.Invalid, false},
		{"https://example.org/#me", coffer.Invalid, false},
		{"urn:uuid", coffer.Invalid, false},
		{"urn::x", coffer.Invalid, false},
		{"urn:uuid:", coffer.Invalid, false},
		{"https://example.org/alice", coffer.NotExist, false},
		{"urn:uuid:00000000-0000-4000-8000-000000000000", coffer.NotExist, false},
	} {
		got, err := r.Resolve(context.Background(), c.id)
		if got != nil || !errors.Is(err, c.kind) || errors.Is(err, ErrMethod) != c.method {
			t.Errorf("%.60q: %v, %v", c.id, got, err)
		}
		if err != nil && len(c.id) > 6 && strings.Contains(err.Error(), c.id) {
			t.Errorf("%.60q: the error names it: %v", c.id, err)
		}
	}
}

func TestPinned(t *testing.T) {
	ctx := context.Background()
	const site, urn, web = "https://example.org/alice", "urn:uuid:00000000-0000-4000-8000-000000000000",
		"did:web:example.org"
	r := newResolver(t, Options{Pinned: []Pin{
		{ID: site, Keys: []string{alice, carol}},
		{ID: urn, Document: []byte(`{"id":"` + urn +
			`","verificationMethod":[{"id":"#a","type":"Multikey","publicKeyMultibase":"` +
			bob + `"}],"capabilityInvocation":["#a"]}`)},
		{ID: web, Keys: []string{bob}}, // did:web is off: only the pin answers
	}})
	a, err := r.Resolve(ctx, site)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Invoke) != 1 || len(a.Delegate) != 1 || len(a.Assert) != 1 || len(a.Agreement) != 2 ||
		a.Invoke[0].ID != site+"#"+alice || a.Invoke[0].Controller != site || a.Agreement[1].ID != site+"#"+carol {
		t.Errorf("%+v", a)
	}
	for _, c := range []struct {
		keyID string
		p     coffer.Purpose
		kind  coffer.Kind
	}{
		{site + "#" + alice, coffer.Invocation, 0},
		{site + "#" + alice, coffer.Assertion, 0},
		{site + "#" + carol, coffer.Invocation, coffer.Denied},
		{site + "#" + bob, coffer.Invocation, coffer.NotExist},
		{urn + "#a", coffer.Invocation, 0},
		{urn + "#a", coffer.Delegation, coffer.Denied},
		{web + "#" + bob, coffer.Delegation, 0},
		{"https://example.org/alice/#" + alice, coffer.Invocation, coffer.NotExist},
	} {
		v, err := r.Key(ctx, c.keyID, c.p)
		if (v == nil) != (err != nil) || coffer.KindOf(err) != c.kind && err != nil || err == nil && c.kind != 0 {
			t.Errorf("%s for %s: %v", c.keyID, c.p, err)
		}
	}
	for name, pins := range map[string][]Pin{
		"no name":     {{Keys: []string{alice}}},
		"did:key":     {{ID: "did:key:" + alice, Keys: []string{bob}}},
		"bare key":    {{ID: alice, Keys: []string{bob}}},
		"nothing":     {{ID: site}},
		"both":        {{ID: site, Keys: []string{bob}, Document: []byte(`{"id":"` + site + `"}`)}},
		"twice":       {{ID: site, Keys: []string{bob}}, {ID: site, Keys: []string{alice}}},
		"bad key":     {{ID: site, Keys: []string{"z6Mk"}}},
		"same key":    {{ID: site, Keys: []string{bob, bob}}},
		"many keys":   {{ID: site, Keys: make([]string, 33)}},
		"another's":   {{ID: site, Document: []byte(`{"id":"` + urn + `"}`)}},
		"no document": {{ID: site, Document: []byte(`[]`)}},
	} {
		if _, err := New(Options{Pinned: pins}); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Options{Verifiers: -1}); !errors.Is(err, coffer.Invalid) {
		t.Errorf("negative number of verifiers: %v", err)
	}
}
