package vault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob/files"
	"github.com/cofferhq/coffer/store/pebble"
)

// A hookedStore calls its hooks, once each, before what the service asks for.
type hookedStore struct {
	store.Store
	apply, chunk func()
}

func call(hook *func()) {
	if f := *hook; f != nil {
		*hook = nil
		f()
	}
}

func (h *hookedStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	call(&h.apply)
	return h.Store.Apply(ctx, writes...)
}

func (h *hookedStore) Chunk(ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64) (store.Chunk, error) {
	call(&h.chunk)
	return h.Store.Chunk(ctx, v, id, set, index)
}

// hooked tells a story over a store with hooks.
func hooked(t *testing.T) (*story, *hookedStore) {
	t.Helper()
	s := tell(t, vault.Limits{})
	documents, err := pebble.Open(t.TempDir(), pebble.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { documents.Close() })
	chunks, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &hookedStore{Store: documents}
	base := s.url[:len(s.url)-len(s.id.String())]
	s.vaults.Service = vault.New(vault.Options{Store: h, Blobs: chunks, Now: s.vaults.Now,
		Target: func(id coffer.VaultID) string { return base + id.String() }})
	s.id, s.url = s.vaults.NewVault(t, s.alice)
	s.v = s.as(s.alice, nil)
	return s, h
}

// secret returns a secret by number.
func secret(n byte) coffer.Secret { return coffer.Secret{n} }

// admitting returns a document that admits the secret to everything.
func admitting(id coffer.ObjectID, s coffer.Secret) *coffer.Document {
	d := &coffer.Document{ID: id, Body: []byte("body")}
	for _, a := range []coffer.Access{coffer.ReadAccess, coffer.WriteAccess, coffer.OpenAccess} {
		d.Tags = append(d.Tags, s.Tag(id, a))
	}
	return d
}

// replacing returns a revision that replaces d and admits the secret.
func replacing(d *coffer.Document, s coffer.Secret, stream *coffer.Stream) *coffer.Document {
	n := admitting(d.ID, s)
	n.Sequence, n.Parents, n.Stream = d.Sequence+1, []coffer.Rev{d.Rev()}, stream
	return n
}

// knowing returns the vault as one sees it who knows one secret, for everything.
func knowing(v *vault.View, s coffer.Secret) coffer.Vault {
	return v.Held(func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool) { return s, true })
}

// stream inserts an object that admits the secret, closes a first set of one chunk, and writes a patch of it.
func (s *story) stream(x coffer.Secret) *coffer.Document {
	s.Helper()
	d := admitting(coffer.NewObjectID(), x)
	d.Stream = &coffer.Stream{Pending: true}
	s.put(d)
	s.want(putChunk(s.Context(), s.v, d.ID, 0, 10), works, "the first chunk")
	d = s.put(replacing(d, x, &coffer.Stream{Chunks: 1}))
	ref, b := chunk(1, 0, 20)
	s.want(s.v.PutChunk(s.Context(), d.ID, ref, bytes.NewReader(b)), works, "the patch")
	return d
}

// TestReplacedInBetween replaces an object, its secret and its content just after the old secret was found good.
func TestReplacedInBetween(t *testing.T) {
	for name, tt := range map[string]struct {
		hook func(h *hookedStore) *func()
		try  func(s *story, d *coffer.Document) error
	}{
		"a chunk is read": {func(h *hookedStore) *func() { return &h.chunk }, func(s *story, d *coffer.Document) error {
			_, r, err := knowing(s.v, secret(1)).Chunk(s.Context(), d.ID, 0)
			if err == nil {
				r.Close()
			}
			return err
		}},
		"a chunk is opened": {func(h *hookedStore) *func() { return &h.chunk }, func(s *story, d *coffer.Document) error {
			_, r, err := s.as(s.carol, nil).OpenedChunk(s.Context(), d.ID, 0, secret(1))
			if err == nil {
				r.Close()
			}
			return err
		}},
		"it is erased": {func(h *hookedStore) *func() { return &h.apply }, func(s *story, d *coffer.Document) error {
			_, err := coffer.Erase(s.Context(), knowing(s.v, secret(1)), d.ID)
			return err
		}},
		"a chunk is written": {func(h *hookedStore) *func() { return &h.apply }, func(s *story, d *coffer.Document) error {
			ref, b := chunk(1, 0, 30)
			return knowing(s.v, secret(1)).PutChunk(s.Context(), d.ID, ref, bytes.NewReader(b))
		}},
		"a chunk is dropped": {func(h *hookedStore) *func() { return &h.apply }, func(s *story, d *coffer.Document) error {
			return knowing(s.v, secret(1)).DropChunk(s.Context(), d.ID, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := hooked(t)
			d := s.stream(secret(1))
			next := replacing(d, secret(2), &coffer.Stream{Chunks: 1, Patch: 1})
			*tt.hook(h) = func() { s.put(next) }
			s.want(tt.try(s, d), coffer.NotExist, "by the old secret")
			got, err := s.v.Get(t.Context(), d.ID)
			if err != nil || got[0].Rev() != next.Rev() {
				t.Fatalf("what is present: %v, %v", got, err)
			}
			ref, r, err := knowing(s.v, secret(2)).Chunk(t.Context(), d.ID, 0)
			if err != nil || ref.Size != 20 || ref.Sequence != 0 {
				t.Fatalf("by the new secret: %+v, %v", ref, err)
			}
			r.Close()
		})
	}
	// A revision that admits the same secret is no reason to fail.
	s, h := hooked(t)
	d := s.stream(secret(1))
	h.chunk = func() { s.put(replacing(d, secret(1), &coffer.Stream{Chunks: 1, Patch: 1})) }
	ref, r, err := knowing(s.v, secret(1)).Chunk(t.Context(), d.ID, 0)
	if err != nil || ref.Size != 20 {
		t.Fatalf("%+v, %v, want the patched chunk", ref, err)
	}
	r.Close()
	h.apply = func() { s.put(replacing(s.present(d.ID), secret(1), nil)) }
	_, err = coffer.Erase(t.Context(), knowing(s.v, secret(1)), d.ID)
	s.want(err, works, "erase")
}

// present returns what is present.
func (s *story) present(id coffer.ObjectID) *coffer.Document {
	s.Helper()
	got, err := s.v.Get(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	return got[0]
}

// TestSecretReplacedDuringUpload replaces the secret while the bytes of a chunk are on their way.
func TestSecretReplacedDuringUpload(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.put(admitting(coffer.NewObjectID(), secret(1)))
	ref, b := chunk(0, 0, 1000)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- knowing(s.v, secret(1)).PutChunk(t.Context(), d.ID, ref, r) }()
	if _, err := w.Write(b[:500]); err != nil {
		t.Fatal(err)
	}
	reindexed := replacing(d, secret(2), nil)
	reindexed.Sequence = 0
	_, err := s.v.Reindex(t.Context(), reindexed)
	s.want(err, works, "reindex")
	go func() {
		io.Copy(w, bytes.NewReader(b[500:]))
		w.Close()
	}()
	s.want(await(t, done), coffer.NotExist, "the upload")
	if n := s.files(); n != 0 {
		t.Errorf("%d chunks are on the disk", n)
	}
}

// TestHeldLimits inserts by the right to what is held until the vault is full.
func TestHeldLimits(t *testing.T) {
	s := tell(t, vault.Limits{Documents: 2})
	bob := s.as(s.bob, s.delegate(s.alice, "", s.bob, "/held", grant.Write))
	for range 2 {
		_, err := coffer.Put(t.Context(), knowing(bob, secret(1)), admitting(coffer.NewObjectID(), secret(1)))
		s.want(err, works, "insert")
	}
	_, err := coffer.Put(t.Context(), knowing(bob, secret(1)), admitting(coffer.NewObjectID(), secret(1)))
	s.want(err, coffer.Exhausted, "a document too many")
	one := s.as(s.bob, s.delegate(s.alice, "", s.bob, "/held/"+coffer.NewObjectID().String(), grant.Write, grant.Read))
	_, err = coffer.Put(t.Context(), knowing(one, secret(1)), admitting(coffer.NewObjectID(), secret(1)))
	s.want(err, coffer.Denied, "by a capability for one object")
}

// TestIndexWriter has somebody who may write an object's index alone try to let himself in.
func TestIndexWriter(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.put(admitting(coffer.NewObjectID(), secret(1)))
	bob := s.as(s.bob, s.delegate(s.alice, "", s.bob, "/documents/"+d.ID.String()+"/index", grant.Write))
	reindexed := func(tags ...coffer.Tag) *coffer.Document {
		return &coffer.Document{ID: d.ID, Parents: []coffer.Rev{d.Rev()}, Body: d.Body, Tags: tags}
	}
	for _, tags := range [][]coffer.Tag{
		{secret(2).Tag(d.ID, coffer.OpenAccess)}, append(slices.Clone(d.Tags), secret(2).Tag(d.ID, coffer.OpenAccess)), nil,
	} {
		_, err := bob.Reindex(t.Context(), reindexed(tags...))
		s.want(err, coffer.Denied, "other secrets")
	}
	d = reindexed(append(slices.Clone(d.Tags), coffer.Tag{Key: "k", Name: "n", Value: "v"})...)
	_, err := bob.Reindex(t.Context(), d)
	s.want(err, works, "other tags")
	_, err = s.v.Reindex(t.Context(), reindexed(secret(2).Tag(d.ID, coffer.ReadAccess)))
	s.want(err, works, "as Alice, other secrets")
}

// TestOneAnswer compares the answers to all that is not there for who holds secrets, word by word.
func TestOneAnswer(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.put(admitting(coffer.NewObjectID(), secret(1)))
	answers := map[string]bool{}
	for _, id := range []coffer.ObjectID{d.ID, coffer.NewObjectID()} {
		for _, known := range []bool{true, false} {
			v := s.v.Held(func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool) { return secret(9), known })
			_, getErr := v.Get(t.Context(), id)
			_, _, chunkErr := v.Chunk(t.Context(), id, 0)
			_, eraseErr := coffer.Erase(t.Context(), v, id)
			_, putErr := coffer.Put(t.Context(), v, replacing(&coffer.Document{ID: id}, secret(9), nil))
			ref, b := chunk(0, 0, 10)
			for _, err := range []error{getErr, chunkErr, eraseErr, putErr, v.DropChunk(t.Context(), id, 0),
				v.PutChunk(t.Context(), id, ref, bytes.NewReader(b))} {
				s.want(err, coffer.NotExist, "a try")
				answers[err.Error()] = true
			}
		}
	}
	_, _, err := knowing(s.v, secret(1)).Chunk(t.Context(), d.ID, 7)
	answers[err.Error()] = true
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
}

func TestOpened(t *testing.T) {
	s := tell(t, vault.Limits{Rate: 2}) // so twenty may come at once
	d := s.stream(secret(1))
	closed := admitting(coffer.NewObjectID(), secret(1))
	closed.Tags = closed.Tags[:2]
	s.put(closed)
	anyone := s.vaults.As(grant.Caller{}, s.id)
	got, err := anyone.Opened(t.Context(), d.ID, secret(1))
	if err != nil || got.Rev() != d.Rev() {
		t.Fatalf("opened: %v, %v", got, err)
	}
	ref, r, err := anyone.OpenedChunk(t.Context(), d.ID, 0, secret(1))
	if err != nil || ref.Size != 10 {
		t.Fatalf("opened: %+v, %v", ref, err)
	}
	r.Close()

	answers := map[string]bool{}
	stranger := s.as(s.bob, nil)
	_, strangers := stranger.Get(t.Context(), d.ID)
	elsewhere := s.vaults.As(grant.Caller{}, coffer.NewVaultID())
	refused := func(v *vault.View, id coffer.ObjectID, x coffer.Secret) {
		t.Helper()
		_, err := v.Opened(t.Context(), id, x)
		_, _, chunkErr := v.OpenedChunk(t.Context(), id, 0, x)
		for _, err := range []error{err, chunkErr} {
			s.want(err, coffer.NotExist, "what is not open")
			var r interface{ Refused() bool }
			if !errors.As(err, &r) || !r.Refused() {
				t.Errorf("%v is no refusal", err)
			}
			answers[err.Error()] = true
		}
	}
	answers[strangers.Error()] = true
	for range 30 { // they do not count
		refused(anyone, d.ID, secret(2))
		refused(anyone, d.ID, coffer.Secret{})
		refused(anyone, coffer.NewObjectID(), secret(1))
		refused(anyone, closed.ID, secret(1))
		refused(elsewhere, d.ID, secret(1))
	}
	_, _, err = anyone.OpenedChunk(t.Context(), d.ID, 5, secret(1))
	answers[err.Error()] = true
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}

	n := 0
	for err = error(nil); err == nil && n < 100; n++ {
		_, err = anyone.Opened(t.Context(), d.ID, secret(1))
	}
	var wait interface{ RetryAfter() time.Duration }
	if !errors.Is(err, coffer.Exhausted) || !errors.As(err, &wait) || n < 15 || n > 30 {
		t.Errorf("opening number %d: %v, want Exhausted with a time to wait", n, err)
	}
	_, err = s.v.Get(t.Context(), d.ID)
	s.want(err, works, "the owner, meanwhile")
	s.vaults.Advance(wait.RetryAfter())
	_, err = s.v.EraseVault(t.Context())
	s.want(err, works, "erase the vault")
	refused(anyone, d.ID, secret(1))
}

// message returns a message with the value.
func message(value string) *coffer.Document {
	d := document(10)
	d.Tags = []coffer.Tag{{Key: "urn:coffer:inbox", Name: "message", Value: value}, secret(1).Tag(d.ID, coffer.ReadAccess)}
	return d
}

func TestFullInbox(t *testing.T) {
	s := tell(t, vault.Limits{})
	bob := s.as(s.bob, s.delegate(s.alice, "", s.bob, "/inbox", grant.Write))
	var writes []coffer.Write
	for range 998 {
		writes = append(writes, coffer.Write{Document: message("from the owner")})
	}
	if _, err := s.v.Apply(t.Context(), writes...); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for range 8 {
		go func() { errs <- bob.Drop(t.Context(), message("hello")) }()
	}
	taken := 0
	for range 8 {
		err := <-errs
		if err == nil {
			taken++
			continue
		}
		var wait interface{ RetryAfter() time.Duration }
		if !errors.Is(err, coffer.Exhausted) || !errors.As(err, &wait) || wait.RetryAfter() < time.Minute {
			t.Errorf("%v, want Exhausted with a time to wait", err)
		}
	}
	if taken != 2 {
		t.Errorf("%d messages were taken, want 2", taken)
	}
	n, err := s.v.Count(t.Context(), coffer.Query{Index: "urn:coffer:inbox", Has: []string{"message"}})
	if err != nil || n != 1000 {
		t.Errorf("%d messages, %v, want 1000", n, err)
	}
	_, err = coffer.Erase(t.Context(), s.v, writes[0].Document.ID)
	s.want(err, works, "take one out")
	s.want(bob.Drop(t.Context(), message("hello")), works, "one more")
}

func TestMessageRates(t *testing.T) {
	s := tell(t, vault.Limits{})
	first := s.delegate(s.alice, "", s.bob, "/inbox", grant.Write)
	bob := s.as(s.bob, first)
	tooMany := func(v *vault.View) (n int) {
		t.Helper()
		var err error
		for ; n < 400 && err == nil; n++ {
			err = v.Drop(t.Context(), message("x"))
		}
		var wait interface{ RetryAfter() time.Duration }
		if !errors.Is(err, coffer.Exhausted) || !errors.As(err, &wait) {
			t.Errorf("message %d: %v, want Exhausted with a time to wait", n, err)
		}
		return n
	}
	if n := tooMany(bob); n < 55 || n > 75 {
		t.Errorf("message %d of one chain was the first too many", n)
	}
	// Handing the capability on gives nobody more; another one from the owner does.
	handed := s.delegate(s.bob, string(first), s.carol, "/inbox", grant.Write)
	if n := tooMany(s.as(s.carol, handed)); n > 5 {
		t.Errorf("message %d of a longer chain was the first too many", n)
	}
	s.want(s.as(s.carol, s.delegate(s.alice, "", s.carol, "/inbox", grant.Write)).Drop(t.Context(), message("x")), works, "carol")
	s.vaults.Advance(10 * time.Second)
	s.want(bob.Drop(t.Context(), message("x")), works, "bob, later")

	// All together have a bound, too, and leave the owner the larger part of the vault's rate.
	s = tell(t, vault.Limits{Rate: 0.5})
	if n := tooMany(s.as(s.bob, s.delegate(s.alice, "", s.bob, "/inbox", grant.Write))); n < 14 || n > 20 {
		t.Errorf("message %d of the vault was the first too many", n)
	}
	_, err := s.v.Count(t.Context(), coffer.Query{})
	s.want(err, works, "the owner")
}

// TestSweepAfterPatch looks whether the chunks that a patch has put in the places of others are known to be wanted.
func TestSweepAfterPatch(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.stream(secret(1))
	if n := s.files(); n != 2 {
		t.Fatalf("%d chunks before the patch, want 2", n)
	}
	s.put(replacing(d, secret(1), &coffer.Stream{Chunks: 1, Patch: 1}))
	removed, err := s.vaults.Sweep(t.Context())
	if err != nil || removed != 0 || s.files() != 1 {
		t.Fatalf("swept %d of the chunks, %v, and %d are left, want 0 and 1", removed, err, s.files())
	}
	ref, r, err := s.v.Chunk(t.Context(), d.ID, 0)
	if err != nil || ref.Size != 20 {
		t.Fatalf("%+v, %v", ref, err)
	}
	r.Close()
}
