package postgres

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// What the long way reads, once it has locked the vaults: all in one round trip.
const (
	headsSQL = `SELECT d.vault, d.id, d.present, d.sequence, d.rev, d.size, d.chunks
FROM unnest($1::uuid[], $2::uuid[]) AS n (vault, id) JOIN documents d ON d.vault = n.vault AND d.id = n.id`

	priorsSQL = `SELECT n.vault, n.id, r.rev, r.sequence, r.size, r.stream_pending, r.stream_set, r.stream_chunks,
		r.stream_patch,
	r.tags
FROM unnest($1::uuid[], $2::uuid[]) AS n (vault, id) CROSS JOIN LATERAL (
	SELECT * FROM revisions WHERE revisions.vault = n.vault AND revisions.id = n.id ORDER BY revisions.sequence DESC
		LIMIT 1
) r`

	sizesSQL = `SELECT n.vault, n.id, count(*), sum(r.size)::int8
FROM unnest($1::uuid[], $2::uuid[]) AS n (vault, id) JOIN revisions r ON r.vault = n.vault AND r.id = n.id
GROUP BY n.vault, n.id`

	holdersSQL = `SELECT t.vault, t.tag, t.id
FROM unnest($1::uuid[], $2::uuid[]) AS n (vault, tag) JOIN tags t ON t.vault = n.vault AND t.tag = n.tag
	AND t.exclusive`

	// The chunks of objects in sets from one up to another.
	setsSQL = `SELECT c.vault, c.id, c.series, c.place, c.size, c.sum, c.blob
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int8[]) AS n (vault, id, least, greatest)
JOIN chunks c ON c.vault = n.vault AND c.id = n.id AND c.series >= n.least AND c.series <= n.greatest`

	// The chunks of one set that those of another take the places of.
	patchedSQL = `SELECT c.vault, c.id, c.series, c.place, c.size, c.sum, c.blob
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int8[], $5::bytea[]) AS n (vault, id, keeps, patch, chunks)
JOIN chunks p ON p.vault = n.vault AND p.id = n.id AND p.series = n.patch AND p.place < n.chunks
JOIN chunks c ON c.vault = n.vault AND c.id = n.id AND c.series = n.keeps AND c.place = p.place`

	// The chunks of a set from a place on.
	beyondSQL = `SELECT c.vault, c.id, c.series, c.place, c.size, c.sum, c.blob
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::bytea[]) AS n (vault, id, keeps, chunks)
JOIN chunks c ON c.vault = n.vault AND c.id = n.id AND c.series = n.keeps AND c.place >= n.chunks`

	placesSQL = `SELECT c.vault, c.id, c.series, c.place, c.size, c.sum, c.blob
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::bytea[]) AS n (vault, id, series, place)
JOIN chunks c ON c.vault = n.vault AND c.id = n.id AND c.series = n.series AND c.place = n.place`
)

// A state is what the database holds of what a group touches, with the vaults locked.
type state struct {
	tallies map[coffer.VaultID]*tally
	heads   map[object]head
	priors  map[object]*prior
	sizes   map[object]sizes
	holders map[unique]coffer.ObjectID // what the group has released is held by the zero id
	sets    map[object][]store.Chunk   // of those sets that the write may release or move
	patched map[object][]store.Chunk   // that are taken the places of
	beyond  map[object][]store.Chunk   // behind the end of the patched set
	places  map[object]store.Chunk     // where a chunk is to be attached or detached
}

// A tally is the usage of a vault before and after a group.
type tally struct{ before, after store.Usage }

// A head is what is known of an object without its document.
type head struct {
	present  bool
	sequence uint64
	rev      coffer.Rev
	size     int64
	chunks   int64
}

// sizes are those of all revisions of an object.
type sizes struct{ count, bytes int64 }

// longWay locks the group's vaults, reads what matters, and writes what those calls change that keep the rules.
func (s *Store) longWay(ctx context.Context, c *pgxpool.Conn, g *group) error {
	st := newState()
	if err := st.load(ctx, c, g); err != nil {
		return err
	}
	e := newEffects()
	for _, call := range g.calls {
		st.judge(e, call)
		for i := range call.steps {
			// What was refused was most likely for what is remembered.
			if t := &call.steps[i]; call.err != nil && (t.act == put || t.act == erase) {
				s.priors.drop(t.object())
			}
		}
	}
	if g.wrote = e.vaults(); len(g.wrote) == 0 {
		_, err := c.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
		return err
	}
	b := &pgx.Batch{}
	e.queue(b)
	return send(ctx, c, b)
}

func newState() *state {
	return &state{
		tallies: make(map[coffer.VaultID]*tally),
		heads:   make(map[object]head),
		priors:  make(map[object]*prior),
		sizes:   make(map[object]sizes),
		holders: make(map[unique]coffer.ObjectID),
		sets:    make(map[object][]store.Chunk),
		patched: make(map[object][]store.Chunk),
		beyond:  make(map[object][]store.Chunk),
		places:  make(map[object]store.Chunk),
	}
}

// A list is the rows that a statement of the long way is asked for: those of objects, with up to two numbers.
type list struct {
	vault, id     uuids
	first, second int8s
	place         byteas
}

func (l *list) add(t *step) {
	l.vault, l.id = append(l.vault, uuid(t.vault)), append(l.id, uuid(t.id))
}

// load begins the transaction, locks the vaults and reads.
func (st *state) load(ctx context.Context, c *pgxpool.Conn, g *group) error {
	b := &pgx.Batch{}
	b.Queue(beginSQL)
	if g.purges() { // it may take long
		b.Queue("SET LOCAL statement_timeout = 0")
	}
	var vaults []coffer.VaultID
	var objects, replaced, erased, tags, sets, patched, beyond, places list
	for v := range g.vaults {
		vaults = append(vaults, v)
	}
	for _, call := range g.calls {
		for i := range call.steps {
			t := &call.steps[i]
			if t.act == govern || t.act == purge {
				continue
			}
			objects.add(t)
			switch t.act {
			case put:
				for _, p := range t.index {
					if p.exclusive {
						tags.vault, tags.id = append(tags.vault, uuid(t.vault)), append(tags.id, uuid(p.tag))
					}
				}
				if t.insert {
					continue
				}
				replaced.add(t)
				from := func(least, greatest uint64) {
					sets.add(t)
					sets.first, sets.second = append(sets.first, int64(least)), append(sets.second, int64(greatest))
				}
				if t.keeps > 0 {
					from(0, t.keeps-1)
				}
				from(t.keeps+1, math.MaxInt64)
				if t.patch != 0 {
					patched.add(t)
					patched.first, patched.second = append(patched.first, int64(t.keeps)), append(patched.second, int64(t.patch))
					patched.place = append(patched.place, place(t.chunks))
					beyond.add(t)
					beyond.first, beyond.place = append(beyond.first, int64(t.keeps)), append(beyond.place, place(t.chunks))
				}
			case erase:
				replaced.add(t)
				erased.add(t)
				sets.add(t)
				sets.first, sets.second = append(sets.first, 0), append(sets.second, math.MaxInt64)
			case attach, detach:
				if t.chunk.Ref.Sequence > math.MaxInt64 { // there is none, and judge asks for none
					continue
				}
				places.add(t)
				places.first = append(places.first, int64(t.chunk.Ref.Sequence))
				places.place = append(places.place, place(t.chunk.Ref.Index))
			}
		}
	}
	st.loadVaults(b, vaults)
	if l := &objects; len(l.id) > 0 {
		st.loadHeads(b, l)
	}
	if l := &replaced; len(l.id) > 0 {
		st.loadPriors(b, l)
	}
	if l := &erased; len(l.id) > 0 {
		st.loadSizes(b, l)
	}
	if l := &tags; len(l.id) > 0 {
		st.loadHolders(b, l)
	}
	if l := &sets; len(l.id) > 0 {
		loadChunks(b.Queue(setsSQL, l.vault, l.id, l.first, l.second), st.sets)
	}
	if l := &patched; len(l.id) > 0 {
		loadChunks(b.Queue(patchedSQL, l.vault, l.id, l.first, l.second, l.place), st.patched)
	}
	if l := &beyond; len(l.id) > 0 {
		loadChunks(b.Queue(beyondSQL, l.vault, l.id, l.first, l.place), st.beyond)
	}
	if l := &places; len(l.id) > 0 {
		b.Queue(placesSQL, l.vault, l.id, l.first, l.place).Query(func(rows pgx.Rows) error {
			return eachChunk(rows, func(o object, c store.Chunk) { st.places[o] = c })
		})
	}
	return c.SendBatch(ctx, b).Close()
}

func (st *state) loadVaults(b *pgx.Batch, vaults []coffer.VaultID) {
	ids := make(uuids, len(vaults))
	for i, v := range vaults {
		ids[i] = uuid(v)
	}
	b.Queue(enterSQL, ids).Query(func(rows pgx.Rows) error {
		var v pgtype.UUID
		var documents, bytes, changes, law int64
		_, err := pgx.ForEachRow(rows, []any{&v, &documents, &bytes, &changes, &law}, func() error {
			u := store.Usage{Documents: documents, Bytes: bytes, Changes: uint64(changes), Law: uint64(law)}
			st.tallies[v.Bytes] = &tally{u, u}
			return nil
		})
		return err
	})
}

func (st *state) loadHeads(b *pgx.Batch, l *list) {
	b.Queue(headsSQL, l.vault, l.id).Query(func(rows pgx.Rows) error {
		var v, id pgtype.UUID
		var h head
		var sequence int64
		var rev []byte
		_, err := pgx.ForEachRow(rows, []any{&v, &id, &h.present, &sequence, &rev, &h.size, &h.chunks}, func() (err error) {
			h.sequence, h.rev = uint64(sequence), coffer.Rev{}
			if h.present {
				if h.rev, err = decodeRev(rev); err != nil {
					return err
				}
			}
			st.heads[object{v.Bytes, id.Bytes}] = h
			return nil
		})
		return err
	})
}

func (st *state) loadPriors(b *pgx.Batch, l *list) {
	b.Queue(priorsSQL, l.vault, l.id).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		for rows.Next() {
			var v, id pgtype.UUID
			var r revisionRow
			err := rows.Scan(&v, &id, &r.rev, &r.sequence, &r.size, &r.pending, &r.series, &r.chunks, &r.patch, &r.tags)
			if err != nil {
				return err
			}
			p, err := r.prior()
			if err != nil {
				return err
			}
			st.priors[object{v.Bytes, id.Bytes}] = p
		}
		return rows.Err()
	})
}

func (st *state) loadSizes(b *pgx.Batch, l *list) {
	b.Queue(sizesSQL, l.vault, l.id).Query(func(rows pgx.Rows) error {
		var v, id pgtype.UUID
		var z sizes
		_, err := pgx.ForEachRow(rows, []any{&v, &id, &z.count, &z.bytes}, func() error {
			st.sizes[object{v.Bytes, id.Bytes}] = z
			return nil
		})
		return err
	})
}

func (st *state) loadHolders(b *pgx.Batch, l *list) {
	b.Queue(holdersSQL, l.vault, l.id).Query(func(rows pgx.Rows) error {
		var v, tag, id pgtype.UUID
		_, err := pgx.ForEachRow(rows, []any{&v, &tag, &id}, func() error {
			st.holders[unique{v.Bytes, tag.Bytes}] = id.Bytes
			return nil
		})
		return err
	})
}

func loadChunks(q *pgx.QueuedQuery, into map[object][]store.Chunk) {
	q.Query(func(rows pgx.Rows) error {
		return eachChunk(rows, func(o object, c store.Chunk) { into[o] = append(into[o], c) })
	})
}

func eachChunk(rows pgx.Rows, f func(object, store.Chunk)) error {
	var v pgtype.UUID
	var r chunkRow
	_, err := pgx.ForEachRow(rows, []any{&v, &r.id, &r.series, &r.place, &r.size, &r.sum, &r.blob}, func() error {
		c, err := r.chunk()
		if err == nil {
			f(object{v.Bytes, c.ID}, c)
		}
		return err
	})
	return err
}

// judge checks a call against the state and, if it keeps the rules, adds it to the effects. The call breaks them as a
// whole or not at all.
func (st *state) judge(e *effects, c *call) {
	c.results, c.err = nil, st.lawful(c)
	if c.err != nil {
		return
	}
	before := make(map[coffer.VaultID]store.Usage, len(c.vaults))
	for _, v := range c.vaults {
		before[v] = st.tallies[v].after
	}
	results := make([]store.Result, len(c.steps))
	verdicts := make([]verdict, len(c.steps))
	holders := make(map[unique]coffer.ObjectID) // of the tags that steps before have taken, or released: the zero id
	for i := range c.steps {
		t, v := &c.steps[i], &verdicts[i]
		v.result = &results[i]
		if c.err = st.weigh(t, v, holders); c.err != nil {
			for vault, u := range before {
				st.tallies[vault].after = u
			}
			return
		}
	}
	for k, id := range holders {
		st.holders[k] = id
	}
	for _, v := range c.vaults {
		a, h := &e.charge(v).add, st.tallies[v]
		a.Documents, a.Bytes = h.after.Documents-h.before.Documents, h.after.Bytes-h.before.Bytes
		a.Changes, a.Law = h.after.Changes-h.before.Changes, h.after.Law-h.before.Law
	}
	for i := range c.steps {
		e.enact(&c.steps[i], &verdicts[i])
	}
	c.results = results
}

// lawful checks that the laws which the call rests on are what they were.
func (st *state) lawful(c *call) error {
	for i := range c.steps {
		if t := &c.steps[i]; t.law != nil && st.tallies[t.vault].after.Law != *t.law {
			return coffer.E(applyOp, coffer.Conflict, store.ErrMoved)
		}
	}
	return nil
}

// weigh finds the verdict on one step and counts it, or returns the rule that it breaks.
func (st *state) weigh(t *step, v *verdict, holders map[unique]coffer.ObjectID) error {
	total := st.tallies[t.vault]
	u := total.after
	switch t.act {
	case govern:
		total.after.Law++
		return nil
	case purge:
		u = store.Usage{Changes: u.Changes, Law: u.Law + 1}
		v.result.Purged = true
	default:
		if err := st.weighObject(&u, t, v, holders); err != nil {
			return err
		}
	}
	if t.inFeed() {
		u.Changes++
		v.nth = int64(u.Changes - total.before.Changes)
		v.result.Change = t.change
	}
	if store.Exceeds(total.after, u, t.limit) {
		return coffer.Errorf(applyOp, coffer.Exhausted, "the vault would hold more than it may")
	}
	total.after = u
	return nil
}

func (st *state) weighObject(u *store.Usage, t *step, v *verdict, holders map[unique]coffer.ObjectID) error {
	h, taken := st.heads[t.object()]
	v.had, v.chunks = h.chunks, h.chunks
	switch t.act {
	case put:
		sequence := t.change.Sequence
		switch {
		case t.insert:
			if taken {
				return coffer.Errorf(applyOp, coffer.Conflict, "the id is taken")
			}
		case !h.present || len(t.document.Parents) != 1 || h.rev != t.base:
			return coffer.Errorf(applyOp, coffer.Conflict, "the present revision is not the parent")
		case sequence != h.sequence+1 && !(t.reindex && sequence == h.sequence):
			return coffer.Errorf(applyOp, coffer.Conflict, "the sequence does not follow the present one")
		}
		if err := st.old(t, &h, v); err != nil {
			return err
		}
		if err := st.claim(t, v.old, holders); err != nil {
			return err
		}
		if err := st.rechunk(u, t, &h, v); err != nil {
			return err
		}
		u.Bytes += t.size
		if !h.present {
			u.Documents++
		} else if !t.keeping(v.prior) {
			u.Bytes -= h.size
		}

	case erase:
		if !h.present {
			return coffer.Errorf(applyOp, coffer.NotExist, "nothing to erase")
		}
		if err := t.expect(&h); err != nil {
			return err
		}
		if err := st.old(t, &h, v); err != nil {
			return err
		}
		if err := st.claim(t, v.old, holders); err != nil {
			return err
		}
		st.release(u, t, v, false)
		z := st.sizes[t.object()]
		v.revisions = z.count
		u.Documents--
		u.Bytes -= z.bytes
		t.change.Sequence = h.sequence

	case attach, detach:
		return st.weighChunk(u, t, &h, v)
	}
	return nil
}

// old finds what the step replaces or erases.
func (st *state) old(t *step, h *head, v *verdict) (err error) {
	if !h.present {
		return nil
	}
	v.prior = st.priors[t.object()]
	if v.prior == nil || v.prior.rev != h.rev || v.prior.sequence != h.sequence || v.prior.size != h.size {
		return coffer.Errorf(applyOp, coffer.Corrupt, "an object and its document do not agree")
	}
	v.old, err = v.prior.index()
	return err
}

// claim checks that the unique tags which the step newly takes are free, and notes what it takes and releases for the
// steps that follow.
func (st *state) claim(t *step, old index, holders map[unique]coffer.ObjectID) (err error) {
	t.index.differ(old, func(p posting) {
		if p.exclusive {
			holders[unique{t.vault, p.tag}] = coffer.ObjectID{}
		}
	}, func(p posting) {
		if !p.exclusive {
			return
		}
		k := unique{t.vault, p.tag}
		holder, known := holders[k]
		if !known {
			holder = st.holders[k]
		}
		if holder != t.id && holder != (coffer.ObjectID{}) {
			err = coffer.Errorf(applyOp, coffer.Conflict, "another document holds a unique tag")
		}
		holders[k] = t.id
	})
	return err
}

// rechunk decides on the chunks of an object that gets a new revision.
func (st *state) rechunk(u *store.Usage, t *step, h *head, v *verdict) error {
	switch {
	case t.patch != 0 && (t.insert || t.change.Sequence != h.sequence):
		return st.patch(u, t, h, v)
	case t.patch != 0 && !t.patches(v.prior.stream):
		return coffer.Errorf(applyOp, coffer.Conflict, "what keeps its sequence keeps its stream")
	}
	st.release(u, t, v, true)
	return nil
}

// release finds the chunks that the object does not keep, and counts them off.
func (st *state) release(u *store.Usage, t *step, v *verdict, keep bool) {
	for i := range st.sets[t.object()] {
		if c := &st.sets[t.object()][i]; !keep || c.Ref.Sequence != t.keeps {
			v.drop(u, c)
		}
	}
}

// drop notes that a chunk is to be forgotten, and counts it off.
func (v *verdict) drop(u *store.Usage, c *store.Chunk) {
	v.released = append(v.released, chunkName{c.Ref.Sequence, c.Ref.Index})
	v.result.Released = append(v.result.Released, c.Blob)
	u.Bytes -= c.Ref.Size
	v.chunks--
}

// patches reports whether s is the set that the step's document names, patched with the same one.
func (t *step) patches(s *coffer.Stream) bool {
	return s != nil && *s == coffer.Stream{Sequence: t.keeps, Chunks: t.chunks, Patch: t.patch}
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

// patch finds the chunks that take the places of others and those that the object does not keep, and counts them. The
// object has none but those of the two sets, since its present revision released the rest, so the set is whole
// afterwards just when there are as many as it should have.
func (st *state) patch(u *store.Usage, t *step, h *head, v *verdict) error {
	if t.insert || v.prior == nil {
		return coffer.Errorf(applyOp, coffer.Conflict, "the present revision has no such stream to patch")
	}
	if p := v.prior.stream; p == nil || p.Pending || p.Sequence != t.keeps || t.patch != h.sequence {
		return coffer.Errorf(applyOp, coffer.Conflict, "the present revision has no such stream to patch")
	}
	o := t.object()
	for i := range st.sets[o] {
		c := st.sets[o][i]
		if c.Ref.Sequence != t.patch || c.Ref.Index >= t.chunks {
			v.drop(u, &c)
			continue
		}
		v.released = append(v.released, chunkName{c.Ref.Sequence, c.Ref.Index})
		c.Ref.Sequence = t.keeps
		v.moved = append(v.moved, c)
	}
	for i := range st.patched[o] {
		v.drop(u, &st.patched[o][i])
	}
	for i := range st.beyond[o] {
		v.drop(u, &st.beyond[o][i])
	}
	if v.chunks < 0 || uint64(v.chunks) != t.chunks {
		return coffer.Errorf(applyOp, coffer.Conflict, "the patched set would not be whole")
	}
	return nil
}

func (st *state) weighChunk(u *store.Usage, t *step, h *head, v *verdict) error {
	ref := t.chunk.Ref
	switch {
	case t.act == attach && !h.present:
		return coffer.Errorf(applyOp, coffer.NotExist, "nothing to attach to")
	case t.act == attach && h.sequence != ref.Sequence:
		return coffer.Errorf(applyOp, coffer.Conflict, "the document is not the one that the chunk is of")
	}
	if err := t.expect(h); err != nil {
		return err
	}
	old, there := st.places[t.object()]
	if t.act == detach && !there {
		return coffer.Errorf(applyOp, coffer.NotExist, "nothing to detach")
	}
	if t.act == attach {
		u.Bytes += ref.Size
		v.chunks++
		v.moved = []store.Chunk{t.chunk}
	}
	if there {
		u.Bytes -= old.Ref.Size
		v.chunks--
		v.released = []chunkName{{ref.Sequence, ref.Index}}
		if t.act == detach || old.Blob != t.chunk.Blob {
			v.result.Released = []string{old.Blob}
		}
	}
	return nil
}

// A revisionRow is the columns of a revision, as they are scanned.
type revisionRow struct {
	id             pgtype.UUID
	sequence, size int64
	rev, parents   []byte
	pending        pgtype.Bool
	series         pgtype.Int8
	chunks, patch  pgtype.Int8
	superseded     *time.Time
	tags, body     []byte
}

func (r *revisionRow) stream() *coffer.Stream {
	if !r.pending.Valid {
		return nil
	}
	return &coffer.Stream{
		Pending: r.pending.Bool, Sequence: uint64(r.series.Int64), Chunks: uint64(r.chunks.Int64),
		Patch: uint64(r.patch.Int64),
	}
}

func (r *revisionRow) prior() (*prior, error) {
	rev, err := decodeRev(r.rev)
	return &prior{rev: rev, sequence: uint64(r.sequence), size: r.size, stream: r.stream(), tags: r.tags}, err
}

// document returns the revision as a document, and its name.
func (r *revisionRow) document(id coffer.ObjectID) (*coffer.Document, coffer.Rev, error) {
	rev, err := decodeRev(r.rev)
	parents, err2 := decodeParents(r.parents)
	tags, err3 := decodeTags(r.tags)
	d := &coffer.Document{
		ID: id, Sequence: uint64(r.sequence), Parents: parents, Tags: tags, Stream: r.stream(), Body: r.body,
	}
	return d, rev, errors.Join(err, err2, err3)
}

// A chunkRow is the columns of a chunk, as they are scanned.
type chunkRow struct {
	id               pgtype.UUID
	series, size     int64
	place, sum, blob []byte
}

func (r *chunkRow) chunk() (store.Chunk, error) {
	index, err := decodePlace(r.place)
	if err != nil || len(r.sum) != 32 {
		return store.Chunk{}, errRecord()
	}
	ref := coffer.ChunkRef{Sequence: uint64(r.series), Index: index, Size: r.size, Sum: [32]byte(r.sum)}
	return store.Chunk{ID: r.id.Bytes, Ref: ref, Blob: string(r.blob)}, nil
}
