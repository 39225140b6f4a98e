package pebble

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
)

// health is where the engine reports its troubles. It passes on nothing of the engine's own texts: they name files and
// may hold keys.
type health struct {
	logger *slog.Logger
	once   sync.Once
	dead   chan struct{} // closed when the store is broken
}

func newHealth(logger *slog.Logger) *health {
	return &health{logger: logger, dead: make(chan struct{})}
}

var _ engine.Logger = (*health)(nil)

// Infof drops what it is told.
func (h *health) Infof(string, ...any) {}

// Errorf drops what it is told: what matters comes back as an error or to backgroundError.
func (h *health) Errorf(string, ...any) {}

// Fatalf is called by the engine when it cannot go on, usually because it failed to write its manifest, and must not
// return: going on would damage what is on the disk. Other users of the engine end the process. Here the store is marked
// as broken, so that every caller is answered, and this goroutine stands still with all that it has locked, so that the
// engine does nothing more.
func (h *health) Fatalf(string, ...any) {
	h.fail()
	select {}
}

// require does not return when there is an error, as Fatalf.
func (h *health) require(err error) {
	if err != nil {
		h.fail()
		select {}
	}
}

// damage is called when a table was read that is not as it was written. Whoever reads it gets an error, too.
func (h *health) damage(engine.DataCorruptionInfo) {
	if h.logger != nil {
		h.logger.Error("storage engine: a file is damaged")
	}
}

func (h *health) backgroundError(err error) {
	if h.logger != nil {
		h.logger.Error("storage engine: background work failed and will be tried again", "reason", reason(err))
	}
}

// fail marks the store as broken.
func (h *health) fail() {
	h.once.Do(func() {
		if h.logger != nil { // first: once it is known that the store is broken, so is why
			h.logger.Error("storage engine: cannot go on; the store must be opened anew")
		}
		close(h.dead)
	})
}

func (h *health) broken() bool {
	select {
	case <-h.dead:
		return true
	default:
		return false
	}
}

// failure is the error of every call once the store is broken.
func (h *health) failure(op string) error {
	return coffer.Errorf(op, coffer.Unavailable, "the storage engine failed; the store must be opened anew")
}

// guard calls f and reports whether it returned: the engine may stop it for ever, see Fatalf.
func (h *health) guard(f func()) (returned bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-h.dead:
		return false
	}
}

// failure returns an error of the engine as one of ours.
func failure(op string, err error) error {
	kind := coffer.Unavailable
	if engine.IsCorruptionError(err) {
		kind = coffer.Corrupt
	}
	return coffer.Errorf(op, kind, reason(err))
}

// reason says what went wrong, without the names of files and keys that the engine's texts have.
func reason(err error) string {
	var no syscall.Errno
	switch {
	case engine.IsCorruptionError(err):
		return "the storage engine found damage"
	case errors.As(err, &no):
		return no.Error()
	default:
		return "the storage engine failed"
	}
}
