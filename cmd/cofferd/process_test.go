package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
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

// newVault makes a vault for a new identity.
func newVault(t *testing.T, origin string) (*keyring.Ring, *edv.RemoteVault) {
	t.Helper()
	ring := keyring.Generate()
	t.Cleanup(func() { ring.Close() })
	client, err := edv.NewClient(edv.ClientOptions{Base: origin, Keyring: ring, Now: time.Now, Sessions: true})
	if err != nil {
		t.Fatal(err)
	}
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
	return ring, vault
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
