package vault_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

func TestConfigureKeepsWhatMayNotChange(t *testing.T) {
	s := tell(t, vault.Limits{})
	for name, tt := range map[string]struct {
		change func(*coffer.Config)
		want   coffer.Kind
	}{
		"sequence stays":      {func(c *coffer.Config) { c.Sequence-- }, coffer.Conflict},
		"sequence jumps":      {func(c *coffer.Config) { c.Sequence++ }, coffer.Conflict},
		"another id":          {func(c *coffer.Config) { c.ID += "x" }, coffer.Invalid},
		"no id":               {func(c *coffer.Config) { c.ID = "" }, coffer.Invalid},
		"another referenceId": {func(c *coffer.Config) { c.ReferenceID = "r" }, coffer.Invalid},
		"another meterId":     {func(c *coffer.Config) { c.MeterID = "m" }, coffer.Invalid},
		"no controller":       {func(c *coffer.Config) { c.Controller = "" }, coffer.Invalid},
	} {
		c := s.config()
		c.Sequence++
		tt.change(c)
		s.want(s.v.Configure(t.Context(), c), tt.want, name)
	}
	c := s.config()
	if c.Sequence != 0 {
		t.Fatalf("what failed has changed the sequence to %d", c.Sequence)
	}
	c.Sequence++
	c.HMAC = &coffer.KeyRef{ID: "urn:key", Type: "Sha256HmacKey2019"}
	s.want(s.v.Configure(t.Context(), c), works, "a new key")
	if got := s.config(); got.Sequence != 1 || got.HMAC == nil || *got.HMAC != *c.HMAC {
		t.Errorf("the configuration is %+v", got)
	}
	reader := s.as(s.bob, s.delegate(s.alice, "", s.bob, "", grant.Read))
	_, err := reader.Config(t.Context())
	s.want(err, works, "as Bob, with a right to read, the configuration")
	c.Sequence++
	s.want(reader.Configure(t.Context(), c), coffer.Denied, "as Bob, with a right to read, configure")
	s.want(s.as(s.bob, nil).Configure(t.Context(), c), coffer.NotExist, "as Bob, without a right")
}

func TestADelegateDoesNotTakeTheVaultOver(t *testing.T) {
	s := tell(t, vault.Limits{})
	writer := s.as(s.bob, s.delegate(s.alice, "", s.bob, "", grant.Read, grant.Write))
	c := s.config()
	c.Sequence++
	c.Controller = s.bob.DID()
	s.want(writer.Configure(t.Context(), c), coffer.Denied, "as Bob, who may write, become the controller")
	c.Controller, c.IPAllowList = s.alice.DID(), []string{"10.0.0.0/8"}
	s.want(writer.Configure(t.Context(), c), coffer.Denied, "as Bob, who may write, shut others out")
	c.IPAllowList, c.HMAC = nil, &coffer.KeyRef{ID: "urn:key", Type: "Sha256HmacKey2019"}
	s.want(writer.Configure(t.Context(), c), works, "as Bob, who may write, name a key")
}

func TestOfManyWhoConfigureOneWins(t *testing.T) {
	s := tell(t, vault.Limits{})
	for round := range uint64(8) {
		var wg sync.WaitGroup
		var won, readers atomic.Int64
		present := s.config()
		for range 8 {
			c := *present
			c.Sequence++
			wg.Go(func() {
				err := s.v.Configure(t.Context(), &c)
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, coffer.Conflict) {
					t.Errorf("a loser: %v", err)
				}
			})
			wg.Go(func() { // readers must not keep what is old
				if _, err := s.v.Config(t.Context()); err == nil {
					readers.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || readers.Load() != 8 {
			t.Errorf("%d won, want 1; %d read", won.Load(), readers.Load())
		}
		if got := s.config().Sequence; got != round+1 {
			t.Fatalf("the sequence is %d, want %d", got, round+1)
		}
	}
}

func TestHandingOverVoidsWhatWas(t *testing.T) {
	s := tell(t, vault.Limits{})
	ctx := t.Context()
	d := s.put(document(10))
	asCarol := s.as(s.carol, s.delegate(s.alice, "", s.carol, "/documents", grant.Read))
	_, err := asCarol.Get(ctx, d.ID)
	s.want(err, works, "as Carol, by Alice's capability, before")

	c := s.config()
	c.Sequence, c.Controller = c.Sequence+1, s.bob.DID()
	s.want(s.v.Configure(ctx, c), works, "as Alice, hand over to Bob")

	// The callers are those of before: their authority was verified against the former controller.
	_, err = s.v.Get(ctx, d.ID)
	s.want(err, coffer.NotExist, "as Alice, get")
	_, err = coffer.Put(ctx, s.v, document(10))
	s.want(err, coffer.NotExist, "as Alice, put")
	_, err = s.v.Config(ctx)
	s.want(err, coffer.NotExist, "as Alice, the configuration")
	_, err = asCarol.Get(ctx, d.ID)
	s.want(err, coffer.NotExist, "as Carol, by Alice's capability")
	asBob := s.as(s.bob, nil)
	got, err := asBob.Get(ctx, d.ID)
	if err != nil || got[0].Rev() != d.Rev() {
		t.Errorf("as Bob, get: %v", err)
	}
	_, err = s.as(s.carol, s.delegate(s.bob, "", s.carol, "/documents", grant.Read)).Get(ctx, d.ID)
	s.want(err, works, "as Carol, by Bob's capability")
}

func TestEraseVaultLeavesTheFact(t *testing.T) {
	s := tell(t, vault.Limits{})
	ctx := t.Context()
	asAlice := s.vaults.Creator(t, s.alice)
	config, err := s.vaults.Create(ctx, asAlice, &coffer.Config{Controller: s.alice.DID(), ReferenceID: "primary"})
	s.want(err, works, "create")
	s.url = config.ID
	if s.id, err = coffer.ParseVaultID(config.ID[len(config.ID)-len(s.id.String()):]); err != nil {
		t.Fatal(err)
	}
	s.v = s.as(s.alice, nil)
	d := s.put(document(10))
	s.want(putChunk(ctx, s.v, d.ID, 0, 100), works, "put chunk")
	all := s.delegate(s.alice, "", s.bob, "", grant.Read, grant.Write)
	asBob := s.as(s.bob, all)
	revoked := s.delegate(s.alice, "", s.carol, "", grant.Read, grant.Write)
	asCarol := s.as(s.carol, revoked)
	s.want(s.v.Revoke(ctx, "", s.vaults.Chain(t, revoked), revoked), works, "revoke Carol's")

	_, err = asBob.EraseVault(ctx)
	s.want(err, coffer.Denied, "as Bob, with every right delegated, erase the vault")
	_, err = s.as(s.bob, nil).EraseVault(ctx)
	s.want(err, coffer.NotExist, "as Bob, without a right, erase the vault")
	if s.files() != 1 {
		t.Fatalf("%d chunks on the disk, want 1", s.files())
	}
	change, err := s.v.EraseVault(ctx)
	if err != nil || change.Kind != coffer.VaultErased || change.By != s.alice.DID() {
		t.Fatalf("erase the vault: %+v, %v", change, err)
	}
	if s.files() != 0 {
		t.Errorf("%d chunks are still on the disk", s.files())
	}
	for who, v := range map[string]*vault.View{"Alice": s.v, "Bob": asBob} {
		ref, _ := chunk(0, 0, 1)
		_, getErr := v.Get(ctx, d.ID)
		_, presentErr := v.Present(ctx, d.ID)
		_, putErr := coffer.Put(ctx, v, document(1))
		_, reindexErr := v.Reindex(ctx, d)
		_, countErr := v.Count(ctx, coffer.Query{})
		_, configErr := v.Config(ctx)
		_, eraseErr := v.EraseVault(ctx)
		_, _, chunkErr := v.Chunk(ctx, d.ID, 0)
		for name, err := range map[string]error{
			"get": getErr, "present": presentErr, "put": putErr, "reindex": reindexErr, "count": countErr,
			"config": configErr, "configure": v.Configure(ctx, config), "erase": eraseErr, "chunk": chunkErr,
			"put chunk": v.PutChunk(ctx, d.ID, ref, nil), "drop chunk": v.DropChunk(ctx, d.ID, 0),
			"revoke": v.Revoke(ctx, "", s.vaults.Chain(t, all), all),
		} {
			s.want(err, coffer.NotExist, "as "+who+", "+name)
		}
		for _, err := range v.Revocations(ctx) {
			s.want(err, coffer.NotExist, "as "+who+", revocations")
		}
	}
	feed, err := s.changes(s.v)
	if err != nil || len(feed) != 1 || feed[0] != change {
		t.Errorf("the feed has %+v, %v; want the erasure alone", feed, err)
	}
	_, err = s.changes(asBob)
	s.want(err, coffer.NotExist, "as Bob, a delegate, the feed")
	_, err = s.changes(asCarol)
	s.want(err, coffer.NotExist, "as Carol, revoked before, the feed")

	again, err := s.vaults.Create(ctx, asAlice, &coffer.Config{Controller: s.alice.DID(), ReferenceID: "primary"})
	if err != nil || again.ID == config.ID {
		t.Errorf("the reference is not free, or the id is: %v", err)
	}
}

// TestNothingIsWrittenIntoAnErasedVault has writers who were let in before the end and commit after it.
func TestNothingIsWrittenIntoAnErasedVault(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.put(document(10))
	var wg sync.WaitGroup
	begun := make(chan struct{}, 64)
	for i := range uint64(8) {
		wg.Go(func() {
			for n := uint64(0); ; n++ {
				_, err := coffer.Put(t.Context(), s.v, document(100))
				if err == nil {
					err = putChunk(t.Context(), s.v, d.ID, i<<32+n, 100)
				}
				if err != nil {
					s.want(err, coffer.NotExist, "after the end")
					return
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 16 {
		<-begun
	}
	_, err := s.v.EraseVault(t.Context())
	s.want(err, works, "erase the vault")
	feed, err := s.changes(s.v)
	wg.Wait()
	later, laterErr := s.changes(s.v)
	if err != nil || laterErr != nil || len(feed) != 1 || len(later) != 1 {
		t.Errorf("the feed had %d changes and has %d, want the erasure alone (%v, %v)", len(feed), len(later), err, laterErr)
	}
	if n := s.files(); n != 0 {
		t.Errorf("%d chunks are on the disk", n)
	}
}
