package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node"
)

// TestLogOverRestarts follows a vault's log over the node's restarts, and after the loss of its key.
func TestLogOverRestarts(t *testing.T) {
	const origin = "http://127.0.0.1:4747" // as the node calls itself; it listens elsewhere
	data, alice := t.TempDir(), coffertest.Person(t, "alice")
	_, given, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var url, first string
	var followed []byte // a watcher's state
	for _, turn := range []struct {
		name    string
		prepare func()
		key     ed25519.PrivateKey
		want    error
	}{
		{"the first start", func() {}, nil, nil},
		{"a restart", func() {}, nil, nil},
		{"a key that was handed in", func() {}, given, ledger.ErrUnsigned},
		{"its own key again", func() {}, nil, nil},
		{"a key that was lost", func() {
			if err := os.Remove(filepath.Join(data, "log.key")); err != nil {
				t.Fatal(err)
			}
		}, nil, ledger.ErrUnsigned},
	} {
		t.Run(turn.name, func(t *testing.T) {
			turn.prepare()
			n := coffertest.Node(t, node.Config{Data: data, Origin: origin, LogKey: turn.key})
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", n.Addr().String())
			}
			c, err := edv.NewClient(edv.ClientOptions{
				Base: origin, Keyring: alice, Now: time.Now,
				HTTP: &http.Client{Transport: &http.Transport{DialContext: dial}},
			})
			if err != nil {
				t.Fatal(err)
			}
			d, err := c.Description(t.Context())
			if err != nil || !slices.Contains(d.Features, edv.FeatureCheckpoints) {
				t.Fatalf("described as %+v, %v", d, err)
			}
			text, err := c.LogKey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			key, err := ledger.ParseVerifier(text)
			if err != nil || !strings.HasPrefix(text, "127.0.0.1:4747+") {
				t.Fatalf("key %s: %v", text, err)
			}
			if url == "" {
				config, err := c.CreateVault(t.Context(), &coffer.Config{Controller: alice.DID()})
				if err != nil {
					t.Fatal(err)
				}
				url, first = config.ID, text
			}
			if same := text == first; same != (turn.want == nil) {
				t.Errorf("the key is the first one: %t", same)
			}
			v, err := c.Vault(url)
			if err != nil {
				t.Fatal(err)
			}
			w, err := ledger.NewWatcher(ledger.Origin(url), key)
			if followed != nil {
				w, err = ledger.DecodeWatcher(followed)
			}
			if err != nil {
				t.Fatal(err)
			}
			put(t, v)
			due := w.Due()
			note, err := v.Checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Checkpoint(note, due); turn.want != nil {
				if !errors.Is(err, turn.want) {
					t.Errorf("%v, want %v", err, turn.want)
				}
				return
			} else if err != nil {
				t.Fatal(err)
			}
			due = w.Due()
			for ch, err := range v.Changes(t.Context(), w.Cursor(), false) {
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Read(ch); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Ended(due); err != nil {
				t.Fatal(err)
			}
			if followed, err = w.Encode(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLogKeyIsKeptToItself(t *testing.T) {
	data := t.TempDir()
	path := filepath.Join(data, "log.key")
	open := func(key ed25519.PrivateKey) error {
		n, err := node.Open(t.Context(), node.Config{Data: data, Listen: "127.0.0.1:0", LogKey: key})
		if err != nil {
			return err
		}
		return n.Close()
	}
	if err := open(make(ed25519.PrivateKey, 3)); !errors.Is(err, coffer.Invalid) {
		t.Errorf("with half a key: %v, want Invalid", err)
	}
	if err := open(nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing": {}, "half": good[:len(good)/2], "more": append(slices.Clone(good), 'x'),
		"another type": bytes.ReplaceAll(good, []byte("PRIVATE"), []byte("PUBLIC")), "endless": bytes.Repeat(good, 100),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(nil); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, b) {
			t.Errorf("%s: the file was replaced", name)
		}
	}
	if left, err := filepath.Glob(filepath.Join(data, ".log-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
