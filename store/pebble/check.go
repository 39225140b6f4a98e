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
	for all.First(); all.Valid(); all.Next() {
		if err := ctx.Err(); err != nil {
			return coffer.E(op, coffer.Unavailable, err)
		}
		key := all.Key()
		if bytes.Equal(key, formatKey) {
			continue
		}
		if len(key) < restAt || key[0] != 1 {
			report("a key is of no known form")
			continue
		}
		if v := coffer.VaultID(key[vaultAt:]); v != c.vault {
			c.sum()
			*c = census{at: at, report: report, chunk: chunk, vault: v}
		}
		value, err := all.ValueAndErr()
		if err != nil {
			report("the storage engine found damage")
			return failure(op, err)
		}
		c.count(key, value)
		if w.err != nil {
			return w.err
		}
	}
	c.sum()
	for _, it := range w.iterators {
		if err := it.Error(); err != nil {
			report("the storage engine found damage")
			return failure(op, err)
		}
	}
	return nil
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
	if c.vault == (coffer.VaultID{}) {
		return
	}
	if c.heads > c.seen.Documents {
		c.report("a head has no document")
	}
	if c.headed > c.chunked {
		c.report("an object has more or fewer chunks than it should")
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
