package search

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/lucene"
)

// DefaultCache is how many bytes of blocks an Index keeps in memory.
const DefaultCache = 32 << 20

// maxPath bounds how deep a folder may be.
const maxPath = 256

// titleField is the field whose values patterns without a field match as a whole.
const titleField = "name"

// An Index finds documents. It may be used by several goroutines at once.
type Index struct {
	// BlockSize is how many bytes a block has at most. Set it before the first Flush, to [MinBlockSize] at least and
	// [MaxBlockSize] at most. Segments of different block sizes may stand beside each other.
	BlockSize int
	// MaxTerms is how many terms a query may look at. Set it before the first Find.
	MaxTerms int

	blocks   Blocks
	cache    *cache
	flushing sync.Mutex // only one at a time

	mu       sync.Mutex
	segments []*segment                    // the newest first
	pending  map[coffer.ObjectID]*Document // not in a segment yet; nil: removed
	fields   map[*Document]*lucene.Fields  // of pending documents, as far as they were asked for
	sorted   []pendingDocument             // pending by ids; nil when it is to be made again
	made     []seal.Ref
}

// Open returns the index that a manifest names (nil for none), with the deltas that came after it, the oldest first. It
// fetches nothing. Corrupt when the manifest is malformed, Invalid when it is of another version or a delta breaks the
// rules.
func Open(blocks Blocks, manifest []byte, deltas []Delta) (*Index, error) {
	x := &Index{
		BlockSize: DefaultBlockSize,
		MaxTerms:  DefaultMaxTerms,
		blocks:    blocks,
		cache:     newCache(DefaultCache),
		pending:   map[coffer.ObjectID]*Document{},
	}
	var err error
	if x.segments, err = decodeManifest(manifest); err != nil {
		return nil, err
	}
	for i := range deltas {
		if err := x.Add(deltas[i]); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// SetCache sets how many bytes of blocks are kept in memory, and forgets those that are.
func (x *Index) SetCache(bytes int64) {
	c := newCache(bytes)
	x.cache.mu.Lock()
	defer x.cache.mu.Unlock()
	x.cache.most, x.cache.size, x.cache.order, x.cache.byID = c.most, c.size, c.order, c.byID
}

// Add adds what a commit changed. Invalid when the delta breaks the rules.
func (x *Index) Add(d Delta) error {
	if err := d.check(); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sorted = nil
	for _, doc := range d.Documents {
		x.pending[doc.ID] = &doc
	}
	for _, id := range d.Removed {
		x.pending[id] = nil
	}
	return nil
}

// Pending returns how many documents and removals are in no segment yet.
func (x *Index) Pending() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.pending)
}

// Made returns the blocks that the last Flush put, none if it failed: what to drop if its manifest could not be
// committed.
func (x *Index) Made() []seal.Ref {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.made)
}

// Segments returns how many segments there are.
func (x *Index) Segments() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.segments)
}

// A pendingDocument is a document that is in no segment yet, or a removal.
type pendingDocument struct {
	id     coffer.ObjectID
	doc    *Document // nil: removed
	fields *lucene.Fields
}

// A view is the index at one time.
type view struct {
	x        *Index
	pending  []pendingDocument // by ids
	segments []*segment
	shelves  []*shelf // of each segment
}

func (x *Index) view() *view {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sorted == nil {
		fields := make(map[*Document]*lucene.Fields, len(x.pending))
		x.sorted = make([]pendingDocument, 0, len(x.pending))
		for id, doc := range x.pending {
			p := pendingDocument{id: id, doc: doc}
			if doc != nil {
				if p.fields = x.fields[doc]; p.fields == nil {
					p.fields = doc.fields()
				}
				fields[doc] = p.fields
			}
			x.sorted = append(x.sorted, p)
		}
		slices.SortFunc(x.sorted, func(a, b pendingDocument) int { return bytes.Compare(a.id[:], b.id[:]) })
		x.fields = fields
	}
	v := &view{x: x, pending: x.sorted, segments: x.segments}
	for _, s := range x.segments {
		v.shelves = append(v.shelves, newShelf(x, s))
	}
	return v
}

// pendingOf returns what is pending of a document.
func (v *view) pendingOf(id coffer.ObjectID) (doc *Document, ok bool) {
	i, ok := slices.BinarySearchFunc(v.pending, id, func(p pendingDocument, id coffer.ObjectID) int {
		return bytes.Compare(p.id[:], id[:])
	})
	if !ok {
		return nil, false
	}
	return v.pending[i].doc, true
}

// superseded reports whether something newer than segment i knows of the document.
func (v *view) superseded(ctx context.Context, i int, id coffer.ObjectID) (bool, error) {
	if _, ok := v.pendingOf(id); ok {
		return true, nil
	}
	for _, h := range v.shelves[:i] {
		if s, err := h.find(ctx, id); s != nil || err != nil {
			return true, err
		}
	}
	return false, nil
}

// Find yields the documents whose newest versions meet the query, each once: first what is pending, then the segments,
// the newest first; in each by ids. It fetches what it needs as it goes, so whoever stops early pays for less. After an
// error nothing follows: Exhausted when the query means too much work, Corrupt for segments that are not what was
// written, otherwise the error of Blocks. It sees the index as it was when it began; when blocks that a Flush replaced
// are dropped meanwhile, it may fail, and is to be called again.
func (x *Index) Find(ctx context.Context, query *lucene.Query) iter.Seq2[Hit, error] {
	return func(yield func(Hit, error) bool) {
		v := x.view()
		for _, p := range v.pending {
			if p.doc != nil && query.Match(p.fields) && !yield(p.doc.hit(), nil) {
				return
			}
		}
		w := &work{x.MaxTerms, maxPostings}
		for i, s := range v.segments {
			q := &search{ctx, x, s, w}
			set, err := q.meets(query.Root)
			if err != nil {
				yield(Hit{}, err)
				return
			}
			for _, ordinal := range set {
				hit, ok, err := v.hit(ctx, i, ordinal)
				if err != nil {
					yield(Hit{}, err)
					return
				}
				if ok && !yield(hit, nil) {
					return
				}
			}
		}
	}
}

// hit returns a document of segment i, unless there is something newer.
func (v *view) hit(ctx context.Context, i int, ordinal uint32) (Hit, bool, error) {
	s, err := v.shelves[i].document(ctx, ordinal)
	if err != nil {
		return Hit{}, false, err
	}
	if s.removed {
		return Hit{}, false, errCorrupt("a removed document is found")
	}
	old, err := v.superseded(ctx, i, s.id)
	if old || err != nil {
		return Hit{}, false, err
	}
	return s.hit(), true, nil
}

// Get returns what the index keeps of a document. NotExist if it does not know it; otherwise the errors of Find.
func (x *Index) Get(ctx context.Context, id coffer.ObjectID) (Hit, error) {
	return x.view().get(ctx, id)
}

func (v *view) get(ctx context.Context, id coffer.ObjectID) (Hit, error) {
	missing := coffer.Errorf("search", coffer.NotExist, "not in the index")
	if doc, ok := v.pendingOf(id); ok {
		if doc == nil {
			return Hit{}, missing
		}
		return doc.hit(), nil
	}
	for _, h := range v.shelves {
		s, err := h.find(ctx, id)
		switch {
		case err != nil:
			return Hit{}, err
		case s == nil:
		case s.removed:
			return Hit{}, missing
		default:
			return s.hit(), nil
		}
	}
	return Hit{}, missing
}

// Path returns the path of a document: its name, behind the names of the folders that it is in, with slashes between.
// NotExist if the index does not know it or one of the folders, Corrupt if the folders go round in a circle or deeper
// than 256; otherwise the errors of Find.
func (x *Index) Path(ctx context.Context, id coffer.ObjectID) (string, error) {
	v := x.view()
	var names []string
	for range maxPath {
		h, err := v.get(ctx, id)
		if err != nil {
			return "", err
		}
		names = append(names, h.Name)
		if id = h.Folder; id == (coffer.ObjectID{}) {
			slices.Reverse(names)
			return strings.Join(names, "/"), nil
		}
	}
	return "", errCorrupt("folders go round in a circle")
}

// Refs returns everything that Blocks keeps for the index: what is to be dropped with it, and to be given new keys.
func (x *Index) Refs(ctx context.Context) ([]seal.Ref, error) {
	x.mu.Lock()
	segments := x.segments
	x.mu.Unlock()
	var all []seal.Ref
	for _, s := range segments {
		refs, err := s.refs(ctx, x)
		if err != nil {
			return nil, err
		}
		all = append(all, refs...)
	}
	return all, nil
}
