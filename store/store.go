// Package store says what a disk must do for a node: keep the documents of many vaults with their tags, chunks' places
// and feeds, and change them in atomic commits. A driver (store/pebble and others) is native to its engine; what all
// drivers share stands here as free functions; storetest checks every driver with one script. Chunks themselves are
// kept by package store/blob.
//
// A store knows nothing of envelopes, of the law or of limits on requests: package node/vault does.
package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cofferhq/coffer"
)

// A Store keeps the documents of many vaults.
//
// A vault needs no opening: it is there as soon as something is written to it. All methods may be called concurrently.
// Reads see every commit that was acknowledged before they began, and each read sees one state. Get, Query, Count and
// Chunk may, besides, see a commit that is about to be acknowledged; Changes and Usage show only what is durable.
//
// Every method fails with Unavailable when the disk does, or the store is closed or broken, and with Corrupt when a
// record is damaged. When ctx ends, errors.Is(err, ctx.Err()) holds.
type Store interface {
	// Get returns the present revision of an object, or NotExist when it was never written or is erased.
	Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error)

	// Apply carries out all of the writes, in order, in one atomic, durable commit, or none of them, and returns one
	// result for each. Concurrent calls share commits of the disk. See [Write] for the rules; a broken one is Invalid
	// (form, see [CheckWrites]), Conflict (present state), Exhausted (limit) or NotExist (nothing to erase, detach or
	// attach to). When ctx ends first, or the disk fails, the commit may have happened or may yet happen, whole or not
	// at all.
	Apply(ctx context.Context, writes ...Write) ([]Result, error)

	// Query yields the matching documents in the order of their ids. The query has been checked. After an error it
	// ends.
	Query(ctx context.Context, v coffer.VaultID, q coffer.Query) iter.Seq2[*coffer.Document, error]

	// Count returns how many documents match. Limit, After and IDsOnly of the query are ignored.
	Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (int, error)

	// Changes yields the vault's changes with numbers greater than after, in order, gap-free, up to the last durable
	// one; after a purge, its one change is the first. Their Cursor is empty: naming places is the ledger's.
	Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error]

	// Revision returns the revision of an object with the sequence: the present one, or one that it replaced and that is
	// kept; see [Write.Keep]. NotExist if there is none. The chunks of kept revisions are not kept.
	Revision(ctx context.Context, v coffer.VaultID, id coffer.ObjectID, sequence uint64) (*coffer.Document, error)

	// Compact drops the kept revisions that were replaced before the instant, in commits of bounded size, and returns how
	// many. What an erasure or a purge removes needs no Compact.
	Compact(ctx context.Context, before time.Time) (int64, error)

	// Chunk returns where a chunk is, or NotExist.
	Chunk(ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64) (Chunk, error)

	// Usage returns what the vault holds and the number of its last durable change.
	Usage(ctx context.Context, v coffer.VaultID) (Usage, error)

	// Check reads everything and calls report with a sentence for each thing that is not as it should be: a
	// record that does not decode or does not hash to its name, an index entry without its document or the reverse,
	// a gap in a feed, usage that does not add up. The sentences hold no identifiers. It returns an error only when
	// it could not go on. chunk, when not nil, is called for every chunk recorded. Writes may go on meanwhile.
	Check(ctx context.Context, report func(string), chunk func(Chunk)) error

	// Close releases the store. Calls under way are finished first; later ones are Unavailable.
	Close() error
}

// A Shared store may be written to by other processes, too: a database that serves several nodes.
type Shared interface {
	Store

	// Watch calls grew with each vault that another process has written to, soon after it did, and with the zero one when
	// it may have missed some. It may also name vaults that this process wrote to. It returns nil when ctx ends, and an
	// error only when it can never go on: while the database is away, it tries again.
	Watch(ctx context.Context, grew func(coffer.VaultID)) error

	// Once notes a name, and reports whether nobody had noted it yet: of all calls with one name, in all processes, one is
	// told true. The name may be forgotten once the instant has passed on every process's clock. What was told true is
	// durable. After an error the name may have been noted or not.
	Once(ctx context.Context, name [16]byte, until time.Time) (first bool, err error)
}

// A Rebuilder can make what it derives from documents and feeds (indexes, usage) anew, on a store that nobody else uses.
type Rebuilder interface {
	// Rebuild makes all that is derived anew, and calls report with a sentence, without identifiers, for each kind of thing
	// that was not as it should have been, and how often. It needs the same little memory for any store. Cut off, it leaves
	// a store on which it can be called again.
	Rebuild(ctx context.Context, report func(string)) error
}

// A Checkpointer can write a copy of itself while it is being used.
type Checkpointer interface {
	// Checkpoint writes a copy of one state of the store, no older than the call, into a folder that must not exist, durably.
	// Files that never change may be shared with it where the file system can. What it was cut off in is removed.
	Checkpoint(ctx context.Context, dir string) error
}

// A Breakable store can fail for good, as when its disk does: all that it answers from then on is Unavailable, until it
// is opened anew.
type Breakable interface {
	// Broken returns what is closed when that happened.
	Broken() <-chan struct{}
}

// A Meter says how a store is doing.
type Meter interface {
	// Stats counts what the store holds. It may read a little for each vault.
	Stats(ctx context.Context) (Stats, error)
}

// Stats are what a store holds, all vaults together.
type Stats struct {
	Vaults    int64 // with at least one change
	Documents int64 // present
	Bytes     int64 // as in Usage
	Changes   int64
	Disk      int64 // bytes that the store takes on its disk or in its database
	Memory    int64 // bytes of caches and buffers that the store keeps in this process
}

// ErrMoved is what an error of Apply wraps, as Conflict, when [Write.Law] is not what the vault's law is.
var ErrMoved = errors.New("what the write was allowed by has changed")

// A Write is one step of a commit: just one of Document, Erase, Attach, Detach, Govern, Purge is set. No two writes of a
// commit name the same object of the same vault, and a vault that is purged is named by no other write of the commit.
// What a Write points to must not be changed any more.
type Write struct {
	Vault coffer.VaultID
	By    string    // recorded in the feed
	Time  time.Time // recorded in the feed, to the millisecond

	// Limit is what the vault may hold after this write, in documents and in bytes, each if the write makes it hold
	// more. Zero members are no limit, and Changes and Law are none.
	Limit Usage

	// Document is accepted: inserted if it has no parents and its id was never taken; or put in the place of the
	// present revision if that is its only parent and its sequence is one more, or the same with Reindex. Unique
	// tags must not be held, as unique, by other documents of the vault. All chunk sets of the object are released
	// but the one that its Stream names or, if the stream is pending or there is none, the one with the document's
	// own sequence; see [Keeps].
	//
	// A stream with a Patch must name the set that the stream of the replaced revision names, closed, and be patched with
	// the set of that revision's sequence: the chunks of that set take the places of those with the same indexes in the
	// set that is named. Those with indexes from the stream's Chunks on are released, in both; Conflict if of those
	// before one is lacking then, and if there is nothing to patch. That costs as much as there are chunks that come and
	// go, not as there are in the set. What keeps its sequence (Reindex) keeps its stream, and is not patched again.
	Document *coffer.Document
	Reindex  bool

	// Erase destroys the present revision and all chunks of an object, and keeps its id taken.
	Erase *coffer.ObjectID

	// Attach records a chunk, replacing one with the same object, set and index. The object's present sequence must
	// be the chunk's set, else Conflict. Not in the feed.
	Attach *Chunk

	// Detach forgets the chunk with this object, set and index; its other members are not looked at. Not in the feed.
	Detach *Chunk

	// Govern counts the vault's law up by one: who may do what in it has changed. Not in the feed.
	Govern bool

	// Law, unless nil, is what the vault's law must be before the commit, else Conflict that wraps [ErrMoved]: what allowed the
	// write was read when the law was that.
	Law *uint64

	// Keep keeps the revision that Document replaces until [Store.Compact] drops it; not one that is merely reindexed. It
	// counts as bytes of the vault.
	Keep bool

	// Present, unless zero, names the revision that must be present for Erase, Attach or Detach: Conflict if another one
	// is. A document says so by its parents.
	Present coffer.Rev

	// Purge erases every object of the vault and its feed, and counts its law up. One change, numbered one more than the last, remains.
	// Every id of the vault is free afterwards; it is for the caller not to use the vault again.
	Purge bool
}

// A Result is what came of a Write.
type Result struct {
	Change   coffer.Change // zero for Attach, Detach and Govern; its Cursor is empty
	Released []string      // keys of the blobs that nothing names any more; for the caller to delete
	Purged   bool          // all blobs of the vault are released
}

// A Chunk is where one chunk of a stream is kept.
type Chunk struct {
	ID   coffer.ObjectID
	Ref  coffer.ChunkRef
	Blob string // key in the blob store; no two chunks of a store have the same
}

// Usage is what a vault holds.
type Usage struct {
	Documents int64  // present documents
	Bytes     int64  // of their bodies and tags' texts, of those of kept revisions, and of attached chunks
	Changes   uint64 // number of the last change
	Law       uint64 // how often who may do what was changed; see [Write.Govern]
}
