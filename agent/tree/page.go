package tree

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/jose"
)

// Sizes of pages.
const (
	PageSize   = 16 << 10        // bytes of a sealed page's whole plaintext, which is padded to just that
	MaxContent = PageSize - 1792 // bytes of a page's content: the rest is for binding, signature and padding
)

// What the members "type" and "version" of a page's content say.
const (
	pageType    = "coffer/page"
	pageVersion = 1
)

// maxPrefix is how many bits of a name's hash are looked at.
const maxPrefix = 64

// A Page is one page as it was read, or as it shall be written. It is never changed and may be used by several trees
// and goroutines at once.
type Page struct {
	ref     seal.Ref
	content []byte
	body    *body
}

// A body is what a page holds.
type body struct {
	top    folder // what the page holds of its folder
	prefix string // of a sub-page: with what the hashes of the names in it begin; of a folder's own page ""
	due    uint64 // all keys in the page that are of a smaller epoch must be made anew
}

// pageJSON is a page's content, specified in doc/tree.md.
type pageJSON struct {
	Type    string  `json:"type"`
	Version int     `json:"version"`
	Due     uint64  `json:"due"`
	Folder  string  `json:"folder"`
	Prefix  string  `json:"prefix"`
	Rows    []rowAt `json:"rows"`
	Pages   []*link `json:"pages"`
}

// NewRoot returns the empty page of a folder with nothing above it.
func NewRoot(ref seal.Ref) *Page { return newPage(ref, &body{top: folder{id: ref.ID}}) }

// newPage returns a page that holds what b holds, which is not changed any more.
func newPage(ref seal.Ref, b *body) *Page { return &Page{ref: ref, content: b.encode(ref.ID), body: b} }

// Ref returns where the page is, and the keys to it.
func (p *Page) Ref() seal.Ref { return p.ref }

// Content returns what is to be sealed, at most [MaxContent] bytes. It must not be changed.
func (p *Page) Content() []byte { return p.content }

// String says what it is, and nothing of what it holds.
func (p *Page) String() string { return "tree.Page" }

// GoString is String.
func (p *Page) GoString() string { return p.String() }

// Decode reads the content of a page that was opened with this Ref. The content is kept, and must not be changed
// afterwards. Corrupt when it is not as doc/tree.md has it, beyond [PageSize] too; Invalid when of a later version.
func Decode(ref seal.Ref, content []byte) (*Page, error) {
	if len(content) > PageSize {
		return nil, corrupt("a page is too long")
	}
	var w pageJSON
	if err := jose.Decode(content, &w); err != nil || w.Type != pageType || w.Version != pageVersion {
		var v struct {
			Type    string `json:"type"`
			Version int    `json:"version"`
		}
		if jose.DecodeOpen(content, &v) == nil && v.Type == pageType && v.Version > pageVersion {
			return nil, coffer.Errorf("tree", coffer.Invalid, "a newer program wrote the page")
		}
		return nil, corrupt("a page is not of the expected form")
	}
	b := &body{top: folder{id: ref.ID}, prefix: w.Prefix, due: w.Due}
	switch {
	case w.Due > MaxEpoch, len(w.Rows) > 0 && len(w.Pages) > 0, (w.Folder == "") != (w.Prefix == ""):
		return nil, corrupt("a page contradicts itself")
	case w.Folder != "":
		id, ok := jose.Decode64(w.Folder)
		if !ok || len(id) != len(b.top.id) || !properPrefix(w.Prefix) {
			return nil, corrupt("a sub-page does not say what it is of")
		}
		b.top.id = coffer.ObjectID(id)
	}
	ids := map[coffer.ObjectID]bool{ref.ID: true, {}: true}
	if w.Prefix != "" {
		if ids[b.top.id] {
			return nil, corrupt("a sub-page is its own folder")
		}
		ids[b.top.id] = true
	}
	if err := b.nest(w.Rows, ids); err != nil {
		return nil, err
	}
	for i, l := range w.Pages {
		if l == nil {
			return nil, corrupt("a sub-page is not named")
		}
		if ids[l.id] || !strings.HasPrefix(l.prefix, w.Prefix) || l.prefix == w.Prefix ||
			i > 0 && (l.prefix <= w.Pages[i-1].prefix || strings.HasPrefix(l.prefix, w.Pages[i-1].prefix)) {
			return nil, corrupt("sub-pages overlap, or are out of order")
		}
		ids[l.id] = true
	}
	b.top.subs = w.Pages
	return &Page{ref: ref, content: content, body: b}, nil
}

// nest builds the folders of a page from its rows, each of which stands behind its folder's.
func (b *body) nest(rows []rowAt, ids map[coffer.ObjectID]bool) error {
	open := []*folder{&b.top} // the folders that the next row may be in
	for i := range rows {
		r, depth := &rows[i].row, rows[i].depth
		if depth >= len(open) {
			return corrupt("a row is in no folder")
		}
		open = open[:depth+1]
		f := open[depth]
		if n := len(f.rows); n > 0 && f.rows[n-1].name >= r.name {
			return corrupt("names are out of order, or there twice")
		}
		if depth == 0 && b.prefix != "" && !strings.HasPrefix(hashOf(b.top.id, r.name), b.prefix) {
			return corrupt("a name does not belong in its sub-page")
		}
		if r.kind != file {
			if ids[r.id] {
				return corrupt("a folder is there twice")
			}
			ids[r.id] = true
		}
		if f.rows = append(f.rows, r); r.kind == inline {
			open = append(open, &r.in)
		}
	}
	return nil
}

// encode returns the page's content.
func (b *body) encode(id coffer.ObjectID) []byte {
	out := append(make([]byte, 0, 4096), `{"type":"`+pageType+`","version":`...)
	out = strconv.AppendInt(out, pageVersion, 10)
	if b.due != 0 {
		out = strconv.AppendUint(append(out, `,"due":`...), b.due, 10)
	}
	if b.prefix != "" {
		out = base64.RawURLEncoding.AppendEncode(append(out, `,"folder":"`...), b.top.id[:])
		out = append(append(out, `","prefix":"`...), b.prefix...)
		out = append(out, '"')
	}
	if len(b.top.rows) > 0 {
		out = b.top.append(append(out, `,"rows":[`...), 0)
		out[len(out)-1] = ']' // in place of the last comma
	}
	if len(b.top.subs) > 0 {
		out = append(out, `,"pages":[`...)
		for _, l := range b.top.subs {
			out = append(l.append(out), ',')
		}
		out[len(out)-1] = ']'
	}
	return append(out, '}')
}

// room returns how many bytes the content takes at most, whatever epochs and marks come.
func (b *body) room() int { return pageRoom + len(b.prefix) + b.top.room() }

// clone returns a copy that can be changed.
func (b *body) clone() *body { return &body{top: b.top.clone(), prefix: b.prefix, due: b.due} }

// waits reports whether something in the page or below needs new keys.
func (b *body) waits() bool { return b.due > 0 || b.top.waits() }

func (f *folder) waits() bool {
	return slices.ContainsFunc(f.subs, func(l *link) bool { return l.waits }) ||
		slices.ContainsFunc(f.rows, func(r *row) bool { return r.waits || r.due > 0 || r.in.waits() })
}

// hashOf returns the first bits of SHA-256(folder's id, name), by which a large folder is divided, as digits 0 and 1.
func hashOf(folder coffer.ObjectID, name string) string {
	sum := sha256.Sum256(append(folder[:len(folder):len(folder)], name...))
	var bits [maxPrefix]byte
	for i := range bits {
		bits[i] = '0' + sum[i/8]>>(7-i%8)&1
	}
	return string(bits[:])
}

// properPrefix reports whether s is one or more, and not too many, digits 0 and 1.
func properPrefix(s string) bool {
	return s != "" && len(s) <= maxPrefix && strings.Trim(s, "01") == ""
}

func corrupt(reason string) error { return coffer.Errorf("tree", coffer.Corrupt, reason) }
