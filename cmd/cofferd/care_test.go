package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/node"
)

// TestUC26BackupUnderLoad makes a backup of a node that is written to, and restores it where there was nothing: what
// was acknowledged before the backup is there, and the check finds nothing (UC-26).
func TestUC26BackupUnderLoad(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, nil, "serve", "--listen", "127.0.0.1:0", "--data", data, "--log-level", "warn")
	address := p.origin[len("http://"):]
	ring, vault := newVault(t, p.origin)
	a, err := agent.New(agent.Options{Vault: vault, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	one := agent.Source{Reader: strings.NewReader("1"), Size: 1}
	if _, err := a.Put(t.Context(), "first", one, agent.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	w, before := newWriters(ring), newWriters(ring)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	w.begin(ctx, t, &running, vault, 8, "load", rand.New(rand.NewPCG(1, 2)))
	w.until(t, 50)
	w.mu.Lock()
	for id, rev := range w.documents {
		before.documents[id] = rev
	}
	for path, b := range w.files {
		before.files[path] = b
	}
	w.mu.Unlock()
	backup := filepath.Join(t.TempDir(), "backup")
	code, stdout, stderr := call(t.Context(), nil, "backup", "--data", data, backup)
	if code != 0 || !strings.HasPrefix(stdout, "copied ") {
		t.Fatalf("backup: exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := call(t.Context(), nil, "backup", "--data", data, backup); code != 1 ||
		!strings.Contains(stderr, "the folder is there already") {
		t.Errorf("a second backup into the same folder: exit code %d\n%s", code, stderr)
	}
	w.until(t, 10) // the node goes on
	cancel()
	running.Wait()
	if err := p.stop(t, syscall.SIGKILL); err == nil {
		t.Fatal("it was to be killed")
	}
	if err := os.RemoveAll(data); err != nil { // the disk burns
		t.Fatal(err)
	}
	code, stdout, stderr = call(t.Context(), nil, "restore", "--from", backup, "--data", data)
	if code != 0 || !strings.HasPrefix(stdout, "restored the state of ") {
		t.Fatalf("restore: exit code %d\n%s%s", code, stdout, stderr)
	}
	well(t, "of what was restored", "--data", data)
	p = start(t, nil, "serve", "--listen", address, "--data", data, "--log-level", "warn")
	// What was replaced between the look at what is acknowledged and the backup has a later revision.
	for id := range before.documents {
		if docs, err := vault.Get(t.Context(), id); err != nil || len(docs) != 1 {
			t.Errorf("an acknowledged document: %v", err)
		}
	}
	clear(before.documents)
	before.verify(t, vault)
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, p.log)
	}
	// At rest, a backup needs no node.
	second := filepath.Join(t.TempDir(), "backup")
	if code, stdout, stderr := call(t.Context(), nil, "backup", "--json", "--data", data, second); code != 0 {
		t.Errorf("backup at rest: exit code %d\n%s%s", code, stdout, stderr)
	} else {
		var m node.Manifest
		if err := json.Unmarshal([]byte(stdout), &m); err != nil || m.Chunks == nil || m.Documents.Files == 0 {
			t.Errorf("the manifest is %s: %v", stdout, err)
		}
	}
}

// TestBackupElsewhere says of what is kept in servers that it is not copied.
func TestBackupElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backup")
	none := func() {
		t.Helper()
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was made: %v", err)
		}
	}
	code, _, stderr := call(t.Context(), nil, "backup", "--store", "postgres://u:marker@h/d", "--data", t.TempDir(), dir)
	if code != exitUsage || !strings.Contains(stderr, "pg_dump") || !strings.Contains(stderr, "doc/operating.md") ||
		strings.Contains(stderr, "marker") {
		t.Errorf("of a database: exit code %d\n%s", code, stderr)
	}
	none()
	// Through a node that runs on one, too.
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, nil, serving([]string{"--store", servers.Database(t)}, "--data", data, "--listen", "127.0.0.1:0")...)
	code, _, stderr = call(t.Context(), nil, "backup", "--data", data, dir)
	if code != exitUsage || !strings.Contains(stderr, "pg_dump") {
		t.Errorf("of a node on a database: exit code %d\n%s", code, stderr)
	}
	none()
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	// Documents in the folder, chunks in a bucket: those are copied, and these are not.
	data = filepath.Join(t.TempDir(), "data")
	blobs := []string{"--blobs", servers.Bucket(t)}
	p = start(t, nil, serving(blobs, "--data", data, "--listen", "127.0.0.1:0")...)
	address := p.origin[len("http://"):]
	ring, vault := newVault(t, p.origin)
	a, err := agent.New(agent.Options{Vault: vault, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Repeat([]byte("chunk"), 500_000)
	if _, err := a.Put(t.Context(), "file", agent.Source{Reader: bytes.NewReader(b), Size: int64(len(b))},
		agent.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t.Context(), nil, "backup", "--data", data, dir)
	if code != 0 || !strings.Contains(stderr, "were not copied") {
		t.Fatalf("chunks in a bucket: exit code %d\n%s%s", code, stdout, stderr)
	}
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	restored := filepath.Join(t.TempDir(), "data")
	if code, _, stderr := call(t.Context(), nil, "restore", "--from", dir, "--data", restored); code != exitUsage ||
		!strings.Contains(stderr, "--blobs") {
		t.Errorf("restore without the bucket: exit code %d\n%s", code, stderr)
	}
	code, stdout, stderr = call(t.Context(), nil,
		append([]string{"restore", "--from", dir, "--data", restored}, blobs...)...)
	if code != 0 {
		t.Fatalf("restore: exit code %d\n%s%s", code, stdout, stderr)
	}
	start(t, nil, serving(blobs, "--data", restored, "--listen", address)...)
	o, err := a.Get(t.Context(), "file")
	if err != nil {
		t.Fatal(err)
	}
	got := make(sink, o.Size)
	if err := o.WriteTo(t.Context(), got, nil); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the file: %v", err)
	}
}

// TestCare runs the commands that look after a node, beside one that runs and at rest, on each combination.
func TestCare(t *testing.T) {
	for _, c := range combinations {
		t.Run(c.name, func(t *testing.T) {
			flags := append(c.flags(t), "--data", filepath.Join(t.TempDir(), "data"))
			p := start(t, nil, serving(flags, "--listen", "127.0.0.1:0")...)
			ring, vault := newVault(t, p.origin)
			a, err := agent.New(agent.Options{Vault: vault, Keyring: ring})
			if err != nil {
				t.Fatal(err)
			}
			b := bytes.Repeat([]byte("chunk"), 500_000)
			if _, err := a.Put(t.Context(), "file", agent.Source{Reader: bytes.NewReader(b), Size: int64(len(b))},
				agent.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			stats := func() (s node.Stats) {
				t.Helper()
				code, stdout, stderr := call(t.Context(), nil, append([]string{"stats", "--json"}, flags...)...)
				if err := json.Unmarshal([]byte(stdout), &s); code != 0 || err != nil {
					t.Fatalf("stats: exit code %d, %v\n%s%s", code, err, stdout, stderr)
				}
				for _, name := range []string{ring.DID(), vault.URL()[strings.LastIndex(vault.URL(), "/")+1:], "127.0.0.1"} {
					if strings.Contains(stdout, name) {
						t.Errorf("statistics name somebody:\n%s", stdout)
					}
				}
				return s
			}
			running := stats()
			if running.Node == nil || running.Node.Requests < 5 || running.Documents.Documents < 3 || running.Chunks.Count < 3 {
				t.Errorf("a running node says %+v, %+v, %+v", running.Documents, running.Chunks, running.Node)
			}
			code, _, stderr := call(t.Context(), nil, append([]string{"check"}, flags...)...)
			if c.shared && code != 0 ||
				!c.shared && (code != 1 || !strings.Contains(stderr, "the node is running: stop it first")) {
				t.Errorf("check beside it: exit code %d\n%s", code, stderr)
			}
			if err := p.stop(t, syscall.SIGTERM); err != nil {
				t.Fatalf("%v\n%s", err, p.log)
			}
			atRest := stats()
			if atRest.Node != nil || atRest.Documents.Documents != running.Documents.Documents ||
				*atRest.Chunks != *running.Chunks {
				t.Errorf("at rest: %+v, %+v; running: %+v, %+v", atRest.Documents, atRest.Chunks, running.Documents, running.Chunks)
			}
			if code, stdout, stderr := call(t.Context(), nil, append([]string{"stats"}, flags...)...); code != 0 ||
				!strings.Contains(stdout, "documents") {
				t.Errorf("stats for people: exit code %d\n%s%s", code, stdout, stderr)
			}
			well(t, "at rest", flags...)
			code, stdout, stderr := call(t.Context(), nil, append([]string{"check", "--rebuild", "--json"}, flags...)...)
			want := fmt.Sprintf(`{"count":0,"read":{"chunks":%d,"bytes":%d}}`, atRest.Chunks.Count, atRest.Chunks.Bytes)
			if code != 0 || !strings.HasSuffix(stdout, want+"\n") {
				t.Errorf("check --rebuild: exit code %d\n%s%s; want %s", code, stdout, stderr, want)
			}
		})
	}
}

// TestRebuild damages what PostgreSQL derives: the check says so, and what is made anew is well.
func TestRebuild(t *testing.T) {
	database := servers.Database(t)
	flags := []string{"--store", database, "--data", filepath.Join(t.TempDir(), "data")}
	p := start(t, nil, serving(flags, "--listen", "127.0.0.1:0")...)
	ring, vault := newVault(t, p.origin)
	a, err := agent.New(agent.Options{Vault: vault, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	one := agent.Source{Reader: strings.NewReader("1"), Size: 1}
	if _, err := a.Put(t.Context(), "file", one, agent.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	execute(t, database, "UPDATE vaults SET bytes = bytes + 7")
	code, stdout, stderr := call(t.Context(), nil, append([]string{"check", "--json"}, flags...)...)
	if code != 1 || !strings.Contains(stdout, `{"wrong":"`) || !strings.Contains(stderr, "damaged") {
		t.Errorf("check: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = call(t.Context(), nil, append([]string{"check", "--rebuild"}, flags...)...)
	if code != 0 || !strings.Contains(stdout, "made anew: ") || !strings.HasSuffix(stdout, "all is well\n") {
		t.Errorf("check --rebuild: exit code %d\n%s%s", code, stdout, stderr)
	}
	well(t, "afterwards", flags...)
}
