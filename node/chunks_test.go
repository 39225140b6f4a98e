package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob/files"
)

// TestHeldDeletions removes chunks while deletions are held back: they stay until these are let go.
func TestHeldDeletions(t *testing.T) {
	f, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &chunks{Store: f}
	body := []byte("body")
	keys := []string{"v/a/0", "v/a/1", "w/a/0", "w/b/0", "x/a/0"}
	for _, k := range keys {
		if err := c.Put(t.Context(), k, int64(len(body)), sha256.Sum256(body), bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	there := func(key string) bool {
		t.Helper()
		r, _, err := c.Get(t.Context(), key)
		if err == nil {
			r.Close()
		} else if !errors.Is(err, coffer.NotExist) {
			t.Fatal(err)
		}
		return err == nil
	}
	release := c.hold()
	if err := errors.Join(c.Delete(t.Context(), "v/a/0"), c.DeleteAll(t.Context(), "w")); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !there(k) {
			t.Errorf("%s is gone while deletions are held back", k)
		}
	}
	if err := release(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		if want := i == 1 || i == 4; there(k) != want {
			t.Errorf("%s is there: %t, want %t", k, !want, want)
		}
	}
	if err := c.Delete(t.Context(), "v/a/1"); err != nil || there("v/a/1") {
		t.Errorf("a deletion afterwards: %v", err)
	}
}

// TestHeldDeletionsAreBounded remembers no more than may be.
func TestHeldDeletionsAreBounded(t *testing.T) {
	f, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &chunks{Store: f}
	defer c.hold()(t.Context())
	many := make([]string, heldMost/2+1)
	for range 3 {
		if err := c.Delete(t.Context(), many...); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.keys) != heldMost {
		t.Errorf("%d keys are remembered, want %d", len(c.keys), heldMost)
	}
	c.keys = nil // of no form
}

// FuzzManifest reads what may stand in a manifest.
func FuzzManifest(f *testing.F) {
	for _, s := range []string{
		`{"format":1,"time":"2026-01-02T03:04:05Z","documents":{"files":1,"bytes":2},"keys":{"node.json":"00"}}`,
		`{"format":2,"time":"2026-01-02T03:04:05Z","documents":{"files":1,"bytes":2},"keys":{"node.json":"00"},"more":1}`,
		`{"format":-1}`, `{}`, ``, `[]`,
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		if err == nil && m.verify(dir) == nil {
			t.Error("an empty folder is what it says")
		}
	})
}
