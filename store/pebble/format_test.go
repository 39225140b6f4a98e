package pebble

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// recordEnv, when set, makes testdata/format2 anew. Once that format is released, it must not be.
const recordEnv = "COFFER_PEBBLE_RECORD"

// history returns commits that fill a store with something of everything that format 1 could hold: documents with tags,
// replaced and erased ones, chunks, patched streams, and a vault that was purged. It is what made testdata/format1,
// with the program of that time.
func history() (commits [][]store.Write) {
	tick := int64(1_700_000_000_000)
	do := func(w store.Write) {
		tick += 60_000
		w.By, w.Time = "did:example:historian", time.UnixMilli(tick)
		commits = append(commits, []store.Write{w})
	}
	id := func(i int) coffer.ObjectID { return coffer.ObjectID{byte(i >> 8), byte(i), 0xa5} }
	next := func(d *coffer.Document, body string) *coffer.Document {
		return &coffer.Document{
			ID: d.ID, Sequence: d.Sequence + 1, Parents: []coffer.Rev{d.Rev()}, Tags: d.Tags, Body: []byte(body),
		}
	}
	v := coffer.VaultID{0xf1}
	for i := range 40 {
		d := &coffer.Document{ID: id(i), Body: []byte(strings.Repeat(fmt.Sprint("body ", i, " "), 1+i*4)), Tags: []coffer.Tag{
			{Key: "k", Name: "third", Value: fmt.Sprint(i % 3)}, {Key: "k", Name: "number", Value: fmt.Sprint(i), Unique: true},
		}}
		do(store.Write{Vault: v, Document: d})
		for j := range i % 4 {
			d = next(d, fmt.Sprint("again ", i, j))
			do(store.Write{Vault: v, Document: d})
		}
		if i%8 == 7 {
			gone := d.ID
			do(store.Write{Vault: v, Erase: &gone})
		}
	}
	attach := func(i int, set, index uint64) {
		do(store.Write{Vault: v, Attach: &store.Chunk{ID: id(i), Blob: fmt.Sprintf("blob-%d-%d-%d", i, set, index),
			Ref: coffer.ChunkRef{Sequence: set, Index: index, Size: 1000 + int64(index), Sum: [32]byte{byte(i), byte(index)}}}})
	}
	for i := 100; i < 103; i++ {
		d := &coffer.Document{ID: id(i), Body: []byte("a stream"), Stream: &coffer.Stream{Pending: true}}
		do(store.Write{Vault: v, Document: d})
		attach(i, 0, 0)
		attach(i, 0, 1)
		d = next(d, "closed")
		d.Stream = &coffer.Stream{Chunks: 2}
		do(store.Write{Vault: v, Document: d})
		if i > 100 {
			attach(i, 1, 1)
			d = next(d, "patched")
			d.Stream = &coffer.Stream{Chunks: 2, Patch: 1}
			do(store.Write{Vault: v, Document: d})
		}
	}
	purged := coffer.VaultID{0xf2}
	do(store.Write{Vault: purged, Document: &coffer.Document{ID: id(0), Body: []byte("to be purged")}})
	do(store.Write{Vault: purged, Purge: true})
	return commits
}

// recent returns commits that follow those of history: of what format 2 has besides.
func recent() (commits [][]store.Write) {
	all := history()
	v, kept := coffer.VaultID{0xf1}, coffer.VaultID{0xf3}
	for i, c := range all {
		w := c[0]
		if w.Vault == v {
			w.Vault, w.Keep = kept, w.Document != nil
			commits = append(commits, []store.Write{w})
		}
		if i%20 == 0 {
			commits = append(commits, []store.Write{{Vault: kept, Govern: true}})
		}
	}
	return commits
}

// TestRecord writes the database of the present format: some of it in tables, some still in the log.
func TestRecord(t *testing.T) {
	if os.Getenv(recordEnv) == "" {
		t.Skip("only when asked to")
	}
	dir := filepath.Join("testdata", fmt.Sprint("format", format))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	all := append(history(), recent()...)
	for _, part := range [][][]store.Write{all[:len(all)/2], all[len(all)/2:]} {
		s := on(t, dir, Options{})
		for _, writes := range part {
			apply(t, s, writes...)
		}
		closeStore(t, s)
	}
}

// TestOldFormats opens databases that earlier versions have written, reads all of it, checks it, and writes on.
func TestOldFormats(t *testing.T) {
	for version, commits := range map[int][][]store.Write{1: history(), 2: append(history(), recent()...)} {
		t.Run(fmt.Sprint("format", version), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", fmt.Sprint("format", version)))); err != nil {
				t.Fatal(err)
			}
			for round := range 2 {
				s := on(t, dir, Options{})
				if got, err := readFormat(s.db); err != nil || got != format {
					t.Fatalf("format %d, %v", got, err)
				}
				if round == 0 {
					same(t, s, commits)
				}
				checkClean(t, s)
				if said := rebuildStore(t, s); len(said) > 0 {
					t.Errorf("Rebuild said %q", said)
				}
				v := coffer.VaultID{0xf1}
				d, err := s.Get(t.Context(), v, coffer.ObjectID{0, 1, 0xa5})
				if err != nil {
					t.Fatal(err)
				}
				w := putting(v, successor(d, "written on", d.Tags...))
				w.Keep = true
				apply(t, s, w, store.Write{Vault: coffer.VaultID{0xf9}, Govern: true})
				if got, err := s.Revision(t.Context(), v, d.ID, d.Sequence); err != nil || got.Rev() != d.Rev() {
					t.Errorf("Revision: %v, %v", got, err)
				}
				if u, err := s.Usage(t.Context(), coffer.VaultID{0xf9}); err != nil || u.Law != uint64(round+1) {
					t.Errorf("Usage: %+v, %v", u, err)
				}
				checkClean(t, s)
				closeStore(t, s)
			}
		})
	}
}

// same compares a store with one that is filled with the same commits by the present version.
func same(t *testing.T, old *Store, commits [][]store.Write) {
	t.Helper()
	s := on(t, t.TempDir(), Options{})
	defer closeStore(t, s)
	for _, writes := range commits {
		apply(t, s, writes...)
	}
	want, got := dump(t, s), dump(t, old)
	for _, all := range []map[string]string{want, got} {
		for k, b := range all { // a purge counts the law up since format 2
			if u, err := decodeUsage([]byte(b)); len(k) == restAt && err == nil {
				if coffer.VaultID([]byte(k)[vaultAt:]) == (coffer.VaultID{0xf2}) {
					u.Law = 0
				}
				all[k] = string(encodeUsage(nil, u))
			}
		}
	}
	if all := differences(got, want); len(all) > 0 {
		t.Errorf("it holds something else: %q", all)
	}
}
