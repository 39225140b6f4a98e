package servers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Database returns the URL of a new, empty PostgreSQL database: on the server that the environment names, or on one that
// is started for this process. Only a machine that has no PostgreSQL and is not meant to test everything may skip.
func Database(t testing.TB) (url string) {
	t.Helper()
	base := server(t, PostgresVariable, &postgres)
	name := newName()
	bin, err := postgresFolder()
	if err != nil {
		t.Fatal(err)
	}
	psql := func(command string) ([]byte, error) {
		return exec.Command(filepath.Join(bin, "psql"), "-q", "-X", "-d", base+"/postgres", "-c", command).CombinedOutput()
	}
	if out, err := psql(`CREATE DATABASE "` + name + `"`); err != nil {
		t.Fatalf("create database: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := psql(`DROP DATABASE "` + name + `" WITH (FORCE)`); err != nil {
			t.Errorf("drop database: %v\n%s", err, out)
		}
	})
	return base + "/" + name
}

// Bucket returns the URL of an S3 bucket that does not exist yet, with the credentials for its server in it.
func Bucket(t testing.TB) (url string) {
	t.Helper()
	return server(t, S3Variable, &s3) + "/" + newName()
}

// started is a server that was started for this process.
type started struct {
	once  sync.Once
	start func() (*Server, error)
	url   string
	err   error
}

var (
	postgres = started{start: func() (*Server, error) { return StartPostgres() }}
	s3       = started{start: StartS3}
)

func server(t testing.TB, variable string, s *started) (base string) {
	t.Helper()
	if base := os.Getenv(variable); base != "" {
		return base
	}
	s.once.Do(func() {
		running, err := s.start()
		if s.err = err; err == nil {
			s.url = running.URL // it ends with this process
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
