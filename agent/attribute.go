package agent

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// An Attribute is a field of typed objects that can be searched for at the vault: by its dotted name.
//
// What it costs: the vault sees, of all typed objects, which have the same value in an attribute, how many tags each
// has, which of them a search finds, and when the same is searched for again; with Prefixes also which values begin
// alike, and with the other matches in what order of magnitude they are alike (doc/sealing.md). It sees no names and no
// values.
type Attribute struct {
	Path  string
	Match seal.Match
}

type attributesJSON struct {
	Attributes []attributeJSON `json:"attributes"`
}

type attributeJSON struct {
	Path  string `json:"path"`
	Match string `json:"match,omitzero"`
}

var matches = map[seal.Match]string{
	seal.Equal: "", seal.Prefixes: "prefix", seal.Numbers: "range", seal.Days: "days", seal.Times: "times",
}

const (
	attributesType = "Attributes"
	attributesPath = reserved + "/attributes"
	maxAttributes  = 16
)

// attributes returns the setting.
func (v *view) attributes(ctx context.Context) (list []Attribute, err error) {
	var w attributesJSON
	err = v.value(ctx, attributesPath, &w)
	if errors.Is(err, coffer.NotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
next:
	for _, a := range w.Attributes {
		for m, name := range matches {
			if name == a.Match {
				list = append(list, Attribute{a.Path, m})
				continue next
			}
		}
		return nil, coffer.Errorf("attribute", coffer.Invalid, "set by a newer program")
	}
	return list, nil
}

// Attributes returns the fields of typed objects that can be searched for at the vault.
func (a *Agent) Attributes(ctx context.Context) ([]Attribute, error) {
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	return v.attributes(ctx)
}

// AddAttribute makes a field of the typed objects that are stored from now on one that can be searched for at the
// vault, and [Agent.Reblind] of those that are there. Conflict if it is one already; Exhausted beyond 16; Invalid for a
// name that no field has.
func (a *Agent) AddAttribute(ctx context.Context, at Attribute) error {
	const op = "attribute"
	if _, ok := matches[at.Match]; !ok || at.Path == "" {
		return coffer.Errorf(op, coffer.Invalid, "no field, or no match that there is")
	}
	return a.changeAttributes(ctx, func(list []Attribute) ([]Attribute, error) {
		if slices.ContainsFunc(list, func(o Attribute) bool { return o.Path == at.Path }) {
			return nil, coffer.Errorf(op, coffer.Conflict, "the field is an attribute already")
		}
		if len(list) >= maxAttributes {
			return nil, coffer.Errorf(op, coffer.Exhausted, "too many attributes")
		}
		list = append(list, at)
		_, err := a.blinder(list)
		return list, err
	})
}

// RemoveAttribute takes an attribute back: objects lose it when they are stored again, and by [Agent.Reblind]. NotExist
// if it is none.
func (a *Agent) RemoveAttribute(ctx context.Context, path string) error {
	return a.changeAttributes(ctx, func(list []Attribute) ([]Attribute, error) {
		left := slices.DeleteFunc(list, func(o Attribute) bool { return o.Path == path })
		if len(left) == len(list) {
			return nil, coffer.Errorf("attribute", coffer.NotExist, "the field is no attribute")
		}
		return left, nil
	})
}

func (a *Agent) changeAttributes(ctx context.Context, f func([]Attribute) ([]Attribute, error)) error {
	if a.guest != nil {
		return coffer.Errorf("attribute", coffer.Invalid, "needs a vault of one's own")
	}
	return a.commit(ctx, func(ctx context.Context, t *txn) error {
		list, err := t.attributes(ctx)
		if err != nil {
			return err
		}
		if list, err = f(slices.Clone(list)); err != nil {
			return err
		}
		w := attributesJSON{Attributes: []attributeJSON{}}
		for _, at := range list {
			w.Attributes = append(w.Attributes, attributeJSON{at.Path, matches[at.Match]})
		}
		return t.putValue(ctx, attributesPath, attributesType, w)
	})
}

// attributePath is where an attribute stands in what is sealed.
func attributePath(path string) string { return "content.value." + path }

// blinder returns the Blinder for attributes; nil for none.
func (a *Agent) blinder(list []Attribute) (*seal.Blinder, error) {
	if len(list) == 0 {
		return nil, nil
	}
	var indexes []seal.Index
	for _, at := range list {
		indexes = append(indexes, seal.Index{Attributes: []string{attributePath(at.Path)}, Match: at.Match})
	}
	b, err := seal.NewBlinder(a.Keyring, indexes...)
	if err == nil {
		b.Strict = true
	}
	return b, err
}

// blind completes how an object is sealed: what is found at the vault of it, and which entries of what it replaces
// stay.
func (t *txn) blind(ctx context.Context, path string, c *content, there *revision, o *seal.ObjectOptions) error {
	if there != nil {
		o.Keep = there.kept()
	}
	if t.a.guest != nil {
		return nil
	}
	o.Keep = t.a.others(o.Keep, true)
	if o.Blind != nil || c.Value == nil || tree.Within(path, reserved) {
		return nil
	}
	list, err := t.attributes(ctx)
	if err == nil {
		o.Blind, err = t.a.blinder(list)
	}
	return err
}

// blinded returns what is found at the vault of an object that is sealed anew as it is.
func (t *txn) blinded(ctx context.Context, path string, r *revision) (*seal.Blinder, []edv.Entry, error) {
	if t.a.guest != nil {
		return nil, r.kept(), nil
	}
	keep := t.a.others(r.kept(), false)
	c, err := decodeContent(r.opened.Content)
	if err != nil || c.Value == nil || tree.Within(path, reserved) {
		return nil, keep, err
	}
	list, err := t.attributes(ctx)
	if err != nil {
		return nil, nil, err
	}
	b, err := t.a.blinder(list)
	return b, keep, err
}

// others returns the entries that were not blinded with the owner's earlier HMAC keys, nor, if all is set, with the
// present one.
func (a *Agent) others(entries []edv.Entry, all bool) []edv.Entry {
	own := make(map[string]bool)
	if e, ok := a.Keyring.(interface{ Earlier() []coffer.Keyring }); ok {
		for _, k := range e.Earlier() {
			own[k.Key(coffer.HMACKey).ID] = true
		}
	}
	own[a.Keyring.Key(coffer.HMACKey).ID] = all
	return slices.DeleteFunc(slices.Clone(entries), func(e edv.Entry) bool { return own[e.HMAC.ID] })
}

// Reblind stores all typed objects anew, as they are, so that they are found by the attributes that there are now. It
// can be repeated. Progress, if not nil, is called with how many are done.
func (a *Agent) Reblind(ctx context.Context, progress func(done int)) error {
	if progress == nil {
		progress = func(int) {}
	}
	var paths []string
	for i, err := range a.Walk(ctx, "") {
		if err != nil {
			return err
		}
		if i.Type != TypeFile && i.Type != TypeFolder {
			paths = append(paths, i.Path)
		}
	}
	done := 0
	for batch := range slices.Chunk(paths, workBatch) {
		if err := a.commit(ctx, func(ctx context.Context, t *txn) error {
			for _, p := range batch {
				n, err := t.tree.Get(ctx, p)
				if errors.Is(err, coffer.NotExist) || err == nil && (n.Type == TypeFile || n.Type == TypeFolder) {
					continue
				} else if err != nil {
					return err
				}
				r, err := t.a.readNode(ctx, t.view, n)
				if err != nil {
					return err
				}
				r.opened.Entries = t.a.others(r.kept(), true)
				if err := t.renewed(ctx, p, n, r, n.Epoch, r.opened.Stream); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		done += len(batch)
		progress(done)
	}
	return nil
}

// FindAtProvider yields the typed objects whose attributes have these values, as the vault finds them: for vaults whose
// index is too large to be fetched, and for other clients' sake. A value is a JSON value, or a [seal.Prefix] or
// [seal.Range] for an attribute with that match. What is found is checked against what the objects say.
//
// The vault sees which objects are found, and that the same is searched for again. Invalid for what is no attribute.
func (a *Agent) FindAtProvider(ctx context.Context, values map[string]any) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := a.atProvider(ctx, values, yield); err != nil {
			yield(Info{}, err)
		}
	}
}

func (a *Agent) atProvider(ctx context.Context, values map[string]any, yield func(Info, error) bool) error {
	const op = "find"
	if a.guest != nil {
		return coffer.Errorf(op, coffer.Invalid, "what somebody else shared cannot be searched")
	}
	v, err := a.look(ctx)
	if err != nil {
		return err
	}
	list, err := v.attributes(ctx)
	if err != nil {
		return err
	}
	b, err := a.blinder(list)
	if err != nil {
		return err
	}
	if b == nil {
		return coffer.Errorf(op, coffer.Invalid, "there are no attributes")
	}
	filter := make(map[string]any)
	for path, value := range values {
		filter[attributePath(path)] = value
	}
	q, err := b.Equals(ctx, filter)
	if err != nil {
		return err
	}
	x, err := a.index(v.head)
	if err != nil {
		return err
	}
	for d, err := range a.Vault.Query(ctx, q) {
		if err != nil {
			return err
		}
		p, err := x.Path(ctx, d.ID)
		if errors.Is(err, coffer.NotExist) || err == nil && (p == "" || tree.Within(p, reserved)) {
			continue // not by a path that can be named
		} else if err != nil {
			return err
		}
		n, err := v.tree.Get(ctx, p)
		if errors.Is(err, coffer.NotExist) || err == nil && n.Ref.ID != d.ID {
			continue
		} else if err != nil {
			return err
		}
		r, err := a.open(ctx, n.Ref, v.writers(ctx, n.Ref, nil), d)
		if err != nil {
			return err
		}
		c, err := decodeContent(r.opened.Content)
		if err != nil {
			return err
		}
		for path, value := range values {
			if !has(c.Value, path, value) {
				return coffer.Errorf(op, coffer.Corrupt, "the vault found what does not meet the query")
			}
		}
		if !yield(infoOf(p, n), nil) {
			return nil
		}
	}
	return nil
}

// has reports whether a JSON value has a value at a dotted name, as far as that is one of JSON; what is within an array
// counts. Prefixes and ranges are the vault's to tell.
func has(v jsontext.Value, path string, want any) bool {
	switch want.(type) {
	case string, float64, bool, nil:
	default:
		return true
	}
	var at any
	if json.Unmarshal(v, &at) != nil {
		return false
	}
	b, err := jose.Encode(want)
	if err != nil {
		return false
	}
	return within(at, strings.Split(path, "."), string(b))
}

func within(at any, names []string, want string) bool {
	if list, ok := at.([]any); ok {
		return slices.ContainsFunc(list, func(e any) bool { return within(e, names, want) })
	}
	if len(names) == 0 {
		b, err := jose.Encode(at)
		return err == nil && string(b) == want
	}
	object, ok := at.(map[string]any)
	if !ok {
		return false
	}
	next, ok := object[names[0]]
	return ok && within(next, names[1:], want)
}
