package pebble

import (
	"bytes"
	"errors"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

const applyOp = "pebble.Apply"

// A verdict is what a step that keeps the rules does to its object.
type verdict struct {
	head     head          // afterwards
	old      index         // before
	released []chunkName   // chunks to forget
	moved    []store.Chunk // chunks to record: those of a patch, in their new places
	keeps    *due          // the present revision is kept as this
	forgets  []keptName    // kept revisions to drop
	dead     int64         // bytes of what is not needed any more
	result   store.Result
}

// A chunkName is the part of a chunk's key that is not its object.
type chunkName struct{ set, index uint64 }

// judge checks a call against the database and, if it keeps the rules, adds it to the group's batch. The call breaks
// them as a whole or not at all.
func (s *Store) judge(g *group, c *call) {
	before := make([]store.Usage, len(c.steps)) // of each step's vault, before it
	verdicts := make([]verdict, len(c.steps))
	var holders map[unique]coffer.ObjectID // of the tags that steps before have taken, or released: the zero id
	if len(c.steps) > 1 {
		holders = make(map[unique]coffer.ObjectID)
	}
	if c.err = s.lawful(g, c); c.err != nil {
		return
	}
	for i := range c.steps {
		t := &c.steps[i]
		total, err := s.tally(g, t.vault)
		if err == nil {
			before[i] = total.after
			err = s.weigh(total, t, &verdicts[i], holders)
		}
		if err != nil {
			for i--; i >= 0; i-- {
				g.tallies[c.steps[i].vault].after = before[i]
			}
			c.err = err
			return
		}
	}
	c.results = make([]store.Result, len(c.steps))
	for i := range c.steps {
		g.enact(&c.steps[i], &verdicts[i])
		s.dead.Add(verdicts[i].dead)
		c.results[i] = verdicts[i].result
	}
}

// lawful checks that the laws which the call rests on are what they were.
func (s *Store) lawful(g *group, c *call) error {
	for i := range c.steps {
		t := &c.steps[i]
		if t.law == nil {
			continue
		}
		total, err := s.tally(g, t.vault)
		if err != nil {
			return err
		}
		if total.after.Law != *t.law {
			return coffer.E(applyOp, coffer.Conflict, store.ErrMoved)
		}
	}
	return nil
}

// tally returns the usage of a vault as the group has it.
func (s *Store) tally(g *group, v coffer.VaultID) (*tally, error) {
	if t := g.tallies[v]; t != nil {
		return t, nil
	}
	u, err := s.usage(v)
	if err != nil {
		return nil, err
	}
	t := &tally{u, u}
	g.tallies[v] = t
	return t, nil
}

// usage returns what the database says.
func (s *Store) usage(v coffer.VaultID) (u store.Usage, err error) {
	err = s.read(appendTable(nil, v, usageTable), func(b []byte) (err error) {
		u, err = decodeUsage(b)
		return err
	})
	if errors.Is(err, coffer.NotExist) {
		return store.Usage{}, nil
	}
	return u, err
}

// weigh finds the verdict on one step and counts it, or returns the rule that it breaks.
func (s *Store) weigh(total *tally, t *step, v *verdict, holders map[unique]coffer.ObjectID) error {
	u := total.after
	switch t.act {
	case govern:
		total.after.Law++
		return nil
	case forget:
		return s.weighKept(total, t, v)
	case purge:
		u = store.Usage{Changes: u.Changes, Law: u.Law + 1}
		v.result.Purged, v.dead = true, total.after.Bytes
	default:
		if err := s.weighObject(&u, t, v, holders); err != nil {
			return err
		}
	}
	if t.act == put || t.act == erase || t.act == purge {
		u.Changes++
		v.head.number = u.Changes
		v.result.Change = t.change
		v.result.Change.Number = u.Changes
	}
	if store.Exceeds(total.after, u, t.limit) {
		return coffer.Errorf(applyOp, coffer.Exhausted, "the vault would hold more than it may")
	}
	total.after = u
	return nil
}

func (s *Store) weighObject(u *store.Usage, t *step, v *verdict, holders map[unique]coffer.ObjectID) error {
	var h head
	err := s.finder.find(appendObject(nil, t.vault, headTable, t.id), func(b []byte) (err error) {
		h, err = decodeHead(b)
		return err
	})
	taken := err == nil
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return err
	}
	switch t.act {
	case put:
		sequence := t.change.Sequence
		switch {
		case t.insert:
			if taken {
				return coffer.Errorf(applyOp, coffer.Conflict, "the id is taken")
			}
		case !h.present || h.rev != t.base:
			return coffer.Errorf(applyOp, coffer.Conflict, "the present revision is not the parent")
		case sequence != h.sequence+1 && !(t.reindex && sequence == h.sequence):
			return coffer.Errorf(applyOp, coffer.Conflict, "the sequence does not follow the present one")
		}
		if v.old, err = s.oldIndex(t, &h); err != nil {
			return err
		}
		if err := s.claim(t, v.old, holders); err != nil {
			return err
		}
		if t.patch != 0 && (t.insert || sequence != h.sequence) {
			err = s.patch(u, t, &h, v)
		} else if t.patch != 0 && !t.patches(t.prior.stream, t.patch) {
			err = coffer.Errorf(applyOp, coffer.Conflict, "what keeps its sequence keeps its stream")
		} else {
			err = s.release(u, t, &h, v, true)
		}
		if err != nil {
			return err
		}
		if !h.present {
			u.Documents++
		}
		u.Bytes += t.size - h.size
		v.head = head{present: true, sequence: sequence, rev: t.change.Rev, size: t.size, chunks: h.chunks, kept: h.kept}
		if t.keep && h.present && sequence != h.sequence {
			u.Bytes += h.size
			v.head.kept.revisions++
			v.head.kept.size += h.size
			v.keeps = &due{keptName{h.sequence, uint64(t.change.Time.UnixMilli())}, h.size}
		}
		v.dead = h.size // kept or not: its place is another

	case erase:
		if !h.present {
			return coffer.Errorf(applyOp, coffer.NotExist, "nothing to erase")
		}
		if err := t.expect(&h); err != nil {
			return err
		}
		if v.old, err = s.oldIndex(t, &h); err != nil {
			return err
		}
		if err := s.claim(t, v.old, holders); err != nil {
			return err
		}
		if err := s.release(u, t, &h, v, false); err != nil {
			return err
		}
		if v.forgets, err = s.keptOf(t.vault, t.id, &h); err != nil {
			return err
		}
		v.dead = h.size + h.kept.size
		u.Documents--
		u.Bytes -= v.dead
		t.change.Sequence = h.sequence
		v.head = head{sequence: h.sequence}

	case attach, detach:
		return s.weighChunk(u, t, &h, v)
	}
	return nil
}

// oldIndex returns the index of the present revision: what the caller found, or else read anew.
func (s *Store) oldIndex(t *step, h *head) (index, error) {
	if !h.present {
		return nil, nil
	}
	if t.prior.rev != h.rev {
		p, err := s.prior(t.vault, t.id, t.keep)
		if err != nil {
			return nil, err
		}
		if p.rev != h.rev {
			return nil, coffer.Errorf(applyOp, coffer.Corrupt, "an object and its document do not agree")
		}
		t.prior = p
	}
	return t.prior.index, nil
}

// claim checks that the unique tags which the step newly takes are free, and notes what it takes and releases for the
// steps that follow.
func (s *Store) claim(t *step, old index, holders map[unique]coffer.ObjectID) (err error) {
	t.index.uniques().differ(old.uniques(), func(m term) {
		if holders != nil {
			holders[unique{t.vault, m}] = coffer.ObjectID{}
		}
	}, func(m term) {
		if err != nil {
			return
		}
		k := unique{t.vault, m}
		holder, known := holders[k]
		if !known {
			if holder, err = s.holder(k); err != nil {
				return
			}
		}
		if holder != t.id && holder != (coffer.ObjectID{}) {
			err = coffer.Errorf(applyOp, coffer.Conflict, "another document holds a unique tag")
		}
		if holders != nil {
			holders[k] = t.id
		}
	})
	return err
}

// holder returns which object holds a unique tag; the zero one if none does.
func (s *Store) holder(k unique) (id coffer.ObjectID, err error) {
	err = s.finder.find(appendTerm(nil, k.vault, k.term), func(b []byte) (err error) {
		id, err = decodeHolder(b)
		return err
	})
	if errors.Is(err, coffer.NotExist) {
		err = nil
	}
	return id, err
}

// release finds the chunks that the object does not keep, and counts them off.
func (s *Store) release(u *store.Usage, t *step, h *head, v *verdict, keep bool) error {
	if h.chunks == 0 {
		return nil
	}
	prefix := appendObject(nil, t.vault, chunkTable, t.id)
	it, err := s.db.NewIter(&engine.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return failure(applyOp, err)
	}
	defer it.Close()
	for more := it.First(); more; {
		c, err := decodeChunkAt(it.Key(), it.Value())
		if err != nil {
			return err
		}
		if keep && c.Ref.Sequence == t.keeps {
			more = it.SeekGE(appendChunk(nil, t.vault, t.id, t.keeps+1, 0))
			continue
		}
		v.drop(u, h, &c)
		more = it.Next()
	}
	if err := it.Error(); err != nil {
		return failure(applyOp, err)
	}
	return nil
}

// drop notes that a chunk is to be forgotten, and counts it off.
func (v *verdict) drop(u *store.Usage, h *head, c *store.Chunk) {
	v.released = append(v.released, chunkName{c.Ref.Sequence, c.Ref.Index})
	v.result.Released = append(v.result.Released, c.Blob)
	u.Bytes -= c.Ref.Size
	h.chunks--
}

// patches reports whether s is the set that the step's document names, patched with the given one.
func (t *step) patches(s *coffer.Stream, patch uint64) bool {
	return s != nil && *s == coffer.Stream{Sequence: t.keeps, Chunks: t.chunks, Patch: patch}
}

// expect checks that the revision is present which the step names, if it names one.
func (t *step) expect(h *head) error {
	switch {
	case t.base == coffer.Rev{} || h.present && h.rev == t.base:
		return nil
	case !h.present:
		return coffer.Errorf(applyOp, coffer.NotExist, "no such object")
	}
	return coffer.Errorf(applyOp, coffer.Conflict, "the present revision is another")
}

// patch finds the chunks that take the places of others and those that the object does not keep, and counts them. It
// looks at no others: the object has none but those of the two sets, since its present revision released the rest, so
// the set is whole afterwards just when there are as many as it should have.
func (s *Store) patch(u *store.Usage, t *step, h *head, v *verdict) error {
	if p := t.prior.stream; t.insert || p == nil || p.Pending || p.Sequence != t.keeps || t.patch != h.sequence {
		return coffer.Errorf(applyOp, coffer.Conflict, "the present revision has no such stream to patch")
	}
	key := func(set, index uint64) []byte { return appendChunk(nil, t.vault, t.id, set, index) }
	it, err := s.db.NewIter(&engine.IterOptions{LowerBound: key(t.keeps, 0), UpperBound: key(t.patch+1, 0)})
	if err != nil {
		return failure(applyOp, err)
	}
	defer it.Close()
	for more := it.SeekGE(key(t.patch, 0)); more; more = it.Next() {
		c, err := decodeChunkAt(it.Key(), it.Value())
		switch {
		case err != nil:
			return err
		case c.Ref.Index >= t.chunks:
			v.drop(u, h, &c)
		default:
			v.released = append(v.released, chunkName{c.Ref.Sequence, c.Ref.Index})
			c.Ref.Sequence = t.keeps
			v.moved = append(v.moved, c)
		}
	}
	if err := it.Error(); err != nil { // the next seek forgets it
		return failure(applyOp, err)
	}
	for i := range v.moved {
		place := key(t.keeps, v.moved[i].Ref.Index)
		if !it.SeekGE(place) { // not even the patch itself is found
			return failure(applyOp, it.Error())
		}
		if !bytes.Equal(it.Key(), place) {
			continue
		}
		c, err := decodeChunkAt(it.Key(), it.Value())
		if err != nil {
			return err
		}
		v.result.Released = append(v.result.Released, c.Blob)
		u.Bytes -= c.Ref.Size
		h.chunks--
	}
	end := key(t.keeps+1, 0)
	for more := it.SeekGE(key(t.keeps, t.chunks)); more && bytes.Compare(it.Key(), end) < 0; more = it.Next() {
		c, err := decodeChunkAt(it.Key(), it.Value())
		if err != nil {
			return err
		}
		v.drop(u, h, &c)
	}
	if err := it.Error(); err != nil {
		return failure(applyOp, err)
	}
	if h.chunks != t.chunks {
		return coffer.Errorf(applyOp, coffer.Conflict, "the patched set would not be whole")
	}
	return nil
}

func (s *Store) weighChunk(u *store.Usage, t *step, h *head, v *verdict) error {
	ref := t.chunk.Ref
	v.head = *h
	switch {
	case t.act == attach && !h.present:
		return coffer.Errorf(applyOp, coffer.NotExist, "nothing to attach to")
	case t.act == attach && h.sequence != ref.Sequence:
		return coffer.Errorf(applyOp, coffer.Conflict, "the document is not the one that the chunk is of")
	}
	if err := t.expect(h); err != nil {
		return err
	}
	var old store.Chunk
	err := s.read(appendChunk(nil, t.vault, t.id, ref.Sequence, ref.Index), func(b []byte) (err error) {
		old, err = decodeChunk(b, t.id, ref.Sequence, ref.Index)
		return err
	})
	there := err == nil
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return err
	}
	if t.act == attach {
		u.Bytes += ref.Size
	}
	if !there {
		if t.act == detach {
			return coffer.Errorf(applyOp, coffer.NotExist, "nothing to detach")
		}
		v.head.chunks++
		return nil
	}
	u.Bytes -= old.Ref.Size
	if t.act == detach {
		v.head.chunks--
		v.released = []chunkName{{ref.Sequence, ref.Index}}
	}
	if t.act == detach || old.Blob != t.chunk.Blob {
		v.result.Released = []string{old.Blob}
	}
	return nil
}

// enact adds a step to the batch and notes what it touches.
func (g *group) enact(t *step, v *verdict) {
	if t.act == purge {
		lower, upper := bounds(t.vault)
		_ = g.batch.DeleteRange(lower, upper, nil)
		g.purged[t.vault] = struct{}{}
		g.record(t.vault, &v.result.Change)
		return
	}
	if t.act == govern {
		return
	}
	g.objects[object{t.vault, t.id}] = struct{}{}
	t.index.differ(v.old, func(m term) {
		g.drop(g.posting(t, m))
	}, func(m term) {
		var value []byte
		if m[0] == uniqueTable {
			value = t.id[:]
		}
		_ = g.batch.Set(g.posting(t, m), value, nil)
	})
	for _, n := range v.forgets {
		g.drop(appendKept(g.key[:0], t.vault, t.id, n.sequence, n.time))
		g.drop(appendDue(g.key[:0], t.vault, t.id, n.sequence, n.time))
	}
	if n := v.keeps; n != nil {
		_ = g.batch.Set(appendKept(g.key[:0], t.vault, t.id, n.sequence, n.time), t.prior.record, nil)
		g.set(appendDue(g.key[:0], t.vault, t.id, n.sequence, n.time), encodeDue(g.value[:0], n.size))
	}
	for _, n := range v.released {
		g.drop(appendChunk(g.key[:0], t.vault, t.id, n.set, n.index))
	}
	for i := range v.moved {
		c := &v.moved[i]
		g.set(appendChunk(g.key[:0], t.vault, t.id, c.Ref.Sequence, c.Ref.Index), encodeChunk(g.value[:0], c))
	}
	switch t.act {
	case forget:
		if t.dropped == 0 {
			return // there may be no head
		}
	case put:
		_ = g.batch.Set(appendObject(g.key[:0], t.vault, docTable, t.id), t.record, nil)
		g.record(t.vault, &v.result.Change)
	case erase:
		g.drop(appendObject(g.key[:0], t.vault, docTable, t.id))
		g.record(t.vault, &v.result.Change)
	case attach:
		ref := t.chunk.Ref
		g.set(appendChunk(g.key[:0], t.vault, t.id, ref.Sequence, ref.Index), encodeChunk(g.value[:0], &t.chunk))
	}
	g.set(appendObject(g.key[:0], t.vault, headTable, t.id), v.head.append(g.value[:0]))
}

// posting returns the key of a term of the step's object, and notes a unique one as touched.
func (g *group) posting(t *step, m term) []byte {
	g.key = appendTerm(g.key[:0], t.vault, m)
	if m[0] == uniqueTable {
		g.uniques[unique{t.vault, m}] = struct{}{}
	} else {
		g.key = append(g.key, t.id[:]...)
	}
	return g.key
}

// record adds an entry to the feed.
func (g *group) record(v coffer.VaultID, c *coffer.Change) {
	g.set(appendChange(g.key[:0], v, c.Number), encodeChange(g.value[:0], c))
}
