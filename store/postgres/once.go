package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	onceSQL   = `INSERT INTO once (name, until) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`
	lapsedSQL = `DELETE FROM once WHERE until < $1`
)

// forgetEvery is how often a process removes the names whose time is over.
const forgetEvery = time.Minute

// Once notes a name; see [store.Shared]. It is tried again only when nothing had been sent: else who asks could be told
// that somebody was before him, who was himself.
func (s *Store) Once(ctx context.Context, name [16]byte, until time.Time) (first bool, err error) {
	const op = "postgres.Once"
	if err := s.enter(ctx, op); err != nil {
		return false, err
	}
	defer s.exit()
	for try := 1; ; try++ {
		err := s.attempt(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			tag, err := c.Exec(ctx, onceSQL, pgtype.UUID{Bytes: name, Valid: true}, until.UTC())
			first = tag.RowsAffected() == 1
			return err
		})
		s.health.note(ctx, err)
		if err == nil || try == maxReads || !unsent(err) || !passing(err) || !pause(ctx, try) {
			return first, failure(ctx, op, err)
		}
	}
}

// forgetting removes the names whose time is over, until the store is closed.
func (s *Store) forgetting() {
	t := time.NewTicker(forgetEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.forget(s.now())
		case <-s.closing:
			return
		}
	}
}

// forget removes the names whose time is over everywhere: the clock of another process may be as far from the
// database's as ours, on the other side. What fails is done the next time.
func (s *Store) forget(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	_, _ = s.pool.Exec(ctx, lapsedSQL, now.Add(-2*maxSkew).UTC())
}
