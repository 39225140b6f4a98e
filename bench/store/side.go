package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cofferhq/coffer"
)

// A side keeps documents in its own way. All methods may be called concurrently.
type side interface {
	insert(ctx context.Context, n int) error             // the n-th document; durable when it returns
	load(ctx context.Context, from, to int) error        // those numbers, fast, in one commit
	get(ctx context.Context, n int) error                // by its id
	unique(ctx context.Context, n int) (int, error)      // by its unique tag; returns how many were found
	shared(ctx context.Context, n int) (int, error)      // by its shared tag, bodies and all
	changes(ctx context.Context, after int) (int, error) // reads at most one page of the feed; returns how many
	rest(ctx context.Context) error                      // waits until the engine has tidied up what it does by itself
	disk(ctx context.Context) (int64, error)             // bytes taken
	stored(ctx context.Context) (int64, error)           // bytes of bodies and tags, or 0 if it does not count
	server() int                                         // process that works for it, or 0
	Close() error
}

// page is how many changes are read at once.
const page = 10_000

// sideNames are the sides in their order, ours before its peers.
var sideNames = []string{"pebble", "bare", "sqlite", "postgres", "pgx"}

// oursFor is the side of ours that a peer stands beside.
var oursFor = map[string]string{"bare": "pebble", "sqlite": "pebble", "pgx": "postgres"}

// A sideConfig says what a process for a side is to be.
type sideConfig struct {
	Name      string
	Dir       string // where it keeps what it keeps, if not in a database
	Postgres  string // URL of the database
	Memory    int64
	Documents int // that are there already; else folder and database are empty
}

func openSide(ctx context.Context, c sideConfig) (side, error) {
	switch c.Name {
	case "pebble":
		return openPebble(c)
	case "bare":
		return openBare(ctx, c)
	case "sqlite":
		return openSQLite(ctx, c)
	case "postgres":
		return openPostgres(ctx, c)
	case "pgx":
		return openHand(ctx, c)
	}
	return nil, errors.New("no such side: " + c.Name)
}

// A turn is a time of doing one kind of thing.
type turn struct {
	Do      string
	Workers int
	Span    time.Duration
}

// A result is what came of a turn.
type result struct {
	Count  int64
	Took   time.Duration
	Server time.Duration // processor time of the server
}

func (r result) rate() float64 { return float64(r.Count) / r.Took.Seconds() }

// A served side is one in its process, with what was put into it.
type served struct {
	side
	loaded atomic.Int64 // documents below are there
	next   atomic.Int64 // document to insert next
	reads  atomic.Int64
}

func serveSide(ctx context.Context, arg json.RawMessage) (map[string]handler, func() error, error) {
	var c sideConfig
	if err := json.Unmarshal(arg, &c); err != nil {
		return nil, nil, err
	}
	s, err := openSide(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	v := &served{side: s}
	v.loaded.Store(int64(c.Documents))
	v.next.Store(int64(c.Documents))
	return map[string]handler{
		"load":   v.fill,
		"turn":   v.turn,
		"rest":   func(ctx context.Context, _ json.RawMessage) (any, error) { return nil, s.rest(ctx) },
		"disk":   func(ctx context.Context, _ json.RawMessage) (any, error) { return s.disk(ctx) },
		"stored": func(ctx context.Context, _ json.RawMessage) (any, error) { return s.stored(ctx) },
		"holds":  func(context.Context, json.RawMessage) (any, error) { return v.next.Load(), nil },
	}, s.Close, nil
}

// loading is how many documents are loaded in one commit, loaders in how many goroutines.
const (
	loading = 500
	loaders = 3
)

// A filling says how many documents are to be there, and how long that may take, if there is a bound.
type filling struct {
	Documents int
	Span      time.Duration
}

// fill loads documents and returns how many are there.
func (s *served) fill(ctx context.Context, arg json.RawMessage) (any, error) {
	var f filling
	if err := json.Unmarshal(arg, &f); err != nil {
		return nil, err
	}
	end := time.Now().Add(f.Span)
	from := int(s.loaded.Load())
	commits := (f.Documents - from + loading - 1) / loading
	done, err := spread(loaders, func(i int) (int, error) {
		if i >= commits || f.Span > 0 && time.Now().After(end) {
			return 0, errEnough
		}
		first := from + i*loading
		last := min(first+loading, f.Documents)
		return last - first, s.load(ctx, first, last)
	})
	if err != nil {
		return nil, err
	}
	s.loaded.Store(int64(from) + done)
	s.next.Store(s.loaded.Load())
	return s.loaded.Load(), nil
}

// errEnough ends what spread does, without being an error.
var errEnough = errors.New("enough")

// spread calls f with 0, 1, … in so many goroutines until it fails, and returns the sum of what it returned.
func spread(goroutines int, f func(i int) (int, error)) (sum int64, failure error) {
	var next, total atomic.Int64
	var stop atomic.Bool
	var once sync.Once
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for !stop.Load() {
				n, err := f(int(next.Add(1) - 1))
				total.Add(int64(n))
				if err == nil {
					continue
				}
				stop.Store(true)
				if !errors.Is(err, errEnough) {
					once.Do(func() { failure = err })
				}
				return
			}
		})
	}
	all.Wait()
	return total.Load(), failure
}

// turn does one kind of thing for a time.
func (s *served) turn(ctx context.Context, arg json.RawMessage) (any, error) {
	var t turn
	if err := json.Unmarshal(arg, &t); err != nil {
		return nil, err
	}
	loaded := int(s.loaded.Load())
	if loaded == 0 {
		return nil, errors.New("nothing is loaded")
	}
	// What is read is spread over all documents, and goes on from turn to turn.
	random := func() int { return int(s.reads.Add(1)*7_368_787) % loaded }
	found := func(n, want int, err error) (int, error) {
		if err == nil && n != want {
			err = fmt.Errorf("%d found, want %d", n, want)
		}
		return 1, err
	}
	var do func() (int, error)
	switch t.Do {
	case "insert":
		do = func() (int, error) { return 1, s.insert(ctx, int(s.next.Add(1)-1)) }
	case "get":
		do = func() (int, error) { return 1, s.get(ctx, random()) }
	case "unique":
		do = func() (int, error) {
			n, err := s.unique(ctx, random())
			return found(n, 1, err)
		}
	case "shared":
		do = func() (int, error) {
			n, err := s.shared(ctx, random()/sharers*sharers)
			return found(n, sharers, err)
		}
	case "changes":
		pages := max(1, loaded/page)
		do = func() (int, error) {
			after := int(s.reads.Add(1)) % pages * page
			n, err := s.changes(ctx, after)
			if want := min(page, loaded-after); err == nil && n < want {
				err = fmt.Errorf("%d changes, want %d", n, want)
			}
			return n, err
		}
	default:
		return nil, errors.New("no such turn")
	}
	before, err := familyTime(s.server())
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	var r result
	r.Count, err = spread(t.Workers, func(int) (int, error) {
		if time.Since(begin) > t.Span {
			return 0, errEnough
		}
		return do()
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Do, err)
	}
	r.Took = time.Since(begin)
	after, err := familyTime(s.server())
	r.Server = after - before
	return r, err
}

// A grouper lets concurrent inserts share commits: whoever is free to commit takes all that wait, up to a bound.
type grouper struct {
	queue chan *waiting
	all   sync.WaitGroup
}

type waiting struct {
	document *coffer.Document
	done     chan error
}

// maxGroup is as many as store/pebble takes together.
const maxGroup = 256

// newGrouper returns one that commits in so many goroutines.
func newGrouper(goroutines int, commit func([]*coffer.Document) error) *grouper {
	g := &grouper{queue: make(chan *waiting, maxGroup)}
	for range goroutines {
		g.all.Go(func() {
			for w := range g.queue {
				group, documents := []*waiting{w}, []*coffer.Document{w.document}
				for more := true; more && len(group) < maxGroup; {
					select {
					case w, ok := <-g.queue:
						if more = ok; ok {
							group, documents = append(group, w), append(documents, w.document)
						}
					default:
						more = false
					}
				}
				err := commit(documents)
				for _, w := range group {
					w.done <- err
				}
			}
		})
	}
	return g
}

func (g *grouper) insert(n int) error {
	w := &waiting{document(n), make(chan error, 1)}
	g.queue <- w
	return <-w.done
}

// Close waits for what is under way. No insert may come any more.
func (g *grouper) Close() {
	close(g.queue)
	g.all.Wait()
}

// documents makes the documents with those numbers.
func documents(from, to int) []*coffer.Document {
	ds := make([]*coffer.Document, 0, to-from)
	for n := from; n < to; n++ {
		ds = append(ds, document(n))
	}
	return ds
}

// folderSize returns how many bytes the files of a folder take on the disk.
func folderSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += sizeOnDisk(info)
		}
		return err
	})
	return total, err
}

// sizeOnDisk returns the bytes of the blocks that a file has: a log that is made ahead of its use counts whole.
func sizeOnDisk(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
}

// settled waits until the size of a folder has been the same for a second.
func settled(ctx context.Context, dir string) error {
	last, since := int64(-1), time.Now()
	for {
		size, err := folderSize(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a file that goes while it is looked at is no news
			return err
		}
		if size != last || err != nil {
			last, since = size, time.Now()
		}
		if time.Since(since) > time.Second {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
