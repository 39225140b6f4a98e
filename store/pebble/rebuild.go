package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

var _ store.Rebuilder = (*Store)(nil)

// A wrong is a kind of thing that Rebuild finds.
type wrong int

const (
	wrongHead wrong = iota
	wrongDue
	wrongPosting
	wrongStray
	wrongUsage
	wrongLaw
	wrongUnique
	wrongDocument
	wrongs
)

// sentences say what was found, so often.
var sentences = [wrongs]string{
	wrongHead:     "mended: heads of objects that were not as documents and feeds say: %d",
	wrongDue:      "mended: kept revisions that were not in the queue as they should be: %d",
	wrongPosting:  "mended: documents' entries that an index did not have: %d",
	wrongStray:    "mended: entries of an index that no document has: %d",
	wrongUsage:    "mended: vaults whose usage did not add up: %d",
	wrongLaw:      "mended: vaults whose law was lost, and begins anew: %d",
	wrongUnique:   "not mended: unique tags that two documents have: %d",
	wrongDocument: "not mended: documents that are damaged: %d",
}

// Rebuild makes all that is derived anew; see [store.Rebuilder].
//
// Documents, chunks, kept revisions and feeds are taken as they are: what is wrong with them, Check says before and
// after. Derived from them are the indexes, usage, the queue of kept revisions, and heads. What is right is left alone,
// the rest is mended in place in small batches, so that the store is never worse than it was. A law is derived from
// nothing.
//
// An object stands as its last change in the feed says. Where its document says otherwise, one of them is lost: the
// head then decides if it agrees with either, so that Check goes on to report what is missing, and nothing later takes
// the number of a change that was lost.
func (s *Store) Rebuild(ctx context.Context, report func(string)) error {
	const op = "pebble.Rebuild"
	if err := s.enter(ctx, op); err != nil {
		return err
	}
	defer s.exit()
	r := &rebuilding{s: s, ctx: ctx, batch: s.db.NewBatch()}
	var err error
	if !s.health.guard(func() { err = r.run() }) {
		return s.health.failure(op)
	}
	_ = r.batch.Close()
	for what, n := range r.wrong {
		if n > 0 {
			report(fmt.Sprintf(sentences[what], n))
		}
	}
	var ours *coffer.Error
	switch {
	case err == nil || errors.As(err, &ours):
		return err
	case ctx.Err() != nil:
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	}
	return failure(op, err)
}

// A rebuilding is one call of Rebuild.
type rebuilding struct {
	s     *Store
	ctx   context.Context
	batch *engine.Batch
	wrong [wrongs]int64 // how often

	state *engine.Snapshot // what is read: all but what is mended meanwhile
	vault coffer.VaultID
	whole bool         // the feed of the vault has no gaps, as far as can be seen
	ends  uint64       // number of its last change
	said  *store.Usage // recorded, if it decodes
	usage store.Usage  // as it should be
	seen  [256]int64   // right entries of an index that there are, by table
	at    *engine.Iterator
}

// maxMending is how many bytes of mended records are written at once.
const maxMending = 128 << 10

// set mends a record, or removes it if the value is nil.
func (r *rebuilding) set(key, value []byte) error {
	var err error
	if value == nil {
		err = r.batch.Delete(key, nil)
	} else {
		err = r.batch.Set(key, value, nil)
	}
	if err == nil && r.batch.Len() > maxMending {
		err = r.flush()
	}
	return err
}

// mend is set, counted.
func (r *rebuilding) mend(what wrong, key, value []byte) error {
	r.wrong[what]++
	return r.set(key, value)
}

func (r *rebuilding) flush() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	err := r.batch.Commit(engine.NoSync)
	if err == nil {
		err = r.batch.Close()
	}
	r.batch = r.s.db.NewBatch()
	return err
}

func (r *rebuilding) run() error {
	if err := r.forgetTraces(); err != nil {
		return err
	}
	if err := r.vaults(r.trace); err != nil {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.state = r.s.db.NewSnapshot()
	defer r.state.Close()
	var err error
	if r.at, err = r.state.NewIter(nil); err != nil {
		return err
	}
	defer r.at.Close()
	if err := r.vaults(r.rebuild); err != nil {
		return err
	}
	if err := r.queue(); err != nil {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.forgetTraces()
}

// forgetTraces removes what was noted of feeds. All that was mended before is durable then.
func (r *rebuilding) forgetTraces() error {
	return r.s.db.DeleteRange([]byte{traceKeys}, []byte{traceKeys + 1}, engine.Sync)
}

// vaults calls f for every vault that has any key.
func (r *rebuilding) vaults(f func() error) error {
	it, err := r.s.db.NewIter(&engine.IterOptions{LowerBound: []byte{vaultKeys}, UpperBound: []byte{vaultKeys + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for more := it.First(); more; {
		if len(it.Key()) < restAt {
			more = it.Next()
			continue
		}
		r.vault = coffer.VaultID(it.Key()[vaultAt:])
		if err := f(); err != nil {
			return err
		}
		_, beyond := bounds(r.vault)
		more = it.SeekGE(beyond)
	}
	return it.Error()
}

// scan calls f with what is in a table of the vault.
func (r *rebuilding) scan(from engine.Reader, table byte, f func(key, value []byte) error) error {
	it, err := from.NewIter(&engine.IterOptions{
		LowerBound: appendTable(nil, r.vault, table), UpperBound: appendTable(nil, r.vault, table+1),
	})
	if err != nil {
		return err
	}
	defer it.Close()
	for more := it.First(); more; more = it.Next() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := f(it.Key(), value); err != nil {
			return err
		}
	}
	return it.Error()
}

// trace notes the last change of each object of the vault, by its id.
func (r *rebuilding) trace() error {
	return r.scan(r.s.db, feedTable, func(key, value []byte) error {
		c, err := decodeChangeAt(key, value)
		if err != nil || c.Kind == coffer.VaultErased {
			return nil
		}
		h := head{present: c.Kind == coffer.Accepted, sequence: c.Sequence, number: c.Number, rev: c.Rev}
		return r.set(appendTrace(nil, r.vault, c.ID), h.append(nil))
	})
}

// rebuild does the vault.
func (r *rebuilding) rebuild() error {
	r.whole, r.ends, r.said, r.usage, r.seen = true, 0, nil, store.Usage{}, [256]int64{}
	if err := r.recorded(); err != nil {
		return err
	}
	first := true
	err := r.scan(r.state, feedTable, func(key, value []byte) error {
		c, err := decodeChangeAt(key, value)
		if err != nil || c.Number != r.ends+1 && !(first && c.Kind == coffer.VaultErased) {
			r.whole = false
		}
		if len(key) == restAt+8 {
			r.ends = c.Number
		}
		first = false
		return nil
	})
	if err != nil {
		return err
	}
	r.usage.Changes = r.ends
	if err := r.objects(); err != nil {
		return err
	}
	for _, table := range [...]byte{nameTable, tagTable, uniqueTable} {
		if err := r.index(table); err != nil {
			return err
		}
	}
	switch {
	case r.said != nil:
		r.usage.Law = r.said.Law
		if r.usage == *r.said {
			return nil
		}
	case r.usage == store.Usage{}:
		return nil // there was nothing but what is removed now
	default:
		r.wrong[wrongLaw]++
		r.usage.Law = 1
	}
	return r.mend(wrongUsage, appendTable(nil, r.vault, usageTable), encodeUsage(nil, r.usage))
}

// recorded reads the vault's usage, and removes what only looks like it.
func (r *rebuilding) recorded() error {
	return r.scan(r.state, usageTable, func(key, value []byte) error {
		u, err := decodeUsage(value)
		switch {
		case len(key) != restAt:
			return r.mend(wrongUsage, bytes.Clone(key), nil)
		case err == nil:
			r.said = &u
		}
		return nil
	})
}

// has reports whether there is a key.
func (r *rebuilding) has(key []byte) (bool, error) {
	if r.at.SeekGE(key) && bytes.Equal(r.at.Key(), key) {
		return true, nil
	}
	return false, r.at.Error()
}

// lookup returns the value of a key, or nil. It is good until the next call.
func (r *rebuilding) lookup(key []byte) ([]byte, error) {
	if there, err := r.has(key); !there || err != nil {
		return nil, err
	}
	b, err := r.at.ValueAndErr()
	if b == nil && err == nil {
		b = []byte{}
	}
	return b, err
}

// A row is a table whose keys go on with an object, read in step with others.
type row struct {
	it    *engine.Iterator
	table byte
	more  bool
}

// id returns the object that the row is at.
func (w *row) id() coffer.ObjectID { return coffer.ObjectID(w.it.Key()[restAt:]) }

// settle leaves keys of a wrong length behind. Those of heads it removes; those of others, Check reports.
func (r *rebuilding) settle(w *row) error {
	for w.more && len(w.it.Key()) != restAt+restLen(w.table) {
		if w.table == headTable {
			if err := r.mend(wrongHead, bytes.Clone(w.it.Key()), nil); err != nil {
				return err
			}
		}
		w.more = w.it.Next()
	}
	return nil
}

// objects does the heads of the vault, and the entries of indexes that are missing. It goes through what there is of
// each object in all tables in step.
func (r *rebuilding) objects() error {
	var rows []*row
	defer func() {
		for _, w := range rows {
			_ = w.it.Close()
		}
	}()
	open := func(table byte, prefix []byte) error {
		it, err := r.state.NewIter(&engine.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return err
		}
		w := &row{it: it, table: table, more: it.First()}
		rows = append(rows, w)
		return r.settle(w)
	}
	traces := appendTable(nil, r.vault, headTable)
	traces[0] = traceKeys
	if err := open(headTable, traces); err != nil {
		return err
	}
	for _, table := range [...]byte{docTable, headTable, chunkTable, keptTable} {
		if err := open(table, appendTable(nil, r.vault, table)); err != nil {
			return err
		}
	}
	for {
		var least *row
		var id coffer.ObjectID
		for _, w := range rows {
			if w.more {
				if at := w.id(); least == nil || bytes.Compare(at[:], id[:]) < 0 {
					least, id = w, at
				}
			}
		}
		if least == nil {
			break
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		o := &rebuilt{id: id}
		for i, w := range rows {
			for w.more && w.id() == id {
				value, err := w.it.ValueAndErr()
				if err != nil {
					return err
				}
				if err := r.gather(o, i == 0, w, value); err != nil {
					return err
				}
				w.more = w.it.Next()
				if err := r.settle(w); err != nil {
					return err
				}
			}
		}
		if err := r.object(o); err != nil {
			return err
		}
	}
	for _, w := range rows {
		if err := w.it.Error(); err != nil {
			return err
		}
	}
	return nil
}

// A rebuilt is what there is of one object.
type rebuilt struct {
	id      coffer.ObjectID
	there   bool             // there is a document
	damaged bool             // it does not decode, or not hash to its name
	doc     *coffer.Document // nil if it does not decode
	rev     coffer.Rev
	last    *head // its last change, if the feed has any
	head    *head // if it decodes
	record  []byte
	chunks  uint64
	kept    kept
}

// gather adds one record to what there is of an object, and does what concerns that record alone.
func (r *rebuilding) gather(o *rebuilt, trace bool, w *row, value []byte) (err error) {
	switch w.table {
	case headTable:
		h, err := decodeHead(value)
		switch {
		case trace && err == nil:
			o.last = &h
		case err == nil:
			o.head = &h
		}
		if !trace {
			o.record = append([]byte{}, value...)
		}
	case docTable:
		o.there = true
		if o.doc, o.rev, err = decodeRevision(value, o.id); err != nil {
			o.doc = nil
		}
		o.damaged = o.doc == nil || o.doc.Rev() != o.rev
	case chunkTable:
		o.chunks++
		if c, err := decodeChunkAt(w.it.Key(), value); err == nil {
			r.usage.Bytes += c.Ref.Size
		}
	case keptTable:
		o.kept.revisions++
		d, _, err := decodeRevision(value, o.id)
		if err != nil {
			return nil
		}
		size := store.Size(d)
		o.kept.size += size
		r.usage.Bytes += size
		_, name := keptAt(w.it.Key())
		place, want := appendDue(nil, r.vault, o.id, name.sequence, name.time), encodeDue(nil, size)
		said, err := r.lookup(place)
		if err != nil || bytes.Equal(said, want) {
			return err
		}
		return r.mend(wrongDue, place, want)
	}
	return nil
}

// agrees reports whether the object's document, or that it has none, is what a head or a change says. Of a damaged one
// only that it is there is believed.
func (o *rebuilt) agrees(h *head) bool {
	switch {
	case h == nil || !h.present:
		return !o.there
	case o.damaged:
		return true
	}
	return o.there && h.sequence == o.doc.Sequence && h.rev == o.rev
}

// stands returns the head that an object should have, but for what is counted; nil if none.
func (r *rebuilding) stands(o *rebuilt) *head {
	same := func(a, b *head) bool {
		return a != nil && b != nil && a.present == b.present && a.sequence == b.sequence && a.rev == b.rev
	}
	lost := o.head != nil && o.head.number > r.ends && // its change may be what the feed has lost at its end
		(r.said == nil || o.head.number <= r.said.Changes)
	switch {
	case o.agrees(o.last) && (o.last != nil || r.whole && !lost):
		return o.last
	case o.head != nil && (o.agrees(o.head) || same(o.head, o.last) || o.last == nil && o.doc == nil):
		return o.head
	case o.last != nil:
		return o.last
	case o.doc != nil:
		return &head{present: true, sequence: o.doc.Sequence, rev: o.rev}
	}
	return nil
}

// object does the head of an object, what is missing of its entries in indexes, and counts it.
func (r *rebuilding) object(o *rebuilt) error {
	if o.damaged {
		r.wrong[wrongDocument]++
	}
	var size int64
	if o.doc != nil {
		size = store.Size(o.doc)
		r.usage.Documents++
		r.usage.Bytes += size
	}
	key := appendObject(nil, r.vault, headTable, o.id)
	stands := r.stands(o)
	if stands == nil {
		if o.record != nil {
			return r.mend(wrongHead, key, nil)
		}
		return nil
	}
	h := *stands
	h.size, h.chunks, h.kept = 0, 0, kept{}
	if h.present {
		h.size, h.chunks, h.kept = size, o.chunks, o.kept
		if o.doc == nil && o.head != nil {
			h.size = o.head.size
		}
	}
	r.usage.Changes = max(r.usage.Changes, h.number)
	if want := h.append(nil); !bytes.Equal(want, o.record) {
		if err := r.mend(wrongHead, key, want); err != nil {
			return err
		}
	}
	if o.doc == nil || !h.present {
		return nil
	}
	for _, m := range indexOf(o.doc.Tags) {
		if err := r.entry(o, m); err != nil {
			return err
		}
	}
	return nil
}

// entry does one entry of an index that a document should have.
func (r *rebuilding) entry(o *rebuilt, m term) error {
	key, want := appendTerm(nil, r.vault, m), []byte{}
	if m[0] == uniqueTable {
		want = o.id[:]
	} else {
		key = append(key, o.id[:]...)
	}
	said, err := r.lookup(key)
	if err != nil {
		return err
	}
	if said == nil {
		return r.mend(wrongPosting, key, want)
	}
	if m[0] == uniqueTable && !bytes.Equal(said, want) {
		if holder, err := decodeHolder(said); err == nil {
			rightly, err := r.tagged(holder, m)
			if err != nil {
				return err
			}
			if rightly {
				r.wrong[wrongUnique]++
				return nil
			}
		}
	}
	r.seen[m[0]]++
	if bytes.Equal(said, want) {
		return nil
	}
	return r.mend(wrongPosting, key, want)
}

// tagged reports whether a document has a term.
func (r *rebuilding) tagged(id coffer.ObjectID, m term) (bool, error) {
	b, err := r.lookup(appendObject(nil, r.vault, docTable, id))
	if b == nil || err != nil {
		return false, err
	}
	d, _, err := decodeRevision(b, id)
	if err != nil {
		return false, nil
	}
	for _, t := range indexOf(d.Tags) {
		if t == m {
			return true, nil
		}
	}
	return false, nil
}

// index removes the entries of an index that no document has. Only if there are more than the right ones does it have
// to look which they are. What was mended before must be seen then, or it would be removed.
func (r *rebuilding) index(table byte) error {
	var found int64
	err := r.scan(r.state, table, func([]byte, []byte) error {
		found++
		return nil
	})
	if err != nil || found == r.seen[table] {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.scan(r.s.db, table, func(key, value []byte) error {
		if len(key) == restAt+restLen(table) {
			holder, err := decodeHolder(value)
			if table != uniqueTable {
				holder, err = coffer.ObjectID(key[restAt+hashLen:]), nil
			}
			if err == nil {
				if rightly, err := r.indexed(holder, term(key[tableAt:restAt+hashLen])); rightly || err != nil {
					return err
				}
			}
		}
		return r.mend(wrongStray, bytes.Clone(key), nil)
	})
}

// indexed reports whether an object, whose head is as it should be, is to be found by a term.
func (r *rebuilding) indexed(id coffer.ObjectID, m term) (bool, error) {
	var h head
	err := r.s.read(appendObject(nil, r.vault, headTable, id), func(b []byte) (err error) {
		h, err = decodeHead(b)
		return err
	})
	switch {
	case errors.Is(err, coffer.NotExist) || err == nil && !h.present:
		return false, nil
	case err != nil:
		return false, err
	}
	return r.tagged(id, m)
}

// queue removes the places in the queue of what is not kept any more; a purge leaves them.
func (r *rebuilding) queue() error {
	it, err := r.state.NewIter(&engine.IterOptions{LowerBound: []byte{dueKeys}, UpperBound: []byte{dueKeys + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for more := it.First(); more; more = it.Next() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		key := it.Key()
		if len(key) != dueLen {
			if err := r.mend(wrongDue, bytes.Clone(key), nil); err != nil {
				return err
			}
			continue
		}
		v, id, name := dueAt(key)
		there, err := r.has(appendKept(nil, v, id, name.sequence, name.time))
		if err != nil {
			return err
		}
		if !there {
			if err := r.set(bytes.Clone(key), nil); err != nil {
				return err
			}
		}
	}
	return it.Error()
}
