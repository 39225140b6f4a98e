package coffer

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Vault is one vault as one caller may see it. The service in this process keeps this contract, and so does the
// client that reaches a vault over HTTPS; vaulttest checks both with one script.
//
// Every method may fail with NotExist when the caller has no right at all (the same answer as for a vault that does
// not exist), with Denied when the caller has some right but not this one, and with Unavailable. A failed method has
// changed nothing.
type Vault interface {
	// Get returns the present revisions of an object: one, or several when writers parted and nobody has merged
	// them yet. It fails with NotExist when the object was never written or has been erased.
	Get(ctx context.Context, id ObjectID) ([]*Document, error)

	// Apply carries out all of the writes in one atomic commit, or none of them, and returns one change for each,
	// in order, once they are durable. No two writes may name the same object.
	//
	// A document without parents is inserted: Conflict if the id was ever taken. A document with parents replaces
	// them: Conflict unless its parents are just the present revisions and its sequence is one more than theirs.
	// Conflict, too, if a unique tag is held by another document. Exhausted if a limit or a quota is passed.
	//
	// An erasure destroys every revision and chunk of the object and leaves the fact: NotExist if there is nothing
	// to erase. The id stays taken.
	Apply(ctx context.Context, writes ...Write) ([]Change, error)

	// Query yields the documents that match, in the order of their ids, without duplicates.
	Query(ctx context.Context, q Query) iter.Seq2[*Document, error]

	// Count returns how many documents match. Limit, After and IDsOnly of the query are ignored.
	Count(ctx context.Context, q Query) (int, error)

	// Changes yields all that was accepted after the cursor, in order and without gaps; the empty cursor is the
	// beginning. Without follow it ends at the last change; with follow it waits for more until ctx ends, and then
	// ends without an error. A cursor that this vault did not make is Invalid.
	Changes(ctx context.Context, after Cursor, follow bool) iter.Seq2[Change, error]

	// Chunk returns one chunk of the document's stream and what it is. While a document names a closed set, that
	// set is served; before, the set being written. The caller closes the reader. NotExist if there is none.
	Chunk(ctx context.Context, id ObjectID, index uint64) (ChunkRef, io.ReadCloser, error)

	// PutChunk stores ref.Size bytes from r as a chunk of the document. It fails with Conflict unless ref.Sequence
	// is the document's present sequence, and with Invalid if r is shorter, longer, or does not hash to ref.Sum.
	// A chunk already there with the same sequence and index is replaced. Readers see the chunks of a set only
	// once a revision of the document names it; the other sets are then collected.
	PutChunk(ctx context.Context, id ObjectID, ref ChunkRef, r io.Reader) error

	// DropChunk removes a chunk of the set that is being written, or else of the set that the document names.
	// NotExist if there is none.
	DropChunk(ctx context.Context, id ObjectID, index uint64) error
}

// A Write is one step of an atomic commit: a document to accept, or an object to erase.
type Write struct {
	Document *Document
	Erase    ObjectID // used when Document is nil
}

// ID returns the id of the object that is written.
func (w Write) ID() ObjectID {
	if w.Document != nil {
		return w.Document.ID
	}
	return w.Erase
}

// Put applies one document.
func Put(ctx context.Context, v Vault, d *Document) (Change, error) {
	return applyOne(ctx, v, Write{Document: d})
}

// Erase erases one object.
func Erase(ctx context.Context, v Vault, id ObjectID) (Change, error) {
	return applyOne(ctx, v, Write{Erase: id})
}

func applyOne(ctx context.Context, v Vault, w Write) (Change, error) {
	changes, err := v.Apply(ctx, w)
	if err != nil {
		return Change{}, err
	}
	if len(changes) != 1 {
		return Change{}, Errorf("apply", Corrupt, "the vault answered with another number of changes")
	}
	return changes[0], nil
}

// A Query selects documents of a vault by their tags. The zero Query selects all.
type Query struct {
	// Index is the id of the HMAC key whose tags are matched; needed by Equals and Has.
	Index string
	// Equals selects the documents that match any of the filters. A filter maps tag names to values and matches a
	// document that has all of them; an empty filter matches nothing.
	Equals []map[string]string
	// Has selects the documents that have tags with all of these names. At most one of Equals and Has is used.
	Has []string

	After   ObjectID // only documents with greater ids; to go on after a page, the last id seen
	Limit   int      // at most so many documents; 0 is no limit
	IDsOnly bool     // yield documents of which only ID and Sequence are set
}

// Bounds on queries.
const (
	MaxFilters     = 256 // in Equals
	MaxFilterNames = 64  // in one filter, and in Has
)

// Check reports the first rule of form that the query breaks, as Invalid.
func (q *Query) Check() error {
	const op = "query"
	switch {
	case len(q.Equals) > 0 && len(q.Has) > 0:
		return Errorf(op, Invalid, "equals and has exclude each other")
	case q.Index == "" && (len(q.Equals) > 0 || len(q.Has) > 0):
		return Errorf(op, Invalid, "no index named")
	case len(q.Equals) > MaxFilters || len(q.Has) > MaxFilterNames:
		return Errorf(op, Invalid, "too many filters")
	case q.Limit < 0:
		return Errorf(op, Invalid, "limit is negative")
	}
	for _, f := range q.Equals {
		if len(f) > MaxFilterNames {
			return Errorf(op, Invalid, "too many names in a filter")
		}
	}
	return nil
}

// A Cursor is a place in a vault's feed of changes. It is opaque, and stays good as long as the vault does.
type Cursor string

// A Change is the fact that something was accepted: one entry of a vault's feed.
type Change struct {
	Cursor   Cursor // the place just after this change
	Number   uint64 // counts the vault's changes from 1, without gaps
	Kind     ChangeKind
	ID       ObjectID // zero when the whole vault was erased
	Sequence uint64   // of the revision accepted, or of the last one before an erasure
	Rev      Rev      // of the revision accepted; zero for an erasure
	By       string   // identifier of the one whose authority it was
	Time     time.Time
}

// A ChangeKind says what a change was.
type ChangeKind uint8

// The kinds of change. Their numbers never change.
const (
	Accepted    ChangeKind = 1 // a revision was accepted
	Erased      ChangeKind = 2 // an object was erased
	VaultErased ChangeKind = 3 // the vault itself was erased; nothing follows
)
