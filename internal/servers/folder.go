package servers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A folder is a temporary one that a server keeps things in. It holds a file that is locked for as long as this process
// or the server is there: so one that both left behind, killed, is found and removed by who comes next.
type folder struct {
	path string
	lock *os.File // nil: removed
}

// lockName is the file in a folder that is locked.
const lockName = "lock"

// newFolder makes a folder for the account whose name begins with the prefix, and removes those that were left behind.
func newFolder(prefix string, owner *account) (*folder, error) {
	removeStale(prefix)
	// It gets its name when it is locked: until then it is none that could be left behind.
	path, err := os.MkdirTemp("", "coffer-new-")
	if err != nil {
		return nil, err
	}
	f := &folder{path: path}
	if f.lock, err = os.Create(filepath.Join(path, lockName)); err == nil {
		err = errors.Join(lock(f.lock), owner.give(path))
	}
	if err == nil {
		name := filepath.Join(filepath.Dir(path), prefix+newName())
		if err = os.Rename(path, name); err == nil {
			f.path = name
			return f, nil
		}
	}
	return nil, errors.Join(err, f.remove())
}

// removeStale removes the folders that nobody holds any more. That one cannot be removed is not our trouble.
func removeStale(prefix string) {
	if !locks {
		return
	}
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, path := range found {
		l, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if lock(l) == nil {
			_ = os.RemoveAll(path)
		}
		_ = l.Close()
	}
}

// lend lets the command hold the folder, too.
func (f *folder) lend(cmd *exec.Cmd) {
	if locks {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f.lock)
	}
}

// remove removes the folder. Processes that a killed server left may write to it still for a moment.
func (f *folder) remove() error {
	err := os.RemoveAll(f.path)
	for end := time.Now().Add(stopTime); err != nil && time.Now().Before(end); err = os.RemoveAll(f.path) {
		time.Sleep(pollTime)
	}
	if f.lock != nil {
		err = errors.Join(err, f.lock.Close())
		f.lock = nil
	}
	return err
}
