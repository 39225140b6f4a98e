// Package servers starts the real servers that tests need beside ours: PostgreSQL as Debian packages it, and an S3 server
// (versitygw). They listen on loopback, keep what they have in temporary folders, and end with who started them.
//
// The program below, with, starts them once for a whole run of tests and names them in the environment. A test asks for
// [Database] or [Bucket], which are new and empty, whatever else goes on on the server.
package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The environment variables that name servers that are running.
const (
	PostgresVariable = "COFFER_TEST_POSTGRES" // postgres://user@host:port, to which a database's name is added
	S3Variable       = "COFFER_TEST_S3"       // s3+http://key:secret@host:port, to which a bucket's name is added
)

// A Server is a server under way.
type Server struct {
	URL    string
	cmd    *exec.Cmd
	folder string
	ended  chan struct{}
	stderr bytes.Buffer
}

// ErrLacking says that a server is not installed here.
var ErrLacking = errors.New("is not installed")

// startTime bounds how long a server may take to answer.
const startTime = 60 * time.Second

// StartPostgres starts a PostgreSQL server with the settings, such as "fsync=off". As root it runs it as user postgres.
func StartPostgres(settings ...string) (*Server, error) {
	bin, err := postgresFolder()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "coffer-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder}
	owner, err := postgresOwner(folder)
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	data := filepath.Join(folder, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "coffer", "--no-sync", "-E", "UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = folder, owner
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), s.Stop())
	}
	port, err := freePort()
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	args := []string{"-D", data, "-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	s.URL = "postgres://coffer@127.0.0.1:" + port
	ready := func() bool {
		check := exec.Command(filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port)
		return check.Run() == nil
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), args...)
	cmd.Dir, cmd.SysProcAttr = folder, owner
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT // a fast shutdown
	return s, s.start(cmd, ready)
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

// postgresOwner makes a folder one for the server, which refuses to run as root, and returns how to run it.
func postgresOwner(folder string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(folder, uid, gid); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// The credentials of the S3 server.
const (
	s3Key    = "coffer-test"
	s3Secret = "coffer-test-secret"
)

// StartS3 starts an S3 server.
func StartS3() (*Server, error) {
	bin, err := exec.LookPath("versitygw")
	if err != nil {
		return nil, fmt.Errorf("versitygw %w", ErrLacking)
	}
	folder, err := os.MkdirTemp("", "coffer-s3-")
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder}
	port, err := freePort()
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	address := "127.0.0.1:" + port
	cmd := exec.Command(bin, "--port", address, "posix", folder)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3Key, "ROOT_SECRET_KEY="+s3Secret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	s.URL = "s3+http://" + s3Key + ":" + s3Secret + "@" + address
	return s, s.start(cmd, func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// start starts the server and waits until it is ready.
func (s *Server) start(cmd *exec.Cmd, ready func() bool) error {
	s.cmd, s.ended = cmd, make(chan struct{})
	cmd.Stderr, cmd.Stdout = &s.stderr, nil
	if err := cmd.Start(); err != nil {
		s.cmd = nil
		return errors.Join(err, s.Stop())
	}
	go func() {
		defer close(s.ended)
		_ = cmd.Wait()
	}()
	for end := time.Now().Add(startTime); !ready(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.ended:
			return errors.Join(fmt.Errorf("%s ended at once:\n%s", filepath.Base(cmd.Path), s.stderr.String()), s.Stop())
		default:
		}
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("%s does not answer", filepath.Base(cmd.Path)), s.Stop())
		}
	}
	return nil
}

// Signal sends the server a signal: for tests of what happens when it ends.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Stop ends the server and removes what it kept.
func (s *Server) Stop() error {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(os.Interrupt)
		select {
		case <-s.ended:
		case <-time.After(20 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.ended
		}
		s.cmd = nil
	}
	return os.RemoveAll(s.folder)
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
