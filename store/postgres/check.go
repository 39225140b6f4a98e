package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// walkPage is how many rows Check and Rebuild read at once: few, since a revision may be large.
const walkPage = 100

// What Check and Rebuild go through, page after page, from the place that the parameters name.
const (
	// $4 is how many rows, $5 how many bytes of tags and body together may be read at once: of those that have more, the
	// next statement reads them.
	walkRevisionsSQL = `SELECT r.vault, r.id, r.sequence, r.rev, r.size, r.superseded, r.parents,
	r.stream_pending, r.stream_set, r.stream_chunks, r.stream_patch,
	CASE WHEN octet_length(r.tags) + octet_length(r.body) <= $5::int8 THEN r.tags END,
	CASE WHEN octet_length(r.tags) + octet_length(r.body) <= $5::int8 THEN r.body END,
	d.present, d.sequence, d.rev, d.size
FROM revisions r LEFT JOIN documents d ON d.vault = r.vault AND d.id = r.id
WHERE (r.vault, r.id, r.sequence) > ($1::uuid, $2::uuid, $3::int8) ORDER BY r.vault, r.id, r.sequence LIMIT $4`

	walkRevisionSQL = `SELECT tags, body FROM revisions WHERE vault = $1 AND id = $2 AND sequence = $3`

	// How many of the postings are there as they should be.
	postingsSQL = `SELECT count(*) FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[])
	AS n (vault, tag, name, id, exclusive)
JOIN tags t ON t.vault = n.vault AND t.tag = n.tag AND t.id = n.id AND t.name = n.name AND t.exclusive = n.exclusive`

	walkChunksSQL = `SELECT c.vault, c.id, c.series, c.place, c.size, c.sum, c.blob,
	coalesce(d.present, false), coalesce(d.sequence, 0), r.stream_pending, r.stream_set
FROM chunks c LEFT JOIN documents d ON d.vault = c.vault AND d.id = c.id
LEFT JOIN revisions r ON r.vault = c.vault AND r.id = c.id AND r.sequence = d.sequence AND d.present
WHERE (c.vault, c.id, c.series, c.place) > ($1::uuid, $2::uuid, $3::int8, $4::bytea)
ORDER BY c.vault, c.id, c.series, c.place LIMIT $5`
)

// A count is a question whose answer should be zero, and what it means when it is not.
type count struct{ sql, means string }

// counts are what the database itself can find out.
var counts = []count{
	{`SELECT count(*) FROM documents d LEFT JOIN revisions r
	ON r.vault = d.vault AND r.id = d.id AND r.sequence = d.sequence AND r.superseded IS NULL
WHERE d.present AND r.vault IS NULL`, "an object that is present has no revision"},
	{`SELECT count(*) FROM documents d WHERE NOT d.present AND (d.size <> 0 OR d.chunks <> 0 OR d.rev IS NOT NULL)`,
		"an erased object is not empty"},
	{`SELECT count(*) FROM documents d LEFT JOIN feed f ON f.vault = d.vault AND f.number = d.number
WHERE f.vault IS NULL OR f.id <> d.id OR f.sequence <> d.sequence OR f.kind <> (CASE WHEN d.present THEN 1 ELSE 2 END)
	OR coalesce(f.rev, '') <> coalesce(d.rev, '')`, "an object's last change is not in the feed"},
	{`SELECT count(*) FROM documents d LEFT JOIN (
	SELECT c.vault, c.id, count(*) AS chunks FROM chunks c GROUP BY c.vault, c.id
) c ON c.vault = d.vault AND c.id = d.id WHERE d.present AND d.chunks <> coalesce(c.chunks, 0)`,
		"an object has more or fewer chunks than it should"},
	{`SELECT count(*) FROM feed f WHERE f.kind < 1 OR f.kind > 3 OR (f.kind = 1
		AND (f.rev IS NULL OR octet_length(f.rev) <> 32))`,
		"a change does not decode"},
	{`SELECT count(*) FROM (
	SELECT f.vault, min(f.number) AS first, max(f.number) AS last, count(*) AS n FROM feed f GROUP BY f.vault
) g LEFT JOIN feed f ON f.vault = g.vault AND f.number = g.first
WHERE g.n <> g.last - g.first + 1 OR (g.first <> 1 AND f.kind <> 3)`, "changes are missing from a feed"},
	{`SELECT count(*) FROM (
	SELECT e.vault FROM revisions e GROUP BY e.vault
	UNION SELECT e.vault FROM documents e GROUP BY e.vault
	UNION SELECT e.vault FROM feed e GROUP BY e.vault
) x LEFT JOIN vaults v ON v.vault = x.vault WHERE v.vault IS NULL`, "a vault has no usage"},
	{`SELECT count(*) FROM vaults v
LEFT JOIN (SELECT d.vault, count(*) AS n FROM documents d WHERE d.present GROUP BY d.vault) d ON d.vault = v.vault
LEFT JOIN (SELECT r.vault, sum(r.size) AS n FROM revisions r GROUP BY r.vault) r ON r.vault = v.vault
LEFT JOIN (SELECT c.vault, sum(c.size) AS n FROM chunks c GROUP BY c.vault) c ON c.vault = v.vault
LEFT JOIN (SELECT f.vault, max(f.number) AS n FROM feed f GROUP BY f.vault) f ON f.vault = v.vault
WHERE v.documents <> coalesce(d.n, 0) OR v.bytes <> coalesce(r.n, 0) + coalesce(c.n, 0) OR v.changes <> coalesce(f.n,
	0)`,
		"the usage of a vault does not add up"},
}

// maxReports bounds how often one sentence is reported that the database counted.
const maxReports = 1000

const tagsSQL = `SELECT count(*) FROM tags`

// Check reads everything, in one view of the database; see [store.Store]. Revisions and chunks pass through this
// process, a few at a time. The rest the database counts itself.
func (s *Store) Check(ctx context.Context, report func(string), chunk func(store.Chunk)) error {
	const op = "postgres.Check"
	if err := s.enter(ctx, op); err != nil {
		return err
	}
	defer s.exit()
	c, err := s.apart(ctx)
	if err != nil {
		return failure(ctx, op, err)
	}
	defer c.part()
	if _, err := c.Exec(ctx, viewSQL); err != nil {
		return failure(ctx, op, err)
	}
	k := &census{c: c.Conn.Conn(), atLarge: s.atLarge, report: report, chunk: chunk}
	err = k.run(ctx)
	s.health.note(ctx, err)
	if code(err) == "XX001" || code(err) == "XX002" {
		report("the database found damage")
	}
	return failure(ctx, op, err)
}

// An apart connection is one for work that takes long. It is closed afterwards, since it is set up as no other one is.
type apart struct{ *pgxpool.Conn }

func (s *Store) apart(ctx context.Context) (*apart, error) {
	var a *apart
	err := s.acquire(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		a = &apart{c}
		_, err := c.Conn().PgConn().Exec(ctx, unbounded).ReadAll()
		return err
	})
	return a, err
}

const unbounded = `SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0`

// part closes the connection.
func (a *apart) part() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = a.Conn.Conn().Close(ctx)
	a.Release()
}

// A census is a check under way.
type census struct {
	c        *pgx.Conn
	atLarge  string
	report   func(string)
	chunk    func(store.Chunk)
	expected int64 // postings that documents have
	found    int64 // of those
}

func (k *census) run(ctx context.Context) error {
	if err := k.revisions(ctx); err != nil {
		return err
	}
	if err := k.chunks(ctx); err != nil {
		return err
	}
	if _, err := k.c.PgConn().Exec(ctx, k.atLarge).ReadAll(); err != nil {
		return err
	}
	var tags int64
	if err := k.c.QueryRow(ctx, tagsSQL).Scan(&tags); err != nil {
		return err
	}
	k.times(k.expected-k.found, "a document is missing from an index")
	k.times(tags-k.found, "an index entry has no document")
	for _, q := range counts {
		var n int64
		if err := k.c.QueryRow(ctx, q.sql).Scan(&n); err != nil {
			return err
		}
		k.times(n, q.means)
	}
	return nil
}

func (k *census) times(n int64, sentence string) {
	for range min(n, maxReports) {
		k.report(sentence)
	}
}

// A walked row is a revision with the head of its object.
type walked struct {
	vault pgtype.UUID
	revisionRow
	present  pgtype.Bool
	headAt   pgtype.Int8
	headRev  []byte
	headSize pgtype.Int8
}

// walkRevisions calls f with every revision, in the order of vaults, objects and sequences, page by page, and flush
// after each page.
func walkRevisions(
	ctx context.Context, query func(sql string, args ...any) (pgx.Rows, error), f func(*walked), flush func() error,
) error {
	at := walked{}
	at.vault, at.id = uuid([16]byte{}), uuid([16]byte{})
	at.sequence = -1
	for {
		rows, err := query(walkRevisionsSQL, at.vault, at.id, at.sequence, walkPage, maxPageBytes/walkPage)
		if err != nil {
			return err
		}
		var page []*walked
		for rows.Next() {
			w := &walked{}
			err := rows.Scan(&w.vault, &w.id, &w.sequence, &w.rev, &w.size, &w.superseded, &w.parents,
				&w.pending, &w.series, &w.chunks, &w.patch, &w.tags, &w.body, &w.present, &w.headAt, &w.headRev, &w.headSize)
			if err != nil {
				rows.Close()
				return err
			}
			page = append(page, w)
		}
		if rows.Close(); rows.Err() != nil {
			return rows.Err()
		}
		for i, w := range page {
			if w.body == nil { // too large for the page
				rows, err := query(walkRevisionSQL, w.vault, w.id, w.sequence)
				if err != nil {
					return err
				}
				if _, err := pgx.ForEachRow(rows, []any{&w.tags, &w.body}, func() error { return nil }); err != nil {
					return err
				}
			}
			f(w)
			page[i] = nil
			at.vault, at.id, at.sequence = w.vault, w.id, w.sequence
		}
		if err := flush(); err != nil {
			return err
		}
		if len(page) < walkPage {
			return nil
		}
	}
}

// postings are rows of an index, as they should be.
type postings struct {
	vault, tag, name, id uuids
	exclusive            flags
}

func (p *postings) add(vault, id pgtype.UUID, x index) {
	for _, q := range x {
		p.vault, p.tag, p.name = append(p.vault, vault), append(p.tag, uuid(q.tag)), append(p.name, uuid(q.name))
		p.id, p.exclusive = append(p.id, id), append(p.exclusive, q.exclusive)
	}
}

func (p *postings) args() []any { return []any{p.vault, p.tag, p.name, p.id, p.exclusive} }

func (k *census) revisions(ctx context.Context) error {
	var page postings
	query := func(sql string, args ...any) (pgx.Rows, error) { return k.c.Query(ctx, sql, args...) }
	flush := func() error {
		if len(page.id) == 0 {
			return nil
		}
		var n int64
		if err := k.c.QueryRow(ctx, postingsSQL, page.args()...).Scan(&n); err != nil {
			return err
		}
		k.expected += int64(len(page.id))
		k.found += n
		page = postings{}
		return nil
	}
	return walkRevisions(ctx, query, func(w *walked) {
		k.revision(w)
		if w.superseded == nil {
			if tags, err := decodeTags(w.tags); err == nil {
				page.add(w.vault, w.id, indexOf(tags))
			}
		}
	}, flush)
}

func (k *census) revision(w *walked) {
	d, rev, err := w.document(w.id.Bytes)
	if err != nil {
		k.report("a revision does not decode")
		return
	}
	if d.Rev() != rev {
		k.report("a revision does not hash to its name")
	}
	if store.Size(d) != w.size {
		k.report("a revision is not as large as it should be")
	}
	switch {
	case !w.present.Bool:
		k.report("a revision has no object that is present")
	case w.superseded != nil:
		if w.sequence >= w.headAt.Int64 {
			k.report("a revision was replaced, but by none")
		}
	case w.sequence != w.headAt.Int64 || coffer.Rev(w.rev) != revOf(w.headRev) || w.size != w.headSize.Int64:
		k.report("an object and its revision do not agree")
	}
}

// revOf returns a rev, or the zero one, which is nobody's.
func revOf(b []byte) coffer.Rev {
	rev, _ := decodeRev(b)
	return rev
}

// chunks reads all chunks. What a page needs is read with it.
func (k *census) chunks(ctx context.Context) error {
	vault, id := uuid([16]byte{}), uuid([16]byte{})
	series, at := int64(-1), []byte{}
	for {
		rows, err := k.c.Query(ctx, walkChunksSQL, vault, id, series, at, maxPage)
		if err != nil {
			return err
		}
		var page []store.Chunk
		n := 0
		for rows.Next() {
			var r chunkRow
			var present bool
			var sequence int64
			var pending pgtype.Bool
			var keeps pgtype.Int8
			err := rows.Scan(&vault, &r.id, &r.series, &r.place, &r.size, &r.sum, &r.blob, &present, &sequence, &pending, &keeps)
			if err != nil {
				rows.Close()
				return err
			}
			n++
			id, series, at = r.id, r.series, r.place
			switch named := pending.Valid && !pending.Bool; {
			case !present:
				k.report("a chunk is attached to nothing")
			case r.series != sequence && !(named && r.series == keeps.Int64):
				k.report("a chunk is of a set that its document does not have")
			}
			c, err := r.chunk()
			if err != nil || r.size < 0 {
				k.report("a chunk does not decode")
				continue
			}
			page = append(page, c)
		}
		if rows.Close(); rows.Err() != nil {
			return rows.Err()
		}
		if k.chunk != nil {
			for _, c := range page {
				k.chunk(c)
			}
		}
		if n < maxPage {
			return nil
		}
	}
}
