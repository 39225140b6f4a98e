package pebble

import (
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
)

// health is where the engine reports its troubles. It passes on nothing of the engine's own texts: they name files and
// may hold keys.
type health struct {
	logger *slog.Logger
	opened atomic.Bool // from then on, the engine tries again what failed in the background
	once   sync.Once
	why    string        // the store is broken; empty if that is not known
	dead   chan struct{} // closed when the store is broken, after why was set
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
// return: going on would damage what is on the disk. Other users of the engine end the process. Here the store is
// marked as broken, so that every caller is answered, and this goroutine stands still with all that it has locked, so
// that the engine does nothing more.
func (h *health) Fatalf(_ string, args ...any) {
	var err error
	for _, a := range args {
		if e, ok := a.(error); ok {
			err = e
		}
	}
	h.fail(err)
	select {}
}

// require does not return when there is an error, as Fatalf.
func (h *health) require(err error) {
	if err != nil {
		h.fail(err)
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
	if !h.opened.Load() {
		h.require(err) // opening would wait for ever
	}
	if h.logger != nil {
		h.logger.Error("storage engine: background work failed and will be tried again", "reason", reason(err))
	}
}

// fail marks the store as broken, by an error that may be nil.
func (h *health) fail(err error) {
	h.once.Do(func() {
		if err != nil {
			h.why = reason(err)
		}
		if h.logger != nil { // first: once it is known that the store is broken, so is why
			h.logger.Error("storage engine: cannot go on; the store must be opened anew")
		}
		close(h.dead)
	})
}

// Broken implements [store.Breakable].
func (s *Store) Broken() <-chan struct{} { return s.health.dead }

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
	switch {
	case h.why == "":
		return coffer.Errorf(op, coffer.Unavailable, "the storage engine failed; the store must be opened anew")
	case !h.opened.Load():
		return coffer.Errorf(op, coffer.Unavailable, h.why)
	}
	return coffer.Errorf(op, coffer.Unavailable, h.why+"; the store must be opened anew")
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

// leave ends the reading of a list. Who is the last to leave a state of the engine takes a lock that Fatalf may have
// left held for ever.
func (h *health) leave(iterators ...*engine.Iterator) {
	h.guard(func() {
		for _, it := range iterators {
			_ = it.Close() // its errors were seen where it was used
		}
	})
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
	case vfs.IsNoSpaceError(err) || errors.Is(err, syscall.EDQUOT):
		return "the disk is full"
	case errors.Is(err, syscall.EROFS):
		return "the disk may only be read: its file system is read-only"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not write to the folder"
	case errors.As(err, &no):
		return no.Error()
	default:
		return "the storage engine failed"
	}
}
