package pebble

import (
	"bytes"
	"context"
	"iter"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
)

// maxIterators bounds how many iterators of the engine one query opens, and so its memory. Beyond it, lists of postings
// share iterators, and seek anew where they take turns.
const maxIterators = 16

// Query yields the documents that match; see [store.Store].
func (s *Store) Query(ctx context.Context, v coffer.VaultID, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) {
		if err := s.enter(ctx, "pebble.Query"); err != nil {
			yield(nil, err)
			return
		}
		defer s.exit()
		if err := s.query(ctx, v, &q, func(d *coffer.Document) bool { return yield(d, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// query calls yield with each match until it returns false.
func (s *Store) query(ctx context.Context, v coffer.VaultID, q *coffer.Query, yield func(*coffer.Document) bool) error {
	from, ok := coffer.ObjectID{}, true
	if q.After != from {
		if from, ok = next(q.After); !ok {
			return nil
		}
	}
	lower, upper := bounds(v)
	w, err := s.view(ctx, lower, upper)
	if err != nil {
		return err
	}
	defer w.close()
	m := w.match(v, q)
	rows := w.list(appendTable(nil, v, docTable))
	if q.IDsOnly {
		rows = w.list(appendTable(nil, v, headTable))
	}
	for n := 0; ok && (q.Limit == 0 || n < q.Limit); n++ {
		id, found := m.seek(from)
		if !found {
			break
		}
		d, err := rows.document(id, q.IDsOnly)
		if err != nil {
			return err
		}
		if !yield(d) {
			return nil
		}
		from, ok = next(id)
	}
	return w.err
}

// Count returns how many documents match; see [store.Store].
func (s *Store) Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (n int, err error) {
	if err := s.enter(ctx, "pebble.Count"); err != nil {
		return 0, err
	}
	defer s.exit()
	if selectsAll(&q) {
		u, err := s.usage(v)
		return int(u.Documents), err
	}
	lower, upper := bounds(v)
	w, err := s.view(ctx, lower, upper)
	if err != nil {
		return 0, err
	}
	defer w.close()
	m := w.match(v, &q)
	id, found := m.seek(coffer.ObjectID{})
	for found {
		n++
		if id, found = next(id); found {
			id, found = m.seek(id)
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return n, nil
}

func selectsAll(q *coffer.Query) bool { return len(q.Equals) == 0 && len(q.Has) == 0 }

// A view is iterators that all see one state of the database, and the first error that one of them met. After an error
// all of its lists are at their ends.
type view struct {
	ctx       context.Context
	health    *health
	iterators []*engine.Iterator
	used      int // of the iterators, from the front
	err       error
}

func (s *Store) view(ctx context.Context, lower, upper []byte) (*view, error) {
	it, err := s.db.NewIterWithContext(ctx, &engine.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, failure("pebble.Query", err)
	}
	return &view{ctx: ctx, health: s.health, iterators: []*engine.Iterator{it}}, nil
}

func (w *view) close() { w.health.leave(w.iterators...) }

// iterator returns an iterator that nobody else uses.
func (w *view) iterator() *engine.Iterator {
	if w.used == len(w.iterators) {
		it, err := w.iterators[0].Clone(engine.CloneOptions{})
		if err != nil {
			w.fail(failure("pebble.Query", err))
			return w.iterators[0]
		}
		w.iterators = append(w.iterators, it)
	}
	w.used++
	return w.iterators[w.used-1]
}

func (w *view) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// A matcher finds the least id, not less than from, of a document that matches. Calls of seek never go back.
type matcher interface {
	seek(from coffer.ObjectID) (coffer.ObjectID, bool)
}

// match returns the matcher of a query.
func (w *view) match(v coffer.VaultID, q *coffer.Query) matcher {
	if selectsAll(q) {
		return &present{w.list(appendTable(nil, v, headTable))}
	}
	var lists []*list
	var any some
	add := func(terms []term) {
		var all every
		for _, m := range terms {
			l := &list{view: w, prefix: appendTerm(nil, v, m)}
			if len(lists) < maxIterators {
				l.it = w.iterator()
			} else {
				other := lists[len(lists)%maxIterators]
				l.it, l.shared, other.shared = other.it, true, true
			}
			lists = append(lists, l)
			all = append(all, l)
		}
		if len(all) > 0 { // an empty filter matches nothing
			any = append(any, &choice{matcher: all})
		}
	}
	var terms []term
	for _, name := range q.Has {
		terms = append(terms, nameTerm(q.Index, name))
	}
	add(terms)
	for _, filter := range q.Equals {
		terms = terms[:0]
		for name, value := range filter {
			terms = append(terms, tagTerm(q.Index, name, value))
		}
		add(terms)
	}
	return any
}

// A list is keys that begin with a prefix and end with an object: postings, heads or documents.
type list struct {
	view   *view
	it     *engine.Iterator
	prefix []byte
	at     coffer.ObjectID // the last one found
	sought bool            // at was set
	ended  bool
	shared bool // the iterator is that of other lists, too, and may be anywhere
}

func (w *view) list(prefix []byte) *list { return &list{view: w, it: w.iterator(), prefix: prefix} }

func (l *list) seek(from coffer.ObjectID) (coffer.ObjectID, bool) {
	w := l.view
	if l.sought && bytes.Compare(l.at[:], from[:]) >= 0 {
		return l.at, w.err == nil
	}
	if l.ended || w.err != nil {
		return l.at, false
	}
	if err := w.ctx.Err(); err != nil {
		w.fail(coffer.E("pebble.Query", coffer.Unavailable, err))
		return l.at, false
	}
	n := len(l.prefix)
	key := append(l.prefix, from[:]...)
	l.prefix = key[:n] // keeps the room for the next one
	// What is next in the list is most often the next key of the database.
	near := l.sought && !l.shared && l.it.Next() && bytes.Compare(l.it.Key(), key) >= 0
	if !near && !l.it.SeekGE(key) || !bytes.HasPrefix(l.it.Key(), l.prefix) {
		if err := l.it.Error(); err != nil {
			w.fail(failure("pebble.Query", err))
		}
		l.ended = true
		return l.at, false
	}
	found := l.it.Key()[n:]
	if len(found) != idLen {
		w.fail(errRecord())
		return l.at, false
	}
	l.at, l.sought = coffer.ObjectID(found), true
	return l.at, true
}

// document returns what a list of documents, or of heads, has of a match.
func (l *list) document(id coffer.ObjectID, head bool) (*coffer.Document, error) {
	found, ok := l.seek(id)
	if l.view.err != nil {
		return nil, l.view.err
	}
	if !ok || found != id {
		return nil, coffer.Errorf("pebble.Query", coffer.Corrupt, "an index names a document that is not there")
	}
	b, err := l.it.ValueAndErr()
	if err != nil {
		return nil, failure("pebble.Query", err)
	}
	if head {
		h, err := decodeHead(b)
		return &coffer.Document{ID: id, Sequence: h.sequence}, err
	}
	d, _, err := decodeRevision(b, id)
	return d, err
}

// present matches every object of a list of heads that is not erased.
type present struct{ heads *list }

func (p *present) seek(from coffer.ObjectID) (coffer.ObjectID, bool) {
	for {
		id, ok := p.heads.seek(from)
		if !ok {
			return id, false
		}
		b, err := p.heads.it.ValueAndErr()
		if err != nil {
			p.heads.view.fail(failure("pebble.Query", err))
			return id, false
		}
		h, err := decodeHead(b)
		if err != nil {
			p.heads.view.fail(err)
			return id, false
		}
		if h.present {
			return id, true
		}
		if from, ok = next(id); !ok {
			return id, false
		}
	}
}

// every matches what all of its lists hold. Each list in turn leaps to where the one before it is, until they agree.
type every []*list

func (e every) seek(from coffer.ObjectID) (coffer.ObjectID, bool) {
	for agreed := 0; agreed < len(e); {
		for _, l := range e {
			id, ok := l.seek(from)
			if !ok {
				return id, false
			}
			if id == from {
				if agreed++; agreed == len(e) {
					break
				}
				continue
			}
			from, agreed = id, 1
		}
	}
	return from, true
}

// some matches what any of its choices does.
type some []*choice

// A choice is a matcher and what it found last.
type choice struct {
	matcher
	at     coffer.ObjectID
	sought bool
	ended  bool
}

func (s some) seek(from coffer.ObjectID) (least coffer.ObjectID, found bool) {
	for _, c := range s {
		if !c.ended && (!c.sought || bytes.Compare(c.at[:], from[:]) < 0) {
			id, ok := c.matcher.seek(from)
			c.at, c.sought, c.ended = id, true, !ok
		}
		if !c.ended && (!found || bytes.Compare(c.at[:], least[:]) < 0) {
			least, found = c.at, true
		}
	}
	return least, found
}
