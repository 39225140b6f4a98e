package main

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cofferhq/coffer/internal/servers"
)

// TestStartErrors starts the node with each thing that an operator can have wrong, beside real servers. Each is one
// sentence on stderr, which says what to do and holds no secret, and nothing is made half-way: no data folder, no
// tables, no bucket.
func TestStartErrors(t *testing.T) {
	database, bucket := servers.Database(t), servers.Bucket(t)
	base := database[:strings.LastIndex(database, "/")]
	b, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	as := func(user *url.Userinfo, change func(*url.URL)) string {
		u := *b
		u.User = user
		if change != nil {
			change(&u)
		}
		return u.String()
	}
	key := b.User.Username()
	late, early := skewed(t, b, 2*time.Hour), skewed(t, b, -2*time.Hour)
	there := servers.Bucket(t) // one that is a store
	once := start(t, nil, serving([]string{"--blobs", there}, "--data", t.TempDir(), "--listen", "127.0.0.1:0")...)
	once.cmd.Process.Kill()

	readOnly := "/proc/coffer/data" // where nobody can make anything, not even root
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	p := start(t, nil, "--listen", "127.0.0.1:0", "--data", newer)
	p.cmd.Process.Kill()
	<-p.ended
	if err := os.WriteFile(filepath.Join(newer, "chunks", "format"), []byte("coffer blobs 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	newerTables := servers.Database(t)
	execute(t, newerTables, "CREATE TABLE coffer_format (one integer PRIMARY KEY, version bigint NOT NULL)",
		"INSERT INTO coffer_format VALUES (1, 1000000)")
	locked := scram(t)

	for _, tt := range []struct {
		name string
		args string
		code int
		says string // part of the sentence
	}{
		{"store of another kind", "--store mysql://root:marker@h/d", 2, "postgres://user:password@host:port/database"},
		{"store without a scheme", "--store /var/lib/postgres", 2, "postgres://user:password@host:port/database"},
		{"store without a database", "--store " + base, 2, "postgres://user:password@host:port/database"},
		{"store that is no URL", "--store postgres://u:mark%er@h:x/d", 2, "postgres://user:password@host:port/database"},
		{"store with an unknown parameter", "--store " + database + "?no_such_parameter=1", 2, "parameter"},
		{"unknown host of the database", "--store postgres://u:marker@no-such-host.invalid/d", 1, "host"},
		{"nothing at the database's port", "--store postgres://u:marker@127.0.0.1:1/d", 1, "does not answer"},
		{"no such database", "--store " + database + "x", 2, "the database does not exist; create it"},
		{"wrong password", "--store " + locked, 2, "refuses the user or the password"},
		{"tables of a later version", "--store " + newerTables, 2, "later version"},
		{"blobs of another kind", "--blobs gs://bucket", 2, "s3://"},
		{"blobs without a bucket", "--blobs s3://host", 2, "bucket"},
		{"no credentials", "--blobs " + as(nil, nil), 2, "credentials"},
		{"unknown key", "--blobs " + as(url.UserPassword("nobody", "marker"), nil), 2, "access key"},
		{"wrong secret", "--blobs " + as(url.UserPassword(key, "marker"), nil), 2, "secret"},
		{"no such bucket", "--blobs " + bucket, 2, "the bucket does not exist"},
		{"unknown host of the bucket", "--blobs s3://k:marker@no-such-host.invalid/bucket", 1, "host"},
		{"nothing at the bucket's port", "--blobs s3+http://k:marker@127.0.0.1:1/bucket", 1, "nothing listens"},
		{"TLS where there is none", "--blobs " + as(b.User, func(u *url.URL) { u.Scheme = "s3" }), 2, "TLS"},
		{"the server's clock is ahead", "--create-bucket --blobs " + late, 2, "clock"},
		{"the server's clock is behind", "--create-bucket --blobs " + early, 2, "clock"},
		{"a good bucket, and no such database", "--store " + database + "x --create-bucket --blobs " + bucket,
			2, "does not exist"},
		{"a good database, and no such bucket", "--store " + database + " --blobs " + bucket, 2, "does not exist"},
		{"a good database, and a data folder below a file", "--store " + database + " --blobs " + there +
			" --data " + filepath.Join(file, "d"), 1, "data folder"},
		{"a data folder that cannot be made", "--data " + readOnly, 1, "cannot be written to"},
		{"a bucket, and a data folder that cannot be made", "--create-bucket --blobs " + bucket + " --data " + readOnly,
			1, "cannot be written to"},
		{"chunks of a later version", "--data " + newer, 1, "later version"},
		{"no URL for traces", "--traces 127.0.0.1:4318", 2, "http://"},
		{"port in use", "--listen " + b.Host, 1, "in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			args := strings.Fields(tt.args)
			if !strings.Contains(tt.args, "--data") {
				args = append(args, "--data", filepath.Join(parent, "data"))
			}
			if !strings.Contains(tt.args, "--listen") {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			code, stdout, stderr := call(t.Context(), nil, append([]string{"serve", "--log-level", "error"}, args...)...)
			if code != tt.code || !strings.Contains(stderr, tt.says) {
				t.Errorf("exit code %d, want %d, and %q in\n%s", code, tt.code, tt.says, stderr)
			}
			if !strings.HasPrefix(stderr, "cofferd: ") || strings.Count(stderr, "\n") != 1 || stdout != "" {
				t.Errorf("that is not one sentence on stderr:\n%s%s", stdout, stderr)
			}
			if secret, _ := b.User.Password(); strings.Contains(stderr, "marker") || strings.Contains(stderr, secret) {
				t.Errorf("a secret shows:\n%s", stderr)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("something was made: %v, %v", left, err)
			}
			if _, err := os.Lstat(readOnly); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the folder that cannot be made: %v", err)
			}
		})
	}
	if n := tables(t, database); n != 0 {
		t.Errorf("%d tables were made", n)
	}
	if n := tables(t, newerTables); n != 1 {
		t.Errorf("a database of a later version has %d tables now", n)
	}
	code, _, stderr := call(t.Context(), nil, "serve", "--listen", "127.0.0.1:0",
		"--data", filepath.Join(t.TempDir(), "d"), "--blobs", bucket)
	if code != exitUsage || !strings.Contains(stderr, "does not exist") {
		t.Errorf("the bucket was made: exit code %d\n%s", code, stderr)
	}
}

// skewed returns the URL of a bucket at a server whose clock is off: a proxy before the real one.
func skewed(t *testing.T, bucket *url.URL, by time.Duration) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: bucket.Host})
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
			return nil
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	u := *bucket
	u.Host = strings.TrimPrefix(s.URL, "http://")
	u.Path += "-ahead"
	if by < 0 {
		u.Path += "-not"
	}
	return u.String()
}

// scram returns the URL of a database on a server that wants a password, with a wrong one.
func scram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer-hba-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	hba := filepath.Join(dir, "hba.conf")
	err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(hba, []byte("host all all 127.0.0.1/32 scram-sha-256\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	s, err := servers.StartPostgres("fsync=off", "hba_file="+hba)
	if errors.Is(err, servers.ErrLacking) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return strings.Replace(s.URL, "coffer@", "coffer:marker@", 1) + "/postgres"
}

// execute carries out statements on a database.
func execute(t *testing.T, database string, statements ...string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// tables counts the tables of a database.
func tables(t *testing.T, database string) (n int) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	err = c.QueryRow(t.Context(),
		"SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
