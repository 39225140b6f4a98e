package pebble

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// An acknowledgement is what a writer was told to be durable.
type acknowledgement struct {
	vault    coffer.VaultID
	id       coffer.ObjectID
	sequence uint64
	rev      coffer.Rev
	number   uint64
}

// write inserts and replaces documents, in pairs with pauses between, until an error, and tells of each
// acknowledgement.
func write(
	ctx context.Context, s *Store, v coffer.VaultID, writer int, pause time.Duration, told func(acknowledgement),
) error {
	var pair [2]*coffer.Document
	for round := 0; ; round++ {
		time.Sleep(pause)
		for i := range pair {
			tags := []coffer.Tag{
				{Key: "k", Name: "writer", Value: fmt.Sprint(writer)},
				{Key: "k", Name: "place", Value: fmt.Sprint(writer, i), Unique: round%8 != 7},
			}
			body := strings.Repeat(fmt.Sprint(round), 1+round*37%300)
			if round%8 == 0 {
				tags[1].Value = randomText()
				pair[i] = newDocument(body, tags...)
			} else {
				tags[1].Value = pair[i].Tags[1].Value
				pair[i] = successor(pair[i], body, tags...)
			}
		}
		results, err := s.Apply(ctx, putting(v, pair[0]), putting(v, pair[1]))
		if err != nil {
			return err
		}
		for i, d := range pair {
			told(acknowledgement{v, d.ID, d.Sequence, d.Rev(), results[i].Change.Number})
		}
	}
}

// A record of what writers were told, in the order in which they told it. Holding its lock holds them up.
type told struct {
	sync.Mutex
	all []acknowledgement
}

func (l *told) add(a acknowledgement) {
	l.Lock()
	defer l.Unlock()
	l.all = append(l.all, a)
}

// soFar returns what was told until now.
func (l *told) soFar() []acknowledgement {
	l.Lock()
	defer l.Unlock()
	return l.all[:len(l.all):len(l.all)]
}

// await waits until so much more was told.
func (l *told) await(t *testing.T, more int) {
	t.Helper()
	before := len(l.soFar())
	for start := time.Now(); len(l.soFar()) < before+more; time.Sleep(time.Millisecond) {
		if time.Since(start) > 2*time.Minute {
			t.Fatalf("%d acknowledgements, want %d", len(l.soFar())-before, more)
		}
	}
}

// verify checks that all that was acknowledged is there.
func verify(t *testing.T, s *Store, all []acknowledgement) {
	t.Helper()
	feeds := make(map[coffer.VaultID][]coffer.Change)
	last := make(map[coffer.ObjectID]acknowledgement)
	for _, a := range all {
		if feeds[a.vault] == nil {
			for c, err := range s.Changes(t.Context(), a.vault, 0) {
				if err != nil {
					t.Fatalf("Changes: %v", err)
				}
				feeds[a.vault] = append(feeds[a.vault], c)
			}
		}
		feed := feeds[a.vault]
		if uint64(len(feed)) < a.number || feed[a.number-1].Rev != a.rev {
			t.Fatalf("an acknowledged change is not in the feed of %d", len(feed))
		}
		if last[a.id].sequence <= a.sequence { // which says all that its predecessors do
			last[a.id] = a
		}
	}
	for _, a := range last {
		d, err := s.Get(t.Context(), a.vault, a.id)
		if err != nil || d.Sequence < a.sequence || d.Sequence == a.sequence && d.Rev() != a.rev {
			t.Fatalf("an acknowledged document is not there: %v, %v", d, err)
		}
	}
	for v, feed := range feeds {
		present := make(map[coffer.ObjectID]uint64)
		for i := range feed {
			present[feed[i].ID] = feed[i].Sequence
		}
		n := 0
		for d, err := range s.Query(t.Context(), v, coffer.Query{Index: "k", Has: []string{"writer", "place"}}) {
			if err != nil {
				t.Fatalf("Query: %v", err)
			}
			if d.Sequence != present[d.ID] {
				t.Fatal("a document is not the one that the feed names last")
			}
			n++
		}
		if n != len(present) || len(feed)%2 != 0 {
			t.Fatalf("%d documents of %d in the feed, of %d changes: commits were torn", n, len(present), len(feed))
		}
	}
	checkClean(t, s)
}

// TestPowerCut takes the disk as it would be after a power cut, at random moments under 16 writers: what was flushed,
// and by chance some of what was not.
func TestPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := on(t, "store", Options{FS: fs, Memory: 2 << 20})
	v := coffer.NewVaultID()
	ctx, cancel := context.WithCancel(t.Context())
	var told told
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() {
			if err := write(ctx, s, v, i, 2*time.Millisecond, told.add); !errors.Is(err, context.Canceled) {
				t.Errorf("Apply: %v", err)
			}
		})
	}
	for cut := range 8 {
		told.await(t, rand.IntN(600))
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		before := told.soFar()
		after := fs.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: cut * 14, RNG: rand.New(rand.NewPCG(rand.Uint64(), 0)),
		})
		told.Lock() // who looks has the processor for itself
		again := on(t, "store", Options{FS: after})
		verify(t, again, before)
		closeStore(t, again)
		told.Unlock()
	}
	cancel()
	writers.Wait()
	m := s.db.Metrics()
	t.Logf("%d commits, %d flushes, %d compactions", len(told.all)/2, m.Flush.Count, m.Compact.Count)
	closeStore(t, s)
	if len(told.all) == 0 {
		t.Error("nothing was written")
	}
}

// TestFaults lets the disk fail for good at some write: of the log, of a table, of the manifest. Every call must then
// fail, and soon, and what was acknowledged must be there when the disk is well again.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		file   string
		op     string
		broken bool // the store cannot go on
	}{
		{"log sync", ".log", "sync", true},
		{"log write", ".log", "write", true},
		{"log reuse", ".log", "reuse", true},
		{"manifest write", "MANIFEST", "write", true},
		{"manifest sync", "MANIFEST", "sync", true},
		{"table write", ".sst", "write", false},
		{"table create", ".sst", "create", false},
		{"document file write", ".blob", "write", true},
		{"document file sync", ".blob", "sync", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var failing, failed atomic.Bool
			fs := vfs.NewCrashableMem()
			faulty := &hookedDisk{fs, func(op, name string) error {
				if failing.Load() && op == c.op && strings.Contains(name, c.file) {
					failed.Store(true)
					return &os.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
				}
				return nil
			}}
			var log lockedBuffer
			s := on(t, "store", Options{FS: faulty, Memory: 2 << 20, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			v := coffer.NewVaultID()
			var told told
			var writers sync.WaitGroup
			errs := make(chan error, 16)
			for i := range 16 {
				writers.Go(func() { errs <- write(ctx, s, v, i, 2*time.Millisecond, told.add) })
			}
			time.Sleep(50 * time.Millisecond)
			failing.Store(true)
			if c.broken {
				for range 16 {
					if err := <-errs; !errors.Is(err, coffer.Unavailable) || strings.Contains(err.Error(), "store/") {
						t.Errorf("Apply: %v, want Unavailable that names no file", err)
					}
				}
				_, get := s.Get(t.Context(), v, coffer.NewObjectID())
				_, apply := s.Apply(t.Context(), putting(v, newDocument("late")))
				for _, err := range []error{get, apply, s.Close()} {
					if !errors.Is(err, coffer.Unavailable) {
						t.Errorf("after the fault: %v, want Unavailable", err)
					}
				}
			} else {
				for !failed.Load() {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(50 * time.Millisecond)
				failing.Store(false) // there is room again
				told.await(t, 100)
				cancel()
			}
			writers.Wait()
			if text := log.String(); text == "" || strings.Contains(text, c.file) {
				t.Errorf("log %q: empty, or it names files", text)
			}
			again := on(t, "store", Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
			verify(t, again, told.all)
			closeStore(t, again)
			if !c.broken {
				closeStore(t, s)
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// childDir names the folder that a child process writes to until it is killed.
const childDir = "COFFER_PEBBLE_CHILD_DIR"

// childFill says that the child is to say something only when it has written so many documents of benchDocument, and a
// few more one by one.
const childFill = "COFFER_PEBBLE_CHILD_FILL"

// TestMain makes this program the child of TestKill when it is asked to be.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child writes with 16 writers to four vaults and prints each acknowledgement, one line with one system call.
func child(dir string) error {
	var o Options
	n, err := strconv.Atoi(os.Getenv(childFill))
	fill := err == nil
	if !fill {
		o.Memory = 4 << 20 // more happens in less time
	}
	s, err := Open(dir, o)
	if err != nil {
		return err
	}
	errs := make(chan error)
	if fill {
		for i := 0; i < n; {
			writes := make([]store.Write, min(100, n-i))
			for j := range writes {
				writes[j] = putting(coffer.VaultID{1}, benchDocument(i))
				i++
			}
			if _, err := s.Apply(context.Background(), writes...); err != nil {
				return err
			}
		}
		var written atomic.Int64
		for range 64 {
			go func() {
				for {
					d := benchDocument(-1)
					d.Tags[2].Value = randomText()
					if _, err := s.Apply(context.Background(), putting(coffer.VaultID{1}, d)); err != nil {
						errs <- err
						return
					}
					if written.Add(1) == 5000 { // more than a table of recent writes holds
						fmt.Println("full")
					}
				}
			}()
		}
		return <-errs
	}
	for i := range 16 {
		v := coffer.VaultID{byte(1 + i%4)}
		go func() {
			errs <- write(context.Background(), s, v, i, 0, func(a acknowledgement) {
				line := fmt.Sprintf("%x %x %d %x %d\n", a.vault[:], a.id[:], a.sequence, a.rev[:], a.number)
				_, _ = os.Stdout.WriteString(line)
			})
		}()
	}
	return <-errs
}

// TestKill kills a child with SIGKILL at random moments, again and again on the same folder, and looks for all that it
// said to be durable.
func TestKill(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Skip("no name of this program")
	}
	dir := t.TempDir()
	var all []acknowledgement
	for round := range 6 {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		first, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the child said nothing: %v, %v", err, cmd.Wait())
		}
		all = append(all, parse(t, first))
		time.AfterFunc(time.Duration(rand.IntN(400))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		told := 1
		for {
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break // what was cut off in the middle was not told
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parse(t, line))
			told++
		}
		_ = cmd.Wait()
		start := time.Now()
		s := on(t, dir, Options{})
		t.Logf("round %d: %d acknowledged, opened in %v", round, told, time.Since(start))
		verify(t, s, all)
		closeStore(t, s)
	}
}

func parse(t *testing.T, line string) (a acknowledgement) {
	t.Helper()
	var vault, id, rev string
	if _, err := fmt.Sscanf(line, "%s %s %d %s %d\n", &vault, &id, &a.sequence, &rev, &a.number); err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	for _, field := range []struct {
		to   []byte
		from string
	}{{a.vault[:], vault}, {a.id[:], id}, {a.rev[:], rev}} {
		if n, err := hex.Decode(field.to, []byte(field.from)); err != nil || n != len(field.to) {
			t.Fatalf("the child said %q", line)
		}
	}
	return a
}

func randomText() string { return fmt.Sprintf("%x", rand.Uint64()) }

// TestReaderOfABrokenStore reads a list while the engine stops for good, and to its end afterwards. The reader is the last
// one of a state that the engine has left behind.
func TestReaderOfABrokenStore(t *testing.T) {
	for _, c := range []struct {
		name string
		list func(*Store, coffer.VaultID) iter.Seq[error]
	}{
		{"Query", func(s *Store, v coffer.VaultID) iter.Seq[error] {
			return func(yield func(error) bool) {
				for _, err := range s.Query(t.Context(), v, coffer.Query{}) {
					if !yield(err) {
						return
					}
				}
			}
		}},
		{"Changes", func(s *Store, v coffer.VaultID) iter.Seq[error] {
			return func(yield func(error) bool) {
				for _, err := range s.Changes(t.Context(), v, 0) {
					if !yield(err) {
						return
					}
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var failing atomic.Bool
			disk := &hookedDisk{vfs.NewCrashableMem(), func(op, name string) error {
				if failing.Load() && op == "sync" && strings.Contains(name, "MANIFEST") {
					return &os.PathError{Op: op, Path: name, Err: syscall.EIO}
				}
				return nil
			}}
			s := on(t, "store", Options{FS: disk})
			v := coffer.NewVaultID()
			for range 3 {
				apply(t, s, putting(v, newDocument("x")))
			}
			next, stop := iter.Pull(c.list(s, v))
			if err, more := next(); err != nil || !more {
				t.Fatalf("the first: %v, %v", err, more)
			}
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
			apply(t, s, putting(v, newDocument("y")))
			failing.Store(true)
			if _, err := s.db.AsyncFlush(); err != nil {
				t.Fatal(err)
			}
			<-s.Broken()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer stop()
				for more := true; more; {
					_, more = next()
				}
			}()
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				t.Fatal("the reader hangs")
			}
		})
	}
}
