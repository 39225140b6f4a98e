package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer/store"
)

const statsSQL = `SELECT count(*), coalesce(sum(documents), 0)::int8, coalesce(sum(bytes), 0)::int8,
	coalesce(sum(changes), 0)::int8
FROM vaults WHERE changes > 0`

// Stats counts what the store holds; see [store.Meter]. Disk is zero where the server does not tell.
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	const op = "postgres.Stats"
	if err := s.enter(ctx, op); err != nil {
		return store.Stats{}, err
	}
	defer s.exit()
	t := store.Stats{Memory: s.priors.memory() + s.known.memory()}
	if err := s.row(ctx, op, statsSQL, nil, &t.Vaults, &t.Documents, &t.Bytes, &t.Changes); err != nil {
		return store.Stats{}, err
	}
	err := s.read(ctx, op, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, diskSQL, tables).Scan(&t.Disk)
		if code(err) == "42883" || code(err) == "0A000" {
			return nil
		}
		return err
	})
	if err != nil {
		return store.Stats{}, err
	}
	return t, nil
}

// diskSQL asks for what only some servers tell; see [lenient].
const diskSQL = `SELECT coalesce(sum(pg_total_relation_size(t.name::regclass)), 0)::int8
	FROM unnest($1::text[]) AS t (name)`
