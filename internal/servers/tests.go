package servers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Database returns the URL of a new, empty PostgreSQL database, which is dropped at the end of the test: on the server
// that the environment names, or on one that is started for this process. Only a machine that has no PostgreSQL and is
// not meant to test everything may skip.
func Database(t testing.TB) (url string) {
	t.Helper()
	base := server(t, PostgresVariable, &postgres)
	name := newName()
	if out, err := sql(base, `CREATE DATABASE "`+name+`"`); err != nil {
		t.Fatalf("create database: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := sql(base, `DROP DATABASE "`+name+`" WITH (FORCE)`); err != nil {
			t.Errorf("drop database: %v\n%s", err, out)
		}
	})
	return base + "/" + name
}

// sql lets psql carry out a statement on a server, whatever the environment says about others.
func sql(base, statement string) (said []byte, err error) { return sqlIn(base+"/postgres", statement) }

func sqlIn(database, statement string) (said []byte, err error) {
	bin, err := postgresFolder()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(bin, "psql"), "-q", "-X", "-A", "-t", "-d", database, "-c", statement)
	cmd.Env = plainEnvironment()
	return cmd.CombinedOutput()
}

// Bucket returns the URL of an S3 bucket that does not exist yet, with the credentials for its server in it. What the test
// puts there stays until the server ends.
func Bucket(t testing.TB) (url string) {
	t.Helper()
	return server(t, S3Variable, &s3) + "/" + newName()
}

// shared is a server that is started for this process when the first test asks for it.
type shared struct {
	start func() (*Server, error)
	once  sync.Once
	url   string
	err   error
}

var (
	postgres = shared{start: func() (*Server, error) { return StartPostgres("fsync=off") }}
	s3       = shared{start: StartS3}
)

// server returns the URL of the server that the environment names, or of the shared one.
func server(t testing.TB, variable string, s *shared) (base string) {
	t.Helper()
	if base := os.Getenv(variable); base != "" {
		return base
	}
	s.once.Do(func() {
		running, err := s.start()
		if s.err = err; err == nil {
			s.url = running.URL // it ends with this process; its folder is removed by who starts the next one
		}
	})
	switch {
	case errors.Is(s.err, ErrLacking) && os.Getenv("CI") != "true":
		t.Skipf("!!! NOT TESTED: %v here; make test installs it !!!", s.err)
	case s.err != nil:
		t.Fatal(s.err)
	}
	return s.url
}
