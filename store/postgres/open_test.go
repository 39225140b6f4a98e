package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store"
)

// run carries out SQL in a database.
func run(t testing.TB, url, sql string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// ask returns what one value SQL says.
func ask[T any](t testing.TB, url, sql string) (v T) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if err := c.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

const countTables = `SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'`

// refused checks that Open fails with a kind and a sentence that has no password in it.
func refused(t *testing.T, url string, o Options, kind coffer.Kind, text string) {
	t.Helper()
	s, err := Open(t.Context(), url, o)
	if err == nil {
		closeStore(t, s)
	}
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("Open: %v, want %v, %q", err, kind, text)
		return
	}
	if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v", err)
	}
}

func TestWrongURL(t *testing.T) {
	for url, text := range map[string]string{
		"":                                                         "malformed; write postgres://",
		"mysql://u:SECRET@h/d":                                     "malformed; write postgres://",
		"host=h user=u password=SECRET":                            "malformed; write postgres://",
		"postgres://u:SECRET@h:x/d":                                "malformed; write postgres://",
		"postgres://u:SECRET@h":                                    "names no database",
		"postgres://u:SECRET@h/":                                   "names no database",
		"postgres://u:SECRET@h/d?%zz":                              "a parameter",
		"postgres://u:SECRET@h/d?sslmode=SECRET":                   "a parameter",
		"postgres://u:SECRET@h/d?pool_max_conns=SECRET":            "a parameter",
		"postgres://u:SECRET@h/d?connect_timeout=SECRET":           "a parameter",
		"postgres://u:SECRET@h/d?x=" + strings.Repeat("x", maxURL): "malformed; write postgres://",
	} {
		refused(t, url, Options{}, coffer.Invalid, text)
	}
}

func TestAway(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := l.Addr().String() // takes connections, and says nothing
	refused(t, "postgres://u:SECRET@"+silent+"/d?connect_timeout=1", Options{}, coffer.Unavailable, "does not answer")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, "postgres://u:SECRET@"+silent+"/d", Options{}, coffer.Unavailable, "does not answer")
	refused(t, "postgres://u:SECRET@nowhere.invalid/d", Options{}, coffer.Unavailable, "does not answer")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, "postgres://u@"+silent+"/d", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v, want %v", err, context.Canceled)
	}
}

// refusing returns the URL of a server that answers every connection with an error.
func refusing(t *testing.T, code string) string {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := pgproto3.NewBackend(c, c)
			if _, err := b.ReceiveStartupMessage(); err == nil {
				b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "SECRET"})
				_ = b.Flush()
			}
			_ = c.Close()
		}
	})
	return "postgres://u:SECRET@" + l.Addr().String() + "/d?sslmode=disable"
}

func TestRefusing(t *testing.T) {
	for code, want := range map[string]struct {
		kind coffer.Kind
		text string
	}{
		"28P01": {coffer.Invalid, "refuses the user or the password"},
		"28000": {coffer.Invalid, "refuses the user or the password"},
		"3D000": {coffer.Invalid, "does not exist; create it"},
		"42704": {coffer.Invalid, "does not know a parameter"},
		"53300": {coffer.Unavailable, "no connections left"},
		"57P03": {coffer.Unavailable, "starting or stopping"},
		"XX000": {coffer.Unavailable, "SQLSTATE XX000"},
	} {
		refused(t, refusing(t, code), Options{}, want.kind, want.text)
	}
}

func TestRefused(t *testing.T) {
	url := servers.Database(t)
	base, name := url[:strings.LastIndex(url, "/")+1], url[strings.LastIndex(url, "/")+1:]
	refused(t, base+"coffer-none", Options{}, coffer.Invalid, "does not exist; create it")
	refused(t, url+"?nonsense=1", Options{}, coffer.Invalid, "does not know a parameter")
	refused(t, url+"?sslmode=require", Options{}, coffer.Invalid, "no trusted TLS connection")
	for _, skew := range []time.Duration{6 * time.Minute, -6 * time.Minute} {
		now := func() time.Time { return time.Now().Add(skew) }
		refused(t, url, Options{Now: now}, coffer.Unavailable, "set them right")
	}
	readOnly := url + "?default_transaction_read_only=on"
	refused(t, readOnly, Options{}, coffer.Unavailable, "name the primary server")
	role := "limited_" + regexp.MustCompile(`\W`).ReplaceAllString(name, "_")
	run(t, url, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { run(t, base+"postgres", "DROP ROLE "+role) })
	limited := strings.Replace(url, "coffer@", role+"@", 1)
	run(t, url, "REVOKE ALL ON SCHEMA public FROM public")
	refused(t, limited, Options{}, coffer.Invalid, "")
	run(t, url, "GRANT USAGE ON SCHEMA public TO "+role)
	refused(t, limited, Options{}, coffer.Invalid, "lacks rights")
	if n := ask[int](t, url, countTables); n != 0 {
		t.Fatalf("%d tables are there after refusals", n)
	}

	closeStore(t, on(t, url, Options{}))
	refused(t, limited, Options{}, coffer.Invalid, "lacks rights")
	all := strings.Join(tables, ", ")
	run(t, url, "GRANT SELECT ON coffer_format TO "+role+"; GRANT SELECT, INSERT, UPDATE ON "+all+" TO "+role)
	refused(t, limited, Options{}, coffer.Invalid, "lacks rights")
	run(t, url, "GRANT DELETE ON "+all+" TO "+role)
	closeStore(t, on(t, limited, Options{}))
	run(t, url, "DROP OWNED BY "+role)

	run(t, url, fmt.Sprintf("UPDATE coffer_format SET version = %d", format+1))
	refused(t, url, Options{}, coffer.Invalid, "written by a later version")
	run(t, url, "UPDATE coffer_format SET version = 0")
	refused(t, url, Options{}, coffer.Corrupt, "is damaged")
	run(t, url, "DELETE FROM coffer_format")
	refused(t, url, Options{}, coffer.Corrupt, "is damaged")
	run(t, url, "DROP TABLE coffer_format")
	refused(t, url, Options{}, coffer.Corrupt, "tables of other programs")
	if n := ask[int](t, url, countTables); n != len(tables) {
		t.Fatalf("%d tables are there after refusals", n)
	}
	run(t, url, "CREATE SCHEMA apart")
	closeStore(t, on(t, url+"?search_path=apart", Options{}))
}

// TestTogether lets many open an empty database at once.
func TestTogether(t *testing.T) {
	url := servers.Database(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := Open(t.Context(), url, Options{Connections: 2})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if _, err := s.Apply(t.Context(), putting(coffer.VaultID{1}, newDocument("d"))); err != nil {
				t.Errorf("Apply: %v", err)
			}
			closeStore(t, s)
		})
	}
	all.Wait()
	s := on(t, url, Options{})
	defer closeStore(t, s)
	if u, err := s.Usage(t.Context(), coffer.VaultID{1}); err != nil || u.Changes != 8 {
		t.Errorf("Usage: %+v, %v", u, err)
	}
	checkClean(t, s)
}

// columns says what the tables of a database look like.
const columns = `SELECT string_agg(x.line, E'\n' ORDER BY x.line) FROM (
	SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable AS line
	FROM information_schema.columns WHERE table_schema = 'public'
	UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
	UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace
) x`

// oldVault is what the old databases in testdata hold; see fillOld.
var oldVault = coffer.VaultID{1, 2, 3}

func oldID(n byte) coffer.ObjectID { return coffer.ObjectID{n, 15: 1} }

// TestOld opens databases that were written by every version so far, and uses them.
func TestOld(t *testing.T) {
	for version := 1; version <= format; version++ {
		dump, err := os.ReadFile(fmt.Sprintf("testdata/%04d.sql", version))
		if err != nil {
			t.Fatal(err)
		}
		url := servers.Database(t)
		run(t, url, string(dump))
		if n := ask[int](t, url, `SELECT version FROM public.coffer_format`); n != version {
			t.Fatalf("the dump of version %d is of %d", version, n)
		}
		s := on(t, url, Options{})
		defer closeStore(t, s)
		checkClean(t, s)
		fresh := servers.Database(t)
		closeStore(t, on(t, fresh, Options{}))
		if got, want := ask[string](t, url, columns), ask[string](t, fresh, columns); got != want {
			t.Errorf("version %d is migrated to\n%s\nwant\n%s", version, got, want)
		}
		checkOld(t, s)
	}
}

// checkOld looks at what fillOld has written, and goes on from there.
func checkOld(t *testing.T, s *Store) {
	ctx := t.Context()
	d, err := s.Get(ctx, oldVault, oldID(1))
	if err != nil || d.Sequence != 1 || string(d.Body) != "second" || d.Stream == nil || len(d.Parents) != 1 {
		t.Fatalf("Get: %+v, %v", d, err)
	}
	if k, err := s.Revision(ctx, oldVault, oldID(1), 0); err != nil || string(k.Body) != "first" ||
		k.Rev() != d.Parents[0] {
		t.Fatalf("Revision: %+v, %v", k, err)
	}
	if c, err := s.Chunk(ctx, oldVault, oldID(1), 1, 0); err != nil || c.Blob != "blob" || c.Ref.Size != 7 {
		t.Fatalf("Chunk: %+v, %v", c, err)
	}
	found := 0
	for _, err := range s.Query(ctx, oldVault, coffer.Query{Index: "k", Equals: []map[string]string{{"n": "v",
		"m": "w"}}}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found != 1 {
		t.Fatalf("%d found", found)
	}
	if u, err := s.Usage(ctx, oldVault); err != nil || u.Documents != 2 || u.Changes != 5 || u.Law != 1 {
		t.Fatalf("Usage: %+v, %v", u, err)
	}
	rival := newDocument("rival", coffer.Tag{Key: "k", Name: "m", Value: "w", Unique: true})
	if _, err := s.Apply(ctx, putting(oldVault, rival)); !errors.Is(err, coffer.Conflict) {
		t.Fatalf("Apply: %v", err)
	}
	apply(t, s, putting(oldVault, successor(d, "third")))
	checkClean(t, s)
}

// fillOld writes what checkOld looks for. It made the files in testdata, with
//
//	COFFER_OLD=DATABASE go test -run TestFillOld ./store/postgres
//	pg_dump --inserts --no-owner --no-comments DATABASE, without the lines that begin with a backslash
func TestFillOld(t *testing.T) {
	url := os.Getenv("COFFER_OLD")
	if url == "" {
		t.Skip("COFFER_OLD names no database to fill")
	}
	s := on(t, url, Options{})
	defer closeStore(t, s)
	first := newDocument("first", coffer.Tag{Key: "k", Name: "n", Value: "v"})
	first.ID = oldID(1)
	second := successor(first, "second", coffer.Tag{Key: "k", Name: "n", Value: "v"},
		coffer.Tag{Key: "k", Name: "m", Value: "w", Unique: true})
	second.Stream = &coffer.Stream{Pending: true, Sequence: 1}
	gone, plain := newDocument("gone"), newDocument("plain")
	gone.ID, plain.ID = oldID(2), oldID(3)
	apply(t, s, putting(oldVault, first))
	replace := putting(oldVault, second)
	replace.Keep = true
	apply(t, s, replace)
	write := putting(oldVault, gone)
	apply(t, s, write)
	write.Document, write.Erase = nil, &gone.ID
	apply(t, s, write)
	write.Erase, write.Attach = nil, &store.Chunk{ID: first.ID, Blob: "blob", Ref: coffer.ChunkRef{Sequence: 1, Size: 7}}
	apply(t, s, write)
	write.Attach, write.Govern = nil, true
	apply(t, s, write)
	apply(t, s, putting(oldVault, plain))
}
