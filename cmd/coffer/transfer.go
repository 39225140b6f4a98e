package main

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/cofferhq/coffer/agent"
)

// How much is on its way at once: chunks of a single file; or of a folder, files with a chunk each, and besides small
// ones, which stand in a document each. All of it fits into memory. Small files that are stored at the same time share
// one commit of the vault.
const (
	chunksAtOnce     = 4
	filesAtOnce      = 4
	smallFilesAtOnce = 32
)

// A transfer moves files into or out of the vault, several at once, and counts them.
type transfer struct {
	program *program
	owner   *owner
	at      *spot                // where in a vault
	again   bool                 // what looks unchanged, too
	share   []agent.ShareOptions // with whom what is stored is shared
	bar     *progress

	mu        sync.Mutex
	files     int
	bytes     int64
	unchanged int
	failed    error // the first failure of a single file; the others went on
	failures  int
	alone     map[string]bool // names of what others were given alone to write, once it was needed
}

// counter returns a function for one file's progress.
func (t *transfer) counter() func(done, total int64) {
	var before int64
	return func(done, _ int64) {
		t.bar.add(done - before)
		before = done
	}
}

// note tells the person something about a single file.
func (t *transfer) note(format string, args ...any) {
	t.bar.clear()
	t.program.note(format, args...)
}

// complain reports the failure of a single file, while the others go on.
func (t *transfer) complain(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	if t.failed == nil {
		t.failed = err
	}
	t.bar.clear()
	t.program.fail(err)
}

// local reports whether an error is one of this machine's files.
func local(err error) bool {
	var pe *fs.PathError
	var le *os.LinkError
	return errors.As(err, &pe) || errors.As(err, &le)
}

// withoutPath returns the reason of an error about a file.
func withoutPath(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}

// interruptedTransfer is the failure of a transfer that a signal ended. What comes from or goes to a pipe cannot go on.
func interruptedTransfer(goesOn bool) error {
	f := &failure{message: "interrupted", err: errInterrupted}
	if goesOn {
		f.next = "run the same command again to go on where it stopped"
	}
	return f
}
