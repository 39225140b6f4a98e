package pebble

import (
	"bytes"
	"context"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Check reads everything; see [store.Store]. It needs the same little memory for any store. The engine checks the sums
// of the blocks that it reads: one that is damaged is reported, and ends the check with Corrupt.
//
// Each document is looked up in every list where it should be. That nothing else is in the lists is shown by counting.
func (s *Store) Check(ctx context.Context, report func(string), chunk func(store.Chunk)) error {
	const op = "pebble.Check"
	if err := s.enter(ctx, op); err != nil {
		return err
	}
	defer s.exit()
	w, err := s.view(ctx, nil, nil)
	if err != nil {
		return err
	}
	defer w.close()
	all, at := w.iterator(), w.iterator()
	c := &census{at: at, report: report, chunk: chunk}
	traced := false
	for all.First(); all.Valid(); all.Next() {
		if err := ctx.Err(); err != nil {
			return coffer.E(op, coffer.Unavailable, err)
		}
		key := all.Key()
		if bytes.Equal(key, formatKey) {
			continue
		}
		switch {
		case len(key) == dueLen && key[0] == dueKeys:
			if value, err := all.ValueAndErr(); err != nil {
				return damaged(op, err, report)
			} else if _, err := decodeDue(value); err != nil {
				report("a place in the queue of kept revisions does not decode")
			}
			continue
		case len(key) > 0 && key[0] == traceKeys:
			if !traced {
				report("a rebuilding was cut off: it should be done again")
			}
			traced = true
			continue
		case len(key) < restAt || key[0] != vaultKeys:
			report("a key is of no known form")
			continue
		}
		if v := coffer.VaultID(key[vaultAt:]); v != c.vault {
			c.sum()
			*c = census{at: at, report: report, chunk: chunk, vault: v}
		}
		value, err := all.ValueAndErr()
		if err != nil {
			return damaged(op, err, report)
		}
		c.count(key, value)
		if w.err != nil {
			return w.err
		}
	}
	c.sum()
	for _, it := range w.iterators {
		if err := it.Error(); err != nil {
			return damaged(op, err, report)
		}
	}
	return nil
}

// damaged ends a check by an error of the engine, and reports it unless it is the disk that cannot be read.
func damaged(op string, err error, report func(string)) error {
	err = failure(op, err)
	if coffer.KindOf(err) == coffer.Corrupt {
		report("the storage engine found damage")
	}
	return err
}

// A census is what was counted of one vault. Tables come in the order of their letters.
type census struct {
	at     *engine.Iterator // to look things up, in the same state
	report func(string)
	chunk  func(store.Chunk)
	vault  coffer.VaultID

	seen     store.Usage  // counted
	said     *store.Usage // recorded
	heads    int64        // of present objects
	chunked  int64        // objects with chunks attached, by their chunks
	headed   int64        // the same, by their heads
	owner    *owner       // of the chunks being read
	keepers  int64        // objects with kept revisions, by these
	keeping  int64        // the same, by their heads
	keeper   *keeper      // of the kept revisions being read
	expected [256]int64   // entries of an index, by table, that documents have
	found    [256]int64   // entries of an index that there are
	changed  bool         // a change was read
}

// An owner is the object whose chunks are being read.
type owner struct {
	id         coffer.ObjectID
	present    bool
	sets       [2]uint64 // that it may have
	said, seen uint64    // how many chunks it has
}

// A keeper is the object whose kept revisions are being read.
type keeper struct {
	id         coffer.ObjectID
	head       head
	present    bool
	revisions  uint64
	size       int64
	incomplete bool // one does not decode, so that the size is not known
}

// lookup returns the value of a key, or false.
func (c *census) lookup(key []byte) ([]byte, bool) {
	if !c.at.SeekGE(key) || !bytes.Equal(c.at.Key(), key) {
		return nil, false
	}
	return c.at.Value(), true
}

func (c *census) head(id coffer.ObjectID) (h head, ok bool) {
	b, ok := c.lookup(appendObject(nil, c.vault, headTable, id))
	if !ok {
		return h, false
	}
	h, err := decodeHead(b)
	return h, err == nil
}

func (c *census) count(key, value []byte) {
	table, rest := key[tableAt], key[restAt:]
	if table != chunkTable {
		c.disown()
	}
	if table != keptTable {
		c.keepNoMore()
	}
	if len(rest) != restLen(table) {
		c.report("a key is of no known form")
		return
	}
	switch table {
	case chunkTable:
		c.countChunk(key, value)
	case docTable:
		c.countDocument(coffer.ObjectID(rest), value)
	case feedTable:
		c.countChange(key, value)
	case headTable:
		c.countHead(coffer.ObjectID(rest), value)
	case keptTable:
		c.countKept(key, value)
	case usageTable:
		u, err := decodeUsage(value)
		if err != nil {
			c.report("the usage of a vault does not decode")
			return
		}
		c.seen.Law = u.Law // nothing else says it
		c.said = &u
	case nameTable, tagTable:
		c.found[table]++
		if len(value) != 0 {
			c.report("an index entry does not decode")
		}
	case uniqueTable:
		c.found[table]++
		if _, err := decodeHolder(value); err != nil {
			c.report("an index entry does not decode")
		}
	}
}

func (c *census) countChunk(key, value []byte) {
	k, err := decodeChunkAt(key, value)
	if c.owner == nil || c.owner.id != k.ID {
		c.disown()
		c.own(coffer.ObjectID(key[restAt:]))
	}
	c.owner.seen++
	if err != nil {
		c.report("a chunk does not decode")
		return
	}
	c.seen.Bytes += k.Ref.Size
	if c.owner.present && k.Ref.Sequence != c.owner.sets[0] && k.Ref.Sequence != c.owner.sets[1] {
		c.report("a chunk is of a set that its document does not have")
	}
	if c.chunk != nil {
		c.chunk(k)
	}
}

func (c *census) own(id coffer.ObjectID) {
	c.chunked++
	h, ok := c.head(id)
	c.owner = &owner{id: id, present: ok && h.present, said: h.chunks, sets: [2]uint64{h.sequence, h.sequence}}
	if !c.owner.present {
		c.report("a chunk is attached to nothing")
		return
	}
	if b, ok := c.lookup(appendObject(nil, c.vault, docTable, id)); ok {
		if d, _, err := decodeRevision(b, id); err == nil {
			c.owner.sets[1] = store.Keeps(d)
		}
	}
}

func (c *census) disown() {
	if o := c.owner; o != nil && o.present && o.said != o.seen {
		c.report("an object has more or fewer chunks than it should")
	}
	c.owner = nil
}

func (c *census) countDocument(id coffer.ObjectID, value []byte) {
	d, rev, err := decodeRevision(value, id)
	if err != nil {
		c.report("a document does not decode")
		return
	}
	if d.Rev() != rev {
		c.report("a document does not hash to its name")
	}
	size := store.Size(d)
	c.seen.Documents++
	c.seen.Bytes += size
	h, ok := c.head(id)
	switch {
	case !ok || !h.present:
		c.report("a document has no head")
	case h.rev != rev || h.sequence != d.Sequence || h.size != size:
		c.report("a document and its head do not agree")
	}
	for _, m := range indexOf(d.Tags) {
		key := appendTerm(nil, c.vault, m)
		if m[0] != uniqueTable {
			key = append(key, id[:]...)
		}
		value, ok := c.lookup(key)
		switch {
		case !ok:
			c.report("a document is missing from an index")
		case m[0] == uniqueTable && !bytes.Equal(value, id[:]):
			c.report("a unique tag is held by another document")
		}
		if ok {
			c.expected[m[0]]++
		}
	}
}

func (c *census) countKept(key, value []byte) {
	id, name := keptAt(key)
	if c.keeper == nil || c.keeper.id != id {
		c.keepNoMore()
		h, ok := c.head(id)
		c.keeper = &keeper{id: id, head: h, present: ok && h.present}
		c.keepers++
		if !c.keeper.present {
			c.report("a revision is kept of nothing")
		}
	}
	k := c.keeper
	k.revisions++
	d, rev, err := decodeRevision(value, id)
	if err != nil {
		k.incomplete = true
		c.report("a kept revision does not decode")
		return
	}
	size := store.Size(d)
	k.size += size
	c.seen.Bytes += size
	if d.Rev() != rev || d.Sequence != name.sequence {
		c.report("a kept revision does not hash to its name")
	}
	if k.present && name.sequence >= k.head.sequence {
		c.report("a kept revision was never replaced")
	}
	place, ok := c.lookup(appendDue(nil, c.vault, id, name.sequence, name.time))
	if said, err := decodeDue(place); !ok || err == nil && said != size {
		c.report("a kept revision is not in the queue as it should be")
	}
}

func (c *census) keepNoMore() {
	if k := c.keeper; k != nil && k.present &&
		(k.head.kept.revisions != k.revisions || k.head.kept.size != k.size && !k.incomplete) {
		c.report("an object has more or fewer kept revisions than it should")
	}
	c.keeper = nil
}

func (c *census) countChange(key, value []byte) {
	change, err := decodeChangeAt(key, value)
	if err != nil {
		c.report("a change does not decode")
	}
	if first := !c.changed; change.Number != c.seen.Changes+1 &&
		!(first && (change.Kind == coffer.VaultErased || err != nil)) {
		c.report("changes are missing from a feed")
	}
	c.changed = true
	c.seen.Changes = change.Number
	if err != nil || change.Kind == coffer.VaultErased {
		return
	}
	// A document has been looked at by then. What has none is known by its head alone.
	b, ok := c.lookup(appendObject(nil, c.vault, headTable, change.ID))
	if !ok {
		c.report("a change is of an object that has no head")
	} else if h, err := decodeHead(b); err == nil && h.number < change.Number {
		c.report("a head is not of the last change of its object")
	}
}

func (c *census) countHead(id coffer.ObjectID, value []byte) {
	h, err := decodeHead(value)
	if err != nil {
		c.report("a head does not decode")
		return
	}
	if h.present {
		c.heads++
		if h.chunks > 0 {
			c.headed++
		}
		if h.kept.revisions > 0 {
			c.keeping++
		}
	}
	kind := coffer.Erased
	if h.present {
		kind = coffer.Accepted
	}
	b, ok := c.lookup(appendChange(nil, c.vault, h.number))
	change, err := decodeChange(b, h.number)
	if !ok || err == nil &&
		(change.Kind != kind || change.ID != id || change.Sequence != h.sequence || change.Rev != h.rev) {
		c.report("an object's last change is not in the feed")
	}
}

// sum compares what was counted of a vault with what should be.
func (c *census) sum() {
	c.disown()
	c.keepNoMore()
	if c.vault == (coffer.VaultID{}) {
		return
	}
	if c.heads > c.seen.Documents {
		c.report("a head has no document")
	}
	if c.headed > c.chunked {
		c.report("an object has more or fewer chunks than it should")
	}
	if c.keeping > c.keepers {
		c.report("an object has more or fewer kept revisions than it should")
	}
	for _, table := range [...]byte{nameTable, tagTable, uniqueTable} {
		for range c.found[table] - c.expected[table] {
			c.report("an index entry has no document")
		}
	}
	switch {
	case c.said == nil:
		c.report("a vault has no usage")
	case *c.said != c.seen:
		c.report("the usage of a vault does not add up")
	}
}
