package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

func TestUsage(t *testing.T) {
	home := map[string]string{"HOME": t.TempDir()}
	tests := []struct {
		name   string
		args   string
		env    map[string]string
		code   int
		output string // part of what is said
	}{
		{"help", "--help", home, 0, "COFFERD_QUOTA_BYTES"},
		{"help of serve", "serve --help", home, 0, "--allow-did-web"},
		{"version", "version", home, 0, "cofferd "},
		{"unknown flag", "--fly", home, 2, "cofferd --help"},
		{"unknown command", "fly", home, 2, "cofferd --help"},
		{"size", "--max-document 1X", home, 2, "a size is a number of bytes"},
		{"size in the environment", "serve", map[string]string{"COFFERD_MAX_DOCUMENT": "1X"}, 2,
			"a size is a number of bytes"},
		{"log", "--log yaml", home, 2, "must be one of"},
		{"acme and files", "--acme h.example --tls-cert c", home, 2, "not both"},
		{"no home", "serve", nil, 2, "give --data DIR"},
		{"check without a home", "check", nil, 2, "give --data DIR"},
		{"check of nothing", "check --data " + filepath.Join(t.TempDir(), "none"), home, 1, "does not exist"},
		{"check of an empty folder", "check --data " + t.TempDir(), home, 1, "does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := call(t.Context(), tt.env, strings.Fields(tt.args)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.output) {
				t.Errorf("exit code %d, want %d; stdout:\n%s\nstderr:\n%s", code, tt.code, stdout, stderr)
			}
			if code == 0 == (stdout == "") {
				t.Errorf("what was asked for goes to stdout, and nothing else: %q", stdout)
			}
		})
	}
}

// TestServeInProcess runs the program as a test can: with flags from the environment, to an orderly end.
func TestServeInProcess(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	var log safeBuffer
	env := map[string]string{"COFFERD_LISTEN": "127.0.0.1:0", "COFFERD_DATA": data, "COFFERD_LOG": "json"}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, nil, strings.NewReader(""), in, &log, func(name string) string { return env[name] })
		in.Close()
	}()
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	origin := strings.TrimSpace(strings.TrimPrefix(string(line[:n]), "listening on "))
	resp, err := http.Get(origin + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("healthz: %v, %v", resp, err)
	}
	resp.Body.Close()
	cancel()
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
		t.Errorf("more on stdout: %q, %v", rest, err)
	}
	if c := <-code; c != 0 {
		t.Errorf("exit code %d\n%s", c, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if log.String() == "" {
		t.Error("nothing was logged")
	}
	if _, err := os.Stat(data); err != nil {
		t.Errorf("COFFERD_DATA was not used: %v", err)
	}
}

// TestLimits runs the program with quotas and sees them kept.
func TestLimits(t *testing.T) {
	p := start(t, []string{"COFFERD_QUOTA_DOCUMENTS=3"}, "--listen", "127.0.0.1:0",
		"--data", t.TempDir(), "--max-document", "20kB", "--quota-vaults", "1")
	ring, vault := newVault(t, p.origin)
	w := newWriters(ring)
	put := func(size int) error {
		d := &coffer.Document{ID: coffer.NewObjectID()}
		if err := w.sealed(t.Context(), d, size); err != nil {
			t.Fatal(err)
		}
		_, err := coffer.Put(t.Context(), vault, d)
		return err
	}
	if err := put(40_000); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("a document that is too large: %v", err)
	}
	for range 3 {
		if err := put(100); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(100); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("one document too many: %v", err)
	}
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, p.log)
	}
}

// TestShutdown ends a node in the middle of an upload and of a followed feed: soon, and orderly.
func TestShutdown(t *testing.T) {
	p := start(t, nil, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir())
	_, vault := newVault(t, p.origin)
	following := make(chan struct{})
	go func() {
		defer close(following)
		for range vault.Changes(t.Context(), "", true) {
		}
	}()
	time.Sleep(100 * time.Millisecond)
	begun := time.Now()
	if err := p.stop(t, syscall.SIGINT); err != nil {
		t.Errorf("SIGINT: %v\n%s", err, p.log)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// TestCheckFindsDamage removes and cuts what the node keeps.
func TestCheckFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"a chunk is gone":   os.Remove,
		"a chunk is short":  func(file string) error { return os.Truncate(file, 1000) },
		"nothing is broken": func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			p := start(t, nil, "--listen", "127.0.0.1:0", "--data", data)
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
			if code, _, stderr := call(t.Context(), nil, "check", "--data", data); code != 1 {
				t.Errorf("check beside a running node: exit code %d\n%s", code, stderr)
			}
			if err := p.stop(t, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := damage(largest(t, filepath.Join(data, "chunks"))); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := call(t.Context(), nil, "check", "--data", data)
			if name == "nothing is broken" {
				if code != 0 || !strings.Contains(stdout, "all is well") {
					t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
				}
			} else if code != 1 || !strings.Contains(stdout, "a chunk") || !strings.Contains(stderr, "damaged") {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}
