package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node"
)

// restored restores a backup into a folder that is not there, and returns the folder.
func restored(t *testing.T, from string) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "restored")
	_, err := node.Restore(t.Context(), from, node.Config{Data: data},
		func(what string) { t.Errorf("restored: %s", what) }, nil)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return data
}

// TestBackupUnderLoad makes backups of a node that inserts, replaces and erases documents with chunks as fast as it
// can. In each of them every chunk that a document names is there, and what was acknowledged before it began.
func TestBackupUnderLoad(t *testing.T) {
	const origin = "http://127.0.0.1:4747"
	data := filepath.Join(t.TempDir(), "data")
	r := start(t, node.Config{Data: data, Origin: origin})
	v := dialed(t, r.Node, origin, "")
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var rounds atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				// A document, its chunks, and an erasure that releases them.
				id := coffer.NewObjectID()
				if err := errors.Join(insert(ctx, v, id), chunks(ctx, v, id, 3)); err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				if rounds.Add(1); rand.IntN(4) > 0 {
					if _, err := coffer.Erase(ctx, v, id); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	defer wg.Wait()
	defer stop()
	for i := range 4 {
		seen := rounds.Load()
		until(t, "load", func() bool { return rounds.Load() > seen+20 })
		kept := put(t, v)
		putChunk(t, v, kept.ID)
		dir := filepath.Join(t.TempDir(), "backup")
		m, err := r.Backup(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if m.Chunks == nil || m.Chunks.Files < 1 || m.Documents.Files < 1 || len(m.Keys) != 3 {
			t.Errorf("the manifest is %+v", m)
		}
		copied := restored(t, dir)
		if i > 0 {
			continue
		}
		again := start(t, node.Config{Data: copied, Origin: origin})
		if again.DID() != r.DID() {
			t.Error("the node is another one")
		}
		w := dialed(t, again.Node, origin, v.URL())
		if _, err := w.Get(t.Context(), kept.ID); err != nil {
			t.Errorf("what was acknowledged before the backup: %v", err)
		}
		if _, body, err := w.Chunk(t.Context(), kept.ID, 0); err != nil {
			t.Errorf("its chunk: %v", err)
		} else {
			body.Close()
		}
	}
	stop()
	wg.Wait()
	// What was held back is removed in the end: the chunks there are those that are recorded.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	d, err := node.OpenDisks(t.Context(), node.Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var recorded node.Census
	if err := d.Check(t.Context(), func(what string) { t.Error(what) }, func(c node.Census) { recorded = c }); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Stats(t.Context(), true); err != nil || s.Chunks.Count != recorded.Chunks {
		t.Errorf("%d chunks are recorded, and %+v there: %v", recorded.Chunks, s.Chunks, err)
	}
	t.Logf("%d rounds", rounds.Load())
}

// insert inserts a document that waits for chunks.
func insert(ctx context.Context, v coffer.Vault, id coffer.ObjectID) error {
	body, err := json.Marshal(edv.Document{ID: id, Stream: &edv.StreamRef{}, JWE: fmt.Appendf(nil, jwe, "AAAA")})
	if err != nil {
		return err
	}
	_, err = coffer.Put(ctx, v, &coffer.Document{ID: id, Stream: &coffer.Stream{Pending: true}, Body: body})
	return err
}

// chunks stores n chunks of a document.
func chunks(ctx context.Context, v coffer.Vault, id coffer.ObjectID, n int) error {
	for i := range n {
		ref, b := chunk(uint64(i), 5000+rand.IntN(20_000))
		if err := v.PutChunk(ctx, id, ref, bytes.NewReader(b)); err != nil {
			return err
		}
	}
	return nil
}

// dialed returns a vault of Alice at a node that calls itself by another origin: the one with the URL, or a new one.
func dialed(t *testing.T, n *node.Node, origin, url string) *edv.RemoteVault {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", n.Addr().String())
	}
	alice := coffertest.Person(t, "alice")
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := edv.NewClient(edv.ClientOptions{
		Base: origin, Keyring: alice, Now: time.Now, HTTP: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	if url == "" {
		config, err := c.CreateVault(t.Context(), &coffer.Config{Controller: alice.DID()})
		if err != nil {
			t.Fatal(err)
		}
		url = config.ID
	}
	v, err := c.Vault(url)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// made returns a data folder with a vault, a document and a chunk, of a node that ended, and a backup of it.
func made(t *testing.T) (data, backup string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	r := start(t, node.Config{Data: data})
	v := r.vault(t, nil)
	putChunk(t, v, put(t, v).ID)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	d, err := node.OpenDisks(t.Context(), node.Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	backup = filepath.Join(t.TempDir(), "backup")
	_, err = d.Backup(t.Context(), backup)
	if err = errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	return data, backup
}

// TestBackupFails tries backups that cannot be: they leave nothing and change nothing.
func TestBackupFails(t *testing.T) {
	data, backup := made(t)
	d, err := node.OpenDisks(t.Context(), node.Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	before := tree(t, backup)
	if _, err := d.Backup(t.Context(), backup); !errors.Is(err, coffer.Conflict) {
		t.Errorf("over another backup: %v", err)
	}
	if after := tree(t, backup); after != before {
		t.Errorf("the other backup was changed:\n%s\n%s", before, after)
	}
	nowhere := filepath.Join(t.TempDir(), "not", "there")
	if _, err := d.Backup(t.Context(), nowhere); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("into a folder that is not there: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	cut := filepath.Join(t.TempDir(), "cut")
	if _, err := d.Backup(ended, cut); err == nil {
		t.Error("a backup that was broken off succeeds")
	}
	for _, dir := range []string{nowhere, cut} {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was left: %v", err)
		}
	}
	if _, err := d.Backup(t.Context(), filepath.Join(t.TempDir(), "good")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// tree lists what is below a folder, with sizes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			fmt.Fprintln(&all, name, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestRestoreFails damages backups in each way: nothing is restored, and nothing is left.
func TestRestoreFails(t *testing.T) {
	_, backup := made(t)
	edit := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	chunkOf := func(t *testing.T, dir string) (file string) {
		_ = filepath.WalkDir(filepath.Join(dir, "chunks"), func(name string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".blob") {
				file = name
			}
			return err
		})
		return file
	}
	for name, tt := range map[string]struct {
		damage func(*testing.T, string)
		want   coffer.Kind
		says   string
	}{
		"no manifest": {remove("backup.json"), coffer.Invalid, "no backup"},
		"half a manifest": {edit("backup.json", func(b []byte) []byte { return b[:len(b)/2] }), coffer.Corrupt,
			"backup.json"},
		"a later manifest": {edit("backup.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"format":1`), []byte(`"format":2`), 1)
		}), coffer.Unavailable, "later version"},
		"no key":      {remove("node.key"), coffer.Corrupt, "keys"},
		"another key": {edit("log.key", func(b []byte) []byte { b[60] ^= 1; return b }), coffer.Corrupt, "keys"},
		"a chunk is missing": {func(t *testing.T, dir string) {
			if err := os.Remove(chunkOf(t, dir)); err != nil {
				t.Fatal(err)
			}
		}, coffer.Corrupt, "missing"},
		"a chunk has rotted": {func(t *testing.T, dir string) {
			file := chunkOf(t, dir)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, coffer.Corrupt, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "backup")
			if err := os.CopyFS(dir, os.DirFS(backup)); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, dir)
			parent := t.TempDir()
			data := filepath.Join(parent, "data")
			for _, empty := range []bool{false, true} {
				if empty {
					if err := os.Mkdir(data, 0o700); err != nil {
						t.Fatal(err)
					}
				}
				_, err := node.Restore(t.Context(), dir, node.Config{Data: data}, func(string) {}, nil)
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v, want %v that says %q", err, tt.want, tt.says)
				}
				left, err := os.ReadDir(parent)
				if err != nil || len(left) > 0 && !empty {
					t.Errorf("something was left: %v, %v", left, err)
				}
			}
			if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
				t.Errorf("something was left: %v, %v", left, err)
			}
		})
	}
}

// TestRestore restores into folders that are there and that are not, and serves from them.
func TestRestore(t *testing.T) {
	data, backup := made(t)
	before := tree(t, backup)
	inhabited := t.TempDir()
	if err := os.WriteFile(filepath.Join(inhabited, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	discard := func(string) {}
	for _, at := range []string{data, inhabited} {
		_, err := node.Restore(t.Context(), backup, node.Config{Data: at}, discard, nil)
		if !errors.Is(err, coffer.Conflict) {
			t.Errorf("over something: %v", err)
		}
	}
	_, err := node.Restore(t.Context(), backup,
		node.Config{Data: filepath.Join(t.TempDir(), "d"), Store: "postgres://h/d"}, discard, nil)
	if !errors.Is(err, coffer.Invalid) {
		t.Errorf("into a database: %v", err)
	}
	_, err = node.Open(t.Context(), node.Config{Data: backup, Listen: "127.0.0.1:0"})
	if !errors.Is(err, coffer.Invalid) {
		t.Errorf("a node in a backup: %v", err)
	}
	for name, at := range map[string]string{
		"an empty folder": t.TempDir(), "none": filepath.Join(t.TempDir(), "a"),
		"far below": filepath.Join(t.TempDir(), "a", "b", "c"),
	} {
		var last node.Census
		if _, err := node.Restore(t.Context(), backup, node.Config{Data: at}, func(what string) { t.Error(what) },
			func(c node.Census) { last = c }); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if last.Chunks != 1 || last.Bytes < 100_000 {
			t.Errorf("%s: %+v was checked", name, last)
		}
		for _, file := range []string{"backup.json", ".restoring", "lock"} {
			if _, err := os.Lstat(filepath.Join(at, file)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s is left", name, file)
			}
		}
		r := start(t, node.Config{Data: at})
		if err := r.Check(t.Context(), func(what string) { t.Error(what) }); err != nil {
			t.Error(err)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	}
	if after := tree(t, backup); after != before {
		t.Errorf("the backup was changed:\n%s\n%s", before, after)
	}
	// One that was cut off is told from a data folder.
	cut := t.TempDir()
	if err := os.Mkdir(filepath.Join(cut, ".restoring"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = node.Open(t.Context(), node.Config{Data: cut, Listen: "127.0.0.1:0"})
	if !errors.Is(err, coffer.Invalid) || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("after a restore that was cut off: %v", err)
	}
}
