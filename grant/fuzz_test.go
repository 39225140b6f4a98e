package grant

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

func FuzzAuthorization(f *testing.F) {
	v := readVectors(f)
	for _, r := range v.HTTP {
		f.Add(r.Headers["authorization"])
	}
	f.Add(`Signature keyId="a",headers="x",signature="AAAA",created=1,expires=2`)
	f.Add(`Signature keyId="a",headers="(key-id)  host",signature="AA==",algorithm="hs2019"`)
	f.Fuzz(func(t *testing.T, header string) {
		s, err := parseAuthorization([]string{header})
		if err != nil {
			if coffer.KindOf(err) != coffer.NotExist {
				t.Fatal(err)
			}
			return
		}
		if len(s.keyID) > maxKeyID || s.size > 64 || !strings.Contains(header, `keyId="`+s.keyID+`"`) {
			t.Fatalf("%+v", s)
		}
		in := &Invocation{Method: "GET", URI: "/a", Host: "b", Header: map[string][]string{"Capability-Invocation": {"c"}}}
		b, err := s.signingString(in)
		if err != nil {
			return
		}
		if n := bytes.Count(b, []byte("\n")); n != strings.Count(s.headers, " ") {
			t.Fatalf("%d line ends for %q", n, s.headers)
		}
		for _, line := range []string{"(request-target): get /a", "host: b", "capability-invocation: c", "(key-id): " + s.keyID} {
			if !slices.Contains(strings.Split(string(b), "\n"), line) {
				t.Fatalf("%q is not signed in %q", line, b)
			}
		}
	})
}

func FuzzInvocation(f *testing.F) {
	v := readVectors(f)
	for _, r := range v.HTTP {
		f.Add(r.Headers["capability-invocation"])
	}
	f.Add(`zcap capability="` + deflate([]byte("{}")) + `",action="read"`)
	f.Add(`zcap id="urn:zcap:root:a%3Ab",action="x"`)
	f.Fuzz(func(t *testing.T, header string) {
		in, err := parseInvocation([]string{header})
		if err != nil {
			if coffer.KindOf(err) != coffer.Invalid {
				t.Fatal(err)
			}
			return
		}
		if (in.root == "") == (in.encoded == "") || in.action == "" {
			t.Fatalf("%+v", in)
		}
		if in.root != "" && !strings.Contains(header, RootID(in.root)) {
			t.Fatalf("root %q", in.root)
		}
		b, err := new(inflater).inflate(in.encoded)
		if err == nil && len(b) > maxCapability || err != nil && coffer.KindOf(err) != coffer.Invalid {
			t.Fatal(len(b), err)
		}
		if err == nil {
			if c, err := new(inflater).inflate(deflate(b)); err != nil || !bytes.Equal(b, c) {
				t.Fatal("another after packing and unpacking", err)
			}
		}
	})
}

func FuzzDigest(f *testing.F) {
	for _, s := range []string{digestOfEmpty, "mh=uEiABWr1_XMV6LdlLdZDwStgIQnOQXuM-xc6-rmInapf4Yg", "sha-256=::", "mh=", "="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		sum, ok, err := parseDigest([]string{header})
		if ok != (err == nil) || err != nil && coffer.KindOf(err) != coffer.Invalid {
			t.Fatal(ok, err)
		}
		if ok {
			if again, _, err := parseDigest([]string{FormatDigest(sum)}); err != nil || again != sum {
				t.Fatal("another after formatting", err)
			}
		}
	})
}

// A capability that is read can be signed, kept, and written again with the same proof; nothing in it breaks a line of
// N-Quads.
func FuzzCapability(f *testing.F) {
	v := readVectors(f)
	for _, z := range v.Zcaps {
		f.Add([]byte(z.Capability))
	}
	for _, z := range v.DataIntegrity {
		f.Add([]byte(z))
	}
	for _, suite := range suites() {
		f.Add([]byte(longChain(f, 3, suite)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCapability(b)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) && !errors.Is(err, coffer.NotExist) {
				t.Fatal(err)
			}
			return
		}
		if c.ID() == "" || len(c.Controllers()) == 0 || !covers(c.RootTarget(), c.Target()) || len(c.Links()) > MaxChain-1 {
			t.Fatalf("%+v", c)
		}
		d, err := parseCapability(b, MaxChain-1)
		if err != nil {
			t.Fatal(err)
		}
		message, err := d.signed()
		if err != nil {
			t.Fatal(err)
		}
		proof, document, err := d.canonicalRDF()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range bytes.SplitAfter(append(proof, document...), []byte("\n")) {
			if len(line) > 0 && !bytes.HasSuffix(line, []byte(" .\n")) {
				t.Fatalf("line %q", line)
			}
		}
		again, err := jose.Encode(d.capabilityJSON)
		if err != nil {
			t.Fatal(err)
		}
		e, err := parseCapability(again, MaxChain-1)
		if err != nil {
			t.Fatal(err)
		}
		second, err := e.signed()
		if err != nil || !bytes.Equal(message, second) {
			t.Fatal("another message after writing and reading", err)
		}
	})
}

// The canonical form does not depend on how blank nodes are numbered or quads are ordered, and tells apart what differs.
// The bytes are quads of few nodes and terms, four bytes each: subject, predicate, object, graph.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte("\x01\x00\x02\x00\x02\x00\x01\x00"), uint64(1))
	f.Add([]byte("\x01\x00\x02\x00\x02\x00\x03\x00\x03\x00\x01\x00\x04\x00\x05\x00\x05\x00\x06\x00\x06\x00\x04\x00"), uint64(2))
	f.Add([]byte("\x01\x00\x02\x04\x02\x01\x09\x04\x01\x00\x03\x05\x03\x01\x09\x05"), uint64(3))
	f.Add([]byte("\x09\x00\x0a\x00"), uint64(4))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		const nodes = 6
		build := func(number func(int) int, order []int) *dataset {
			s := &dataset{nodes: nodes}
			component := func(c byte) term {
				if c = c % 12; 1 <= c && c <= nodes {
					return blank(number(int(c)))
				}
				return iri("urn:x:" + string('a'+rune(c)))
			}
			for _, i := range order {
				q := b[4*i:]
				graph := 0
				if g := q[3] % 12; 1 <= g && g <= nodes {
					graph = number(int(g))
				}
				s.add(component(q[0]), "<urn:p:"+string('a'+rune(q[1]%3))+">", component(q[2]), graph)
			}
			return s
		}
		var order []int
		seen := map[string]bool{}
		for i := range min(len(b)/4, 24) { // a dataset is a set
			q := build(func(n int) int { return n }, []int{i}).serialize(func(b []byte, n int) []byte { return append(b, byte('0'+n)) })
			if !seen[string(q)] {
				order = append(order, i)
				seen[string(q)] = true
			}
		}
		first, err := build(func(n int) int { return n }, order).canonical()
		if err != nil {
			return // too much alike: bounded
		}
		r := rand.New(rand.NewPCG(seed, 0))
		numbers := r.Perm(nodes)
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		second, err := build(func(n int) int { return numbers[n-1] + 1 }, order).canonical()
		if err != nil {
			return
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("got\n%s\nand\n%s", first, second)
		}
		if n := bytes.Count(first, []byte("\n")); n != len(order) {
			t.Fatalf("%d lines of %d quads", n, len(order))
		}
	})
}
