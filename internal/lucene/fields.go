package lucene

import (
	"bytes"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
)

// Bounds on a document.
const (
	MaxField  = 256  // bytes of a field's name
	MaxValues = 4096 // values in all fields; more are passed over
	maxNest   = 64   // of JSON
)

// Fields is a document as queries see it: values by the names of their fields, where a field may have many. Texts are
// analysed when they are added. The zero Fields is empty and ready to use. A value whose field's name is empty, longer
// than [MaxField] or holds NUL is passed over.
type Fields struct {
	// Title is the field whose whole values patterns without a field match too, beside words.
	Title string

	fields map[string]*Field
	values int
}

// A Field is what a document has in one field.
type Field struct {
	Wholes  []string   // folded texts of at most [MaxWhole] bytes
	Words   [][]string // of each text that has words to be found by
	Numbers []float64
	Times   []int64 // microseconds since 1970
	Bools   []bool
}

// All yields the fields, by name in ascending order.
func (f *Fields) All() iter.Seq2[string, *Field] {
	return func(yield func(string, *Field) bool) {
		for _, name := range slices.Sorted(maps.Keys(f.fields)) {
			if !yield(name, f.fields[name]) {
				return
			}
		}
	}
}

// field returns the field to which one more value may be added, nil if none may.
func (f *Fields) field(name string) *Field {
	if name == "" || len(name) > MaxField || strings.IndexByte(name, 0) >= 0 || f.values >= MaxValues {
		return nil
	}
	f.values++
	x := f.fields[name]
	if x == nil {
		if f.fields == nil {
			f.fields = map[string]*Field{}
		}
		x = &Field{}
		f.fields[name] = x
	}
	return x
}

// Text adds a text, which is found by its words, also without naming the field, and as a whole.
func (f *Fields) Text(name, s string) {
	if x := f.field(name); x != nil {
		s = Fold(s)
		x.whole(s)
		if words := splitWords(s); len(words) > 0 {
			x.Words = append(x.Words, words)
		}
	}
}

// Keyword adds a text that is found as a whole only, and only by naming the field.
func (f *Fields) Keyword(name, s string) {
	if x := f.field(name); x != nil {
		x.whole(Fold(s))
	}
}

func (x *Field) whole(folded string) {
	if len(folded) <= MaxWhole {
		x.Wholes = append(x.Wholes, folded)
	}
}

// Number adds a number, which is not NaN.
func (f *Fields) Number(name string, n float64) {
	if x := f.field(name); x != nil {
		x.Numbers = append(x.Numbers, n+0)
	}
}

// Time adds a time, which counts in microseconds.
func (f *Fields) Time(name string, t time.Time) {
	if x := f.field(name); x != nil {
		x.Times = append(x.Times, t.UnixMicro())
	}
}

// Bool adds a boolean.
func (f *Fields) Bool(name string, b bool) {
	if x := f.field(name); x != nil {
		x.Bools = append(x.Bools, b)
	}
}

// JSON adds what stands in a JSON value: member b of member a is the field a.b, each element of an array is a value of
// the array's field, and null is no value. A string that reads as a date or a time is a time as well. Invalid for what
// is no JSON or nests deeper than 64; what was read before stays.
func (f *Fields) JSON(value jsontext.Value) error {
	d := jsontext.NewDecoder(bytes.NewReader(value), jsontext.AllowDuplicateNames(true))
	err := f.decode(d, "", 0)
	if err == nil {
		if _, end := d.ReadToken(); end != io.EOF {
			err = coffer.Invalid
		}
	}
	if err != nil {
		return coffer.Errorf("fields", coffer.Invalid, "not JSON, or nested too deeply")
	}
	return nil
}

func (f *Fields) decode(d *jsontext.Decoder, name string, depth int) error {
	if depth > maxNest {
		return coffer.Invalid
	}
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch t.Kind() {
	case '"':
		s := t.String()
		f.Text(name, s)
		if first, _, ok := ParseTime(s); ok {
			if x := f.field(name); x != nil {
				x.Times = append(x.Times, first)
			}
		}
	case '0':
		if n, err := t.Float(); err == nil && !math.IsInf(n, 0) { // what is too great for a float64 is passed over
			f.Number(name, n)
		}
	case 't', 'f':
		f.Bool(name, t.Bool())
	case '[':
		for d.PeekKind() != ']' {
			if err := f.decode(d, name, depth+1); err != nil {
				return err
			}
		}
		_, err = d.ReadToken()
	case '{':
		for d.PeekKind() != '}' {
			t, err := d.ReadToken()
			if err != nil {
				return err
			}
			inner := t.String()
			if name != "" {
				inner = name + "." + inner
			}
			if err := f.decode(d, inner, depth+1); err != nil {
				return err
			}
		}
		_, err = d.ReadToken()
	}
	return err
}
