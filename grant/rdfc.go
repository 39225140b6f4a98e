package grant

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A dataset is a set of RDF quads. Blank nodes are numbers from 1 on.
//
// Capabilities have a fixed shape, so their quads are written out by hand and there is no JSON-LD here. What is needed
// in full is RDFC-1.0 (W3C RDF Dataset Canonicalization): from four delegations on, list cells in different graphs look
// alike until their neighbours' neighbours are compared.
//
// RDFC-1.0 does not tell apart blank nodes that each occur in several graphs which are named by blank nodes. None in a
// capability does: a list cell is in one graph, and so is a proof.
type dataset struct {
	quads []quad
	nodes int
}

// A quad is a statement in a graph; predicate is in N-Quads form, graph is a blank node or 0 for the default graph.
type quad struct {
	subject   term
	predicate string
	object    term
	graph     int
}

// A term is a blank node, or else the N-Quads form of something else.
type term struct {
	node int
	text string
}

func blank(node int) term { return term{node: node} }

// iri returns the term for an IRI that absoluteURI accepts: there is nothing to escape.
func iri(s string) term { return term{text: "<" + s + ">"} }

// text returns the term for a literal without control characters.
func text(s, datatype string) term {
	if strings.ContainsAny(s, `"\`) {
		s = strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(s)
	}
	return term{text: `"` + s + `"` + datatype}
}

// node returns a new blank node.
func (s *dataset) node() int {
	s.nodes++
	return s.nodes
}

func (s *dataset) add(subject term, predicate string, object term, graph int) {
	s.quads = append(s.quads, quad{subject, predicate, object, graph})
}

// append writes the quad as a line of N-Quads, with what label appends for each blank node.
func (q *quad) append(b []byte, label func(b []byte, node int) []byte) []byte {
	component := func(b []byte, t term) []byte {
		if t.node != 0 {
			return label(append(b, "_:"...), t.node)
		}
		return append(b, t.text...)
	}
	b = append(component(b, q.subject), ' ')
	b = append(append(b, q.predicate...), ' ')
	b = component(b, q.object)
	if q.graph != 0 {
		b = component(append(b, ' '), blank(q.graph))
	}
	return append(b, " .\n"...)
}

// maxWork bounds the n-degree step, which is exponential at worst. A chain of nine delegations, the longest, takes 81.
const maxWork = 1000

// canonical returns the canonical N-Quads of the dataset (RDFC-1.0, section 4.4).
func (s *dataset) canonical() ([]byte, error) {
	c := canonicalizer{quads: make([][]*quad, s.nodes+1), first: make([]string, s.nodes+1), issued: newIssuer(s.nodes)}
	for i := range s.quads {
		q := &s.quads[i]
		for n, node := range [...]int{q.subject.node, q.object.node, q.graph} {
			if node != 0 && !(n > 0 && node == q.subject.node) && !(n > 1 && node == q.object.node) {
				c.quads[node] = append(c.quads[node], q)
			}
		}
	}
	alike := make(map[string][]int, s.nodes)
	for node := 1; node <= s.nodes; node++ {
		c.first[node] = c.hashFirst(node)
		alike[c.first[node]] = append(alike[c.first[node]], node)
	}
	hashes := slices.Sorted(maps.Keys(alike))
	for _, h := range hashes {
		if len(alike[h]) == 1 {
			c.issued.issue(alike[h][0])
		}
	}
	for _, h := range hashes {
		var results []result
		for _, node := range alike[h] {
			if c.issued.labels[node] != 0 {
				continue
			}
			names := newIssuer(s.nodes)
			names.issue(node)
			r, err := c.hashNth(node, names)
			if err != nil {
				return nil, err
			}
			results = append(results, r)
		}
		slices.SortStableFunc(results, func(a, b result) int { return strings.Compare(a.hash, b.hash) })
		for _, r := range results {
			for _, node := range r.names.order {
				c.issued.issue(node)
			}
		}
	}
	return s.serialize(func(b []byte, node int) []byte { return c.issued.append(b, "c14n", node) }), nil
}

// serialize returns the quads as sorted lines.
func (s *dataset) serialize(label func([]byte, int) []byte) []byte {
	return sortedLines(func(yield func(*quad)) {
		for i := range s.quads {
			yield(&s.quads[i])
		}
	}, len(s.quads), label)
}

func sortedLines(each func(func(*quad)), n int, label func([]byte, int) []byte) []byte {
	all := make([]byte, 0, n*220)
	ends := make([]int, 0, n)
	each(func(q *quad) {
		all = q.append(all, label)
		ends = append(ends, len(all))
	})
	lines := make([][]byte, len(ends))
	start := 0
	for i, end := range ends {
		lines[i], start = all[start:end], end
	}
	slices.SortFunc(lines, bytes.Compare)
	return bytes.Join(lines, nil)
}

// A canonicalizer is the state of one run.
type canonicalizer struct {
	quads  [][]*quad // by blank node in them
	first  []string  // first degree hash by blank node
	issued *issuer   // the canonical labels
	work   int
}

// An issuer gives labels to blank nodes in the order in which it is asked.
type issuer struct {
	labels []int // by node: one more than the number in its label, 0 if it has none
	order  []int
}

func newIssuer(nodes int) *issuer { return &issuer{labels: make([]int, nodes+1)} }

func (i *issuer) clone() *issuer { return &issuer{slices.Clone(i.labels), slices.Clone(i.order)} }

func (i *issuer) issue(node int) {
	if i.labels[node] == 0 {
		i.order = append(i.order, node)
		i.labels[node] = len(i.order)
	}
}

func (i *issuer) append(b []byte, prefix string, node int) []byte {
	return strconv.AppendInt(append(b, prefix...), int64(i.labels[node]-1), 10)
}

// A result is what the n-degree step finds for a node: a hash, and the labels that it gave on the way.
type result struct {
	hash  string
	names *issuer
}

// hashFirst returns the first degree hash of a node (section 4.6).
func (c *canonicalizer) hashFirst(node int) string {
	return hash(sortedLines(func(yield func(*quad)) {
		for _, q := range c.quads[node] {
			yield(q)
		}
	}, len(c.quads[node]), func(b []byte, other int) []byte {
		if other == node {
			return append(b, 'a')
		}
		return append(b, 'z')
	}))
}

// hashRelated returns the hash of a node that is related to another by a quad (section 4.7).
func (c *canonicalizer) hashRelated(related int, q *quad, names *issuer, position byte) string {
	b := append(make([]byte, 0, 160), position)
	if position != 'g' {
		b = append(b, q.predicate...)
	}
	switch {
	case c.issued.labels[related] != 0:
		b = c.issued.append(append(b, "_:"...), "c14n", related)
	case names.labels[related] != 0:
		b = names.append(append(b, "_:"...), "b", related)
	default:
		b = append(b, c.first[related]...)
	}
	return hash(b)
}

// hashNth returns the n-degree hash of a node (section 4.8).
func (c *canonicalizer) hashNth(node int, names *issuer) (result, error) {
	groups := make(map[string][]int)
	for _, q := range c.quads[node] {
		for i, related := range [...]int{q.subject.node, q.object.node, q.graph} {
			if related != 0 && related != node {
				h := c.hashRelated(related, q, names, "sog"[i])
				groups[h] = append(groups[h], related)
			}
		}
	}
	var data []byte
	for _, h := range slices.Sorted(maps.Keys(groups)) {
		data = append(data, h...)
		var best []byte
		var bestNames *issuer
		group := groups[h]
		slices.Sort(group)
		for more := true; more; more = permute(group) {
			if c.work++; c.work > maxWork {
				return result{}, errors.New("too many blank nodes look alike")
			}
			path, after, err := c.path(group, names, best)
			if err != nil {
				return result{}, err
			}
			if after != nil && (best == nil || bytes.Compare(path, best) < 0) {
				best, bestNames = path, after
			}
		}
		data = append(data, best...)
		names = bestNames
	}
	return result{hash(data), names}, nil
}

// path returns the path for one order of a group (section 4.8, step 5.4) and the labels given on the way; no labels if
// the path cannot be better than the best so far.
func (c *canonicalizer) path(group []int, names *issuer, best []byte) ([]byte, *issuer, error) {
	names = names.clone()
	var path []byte
	var unknown []int
	worse := func() bool { return best != nil && len(path) >= len(best) && bytes.Compare(path, best) > 0 }
	for _, node := range group {
		path = append(path, "_:"...)
		if c.issued.labels[node] != 0 {
			path = c.issued.append(path, "c14n", node)
		} else {
			if names.labels[node] == 0 {
				unknown = append(unknown, node)
				names.issue(node)
			}
			path = names.append(path, "b", node)
		}
		if worse() {
			return nil, nil, nil
		}
	}
	for _, node := range unknown {
		r, err := c.hashNth(node, names)
		if err != nil {
			return nil, nil, err
		}
		path = names.append(append(path, "_:"...), "b", node)
		path = append(append(append(path, '<'), r.hash...), '>')
		names = r.names
		if worse() {
			return nil, nil, nil
		}
	}
	return path, names, nil
}

// permute makes the next greater order of list and reports whether there is one. Starting from the sorted list it makes
// every distinct order once: nodes that a group names several times need not be told apart.
func permute(list []int) bool {
	i := len(list) - 2
	for i >= 0 && list[i] >= list[i+1] {
		i--
	}
	if i < 0 {
		return false
	}
	j := len(list) - 1
	for list[j] <= list[i] {
		j--
	}
	list[i], list[j] = list[j], list[i]
	slices.Reverse(list[i+1:])
	return true
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
