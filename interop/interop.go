// Package interop runs published foreign clients against our programs: Node.js scripts in the folder of a test tell
// stories to cofferd as it is shipped.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/servers"
)

// folder is the environment variable that says where our programs are.
const folder = "COFFER_INTEROP_PROGRAMS"

// Main builds our programs, with the race detector if the test has it, and runs the tests of a package.
func Main(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() == "^$" {
		os.Exit(m.Run()) // no test is wanted
	}
	dir, err := os.MkdirTemp("", "coffer-interop-")
	if err == nil {
		args := []string{"build", "-o", dir}
		if raced() {
			args = append(args, "-race")
		}
		out, failed := exec.Command("go", append(args, "../../cmd/coffer", "../../cmd/cofferd")...).CombinedOutput()
		if failed != nil {
			err = fmt.Errorf("%w\n%s", failed, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
	os.Setenv(folder, dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// OnEachDisk tests a server on each disk that there is, with further flags, at its URL. Which of them are combined
// makes no difference to a client; the tests of cofferd know all combinations.
func OnEachDisk(t *testing.T, test func(t *testing.T, base string), more ...string) {
	for _, disks := range []struct {
		name  string
		flags func(t *testing.T) []string
	}{
		{"Pebble and files", func(*testing.T) []string { return nil }},
		{"PostgreSQL and S3", func(t *testing.T) []string {
			return []string{"--store", servers.Database(t), "--blobs", servers.Bucket(t), "--create-bucket"}
		}},
	} {
		t.Run(disks.name, func(t *testing.T) {
			t.Parallel()
			test(t, Serve(t, append(disks.flags(t), more...)...))
		})
	}
}

// Tell tells a story to the server: a script of this name, which prints a line "ok …" for each step, and "done".
func Tell(t *testing.T, story, base string) {
	t.Helper()
	out, err := Script(t, nil, story+".mjs", base)
	steps := 0
	for line := range strings.Lines(string(out)) {
		t.Log(strings.TrimSuffix(line, "\n"))
		if strings.HasPrefix(line, "ok ") {
			steps++
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	// A story that ends early by mistake must not pass for one that was told.
	if steps < 10 || !bytes.HasSuffix(out, []byte("done\n")) {
		t.Fatalf("the story ended after %d steps", steps)
	}
}

// Nodejs makes sure that a published client can be run, an npm package. Only a machine without Node.js that is not meant
// to test everything may go without it.
func Nodejs(t *testing.T, client string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Node.js is needed for the published clients")
		}
		t.Skip("!!! NOT TESTED: there is no Node.js here, so no published client was run against the server !!!")
	}
	if _, err := os.Stat(filepath.Join("node_modules", client)); err != nil {
		t.Fatal("the published clients are not installed: run make tools")
	}
}

// Script runs a script of the test's folder and returns what it printed. What it complained of is logged.
func Script(t *testing.T, stdin []byte, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Logf("%s: %s", args[0], stderr.Bytes())
	}
	return out, err
}

// Program returns the file of one of our programs. The package's TestMain is to be [Main].
func Program(t *testing.T, name string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(os.Getenv(folder), name)
}

// Serve starts cofferd with the flags and returns the URL it listens at. At the end of the test it is stopped, and must
// have stopped well.
func Serve(t *testing.T, flags ...string) (base string) {
	t.Helper()
	flags = append([]string{"--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data")}, flags...)
	cmd := exec.Command(Program(t, "cofferd"), flags...)
	var log lockedBuffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, drained := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(drained)
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		said <- line
		io.Copy(io.Discard, stdout)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		slow := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		<-drained
		err := cmd.Wait()
		if !slow.Stop() {
			err = errors.New("had to be killed")
		}
		if err != nil || strings.Contains(log.String(), "DATA RACE") {
			t.Errorf("cofferd did not end well: %v", err)
		}
		if t.Failed() {
			t.Logf("cofferd's log:\n%s", log.String())
		}
	})
	select {
	case line := <-said:
		base, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
		if !ok || !strings.HasPrefix(base, "http://127.0.0.1:") {
			t.Fatalf("cofferd said %q, and in its log:\n%s", line, log.String())
		}
		return base
	case <-time.After(time.Minute):
		t.Fatal("cofferd does not say where it listens")
		return ""
	}
}

// raced reports whether this test was built with the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// A lockedBuffer is a buffer that is read while a process still writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
