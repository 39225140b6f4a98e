package tree

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/jose"
)

// A folder is what one page holds of one folder: rows, or links to the sub-pages among which the rows are divided.
type folder struct {
	id   coffer.ObjectID
	rows []*row  // in order of names
	subs []*link // in order of prefixes, none of which begins another; if there are any, there are no rows
}

// A kind says what a row is.
type kind uint8

const (
	file   kind = iota // a file or a typed object
	inline             // a folder that stands in the page itself
	paged              // a folder with a page of its own
)

// A row is one entry of a folder. It is never changed, only replaced: pages that are shared between trees hold it.
// What a folder inline holds may be changed by the tree that owns the page.
type row struct {
	kind     kind
	name     string
	link            // of a folder inline just the id
	in       folder // kind inline
	due      uint64 // for a file or a folder inline: it, or all in it, need keys of at least this epoch
	modified time.Time
	shared   bool

	// Files only.
	rev       coffer.Rev
	sequence  uint64
	size      int64
	mode      fs.FileMode
	mime, typ string
}

// A link is what a page holds of another object: where it is, and the keys to it.
type link struct {
	id    coffer.ObjectID
	key   seal.ObjectKey
	write wrapped
	epoch uint64

	// Of pages only.
	waits  bool   // something in the page or below needs new keys
	prefix string // of sub-pages: with what the hashes of its names begin, as digits 0 and 1
}

// Lengths of what a row holds in base64url. They tell the kinds of rows apart.
const (
	inlineLen = len(coffer.ObjectID{})
	pagedLen  = inlineLen + len(seal.ObjectKey{}) + len(wrapped{})
	fileLen   = pagedLen + len(coffer.Rev{})
)

// MaxEpoch is the greatest epoch and the greatest sequence: integers beyond it are not exact in all JSON.
const MaxEpoch = 1<<53 - 1

// MaxText bounds a node's type and its media type, in bytes.
const MaxText = 256

// find returns where a name stands in the folder, or would.
func (f *folder) find(name string) (int, bool) {
	return slices.BinarySearchFunc(f.rows, name, func(r *row, name string) int { return strings.Compare(r.name, name) })
}

// get returns the row of a name, nil if there is none.
func (f *folder) get(name string) *row {
	if i, ok := f.find(name); ok {
		return f.rows[i]
	}
	return nil
}

// set inserts a row, or replaces the one of its name.
func (f *folder) set(r *row) {
	i, ok := f.find(r.name)
	if ok {
		f.rows[i] = r
		return
	}
	f.rows = slices.Insert(f.rows, i, r)
}

// remove takes out the row of a name.
func (f *folder) remove(name string) {
	if i, ok := f.find(name); ok {
		f.rows = slices.Delete(f.rows, i, i+1)
	}
}

// setSub inserts the link of a sub-page.
func (f *folder) setSub(l *link) {
	i, _ := slices.BinarySearchFunc(f.subs, l.prefix, func(s *link, p string) int { return strings.Compare(s.prefix, p) })
	f.subs = slices.Insert(f.subs, i, l)
}

// removeSub takes out the link of a sub-page.
func (f *folder) removeSub(id coffer.ObjectID) {
	f.subs = slices.DeleteFunc(f.subs, func(l *link) bool { return l.id == id })
}

// clone returns a copy that can be changed.
func (f *folder) clone() folder {
	c := folder{id: f.id, rows: slices.Clone(f.rows), subs: slices.Clone(f.subs)}
	for i, r := range c.rows {
		if r.kind == inline {
			r := *r
			r.in = r.in.clone()
			c.rows[i] = &r
		}
	}
	return c
}

// room returns how many bytes of a page's content the folder takes at most. Numbers that may change while the row
// stays are counted with all the digits they may get, so that new keys never make a page overflow.
func (f *folder) room() (n int) {
	for _, r := range f.rows {
		n += r.room()
	}
	for _, l := range f.subs {
		n += linkRoom + len(l.prefix)
	}
	return n
}

const (
	depthRoom = 2 + 1                            // two digits and a comma
	linkRoom  = 2 + 118 + 1 + 3 + 1 + 16 + 2 + 1 // ["","…",epoch,1],
	pageRoom  = len(`{"type":"coffer/page","version":1,"due":9007199254740991,"folder":"","prefix":"",`+
		`"rows":[],"pages":[]}`) + 22
)

// room is as the folder's.
func (r *row) room() int {
	c := *r
	if c.kind == paged {
		c.epoch, c.shared = MaxEpoch, true
	}
	return depthRoom + len("[],") + len(c.appendFields(make([]byte, 0, 512))) + r.in.room()
}

// append appends the row, and those below it, each with a comma behind it.
func (r *row) append(b []byte, depth int) []byte {
	b = strconv.AppendInt(append(b, '['), int64(depth), 10)
	b = append(r.appendFields(append(b, ',')), "],"...)
	return r.in.append(b, depth+1)
}

// append appends the rows, each with a comma behind it.
func (f *folder) append(b []byte, depth int) []byte {
	for _, r := range f.rows {
		b = r.append(b, depth)
	}
	return b
}

// appendFields appends the row without its depth. Fields at the end that are zero are left off.
func (r *row) appendFields(b []byte) []byte {
	b, _ = jsontext.AppendQuote(b, r.name) // all names are UTF-8
	raw := append(make([]byte, 0, fileLen), r.id[:]...)
	if r.kind != inline {
		raw = append(append(raw, r.key[:]...), r.write[:]...)
	}
	if r.kind == file {
		raw = append(raw, r.rev[:]...)
	}
	b = append(b, `,"`...)
	b = append(base64.RawURLEncoding.AppendEncode(b, raw), '"')
	end := len(b)
	number := func(v uint64) {
		if b = strconv.AppendUint(append(b, ','), v, 10); v != 0 {
			end = len(b)
		}
	}
	text := func(s string) {
		if b, _ = jsontext.AppendQuote(append(b, ','), s); s != "" {
			end = len(b)
		}
	}
	if r.kind != inline {
		number(r.epoch)
	}
	if b = appendTime(append(b, ','), r.modified); b[len(b)-1] != '0' || b[len(b)-2] != ',' {
		end = len(b)
	}
	if r.kind == file {
		number(r.sequence)
		number(uint64(r.size))
		number(uint64(r.mode))
		text(r.mime)
		if r.typ == TypeFile {
			text("")
		} else {
			text(r.typ)
		}
	}
	if r.kind == paged {
		number(flag(r.waits))
	} else {
		number(r.due)
	}
	number(flag(r.shared))
	return b[:end]
}

// append appends the link of a sub-page.
func (l *link) append(b []byte) []byte {
	b = append(append(b, `["`...), l.prefix...)
	raw := append(append(append(make([]byte, 0, pagedLen), l.id[:]...), l.key[:]...), l.write[:]...)
	b = base64.RawURLEncoding.AppendEncode(append(b, `","`...), raw)
	b = append(b, '"')
	if l.epoch != 0 || l.waits {
		b = strconv.AppendUint(append(b, ','), l.epoch, 10)
	}
	if l.waits {
		b = append(b, ",1"...)
	}
	return append(b, ']')
}

func flag(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}

// appendTime appends seconds since 1970 as a decimal, with at most nine digits of fraction, 0 for the zero time.
func appendTime(b []byte, t time.Time) []byte {
	sec, frac := t.Unix(), t.Nanosecond()
	if t.IsZero() || sec == 0 && frac == 0 {
		return append(b, '0')
	}
	if sec < 0 {
		b = append(b, '-')
		if sec = -sec; frac > 0 {
			sec, frac = sec-1, 1e9-frac
		}
	}
	b = strconv.AppendInt(b, sec, 10)
	if frac > 0 {
		b = append(b, '.')
		b = append(b, strconv.Itoa(1e9 + frac)[1:]...)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return b
}

// maxTimeText is the greatest length of a time: a sign, twelve digits, a point, nine digits.
const maxTimeText = 23

// parseTime reads what appendTime writes.
func parseTime(s string) (t time.Time, ok bool) {
	if s == "0" {
		return t, true
	}
	if len(s) > maxTimeText {
		return t, false
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(whole) > 12 || len(fraction) > 9 {
		return t, false
	}
	nano, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return t, false
	}
	if s[0] == '-' {
		sec, nano = -sec, -nano
	}
	t = time.Unix(sec, nano).UTC()
	return t, string(appendTime(nil, t)) == s
}

// timeFits reports whether a time can be kept.
func timeFits(t time.Time) bool { return t.Unix() < 1e12 && t.Unix() > -1e12 }

// errRow is what is wrong with a row. Decode says no more.
var errRow = errors.New("a row is not of the expected form")

// A field is one element of a row as it was read.
type field struct {
	text   string
	number bool
}

// maxFields is how many elements a row has at most: those of a file.
const maxFields = 12

// readFields reads an array of texts and numbers.
func readFields(d *jsontext.Decoder) ([]field, error) {
	if d.PeekKind() != '[' {
		return nil, errRow
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	fields := make([]field, 0, maxFields)
	for {
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		switch t.Kind() {
		case ']':
			return fields, nil
		case '"', '0':
			if len(fields) == maxFields {
				return nil, errRow
			}
			fields = append(fields, field{text: t.String(), number: t.Kind() == '0'})
		default:
			return nil, errRow
		}
	}
}

// A rowReader takes the fields of a row one after the other. Those that were left off are zero.
type rowReader struct {
	fields []field
	bad    bool
}

func newRowReader(fields []field) *rowReader {
	last := field{}
	if len(fields) > 0 {
		last = fields[len(fields)-1]
	}
	return &rowReader{fields: fields, bad: last.number && last.text == "0" || last.text == ""}
}

func (r *rowReader) take(number bool) string {
	if len(r.fields) == 0 {
		if number {
			return "0"
		}
		return ""
	}
	f := r.fields[0]
	r.fields = r.fields[1:]
	if f.number != number {
		r.bad = true
	}
	return f.text
}

func (r *rowReader) number(most uint64) uint64 {
	s := r.take(true)
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v > most || strconv.FormatUint(v, 10) != s {
		r.bad = true
	}
	return v
}

func (r *rowReader) text() string {
	s := r.take(false)
	if len(s) > MaxText {
		r.bad = true
	}
	return s
}

// bytes takes base64url of at most so many bytes.
func (r *rowReader) bytes(most int) []byte {
	s := r.take(false)
	if len(s) > base64.RawURLEncoding.EncodedLen(most) {
		r.bad = true
		return nil
	}
	b, ok := jose.Decode64(s)
	r.bad = r.bad || !ok
	return b
}

// link takes what the bytes of a page's or a file's row begin with.
func (l *link) take(b []byte) {
	b = b[copy(l.id[:], b):]
	b = b[copy(l.key[:], b):]
	copy(l.write[:], b)
}

// A rowAt is a row as it stands in a page: at a depth, 0 for those of the page's own folder.
type rowAt struct {
	depth int
	row   row
}

// UnmarshalJSONFrom reads a row.
func (a *rowAt) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	fields, err := readFields(d)
	if err != nil {
		return err
	}
	if len(fields) < 3 {
		return errRow
	}
	r, in := &a.row, newRowReader(fields)
	a.depth = int(in.number(MaxDepth - 1))
	if r.name = in.take(false); !properName(r.name) {
		return errRow
	}
	b := in.bytes(fileLen)
	switch len(b) {
	case inlineLen:
		r.kind = inline
		copy(r.id[:], b)
		r.in.id = r.id
	case pagedLen:
		r.kind = paged
		r.take(b)
	case fileLen:
		r.kind = file
		r.take(b)
		copy(r.rev[:], b[pagedLen:])
	default:
		return errRow
	}
	if r.kind != inline {
		r.epoch = in.number(MaxEpoch)
	}
	t, ok := parseTime(in.take(true))
	r.modified = t
	if r.kind == file {
		r.sequence = in.number(coffer.MaxSequence)
		r.size = int64(in.number(1<<63 - 1))
		r.mode = fs.FileMode(in.number(1<<32 - 1))
		r.mime = in.text()
		switch r.typ = in.text(); r.typ {
		case "":
			r.typ = TypeFile
		case TypeFile, TypeFolder:
			return errRow
		}
	}
	if r.kind == paged {
		r.waits = in.number(1) == 1
	} else {
		r.due = in.number(MaxEpoch)
	}
	r.shared = in.number(1) == 1
	if in.bad || !ok || len(in.fields) > 0 || r.id == (coffer.ObjectID{}) {
		return errRow
	}
	return nil
}

// UnmarshalJSONFrom reads the link of a sub-page.
func (l *link) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	fields, err := readFields(d)
	if err != nil {
		return err
	}
	if len(fields) < 2 {
		return errRow
	}
	in := newRowReader(fields)
	l.prefix = in.take(false)
	b := in.bytes(pagedLen)
	l.epoch = in.number(MaxEpoch)
	l.waits = in.number(1) == 1
	if in.bad || len(in.fields) > 0 || len(b) != pagedLen || !properPrefix(l.prefix) {
		return errRow
	}
	if l.take(b); l.id == (coffer.ObjectID{}) {
		return errRow
	}
	return nil
}

// node returns the row as callers see it. The page's write key opens the row's.
func (r *row) node(page seal.WriteKey) (Node, error) {
	n := Node{
		Ref: seal.Ref{ID: r.id, Key: r.key}, Name: r.name, Type: TypeFolder, Modified: r.modified, Epoch: r.epoch,
		Shared: r.shared,
	}
	if r.kind == inline {
		return n, nil
	}
	// What is not wrapped under the page's key is none: one bad row must not hide all others.
	n.Ref.Write, _ = unwrap(page, r.id, r.write)
	if r.kind == file {
		n.Type, n.MIME, n.Size, n.Mode, n.Sequence, n.Rev = r.typ, r.mime, r.size, r.mode, r.sequence, r.rev
	}
	return n, nil
}

// newRow returns the row of a file, to stand in a page with this write key. Invalid for what cannot be kept.
func newRow(name string, n Node, page seal.WriteKey) (*row, error) {
	switch {
	case n.Ref.ID == coffer.ObjectID{}:
		return nil, coffer.Errorf("tree", coffer.Invalid, "a file without an id")
	case n.Type == TypeFolder:
		return nil, coffer.Errorf("tree", coffer.Invalid, "a folder is not put as a file")
	case n.Size < 0 || n.Sequence > coffer.MaxSequence || n.Epoch > MaxEpoch || !timeFits(n.Modified):
		return nil, coffer.Errorf("tree", coffer.Invalid, "size, sequence, epoch or time out of range")
	case len(n.MIME) > MaxText || len(n.Type) > MaxText || !utf8.ValidString(n.MIME) || !utf8.ValidString(n.Type):
		return nil, coffer.Errorf("tree", coffer.Invalid, "type is too long, or not UTF-8")
	}
	if n.Type == "" {
		n.Type = TypeFile
	}
	return &row{
		kind: file, name: name, modified: keptTime(n.Modified), shared: n.Shared,
		link: link{id: n.Ref.ID, key: n.Ref.Key, write: wrap(page, n.Ref.ID, n.Ref.Write), epoch: n.Epoch},
		rev:  n.Rev, sequence: n.Sequence, size: n.Size, mode: n.Mode, mime: n.MIME, typ: n.Type,
	}, nil
}

// keptTime returns the time as it is found again.
func keptTime(t time.Time) time.Time {
	if t.IsZero() || t.Equal(time.Unix(0, 0)) {
		return time.Time{}
	}
	return t.Round(0).UTC()
}

// newFolderRow returns the row of a new folder.
func newFolderRow(name string, modified time.Time) (*row, error) {
	if !timeFits(modified) {
		return nil, coffer.Errorf("tree", coffer.Invalid, "time out of range")
	}
	id := coffer.NewObjectID()
	return &row{
		kind: inline, name: name, link: link{id: id}, in: folder{id: id}, modified: keptTime(modified),
	}, nil
}
