package postgres

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
)

// Bounds on a page of a query.
const (
	maxPage      = 1024
	maxPageBytes = 4 << 20          // of documents
	hold         = 10 * time.Second // how long a query of more than a page keeps its view of the database
)

// How ids are found. Each of these takes the vault as $1 and the id after which to begin as $2, and yields at most $3
// ids, in order.
const (
	// All objects that are present.
	allIDs = `SELECT d.id FROM documents d WHERE d.vault = $1 AND d.id > $2 AND d.present ORDER BY d.id LIMIT $3::int8`

	// Those with the tag $4.
	tagIDs = `SELECT t.id FROM tags t WHERE t.vault = $1 AND t.tag = $4 AND t.id > $2 ORDER BY t.id LIMIT $3::int8`

	// Those with a tag of the name $4.
	nameIDs = `SELECT DISTINCT t.id FROM tags t WHERE t.vault = $1 AND t.name = $4 AND t.id > $2 ORDER BY t.id
		LIMIT $3::int8`

	// Those with any of the tags $4.
	anyIDs = `SELECT DISTINCT x.id FROM unnest($4::uuid[]) AS n (tag) CROSS JOIN LATERAL (
	SELECT t.id FROM tags t WHERE t.vault = $1 AND t.tag = n.tag AND t.id > $2 ORDER BY t.id LIMIT $3::int8
) x ORDER BY x.id LIMIT $3::int8`

	// Those for which there is a number of a filter in $5 such that they are in all lists ($4) of the filter: each entry
	// of $4 belongs to the filter with the number beside it in $5, and $6 says how many entries a filter has, from number
	// 1 on.
	//
	// Each step goes from an id to one that is greater: of each filter, to the greatest of the next ids in its lists, as
	// no other before that can be in all of them; and of all filters to the least of those. It then looks whether that one
	// is in all lists of a filter. So it costs what the shortest list holds, at most, and often much less.
	filterIDs = `SELECT z.id FROM (
	WITH RECURSIVE walk (id, hit, hits) AS (
		SELECT $2::uuid, false, 0::int8
		UNION ALL
		SELECT step.id, test.hit, walk.hits + (CASE WHEN test.hit THEN 1 ELSE 0 END)
		FROM walk CROSS JOIN LATERAL (
			SELECT f.id FROM (
				SELECT DISTINCT ON (e.filter) e.filter, e.id, e.found FROM (
					SELECT n.filter, x.id, count(x.id) OVER (PARTITION BY n.filter) AS found
					FROM unnest($4::uuid[], $5::int8[]) AS n (term, filter) LEFT JOIN LATERAL (
						SELECT t.id FROM tags t WHERE t.vault = $1 AND t.%[1]s = n.term AND t.id > walk.id ORDER BY t.id LIMIT 1
					) x ON true
				) e WHERE e.id IS NOT NULL ORDER BY e.filter, e.id DESC
			) f JOIN unnest($6::int8[]) WITH ORDINALITY AS c (terms, filter) ON c.filter = f.filter AND c.terms = f.found
			ORDER BY f.id LIMIT 1
		) step CROSS JOIN LATERAL (
			SELECT count(*) > 0 AS hit FROM (
				SELECT n.filter FROM unnest($4::uuid[], $5::int8[]) AS n (term, filter)
				WHERE EXISTS (SELECT 1 FROM tags t WHERE t.vault = $1 AND t.%[1]s = n.term AND t.id = step.id)
				GROUP BY n.filter
				HAVING count(*) = (SELECT c.terms FROM unnest($6::int8[]) WITH ORDINALITY AS c (terms, filter)
					WHERE c.filter = n.filter)
			) h
		) test
		WHERE walk.hits < $3::int8
	) SELECT walk.id FROM walk WHERE walk.hit
) z ORDER BY z.id LIMIT $3::int8`
)

// What is read of what is found. $%[2]d is how great a revision may be to be read at once.
const (
	documentsSQL = `SELECT f.id, r.sequence, r.rev, r.size, r.parents, r.stream_pending, r.stream_set, r.stream_chunks,
		r.stream_patch,
	CASE WHEN r.size <= $%[2]d THEN r.tags END, CASE WHEN r.size <= $%[2]d THEN r.body END
FROM (%[1]s) f LEFT JOIN LATERAL (
	SELECT * FROM revisions WHERE revisions.vault = $1 AND revisions.id = f.id ORDER BY revisions.sequence DESC LIMIT 1
) r ON true ORDER BY f.id`

	idsSQL = `SELECT f.id, d.sequence, d.present
FROM (%[1]s) f LEFT JOIN documents d ON d.vault = $1 AND d.id = f.id ORDER BY f.id`

	countIDsSQL = `SELECT count(*) FROM (%[1]s) f`
)

// A search is how ids are found: one of a few statements, and its arguments from $4 on.
type search struct {
	sql  string
	args []any
	none bool // nothing can match
}

var filterTags, filterNames = fmt.Sprintf(filterIDs, "tag"), fmt.Sprintf(filterIDs, "name")

func searchOf(q *coffer.Query) search {
	switch {
	case len(q.Equals) > 0:
		return searchEquals(q)
	case len(q.Has) > 0:
		seen := make(map[term]struct{})
		var terms uuids
		for _, name := range q.Has {
			m := termOf(q.Index, name)
			if _, ok := seen[m]; !ok {
				seen[m] = struct{}{}
				terms = append(terms, uuid(m))
			}
		}
		if len(terms) == 1 {
			return search{sql: nameIDs, args: []any{terms[0]}}
		}
		return search{sql: filterNames, args: []any{terms, make1s(len(terms)), int8s{int64(len(terms))}}}
	}
	return search{sql: allIDs}
}

func searchEquals(q *coffer.Query) search {
	var terms uuids
	var filters, counts int8s
	single := true
	seen := make(map[string]struct{}, len(q.Equals))
	for _, filter := range q.Equals {
		if len(filter) == 0 { // matches nothing
			continue
		}
		all := make([]term, 0, len(filter))
		for name, value := range filter {
			all = append(all, termOf(q.Index, name, value))
		}
		slices.SortFunc(all, func(a, b term) int { return bytes.Compare(a[:], b[:]) })
		var key []byte
		for i := range all {
			key = append(key, all[i][:]...)
		}
		if _, ok := seen[string(key)]; ok { // the same filter again
			continue
		}
		seen[string(key)] = struct{}{}
		counts = append(counts, int64(len(filter)))
		single = single && len(filter) == 1
		for _, m := range all {
			terms, filters = append(terms, uuid(m)), append(filters, int64(len(counts)))
		}
	}
	switch {
	case len(counts) == 0:
		return search{none: true}
	case len(terms) == 1:
		return search{sql: tagIDs, args: []any{terms[0]}}
	case single:
		return search{sql: anyIDs, args: []any{terms}}
	}
	return search{sql: filterTags, args: []any{terms, filters, counts}}
}

func make1s(n int) int8s {
	ones := make(int8s, n)
	for i := range ones {
		ones[i] = 1
	}
	return ones
}

// Query yields the documents that match; see [store.Store]. What fits on a page is read by one statement. What does not
// is read in pages of one view of the database, and a connection is held for that: for at most ten seconds in all, lest
// a slow consumer hold up others. From then on each page is of the state in which it is read.
func (s *Store) Query(ctx context.Context, v coffer.VaultID, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	const op = "postgres.Query"
	return func(yield func(*coffer.Document, error) bool) {
		if err := s.enter(ctx, op); err != nil {
			yield(nil, err)
			return
		}
		defer s.exit()
		if err := s.query(ctx, op, v, &q, func(d *coffer.Document) bool { return yield(d, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// A pager reads the pages of a query.
type pager struct {
	s       *Store
	op      string
	vault   coffer.VaultID
	search  search
	idsOnly bool
}

// query calls yield with each match until it returns false.
func (s *Store) query(
	ctx context.Context, op string, v coffer.VaultID, q *coffer.Query, yield func(*coffer.Document) bool,
) error {
	p := &pager{s: s, op: op, vault: v, search: searchOf(q), idsOnly: q.IDsOnly}
	if p.search.none {
		return nil
	}
	limit := q.Limit
	want := limit // rows that show that the first page is all
	if limit == 0 || limit > maxPage {
		want = maxPage + 1
	}
	var first []found
	err := s.read(ctx, op, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		first, err = p.page(ctx, c.Conn(), q.After, want)
		return err
	})
	if err != nil {
		return err
	}
	if whole(first) && (len(first) < want || want == limit) {
		for i := range first {
			if !yield(first[i].document) {
				return nil
			}
		}
		return nil
	}
	return p.rest(ctx, q.After, limit, yield)
}

// A found is a match; of one that is too large for a page, only id and sequence.
type found struct {
	document *coffer.Document
	rev      coffer.Rev
	large    bool
}

func whole(page []found) bool {
	for i := range page {
		if page[i].large {
			return false
		}
	}
	return true
}

// rest yields all matches after an id, at most limit unless it is 0, from one view of the database.
func (p *pager) rest(ctx context.Context, after coffer.ObjectID, limit int, yield func(*coffer.Document) bool) error {
	w, err := p.s.view(ctx, p.op)
	if err != nil {
		return err
	}
	defer w.end()
	return p.restOf(ctx, w, after, limit, yield)
}

func (p *pager) restOf(
	ctx context.Context, w *view, after coffer.ObjectID, limit int, yield func(*coffer.Document) bool,
) error {
	for left := limit; limit == 0 || left > 0; {
		want := maxPage
		if limit > 0 {
			want = min(want, left)
		}
		var page []found
		err := w.read(ctx, p.op, func(ctx context.Context, c *pgx.Conn) (err error) {
			page, err = p.page(ctx, c, after, want)
			return err
		})
		if err != nil {
			return err
		}
		for i := range page {
			f := &page[i]
			after = f.document.ID
			if f.large {
				if err := p.large(ctx, w, f); err != nil {
					return err
				}
				if f.document == nil {
					continue
				}
			}
			if !yield(f.document) {
				return nil
			}
			page[i] = found{}
		}
		if len(page) < want {
			return nil
		}
		left -= len(page)
	}
	return nil
}

// page reads a page of matches.
func (p *pager) page(ctx context.Context, c *pgx.Conn, after coffer.ObjectID, rows int) ([]found, error) {
	args := append([]any{uuid(p.vault), uuid(after), rows}, p.search.args...)
	if p.idsOnly {
		return p.ids(ctx, c, fmt.Sprintf(idsSQL, p.search.sql), args)
	}
	args = append(args, maxPageBytes/rows)
	got, err := c.Query(ctx, fmt.Sprintf(documentsSQL, p.search.sql, len(args)), args...)
	if err != nil {
		return nil, err
	}
	defer got.Close()
	var page []found
	for got.Next() {
		var id pgtype.UUID
		var sequence, size pgtype.Int8
		var r revisionRow
		err := got.Scan(&id, &sequence, &r.rev, &size, &r.parents, &r.pending, &r.series, &r.chunks, &r.patch, &r.tags,
			&r.body)
		if err != nil {
			return nil, err
		}
		if !sequence.Valid {
			return nil, errIndex(p.op)
		}
		r.sequence, r.size = sequence.Int64, size.Int64
		f := found{large: r.body == nil}
		if f.large {
			f.document = &coffer.Document{ID: id.Bytes, Sequence: uint64(r.sequence)}
			f.rev, err = decodeRev(r.rev)
		} else {
			f.document, f.rev, err = r.document(id.Bytes)
		}
		if err != nil {
			return nil, err
		}
		page = append(page, f)
	}
	return page, got.Err()
}

func errIndex(op string) error {
	return coffer.Errorf(op, coffer.Corrupt, "an index names a document that is not there")
}

func (p *pager) ids(ctx context.Context, c *pgx.Conn, sql string, args []any) ([]found, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	var page []found
	var id pgtype.UUID
	var sequence pgtype.Int8
	var present pgtype.Bool
	_, err = pgx.ForEachRow(rows, []any{&id, &sequence, &present}, func() error {
		if !present.Bool {
			return errIndex(p.op)
		}
		page = append(page, found{document: &coffer.Document{ID: id.Bytes, Sequence: uint64(sequence.Int64)}})
		return nil
	})
	return page, err
}

// large reads a document that was too large for its page; nil if it has been erased since, which it can only if the
// view was given up.
func (p *pager) large(ctx context.Context, w *view, f *found) error {
	id := f.document.ID
	var r revisionRow
	err := w.read(ctx, p.op, func(ctx context.Context, c *pgx.Conn) error {
		r = revisionRow{}
		err := c.QueryRow(ctx, getSQL, uuid(p.vault), uuid(id)).Scan(r.scan()...)
		if err == pgx.ErrNoRows {
			return coffer.E(p.op, coffer.NotExist, nil)
		}
		return err
	})
	if coffer.KindOf(err) == coffer.NotExist {
		f.document = nil
		return nil
	}
	if err != nil {
		return err
	}
	f.document, _, err = r.document(id)
	return err
}

// A view is one state of the database, for at most hold.
type view struct {
	s     *Store
	timer *time.Timer
	mu    sync.Mutex
	c     *pgxpool.Conn // nil once the view is given up
}

const viewSQL = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`

// view begins a view. Its state is that of its first reading.
func (s *Store) view(ctx context.Context, op string) (*view, error) {
	select {
	case s.snapshots <- struct{}{}:
	case <-ctx.Done():
		return nil, coffer.E(op, coffer.Unavailable, ctx.Err())
	}
	w := &view{s: s}
	err := s.acquire(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		w.c = c
		_, err := c.Exec(ctx, viewSQL)
		return err
	})
	if err != nil {
		<-s.snapshots
		return nil, failure(ctx, op, err)
	}
	w.timer = time.AfterFunc(hold, w.end)
	return w, nil
}

// acquire calls f with a connection that f keeps unless it fails, which it may do a few times.
func (s *Store) acquire(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	for try := 1; ; try++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, s.timeout)
			defer cancel()
			c, err := s.pool.Acquire(ctx)
			if err != nil {
				return &unreached{err}
			}
			if err = f(ctx, c); err != nil {
				_ = s.rollback(c, nil)
				c.Release()
			}
			return err
		}()
		s.health.note(ctx, err)
		if err == nil || try == maxReads || !passing(err) || !pause(ctx, try) {
			return err
		}
	}
}

// read calls f with a connection that sees the view, or the present state when the view was given up.
func (w *view) read(ctx context.Context, op string, f func(context.Context, *pgx.Conn) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c == nil {
		return w.s.read(ctx, op, func(ctx context.Context, c *pgxpool.Conn) error { return f(ctx, c.Conn()) })
	}
	bounded, cancel := context.WithTimeout(ctx, w.s.timeout)
	defer cancel()
	return failure(ctx, op, f(bounded, w.c.Conn()))
}

// end gives the view up, if it was not.
func (w *view) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c == nil {
		return
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	_ = w.s.rollback(w.c, nil)
	w.c.Release()
	w.c = nil
	<-w.s.snapshots
}

// Count returns how many documents match; see [store.Store].
func (s *Store) Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (int, error) {
	const op = "postgres.Count"
	if err := s.enter(ctx, op); err != nil {
		return 0, err
	}
	defer s.exit()
	if len(q.Equals) == 0 && len(q.Has) == 0 {
		u, err := s.usage(ctx, op, v)
		return int(u.Documents), err
	}
	how := searchOf(&q)
	if how.none {
		return 0, nil
	}
	var n int64
	// Ids begin after the zero one, which is nobody's.
	args := append([]any{uuid(v), uuid(coffer.ObjectID{}), int64(1) << 62}, how.args...)
	err := s.row(ctx, op, fmt.Sprintf(countIDsSQL, how.sql), args, &n)
	return int(n), err
}

// forms lists every text that a query may be asked in, for those who look at them.
func forms() (all []string) {
	for _, how := range []string{allIDs, tagIDs, nameIDs, anyIDs, filterTags, filterNames} {
		parameters := 3
		for strings.Contains(how, fmt.Sprintf("$%d", parameters+1)) {
			parameters++
		}
		all = append(all, fmt.Sprintf(documentsSQL, how, parameters+1), fmt.Sprintf(idsSQL, how), fmt.Sprintf(countIDsSQL,
			how))
	}
	return all
}
