package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/keyring"
)

// TestMain lets the tests run this test binary as cofferd, in processes of their own, with the race detector if they
// have it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cofferd": main})
}

// A process is a cofferd that runs.
type process struct {
	cmd    *exec.Cmd
	origin string
	log    *safeBuffer
	ended  chan error
}

// start starts cofferd and waits until it says where it listens. It is killed at the end of the test.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("cofferd", args...), log: &safeBuffer{}, ended: make(chan error, 1)}
	p.cmd.Env = append([]string{"HOME=" + t.TempDir(), "GORACE=halt_on_error=1"}, env...)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	origin, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("cofferd said %q (%v), and on stderr:\n%s", line, err, p.log)
	}
	p.origin = origin
	go func() {
		rest, _ := io.ReadAll(r)
		if len(rest) > 0 {
			t.Errorf("cofferd says more than one line on stdout: %q", rest)
		}
		p.ended <- p.cmd.Wait()
	}()
	return p
}

// stop sends the signal and returns how the process ended.
func (p *process) stop(t *testing.T, s syscall.Signal) error {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("cofferd does not end:\n%s", p.log)
		return nil
	}
}

// call runs cofferd to its end in this process.
func call(ctx context.Context, env map[string]string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &out, &errs, func(name string) string { return env[name] })
	return code, out.String(), errs.String()
}

// A combination is a way to keep what a node keeps.
type combination struct {
	name   string
	flags  func(*testing.T) []string // of every command; for a place that nobody else uses
	shared bool                      // several nodes may use it
}

// combinations are all ways that there are. Buckets are made by the tests' first node, with --create-bucket.
var combinations = []combination{
	{"pebble and files", func(*testing.T) []string { return nil }, false},
	{"postgres and files", func(t *testing.T) []string { return []string{"--store", servers.Database(t)} }, false},
	{"postgres and s3", func(t *testing.T) []string {
		return []string{"--store", servers.Database(t), "--blobs", servers.Bucket(t)}
	}, true},
}

// serving returns the flags of a command as flags of serve.
func serving(flags []string, more ...string) []string {
	return slices.Concat([]string{"serve", "--create-bucket", "--log-level", "warn"}, flags, more)
}

// newVault makes a vault for a new identity.
func newVault(t *testing.T, origin string) (*keyring.Ring, *edv.RemoteVault) {
	t.Helper()
	ring := keyring.Generate()
	t.Cleanup(func() { ring.Close() })
	return ring, newVaultOf(t, ring, clientOf(t, ring, origin, ""))
}

// clientOf returns a client of the node that calls itself by the origin; one that listens at the address, if there is
// one.
func clientOf(t *testing.T, ring *keyring.Ring, origin, address string) *edv.Client {
	t.Helper()
	o := edv.ClientOptions{Base: origin, Keyring: ring, Now: time.Now, Sessions: true}
	if address != "" {
		transport := &http.Transport{
			MaxIdleConnsPerHost: 64,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			},
		}
		t.Cleanup(transport.CloseIdleConnections)
		o.HTTP = &http.Client{Transport: transport}
	}
	client, err := edv.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// newVaultOf makes a vault for the keyring's holder.
func newVaultOf(t *testing.T, ring *keyring.Ring, client *edv.Client) *edv.RemoteVault {
	t.Helper()
	hmac := ring.Key(coffer.HMACKey)
	c, err := client.CreateVault(t.Context(), &coffer.Config{
		Controller: ring.DID(), ReferenceID: "main", HMAC: &coffer.KeyRef{ID: hmac.ID, Type: hmac.Type},
	})
	if err != nil {
		t.Fatal(err)
	}
	vault, err := client.Vault(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	return vault
}

// at returns a vault as it is reached by a client.
func at(t *testing.T, client *edv.Client, url string, capabilities ...[]byte) *edv.RemoteVault {
	t.Helper()
	v, err := client.Vault(url, capabilities...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// freeAddress returns an address of loopback at which nothing listened a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// well fails unless check finds nothing wrong.
func well(t *testing.T, when string, flags ...string) {
	t.Helper()
	code, stdout, stderr := call(t.Context(), nil, append([]string{"check"}, flags...)...)
	if code != 0 || stdout != "all is well\n" {
		t.Fatalf("check %s: exit code %d\n%s%s", when, code, stdout, stderr)
	}
}

// largest returns the largest file below a folder.
func largest(t *testing.T, dir string) (file string) {
	t.Helper()
	var size int64
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			file, size = name, info.Size()
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatalf("no file in the folder: %v", err)
	}
	return file
}

// A safeBuffer is written by a process and read by a test.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
