package storetest

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// The load: writers that each put, replace and erase pairs of documents, each pair in one commit, in a few vaults. What
// a store must hold afterwards follows from its feed and from what the writers were told: every commit that was
// acknowledged, and of no commit a part.
const (
	loadWriters = 16
	loadVaults  = 4
	lifetime    = 8 // revisions of a pair, the last of which is its erasure
	keepEach    = 3 // revisions with such sequences keep what they replace
)

// A told is what a writer was told to be durable: the commit that it calls name, whose first change has a number.
type told struct {
	vault  coffer.VaultID
	name   string // the changes' By
	number uint64
	revs   [2]coffer.Rev
}

// A load is what writers do. Its vaults are told by it alone, so that a later run goes on where others ended.
type load struct {
	vaults [loadVaults]coffer.VaultID
	seed   uint64
}

func newLoad(r *rand.Rand) *load { return newLoadOf(r.Uint64()) }

func newLoadOf(seed uint64) *load {
	l := &load{seed: seed}
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range l.vaults {
		for j := range l.vaults[i] {
			l.vaults[i][j] = byte(1 + r.IntN(255))
		}
	}
	return l
}

// write writes until an error, or until ctx has ended and what it wrote last is answered, and tells of each
// acknowledgement. The name is one that no other writer has.
func (l *load) write(ctx context.Context, s store.Store, v coffer.VaultID, name string, tell func(told)) error {
	var pair [2]*coffer.Document
	for round := 0; ; round++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := told{vault: v, name: fmt.Sprint(name, " ", round)}
		var writes [2]store.Write
		for i := range pair {
			tags := []coffer.Tag{
				tag("writer", name), tag("round", fmt.Sprint(round)),
				uniqueTag("place", fmt.Sprint(name, " ", round/lifetime, " ", i)),
			}
			body := strings.Repeat(t.name, 1+round*7%400)
			w := store.Write{Vault: v, By: t.name, Time: time.Now()}
			switch round % lifetime {
			case 0:
				pair[i] = document(body, tags...)
				w.Document = pair[i]
			case lifetime - 1:
				id := pair[i].ID
				w.Erase = &id
			default:
				pair[i] = successor(pair[i], body, tags...)
				w.Document, w.Keep = pair[i], pair[i].Sequence%keepEach == 0
			}
			if w.Document != nil {
				t.revs[i] = w.Document.Rev()
			}
			writes[i] = w
		}
		results, err := s.Apply(context.WithoutCancel(ctx), writes[:]...)
		if err != nil {
			return err
		}
		t.number = results[0].Change.Number
		tell(t)
	}
}

// A run is a load under way.
type run struct {
	mu      sync.Mutex
	all     []told
	grew    *sync.Cond
	over    int // writers that ended
	errs    []error
	writers sync.WaitGroup
}

// run starts the writers. They end with an error, at the latest when ctx ends.
func (l *load) run(ctx context.Context, s store.Store) *run {
	r := new(run)
	r.grew = sync.NewCond(&r.mu)
	generation := fmt.Sprintf("%x", rand.Uint32())
	for i := range loadWriters {
		r.writers.Go(func() {
			r.end(l.write(ctx, s, l.vaults[i%loadVaults], fmt.Sprint(generation, ".", i), r.tell))
		})
	}
	return r
}

// tell notes what a writer was told.
func (r *run) tell(a told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, a)
	r.grew.Broadcast()
}

// end notes that a writer has ended.
func (r *run) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
	r.over++
	r.grew.Broadcast()
}

// await waits until so many commits were acknowledged.
func (r *run) await(t testing.TB, n int) {
	t.Helper()
	if !r.reaches(n) {
		err := errors.Join(r.failures()...)
		t.Fatalf("writing ended, or did not go on, after %d commits of %d: %v", len(r.told()), n, err)
	}
}

// reaches waits until so many commits were acknowledged, and reports whether they were in time.
func (r *run) reaches(n int) bool {
	late := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.grew.Broadcast()
	})
	defer late.Stop()
	limit := time.Now().Add(patience)
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.all) < n && r.over < loadWriters && time.Now().Before(limit) {
		r.grew.Wait()
	}
	return len(r.all) >= n
}

// told returns what was acknowledged so far.
func (r *run) told() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func (r *run) failures() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

// ended waits until all writers have ended, which they must do soon, each with an error of one of the kinds.
func (r *run) ended(t testing.TB, kinds ...error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.writers.Wait()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%d writers hang", loadWriters-len(r.failures()))
	}
	for _, err := range r.failures() {
		if !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) {
			t.Errorf("Apply: %v, want %v", err, kinds)
		}
	}
}

// verify checks that all that was acknowledged is there, whole, and nothing in part, and that the store checks clean.
func (l *load) verify(t testing.TB, s store.Store, all []told) {
	t.Helper()
	feeds := make(map[coffer.VaultID][]coffer.Change)
	for _, v := range l.vaults {
		var feed []coffer.Change
		for c, err := range s.Changes(t.Context(), v, 0) {
			if err != nil {
				t.Fatalf("Changes: %v", err)
			}
			if feed = append(feed, c); c.Number != uint64(len(feed)) {
				t.Fatalf("change %d has the number %d", len(feed), c.Number)
			}
		}
		feeds[v] = feed
		l.verifyVault(t, s, v, feed)
	}
	for _, a := range all {
		feed := feeds[a.vault]
		for i, rev := range a.revs {
			at := a.number - 1 + uint64(i)
			if uint64(len(feed)) <= at || feed[at].Rev != rev || feed[at].By != a.name {
				t.Fatalf("an acknowledged change is not in the feed of %d", len(feed))
			}
		}
	}
	if err := s.Check(t.Context(), func(what string) { t.Errorf("Check: %s", what) }, nil); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// verifyVault checks that a vault holds what its feed says.
func (l *load) verifyVault(t testing.TB, s store.Store, v coffer.VaultID, feed []coffer.Change) {
	t.Helper()
	if len(feed)%2 != 0 {
		t.Fatalf("%d changes: a commit is torn", len(feed))
	}
	present := make(map[coffer.ObjectID]coffer.Change)
	kept := make(map[revision]coffer.Rev)
	named := make(map[string]bool)
	for i, c := range feed {
		if i%2 == 0 && (named[c.By] || feed[i+1].By != c.By) {
			t.Fatal("a commit is torn, or there twice")
		}
		named[c.By] = true
		was, there := present[c.ID]
		switch {
		case c.Kind == coffer.Erased && there:
			delete(present, c.ID)
			for sequence := range c.Sequence {
				delete(kept, revision{c.ID, sequence})
			}
		case c.Kind == coffer.Accepted && there == (c.Sequence > 0) && (!there || c.Sequence == was.Sequence+1):
			if there && c.Sequence%keepEach == 0 {
				kept[revision{c.ID, was.Sequence}] = was.Rev
			}
			present[c.ID] = c
		default:
			t.Fatal("a change does not follow from those before it")
		}
	}
	var bytes int64
	n := 0
	for d, err := range s.Query(t.Context(), v, coffer.Query{Index: "k", Has: []string{"writer", "place"}}) {
		if err != nil {
			t.Fatalf("Query: %v", err)
		}
		if c, ok := present[d.ID]; !ok || d.Rev() != c.Rev {
			t.Fatal("a document is not the one that the feed names last")
		}
		bytes += size(d)
		n++
	}
	if n != len(present) {
		t.Fatalf("%d documents are found, %d are in the feed", n, len(present))
	}
	for at, rev := range kept {
		d, err := s.Revision(t.Context(), v, at.id, at.sequence)
		if err != nil || d.Rev() != rev {
			t.Fatalf("Revision: %v, %v, want one that is kept", d, err)
		}
		bytes += size(d)
	}
	sample := 20
	for id, c := range present {
		if d, err := s.Get(t.Context(), v, id); err != nil || d.Rev() != c.Rev {
			t.Fatalf("Get: %v, %v, want what the feed names last", d, err)
		}
		if sample--; sample == 0 {
			break
		}
	}
	want := store.Usage{Documents: int64(n), Bytes: bytes, Changes: uint64(len(feed))}
	if u, err := s.Usage(t.Context(), v); err != nil || u != want {
		t.Fatalf("Usage: %+v, %v, want %+v", u, err, want)
	}
}

// appendTold appends a line that says what a writer was told.
func appendTold(b []byte, a told) []byte {
	return fmt.Appendf(b, "%x %d %x %x %s\n", a.vault[:], a.number, a.revs[0][:], a.revs[1][:], a.name)
}

// parseTold reads what appendTold wrote.
func parseTold(line string) (a told, err error) {
	words := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5)
	if len(words) != 5 {
		return a, errors.New("not five words")
	}
	for i, to := range [][]byte{0: a.vault[:], 2: a.revs[0][:], 3: a.revs[1][:]} {
		if to == nil {
			continue
		}
		if n, err := hex.Decode(to, []byte(words[i])); err != nil || n != len(to) {
			return a, fmt.Errorf("word %d: %d bytes, %w", i, n, err)
		}
	}
	a.name = words[4]
	_, err = fmt.Sscan(words[1], &a.number)
	return a, err
}

// Write is what a child of [Kill] does: it writes to the store with 16 writers, prints a line for each commit that was
// acknowledged, with one system call, and returns the first error.
func Write(s store.Store, seed uint64, out io.Writer) error {
	l := newLoadOf(seed)
	errs := make(chan error, loadWriters)
	generation := fmt.Sprintf("%x", rand.Uint32())
	var mu sync.Mutex
	for i := range loadWriters {
		go func() {
			errs <- l.write(context.Background(), s, l.vaults[i%loadVaults], fmt.Sprint(generation, ".", i), func(a told) {
				line := appendTold(nil, a)
				mu.Lock()
				defer mu.Unlock()
				_, _ = out.Write(line)
			})
		}()
	}
	return <-errs
}

// lines calls f with each whole line until r ends, and returns how many there were. What was cut off in the middle of a
// line was not said.
func lines(r io.Reader, f func(string) error) (n int, err error) {
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil {
			err = f(line)
		}
		if err != nil {
			return n, err
		}
		n++
	}
}
