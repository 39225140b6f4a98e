package vault_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

func tooLarge(err error) bool {
	var size interface{ TooLarge() bool }
	return errors.As(err, &size) && size.TooLarge()
}

func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		limits vault.Limits
		try    func(s *story, present *coffer.Document) error
		want   coffer.Kind
		large  bool
	}{
		"the last document":    {vault.Limits{Documents: 2}, putSized(10), works, false},
		"a document too many":  {vault.Limits{Documents: 1}, putSized(10), coffer.Exhausted, false},
		"the last byte":        {vault.Limits{Bytes: 300}, putSized(100), works, false},
		"a byte too many":      {vault.Limits{Bytes: 299}, putSized(100), coffer.Exhausted, false},
		"a large document":     {vault.Limits{Document: 150}, putSized(150), works, false},
		"a document too large": {vault.Limits{Document: 150}, putSized(151), coffer.Exhausted, true},
		"a revision too large": {vault.Limits{Document: 150}, func(s *story, d *coffer.Document) error {
			n := &coffer.Document{ID: d.ID, Sequence: 1, Parents: []coffer.Rev{d.Rev()}, Body: make([]byte, 151)}
			_, err := coffer.Put(s.Context(), s.v, n)
			return err
		}, coffer.Exhausted, true},
		"an index of a document too large": {vault.Limits{Document: 150}, func(s *story, d *coffer.Document) error {
			n := &coffer.Document{ID: d.ID, Parents: []coffer.Rev{d.Rev()}, Body: make([]byte, 151)}
			_, err := s.v.Reindex(s.Context(), n)
			return err
		}, coffer.Exhausted, true},
		"a large chunk":     {vault.Limits{Chunk: 500}, chunkSized(500), works, false},
		"a chunk too large": {vault.Limits{Chunk: 499}, chunkSized(500), coffer.Exhausted, true},
		"the last chunk":    {vault.Limits{Bytes: 700}, chunkSized(500), works, false},
		"a chunk too many":  {vault.Limits{Bytes: 699}, chunkSized(500), coffer.Exhausted, false},
		"the last vault":    {vault.Limits{Vaults: 2}, create, works, false},
		"a vault too many":  {vault.Limits{Vaults: 1}, create, coffer.Exhausted, false},
		"two in one commit": {vault.Limits{Documents: 2}, twoAtOnce, coffer.Exhausted, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, tt.limits)
			d := s.put(document(100))
			s.want(putChunk(t.Context(), s.v, d.ID, 0, 100), works, "a chunk within the limits")
			before, _ := s.changes(s.v)
			files := s.files()
			err := tt.try(s, d)
			s.want(err, tt.want, "the attempt")
			if tooLarge(err) != tt.large {
				t.Errorf("%v: marked as too large: %t, want %t", err, !tt.large, tt.large)
			}
			after, _ := s.changes(s.v)
			if tt.want != works && (len(after) != len(before) || s.files() != files) {
				t.Errorf("it has changed something: %d changes and %d chunks, before %d and %d",
					len(after), s.files(), len(before), files)
			}
			got, err := s.v.Get(t.Context(), d.ID)
			if tt.want != works && (err != nil || got[0].Rev() != d.Rev()) {
				t.Errorf("what was there is not: %v", err)
			}
		})
	}
}

func putSized(size int) func(*story, *coffer.Document) error {
	return func(s *story, _ *coffer.Document) error {
		_, err := coffer.Put(s.Context(), s.v, document(size))
		return err
	}
}

func chunkSized(size int) func(*story, *coffer.Document) error {
	return func(s *story, d *coffer.Document) error { return putChunk(s.Context(), s.v, d.ID, 1, size) }
}

func create(s *story, _ *coffer.Document) error {
	_, err := s.vaults.Create(s.Context(), s.vaults.Creator(s, s.bob), &coffer.Config{Controller: s.bob.DID()})
	return err
}

func twoAtOnce(s *story, _ *coffer.Document) error {
	_, err := s.v.Apply(s.Context(), coffer.Write{Document: document(1)}, coffer.Write{Document: document(1)})
	return err
}

func TestRate(t *testing.T) {
	s := tell(t, vault.Limits{Rate: 2}) // so twenty may come at once
	get := func() error { _, err := s.v.Count(t.Context(), coffer.Query{}); return err }
	var many []coffer.Write
	for range 50 {
		many = append(many, coffer.Write{Document: document(1)})
	}
	if _, err := s.v.Apply(t.Context(), many...); err != nil {
		t.Fatalf("many writes in one call: %v", err)
	}
	stranger := s.as(s.bob, nil)
	for range 100 {
		_, err := stranger.Count(t.Context(), coffer.Query{})
		s.want(err, coffer.NotExist, "as Bob, without a right")
	}
	var err error
	n := 0
	for ; n < 100 && err == nil; n++ {
		err = get()
	}
	var wait interface{ RetryAfter() time.Duration }
	if !errors.Is(err, coffer.Exhausted) || !errors.As(err, &wait) || wait.RetryAfter() < time.Second {
		t.Fatalf("call %d: %v, want Exhausted with a time to wait", n, err)
	}
	if n < 15 || n > 30 {
		t.Errorf("call %d was the first too many", n)
	}
	id, url := s.vaults.NewVault(t, s.bob)
	_, err = s.vaults.As(s.vaults.Caller(t, s.bob, url, nil), id).Count(t.Context(), coffer.Query{})
	s.want(err, works, "as Bob, in his own vault")
	s.vaults.Advance(wait.RetryAfter())
	s.want(get(), works, "after the wait")
}

// TestAnUploadIsDecidedOnAgain revokes while the bytes are on their way.
func TestAnUploadIsDecidedOnAgain(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.put(document(10))
	capability := s.delegate(s.alice, "", s.bob, "/documents", grant.Write)
	asBob := s.as(s.bob, capability)
	ref, b := chunk(0, 0, 1000)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- asBob.PutChunk(t.Context(), d.ID, ref, r) }()
	if _, err := w.Write(b[:500]); err != nil {
		t.Fatal(err)
	}
	s.want(s.revoke(s.alice, capability), works, "revoke")
	go func() {
		io.Copy(w, bytes.NewReader(b[500:]))
		w.Close()
	}()
	s.want(await(t, done), coffer.NotExist, "as Bob, the upload")
	_, _, err := s.v.Chunk(t.Context(), d.ID, 0)
	s.want(err, coffer.NotExist, "as Alice, the chunk")
	if n := s.files(); n != 0 {
		t.Errorf("%d chunks are on the disk", n)
	}
}
