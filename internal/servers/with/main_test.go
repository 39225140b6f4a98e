package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferhq/coffer/internal/servers"
)

// TestMain lets the tests run this test binary as with.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"with": main})
}

// lists is a command that writes which servers there are, a line each, then an empty line, and reads until it is told
// what to do.
const lists = `env | grep ^COFFER_TEST_; echo; read code; exit "$code"`

// TestWith runs a command beside the servers, which end with it however it ends.
func TestWith(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(with *os.Process, command *bufio.Writer) error
		code int
	}{
		{"well", func(_ *os.Process, command *bufio.Writer) error {
			_, err := command.WriteString("0\n")
			return errors.Join(err, command.Flush())
		}, 0},
		{"with a failure", func(_ *os.Process, command *bufio.Writer) error {
			_, err := command.WriteString("3\n")
			return errors.Join(err, command.Flush())
		}, 3},
		{"because it is told to", func(with *os.Process, _ *bufio.Writer) error { return with.Signal(syscall.SIGTERM) }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command("with", "-quick", "sh", "-c", lists)
			cmd.Env = append(os.Environ(), servers.PostgresVariable+"=", servers.S3Variable+"=", "PGHOST=192.0.2.1")
			var said bytes.Buffer
			cmd.Stderr = &said
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var bases []string
			for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != ""; {
				if _, base, _ := strings.Cut(lines.Text(), "="); base != "" {
					bases = append(bases, base)
				}
			}
			for _, base := range bases {
				if !listens(t, base) {
					t.Errorf("nobody listens at %s", base)
				}
			}
			if err := test.end(cmd.Process, bufio.NewWriter(in)); err != nil {
				t.Error(err)
			}
			cmd.Wait()
			if want := 2 - strings.Count(said.String(), servers.ErrLacking.Error()); len(bases) != want {
				t.Errorf("%d servers, want %d", len(bases), want)
			}
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, want %d\n%s", code, test.code, said.String())
			}
			for _, base := range bases {
				if listens(t, base) {
					t.Errorf("somebody listens at %s", base)
				}
			}
		})
	}
}

// TestNothing refuses to run nothing, and says when the command is none.
func TestNothing(t *testing.T) {
	if code := run(nil); code != 2 {
		t.Errorf("exit code %d", code)
	}
	if code := run([]string{"-quick"}); code != 2 {
		t.Errorf("exit code %d", code)
	}
	if code := run([]string{"/nowhere/nothing"}); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func listens(t *testing.T, base string) bool {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
