// Package servers starts the real servers that tests need beside ours: PostgreSQL as Debian packages it, and an S3 server
// (versitygw). They listen on loopback, keep what they have in temporary folders, and end with who started them.
//
// The program below, with, starts them once for a whole run of tests and names them in the environment. A test asks for
// [Database] or [Bucket], which are new and empty, whatever else goes on on the server. A test of what happens when a
// server ends starts its own.
package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The environment variables that name servers that are running.
const (
	PostgresVariable = "COFFER_TEST_POSTGRES" // postgres://user@host:port, to which a database's name is added
	S3Variable       = "COFFER_TEST_S3"       // s3+http://key:secret@host:port, to which a bucket's name is added
)

// A Server is a server on this machine. Its methods are not to be called concurrently.
type Server struct {
	URL string // to which the name of a database or bucket is added

	name    string
	folder  *folder
	program string
	args    []string
	env     []string
	owner   *account               // nil: who runs this process
	prepare func() error           // what the server needs in its folder
	listen  func(port string)      // makes it one that listens at the port
	ready   func(process int) bool // whether it is this process that answers
	running *exec.Cmd              // nil: none
	ended   <-chan struct{}        // closed when running has ended
}

// ErrLacking says that a server is not installed here.
var ErrLacking = errors.New("is not installed")

// Bounds on waiting for a server.
const (
	startTime = 60 * time.Second // until it answers
	stopTime  = 20 * time.Second // until it has ended
	pollTime  = 10 * time.Millisecond
)

// tries is how often another port is taken, when somebody else was faster to listen on one.
const tries = 5

// StartPostgres starts a PostgreSQL server with the settings, such as "fsync=off", and waits until it answers. Anybody on
// this machine may do anything with it, as user coffer. As root it runs as user postgres. The error is ErrLacking when
// PostgreSQL is not installed.
func StartPostgres(settings ...string) (*Server, error) {
	s, err := newPostgres(settings)
	if err != nil {
		return nil, err
	}
	if err := s.startNew("coffer-postgres-"); err != nil {
		return nil, err
	}
	return s, nil
}

func newPostgres(settings []string) (*Server, error) {
	bin, err := postgresFolder()
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged("postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{name: "PostgreSQL", program: filepath.Join(bin, "postgres"), env: plainEnvironment(), owner: owner}
	s.prepare = func() error {
		// Whether the folder is whole when the machine loses its power does not matter: who started the server is gone then.
		initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", s.data(), "-A", "trust", "-U", "coffer", "--no-sync",
			"-E", "UTF8", "--locale=C")
		initdb.Dir, initdb.Env, initdb.SysProcAttr = s.folder.path, s.env, s.owner.attributes()
		if out, err := initdb.CombinedOutput(); err != nil {
			return fmt.Errorf("initdb: %w\n%s", err, out)
		}
		return nil
	}
	s.listen = func(port string) {
		s.args = []string{
			"-D", s.data(), "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "max_connections=200",
		}
		for _, set := range settings {
			s.args = append(s.args, "-c", set)
		}
		s.URL = "postgres://coffer@127.0.0.1:" + port
	}
	s.ready = func(process int) bool { return postgresReady(s.data(), process) }
	return s, nil
}

// data returns the folder of what the server keeps.
func (s *Server) data() string { return filepath.Join(s.folder.path, "data") }

// postgresReady reports whether the process says in its data folder that it takes connections, as pg_ctl asks it: that
// another server may have been faster to listen on the port does not matter then.
func postgresReady(data string, process int) bool {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	return err == nil && len(lines) >= 8 && strings.TrimSpace(lines[0]) == strconv.Itoa(process) &&
		strings.TrimSpace(lines[7]) == "ready"
}

// postgresFolder returns where the programs of the newest PostgreSQL are.
func postgresFolder() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	best, version := "", -1
	for _, f := range found {
		bin := filepath.Dir(f)
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(bin))); err == nil && v > version {
			best, version = bin, v
		}
	}
	if best != "" {
		return best, nil
	}
	if f, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(f), nil
	}
	return "", fmt.Errorf("PostgreSQL %w", ErrLacking)
}

// plainEnvironment is that of this process without what would tell PostgreSQL's programs another server, password,
// folder or manner than we do, in another language.
func plainEnvironment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			env = append(env, v)
		}
	}
	return env
}

// The credentials of the S3 server.
const (
	s3Key    = "coffer-test"
	s3Secret = "coffer-test-secret"
)

// StartS3 starts an S3 server without buckets and waits until it answers. The error is ErrLacking when versitygw is not
// on the path.
func StartS3() (*Server, error) {
	s, err := newS3()
	if err != nil {
		return nil, err
	}
	if err := s.startNew("coffer-s3-"); err != nil {
		return nil, err
	}
	return s, nil
}

func newS3() (*Server, error) {
	program, err := exec.LookPath("versitygw")
	if err != nil {
		return nil, fmt.Errorf("versitygw %w", ErrLacking)
	}
	s := &Server{name: "versitygw", program: program}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "VGW_") && !strings.HasPrefix(v, "ROOT_") {
			s.env = append(s.env, v)
		}
	}
	s.env = append(s.env, "ROOT_ACCESS_KEY="+s3Key, "ROOT_SECRET_KEY="+s3Secret)
	s.prepare = func() error { return os.Mkdir(s.data(), 0o700) }
	s.listen = func(port string) {
		address := "127.0.0.1:" + port
		health := "/" + newName() // nobody else answers there
		s.args = []string{"--port", address, "--health", health, "posix", s.data()}
		s.URL = "s3+http://" + s3Key + ":" + s3Secret + "@" + address
		s.ready = func(int) bool { return answers("http://" + address + health) }
	}
	return s, nil
}

// answers reports whether there is something at the URL.
func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	direct := &http.Transport{DisableKeepAlives: true} // whatever proxy the environment names
	answer, err := direct.RoundTrip(r)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// startNew makes a folder for the server, prepares it, and starts the server on a free port. If it fails, nothing is left.
func (s *Server) startNew(prefix string) (err error) {
	if s.folder, err = newFolder(prefix, s.owner); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return errors.Join(err, s.Stop())
	}
	for try := 1; ; try++ {
		port, err := freePort()
		if err == nil {
			s.listen(port)
			err = s.start()
		}
		switch {
		case err == nil:
			return nil
		case try == tries || !errors.Is(err, errEnded):
			return errors.Join(err, s.Stop())
		}
	}
}

// errEnded says that a server ended before it answered.
var errEnded = errors.New("ended at once")

// start starts the server and waits until it is ready. If it does not get ready, it has ended when start returns.
func (s *Server) start() error {
	log, err := os.OpenFile(filepath.Join(s.folder.path, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.program, s.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.folder.path, s.env, log, log
	cmd.SysProcAttr = s.owner.attributes()
	s.folder.lend(cmd)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel ends the server when the thread that started it ends, so that one has to wait for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // who needs to know that it ended asks ended
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.running, s.ended = cmd, ended
	for end := time.Now().Add(startTime); ; time.Sleep(pollTime) {
		ready := s.ready(cmd.Process.Pid)
		select {
		case <-ended:
			s.running = nil
			return fmt.Errorf("%s %w:\n%s", s.name, errEnded, s.lastWords())
		default:
		}
		if ready {
			return nil
		}
		if time.Now().After(end) {
			s.Kill()
			return fmt.Errorf("%s does not answer:\n%s", s.name, s.lastWords())
		}
	}
}

// lastWords returns the end of what the server has said.
func (s *Server) lastWords() string {
	f, err := os.Open(filepath.Join(s.folder.path, "log"))
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 4096
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	b, _ := io.ReadAll(io.LimitReader(f, most))
	return string(b)
}

// Signal sends the server a signal. It is an error when the server has ended.
func (s *Server) Signal(sig os.Signal) error {
	if s.running == nil {
		return os.ErrProcessDone
	}
	return s.running.Process.Signal(sig)
}

// Kill ends the server as kill -9 does, without a chance to put anything in order. What it has in its folder stays.
func (s *Server) Kill() {
	if s.running == nil {
		return
	}
	_ = s.running.Process.Kill() // or it has ended already
	<-s.ended
	s.running = nil
}

// Restart starts the server again on what it has in its folder, at the same URL. One that is running still is killed
// first; one that was told to end by [Server.Signal] is waited for.
func (s *Server) Restart() error {
	if s.running != nil {
		select {
		case <-s.ended:
			s.running = nil
		default:
			s.Kill()
		}
	}
	// After a kill, PostgreSQL's own processes take a moment to notice that they are to end, and it does not start before.
	for end := time.Now().Add(stopTime); ; time.Sleep(pollTime) {
		err := s.start()
		if err == nil || !errors.Is(err, errEnded) || time.Now().After(end) {
			return err
		}
	}
}

// Stop ends the server and removes what it kept. Once more, it does nothing.
func (s *Server) Stop() error {
	if s.running != nil {
		_ = s.running.Process.Signal(os.Interrupt) // PostgreSQL calls that a fast shutdown
		select {
		case <-s.ended:
			s.running = nil
		case <-time.After(stopTime):
			s.Kill()
		}
	}
	return s.folder.remove()
}

// freePort returns a port that was free a moment ago.
func freePort() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// newName returns a name for a database or a bucket that nothing else has.
func newName() string { return "coffer-" + strings.ToLower(rand.Text()) }
