package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cofferhq/coffer"
)

// naive is RFC 6962 by its definitions, section 2.1, over leaf hashes.
type naive []Hash

func node(l, r Hash) Hash {
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

// split returns the largest power of two smaller than n.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func (d naive) root() Hash {
	switch len(d) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return d[0]
	}
	k := split(len(d))
	return node(d[:k].root(), d[k:].root())
}

func (d naive) inclusion(m int) []Hash {
	if len(d) <= 1 {
		return nil
	}
	k := split(len(d))
	if m < k {
		return append(d[:k].inclusion(m), d[k:].root())
	}
	return append(d[k:].inclusion(m-k), d[:k].root())
}

func (d naive) consistency(m int) []Hash { return d.subproof(m, true) }

func (d naive) subproof(m int, whole bool) []Hash {
	if m == len(d) {
		if whole {
			return nil
		}
		return []Hash{d.root()}
	}
	k := split(len(d))
	if m <= k {
		return append(d[:k].subproof(m, whole), d[k:].root())
	}
	return append(d[k:].subproof(m-k, false), d[:k].root())
}

// leaves returns n leaf hashes; those of another salt are others.
func leaves(n int, salt byte) naive {
	out := make(naive, n)
	for i := range out {
		out[i] = sha256.Sum256([]byte{0, salt, byte(i), byte(i >> 8), byte(i >> 16)})
	}
	return out
}

// tiled keeps a log as a node does.
type tiled struct {
	edge  Edge
	tiles map[Tile][]Hash
	asked map[Tile]int
}

func newTiled(leaves naive) *tiled {
	l := &tiled{tiles: map[Tile][]Hash{}, asked: map[Tile]int{}}
	for _, h := range leaves {
		l.edge.Append(h, func(t Tile, hashes []Hash) { l.tiles[t] = slices.Clone(hashes) })
	}
	return l
}

func (l *tiled) source() Source {
	return l.edge.Source(l.full)
}

func (l *tiled) full(t Tile, width int) ([]Hash, error) {
	l.asked[t]++
	if tile, ok := l.tiles[t]; ok && len(tile) == TileWidth {
		return tile, nil
	}
	return nil, coffer.Errorf("test", coffer.NotExist, "no such tile")
}

func change(n uint64) coffer.Change {
	return coffer.Change{
		Number: n, Kind: coffer.Accepted, ID: coffer.ObjectID{1, byte(n), byte(n >> 8)}, Rev: coffer.Rev{2, byte(n)},
		By: "did:example:alice", Time: time.UnixMilli(1_700_000_000_000 + int64(n)), Cursor: Cursor(coffer.VaultID{9}, n),
	}
}

func signer(t testing.TB, who string) *Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(who))
	s, err := NewSigner("vault.example", ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const testOrigin = "vault.example/edvs/z19inukNyWQTotxStJvsXAtVu"

func sign(t testing.TB, s *Signer, size uint64, root Hash) []byte {
	t.Helper()
	b, err := Sign(s, Checkpoint{testOrigin, size, root})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// known is the change of the known answers.
func known() coffer.Change {
	c := coffer.Change{Number: 7, Kind: coffer.Accepted, Sequence: 1, By: "did:example:alice",
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), Cursor: "passed over"}
	for i := range c.ID {
		c.ID[i] = byte(i)
	}
	copy(c.Rev[:], bytes.Repeat([]byte{0xaa}, len(c.Rev)))
	return c
}

// TestKnownAnswers compares with doc/ledger.md.
func TestKnownAnswers(t *testing.T) {
	page, err := os.ReadFile("../doc/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	erased, gone := known(), known()
	erased.Kind, erased.Rev = coffer.Erased, coffer.Rev{}
	gone.Kind, gone.Rev, gone.ID, gone.Sequence = coffer.VaultErased, coffer.Rev{}, coffer.ObjectID{}, 0
	var f Frontier
	f.Append(LeafHash(known()))
	f.Append(LeafHash(erased))
	f.Append(LeafHash(gone))
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	s, err := NewSigner("vault.example", key)
	if err != nil {
		t.Fatal(err)
	}
	root := f.Root()
	checkpoint := sign(t, s, 3, root)
	for name, text := range map[string]string{
		"leaf":           hex.EncodeToString(Leaf(known())),
		"leaf hash":      hashText(LeafHash(known())),
		"erased":         hashText(LeafHash(erased)),
		"vault erased":   hashText(LeafHash(gone)),
		"empty root":     hashText((&Frontier{}).Root()),
		"root":           hashText(root),
		"verifier key":   s.Verifier().String(),
		"checkpoint":     string(checkpoint),
		"frontier":       hex.EncodeToString(f.Encode()),
		"empty frontier": hex.EncodeToString((&Frontier{}).Encode()),
	} {
		if !strings.Contains(strings.ReplaceAll(string(page), "\n", ""), strings.ReplaceAll(text, "\n", "")) {
			t.Errorf("doc/ledger.md does not give %s:\n%s", name, text)
		}
	}
}

func hashText(h Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

func TestLeafNamesEveryField(t *testing.T) {
	seen := map[string]string{string(Leaf(known())): "unchanged"}
	for name, alter := range map[string]func(*coffer.Change){
		"number":      func(c *coffer.Change) { c.Number++ },
		"kind":        func(c *coffer.Change) { c.Kind++ },
		"id":          func(c *coffer.Change) { c.ID[15]++ },
		"sequence":    func(c *coffer.Change) { c.Sequence++ },
		"rev":         func(c *coffer.Change) { c.Rev[0]++ },
		"by":          func(c *coffer.Change) { c.By += "x" },
		"nobody":      func(c *coffer.Change) { c.By = "" },
		"time":        func(c *coffer.Change) { c.Time = c.Time.Add(time.Millisecond) },
		"before 1970": func(c *coffer.Change) { c.Time = time.UnixMilli(-1) },
	} {
		c := known()
		alter(&c)
		if other, ok := seen[string(Leaf(c))]; ok {
			t.Errorf("%s has the same leaf as %s", name, other)
		}
		seen[string(Leaf(c))] = name
	}
	same := known()
	same.Cursor, same.Time = "another", same.Time.In(time.FixedZone("", 3600)).Add(400*time.Microsecond)
	if !bytes.Equal(Leaf(same), Leaf(known())) {
		t.Error("cursor, zone or less than a millisecond shows")
	}
}

// TestAgainstDefinition compares frontiers, roots and proofs with RFC 6962 by its definitions, for every size.
func TestAgainstDefinition(t *testing.T) {
	const most = 70
	all := leaves(most, 0)
	log := newTiled(all)
	var f Frontier
	for n := range most + 1 {
		if f.Size() != uint64(n) || f.Root() != all[:n].root() {
			t.Fatalf("frontier of %d has another root", n)
		}
		if root, err := RootAt(uint64(n), log.source()); err != nil || root != all[:n].root() {
			t.Fatalf("root at %d is another: %v", n, err)
		}
		newer := Checkpoint{Size: uint64(n), Root: all[:n].root()}
		for m := range n {
			p, err := ProveInclusion(uint64(m), uint64(n), log.source())
			if err != nil || !slices.Equal(p, all[:n].inclusion(m)) {
				t.Fatalf("inclusion of %d in %d: another proof, %v", m, n, err)
			}
			if err := CheckInclusion(p, uint64(m), all[m], newer); err != nil {
				t.Fatalf("inclusion of %d in %d: %v", m, n, err)
			}
			if CheckInclusion(p, uint64(m), all[(m+1)%most], newer) == nil {
				t.Fatalf("another leaf is included at %d of %d", m, n)
			}
			older := Checkpoint{Size: uint64(m), Root: all[:m].root()}
			p, err = ProveConsistency(uint64(m), uint64(n), log.source())
			if err != nil || m > 0 && !slices.Equal(p, all[:n].consistency(m)) {
				t.Fatalf("consistency from %d to %d: another proof, %v", m, n, err)
			}
			if err := CheckConsistency(p, older, newer); err != nil {
				t.Fatalf("consistency from %d to %d: %v", m, n, err)
			}
			forked := older
			forked.Root = leaves(m, 1).root()
			if m > 0 && CheckConsistency(p, forked, newer) == nil {
				t.Fatalf("a fork is consistent from %d to %d", m, n)
			}
			prefix, ok := prefixRoot(p, uint64(m), uint64(n))
			if want := m > 0 && m&(m-1) != 0; ok != want || ok && prefix != older.Root {
				t.Fatalf("the proof from %d to %d states a prefix: %t, want %t and the right one", m, n, ok, want)
			}
			for i := range p {
				bad := slices.Clone(p)
				bad[i][0] ^= 1
				if m > 0 && CheckConsistency(bad, older, newer) == nil || CheckConsistency(p[:i], older, newer) == nil {
					t.Fatalf("a damaged proof holds from %d to %d", m, n)
				}
			}
		}
		if n < most {
			f.Append(all[n])
		}
	}
}

// TestTilesOfLongLogs goes over three levels of tiles, and asks for few of them.
func TestTilesOfLongLogs(t *testing.T) {
	sizes := []int{255, 256, 257, 65535, 65536, 65537, 65536 + 256, 70_001}
	all := leaves(sizes[len(sizes)-1], 0)
	log := newTiled(all)
	total := uint64(len(all))
	newest := Checkpoint{Size: total, Root: all.root()}
	for _, n := range sizes {
		if root, err := RootAt(uint64(n), log.source()); err != nil || root != all[:n].root() {
			t.Errorf("root at %d is another: %v", n, err)
		}
		clear(log.asked)
		p, err := ProveConsistency(uint64(n), total, log.source())
		if err != nil {
			t.Fatalf("consistency from %d: %v", n, err)
		}
		if err := CheckConsistency(p, Checkpoint{Size: uint64(n), Root: all[:n].root()}, newest); err != nil {
			t.Errorf("consistency from %d: %v", n, err)
		}
		for tile, times := range log.asked {
			if times > 1 {
				t.Errorf("tile %v was asked for %d times", tile, times)
			}
		}
		if len(log.asked) > 6 {
			t.Errorf("%d tiles asked for", len(log.asked))
		}
		e, err := EdgeAt(uint64(n), newTiled(all[:n]).source())
		if err != nil {
			t.Fatalf("edge at %d: %v", n, err)
		}
		grown := &tiled{edge: *e, tiles: newTiled(all[:n]).tiles, asked: map[Tile]int{}}
		for _, h := range all[n:min(len(all), n+600)] {
			grown.edge.Append(h, func(t Tile, hashes []Hash) { grown.tiles[t] = hashes })
		}
		at := grown.edge.Size()
		if root, err := RootAt(at, grown.source()); err != nil || root != all[:at].root() {
			t.Errorf("an edge at %d that grew to %d has another root: %v", n, at, err)
		}
	}
	for range 200 {
		i := rand.Uint64N(total)
		p, err := ProveInclusion(i, total, log.source())
		if err != nil || CheckInclusion(p, i, all[i], newest) != nil {
			t.Errorf("inclusion of %d: %v", i, err)
		}
	}
	if _, err := RootAt(total+1, log.source()); !errors.Is(err, coffer.Invalid) {
		t.Errorf("root beyond the end: %v, want Invalid", err)
	}
}

func TestProofsOutOfRange(t *testing.T) {
	log := newTiled(leaves(3, 0))
	for name, err := range map[string]error{
		"backwards":    second(ProveConsistency(3, 2, log.source())),
		"beyond":       second(ProveConsistency(2, 9, log.source())),
		"far beyond":   second(ProveConsistency(2, MaxSize+1, log.source())),
		"no such leaf": second(ProveInclusion(3, 3, log.source())),
		"not grown":    second(ProveInclusion(3, 8, log.source())),
		"too far":      second(ProveInclusion(1, 1<<63, log.source())),
	} {
		if !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	long := make([]Hash, MaxProof+1)
	c := Checkpoint{Size: 3, Root: leaves(3, 0).root()}
	if CheckInclusion(long, 0, leaves(3, 0)[0], c) == nil || CheckConsistency(long, c, Checkpoint{Size: 9}) == nil {
		t.Error("an endless proof holds")
	}
}

func second[T any](_ T, err error) error { return err }

func TestOpenIsStrict(t *testing.T) {
	s, other := signer(t, "node"), signer(t, "other")
	v := s.Verifier()
	root := leaves(3, 0).root()
	good := sign(t, s, 3, root)
	c, err := Open(v, testOrigin, good)
	if err != nil || c != (Checkpoint{testOrigin, 3, root}) {
		t.Fatalf("opened as %+v, %v", c, err)
	}
	witnessed := append(slices.Clone(good), sign(t, other, 3, root)[bytes.Index(good, []byte("— ")):]...)
	if _, err := Open(v, testOrigin, witnessed); err != nil {
		t.Errorf("with another's signature: %v", err)
	}
	resign := func(text string) []byte {
		b, err := note.Sign(&note.Note{Text: text}, noteSigner{s})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	three := testOrigin + "\n3\n" + hashText(root) + "\n"
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"no signature":     []byte(three),
		"another's":        sign(t, other, 3, root),
		"altered":          bytes.Replace(good, []byte("\n3\n"), []byte("\n4\n"), 1),
		"another log":      resign(strings.Replace(three, "edvs", "edws", 1)),
		"extension":        resign(three + "more\n"),
		"leading zero":     resign(strings.Replace(three, "\n3\n", "\n03\n", 1)),
		"sign":             resign(strings.Replace(three, "\n3\n", "\n+3\n", 1)),
		"too great":        resign(strings.Replace(three, "\n3\n", "\n9007199254740992\n", 1)),
		"short root":       resign(testOrigin + "\n3\nAAAA\n"),
		"unpadded root":    resign(strings.Replace(three, "=", "", 1)),
		"root of nothing":  resign(strings.Replace(three, "\n3\n", "\n0\n", 1)),
		"two lines":        resign(testOrigin + "\n3\n"),
		"too long":         append(slices.Clone(good), bytes.Repeat([]byte{'\n'}, MaxNote)...),
		"carriage returns": bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
	} {
		if _, err := Open(v, testOrigin, b); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\nb", "a\u2003b", strings.Repeat("x", maxName+1), "\xff"} {
		if _, err := Sign(s, Checkpoint{name, 3, root}); !errors.Is(err, coffer.Invalid) {
			t.Errorf("origin %q: %v, want Invalid", name, err)
		}
		if _, err := NewSigner(name, s.key); !errors.Is(err, coffer.Invalid) {
			t.Errorf("key name %q: %v, want Invalid", name, err)
		}
	}
	for _, text := range []string{"", "x", v.String() + "x", strings.Repeat("x", maxKey+1), "a+b+c"} {
		if _, err := ParseVerifier(text); !errors.Is(err, coffer.Invalid) {
			t.Errorf("verifier key %q: %v, want Invalid", text, err)
		}
	}
}

func TestFrontierIsReadBack(t *testing.T) {
	var f Frontier
	for n, h := range leaves(300, 0) {
		g, err := DecodeFrontier(f.Encode())
		if err != nil || g.Size() != uint64(n) || g.Root() != f.Root() {
			t.Fatalf("frontier of %d: %v", n, err)
		}
		f.Append(h)
	}
	good := f.Encode()
	for name, b := range map[string][]byte{
		"nothing": nil, "version": append([]byte{2}, good[1:]...), "short": good[:len(good)-1], "long": append(good, 0),
		"a huge size": append([]byte{1}, bytes.Repeat([]byte{0xff}, 8)...),
	} {
		if _, err := DecodeFrontier(b); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v, want Corrupt", name, err)
		}
	}
}

func TestOrigin(t *testing.T) {
	for url, want := range map[string]string{
		"https://vault.example/edvs/z1": "vault.example/edvs/z1", "http://127.0.0.1:4747": "127.0.0.1:4747", "x": "x",
	} {
		if got := Origin(url); got != want {
			t.Errorf("Origin(%s) = %s", url, got)
		}
	}
}

func FuzzDecodeFrontier(f *testing.F) {
	var g Frontier
	f.Add(g.Encode())
	for _, h := range leaves(11, 0) {
		g.Append(h)
	}
	f.Add(g.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeFrontier(b)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Encode(), b) {
			t.Errorf("%x is written %x", b, d.Encode())
		}
		d.Root()
		if d.Size() < MaxSize {
			d.Append(Hash{})
		}
	})
}

func FuzzOpen(f *testing.F) {
	s := signer(f, "node")
	good := sign(f, s, 3, leaves(3, 0).root())
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("\n3\n"), []byte("\n4\n"), 1))
	f.Add([]byte(testOrigin + "\n3\n\n— vault.example AAAA\n"))
	v := s.Verifier()
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Open(v, testOrigin, b); err == nil && (c.Size != 3 || c.Root != leaves(3, 0).root()) {
			t.Errorf("opened what was never signed: %+v", c)
		}
		if c, err := parseCheckpoint(string(b)); err == nil && c.text() != string(b) {
			t.Errorf("%q is read as what is written %q", b, c.text())
		}
	})
}

func FuzzParseVerifier(f *testing.F) {
	f.Add(signer(f, "node").Verifier().String())
	f.Add("a+00000000+AQ==")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseVerifier(s); err == nil && v.String() != s {
			t.Errorf("%q is written %q", s, v.String())
		}
	})
}

func FuzzProofs(f *testing.F) {
	f.Add(uint64(3), uint64(7), bytes.Repeat([]byte{1}, 96))
	f.Add(uint64(1), uint64(MaxSize), bytes.Repeat([]byte{1}, 32*53))
	f.Fuzz(func(t *testing.T, a, b uint64, raw []byte) {
		var proof []Hash
		for ; len(raw) >= 32; raw = raw[32:] {
			proof = append(proof, Hash(raw[:32]))
		}
		if CheckConsistency(proof, Checkpoint{Size: a, Root: Hash{1}}, Checkpoint{Size: b, Root: Hash{2}}) == nil ||
			CheckInclusion(proof, a, Hash{1}, Checkpoint{Size: b, Root: Hash{2}}) == nil {
			t.Error("a made-up proof holds")
		}
		prefixRoot(proof, a, b)
	})
}

func BenchmarkFrontierAppend100k(b *testing.B) {
	all := leaves(100_000, 0)
	for b.Loop() {
		var f Frontier
		for _, h := range all {
			f.Append(h)
		}
		f.Root()
	}
}

// BenchmarkMillion measures what a node that has caught up does for a checkpoint and for a proof.
func BenchmarkMillion(b *testing.B) {
	const size = 1_000_000
	l := newTiled(leaves(size, 0))
	s := signer(b, "node")
	b.Run("checkpoint", func(b *testing.B) {
		for b.Loop() {
			root, err := RootAt(size, l.source())
			if err != nil {
				b.Fatal(err)
			}
			sign(b, s, size, root)
		}
	})
	b.Run("consistency", func(b *testing.B) {
		for b.Loop() {
			if _, err := ProveConsistency(1+rand.Uint64N(size-1), size, l.source()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func ExampleFrontier() {
	var f Frontier
	f.Append(LeafHash(coffer.Change{Number: 1, Kind: coffer.Accepted, Time: time.UnixMilli(0)}))
	fmt.Println(f.Size())
	// Output: 1
}
