package pebble

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
)

// A slowDisk is a file system whose logs are flushed only when the test allows it.
type slowDisk struct {
	asked   chan struct{} // a flush began
	allowed chan struct{} // it may go on
}

// slowStore opens a store whose disk is slow from now on.
func slowStore(t *testing.T) (*Store, *slowDisk) {
	fs := vfs.NewMem()
	closeStore(t, on(t, "store", Options{FS: fs}))
	disk := &slowDisk{make(chan struct{}), make(chan struct{})}
	s := on(t, "store", Options{FS: &hookedDisk{fs, func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, ".log") {
			disk.asked <- struct{}{}
			<-disk.allowed
		}
		return nil
	}}})
	return s, disk
}

// TestDurableOnly checks that the feed and the usage show only what the disk has confirmed, while documents may be seen
// earlier.
func TestDurableOnly(t *testing.T) {
	s, disk := slowStore(t)
	v := coffer.VaultID{1}
	shows := func(n uint64) {
		t.Helper()
		u, err := s.Usage(t.Context(), v)
		if err != nil || u.Changes != n || u.Documents != int64(n) {
			t.Fatalf("Usage: %+v, %v, want %d", u, err, n)
		}
		var last uint64
		for c, err := range s.Changes(t.Context(), v, 0) {
			if err != nil {
				t.Fatal(err)
			}
			last = c.Number
		}
		if last != n {
			t.Fatalf("the feed ends at %d, want %d", last, n)
		}
	}
	var answers []chan error
	var documents []*coffer.Document
	begin := func() {
		d := newDocument("d")
		answer := make(chan error, 1)
		go func() {
			_, err := s.Apply(context.Background(), putting(v, d))
			answer <- err
		}()
		answers, documents = append(answers, answer), append(documents, d)
	}
	visible := func() {
		t.Helper()
		for {
			if _, err := s.Get(t.Context(), v, documents[len(documents)-1].ID); err == nil {
				return
			} else if !errors.Is(err, coffer.NotExist) {
				t.Fatal(err)
			}
		}
	}
	begin()
	<-disk.asked // the first is on its way to the disk
	visible()
	shows(0)
	begin() // will be in the next flush
	visible()
	shows(0)
	disk.allowed <- struct{}{}
	if err := <-answers[0]; err != nil {
		t.Fatal(err)
	}
	<-disk.asked
	shows(1)

	// One that is refused for what is not durable yet is not told so before it is.
	rival, again := make(chan error, 1), documents[1]
	go func() {
		_, err := s.Apply(context.Background(), putting(v, again))
		rival <- err
	}()
	begin() // the rival may be of the same group
	visible()
	select {
	case err := <-rival:
		t.Fatalf("refused with %v before the disk confirmed why", err)
	default:
	}

	// A caller that leaves is answered at once, and its commit happens.
	ctx, cancel := context.WithCancel(context.Background())
	left := newDocument("left")
	leaving := make(chan error, 1)
	go func() {
		_, err := s.Apply(ctx, putting(v, left))
		leaving <- err
	}()
	documents = append(documents, left)
	visible()
	cancel()
	if err := <-leaving; !errors.Is(err, context.Canceled) || !errors.Is(err, coffer.Unavailable) {
		t.Fatalf("Apply: %v, want Unavailable for %v", err, context.Canceled)
	}
	shows(1)

	go func() { // from now on the disk is quick
		for {
			select {
			case disk.allowed <- struct{}{}:
			case <-disk.asked:
			}
		}
	}()
	for _, a := range answers[1:] {
		if err := <-a; err != nil {
			t.Fatal(err)
		}
	}
	if err := <-rival; !errors.Is(err, coffer.Conflict) {
		t.Fatalf("Apply: %v, want Conflict", err)
	}
	apply(t, s, putting(v, newDocument("last")))
	shows(5)
	checkClean(t, s)
	closeStore(t, s)
}

// TestGivenUp fills the queue while no group can be formed, and gives up.
func TestGivenUp(t *testing.T) {
	s, disk := slowStore(t)
	v := coffer.VaultID{1}
	answers := make(chan error, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	one := newDocument("0")
	begin := func(ctx context.Context) { // all touch the same object, so that each needs a group of its own
		go func() {
			_, err := s.Apply(ctx, putting(v, one))
			answers <- err
		}()
	}
	begin(context.Background())
	<-disk.asked
	for range 2 * maxGroup {
		begin(ctx)
	}
	cancel()
	for range 2 * maxGroup {
		if err := <-answers; !errors.Is(err, context.Canceled) {
			t.Fatalf("Apply: %v, want %v", err, context.Canceled)
		}
	}
	close(disk.allowed)
	go func() {
		for range disk.asked {
		}
	}()
	if err := <-answers; err != nil {
		t.Fatal(err)
	}
	apply(t, s, putting(v, newDocument("next")))
	checkClean(t, s)
	closeStore(t, s)
}
