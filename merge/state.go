package merge

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The commit strategies: how the state of an object follows from its commits.
const (
	// Basic takes the last commit in the order of [Commit.Compare]: its payload replaces all before it.
	Basic = "basic"
	// LastWriterWins is another name of Basic, as the published clients know it.
	LastWriterWins = "lastWriterWins"
	// MergePatch takes the payload of the create commit and applies to it the payloads of all updates, in the order of
	// [Commit.Compare], as merge patches (RFC 7396).
	MergePatch = "json-merge-patch"
)

// Known reports whether [Of] can compute states by the strategy.
func Known(strategy string) bool {
	return strategy == Basic || strategy == LastWriterWins || strategy == MergePatch
}

// A State is what the commits of an object amount to.
type State struct {
	Object  coffer.CommitRev
	Created *Commit // the create commit
	Latest  *Commit // the last in the order of [Commit.Compare]: it made the state
	Deleted bool    // a delete is among them: it counts for ever, whatever was committed after it
	Value   []byte  // nil when deleted or withheld

	Withheld bool // a payload is withheld that the value follows from
}

// Of computes the state of an object from its commits, given in any order, some of them perhaps more than once. What
// follows is the same for the same set. Commits that cannot have been accepted before are not looked at again: whose
// signatures they bear, and whether they were allowed, is for the caller to know.
//
// It fails with Invalid when the create commit is not there, a commit is about another object or says another
// interface, context, type or owner than the create commit, the strategies differ, or the strategy is unknown.
func Of(commits []*Commit) (*State, error) {
	sorted := slices.SortedFunc(slices.Values(commits), (*Commit).Compare)
	sorted = slices.CompactFunc(sorted, func(a, b *Commit) bool { return a.Rev == b.Rev })
	if len(sorted) == 0 || sorted[0].Header.Operation != Create {
		return nil, coffer.Errorf(op, coffer.Invalid, "no create commit")
	}
	first, last := sorted[0], sorted[len(sorted)-1]
	for _, c := range sorted[1:] {
		if err := c.Follows(first); err != nil {
			return nil, err
		}
	}
	if !Known(first.Header.Strategy) {
		return nil, fault("commit.protected.commit_strategy", "unknown strategy")
	}
	s := &State{Object: first.Rev, Created: first, Latest: last}
	switch {
	case last.Header.Operation == Delete:
		s.Deleted = true
	case withheld(last) || first.Header.Strategy == MergePatch && slices.ContainsFunc(sorted, withheld):
		s.Withheld = true
	case first.Header.Strategy == MergePatch:
		s.Value = patch(sorted)
	default:
		s.Value = last.Payload
	}
	return s, nil
}

func withheld(c *Commit) bool { return c.Raw != nil && c.Raw.Withheld != nil }

// Follows returns nil if c may be a later commit of the object that first creates: an update or a delete of this object
// with the same interface, context, type, owner and strategy. Otherwise it is Invalid with a *coffer.Fault.
func (c *Commit) Follows(first *Commit) error {
	switch h, f := &c.Header, &first.Header; {
	case c.Object != first.Rev:
		return fault("commit.protected.object_id", "a commit of another object")
	case h.Interface != f.Interface:
		return fault("commit.protected.interface", "not that of the object")
	case h.Context != f.Context:
		return fault("commit.protected.context", "not that of the object")
	case h.Type != f.Type:
		return fault("commit.protected.type", "not that of the object")
	case h.Sub != f.Sub:
		return fault("commit.protected.sub", "not that of the object")
	case h.Strategy != f.Strategy:
		return fault("commit.protected.commit_strategy", "not that of the object")
	}
	return nil
}

// patch applies the payloads of updates to the first. What is no JSON replaces the whole, as RFC 7396 has it for all
// that is no object.
func patch(commits []*Commit) []byte {
	value := commits[0].Payload
	tree, _ := object(value) // value as a tree, if it is one
	for _, c := range commits[1:] {
		value = c.Payload
		p, ok := object(value)
		if !ok {
			tree = nil
			continue
		}
		if tree == nil {
			tree = map[string]any{}
		}
		apply(tree, p)
	}
	if tree == nil || len(commits) == 1 {
		return value
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(tree); err != nil {
		panic("merge: " + err.Error()) // it was made of JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// object reads a JSON object, strictly; numbers keep their digits.
func object(b []byte) (map[string]any, bool) {
	if jose.Valid(b) != nil {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	m, ok := v.(map[string]any)
	return m, ok
}

// apply applies a merge patch to target, which it changes (RFC 7396, section 2).
func apply(target, patch map[string]any) {
	for name, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(target, name)
		case map[string]any:
			inner, ok := target[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
			}
			apply(inner, v)
			target[name] = inner
		default:
			target[name] = v
		}
	}
}
