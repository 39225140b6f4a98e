// Package providerview computes what somebody who runs a node can learn: from its disk, its logs, its metrics, the
// traffic and the memory of its process. A [Scanner] looks for texts that must not show; a [Recorder] is a packet
// capture; [Observe] makes of both what shows anyway: documents, their lengths, what is written together, what is asked
// for. Its tests play days in owners' lives against a real node and hold what they see against doc/leakage.md.
package providerview

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// A Pattern is something to look for, in every form in which it may show.
type Pattern struct {
	Name  string
	forms [][]byte
}

// leastForm is how many bytes each form has at least: fewer would be found by chance.
const leastForm = 8

// NewPattern returns a Pattern for a text or some bytes of at least eight bytes: as they are, backwards, as UTF-16, in
// hexadecimal, in base64 wherever in a group of three they begin, as a JSON string has them, and as a URL has them.
func NewPattern(name string, b []byte) Pattern {
	if len(b) < leastForm || len(b) > longest/8 {
		panic("a pattern must have some bytes, and not too many")
	}
	text := string(b)
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("a string that is no JSON")
	}
	p := Pattern{Name: name, forms: [][]byte{
		b, reversed(b), wide(b), []byte(hex.EncodeToString(b)), []byte(strings.ToUpper(hex.EncodeToString(b))),
		quoted[1 : len(quoted)-1], []byte(strings.ReplaceAll(text, "/", `\/`)), []byte(url.QueryEscape(text)),
		[]byte(url.PathEscape(text)), []byte(strings.ReplaceAll(text, ":", "%3a")),
	}}
	// base64 shows the same bytes in three ways, by where in a group of three they begin. What depends on the
	// neighbours is cut off.
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{0}, shift), b...)
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(padded)
			p.forms = append(p.forms, []byte(text[(shift*8+5)/6:len(padded)*8/6]))
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
	out := bytes.Clone(b)
	slices.Reverse(out)
	return out
}

// longest is more than the longest form of any pattern.
const longest = 1 << 13

// A Scanner looks for many patterns in one pass.
type Scanner struct {
	begin [1 << 16]bool // the first two bytes of forms
	forms map[[leastForm]byte][]form
}

type form struct {
	name string
	b    []byte
}

// NewScanner returns a Scanner for the patterns.
func NewScanner(patterns []Pattern) *Scanner {
	s := &Scanner{forms: make(map[[leastForm]byte][]form)}
	for _, p := range patterns {
		for _, b := range p.forms {
			first := [leastForm]byte(b)
			if !slices.ContainsFunc(s.forms[first], func(f form) bool { return bytes.Equal(f.b, b) && f.name == p.Name }) {
				s.forms[first] = append(s.forms[first], form{p.Name, b})
			}
			s.begin[binary.BigEndian.Uint16(b)] = true
		}
	}
	return s
}

// bytes notes which patterns show in b. Nobody else has b, and it may be a part of gigabytes: the race detector, which
// would look at each byte, too, is told to leave it alone.
//
//go:norace
func (s *Scanner) bytes(b []byte, found map[string]bool) {
	for i := 0; i+leastForm <= len(b); i++ {
		if !s.begin[uint16(b[i])<<8|uint16(b[i+1])] {
			continue
		}
		for _, f := range s.forms[[leastForm]byte(b[i:])] {
			if bytes.HasPrefix(b[i:], f.b) {
				found[f.name] = true
			}
		}
	}
}

// Scan looks for the patterns in everything that r yields, also across the borders of what is read at a time, and notes
// those found.
func (s *Scanner) Scan(r io.Reader, found map[string]bool) error {
	buf := make([]byte, 0, 1<<20+longest)
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		s.bytes(buf, found)
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
func (s *Scanner) ScanFolder(dir string, found map[string]bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if err := s.Scan(strings.NewReader(name), found); err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // collected since
		} else if err != nil {
			return err
		}
		defer f.Close()
		return s.Scan(f, found)
	})
}

// ScanMemory looks for the patterns in the memory of a running process, as a core of it would hold it. It returns how
// many bytes it could read.
func (s *Scanner) ScanMemory(pid int, found map[string]bool) (read int64, err error) {
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
		_ = s.Scan(r, found)
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
