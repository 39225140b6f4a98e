package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store/postgres"
)

// server makes sure that there is a PostgreSQL server, and returns how to end it if it was started here. It flushes to
// the disk as it does when it is installed.
func (p *program) server() (stop func() error, err error) {
	if p.postgres != "" {
		return func() error { return nil }, nil
	}
	s, err := servers.StartPostgres()
	if err != nil {
		return nil, err
	}
	p.postgres = s.URL
	return func() error {
		p.postgres = ""
		return s.Stop()
	}, nil
}

// database makes an empty database and returns its URL, and how to drop it.
func (p *program) database(ctx context.Context) (at string, drop func() error, err error) {
	u, err := url.Parse(p.postgres)
	if err != nil {
		return "", nil, errors.New("the URL of the PostgreSQL server is malformed")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/postgres"
	}
	base, name := u.String(), "coffer-store-"+strings.ToLower(rand.Text())
	command := func(ctx context.Context, format string) error {
		c, err := pgx.Connect(ctx, base)
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, fmt.Sprintf(format, pgx.Identifier{name}.Sanitize()))
		return errors.Join(err, c.Close(ctx))
	}
	if err := command(ctx, "CREATE DATABASE %s"); err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	return u.String(), func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return command(ctx, "DROP DATABASE %s WITH (FORCE)")
	}, nil
}

// An admin watches over a database, beside whoever uses it.
type admin struct {
	conn *pgx.Conn
	pid  int // of the server, when it is on this machine
}

func newAdmin(ctx context.Context, url string) (*admin, error) {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	a := &admin{conn: c}
	var backend int
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", backend))
	if err == nil && strings.TrimSpace(string(name)) == "postgres" {
		_, a.pid, _ = processTime(backend, false) // it is there: it answered
	}
	return a, nil
}

// rest has the database tidied up, as it would be in time.
func (a *admin) rest(ctx context.Context) error {
	if _, err := a.conn.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
		return err
	}
	_, _ = a.conn.Exec(ctx, "CHECKPOINT") // only some may
	return nil
}

func (a *admin) disk(ctx context.Context) (size int64, err error) {
	err = a.conn.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&size)
	return size, err
}

func (a *admin) close() error { return a.conn.Close(context.Background()) }

// A relational is store/postgres.
type relational struct {
	*ours
	*admin
}

func openPostgres(ctx context.Context, c sideConfig) (side, error) {
	s, err := postgres.Open(ctx, c.Postgres, postgres.Options{})
	if err != nil {
		return nil, err
	}
	a, err := newAdmin(ctx, c.Postgres)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &relational{&ours{store: s, vault: ourVault}, a}, nil
}

func (r *relational) rest(ctx context.Context) error          { return r.admin.rest(ctx) }
func (r *relational) disk(ctx context.Context) (int64, error) { return r.admin.disk(ctx) }
func (r *relational) server() int                             { return r.pid }

// Close closes the store.
func (r *relational) Close() error { return errors.Join(r.admin.close(), r.ours.Close()) }
