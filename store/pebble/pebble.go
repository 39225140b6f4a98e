// Package pebble keeps a [store.Store] in a folder, in a log-structured merge tree (github.com/cockroachdb/pebble).
//
// # Writing
//
// The calls of Apply are queued. One goroutine takes all that wait, as a group, checks each against the database and
// what the group already counts, and puts those that keep the rules into one batch; the others contribute nothing. It
// applies the batch and goes on with the next group while the log is being flushed. A second goroutine waits for the
// disk, group after group, marks the changes as durable and answers the callers. What costs time for each document
// (hashing, encoding, reading what it replaces) is done by its caller before it queues.
//
// No two calls of a group touch the same object or the same unique tag: the second one waits for the next group, which
// sees the first one in the database. So a group needs no view of its own but of usage.
//
// When the disk fails, what is in memory may be ahead of what is on it. The store then answers everything with
// Unavailable until it is opened anew.
//
// # Keys
//
// All numbers in keys are big-endian, eight bytes. A hash is the first 16 bytes of a SHA-256: a vault's writers could
// make two of their own tags collide with 2^64 work, and would only mislead themselves.
//
//	00 "format"                              format of all that follows; this package writes and reads 1
//	01 vault 'c' object set index            chunk: size, sum, key of the blob
//	01 vault 'd' object                      document: its present revision, whole
//	01 vault 'f' number                      change
//	01 vault 'h' object                      head: what is known of an object without its document; stays when erased
//	01 vault 'n' hash(key,name) object       a document has a tag with this name
//	01 vault 's'                             usage
//	01 vault 't' hash(key,name,value) object a document has this tag
//	01 vault 'u' hash(key,name,value)        the object that holds this unique tag
//
// A set of chunks that is patched keeps its number: records of the other set move into it, and the blobs stay where they
// are.
//
// A vault is one range of keys, so that one range deletion purges it. Postings ('n', 't') are in the order of objects:
// a query follows the lists it needs in step, by seeking, and costs what it finds, not what the vault holds.
//
// Records begin with a byte for their form, now always 1; their fields are given in record.go.
package pebble

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Options of [Open]. The zero Options are good.
type Options struct {
	// Memory is how many bytes the cache of blocks and the tables of recent writes may take; 16 MiB if zero, at least
	// 2 MiB. Half is cache. Tables of recent writes never take more than 16 MiB, since they are what is replayed when
	// the store is opened after a crash.
	Memory int64

	// NoSync acknowledges before a commit is on the disk: for loading in bulk what can be loaded again. A crash of the
	// process or the machine loses the last commits, whole ones.
	NoSync bool

	// Separate keeps documents of at least so many bytes out of the tree, in files that are rewritten less often; 512
	// if zero; none if negative. May differ from one opening to the next.
	Separate int

	FS     vfs.FS       // the operating system's if nil
	Logger *slog.Logger // told when the engine is in trouble, in fixed sentences; nobody if nil
}

// A Store is a [store.Store] in a folder.
type Store struct {
	db     *engine.DB
	fs     vfs.FS
	disk   *disk // what the engine has instead
	sync   bool
	lock   *engine.Lock
	health *health

	queue   chan *call    // to the goroutine that forms groups
	groups  chan *group   // from there to the goroutine that waits for the disk
	stop    chan struct{} // closed when no call is under way and none will come
	settled chan struct{} // closed when all groups are settled

	durable durable
	copying sync.Mutex // held by Checkpoint

	mu     sync.Mutex
	calls  int // under way
	closed bool
	idle   chan struct{} // closed when closed and no call is under way
}

var _ store.Store = (*Store)(nil)

// enter notes that a call is under way, or says why it cannot be. exit ends what enter allowed.
func (s *Store) enter(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return coffer.E(op, coffer.Unavailable, err)
	}
	if s.health.broken() {
		return s.health.failure(op)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return coffer.Errorf(op, coffer.Unavailable, "the store is closed")
	}
	s.calls++
	return nil
}

func (s *Store) exit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if s.closed && s.calls == 0 {
		close(s.idle)
	}
}

// Close waits for the calls under way and releases the folder. Later calls are Unavailable, and so is a second Close.
func (s *Store) Close() error {
	const op = "pebble.Close"
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return coffer.Errorf(op, coffer.Unavailable, "the store is closed")
	}
	s.closed = true
	if s.calls == 0 {
		close(s.idle)
	}
	s.mu.Unlock()

	select {
	case <-s.idle:
		close(s.stop)
		select {
		case <-s.settled:
		case <-s.health.dead:
		}
	case <-s.health.dead:
	}
	if s.health.broken() {
		// The engine may have been left with its locks held. The system releases the folder with the process.
		return s.health.failure(op)
	}
	var err error
	if !s.health.guard(func() { err = errors.Join(s.db.Close(), s.lock.Close()) }) {
		return s.health.failure(op)
	}
	if err != nil {
		return failure(op, err)
	}
	return nil
}
