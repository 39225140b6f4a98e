//go:build linux

package servers

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stranded names the kind of server that this program starts, says where, and waits with until it is killed.
const stranded = "COFFER_TEST_STRANDED"

func TestMain(m *testing.M) {
	if kind := os.Getenv(stranded); kind != "" {
		s, err := kinds[kind]()
		if err != nil {
			panic(err)
		}
		fmt.Println(s.URL, s.folder.path)
		select {}
	}
	os.Exit(m.Run())
}

var kinds = map[string]func() (*Server, error){
	"postgres": func() (*Server, error) { return StartPostgres("fsync=off") },
	"s3":       StartS3,
}

// start starts a server for the test.
func start(t *testing.T, kind string) *Server {
	t.Helper()
	s, err := kinds[kind]()
	if errors.Is(err, ErrLacking) && os.Getenv("CI") != "true" {
		t.Skipf("!!! NOT TESTED: %v here !!!", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// listens reports whether anybody listens where the URL says.
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

// goesSilent reports whether nobody listens there any more. A process that PostgreSQL's first one began a moment before it
// was killed listens until it notices.
func goesSilent(t *testing.T, base string) bool {
	t.Helper()
	for end := time.Now().Add(stopTime); listens(t, base); time.Sleep(pollTime) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// TestServers starts, kills, restarts and stops each server. Stopped, it leaves neither a process nor a folder.
func TestServers(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, kind)
			url := s.URL
			kept := filepath.Join(s.folder.path, "data", "kept")
			if err := os.WriteFile(kept, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, end := range []struct {
				how string
				end func() error
			}{
				{"killed", func() error { s.Kill(); return nil }},
				{"told to end", func() error { err := s.Signal(os.Interrupt); <-s.ended; return err }},
				{"running still", func() error { return nil }},
			} {
				if err := end.end(); err != nil {
					t.Fatalf("%s: %v", end.how, err)
				}
				if end.how == "killed" && !goesSilent(t, url) {
					t.Error("killed, it listens")
				}
				if err := s.Restart(); err != nil {
					t.Fatalf("%s and restarted: %v", end.how, err)
				}
				if _, err := os.Stat(kept); err != nil || s.URL != url || !listens(t, url) {
					t.Errorf("%s and restarted, it is another one: %v", end.how, err)
				}
			}
			process := s.running.Process.Pid
			for range 2 {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
			}
			if !goesSilent(t, url) || syscall.Kill(process, 0) == nil {
				t.Error("stopped, it runs")
			}
			if _, err := os.Stat(s.folder.path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it leaves its folder: %v", err)
			}
			if err := s.Signal(os.Interrupt); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("a signal to none: %v", err)
			}
		})
	}
}

// TestDatabase makes two databases that do not see each other, and go with their test, whatever the environment says
// about other servers.
func TestDatabase(t *testing.T) {
	for name, value := range map[string]string{
		"PGPASSWORD": "wrong", "PGHOST": "192.0.2.1", "PGHOSTADDR": "192.0.2.1", "PGPORT": "1", "PGUSER": "nobody",
		"PGSSLMODE": "verify-full", "PGOPTIONS": "-c nonsense=1", "PGDATA": "/nowhere", "PGSERVICE": "none", "LC_ALL": "none",
	} {
		t.Setenv(name, value)
	}
	s := start(t, "postgres")
	t.Setenv(PostgresVariable, s.URL)
	do := func(database, statement string) string {
		t.Helper()
		out, err := sqlIn(database, statement)
		if err != nil {
			t.Fatalf("%s: %v\n%s", statement, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	var one, two string
	t.Run("two", func(t *testing.T) {
		one, two = Database(t), Database(t)
		do(one, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
		do(two, "CREATE TABLE t (n int)")
		if a, b := do(one, "SELECT count(*) FROM t"), do(two, "SELECT count(*) FROM t"); a != "1" || b != "0" {
			t.Errorf("one has %s, the other %s", a, b)
		}
		s.Kill()
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if n := do(one, "SELECT count(*) FROM t"); n != "1" {
			t.Errorf("after kill -9 it has %s", n)
		}
	})
	if left := do(s.URL+"/postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'coffer-%'"); left != "" {
		t.Errorf("%q is left", left)
	}
}

// TestBucket gives names that no two tests share.
func TestBucket(t *testing.T) {
	t.Setenv(S3Variable, "s3+http://k:s@127.0.0.1:1")
	one, two := Bucket(t), Bucket(t)
	if one == two || !strings.HasPrefix(one, "s3+http://k:s@127.0.0.1:1/coffer-") {
		t.Errorf("%s and %s", one, two)
	}
}

// TestTakenPort lets somebody else be faster to listen on a port.
func TestTakenPort(t *testing.T) {
	for kind, make := range map[string]func() (*Server, error){
		"postgres": func() (*Server, error) { return newPostgres([]string{"fsync=off"}) }, "s3": newS3,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			first := start(t, kind)
			taken, err := url.Parse(first.URL)
			if err != nil {
				t.Fatal(err)
			}
			second, err := make()
			if err != nil {
				t.Fatal(err)
			}
			listen, calls := second.listen, 0
			second.listen = func(port string) {
				if calls++; calls == 1 {
					port = taken.Port()
				}
				listen(port)
			}
			if err := second.startNew("coffer-taken-"); err != nil {
				t.Fatal(err)
			}
			defer second.Stop()
			if calls != 2 || second.URL == first.URL || !listens(t, second.URL) {
				t.Errorf("after %d tries it listens at %s", calls, second.URL)
			}
		})
	}
}

// TestBroken starts servers that cannot be: they say why, and leave nothing.
func TestBroken(t *testing.T) {
	s, err := newPostgres([]string{"no_such_setting=1"})
	if errors.Is(err, ErrLacking) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	err = s.startNew("coffer-broken-")
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("a wrong setting: %v", err)
	}
	if _, err := os.Stat(s.folder.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it leaves its folder: %v", err)
	}
	t.Setenv("PATH", "")
	if _, err := StartS3(); !errors.Is(err, ErrLacking) {
		t.Errorf("without versitygw: %v", err)
	}
}

// TestStranded kills who started a server. The server ends, and its folder goes when the next one is made.
func TestStranded(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			start(t, kind) // or skip
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), stranded+"="+kind)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var base, path string
			_, err = fmt.Fscan(out, &base, &path)
			if err == nil && !listens(t, base) {
				t.Error("it does not run")
			}
			cmd.Process.Kill()
			cmd.Wait()
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(stopTime); listens(t, base); time.Sleep(pollTime) {
				if time.Now().After(end) {
					t.Fatal("it goes on")
				}
			}
			for end := time.Now().Add(stopTime); ; time.Sleep(pollTime) {
				removeStale("coffer-" + kind + "-")
				_, err := os.Stat(path)
				if errors.Is(err, os.ErrNotExist) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("its folder stays: %v", err)
				}
			}
		})
	}
}

// TestFolders removes what was left behind and nothing else.
func TestFolders(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const prefix = "coffer-x-"
	held, err := newFolder(prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	left, err := newFolder(prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	left.lock.Close()
	strange := filepath.Join(os.TempDir(), prefix+"strange")
	if err := os.Mkdir(strange, 0o700); err != nil {
		t.Fatal(err)
	}
	another, err := newFolder(prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, there := range map[string]bool{held.path: true, left.path: false, strange: true, another.path: true} {
		if _, err := os.Stat(path); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := errors.Join(held.remove(), another.remove()); err != nil {
		t.Error(err)
	}
}
