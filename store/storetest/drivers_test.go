package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/faulty"
	"github.com/cofferhq/coffer/store/pebble"
	"github.com/cofferhq/coffer/store/postgres"
	"github.com/cofferhq/coffer/store/storetest"
)

// The environment of a child of Kill: where it writes to, and its seed.
const (
	childFolder   = "COFFER_STORETEST_FOLDER"
	childDatabase = "COFFER_STORETEST_DATABASE"
	childSeed     = "COFFER_STORETEST_SEED"
)

// TestMain makes this program a child of Kill when it is asked to be.
func TestMain(m *testing.M) {
	if os.Getenv(childSeed) == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, child())
	os.Exit(1)
}

func child() error {
	seed, err := strconv.ParseUint(os.Getenv(childSeed), 10, 64)
	if err != nil {
		return err
	}
	var s store.Store
	switch {
	case os.Getenv(childFolder) != "":
		s, err = pebble.Open(os.Getenv(childFolder), pebble.Options{Memory: small})
	case os.Getenv(childDatabase) != "":
		s, err = postgres.Open(context.Background(), os.Getenv(childDatabase), postgres.Options{})
	default:
		err = coffer.Errorf("child", coffer.Invalid, "no disk is named")
	}
	if err != nil {
		return err
	}
	return storetest.Write(s, seed, os.Stdout)
}

// command returns how to run this program as a child.
func command(t *testing.T, variable, value string) func(seed uint64) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(seed uint64) *exec.Cmd {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), variable+"="+value, childSeed+"="+strconv.FormatUint(seed, 10))
		return cmd
	}
}

// small is so little memory that more happens in less time.
const small = 2 << 20

// opened returns a store that must open.
func opened(t *testing.T, s store.Store, err error) store.Store {
	t.Helper()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func pebbleDisk(t *testing.T) func() store.Store {
	dir := t.TempDir()
	return func() store.Store {
		s, err := pebble.Open(dir, pebble.Options{Memory: small})
		return opened(t, s, err)
	}
}

func pebbleInMemory(t *testing.T) func() store.Store {
	disk := faulty.NewDisk()
	return func() store.Store {
		s, err := pebble.Open("store", pebble.Options{FS: disk, Memory: small, Separate: -1})
		return opened(t, s, err)
	}
}

// TestPebble is what its own package leaves out: there Run is called.
func TestPebble(t *testing.T) {
	t.Run("Linear", func(t *testing.T) { storetest.Linear(t, pebbleDisk) })
	t.Run("Faults", func(t *testing.T) { storetest.Faults(t, faultyPebble) })
	t.Run("Checkpoints", func(t *testing.T) {
		storetest.Checkpoints(t, func(t *testing.T) (string, func() store.Store, func(string) store.Store) {
			at := func(dir string) store.Store {
				s, err := pebble.Open(dir, pebble.Options{Memory: small})
				return opened(t, s, err)
			}
			dir := t.TempDir()
			return dir, func() store.Store { return at(dir + "/store") }, at
		})
	})
	t.Run("Kill", func(t *testing.T) {
		dir := t.TempDir()
		storetest.Kill(t, command(t, childFolder, dir), func() store.Store {
			s, err := pebble.Open(dir, pebble.Options{})
			return opened(t, s, err)
		})
	})
}

// TestPostgres is what its own package leaves out: there Run is called.
func TestPostgres(t *testing.T) {
	t.Run("Linear", func(t *testing.T) { storetest.Linear(t, postgresDisk) })
	t.Run("Faults", func(t *testing.T) { storetest.Faults(t, faultyPostgres) })
	t.Run("Kill", func(t *testing.T) {
		url := servers.Database(t)
		storetest.Kill(t, command(t, childDatabase, url), func() store.Store {
			awaitAlone(t, url)
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			return opened(t, s, err)
		})
	})
}

func TestSameOnDrivers(t *testing.T) {
	t.Run("engine", func(t *testing.T) {
		storetest.Same(t, map[string]storetest.Disk{"folder": pebbleDisk, "memory": pebbleInMemory})
	})
	t.Run("database", func(t *testing.T) {
		storetest.Same(t, map[string]storetest.Disk{"pebble": pebbleInMemory, "postgres": postgresDisk})
	})
}

func postgresDisk(t *testing.T) func() store.Store {
	url := servers.Database(t)
	return func() store.Store {
		s, err := postgres.Open(t.Context(), url, postgres.Options{})
		return opened(t, s, err)
	}
}

// awaitAlone waits until nobody but this is connected to a database: the server may still be carrying out what it was
// asked to by a process that is gone.
func awaitAlone(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for others := -1; others != 0; {
		const query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		if err := c.QueryRow(ctx, query).Scan(&others); err != nil {
			t.Fatalf("waiting for the server to be done: %v", err)
		}
	}
}

// faultyPostgres is a store in a database, with a network before it that fails in all the ways that a network can.
func faultyPostgres(t *testing.T) storetest.FaultyDisk {
	url := servers.Database(t)
	proxy, through := faulty.Before(t, url)
	d := storetest.FaultyDisk{
		Open: func() (store.Store, error) {
			return postgres.Open(t.Context(), through, postgres.Options{Timeout: 5 * time.Second})
		},
		Cut: func(*rand.Rand) { // of our process: what it began at the server may end there
			proxy.Close()
			awaitAlone(t, url)
			proxy, through = faulty.Before(t, url)
		},
	}
	fault := func(name string, begin func(*rand.Rand)) {
		d.Faults = append(d.Faults, storetest.Fault{
			Name:    name,
			Begin:   func(r *rand.Rand) <-chan struct{} { begin(r); return nil },
			End:     func() { proxy.Heal() },
			Passing: true,
		})
	}
	fault("cut", func(*rand.Rand) { proxy.Cut() })
	fault("cut in a question", func(r *rand.Rand) { proxy.CutAfter(faulty.ToServer, r.Int64N(20000)) })
	fault("cut in an answer", func(r *rand.Rand) { proxy.CutAfter(faulty.ToClient, r.Int64N(5000)) })
	fault("cuts at random", func(r *rand.Rand) { proxy.CutAtRandom(rand.New(rand.NewPCG(r.Uint64(), 0)), 3) })
	fault("slow", func(*rand.Rand) { proxy.Delay(5 * time.Millisecond) })
	fault("stalled", func(*rand.Rand) { proxy.Stall(true) })
	fault("away", func(*rand.Rand) {
		proxy.Refuse(true)
		proxy.Cut()
	})
	return d
}

// TestPebbleReadsFail fails every read of the disk: what cannot be read is Unavailable then, and not taken for damaged.
func TestPebbleReadsFail(t *testing.T) {
	disk := faulty.NewDisk()
	open := func() store.Store {
		s, err := pebble.Open("store", pebble.Options{FS: disk, Memory: small})
		return opened(t, s, err)
	}
	s := open()
	v := coffer.NewVaultID()
	var all []*coffer.Document
	for range 50 {
		d := &coffer.Document{ID: coffer.NewObjectID(), Body: make([]byte, 4000)}
		all = append(all, d)
		w := store.Write{Vault: v, Time: time.UnixMilli(1e12), Document: d}
		if _, err := s.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open() // with nothing in its caches
	defer func() { _ = s.Close() }()
	disk.Fail(faulty.Rule{Ops: []faulty.Op{faulty.Read}, Hook: unlessRewriting})
	unavailable := func(what string, err error) {
		t.Helper()
		if err != nil && !errors.Is(err, coffer.Unavailable) {
			t.Errorf("%s: %v, want Unavailable", what, err)
		}
	}
	failed := 0
	for _, d := range all {
		got, err := s.Get(t.Context(), v, d.ID)
		if unavailable("Get", err); err == nil && got.Rev() != d.Rev() {
			t.Error("Get: another revision")
		} else if err != nil {
			failed++
		}
		_, err = s.Revision(t.Context(), v, d.ID, 0)
		unavailable("Revision", err)
		next := &coffer.Document{ID: d.ID, Sequence: 1, Parents: []coffer.Rev{d.Rev()}, Body: []byte("next")}
		_, err = s.Apply(t.Context(), store.Write{Vault: v, Time: time.UnixMilli(1e12), Document: next})
		unavailable("Apply", err)
	}
	for _, err := range s.Query(t.Context(), v, coffer.Query{}) {
		unavailable("Query", err)
	}
	unavailable("Check", s.Check(t.Context(), func(string) {}, nil))
	if failed == 0 {
		t.Error("nothing failed")
	}
}

// faultyPebble is a store on a disk that fails in all the ways that a disk can.
func faultyPebble(*testing.T) storetest.FaultyDisk {
	disk := faulty.NewDisk()
	d := storetest.FaultyDisk{
		Open: func() (store.Store, error) { return pebble.Open("store", pebble.Options{FS: disk, Memory: small}) },
		Cut:  func(r *rand.Rand) { disk = disk.Cut(r, r.IntN(100)) },
	}
	fault := func(name string, passing bool, rule faulty.Rule) {
		d.Faults = append(d.Faults, storetest.Fault{
			Name: name,
			Begin: func(r *rand.Rand) <-chan struct{} {
				rule.Skip = r.IntN(3)
				return disk.Fail(rule).Struck()
			},
			End:     func() { disk.Heal() },
			Passing: passing,
		})
	}
	write, sync := []faulty.Op{faulty.Write}, []faulty.Op{faulty.Sync}
	fault("log write", false, faulty.Rule{Ops: write, Name: ".log", Err: syscall.EIO})
	fault("one log write", false, faulty.Rule{Ops: write, Name: ".log", Err: syscall.EIO, Times: 1})
	fault("torn log write", false, faulty.Rule{Ops: write, Name: ".log", Err: syscall.EIO, Times: 1, Part: true})
	fault("log write that happens", false, faulty.Rule{Ops: write, Name: ".log", Err: syscall.EIO, Times: 1, Late: true})
	fault("log sync", false, faulty.Rule{Ops: sync, Name: ".log", Err: syscall.EIO})
	fault("one log sync", false, faulty.Rule{Ops: sync, Name: ".log", Err: syscall.EIO, Times: 1})
	fault("log sync that happens", false, faulty.Rule{Ops: sync, Name: ".log", Err: syscall.EIO, Times: 1, Late: true})
	fault("log creation", false, faulty.Rule{
		Ops: []faulty.Op{faulty.Create, faulty.Reuse}, Name: ".log", Err: syscall.EIO,
	})
	fault("manifest write", false, faulty.Rule{Ops: write, Name: "MANIFEST", Err: syscall.EIO})
	fault("torn manifest write", false, faulty.Rule{Ops: write, Name: "MANIFEST", Err: syscall.EIO, Part: true})
	fault("manifest sync", false, faulty.Rule{Ops: sync, Name: "MANIFEST", Err: syscall.EIO})
	fault("document file write", false, faulty.Rule{Ops: write, Name: ".blob", Err: syscall.EIO})
	fault("document file sync", false, faulty.Rule{Ops: sync, Name: ".blob", Err: syscall.EIO})
	fault("table creation", true, faulty.Rule{Ops: []faulty.Op{faulty.Create}, Name: ".sst", Err: syscall.EIO})
	fault("table write", true, faulty.Rule{Ops: write, Name: ".sst", Err: syscall.EIO})
	fault("torn table write", true, faulty.Rule{Ops: write, Name: ".sst", Err: syscall.EIO, Part: true})
	fault("table sync", true, faulty.Rule{Ops: sync, Name: ".sst", Err: syscall.EIO})
	fault("read of a table", true, faulty.Rule{Ops: []faulty.Op{faulty.Read}, Name: ".sst", Err: syscall.EIO})
	fault("read of a document file", false, faulty.Rule{Ops: []faulty.Op{faulty.Read}, Name: ".blob", Err: syscall.EIO})
	fault("slow disk", true, faulty.Rule{Ops: sync, Delay: 20 * time.Millisecond})
	d.Faults = append(d.Faults, storetest.Fault{
		Name: "full disk",
		Begin: func(r *rand.Rand) <-chan struct{} {
			disk.Room(r.Int64N(1 << 20))
			return nil
		},
		End: func() { disk.Room(-1) },
	}, storetest.Fault{
		Name:    "power cut",
		Begin:   func(*rand.Rand) <-chan struct{} { return nil },
		End:     func() {},
		Passing: true,
	})
	return d
}

// unlessRewriting fails all reads but those of the engine that rewrites a file of documents: when one of
// them fails, the store must be opened anew.
func unlessRewriting(faulty.Op, string) error {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, ".runBlobFileRewriteLocked") {
			return nil
		}
		if !more {
			return syscall.EIO
		}
	}
}
