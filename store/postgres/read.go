package postgres

import (
	"context"
	"iter"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

const (
	// The present revision of an object is the one with the greatest sequence.
	getSQL = `SELECT sequence, rev, size, parents, stream_pending, stream_set, stream_chunks, stream_patch, tags, body
FROM revisions WHERE vault = $1 AND id = $2 ORDER BY sequence DESC LIMIT 1`

	revisionSQL = `SELECT sequence, rev, size, parents, stream_pending, stream_set, stream_chunks, stream_patch, tags, body
FROM revisions WHERE vault = $1 AND id = $2 AND sequence = $3`

	placeSQL = `SELECT id, series, place, size, sum, blob
FROM chunks WHERE vault = $1 AND id = $2 AND series = $3 AND place = $4`

	usageSQL = `SELECT documents, bytes, changes, law FROM vaults WHERE vault = $1`

	// The first page of a feed, with the number of its last change: one row at least, if the vault has any change.
	firstChangesSQL = `SELECT v.changes, f.number, f.kind, f.id, f.sequence, f.rev, f.author, f.at
FROM vaults v LEFT JOIN LATERAL (
	SELECT * FROM feed WHERE feed.vault = v.vault AND feed.number > $2 ORDER BY feed.number LIMIT $3
) f ON true WHERE v.vault = $1 ORDER BY f.number`
)

func (r *revisionRow) scan() []any {
	return []any{&r.sequence, &r.rev, &r.size, &r.parents, &r.pending, &r.series, &r.chunks, &r.patch, &r.tags, &r.body}
}

// Get returns the present revision of an object; see [store.Store].
func (s *Store) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	const op = "postgres.Get"
	if err := s.enter(ctx, op); err != nil {
		return nil, err
	}
	defer s.exit()
	var r revisionRow
	if err := s.row(ctx, op, getSQL, []any{uuid(v), uuid(id)}, r.scan()...); err != nil {
		return nil, err
	}
	d, _, err := r.document(id)
	if err != nil {
		return nil, err
	}
	if p, err := r.prior(); err == nil {
		s.priors.set(object{v, id}, p)
	}
	return d, nil
}

// Revision returns a revision of an object by its sequence; see [store.Store].
func (s *Store) Revision(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, sequence uint64,
) (*coffer.Document, error) {
	const op = "postgres.Revision"
	if err := s.enter(ctx, op); err != nil {
		return nil, err
	}
	defer s.exit()
	if sequence > math.MaxInt64 {
		return nil, coffer.E(op, coffer.NotExist, nil)
	}
	var r revisionRow
	if err := s.row(ctx, op, revisionSQL, []any{uuid(v), uuid(id), int64(sequence)}, r.scan()...); err != nil {
		return nil, err
	}
	d, _, err := r.document(id)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Chunk returns where a chunk is; see [store.Store].
func (s *Store) Chunk(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64,
) (store.Chunk, error) {
	const op = "postgres.Chunk"
	if err := s.enter(ctx, op); err != nil {
		return store.Chunk{}, err
	}
	defer s.exit()
	if set > math.MaxInt64 {
		return store.Chunk{}, coffer.E(op, coffer.NotExist, nil)
	}
	var r chunkRow
	err := s.row(ctx, op, placeSQL, []any{uuid(v), uuid(id), int64(set), place(index)},
		&r.id, &r.series, &r.place, &r.size, &r.sum, &r.blob)
	if err != nil {
		return store.Chunk{}, err
	}
	return r.chunk()
}

// Usage returns what a vault holds; see [store.Store].
func (s *Store) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	const op = "postgres.Usage"
	if err := s.enter(ctx, op); err != nil {
		return store.Usage{}, err
	}
	defer s.exit()
	return s.usage(ctx, op, v)
}

func (s *Store) usage(ctx context.Context, op string, v coffer.VaultID) (u store.Usage, err error) {
	var changes, law int64
	err = s.row(ctx, op, usageSQL, []any{uuid(v)}, &u.Documents, &u.Bytes, &changes, &law)
	if coffer.KindOf(err) == coffer.NotExist {
		return store.Usage{}, nil
	}
	u.Changes, u.Law = uint64(changes), uint64(law)
	return u, err
}

// changesPage is how many changes are read at once. Each is at most store.MaxBy and a few more bytes.
const changesPage = 512

// Changes yields a vault's changes up to the last one when it was called; see [store.Store]. It reads them in pages and
// holds no connection while the consumer has one. Since changes never change, that is one state all the same; but for a
// purge, which removes them: when it comes between two pages, it is what is yielded next.
func (s *Store) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	const op = "postgres.Changes"
	return func(yield func(coffer.Change, error) bool) {
		if err := s.enter(ctx, op); err != nil {
			yield(coffer.Change{}, err)
			return
		}
		defer s.exit()
		var end uint64 // the last one to yield, once known
		for first, at := true, after; first || at < end; first = false {
			if at >= math.MaxInt64 {
				return
			}
			page, last, err := s.changes(ctx, op, v, at)
			if err != nil {
				yield(coffer.Change{}, err)
				return
			}
			if first {
				end = last
			}
			if len(page) == 0 {
				if at < min(end, last) {
					yield(coffer.Change{}, errGap(op))
				}
				return
			}
			for i := range page {
				c := &page[i]
				purged := c.Number != at+1
				if purged && c.Kind != coffer.VaultErased { // only a purge leaves a gap, before its own change
					yield(coffer.Change{}, errGap(op))
					return
				}
				if purged {
					end = max(end, c.Number)
				}
				if c.Number > end {
					return
				}
				if !yield(*c, nil) {
					return
				}
				at = c.Number
			}
		}
	}
}

func errGap(op string) error { return coffer.Errorf(op, coffer.Corrupt, "a change is missing") }

// changes returns some changes, and the number of the last one that there is.
func (s *Store) changes(
	ctx context.Context, op string, v coffer.VaultID, after uint64,
) (page []coffer.Change, last uint64, err error) {
	err = s.read(ctx, op, func(ctx context.Context, c *pgxpool.Conn) error {
		page, last = nil, 0
		rows, err := c.Query(ctx, firstChangesSQL, uuid(v), int64(after), changesPage)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r changeRow
			if err := rows.Scan(append([]any{&last}, r.scan()...)...); err != nil {
				return err
			}
			if !r.number.Valid {
				continue
			}
			c, err := r.change()
			if err != nil {
				return err
			}
			page = append(page, c)
		}
		return rows.Err()
	})
	return page, last, err
}

// A changeRow is the columns of the feed, as they are scanned; all NULL where there is none.
type changeRow struct {
	number, kind, sequence pgtype.Int8
	id                     pgtype.UUID
	rev, author            []byte
	at                     *time.Time
}

func (r *changeRow) scan() []any {
	return []any{&r.number, &r.kind, &r.id, &r.sequence, &r.rev, &r.author, &r.at}
}

func (r *changeRow) change() (coffer.Change, error) {
	c := coffer.Change{
		Number: uint64(r.number.Int64), Kind: coffer.ChangeKind(r.kind.Int64), ID: r.id.Bytes,
		Sequence: uint64(r.sequence.Int64), By: string(r.author),
	}
	if r.at == nil || r.kind.Int64 < int64(coffer.Accepted) || r.kind.Int64 > int64(coffer.VaultErased) {
		return c, errRecord()
	}
	c.Time = store.Instant(*r.at)
	if c.Kind == coffer.Accepted {
		rev, err := decodeRev(r.rev)
		c.Rev = rev
		return c, err
	}
	return c, nil
}
