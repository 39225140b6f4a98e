package stream_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node/vault"
)

// A provider takes a stream, patches it, and serves it, whole and as its document's author signed it.
func TestAtAProvider(t *testing.T) {
	alice := coffertest.Person(t, "alice")
	vaults := coffertest.NewVaults(t, vault.Limits{})
	vid, url := vaults.NewVault(t, alice)
	v := vaults.As(vaults.Caller(t, alice, url, nil), vid)
	ref := seal.NewRef()
	var present *coffer.Document
	commit := func(s *seal.Stream) {
		t.Helper()
		o := seal.ObjectOptions{Ref: ref, Author: alice, Time: time.Unix(1700000000, 0)}
		if present != nil {
			o.Sequence, o.Parents = present.Sequence+1, []coffer.Rev{present.Rev()}
		}
		d, err := seal.SealObject(t.Context(), seal.Plain{Stream: s}, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := coffer.Put(t.Context(), v, d); err != nil {
			t.Fatal(err)
		}
		present = d
	}
	const chunk = 4 << 10
	data := noise(1, 60*chunk+5)
	var s *seal.Stream
	for i, change := range []func(){
		func() {},
		func() {}, // nothing to send
		func() { data[30*chunk]++ },
		func() { data = append(data, noise(2, 1000*chunk)...) },
		func() { data = data[:10*chunk] },
		func() { data = data[:0] },
		func() { data = noise(3, 3*chunk) },
	} {
		change()
		claimed := s
		if s != nil {
			claimed = s.Settled()
		}
		commit(claimed)
		now, err := stream.Write(t.Context(), stream.WriteOptions{
			Vault: v, ID: ref.ID, Set: present.Sequence, Source: bytes.NewReader(data), Size: int64(len(data)),
			Base: s, MarkKey: markKey, ChunkSize: chunk,
		})
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		commit(now)
		found, err := v.Get(t.Context(), ref.ID)
		if err != nil {
			t.Fatal(err)
		}
		o, err := seal.OpenObject(ref, found[0])
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		s = o.Stream
		r, err := stream.NewReader(t.Context(), stream.ReadOptions{Vault: v, ID: ref.ID, Stream: s, Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d: read %d of %d bytes: %v", i, len(got), len(data), err)
		}
		r.Close()
	}
}
