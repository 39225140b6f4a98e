package postgres

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// The statements of a commit, in their order. Each takes its rows as arrays, so that a group needs each once. They fail
// by themselves when something is not as it was taken to be, always with one of the codes of [broken]:
//
//   - a row that must not be there: by its unique index (23505);
//   - a law or a limit: by a NULL where there must be none (23502), which is also how the lack of a vault's row shows;
//   - a row that must be there, as it was taken to be: by a division by zero (22012), when there were fewer.
const (
	beginSQL  = `BEGIN ISOLATION LEVEL READ COMMITTED`
	commitSQL = `COMMIT`

	// Locks vaults that have rows. A single one is locked by being charged.
	lockSQL = `SELECT vault FROM vaults WHERE vault = ANY($1::uuid[]) ORDER BY vault FOR UPDATE`

	// Locks vaults, with new rows for those that have none.
	enterSQL = `INSERT INTO vaults (vault, documents, bytes, changes, law)
SELECT n.vault, 0, 0, 0, 0 FROM unnest($1::uuid[]) AS n (vault) ORDER BY n.vault
ON CONFLICT (vault) DO UPDATE SET law = vaults.law
RETURNING vault, documents, bytes, changes, law`

	// Adds to what vaults hold. The law becomes NULL, and so the statement fails, when it is not what it must be, or when
	// the vault holds so much already that one of the writes would exceed its limit.
	chargeSQL = `UPDATE vaults SET documents = vaults.documents + n.documents, bytes = vaults.bytes + n.bytes,
	changes = vaults.changes + n.changes,
	law = CASE WHEN vaults.law = coalesce(n.law, vaults.law) AND vaults.documents <= n.most_documents
		AND vaults.bytes <= n.most_bytes THEN vaults.law + n.governed END
FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[])
	AS n (vault, documents, bytes, changes, governed, law, most_documents, most_bytes)
WHERE vaults.vault = n.vault
RETURNING vaults.vault, vaults.changes`

	// Of an object, number counts back from the vault's last change: it is known only here.
	insertSQL = `INSERT INTO documents (vault, id, present, sequence, number, rev, size, chunks)
SELECT n.vault, n.id, true, n.sequence, (SELECT v.changes FROM vaults v
	WHERE v.vault = n.vault) - n.back, n.rev, n.size, 0
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int8[], $5::bytea[], $6::int8[])
	AS n (vault, id, sequence, back, rev, size)`

	replaceSQL = `WITH u AS (
	UPDATE documents SET sequence = n.sequence, rev = n.rev, size = n.size, chunks = n.chunks,
		number = (SELECT v.changes FROM vaults v WHERE v.vault = n.vault) - n.back
	FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::int8[], $5::int8[], $6::int8[], $7::bytea[], $8::int8[],
		$9::int8[])
		AS n (vault, id, base, had, sequence, back, rev, size, chunks)
	WHERE documents.vault = n.vault AND documents.id = n.id AND documents.present AND documents.rev = n.base
		AND documents.chunks = n.had
	RETURNING 1 AS one
) SELECT 1 / (CASE WHEN count(*) = $10::int8 THEN 1 ELSE 0 END) FROM u`

	eraseSQL = `WITH u AS (
	UPDATE documents SET present = false, rev = NULL, size = 0, chunks = 0,
		number = (SELECT v.changes FROM vaults v WHERE v.vault = n.vault) - n.back
	FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::int8[], $5::int8[]) AS n (vault, id, base, had, back)
	WHERE documents.vault = n.vault AND documents.id = n.id AND documents.present AND documents.rev = n.base
		AND documents.chunks = n.had
	RETURNING 1 AS one
) SELECT 1 / (CASE WHEN count(*) = $6::int8 THEN 1 ELSE 0 END) FROM u`

	// Counts chunks of objects that are present, at a sequence and as a revision, where those are given.
	countSQL = `WITH u AS (
	UPDATE documents SET chunks = documents.chunks + n.more
	FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::bytea[], $5::int8[]) AS n (vault, id, sequence, base, more)
	WHERE documents.vault = n.vault AND documents.id = n.id AND documents.present
		AND documents.sequence = coalesce(n.sequence, documents.sequence) AND documents.rev = coalesce(n.base, documents.rev)
	RETURNING 1 AS one
) SELECT 1 / (CASE WHEN count(*) = $6::int8 THEN 1 ELSE 0 END) FROM u`

	dropSQL = `DELETE FROM revisions USING unnest($1::uuid[], $2::uuid[], $3::int8[]) AS n (vault, id, sequence)
WHERE revisions.vault = n.vault AND revisions.id = n.id AND revisions.sequence = n.sequence`

	keepSQL = `UPDATE revisions SET superseded = n.at
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::timestamptz[]) AS n (vault, id, sequence, at)
WHERE revisions.vault = n.vault AND revisions.id = n.id AND revisions.sequence = n.sequence`

	// Drops all revisions of objects: so many in all.
	destroySQL = `WITH u AS (
	DELETE FROM revisions USING unnest($1::uuid[], $2::uuid[]) AS n (vault, id)
	WHERE revisions.vault = n.vault AND revisions.id = n.id
	RETURNING 1 AS one
) SELECT 1 / (CASE WHEN count(*) = $3::int8 THEN 1 ELSE 0 END) FROM u`

	reviseSQL = `INSERT INTO revisions (vault, id, sequence, rev, size, parents,
	stream_pending, stream_set, stream_chunks, stream_patch, tags, body)
SELECT n.vault, n.id, n.sequence, n.rev, n.size, n.parents, n.pending, n.series, n.chunks, n.patch, n.tags, n.body
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::bytea[], $5::int8[], $6::bytea[],
	$7::bool[], $8::int8[], $9::int8[], $10::int8[], $11::bytea[], $12::bytea[])
	AS n (vault, id, sequence, rev, size, parents, pending, series, chunks, patch, tags, body)`

	untagSQL = `DELETE FROM tags USING unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS n (vault, tag, id)
WHERE tags.vault = n.vault AND tags.tag = n.tag AND tags.id = n.id`

	tagSQL = `INSERT INTO tags (vault, tag, name, id, exclusive)
SELECT n.vault, n.tag, n.name, n.id, n.exclusive
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[]) AS n (vault, tag, name, id, exclusive)`

	forgetSQL = `DELETE FROM chunks USING unnest($1::uuid[], $2::uuid[], $3::int8[], $4::bytea[])
		AS n (vault, id, series, place)
WHERE chunks.vault = n.vault AND chunks.id = n.id AND chunks.series = n.series AND chunks.place = n.place`

	chunkSQL = `INSERT INTO chunks (vault, id, series, place, size, sum, blob)
SELECT n.vault, n.id, n.series, n.place, n.size, n.sum, n.blob
FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::bytea[], $5::int8[], $6::bytea[], $7::bytea[])
	AS n (vault, id, series, place, size, sum, blob)`

	recordSQL = `INSERT INTO feed (vault, number, kind, id, sequence, rev, author, at)
SELECT n.vault, (SELECT v.changes FROM vaults v WHERE v.vault = n.vault) - n.back, n.kind, n.id, n.sequence, n.rev,
	n.author, n.at
FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::uuid[], $5::int8[], $6::bytea[], $7::bytea[], $8::timestamptz[])
	AS n (vault, back, kind, id, sequence, rev, author, at)`
)

// purgeSQL empties vaults.
var purgeSQL = [...]string{
	`DELETE FROM documents WHERE vault = ANY($1::uuid[])`,
	`DELETE FROM revisions WHERE vault = ANY($1::uuid[])`,
	`DELETE FROM tags WHERE vault = ANY($1::uuid[])`,
	`DELETE FROM chunks WHERE vault = ANY($1::uuid[])`,
	`DELETE FROM feed WHERE vault = ANY($1::uuid[])`,
}

// effects are what a group does to the tables.
type effects struct {
	charges map[coffer.VaultID]*charge

	inserted struct {
		vault, id            uuids
		sequence, back, size int8s
		rev                  byteas
	}
	replaced struct {
		vault, id                         uuids
		base, rev                         byteas
		had, sequence, back, size, chunks int8s
	}
	erased struct {
		vault, id uuids
		base      byteas
		had, back int8s
	}
	counted struct {
		vault, id uuids
		sequence  maybes
		base      byteas
		more      int8s
	}
	dropped struct {
		vault, id uuids
		sequence  int8s
	}
	kept struct {
		vault, id uuids
		sequence  int8s
		at        pgtype.FlatArray[time.Time]
	}
	destroyed struct {
		vault, id uuids
		revisions int64
	}
	revised struct {
		vault, id             uuids
		sequence, size        int8s
		rev, parents          byteas
		pending               perhaps
		series, chunks, patch maybes
		tags, body            byteas
	}
	untagged struct{ vault, tag, id uuids }
	tagged   struct {
		vault, tag, name, id uuids
		exclusive            flags
	}
	forgotten struct {
		vault, id uuids
		series    int8s
		place     byteas
	}
	chunked struct {
		vault, id        uuids
		series, size     int8s
		place, sum, blob byteas
	}
	recorded struct {
		vault, id            uuids
		back, kind, sequence int8s
		rev, author          byteas
		at                   pgtype.FlatArray[time.Time]
	}
	purged uuids

	// Changes whose numbers are known once the vaults are charged.
	numbered []numbered
}

// A numbered change is the nth of its vault in the group.
type numbered struct {
	vault  coffer.VaultID
	nth    int64
	result *store.Result
}

// A charge is what a group adds to what a vault holds.
type charge struct {
	add  store.Usage // Changes and Law are how many there are more
	law  *uint64     // that it must be
	most store.Usage // that the vault may hold before
}

func newEffects() *effects { return &effects{charges: make(map[coffer.VaultID]*charge)} }

func (e *effects) charge(v coffer.VaultID) *charge {
	c := e.charges[v]
	if c == nil {
		c = &charge{most: store.Usage{Documents: math.MaxInt64, Bytes: math.MaxInt64}}
		e.charges[v] = c
	}
	return c
}

// A verdict is what a step that keeps the rules does to its object.
type verdict struct {
	prior     *prior // what was present, if anything
	had       int64  // chunks attached before
	chunks    int64  // chunks attached afterwards
	old       index
	revisions int64 // of an erased object, with those that are kept
	released  []chunkName
	moved     []store.Chunk // chunks to record
	result    *store.Result
	nth       int64 // which of the group's changes to the vault this is, from 1
}

// A chunkName is the part of a chunk's key that is not its object.
type chunkName struct{ series, index uint64 }

// enact adds what a step does. What it adds to the vault is charged already.
func (e *effects) enact(t *step, v *verdict) {
	vault, id := uuid(t.vault), uuid(t.id)
	switch t.act {
	case govern:
		return
	case purge:
		e.purged = append(e.purged, vault)
		e.record(t, v)
		return
	}
	t.index.differ(v.old, func(p posting) {
		x := &e.untagged
		x.vault, x.tag, x.id = append(x.vault, vault), append(x.tag, uuid(p.tag)), append(x.id, id)
	}, func(p posting) {
		x := &e.tagged
		x.vault, x.tag, x.name = append(x.vault, vault), append(x.tag, uuid(p.tag)), append(x.name, uuid(p.name))
		x.id, x.exclusive = append(x.id, id), append(x.exclusive, p.exclusive)
	})
	for _, n := range v.released {
		x := &e.forgotten
		x.vault, x.id = append(x.vault, vault), append(x.id, id)
		x.series, x.place = append(x.series, int64(n.series)), append(x.place, place(n.index))
	}
	for i := range v.moved {
		c := &v.moved[i]
		x := &e.chunked
		x.vault, x.id = append(x.vault, vault), append(x.id, id)
		x.series, x.place = append(x.series, int64(c.Ref.Sequence)), append(x.place, place(c.Ref.Index))
		x.size, x.sum = append(x.size, c.Ref.Size), append(x.sum, c.Ref.Sum[:])
		x.blob = append(x.blob, []byte(c.Blob))
	}
	switch t.act {
	case put:
		e.put(t, v)
		e.record(t, v)
	case erase:
		x := &e.erased
		x.vault, x.id, x.base = append(x.vault, vault), append(x.id, id), append(x.base, v.prior.rev[:])
		x.had, x.back = append(x.had, v.had), append(x.back, v.nth)
		y := &e.destroyed
		y.vault, y.id = append(y.vault, vault), append(y.id, id)
		y.revisions += v.revisions
		e.record(t, v)
	case attach, detach:
		x := &e.counted
		x.vault, x.id = append(x.vault, vault), append(x.id, id)
		x.more = append(x.more, v.chunks-v.had)
		sequence := pgtype.Int8{}
		if t.act == attach {
			sequence = pgtype.Int8{Int64: int64(t.chunk.Ref.Sequence), Valid: true}
		}
		x.sequence = append(x.sequence, sequence)
		var base []byte
		if t.base != (coffer.Rev{}) {
			base = t.base[:]
		}
		x.base = append(x.base, base)
	}
}

func (e *effects) put(t *step, v *verdict) {
	vault, id, d := uuid(t.vault), uuid(t.id), t.document
	sequence := int64(d.Sequence)
	if v.prior == nil {
		x := &e.inserted
		x.vault, x.id, x.sequence = append(x.vault, vault), append(x.id, id), append(x.sequence, sequence)
		x.back, x.rev, x.size = append(x.back, v.nth), append(x.rev, t.change.Rev[:]), append(x.size, t.size)
	} else {
		x := &e.replaced
		x.vault, x.id, x.base = append(x.vault, vault), append(x.id, id), append(x.base, v.prior.rev[:])
		x.had, x.sequence, x.back = append(x.had, v.had), append(x.sequence, sequence), append(x.back, v.nth)
		x.rev, x.size = append(x.rev, t.change.Rev[:]), append(x.size, t.size)
		x.chunks = append(x.chunks, v.chunks)
		before := int64(v.prior.sequence)
		if t.keeping(v.prior) {
			y := &e.kept
			y.vault, y.id, y.sequence = append(y.vault, vault), append(y.id, id), append(y.sequence, before)
			y.at = append(y.at, t.change.Time)
		} else {
			y := &e.dropped
			y.vault, y.id, y.sequence = append(y.vault, vault), append(y.id, id), append(y.sequence, before)
		}
	}
	x := &e.revised
	x.vault, x.id, x.sequence = append(x.vault, vault), append(x.id, id), append(x.sequence, sequence)
	x.size, x.rev = append(x.size, t.size), append(x.rev, t.change.Rev[:])
	x.parents, x.tags, x.body = append(x.parents, encodeParents(d.Parents)), append(x.tags, t.tags), append(x.body, d.Body)
	var pending pgtype.Bool
	var series, chunks, patch pgtype.Int8
	if s := d.Stream; s != nil {
		pending = pgtype.Bool{Bool: s.Pending, Valid: true}
		series = pgtype.Int8{Int64: int64(s.Sequence), Valid: true}
		chunks = pgtype.Int8{Int64: int64(s.Chunks), Valid: true}
		patch = pgtype.Int8{Int64: int64(s.Patch), Valid: true}
	}
	x.pending, x.series = append(x.pending, pending), append(x.series, series)
	x.chunks, x.patch = append(x.chunks, chunks), append(x.patch, patch)
}

// keeping reports whether a document's step keeps the revision that it replaces.
func (t *step) keeping(p *prior) bool { return t.keep && p.sequence != t.change.Sequence }

// record adds an entry to the feed.
func (e *effects) record(t *step, v *verdict) {
	x, c := &e.recorded, &t.change
	x.vault, x.id, x.back = append(x.vault, uuid(t.vault)), append(x.id, uuid(c.ID)), append(x.back, v.nth)
	x.kind, x.sequence = append(x.kind, int64(c.Kind)), append(x.sequence, int64(c.Sequence))
	var rev []byte
	if c.Kind == coffer.Accepted {
		rev = c.Rev[:]
	}
	x.rev, x.author, x.at = append(x.rev, rev), append(x.author, []byte(c.By)), append(x.at, c.Time)
	e.numbered = append(e.numbered, numbered{vault: t.vault, nth: v.nth, result: v.result})
}

// countBack turns places from the front into places from the back.
func (e *effects) countBack(vault uuids, back int8s) {
	for i := range back {
		back[i] = int64(e.charges[vault[i].Bytes].add.Changes) - back[i]
	}
}

// vaults returns the vaults that change, in the order in which they are locked.
func (e *effects) vaults() []coffer.VaultID {
	vaults := make([]coffer.VaultID, 0, len(e.charges))
	for v := range e.charges {
		vaults = append(vaults, v)
	}
	slices.SortFunc(vaults, func(a, b coffer.VaultID) int { return bytes.Compare(a[:], b[:]) })
	return vaults
}

// queue adds the statements to a batch, and fills in the results' numbers when it is carried out.
func (e *effects) queue(b *pgx.Batch) {
	e.countBack(e.inserted.vault, e.inserted.back)
	e.countBack(e.replaced.vault, e.replaced.back)
	e.countBack(e.erased.vault, e.erased.back)
	e.countBack(e.recorded.vault, e.recorded.back)
	if len(e.purged) > 0 {
		for _, sql := range purgeSQL {
			b.Queue(sql, e.purged)
		}
	}
	e.queueCharges(b)
	if x := &e.inserted; len(x.id) > 0 {
		b.Queue(insertSQL, x.vault, x.id, x.sequence, x.back, x.rev, x.size)
	}
	if x := &e.replaced; len(x.id) > 0 {
		b.Queue(replaceSQL, x.vault, x.id, x.base, x.had, x.sequence, x.back, x.rev, x.size, x.chunks, len(x.id))
	}
	if x := &e.erased; len(x.id) > 0 {
		b.Queue(eraseSQL, x.vault, x.id, x.base, x.had, x.back, len(x.id))
	}
	if x := &e.counted; len(x.id) > 0 {
		b.Queue(countSQL, x.vault, x.id, x.sequence, x.base, x.more, len(x.id))
	}
	if x := &e.dropped; len(x.id) > 0 {
		b.Queue(dropSQL, x.vault, x.id, x.sequence)
	}
	if x := &e.kept; len(x.id) > 0 {
		b.Queue(keepSQL, x.vault, x.id, x.sequence, x.at)
	}
	if x := &e.destroyed; len(x.id) > 0 {
		b.Queue(destroySQL, x.vault, x.id, x.revisions)
	}
	if x := &e.revised; len(x.id) > 0 {
		b.Queue(reviseSQL, x.vault, x.id, x.sequence, x.rev, x.size, x.parents,
			x.pending, x.series, x.chunks, x.patch, x.tags, x.body)
	}
	if x := &e.untagged; len(x.id) > 0 {
		b.Queue(untagSQL, x.vault, x.tag, x.id)
	}
	if x := &e.tagged; len(x.id) > 0 {
		b.Queue(tagSQL, x.vault, x.tag, x.name, x.id, x.exclusive)
	}
	if x := &e.forgotten; len(x.id) > 0 {
		b.Queue(forgetSQL, x.vault, x.id, x.series, x.place)
	}
	if x := &e.chunked; len(x.id) > 0 {
		b.Queue(chunkSQL, x.vault, x.id, x.series, x.place, x.size, x.sum, x.blob)
	}
	if x := &e.recorded; len(x.vault) > 0 {
		b.Queue(recordSQL, x.vault, x.back, x.kind, x.id, x.sequence, x.rev, x.author, x.at)
	}
}

func (e *effects) queueCharges(b *pgx.Batch) {
	var (
		vault                                                uuids
		documents, bytes, changes, governed, mostDocs, mostB int8s
		law                                                  maybes
	)
	for _, v := range e.vaults() {
		c := e.charges[v]
		vault = append(vault, uuid(v))
		documents, bytes = append(documents, c.add.Documents), append(bytes, c.add.Bytes)
		changes, governed = append(changes, int64(c.add.Changes)), append(governed, int64(c.add.Law))
		mostDocs, mostB = append(mostDocs, c.most.Documents), append(mostB, c.most.Bytes)
		must := pgtype.Int8{}
		if c.law != nil {
			must = pgtype.Int8{Int64: int64(*c.law), Valid: true}
		}
		law = append(law, must)
	}
	b.Queue(chargeSQL, vault, documents, bytes, changes, governed, law, mostDocs, mostB).Query(func(rows pgx.Rows) error {
		last := make(map[coffer.VaultID]uint64, len(vault))
		var v pgtype.UUID
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&v, &n}, func() error {
			last[v.Bytes] = uint64(n)
			return nil
		})
		if err != nil {
			return err
		}
		if len(last) != len(vault) {
			return errVaultLost
		}
		for i := range e.numbered {
			c := &e.numbered[i]
			c.result.Change.Number = last[c.vault] - e.charges[c.vault].add.Changes + uint64(c.nth)
		}
		return nil
	})
}

// errVaultLost says that a vault which had a row has none any more.
var errVaultLost = coffer.Errorf(applyOp, coffer.Corrupt, "a vault's row is gone from the database")
