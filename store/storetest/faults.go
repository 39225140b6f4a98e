package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A FaultyDisk is a disk that can be made to fail while a store is open on it.
type FaultyDisk struct {
	// Open opens the store. After Cut it must open.
	Open func() (store.Store, error)

	// Faults are what can go wrong. Each is tried on a disk of its own, by its name.
	Faults []Fault

	// Cut takes the power away: the store that is open is lost with all that it has not made durable, and every fault
	// with it. What Open returns next finds the rest.
	Cut func(r *rand.Rand)
}

// A Fault is one thing that can go wrong.
type Fault struct {
	Name string

	// Begin lets it happen from now on. What it returns, unless nil, is closed when the fault has struck.
	Begin func(r *rand.Rand) (struck <-chan struct{})

	// End makes the disk well again.
	End func()

	// Passing says that the store goes on by itself when the fault has ended. Otherwise it may stay Unavailable until it
	// is opened anew.
	Passing bool
}

// faultTime is how long a fault lasts at most, once it has struck, if the store goes on in spite of it.
const faultTime = 300 * time.Millisecond

// Faults lets every fault come at a random moment while writers write and readers read. Every call must be answered,
// soon, and what fails must fail with Unavailable. When the power was cut and the store is opened anew, every commit
// that was acknowledged must be there, whole, no other one in part, the feed without a gap or a change twice, and the
// store must check clean and go on. The same with the clients of [Linear], to whom an answer that fails may mean that
// the write happened, that it did not, or that it will. What is opened while the fault lasts opens or fails, soon, with
// Unavailable, and nothing of what was there is lost by it.
//
// The disk makes a new one each time. With -short there is the load alone.
func Faults(t *testing.T, disk func(t *testing.T) FaultyDisk) {
	for i, fault := range disk(t).Faults {
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel() // it is waiting that takes most of the time
			r := rng(t)
			parts := []struct {
				name string
				run  func(*testing.T, FaultyDisk, Fault, *rand.Rand)
			}{{"load", faultyLoad}, {"linear", faultyLinear}, {"opening", faultyOpening}}
			if testing.Short() {
				parts = parts[:1]
			}
			for _, part := range parts {
				t.Run(part.name, func(t *testing.T) {
					d := disk(t)
					part.run(t, d, d.Faults[i], r)
				})
			}
		})
	}
}

// must opens the store.
func (d *FaultyDisk) must(t *testing.T) store.Store {
	t.Helper()
	s, err := d.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// lose cuts the power, and ends what was open.
func (d *FaultyDisk) lose(t *testing.T, s store.Store, r *rand.Rand) {
	t.Helper()
	d.Cut(r)
	soon(t, "Close", func() {
		if err := s.Close(); err != nil && !errors.Is(err, coffer.Unavailable) {
			t.Errorf("Close: %v, want nil or Unavailable", err)
		}
	})
}

// soon fails the test if f does not return soon.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s hangs", what)
	}
}

func faultyLoad(t *testing.T, d FaultyDisk, fault Fault, r *rand.Rand) {
	s := d.must(t)
	l := newLoad(r)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	running := l.run(ctx, s)
	var readers sync.WaitGroup
	reading, stop := context.WithCancel(t.Context())
	defer stop()
	for range 2 {
		readers.Go(func() { l.read(reading, t, s) })
	}
	running.await(t, 10+r.IntN(rounds(100)))
	struck := fault.Begin(r)
	over := make(chan struct{})
	go func() {
		defer close(over)
		running.writers.Wait()
	}()
	if struck != nil {
		select {
		case <-struck:
		case <-over:
		case <-time.After(patience):
			t.Error("the fault has not struck")
		}
	}
	select {
	case <-over:
	case <-time.After(faultTime):
	}
	fault.End()
	var all []told
	if fault.Passing { // whoever was refused tries again
		again := l.retry(ctx, t, s)
		again.await(t, 50)
		cancel()
		again.ended(t, context.Canceled, coffer.Unavailable)
		all = append(all, again.told()...)
	}
	cancel()
	running.ended(t, context.Canceled, coffer.Unavailable)
	all = append(all, running.told()...)
	stop()
	soon(t, "reading", readers.Wait)
	soon(t, "a call afterwards", func() { // each is answered, if only with what is wrong
		_, get := s.Get(t.Context(), l.vaults[0], coffer.NewObjectID())
		_, apply := s.Apply(t.Context(), store.Write{Vault: coffer.NewVaultID(), Time: instant, Document: document("d")})
		if apply != nil && !errors.Is(apply, coffer.Unavailable) {
			t.Errorf("Apply: %v, want nil or Unavailable", apply)
		}
		if !errors.Is(get, coffer.Unavailable) && !errors.Is(get, coffer.NotExist) {
			t.Errorf("Get: %v, want NotExist or Unavailable", get)
		}
	})
	t.Logf("%d commits were acknowledged; %d of %d writers were refused", len(all), running.refused(), loadWriters)

	for range 2 { // what is written after the first cut is looked at after the second
		d.lose(t, s, r)
		s = d.must(t)
		l.verify(t, s, all)
		ctx, cancel := context.WithCancel(t.Context())
		running := l.run(ctx, s)
		running.await(t, 50)
		cancel()
		running.ended(t, context.Canceled)
		all = append(all, running.told()...)
	}
	l.verify(t, s, all)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// refused returns how many writers ended for another reason than that they were told to.
func (r *run) refused() (n int) {
	for _, err := range r.failures() {
		if !errors.Is(err, context.Canceled) {
			n++
		}
	}
	return n
}

// retry runs the load with writers of which each, when it is refused, gives way to a new one.
func (l *load) retry(ctx context.Context, t *testing.T, s store.Store) *run {
	r := new(run)
	r.grew = sync.NewCond(&r.mu)
	for i := range loadWriters {
		r.writers.Go(func() {
			err := error(context.Canceled)
			for ctx.Err() == nil {
				name := fmt.Sprintf("%x.%d", rand.Uint64(), i)
				err = l.write(ctx, s, l.vaults[i%loadVaults], name, r.tell)
				if ctx.Err() == nil && !errors.Is(err, coffer.Unavailable) {
					t.Errorf("Apply: %v, want Unavailable", err)
					break
				}
				pause(ctx)
			}
			r.end(err)
		})
	}
	return r
}

// pause gives a store that is away a moment to come back.
func pause(ctx context.Context) {
	moment := time.NewTimer(5 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-moment.C:
	case <-ctx.Done():
	}
}

// read reads all sorts of things until ctx ends. They may be Unavailable, and never wrong.
func (l *load) read(ctx context.Context, t *testing.T, s store.Store) {
	fine := func(what string, err error) {
		if err != nil && !errors.Is(err, coffer.Unavailable) && !errors.Is(err, coffer.NotExist) && ctx.Err() == nil {
			t.Errorf("%s: %v, want Unavailable", what, err)
		}
	}
	for i := 0; ctx.Err() == nil; i++ {
		v := l.vaults[i%loadVaults]
		var some []coffer.ObjectID
		for d, err := range s.Query(ctx, v, coffer.Query{Index: "k", Has: []string{"writer"}, Limit: 50}) {
			fine("Query", err)
			if err == nil {
				some = append(some, d.ID)
			}
		}
		_, err := s.Count(ctx, v, coffer.Query{Index: "k", Has: []string{"place"}})
		fine("Count", err)
		u, err := s.Usage(ctx, v)
		fine("Usage", err)
		last := max(u.Changes, 40) - 40
		after := last
		for c, err := range s.Changes(ctx, v, after) {
			fine("Changes", err)
			if last++; err == nil && c.Number != last {
				t.Errorf("Changes: number %d follows %d", c.Number, last-1)
				break
			}
		}
		for _, id := range some {
			d, err := s.Get(ctx, v, id)
			fine("Get", err)
			if err == nil && d.Sequence > 0 {
				_, err = s.Revision(ctx, v, id, d.Sequence-1)
				fine("Revision", err)
			}
		}
		pause(ctx)
	}
}

func faultyLinear(t *testing.T, d FaultyDisk, fault Fault, r *rand.Rand) {
	s := d.must(t)
	h := newHistory(r)
	begun := make(chan struct{})
	h.at = 30 + r.IntN(200)
	h.then = func() {
		fault.Begin(r)
		close(begun)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.work(ctx, 60, s)
	}()
	<-begun
	select {
	case <-ended:
	case <-time.After(faultTime):
		fault.End() // with what was held up, they go on
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("clients hang")
	}
	fault.End()
	d.lose(t, s, r)
	s = d.must(t)
	defer func() { _ = s.Close() }()
	for _, err := range h.failures {
		if !errors.Is(err, coffer.Unavailable) {
			t.Errorf("an operation failed with %v, want Unavailable", err)
		}
	}
	h.later = true
	h.look(ctx, s)
	h.work(ctx, 10, s)
	h.look(ctx, s)
	t.Logf("%d operations, %d of unknown outcome", len(h.operations), h.unknown)
	if err := h.check(linearTime); err != nil {
		t.Fatal(err)
	}
}

func faultyOpening(t *testing.T, d FaultyDisk, fault Fault, r *rand.Rand) {
	l := newLoad(r)
	var all []told
	try := func() {
		fault.Begin(r)
		ended := make(chan struct{})
		var s store.Store
		var err error
		go func() {
			defer close(ended)
			s, err = d.Open()
		}()
		select {
		case <-ended:
		case <-time.After(faultTime):
			fault.End()
		}
		soon(t, "Open", func() { <-ended })
		fault.End()
		switch {
		case err == nil:
			d.lose(t, s, r)
		case !errors.Is(err, coffer.Unavailable):
			t.Errorf("Open: %v, want Unavailable", err)
			fallthrough
		default:
			d.Cut(r)
		}
	}
	for range 3 {
		try() // at first of an empty disk
		s := d.must(t)
		l.verify(t, s, all)
		ctx, cancel := context.WithCancel(t.Context())
		running := l.run(ctx, s)
		running.await(t, 25+r.IntN(rounds(100)))
		cancel()
		running.ended(t, context.Canceled)
		all = append(all, running.told()...)
		d.lose(t, s, r)
	}
	try()
	s := d.must(t)
	l.verify(t, s, all)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
