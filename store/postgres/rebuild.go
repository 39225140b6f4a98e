package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// What Rebuild does with a page: take out what is not as it should be, and put in what is not there.
const (
	walkTagsSQL = `SELECT t.vault, t.tag, t.name, t.id, t.exclusive,
	CASE WHEN octet_length(r.tags) <= $5::int8 THEN r.tags END, r.vault IS NOT NULL
FROM tags t LEFT JOIN revisions r ON r.vault = t.vault AND r.id = t.id AND r.superseded IS NULL
WHERE (t.vault, t.tag, t.id) > ($1::uuid, $2::uuid, $3::uuid) ORDER BY t.vault, t.tag, t.id LIMIT $4`

	presentTagsSQL = `SELECT tags FROM revisions WHERE vault = $1 AND id = $2 AND superseded IS NULL`

	retagSQL = `INSERT INTO tags (vault, tag, name, id, exclusive)
SELECT n.vault, n.tag, n.name, n.id, n.exclusive
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[]) AS n (vault, tag, name, id, exclusive)
ON CONFLICT (vault, tag, id) DO NOTHING`

	missingVaultsSQL = `INSERT INTO vaults (vault, documents, bytes, changes, law)
SELECT x.vault, 0, 0, 0, 0 FROM (
	SELECT e.vault FROM documents e GROUP BY e.vault UNION SELECT e.vault FROM feed e GROUP BY e.vault
) x WHERE NOT EXISTS (SELECT 1 FROM vaults v WHERE v.vault = x.vault) ORDER BY x.vault
ON CONFLICT (vault) DO NOTHING`

	recountChunksSQL = `UPDATE documents SET chunks = x.n FROM (
	SELECT d.vault, d.id, coalesce(c.n, 0) AS n FROM documents d LEFT JOIN (
		SELECT c.vault, c.id, count(*) AS n FROM chunks c GROUP BY c.vault, c.id
	) c ON c.vault = d.vault AND c.id = d.id WHERE d.present AND d.chunks <> coalesce(c.n, 0)
) x WHERE documents.vault = x.vault AND documents.id = x.id`

	recountSQL = `UPDATE vaults SET documents = x.documents, bytes = x.bytes, changes = x.changes FROM (
	SELECT v.vault, coalesce(d.n, 0)::int8 AS documents, (coalesce(r.n, 0) + coalesce(c.n, 0))::int8 AS bytes,
		coalesce(f.n, 0)::int8 AS changes
	FROM vaults v
	LEFT JOIN (SELECT d.vault, count(*) AS n FROM documents d WHERE d.present GROUP BY d.vault) d ON d.vault = v.vault
	LEFT JOIN (SELECT r.vault, sum(r.size) AS n FROM revisions r GROUP BY r.vault) r ON r.vault = v.vault
	LEFT JOIN (SELECT c.vault, sum(c.size) AS n FROM chunks c GROUP BY c.vault) c ON c.vault = v.vault
	LEFT JOIN (SELECT f.vault, max(f.number) AS n FROM feed f GROUP BY f.vault) f ON f.vault = v.vault
	WHERE v.documents <> coalesce(d.n, 0) OR v.bytes <> coalesce(r.n, 0) + coalesce(c.n, 0) OR v.changes <>
		coalesce(f.n, 0)
) x WHERE vaults.vault = x.vault`
)

// Rebuild makes postings, the numbers of chunks, and usage but the laws anew; see [store.Rebuilder]. The laws and the
// objects' own rows are not derived. What is right stays as it is.
func (s *Store) Rebuild(ctx context.Context, report func(string)) error {
	const op = "postgres.Rebuild"
	if err := s.enter(ctx, op); err != nil {
		return err
	}
	defer s.exit()
	c, err := s.apart(ctx)
	if err != nil {
		return failure(ctx, op, err)
	}
	defer c.part()
	r := &rebuilding{c: c.Conn.Conn(), atLarge: s.atLarge}
	err = r.run(ctx)
	s.health.note(ctx, err)
	r.tell(report)
	return failure(ctx, op, err)
}

// A rebuilding is a Rebuild under way, and what it has put right.
type rebuilding struct {
	c                                           *pgx.Conn
	atLarge                                     string
	extra, missing, rivals, chunks, lost, usage int64
}

func (r *rebuilding) tell(report func(string)) {
	for _, n := range []struct {
		times int64
		what  string
	}{
		{r.extra, "index entries that no document had"},
		{r.missing, "index entries that were missing"},
		{r.rivals, "unique tags that more than one document holds; one of them holds it now"},
		{r.chunks, "objects whose chunks were counted wrongly"},
		{r.lost, "vaults that had no usage"},
		{r.usage, "vaults whose usage did not add up"},
	} {
		if n.times > 0 {
			report(n.what + ": " + strconv.FormatInt(n.times, 10))
		}
	}
}

func (r *rebuilding) run(ctx context.Context) error {
	if err := r.removeExtra(ctx); err != nil {
		return err
	}
	if err := r.addMissing(ctx); err != nil {
		return err
	}
	if _, err := r.c.PgConn().Exec(ctx, r.atLarge).ReadAll(); err != nil {
		return err
	}
	for _, q := range []struct {
		sql string
		n   *int64
	}{{recountChunksSQL, &r.chunks}, {missingVaultsSQL, &r.lost}, {recountSQL, &r.usage}} {
		tag, err := r.c.Exec(ctx, q.sql)
		if err != nil {
			return err
		}
		*q.n = tag.RowsAffected()
	}
	return nil
}

// removeExtra takes out the postings that are not those of a document.
func (r *rebuilding) removeExtra(ctx context.Context) error {
	vault, tag, id := uuid([16]byte{}), uuid([16]byte{}), uuid([16]byte{})
	for {
		rows, err := r.c.Query(ctx, walkTagsSQL, vault, tag, id, walkPage, maxPageBytes/walkPage)
		if err != nil {
			return err
		}
		type row struct {
			vault, id pgtype.UUID
			posting
			tags  []byte
			there bool
		}
		var page []row
		for rows.Next() {
			var w row
			var name pgtype.UUID
			if err := rows.Scan(&vault, &tag, &name, &id, &w.exclusive, &w.tags, &w.there); err != nil {
				rows.Close()
				return err
			}
			w.vault, w.id, w.tag, w.name = vault, id, tag.Bytes, name.Bytes
			page = append(page, w)
		}
		if rows.Close(); rows.Err() != nil {
			return rows.Err()
		}
		var extra postings
		for _, w := range page {
			if w.there && w.tags == nil {
				if err := r.c.QueryRow(ctx, presentTagsSQL, w.vault, w.id).Scan(&w.tags); err != nil {
					return err
				}
			}
			has := false
			if w.there {
				tags, err := decodeTags(w.tags)
				if err != nil {
					return err
				}
				for _, q := range indexOf(tags) {
					has = has || q == w.posting
				}
			}
			if !has {
				extra.add(w.vault, w.id, index{w.posting})
			}
		}
		if n := len(extra.id); n > 0 {
			if _, err := r.c.Exec(ctx, untagSQL, extra.vault, extra.tag, extra.id); err != nil {
				return err
			}
			r.extra += int64(n)
		}
		if len(page) < walkPage {
			return nil
		}
	}
}

// addMissing puts in the postings that documents should have.
func (r *rebuilding) addMissing(ctx context.Context) error {
	var page postings
	var broken error
	query := func(sql string, args ...any) (pgx.Rows, error) { return r.c.Query(ctx, sql, args...) }
	flush := func() error {
		defer func() { page = postings{} }()
		if broken != nil || len(page.id) == 0 {
			return broken
		}
		tag, err := r.c.Exec(ctx, retagSQL, page.args()...)
		if code(err) != "23505" {
			r.missing += tag.RowsAffected()
			return err
		}
		for i := range page.id { // two documents hold a unique tag: find out which
			one := []any{page.vault[i : i+1], page.tag[i : i+1], page.name[i : i+1], page.id[i : i+1], page.exclusive[i : i+1]}
			tag, err := r.c.Exec(ctx, retagSQL, one...)
			if code(err) == "23505" {
				r.rivals++
				one[4] = flags{false}
				tag, err = r.c.Exec(ctx, retagSQL, one...)
			}
			if err != nil {
				return err
			}
			r.missing += tag.RowsAffected()
		}
		return nil
	}
	return walkRevisions(ctx, query, func(w *walked) {
		if w.superseded != nil || !w.present.Bool {
			return
		}
		tags, err := decodeTags(w.tags)
		if err != nil {
			broken = err
			return
		}
		page.add(w.vault, w.id, indexOf(tags))
	}, flush)
}
