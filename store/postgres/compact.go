package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// compactPage is how many kept revisions one commit of Compact drops.
const compactPage = 1000

const (
	dueSQL = `SELECT DISTINCT d.vault FROM (
	SELECT vault FROM revisions WHERE superseded IS NOT NULL AND superseded < $1 ORDER BY superseded LIMIT $2
) d ORDER BY d.vault`

	compactSQL = `WITH due AS (
	SELECT r.vault, r.id, r.sequence FROM revisions r WHERE r.superseded IS NOT NULL AND r.superseded < $1
	ORDER BY r.superseded LIMIT $2
), gone AS (
	DELETE FROM revisions USING due
	WHERE revisions.vault = due.vault AND revisions.id = due.id AND revisions.sequence = due.sequence
		AND due.vault = ANY($3::uuid[])
	RETURNING revisions.vault AS vault, revisions.size AS size
), u AS (
	UPDATE vaults SET bytes = vaults.bytes - g.size
	FROM (SELECT gone.vault, sum(gone.size)::int8 AS size FROM gone GROUP BY gone.vault) g WHERE vaults.vault = g.vault
	RETURNING 1 AS one
) SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM u)`
)

// Compact drops kept revisions; see [store.Store].
func (s *Store) Compact(ctx context.Context, before time.Time) (n int64, err error) {
	const op = "postgres.Compact"
	if err := s.enter(ctx, op); err != nil {
		return 0, err
	}
	defer s.exit()
	for try := 1; ; {
		dropped, more, err := s.compact(ctx, before)
		s.health.note(ctx, err)
		switch {
		case conflicting(err) && try < maxTries && pause(ctx, try):
			try++
			continue
		case err != nil:
			return n, failure(ctx, op, err)
		}
		n += dropped
		if !more {
			return n, nil
		}
		try = 1
	}
}

// compact drops one page of what is due, and reports whether there may be more.
func (s *Store) compact(ctx context.Context, before time.Time) (n int64, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return 0, false, &unreached{err}
	}
	defer c.Release()
	defer func() { _ = s.rollback(c, err) }()
	rows, err := c.Query(ctx, dueSQL, before, compactPage)
	if err != nil {
		return 0, false, err
	}
	vaults, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
	if err != nil || len(vaults) == 0 {
		return 0, false, err
	}
	b := &pgx.Batch{}
	b.Queue(beginSQL)
	b.Queue(lockSQL, uuids(vaults))
	b.Queue(compactSQL, before, compactPage, uuids(vaults)).QueryRow(func(row pgx.Row) error {
		var charged int64
		return row.Scan(&n, &charged)
	})
	err = send(ctx, c, b)
	return n, true, err
}
