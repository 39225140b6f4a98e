// Package store says what a disk must do for a node: keep the documents of many vaults with their tags, chunks' places
// and feeds, and change them in atomic commits. A driver (store/pebble and others) is native to its engine; what all
// drivers share stands here as free functions; storetest checks every driver with one script. Chunks themselves are
// kept by package store/blob.
//
// A store knows nothing of envelopes, of the law or of limits on requests: package node/vault does.
package store

import (
	"context"
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

// A Write is one step of a commit: just one of Document, Erase, Attach, Detach, Purge is set. No two writes of a
// commit name the same object of the same vault, and a vault that is purged is named by no other write of the commit.
// What a Write points to must not be changed any more.
type Write struct {
	Vault coffer.VaultID
	By    string    // recorded in the feed
	Time  time.Time // recorded in the feed, to the millisecond

	// Limit is what the vault may hold after this write, in documents and in bytes, each if the write makes it hold
	// more. Zero members are no limit, and Changes is none.
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

	// Present, unless zero, names the revision that must be present for Erase, Attach or Detach: Conflict if another one
	// is. A document says so by its parents.
	Present coffer.Rev

	// Purge erases every object of the vault and its feed. One change, numbered one more than the last, remains.
	// Every id of the vault is free afterwards; it is for the caller not to use the vault again.
	Purge bool
}

// A Result is what came of a Write.
type Result struct {
	Change   coffer.Change // zero for Attach and Detach; its Cursor is empty
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
	Bytes     int64  // of their bodies and tags' texts, and of attached chunks
	Changes   uint64 // number of the last change
}
