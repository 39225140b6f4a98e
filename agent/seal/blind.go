package seal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// An Index says what documents may be found by. With one attribute it is a simple index, with several a compound one,
// which also finds by its first attributes.
//
// An attribute is a path that begins with "content" or "meta", as "content.author.name"; "\." is a dot within a
// name. Where there is an array at its end or on its way, each element counts.
type Index struct {
	Attributes []string
	Unique     bool  // at most one document of the vault may have these values, in all the attributes
	Match      Match // what it finds besides equal values
	Depth      int   // of Prefixes and Integers: how many characters or bits; 0 is DefaultPrefix and MaxBits
}

// Bounds on indexes.
const (
	MaxIndexes    = 64   // of one Blinder
	MaxAttributes = 16   // of one Index
	MaxPath       = 1024 // bytes in an attribute
)

// A Blinder blinds what may be searched for under the keyring's HMAC key, in the form that published clients have
// ("version 2": edv-client 14 and later). The provider learns which documents share a value, and no name or value. It
// may be used by several goroutines at once.
type Blinder struct {
	// Strict makes a query Invalid when an attribute of it is in no index, or only behind one that the query leaves
	// out. Otherwise such an attribute is passed over, as published clients do, and the query finds more. Set it before
	// the first use.
	Strict bool
	// Legacy blinds as edv-client 12 and 13 did ("version 1"), to find and index what their users have stored. Set it
	// before the first use.
	Legacy bool

	ring    coffer.Keyring
	indexes []index
	reaches []reach // those that find more than equal values

	mu    sync.Mutex
	names map[hash]string // blinded names, of which there are as many as indexes and prefixes
}

type hash = [sha256.Size]byte

// index is an Index made ready.
type index struct {
	paths  []string   // as written
	keys   [][]string // each path taken apart
	each   []hash     // each path hashed
	names  []hash     // at i, the hashed name of the first i+1 attributes
	unique bool
}

// NewBlinder returns a Blinder for these indexes. Invalid for paths that cannot be, for an index that is named twice,
// and beyond the bounds above.
func NewBlinder(ring coffer.Keyring, indexes ...Index) (*Blinder, error) {
	const op = "index"
	if len(indexes) > MaxIndexes {
		return nil, coffer.Errorf(op, coffer.Invalid, "too many indexes")
	}
	b := &Blinder{ring: ring, names: map[hash]string{}}
	for _, x := range indexes {
		if len(x.Attributes) == 0 || len(x.Attributes) > MaxAttributes {
			return nil, coffer.Errorf(op, coffer.Invalid, "no attributes, or too many")
		}
		if x.Match != Equal {
			if err := b.addReach(x); err != nil {
				return nil, coffer.E(op, coffer.Invalid, err)
			}
			continue
		}
		i := index{paths: slices.Clone(x.Attributes), unique: x.Unique}
		if slices.ContainsFunc(b.indexes, func(o index) bool { return slices.Equal(o.paths, i.paths) }) {
			return nil, coffer.Errorf(op, coffer.Invalid, "named twice")
		}
		var hashes []byte
		for _, path := range x.Attributes {
			keys, err := splitPath(path)
			if err != nil {
				return nil, coffer.E(op, coffer.Invalid, err)
			}
			h := sha256.Sum256([]byte(path))
			hashes = append(hashes, h[:]...)
			i.each = append(i.each, h)
			i.keys = append(i.keys, keys)
			i.names = append(i.names, sha256.Sum256(hashes))
		}
		if i.simple() {
			i.names[0] = hash(hashes)
		}
		b.indexes = append(b.indexes, i)
	}
	return b, nil
}

// addReach makes an index ready that finds more than equal values.
func (b *Blinder) addReach(x Index) error {
	keys, err := splitPath(x.Attributes[0])
	if err != nil {
		return err
	}
	r, err := newReach(x, keys)
	if err != nil {
		return err
	}
	if _, taken := b.reachOf(r.path, !r.ordered()); taken {
		return errors.New("named twice")
	}
	b.reaches = append(b.reaches, r)
	return nil
}

func (i *index) simple() bool { return len(i.paths) == 1 }

// splitPath takes a path apart. A backslash is left out and takes its meaning from what follows it; two of them stand
// for themselves, both: that is how published clients read it.
func splitPath(path string) ([]string, error) {
	if len(path) > MaxPath || !utf8.ValidString(path) {
		return nil, errors.New("attribute is too long, or not UTF-8")
	}
	keys := []string{""}
	for i := 0; i < len(path); i++ {
		switch last := &keys[len(keys)-1]; {
		case path[i] == '.':
			keys = append(keys, "")
		case path[i] != '\\':
			*last += path[i : i+1]
		case i+1 < len(path):
			if i++; path[i] == '\\' {
				*last += `\`
			}
			*last += path[i : i+1]
		}
	}
	if keys[0] != "content" && keys[0] != "meta" {
		return nil, errors.New(`attribute must begin with "content" or "meta"`)
	}
	return keys, nil
}

// Entry returns the index entry of a document with this sequence. Exhausted when the values, with all their
// combinations, are more than a document may have tags; Invalid when content or meta is no JSON; otherwise the
// keyring's own error.
func (b *Blinder) Entry(ctx context.Context, p Plain, sequence uint64) (edv.Entry, error) {
	const op = "index"
	document := map[string]any{}
	for name, raw := range map[string][]byte{"content": p.Content, "meta": p.Meta} {
		if len(raw) == 0 {
			continue
		}
		var v any
		if err := jose.Decode(raw, &v); err != nil {
			return edv.Entry{}, coffer.E(op, coffer.Invalid, err)
		}
		document[name] = v
	}
	values := map[string][]hash{}
	for _, i := range b.indexes {
		for at, path := range i.paths {
			if _, ok := values[path]; ok {
				continue
			}
			found, ok := follow(document, i.keys[at])
			if !ok {
				break // a compound index ends at the first attribute that is missing
			}
			elements, ok := found.([]any)
			if !ok {
				elements = []any{found}
			}
			if len(elements) > coffer.MaxTags {
				return edv.Entry{}, coffer.Errorf(op, coffer.Exhausted, "too many values")
			}
			hashes, err := b.hashValues(elements)
			if err != nil {
				return edv.Entry{}, err
			}
			values[path] = hashes
		}
	}
	attributes, _, err := b.blind(ctx, values)
	if err != nil {
		return edv.Entry{}, err
	}
	if len(b.reaches) > 0 {
		document, err := exact(p)
		if err != nil {
			return edv.Entry{}, err
		}
		if attributes, err = b.appendTokens(ctx, attributes, document); err != nil {
			return edv.Entry{}, err
		}
	}
	own := b.ring.Key(coffer.HMACKey)
	return edv.Entry{HMAC: coffer.KeyRef{ID: own.ID, Type: own.Type}, Sequence: sequence, Attributes: attributes}, nil
}

// follow returns what stands at the end of a path. Where there is an array on the way it is the array of what stands at
// the end from each element, those left out where there is nothing.
func follow(v any, keys []string) (any, bool) {
	for n, key := range keys {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[key]; !ok {
			return nil, false
		}
		if array, ok := v.([]any); ok {
			var out []any
			for _, e := range array {
				if e, ok := follow(e, keys[n+1:]); ok {
					out = append(out, e)
				}
			}
			return out, true
		}
	}
	return v, true
}

// hashValues returns the hashes of values, each once.
func (b *Blinder) hashValues(values []any) ([]hash, error) {
	const op = "index"
	hashes := make([]hash, 0, len(values))
	seen := make(map[hash]bool, len(values))
	for _, v := range values {
		text, err := jose.Encode(v)
		if err != nil {
			return nil, coffer.Errorf(op, coffer.Invalid, "a value has no JSON form")
		}
		if text, err = jose.Canonical(text); err != nil {
			return nil, coffer.E(op, coffer.Invalid, err)
		}
		if b.Legacy { // the member's name was meant to be the attribute's
			text = slices.Concat([]byte(`{"key":`), text, []byte("}"))
		}
		if h := sha256.Sum256(text); !seen[h] {
			seen[h] = true
			hashes = append(hashes, h)
		}
	}
	return hashes, nil
}

// blind returns the blinded attributes for the hashed values of each path, and which paths they cover.
func (b *Blinder) blind(ctx context.Context, values map[string][]hash) ([]edv.Attribute, map[string]bool, error) {
	attributes := []edv.Attribute{}
	add := func(i *index, at int, value []byte) error {
		if len(attributes) == coffer.MaxTags {
			return coffer.Errorf("index", coffer.Exhausted, "too many combinations of values")
		}
		a, err := b.attribute(ctx, i, at, value)
		attributes = append(attributes, a)
		return err
	}
	covered := map[string]bool{}
	for _, i := range b.indexes {
		found, ok := values[i.paths[0]]
		if !ok || !i.simple() {
			continue
		}
		covered[i.paths[0]] = true
		for _, v := range found {
			if err := add(&i, 0, v[:]); err != nil {
				return nil, nil, err
			}
		}
	}
	simple := maps.Clone(covered)
	for _, i := range b.indexes {
		if i.simple() {
			continue
		}
		combinations := [][]byte{nil} // of hashed values, for the attributes so far
		for at, path := range i.paths {
			var next [][]byte
			for _, v := range values[path] {
				for _, c := range combinations {
					if len(next) > coffer.MaxTags {
						return nil, nil, coffer.Errorf("index", coffer.Exhausted, "too many combinations of values")
					}
					next = append(next, append(slices.Clip(c), v[:]...))
				}
			}
			if len(next) == 0 {
				break
			}
			combinations = next
			covered[path] = true
			if at == 0 && simple[path] {
				continue
			}
			for _, c := range combinations {
				if err := add(&i, at, c); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	return attributes, covered, nil
}

// attribute blinds the first at+1 attributes of an index with their values, each of which is hashed.
func (b *Blinder) attribute(ctx context.Context, i *index, at int, values []byte) (a edv.Attribute, err error) {
	a.Unique = i.unique && at == len(i.paths)-1
	if b.Legacy {
		err = b.legacy(ctx, &a, i, at, values)
		return a, err
	}
	if a.Name, err = b.blindName(ctx, i.names[at]); err != nil {
		return a, err
	}
	value := sha256.Sum256(values)
	if i.simple() {
		value = hash(values)
	}
	salted := sha256.Sum256(append(i.names[at][:], value[:]...)) // equal values of different attributes shall differ
	a.Value, err = b.mac(ctx, salted[:])
	return a, err
}

// legacy blinds as version 1 did: each attribute by itself, and of a compound index the texts that come of that again.
func (b *Blinder) legacy(ctx context.Context, a *edv.Attribute, i *index, at int, values []byte) error {
	var names, blinded []string
	for n, name := range i.each[:at+1] {
		name, err := b.blindName(ctx, name)
		if err != nil {
			return err
		}
		value, err := b.mac(ctx, values[n*sha256.Size:(n+1)*sha256.Size])
		if err != nil {
			return err
		}
		names, blinded = append(names, name), append(blinded, value)
	}
	a.Name, a.Value = names[0], blinded[0]
	if i.simple() {
		return nil
	}
	var err error
	if a.Name, err = b.blindName(ctx, sha256.Sum256([]byte(strings.Join(names, ":")))); err != nil {
		return err
	}
	value := sha256.Sum256([]byte(strings.Join(blinded, ":")))
	a.Value, err = b.mac(ctx, value[:])
	return err
}

func (b *Blinder) blindName(ctx context.Context, name hash) (string, error) {
	b.mu.Lock()
	text, ok := b.names[name]
	b.mu.Unlock()
	if ok {
		return text, nil
	}
	text, err := b.mac(ctx, name[:])
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	b.names[name] = text
	b.mu.Unlock()
	return text, nil
}

// dummyName returns one of the few names that dummies have, at random.
func (b *Blinder) dummyName(ctx context.Context) (string, error) {
	var one [1]byte
	rand.Read(one[:])
	return b.blindName(ctx, sha256.Sum256([]byte{'d', 'u', 'm', 'm', 'y', ' ', one[0] % dummyNames}))
}

func (b *Blinder) mac(ctx context.Context, message []byte) (string, error) {
	m, err := b.ring.MAC(ctx, message)
	return base64.RawURLEncoding.EncodeToString(m), err
}

// Equals returns the query for documents that match any of the filters. A filter maps attributes, written as in their
// index, to values and matches a document that has all of them; an array in a filter is one value, a [Prefix] or a
// [Range] many. An empty filter, and one whose attributes are all passed over, matches nothing. Invalid without
// filters, for what [coffer.Query.Check] refuses, for values that have no JSON form, for a Prefix or a Range that no
// index finds and, if the Blinder is Strict, for attributes in no index. Exhausted when Ranges need more than
// [coffer.MaxFilters] filters: one needs at most two for each bit of its values, two in one filter the product of what
// each needs. Otherwise the keyring's own error.
func (b *Blinder) Equals(ctx context.Context, filters ...map[string]any) (coffer.Query, error) {
	if len(filters) == 0 || len(filters) > coffer.MaxFilters {
		return coffer.Query{}, coffer.Errorf("query", coffer.Invalid, "no filters, or too many")
	}
	q := coffer.Query{Index: b.ring.Key(coffer.HMACKey).ID}
	for _, f := range filters {
		alternatives, err := b.alternatives(ctx, f)
		if err != nil {
			return coffer.Query{}, err
		}
		blinded := map[string]string{}
		if len(f) > len(alternatives) {
			if blinded, err = b.equal(ctx, f); err != nil {
				return coffer.Query{}, err
			}
		}
		expanded := []map[string]string{blinded}
		for _, attributes := range alternatives {
			var next []map[string]string
			for _, one := range expanded {
				for _, a := range attributes {
					if len(q.Equals)+len(next) == coffer.MaxFilters {
						return coffer.Query{}, coffer.Errorf("query", coffer.Exhausted, "too many filters")
					}
					both := maps.Clone(one)
					both[a.Name] = a.Value
					next = append(next, both)
				}
			}
			expanded = next
		}
		if len(expanded) == 0 { // a range without values; without any filter a query would find everything
			expanded = []map[string]string{{}}
		}
		q.Equals = append(q.Equals, expanded...)
	}
	if len(q.Equals) > coffer.MaxFilters {
		return coffer.Query{}, coffer.Errorf("query", coffer.Exhausted, "too many filters")
	}
	return q, q.Check()
}

// equal returns what a document must have for the values in a filter that are neither a Prefix nor a Range.
func (b *Blinder) equal(ctx context.Context, filter map[string]any) (map[string]string, error) {
	values := make(map[string][]hash, len(filter))
	for path, v := range filter {
		switch v.(type) {
		case Prefix, Range:
			continue
		}
		hashes, err := b.hashValues([]any{v})
		if err != nil {
			return nil, err
		}
		values[path] = hashes
	}
	attributes, err := b.blindQuery(ctx, values)
	if err != nil {
		return nil, err
	}
	blinded := make(map[string]string, len(attributes))
	for _, a := range attributes {
		blinded[a.Name] = a.Value
	}
	return blinded, nil
}

// Has returns the query for documents that have all of these attributes, written as in their index. Invalid when none
// is in an index; for the rest as [Blinder.Equals].
func (b *Blinder) Has(ctx context.Context, paths ...string) (coffer.Query, error) {
	q := coffer.Query{Index: b.ring.Key(coffer.HMACKey).ID}
	values := make(map[string][]hash, len(paths))
	for _, path := range paths {
		values[path] = []hash{{}} // any one value will do: only names are asked for
		if slices.ContainsFunc(b.indexes, func(i index) bool { return slices.Contains(i.paths, path) }) {
			continue
		}
		for _, r := range b.reaches {
			if r.path != path {
				continue
			}
			name, err := b.blindName(ctx, r.name)
			if err != nil {
				return coffer.Query{}, err
			}
			q.Has = append(q.Has, name)
			delete(values, path)
			break
		}
	}
	attributes, err := b.blindQuery(ctx, values)
	if err != nil {
		return coffer.Query{}, err
	}
	for _, a := range attributes {
		q.Has = append(q.Has, a.Name)
	}
	if len(q.Has) == 0 { // such a query would find everything
		return coffer.Query{}, coffer.Errorf("query", coffer.Invalid, "no attribute that is in an index")
	}
	return q, q.Check()
}

func (b *Blinder) blindQuery(ctx context.Context, values map[string][]hash) ([]edv.Attribute, error) {
	attributes, covered, err := b.blind(ctx, values)
	if err == nil && b.Strict && len(covered) < len(values) {
		err = coffer.Errorf("query", coffer.Invalid, "an attribute is in no index, or not reached by one")
	}
	return attributes, err
}
