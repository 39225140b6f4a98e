// Package postgres keeps a [store.Store] in a PostgreSQL database, through github.com/jackc/pgx. Several processes may
// serve one database. The tables are given in schema/ and explained in doc/postgres.md.
//
// # Writing
//
// Every write to a vault locks the vault's row first, and holds it until the commit: so what a vault holds adds up, and
// the numbers of its feed are without gaps and in the order of commits, however many processes write. Vaults are locked
// in the order of their ids.
//
// Concurrent calls of Apply share transactions. A few committers take what waits, as a group, each for vaults that no
// other one is busy with. No two calls of a group touch the same object or the same unique tag.
//
// A group is first tried in one round trip, from BEGIN to COMMIT. That needs to know what is replaced: it is remembered
// from when this process last read or wrote it, by the hash that names the revision. Each statement of the trip fails
// when something is not as it was taken to be, and nothing happens. The group is then judged, in two round trips: lock
// and read everything that matters; check each call against it in this process; write what those change that keep the
// rules. So the first way is only a short cut: what it cannot show to be right goes the second way, which knows every
// reason.
//
// # Reading
//
// Each read is one statement, but for queries and feeds of more than a page: see [Store.Query] and [Store.Changes].
package postgres

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Options of [Open]. The zero Options are good.
type Options struct {
	// Connections is how many connections to the database may be open at once, but for one more for each Watch. If zero,
	// the URL's pool_max_conns, else four for each processor, at least eight. At least two.
	Connections int

	// Timeout bounds each statement, and waiting for a connection or a lock; 30 seconds if zero. What may take long
	// (Check, Rebuild, Compact, a purge, a migration) is not bounded by it.
	Timeout time.Duration

	// Poll is how often Watch says that it may have missed something while the database does not tell it of changes; a
	// second if zero.
	Poll time.Duration

	Now    func() time.Time // the clock that the database's is compared with; time.Now if nil
	Logger *slog.Logger     // told when the database goes away and comes back, in fixed sentences; nobody if nil
}

// A Store is a [store.Store] in a PostgreSQL database.
type Store struct {
	pool    *pgxpool.Pool
	listen  *pgx.ConnConfig // for connections that wait for notifications
	timeout time.Duration
	poll    time.Duration
	now     func() time.Time
	health  *health
	atLarge string // sets a connection up for reading whole tables

	priors    *priors
	known     *known
	queue     *queue
	notifier  *notifier
	snapshots chan struct{} // as many as may be held at once
	workers   sync.WaitGroup
	closing   chan struct{} // closed when Close is called
	stop      chan struct{} // closed when no call is under way and none will come

	mu     sync.Mutex
	calls  int // under way
	closed bool
	idle   chan struct{} // closed when closed and no call is under way
}

var (
	_ store.Shared    = (*Store)(nil)
	_ store.Rebuilder = (*Store)(nil)
	_ store.Meter     = (*Store)(nil)
)

const (
	priorMemory = 8 << 20 // bytes of what is remembered of revisions
	committers  = 4
	application = "coffer"
)

// Open opens the store in the database that the URL names (postgres://user:password@host:port/database?parameters), and
// makes the tables if there are none. What else the URL may say is what libpq understands, and the environment may say
// it too (PGPASSWORD, PGSSLROOTCERT and so on).
//
// It fails with Invalid when the URL is malformed, the server does not know the user, the password or the database, the
// user lacks rights, or the tables were written by a later version; with Corrupt when tables of these names are
// something else; and with Unavailable when the server is away, only lets read, or its clock is more than five minutes
// from ours.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	config, err := parse(url, &o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		listen:  config.ConnConfig.Copy(),
		timeout: o.Timeout,
		poll:    o.Poll,
		now:     o.Now,
		health:  &health{logger: o.Logger},
		priors:  newPriors(priorMemory),
		known:   new(known),
		queue:   newQueue(),
		closing: make(chan struct{}),
		stop:    make(chan struct{}),
		idle:    make(chan struct{}),
	}
	settings, err := prepare(ctx, config.ConnConfig, &o)
	if err != nil {
		return nil, err
	}
	s.atLarge = atLarge(settings)
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.PgConn().Exec(ctx, settings).ReadAll()
		return err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, openFailure(err)
	}
	s.notifier = newNotifier(s.pool)
	s.snapshots = make(chan struct{}, max(1, config.MaxConns/2))
	for range min(committers, int(config.MaxConns)-1) {
		s.workers.Go(s.commit)
	}
	s.workers.Go(func() { s.notifier.run(s.stop) })
	s.workers.Go(s.forgetting)
	return s, nil
}

// defaults fills in what the options leave open. inURL says that the URL names the number of connections.
func (o *Options) defaults(inURL bool) {
	if o.Connections == 0 && !inURL {
		o.Connections = max(8, 4*runtime.NumCPU())
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// enter notes that a call is under way, or says why it cannot be. exit ends what enter allowed.
func (s *Store) enter(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return coffer.E(op, coffer.Unavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed(op)
	}
	s.calls++
	return nil
}

func (s *Store) exit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if s.closed && s.calls == 0 {
		close(s.idle)
	}
}

func errClosed(op string) error { return coffer.Errorf(op, coffer.Unavailable, "the store is closed") }

// Close waits for the calls under way, ends every Watch, and closes the connections. Later calls are Unavailable, and
// so is a second Close.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed("postgres.Close")
	}
	s.closed = true
	close(s.closing)
	if s.calls == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	<-s.idle
	close(s.stop)
	s.queue.close()
	s.workers.Wait()
	s.pool.Close()
	return nil
}

// read calls f with a connection, and again when that failed in a way that another try may mend: reading twice does no
// harm. What f returns is returned as one of our errors.
func (s *Store) read(
	ctx context.Context, op string, f func(context.Context, *pgxpool.Conn) error,
) error {
	for try := 1; ; try++ {
		err := s.attempt(ctx, f)
		s.health.note(ctx, err)
		if err == nil || try == maxReads || !passing(err) || !pause(ctx, try) {
			return failure(ctx, op, err)
		}
	}
}

// maxReads bounds how often a read is tried.
const maxReads = 4

func (s *Store) attempt(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return &unreached{err}
	}
	defer c.Release()
	return f(ctx, c)
}

// An unreached error is one from before anything was sent.
type unreached struct{ error }

func (e *unreached) Unwrap() error { return e.error }

// row reads one row, or returns NotExist.
func (s *Store) row(ctx context.Context, op, sql string, args []any, into ...any) error {
	return s.read(ctx, op, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, sql, args...).Scan(into...)
		if errors.Is(err, pgx.ErrNoRows) {
			return coffer.E(op, coffer.NotExist, nil)
		}
		return err
	})
}

// code returns the SQLSTATE of an error of the database, "" if it is something else.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
