package postgres

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
)

// A process tells others that vaults have grown by notifications on this channel. The payload is the name of the
// process, and the ids of the vaults, each after a blank, in unpadded base64url; or "*" in place of the ids, when there
// are too many. A process that watches says so with "?", at first and every [quiet] again. To whoever is new the others
// say "*", since it may have missed what was not told to nobody: a process that watches alone tells nothing.
const channel = "coffer"

const (
	maxPayload  = 7900                   // the database allows 7999 bytes
	notifyEvery = 10 * time.Millisecond  // at most: notifications stand in each other's way as they are committed
	idLength    = 22                     // of an id in base64url
	nameLength  = 11                     // of a process's name
	quiet       = 15 * time.Second       // without a notification, the connection is tried
	reconnect   = 250 * time.Millisecond // at first, between tries to connect
)

// A notifier tells other processes which vaults this one has written to, some time after it has.
type notifier struct {
	pool   *pgxpool.Pool
	name   string
	off    atomic.Bool // the database cannot pass notifications on
	wake   chan struct{}
	mu     sync.Mutex
	vaults map[coffer.VaultID]struct{}

	watching int                  // how often this process watches
	since    time.Time            // when it began to
	others   map[string]time.Time // processes that were heard of, and when
}

// maxOthers bounds how many processes are remembered: it takes one to make a difference.
const maxOthers = 64

func newNotifier(pool *pgxpool.Pool) *notifier {
	var name [8]byte
	rand.Read(name[:])
	return &notifier{
		pool: pool, name: base64.RawURLEncoding.EncodeToString(name[:]), wake: make(chan struct{}, 1),
		vaults: make(map[coffer.VaultID]struct{}), others: make(map[string]time.Time),
	}
}

// watch notes that this process begins to listen, or ends.
func (n *notifier) watch(more int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watching += more
	n.since = time.Now()
}

// heard notes that another process is there, and tells it to look if it is new.
func (n *notifier) heard(name string) {
	n.mu.Lock()
	_, known := n.others[name]
	if known || len(n.others) < maxOthers {
		n.others[name] = time.Now()
	}
	n.mu.Unlock()
	if !known {
		n.announce([]coffer.VaultID{{}})
	}
}

// alone reports whether there is nobody to be told. That is known only to who has listened for a while.
func (n *notifier) alone() bool {
	if n.watching == 0 || time.Since(n.since) < 2*quiet {
		return false
	}
	for name, at := range n.others {
		if time.Since(at) < 4*quiet {
			return false
		}
		delete(n.others, name)
	}
	return true
}

// announce tells others of vaults soon; the zero one stands for any.
func (n *notifier) announce(vaults []coffer.VaultID) {
	if n.off.Load() || len(vaults) == 0 {
		return
	}
	n.mu.Lock()
	if n.alone() {
		n.mu.Unlock()
		return
	}
	for _, v := range vaults {
		if len(n.vaults) <= maxPayload/idLength { // more make no difference
			n.vaults[v] = struct{}{}
		}
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

const notifySQL = `SELECT pg_notify($1, $2)`

// run sends notifications until stop is closed, and then what is left.
func (n *notifier) run(stop <-chan struct{}) {
	for {
		select {
		case <-n.wake:
		case <-stop:
			n.send()
			return
		}
		n.send()
		t := time.NewTimer(notifyEvery)
		select {
		case <-t.C:
		case <-stop:
			t.Stop()
		}
	}
}

// send sends one notification. When it fails, others find out when they look: at the latest after quiet.
func (n *notifier) send() {
	n.mu.Lock()
	vaults := n.vaults
	n.vaults = make(map[coffer.VaultID]struct{})
	n.mu.Unlock()
	if len(vaults) == 0 || n.off.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := n.pool.Exec(ctx, notifySQL, channel, encodePayload(n.name, vaults))
	if lacking(err) {
		n.off.Store(true)
	}
}

// lacking reports whether an error says that the database has no such function or statement.
func lacking(err error) bool {
	switch code(err) {
	case "42883", "0A000", "42601", "42501":
		return true
	}
	return false
}

func encodePayload(name string, vaults map[coffer.VaultID]struct{}) string {
	var b strings.Builder
	b.WriteString(name)
	if _, any := vaults[coffer.VaultID{}]; any || len(name)+len(vaults)*(1+idLength) > maxPayload {
		b.WriteString(" *")
		return b.String()
	}
	for v := range vaults {
		b.WriteString(" " + base64.RawURLEncoding.EncodeToString(v[:]))
	}
	return b.String()
}

// decodePayload returns the process that sent a payload and the vaults that it names; none if it only says that it
// watches. What is not of this form, and "*", names the zero vault: something happened.
func decodePayload(p string) (name string, vaults []coffer.VaultID) {
	any := []coffer.VaultID{{}}
	name, ids, ok := strings.Cut(p, " ")
	if !ok || len(name) != nameLength || len(p) > maxPayload {
		return "", any
	}
	if ids == "?" {
		return name, nil
	}
	for id := range strings.SplitSeq(ids, " ") {
		b, err := base64.RawURLEncoding.Strict().DecodeString(id)
		if err != nil || len(id) != idLength || len(b) != len(coffer.VaultID{}) {
			return name, any
		}
		vaults = append(vaults, coffer.VaultID(b))
	}
	return name, vaults
}

// Watch calls grew when other processes have written; see [store.Shared]. It has a connection of its own. It ends with
// Unavailable when the store is closed.
func (s *Store) Watch(ctx context.Context, grew func(coffer.VaultID)) error {
	const op = "postgres.Watch"
	if err := ctx.Err(); err != nil {
		return nil
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-done:
		}
	}()
	config := s.listen.Copy()
	config.BuildContextWatcherHandler = func(p *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: p.Conn()}
	}
	for wait := reconnect; ; {
		began := time.Now()
		err := s.watch(inner, config, grew)
		if ctx.Err() != nil {
			return nil
		}
		if inner.Err() != nil {
			return errClosed(op)
		}
		switch {
		case lacking(err): // the database will not tell us: there is no use in asking often
			s.pollFor(inner, time.Minute, s.poll, grew)
		case time.Since(began) > quiet:
			wait = reconnect
			fallthrough
		default:
			s.pollFor(inner, wait, min(wait, s.poll), grew)
			wait = min(2*wait, 10*time.Second)
		}
		if ctx.Err() != nil {
			return nil
		}
		if inner.Err() != nil {
			return errClosed(op)
		}
	}
}

// pollFor says for a while, every so often, that something may have been missed.
func (s *Store) pollFor(ctx context.Context, total, every time.Duration, grew func(coffer.VaultID)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for end := time.Now().Add(total); time.Now().Before(end); {
		select {
		case <-t.C:
			grew(coffer.VaultID{})
		case <-ctx.Done():
			return
		}
	}
}

const listenSQL = `LISTEN coffer` // the channel

// watch listens on a new connection until it fails.
func (s *Store) watch(ctx context.Context, config *pgx.ConnConfig, grew func(coffer.VaultID)) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	c, err := pgx.ConnectConfig(bounded, config)
	if err == nil {
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = c.Close(ctx)
		}()
		_, err = c.Exec(bounded, listenSQL, pgx.QueryExecModeSimpleProtocol)
	}
	cancel()
	s.health.note(ctx, err)
	if err != nil {
		return err
	}
	s.notifier.watch(1)
	defer s.notifier.watch(-1)
	if err := s.hello(ctx, c); err != nil {
		return err
	}
	grew(coffer.VaultID{}) // what happened before we listened
	for {
		bounded, cancel := context.WithTimeout(ctx, quiet)
		n, err := c.WaitForNotification(bounded)
		late := bounded.Err() != nil
		cancel()
		switch {
		case err == nil:
			name, vaults := decodePayload(n.Payload)
			if name == s.notifier.name {
				continue
			}
			if name != "" {
				s.notifier.heard(name)
			}
			for _, v := range vaults {
				grew(v)
			}
			continue
		case ctx.Err() != nil || !late:
			return err
		}
		// A process that has committed may have ended before it could tell.
		grew(coffer.VaultID{})
		if err := s.hello(ctx, c); err != nil {
			return err
		}
	}
}

// hello tells others that this process watches, and shows that the connection is good.
func (s *Store) hello(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := c.Exec(ctx, notifySQL, channel, s.notifier.name+" ?")
	return err
}
