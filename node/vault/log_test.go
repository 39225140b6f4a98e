package vault_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node/vault"
)

// many puts so many documents in few commits.
func (s *story) many(n int) {
	s.Helper()
	for n > 0 {
		writes := make([]coffer.Write, min(n, 500))
		for i := range writes {
			writes[i].Document = document(8)
		}
		if _, err := s.v.Apply(s.Context(), writes...); err != nil {
			s.Fatalf("apply: %v", err)
		}
		n -= len(writes)
	}
}

// frontier returns that of the feed.
func (s *story) frontier() (f ledger.Frontier) {
	s.Helper()
	all, err := s.changes(s.v)
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range all {
		f.Append(ledger.LeafHash(c))
	}
	return f
}

// checkpoint returns the present checkpoint, after comparing it with the feed.
func (s *story) checkpoint() ledger.Checkpoint {
	s.Helper()
	note, err := s.v.Checkpoint(s.Context())
	if err != nil {
		s.Fatalf("checkpoint: %v", err)
	}
	c, err := ledger.Open(coffertest.LogSigner(s, coffertest.Origin).Verifier(), ledger.Origin(s.url), note)
	if err != nil {
		s.Fatalf("checkpoint: %v", err)
	}
	if f := s.frontier(); c.Size != f.Size() || c.Root != f.Root() {
		s.Fatalf("a checkpoint of %d that is not the feed's, which has %d", c.Size, f.Size())
	}
	return c
}

func (s *story) consistent(older, newer ledger.Checkpoint) {
	s.Helper()
	proof, err := s.v.Consistency(s.Context(), older.Size, newer.Size)
	if err != nil {
		s.Fatalf("consistency: %v", err)
	}
	if err := ledger.CheckConsistency(proof, older, newer); err != nil {
		s.Errorf("from %d to %d: %v", older.Size, newer.Size, err)
	}
}

func TestLogSurvivesRestartsAndTheLossOfTiles(t *testing.T) {
	s := tell(t, vault.Limits{})
	again := func() {
		s.vaults.Restart()
		s.v = s.as(s.alice, nil)
	}
	first := s.checkpoint()
	s.many(700)
	second := s.checkpoint()
	again()
	if c := s.checkpoint(); c != second {
		t.Errorf("after a restart %+v, want %+v", c, second)
	}
	s.many(300)
	again() // before anybody asked for a checkpoint
	third := s.checkpoint()
	stored := s.vaults.Tiles(t, s.id)
	if stored != 3 {
		t.Errorf("%d tiles are stored, want 3", stored)
	}
	for _, lose := range []func(testing.TB, coffer.VaultID){
		s.vaults.EraseTiles, s.vaults.DamageTiles, s.vaults.PurgeTiles,
	} {
		lose(t, s.id)
		again()
		s.consistent(second, third) // old proofs before anything else
		if c := s.checkpoint(); c != third {
			t.Errorf("after a loss %+v, want %+v", c, third)
		}
		s.many(256)
		grown := s.checkpoint()
		again()
		s.consistent(first, grown)
		s.consistent(second, grown)
		s.consistent(third, grown)
		third = grown
	}
}

func TestLogCoversWhatWasAcknowledged(t *testing.T) {
	s := tell(t, vault.Limits{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 40 {
				ch, err := coffer.Put(t.Context(), s.v, document(8))
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				note, err := s.v.Checkpoint(t.Context())
				if err != nil {
					t.Errorf("checkpoint: %v", err)
					return
				}
				c, err := ledger.Open(coffertest.LogSigner(t, coffertest.Origin).Verifier(), ledger.Origin(s.url), note)
				if err != nil || c.Size < ch.Number {
					t.Errorf("a checkpoint of %d after change %d: %v", c.Size, ch.Number, err)
					return
				}
				proof, err := s.v.Inclusion(t.Context(), ch.Number-1, c.Size)
				if err != nil || ledger.CheckInclusion(proof, ch.Number-1, ledger.LeafHash(ch), c) != nil {
					t.Errorf("inclusion of %d in %d: %v", ch.Number, c.Size, err)
				}
			}
		})
	}
	wg.Wait()
	s.checkpoint()
}

func TestLogIsForWhoReadsTheFeed(t *testing.T) {
	s := tell(t, vault.Limits{})
	s.many(3)
	for _, tt := range []struct {
		name                    string
		v                       *vault.View
		feed, checkpoint, proof coffer.Kind
	}{
		{"Alice", s.v, works, works, works},
		{"Bob, a stranger", s.as(s.bob, nil), coffer.NotExist, coffer.NotExist, coffer.NotExist},
		{"nobody", s.vaults.As(grant.Caller{}, s.id), coffer.NotExist, coffer.NotExist, coffer.NotExist},
		{"Bob, for the feed", s.as(s.bob, s.delegate(s.alice, "", s.bob, "/changes", grant.Read)), works, works, works},
		{"Bob, for the history", s.as(s.bob, s.delegate(s.alice, "", s.bob, "/history", grant.Read)), works, works, works},
		{"Bob, for documents", s.as(s.bob, s.delegate(s.alice, "", s.bob, "/documents", grant.Read)),
			coffer.Denied, coffer.Denied, coffer.Denied},
		{"Bob, for writing", s.as(s.bob, s.delegate(s.alice, "", s.bob, "", grant.Write)),
			coffer.Denied, coffer.Denied, coffer.Denied},
		{"Carol, a witness", s.as(s.carol, s.delegate(s.alice, "", s.carol, "/checkpoint", grant.Read)),
			coffer.Denied, works, coffer.Denied},
		{"Carol, for proofs", s.as(s.carol, s.delegate(s.alice, "", s.carol, "/proof", grant.Read)),
			coffer.Denied, coffer.Denied, works},
	} {
		_, feed := s.changes(tt.v)
		_, checkpoint := tt.v.Checkpoint(t.Context())
		_, consistency := tt.v.Consistency(t.Context(), 1, 3)
		_, inclusion := tt.v.Inclusion(t.Context(), 1, 3)
		s.want(feed, tt.feed, "feed, "+tt.name)
		s.want(checkpoint, tt.checkpoint, "checkpoint, "+tt.name)
		s.want(consistency, tt.proof, "consistency, "+tt.name)
		s.want(inclusion, tt.proof, "inclusion, "+tt.name)
	}
}

func TestLogEndsWithItsVault(t *testing.T) {
	s := tell(t, vault.Limits{})
	s.many(600)
	before := s.checkpoint()
	key := coffertest.LogSigner(t, coffertest.Origin).Verifier()
	w, err := ledger.NewWatcher(ledger.Origin(s.url), key)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.changes(s.v)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all[:300] {
		if err := w.Read(c); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := s.v.EraseVault(t.Context())
	s.want(err, works, "erase")
	var refusal interface{ Refused() bool }
	for range 2 {
		_, checkpoint := s.v.Checkpoint(t.Context())
		_, consistency := s.v.Consistency(t.Context(), 3, before.Size)
		_, inclusion := s.v.Inclusion(t.Context(), 3, before.Size)
		for what, err := range map[string]error{
			"checkpoint": checkpoint, "consistency": consistency, "inclusion": inclusion,
		} {
			s.want(err, coffer.NotExist, what+" of an erased vault, as Alice")
			if errors.As(err, &refusal) {
				t.Errorf("%s: Alice is refused, who may read of the erasure", what)
			}
		}
		s.vaults.Restart()
		s.v = s.as(s.alice, nil)
	}
	_, err = s.as(s.bob, nil).Checkpoint(t.Context())
	if s.want(err, coffer.NotExist, "as Bob"); !errors.As(err, &refusal) {
		t.Errorf("Bob is told of the vault: %v", err)
	}
	if n := s.vaults.Tiles(t, s.id); n != 0 {
		t.Errorf("%d tiles of an erased vault are stored", n)
	}
	// Who followed takes it as the end.
	all, err = s.changes(s.v)
	if err != nil || len(all) != 1 || all[0].Number != gone.Number || gone.Number != before.Size+1 {
		t.Fatalf("%d changes remain, the first %+v: %v", len(all), all, err)
	}
	if err := w.Read(all[0]); err != nil || !w.Erased() {
		t.Errorf("the end: %v", err)
	}
}

func TestLogRequestThatEndsEarly(t *testing.T) {
	s := tell(t, vault.Limits{})
	s.many(3000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.v.Checkpoint(ctx); err == nil {
		t.Error("a request that was over got a checkpoint")
	}
	s.checkpoint()
}

func TestLogIsSignedOncePerSize(t *testing.T) {
	s := tell(t, vault.Limits{})
	s.many(2)
	a, err := s.v.Checkpoint(t.Context())
	s.want(err, works, "checkpoint")
	b, err := s.v.Checkpoint(t.Context())
	s.want(err, works, "checkpoint again")
	if !bytes.Equal(a, b) {
		t.Error("one log, two checkpoints")
	}
	a[0] ^= 1 // is the caller's own
	s.checkpoint()
}

func BenchmarkLog(b *testing.B) {
	const size = 1_000_000
	vaults := coffertest.NewVaults(b, vault.Limits{})
	alice := coffertest.Person(b, "alice")
	id, url := vaults.NewVault(b, alice)
	v := vaults.As(vaults.Caller(b, alice, url, nil), id)
	for n := 0; n < size; {
		writes := make([]coffer.Write, 1000)
		for i := range writes {
			writes[i].Document = document(8)
		}
		if _, err := v.Apply(b.Context(), writes...); err != nil {
			b.Fatal(err)
		}
		n += len(writes)
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			vaults.PurgeTiles(b, id)
			vaults.Restart()
			v = vaults.As(vaults.Caller(b, alice, url, nil), id)
			if _, err := v.Checkpoint(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restarted", func(b *testing.B) {
		for b.Loop() {
			vaults.Restart()
			v = vaults.As(vaults.Caller(b, alice, url, nil), id)
			if _, err := v.Checkpoint(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one more", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if _, err := coffer.Put(b.Context(), v, document(8)); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if _, err := v.Checkpoint(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("consistency", func(b *testing.B) {
		from := uint64(1)
		for b.Loop() {
			from = from*6364136223846793005%(size-1) + 1
			if _, err := v.Consistency(b.Context(), from, size); err != nil {
				b.Fatal(err)
			}
		}
	})
}
