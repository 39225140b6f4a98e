// Package providerview computes what somebody who runs a node can learn: from its disk, its logs, its metrics, the
// traffic and the memory of its process. Its test plays a day in an owner's life and holds what it sees against the
// table of doc/leakage.md.
package providerview

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf16"
)

// A Pattern is something to look for, in every form in which it may show.
type Pattern struct {
	Name  string
	forms [][]byte
}

// NewPattern returns a Pattern for a text or some bytes of at least eight bytes: fewer would be found by chance.
func NewPattern(name string, b []byte) Pattern {
	if len(b) < 8 {
		panic("a pattern must have eight bytes")
	}
	p := Pattern{Name: name, forms: [][]byte{
		b, []byte(hex.EncodeToString(b)), []byte(strings.ToUpper(hex.EncodeToString(b))), wide(b), reversed(b),
	}}
	// base64 shows the same bytes in three ways, by where in a group of three they begin. What depends on the
	// neighbours is cut off.
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{0}, shift), b...)
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(padded)
			from, to := (shift*8+5)/6, len(padded)*8/6
			p.forms = append(p.forms, []byte(text[from:to]))
		}
	}
	return p
}

func wide(b []byte) (out []byte) {
	for _, u := range utf16.Encode([]rune(string(b))) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c
	}
	return out
}

// In reports whether the pattern shows in b in any form.
func (p Pattern) In(b []byte) bool {
	for _, f := range p.forms {
		if bytes.Contains(b, f) {
			return true
		}
	}
	return false
}

// longest is more than the longest form of any pattern used.
const longest = 1 << 12

// scan looks for the patterns in everything that r yields, also across the borders of what is read at a time, and
// notes those found.
func scan(r io.Reader, patterns []Pattern, found map[string]bool) error {
	buf := make([]byte, 0, 1<<20+longest)
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		for _, p := range patterns {
			if !found[p.Name] && p.In(buf) {
				found[p.Name] = true
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return err
		}
		buf = append(buf[:0], buf[len(buf)-longest:]...)
	}
}

// ScanFolder looks for the patterns in the names and contents of all files below a folder.
func ScanFolder(dir string, patterns []Pattern, found map[string]bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if err := scan(strings.NewReader(name), patterns, found); err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // collected since
		} else if err != nil {
			return err
		}
		defer f.Close()
		return scan(f, patterns, found)
	})
}

// ScanMemory looks for the patterns in the memory of a running process, as a core of it would hold it. It returns how
// many bytes it could read.
func ScanMemory(pid int, patterns []Pattern, found map[string]bool) (read int64, err error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "r") {
			continue
		}
		if len(fields) >= 6 && strings.HasPrefix(fields[5], "[v") {
			continue // the kernel's own pages
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseInt(from, 16, 64)
		end, err2 := strconv.ParseInt(to, 16, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		r := &counted{r: io.NewSectionReader(mem, start, end-start)}
		// Parts that go away while being read, or were never backed, are passed over.
		_ = scan(r, patterns, found)
		read += r.n
	}
	return read, lines.Err()
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
