package vault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store"
)

// A refusing reader fails the test when it is read: what is over a quota is not taken in.
type refusing struct{ t *testing.T }

func (r refusing) Read([]byte) (int, error) {
	r.t.Error("bytes over the quota were taken in")
	return 0, io.EOF
}

// TestUploadsTogetherKeepTheQuota has chunks on their way that would fit one by one.
func TestUploadsTogetherKeepTheQuota(t *testing.T) {
	s := tell(t, vault.Limits{Bytes: 1000})
	d := s.put(document(100))
	type upload struct {
		w    *io.PipeWriter
		rest []byte
		done chan error
	}
	var under []upload
	for i := range uint64(3) {
		ref, b := chunk(0, i, 300)
		r, w := io.Pipe()
		u := upload{w, b[150:], make(chan error, 1)}
		go func() { u.done <- s.v.PutChunk(t.Context(), d.ID, ref, r) }()
		if _, err := w.Write(b[:150]); err != nil {
			t.Fatal(err)
		}
		under = append(under, u)
	}
	ref, _ := chunk(0, 3, 1)
	s.want(s.v.PutChunk(t.Context(), d.ID, ref, refusing{t}), coffer.Exhausted, "one byte too many")
	under[0].w.CloseWithError(errors.New("the client went away"))
	if err := await(t, under[0].done); err == nil {
		t.Error("a chunk that was cut off was taken")
	}
	for _, u := range under[1:] {
		go func() {
			u.w.Write(u.rest)
			u.w.Close()
		}()
		s.want(await(t, u.done), works, "an upload within the quota")
	}
	ref, b := chunk(0, 4, 300)
	s.want(s.v.PutChunk(t.Context(), d.ID, ref, bytes.NewReader(b)), works, "in the place of the one that was cut off")
	if n := s.files(); n != 3 {
		t.Errorf("%d chunks are on the disk, want 3", n)
	}
}

// TestMessagesKeepTheQuota leaves messages in a vault that is nearly full.
func TestMessagesKeepTheQuota(t *testing.T) {
	for name, limits := range map[string]vault.Limits{"documents": {Documents: 2}, "bytes": {Bytes: 400}} {
		s := tell(t, limits)
		bob := s.as(s.bob, s.delegate(s.alice, "", s.bob, "/inbox", grant.Write))
		s.put(document(100))
		s.want(bob.Drop(t.Context(), message("x")), works, name+": a message")
		var err error
		for n := 0; n < 5 && err == nil; n++ {
			err = bob.Drop(t.Context(), message("x"))
		}
		s.want(err, coffer.Exhausted, name+": a message too many")
	}
}

// TestKeptRevisionsKeepTheQuota replaces a document until what is kept fills the vault.
func TestKeptRevisionsKeepTheQuota(t *testing.T) {
	s := tell(t, vault.Limits{Bytes: 350, Keep: time.Hour})
	d := s.put(document(100))
	next := func() error {
		n := document(100)
		n.ID, n.Sequence, n.Parents = d.ID, d.Sequence+1, []coffer.Rev{d.Rev()}
		_, err := coffer.Put(t.Context(), s.v, n)
		if err == nil {
			d = n
		}
		return err
	}
	s.want(next(), works, "a revision")
	s.want(next(), works, "another one")
	s.want(next(), coffer.Exhausted, "a revision too many")
	reindexed := *d
	reindexed.Parents, reindexed.Tags = []coffer.Rev{d.Rev()}, []coffer.Tag{{Key: "k", Name: "n", Value: "v"}}
	_, err := s.v.Reindex(t.Context(), &reindexed)
	s.want(err, works, "an index, which keeps nothing")
	for sequence, there := range []coffer.Kind{works, works, works, coffer.NotExist} {
		_, err := s.v.Revision(t.Context(), d.ID, uint64(sequence))
		s.want(err, there, "a revision by its sequence")
	}
	_, err = coffer.Erase(t.Context(), s.v, d.ID)
	s.want(err, works, "erase")
	s.put(document(340))
}

// TestMakersKeepTheRate makes and looks for vaults.
func TestMakersKeepTheRate(t *testing.T) {
	s := tell(t, vault.Limits{Rate: 1})
	asBob := s.vaults.Creator(t, s.bob)
	n, err := 0, error(nil)
	for ; n < 50 && err == nil; n++ {
		if n%2 == 0 {
			_, err = s.vaults.Create(t.Context(), asBob, &coffer.Config{Controller: s.bob.DID()})
		} else {
			_, err = s.vaults.Find(t.Context(), asBob, s.bob.DID(), "main")
		}
	}
	var wait interface{ RetryAfter() time.Duration }
	if !errors.Is(err, coffer.Exhausted) || !errors.As(err, &wait) || n < 9 || n > 15 {
		t.Errorf("call %d: %v, want Exhausted with a time to wait", n, err)
	}
	s.vaults.NewVault(t, s.carol)
	s.vaults.Advance(10 * time.Second)
	s.vaults.NewVault(t, s.bob)
}

// TestFullListOfRevocations fills a vault's list, as a delegate and as the controller. What matters no more makes room.
func TestFullListOfRevocations(t *testing.T) {
	s := tell(t, vault.Limits{})
	s.vaults.LimitRevocations(3, 6)
	until := func(who coffer.Keyring, parent string) (n int, err error) {
		t.Helper()
		for ; n < 10 && err == nil; n++ {
			err = s.revoke(who, s.delegate(who, parent, s.carol, "/documents", grant.Read))
		}
		return n - 1, err
	}
	toBob := s.delegate(s.alice, "", s.bob, "/documents", grant.Read)
	n, err := until(s.bob, string(toBob))
	if !errors.Is(err, coffer.Exhausted) || n != 3 {
		t.Errorf("a delegate revoked %d, %v; want 3", n, err)
	}
	n, err = until(s.alice, "")
	if !errors.Is(err, coffer.Exhausted) || n != 3 {
		t.Errorf("the controller revoked %d more, %v; want 3", n, err)
	}
	// A day after they have ended, they go when there is no room; the list is not read for that all the time.
	s.vaults.Advance(26 * time.Hour)
	if n, err = until(s.alice, ""); !errors.Is(err, coffer.Exhausted) || n != 6 {
		t.Errorf("the controller revoked %d, %v; want 6 when the old ones matter no more", n, err)
	}
	s.v = s.as(s.alice, nil)
	listed := 0
	for _, err := range s.v.Revocations(t.Context()) {
		if listed++; err != nil {
			t.Fatal(err)
		}
	}
	if listed != 6 {
		t.Errorf("%d are listed, want 6", listed)
	}
}

// A slowDisk takes its time for each act.
type slowDisk struct{ *endless }

const actTime = 10 * time.Millisecond

func (s slowDisk) Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (int, error) {
	time.Sleep(actTime)
	return s.endless.Count(ctx, v, q)
}

func (s slowDisk) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	time.Sleep(actTime)
	return s.endless.Apply(ctx, writes...)
}

// TestAFloodOfOneVault floods a service with writes to one vault, and looks how another one fares.
func TestAFloodOfOneVault(t *testing.T) {
	alice, bob := coffertest.Person(t, "alice"), coffertest.Person(t, "bob")
	disk := slowDisk{&endless{controller: alice.DID()}}
	_, chunks := sharedStores(t)
	at := coffertest.NewVaultsOn(t, vault.Limits{Slots: 8}, disk, chunks)
	view := func(who coffer.Keyring) *vault.View {
		disk.vault, disk.controller = coffer.NewVaultID(), who.DID()
		v := at.As(at.Caller(t, who, coffertest.Origin+"/edvs/"+disk.vault.String(), nil), disk.vault)
		if _, err := v.Config(t.Context()); err != nil { // remembered from now on
			t.Fatal(err)
		}
		return v
	}
	hers, his := view(alice), view(bob)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var refused, done atomic.Int64
		for range 1000 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_, err := coffer.Put(ctx, hers, document(1))
					var wait interface{ RetryAfter() time.Duration }
					switch {
					case err == nil:
						done.Add(1)
					case errors.As(err, &wait):
						refused.Add(1)
						time.Sleep(wait.RetryAfter())
					case ctx.Err() == nil:
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(time.Second)
		for range 50 {
			begun := time.Now()
			if _, err := coffer.Put(t.Context(), his, document(1)); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > 3*actTime {
				t.Errorf("another vault's write took %v, alone it takes %v", took, actTime)
			}
		}
		begun, before := time.Now(), done.Load()
		time.Sleep(time.Second)
		if n, all := done.Load()-before, 8*time.Since(begun)/actTime; n < int64(all)*9/10 {
			t.Errorf("the flood had %d writes done in a second, want about %d", n, all)
		}
		if refused.Load() == 0 {
			t.Error("a thousand at once, and none was refused")
		}
		stop()
		wg.Wait()
	})
}
