package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/cofferhq/coffer"
)

// A journal keeps the agent's notes, on transfers under way and on the vault's history, as files of a folder. It keeps
// [agent.Journal].
type journal struct {
	dir string
}

var noteName = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// maxNote bounds a note that is read back.
const maxNote = 9 << 20

func (j journal) file(name string) (string, error) {
	if !noteName.MatchString(name) {
		return "", coffer.Errorf("journal", coffer.Invalid, "not the name of a note")
	}
	return filepath.Join(j.dir, name), nil
}

// Load returns a note, or NotExist.
func (j journal) Load(_ context.Context, name string) ([]byte, error) {
	file, err := j.file(name)
	if err != nil {
		return nil, err
	}
	b, err := readSmall(file, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, coffer.Errorf("journal", coffer.NotExist, "no such note")
	}
	return b, err
}

// Save replaces a note.
func (j journal) Save(_ context.Context, name string, note []byte) error {
	file, err := j.file(name)
	if err != nil {
		return err
	}
	return writeFile(file, note)
}

// Delete removes a note, if there is one.
func (j journal) Delete(_ context.Context, name string) error {
	file, err := j.file(name)
	if err != nil {
		return err
	}
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
