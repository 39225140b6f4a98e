package vault_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

func TestCreateIsForOneself(t *testing.T) {
	s := tell(t, vault.Limits{})
	ctx := t.Context()
	_, err := s.vaults.Create(ctx, s.vaults.Creator(t, s.bob), &coffer.Config{Controller: s.alice.DID()})
	s.want(err, coffer.NotExist, "as Bob, for Alice")
	var refusal interface{ Refused() bool }
	if !errors.As(err, &refusal) || !refusal.Refused() {
		t.Errorf("%v is not marked as a refusal", err)
	}
	_, err = s.vaults.Create(ctx, grant.Caller{}, &coffer.Config{Controller: s.alice.DID()})
	s.want(err, coffer.NotExist, "as nobody")
}

func TestCreateChecksTheConfiguration(t *testing.T) {
	s := tell(t, vault.Limits{})
	long := strings.Repeat("x", 1025)
	key := func(id, kind string) *coffer.KeyRef { return &coffer.KeyRef{ID: id, Type: kind} }
	for name, tt := range map[string]struct {
		change func(*coffer.Config)
		want   coffer.Kind
	}{
		"nothing wrong":          {func(*coffer.Config) {}, works},
		"all members":            {func(c *coffer.Config) { c.HMAC, c.KeyAgreementKey, c.MeterID = key("a", "b"), key("c", "d"), "m" }, works},
		"ranges":                 {func(c *coffer.Config) { c.IPAllowList = []string{"10.0.0.0/8", "2001:db8::/32"} }, works},
		"no controller":          {func(c *coffer.Config) { c.Controller = "" }, coffer.Invalid},
		"sequence not 0":         {func(c *coffer.Config) { c.Sequence = 1 }, coffer.Invalid},
		"sequence out of range":  {func(c *coffer.Config) { c.Sequence = coffer.MaxSequence + 1 }, coffer.Invalid},
		"an id":                  {func(c *coffer.Config) { c.ID = s.url }, coffer.Invalid},
		"key without id":         {func(c *coffer.Config) { c.HMAC = key("", "t") }, coffer.Invalid},
		"key without type":       {func(c *coffer.Config) { c.KeyAgreementKey = key("i", "") }, coffer.Invalid},
		"long reference":         {func(c *coffer.Config) { c.ReferenceID = long }, coffer.Invalid},
		"long key":               {func(c *coffer.Config) { c.HMAC = key(long, "t") }, coffer.Invalid},
		"long invoker":           {func(c *coffer.Config) { c.Invoker = json.RawMessage(`"` + long + `"`) }, coffer.Invalid},
		"an address, no range":   {func(c *coffer.Config) { c.IPAllowList = []string{"10.0.0.1"} }, coffer.Invalid},
		"many ranges":            {func(c *coffer.Config) { c.IPAllowList = make([]string, 101) }, coffer.Invalid},
		"an empty text no range": {func(c *coffer.Config) { c.IPAllowList = []string{""} }, coffer.Invalid},
	} {
		c := &coffer.Config{Controller: s.alice.DID(), ReferenceID: name}
		tt.change(c)
		got, err := s.vaults.Create(t.Context(), s.vaults.Creator(t, s.alice), c)
		s.want(err, tt.want, name)
		found, findErr := s.vaults.Find(t.Context(), s.vaults.Creator(t, s.alice), s.alice.DID(), name)
		if findErr != nil || len(found) > 0 != (err == nil) {
			t.Errorf("%s: %d vaults found (%v) after %v", name, len(found), findErr, err)
		}
		if err == nil && (got.ID == "" || got.ReferenceID != name || found[0].ID != got.ID) {
			t.Errorf("%s: made %+v, found %+v", name, got, found[0])
		}
	}
}

func TestFindNamesOnesOwn(t *testing.T) {
	s := tell(t, vault.Limits{})
	ctx := t.Context()
	asAlice, asBob := s.vaults.Creator(t, s.alice), s.vaults.Creator(t, s.bob)
	first, err := s.vaults.Create(ctx, asAlice, &coffer.Config{Controller: s.alice.DID(), ReferenceID: "primary"})
	s.want(err, works, "create")
	_, err = s.vaults.Create(ctx, asAlice, &coffer.Config{Controller: s.alice.DID(), ReferenceID: "primary"})
	s.want(err, coffer.Conflict, "as Alice, the same reference again")
	_, err = s.vaults.Create(ctx, asBob, &coffer.Config{Controller: s.bob.DID(), ReferenceID: "primary"})
	s.want(err, works, "as Bob, the same reference")

	found, err := s.vaults.Find(ctx, asAlice, s.alice.DID(), "primary")
	if err != nil || len(found) != 1 || found[0].ID != first.ID {
		t.Errorf("found %d vaults, %v; want the one", len(found), err)
	}
	if found, err := s.vaults.Find(ctx, asAlice, s.alice.DID(), "other"); err != nil || len(found) != 0 {
		t.Errorf("another reference finds %d vaults, %v", len(found), err)
	}
	_, err = s.vaults.Find(ctx, asBob, s.alice.DID(), "primary")
	s.want(err, coffer.NotExist, "as Bob, Alice's")
	_, err = s.vaults.Find(ctx, grant.Caller{}, s.alice.DID(), "primary")
	s.want(err, coffer.NotExist, "as nobody")
	_, err = s.vaults.Find(ctx, grant.Caller{}, "", "primary")
	s.want(err, coffer.NotExist, "as nobody, nobody's")
}

func TestAllowListHidesTheVault(t *testing.T) {
	s := tell(t, vault.Limits{})
	c := s.config()
	c.Sequence++
	c.IPAllowList = []string{"192.0.2.7/24", "2001:db8::/32"}
	s.want(s.v.Configure(t.Context(), c), works, "configure")
	for from, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.255": true, "::ffff:192.0.2.1": true, "2001:db8::1": true,
		"192.0.3.1": false, "::ffff:192.0.3.1": false, "2001:db9::1": false, "::1": false,
	} {
		controller, err := s.vaults.Controller(t.Context(), s.id, netip.MustParseAddr(from))
		if err != nil || controller != "" != want {
			t.Errorf("from %s the controller is %q, %v; admitted should be %t", from, controller, err, want)
		}
	}
	if controller, err := s.vaults.Controller(t.Context(), s.id, netip.Addr{}); controller != "" || err != nil {
		t.Errorf("from no address the controller is %q, %v", controller, err)
	}
	controller, err := s.vaults.Controller(t.Context(), coffer.NewVaultID(), netip.MustParseAddr("192.0.2.1"))
	if controller != "" || err != nil {
		t.Errorf("of no vault the controller is %q, %v", controller, err)
	}
}
