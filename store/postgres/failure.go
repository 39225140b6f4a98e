package postgres

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferhq/coffer"
)

// failure returns an error of the database as one of ours, and those that are ours already as they are. It passes on
// nothing of the database's own texts but the SQLSTATE: they name tables, keys and people.
func failure(ctx context.Context, op string, err error) error {
	var ours *coffer.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case ctx.Err() != nil:
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	}
	switch c := code(err); {
	case c == "XX001" || c == "XX002":
		return coffer.Errorf(op, coffer.Corrupt, "the database found damage: SQLSTATE "+c)
	case c == "53100":
		return coffer.Errorf(op, coffer.Unavailable, "the database's disk is full: SQLSTATE "+c)
	case c == "25006":
		return coffer.Errorf(op, coffer.Unavailable, "the database only lets read: SQLSTATE "+c)
	case c == "57014" || errors.Is(err, context.DeadlineExceeded):
		return coffer.Errorf(op, coffer.Unavailable, "the database takes too long")
	case c != "":
		return coffer.Errorf(op, coffer.Unavailable, "the database refused: SQLSTATE "+c)
	}
	return coffer.Errorf(op, coffer.Unavailable, "the connection to the database failed")
}

// conflicting reports whether a transaction was given up because it met another one, and did nothing.
func conflicting(err error) bool {
	c := code(err)
	return c == "40001" || c == "40P01"
}

// away reports whether an error says that the database, or the connection to it, went away.
func away(err error) bool {
	switch c := code(err); {
	case c == "":
		var ours *coffer.Error
		return err != nil && !errors.As(err, &ours) && !errors.Is(err, context.Canceled)
	default:
		return strings.HasPrefix(c, "08") || strings.HasPrefix(c, "57P") || c == "53300"
	}
}

// passing reports whether what only reads may be tried again.
func passing(err error) bool {
	return conflicting(err) || away(err) && !errors.Is(err, context.DeadlineExceeded)
}

// broken reports whether a statement failed by a rule that it was written to fail by: a row that is there already, or
// one that is not there or not as it was taken to be. See statements.go.
func broken(err error) bool {
	switch code(err) {
	case "23505", "23502", "23514", "22012":
		return true
	}
	return false
}

// pause waits before the next try, longer each time, and reports whether ctx lasts.
func pause(ctx context.Context, try int) bool {
	most := min(2*time.Millisecond<<try, 250*time.Millisecond)
	t := time.NewTimer(most/2 + rand.N(most/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// health tells the operator when the database goes away and comes back, once each.
type health struct {
	logger *slog.Logger
	mu     sync.Mutex
	lost   bool
}

func (h *health) note(ctx context.Context, err error) {
	lost := away(err) && ctx.Err() == nil
	if h.logger == nil || err != nil && !lost {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if lost == h.lost {
		return
	}
	if h.lost = lost; lost {
		h.logger.ErrorContext(ctx, "database: the connection failed; it will be tried again")
	} else {
		h.logger.InfoContext(ctx, "database: the connection is back")
	}
}

// cutOff reports whether a connection was there and was lost.
func cutOff(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &op) && (op.Op == "read" || op.Op == "write")
}

// openFailure says in one sentence why the database cannot be opened, and what to do.
func openFailure(err error) error {
	const op = "postgres.Open"
	var ours *coffer.Error
	if errors.As(err, &ours) {
		return err
	}
	invalid := func(reason string) error { return coffer.Errorf(op, coffer.Invalid, reason) }
	unavailable := func(reason string) error { return coffer.Errorf(op, coffer.Unavailable, reason) }
	switch c := code(err); {
	case c == "28P01" || c == "28000":
		return invalid("the database server refuses the user or the password; correct the URL, or what the server allows")
	case c == "3D000":
		return invalid("the database does not exist; create it, or correct the URL")
	case c == "3F000":
		return invalid("the database has no schema to make tables in; create it, or correct search_path")
	case c == "42501":
		return invalid("the database's user lacks rights; let it own the database, or grant it all on its schema and tables")
	case c == "25006":
		return errReadOnly()
	case c == "53300":
		return unavailable("the database server has no connections left; let it have more, or ask for fewer")
	case c == "57P03":
		return unavailable("the database server is starting or stopping; try again")
	case c == "42704" || c == "22023":
		return invalid("the database server does not know a parameter of the URL; remove it")
	case c != "":
		return unavailable("the database server refused: SQLSTATE " + c)
	case errors.Is(err, context.Canceled):
		return coffer.E(op, coffer.Unavailable, context.Canceled)
	case cutOff(err):
		// Before what is said of TLS: a server without TLS refuses it first, and is then asked without.
		return unavailable("the connection to the database server broke; try again")
	case strings.Contains(err.Error(), "server refused TLS") || strings.Contains(err.Error(), "tls:") ||
		strings.Contains(err.Error(), "x509:"):
		return invalid("no trusted TLS connection to the database server; see sslmode and sslrootcert in the URL")
	}
	var dial *pgconn.ConnectError
	if errors.As(err, &dial) || errors.Is(err, context.DeadlineExceeded) {
		return unavailable("the database server does not answer; see whether it runs, and whether the URL names its host and port")
	}
	return unavailable("the connection to the database server failed; see its log")
}

func errReadOnly() error {
	return coffer.Errorf("postgres.Open", coffer.Unavailable,
		"the database only lets read; name the primary server, or let the database write")
}
