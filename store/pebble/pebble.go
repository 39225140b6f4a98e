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
// # What is kept, and for how long
//
// A revision that is replaced is dropped by the commit that replaces it; one that is to be kept is copied beside, and
// entered in a queue in the order of the times at which revisions were replaced. Compact drops from its front what was
// replaced before an instant, a few hundred in a commit, and costs what it drops. An erasure drops what is kept of its
// object, a purge what is kept in its vault; from then on no call returns it. A purge leaves places in the queue, which
// Compact passes by.
//
// That is the order in which things leave the store. They leave the disk when the engine writes anew the tables and
// files that they are in, which it does by itself as more is written. Compact has it done at once when the documents
// replaced, erased or dropped since it last was, or since the store was opened, are more than 4 MiB and a fifth of what
// the store takes on the disk. A file of separated documents is rewritten when a fifth of it is dead: less than that
// may stay for as long as nothing else in it dies. The log is written over after some MiB more. Whoever needs to know
// that not a byte is left destroys a key: what is here is ciphertext.
//
// # Copies and repair
//
// Checkpoint makes a copy while the store is used. Check reads everything. Rebuild makes all that is derived anew: the
// tables 'h', 'n', 's', 't', 'u' below and the queue. What is not derived is not repaired, and goes on to be reported.
//
// # Keys
//
// All numbers in keys are big-endian, eight bytes. A hash is the first 16 bytes of a SHA-256: a vault's writers could
// make two of their own tags collide with 2^64 work, and would only mislead themselves.
//
//	00 "format"                              format of all that follows
//	01 vault 'c' object set index            chunk: size, sum, key of the blob
//	01 vault 'd' object                      document: its present revision, whole
//	01 vault 'f' number                      change
//	01 vault 'h' object                      head: what is known of an object without its document; stays when erased
//	01 vault 'n' hash(key,name) object       a document has a tag with this name
//	01 vault 'r' object sequence time        a kept revision, whole; replaced at a time in milliseconds
//	01 vault 's'                             usage, and law
//	01 vault 't' hash(key,name,value) object a document has this tag
//	01 vault 'u' hash(key,name,value)        the object that holds this unique tag
//	02 time vault object sequence            the queue of kept revisions: size
//	03 vault 'h' object                      only while Rebuild is at work: the last change of an object in the feed
//
// A set of chunks that is patched keeps its number: records of the other set move into it, and the blobs stay where
// they are.
//
// A vault is one range of keys, so that one range deletion purges it. Postings ('n', 't') are in the order of objects:
// a query follows the lists it needs in step, by seeking, and costs what it finds, not what the vault holds.
//
// Records begin with a byte for their form; their fields are given in record.go.
//
// # Formats
//
// A store is opened by versions of this package that know its format, and by no older ones. Opening one of an older
// format brings it to the present one, before anything else is written; databases of all formats are in testdata.
//
//	1  the first
//	2  laws (usage of form 2), kept revisions and their queue (heads of form 2); what was written in format 1 stays
package pebble

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

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
	finder  finder       // of the goroutine that forms groups
	dead    atomic.Int64 // bytes replaced, erased and dropped since the engine was last asked to compact all
	copying sync.Mutex   // held by Checkpoint

	mu     sync.Mutex
	calls  int // under way
	closed bool
	idle   chan struct{} // closed when closed and no call is under way
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Breakable = (*Store)(nil)
)

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
