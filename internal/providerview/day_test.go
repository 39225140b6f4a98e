package providerview

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/keyring"
)

// same fails if any of the days shows anything else than the first.
func same(t *testing.T, names []string, days ...*Day) {
	t.Helper()
	for i, d := range days[1:] {
		for _, difference := range Differences(days[0], d, 8) {
			t.Errorf("%s and %s differ: %s", names[0], names[i+1], difference)
		}
	}
	for i, d := range days {
		t.Logf("\n%s\n%s", names[i], d.Markdown())
	}
}

// TestUC06T03FlatOrDeep: 50 files in one folder show the same as the same 50 in trees, put one by one and all at once.
func TestUC06T03FlatOrDeep(t *testing.T) {
	const files = 50
	shapes := []struct {
		name string
		path func(i int) string
	}{
		{"flat", func(i int) string { return fmt.Sprintf("file %02d.bin", i) }},
		{"five deep", func(i int) string {
			return "taxes/" + strings.Repeat("of/", i%5) + fmt.Sprintf("file %02d.bin", i)
		}},
		{"five deep, branching", func(i int) string {
			return fmt.Sprintf("%d/%d/%d/%d/%d/file %02d.bin", i%2, i/2%2, i/4%2, 1, 1, i)
		}},
	}
	contents := make([][]byte, files)
	for i := range contents {
		contents[i] = noise(100 + i*37)
	}
	p := newProvider(t)
	var owners, together, texts []*owner
	for _, s := range shapes {
		o := p.owner()
		for i, c := range contents {
			o.put(s.path(i), c, agent.PutOptions{})
		}
		owners = append(owners, o)
		o = p.owner()
		putTogether(o, files, s.path, contents[0])
		together = append(together, o)
		// Texts are indexed by their words, which fills the index.
		o = p.owner()
		for i, c := range contents {
			o.put(strings.Replace(s.path(i), ".bin", ".txt", 1), prose(len(c)), agent.PutOptions{})
		}
		texts = append(texts, o)
	}
	for name, owners := range map[string][]*owner{"one by one": owners, "at once": together, "texts": texts} {
		t.Run(name, func(t *testing.T) {
			var names []string
			var days []*Day
			for i, s := range shapes {
				names, days = append(names, s.name), append(days, p.day(owners[i], 0))
			}
			same(t, names, days...)
		})
	}
}

// putTogether puts one file, and all others while that one is being written, so that they are one commit.
func putTogether(o *owner, files int, path func(int) string, content []byte) {
	t := o.at.t
	g := &gate{Vault: o.vault, reached: make(chan struct{}), open: make(chan struct{})}
	a := o.device(func(options *agent.Options) { options.Vault = g })
	var all sync.WaitGroup
	put := func(i int) {
		all.Go(func() {
			if _, err := a.Put(t.Context(), path(i), file(content), agent.PutOptions{}); err != nil {
				t.Errorf("put: %v", err)
			}
		})
	}
	put(0)
	<-g.reached
	for i := 1; i < files; i++ {
		put(i)
	}
	// Until all others wait for their turn. No other test runs at the same time. To look stops all, so they get some time
	// to come there in between.
	buf := make([]byte, 1<<20)
	for waiting := 0; waiting < files-1; time.Sleep(10 * time.Millisecond) {
		waiting = strings.Count(string(buf[:runtime.Stack(buf, true)]), "agent.(*Agent).commit(") - 1
	}
	close(g.open)
	all.Wait()
}

// A gate is a vault that makes the first write wait.
type gate struct {
	coffer.Vault
	once          sync.Once
	reached, open chan struct{}
}

// Apply implements [coffer.Vault].
func (g *gate) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	g.once.Do(func() {
		close(g.reached)
		<-g.open
	})
	return g.Vault.Apply(ctx, writes...)
}

// TestUC07WhoIsGranted: an object granted to nobody, to Bob, to five people shows the same, from the first moment on
// and later.
func TestUC07WhoIsGranted(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	var people []*owner
	for range 5 {
		people = append(people, p.owner())
	}
	content := noise(700)
	// Each scenario is played with so many readers.
	scenarios := map[string]struct {
		readers []int
		play    func(o *owner, readers []agent.ShareOptions)
	}{
		"from the first moment": {[]int{0, 1, 5}, func(o *owner, readers []agent.ShareOptions) {
			o.put("papers/contract.pdf", content, agent.PutOptions{Share: readers})
			o.put("papers/other.pdf", content, agent.PutOptions{})
		}},
		"by a device that knows nothing": {[]int{0, 1, 5}, func(o *owner, readers []agent.ShareOptions) {
			a := o.device(nil)
			if _, err := a.Put(t.Context(), "papers/contract.pdf", file(content), agent.PutOptions{Share: readers}); err != nil {
				t.Fatal(err)
			}
		}},
		"later": {[]int{1, 5}, func(o *owner, readers []agent.ShareOptions) {
			o.put("papers/contract.pdf", content, agent.PutOptions{})
			if _, err := o.Share(t.Context(), "papers/contract.pdf", readers...); err != nil {
				t.Fatal(err)
			}
			o.put("papers/contract.pdf", content[1:], agent.PutOptions{})
		}},
		"a folder": {[]int{1, 5}, func(o *owner, readers []agent.ShareOptions) {
			o.put("papers/contract.pdf", content, agent.PutOptions{})
			if _, err := o.Share(t.Context(), "papers", readers...); err != nil {
				t.Fatal(err)
			}
			o.put("papers/other.pdf", content, agent.PutOptions{})
		}},
	}
	type played struct {
		name  string
		owner *owner
		since int
	}
	days := make(map[string][]played)
	for name, s := range scenarios {
		for _, n := range s.readers {
			o := p.owner()
			var readers []agent.ShareOptions
			for i, other := range people {
				did := o.knows(other, fmt.Sprintf("person %d", i))
				if i < n {
					readers = append(readers, agent.ShareOptions{With: did, Until: time.Now().Add(time.Hour)})
				}
			}
			since := p.recorder.Now()
			s.play(o, readers)
			days[name] = append(days[name], played{fmt.Sprintf("%s, to %d", name, n), o, since})
		}
	}
	for name, list := range days {
		t.Run(name, func(t *testing.T) {
			var names []string
			var days []*Day
			for _, l := range list {
				names, days = append(names, l.name), append(days, p.day(l.owner, l.since))
			}
			same(t, names, days...)
		})
	}
}

// TestUC07ManyGrants: that there are more than six grants at once shows as a second box, and that about so many were
// recorded as a register.
func TestUC07ManyGrants(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	alice := p.owner()
	var readers []agent.ShareOptions
	for i := range 9 {
		ring := keyring.Generate()
		t.Cleanup(func() { ring.Close() })
		readers = append(readers, agent.ShareOptions{With: alice.knows(&owner{at: p, ring: ring}, fmt.Sprint("person ", i))})
	}
	alice.put("papers/contract.pdf", noise(300), agent.PutOptions{})
	since := p.recorder.Now()
	for _, r := range readers {
		if _, err := alice.Share(t.Context(), "papers/contract.pdf", r); err != nil {
			t.Fatal(err)
		}
	}
	d := p.day(alice, since)
	var inserted []int // by which commit
	for i, c := range d.Commits {
		if len(c) < 3 {
			t.Errorf("commit %d has only %d parts: granting again shows", i+1, len(c))
		}
		for _, w := range c {
			if w.Act == "insert" {
				inserted = append(inserted, i+1)
			}
		}
	}
	if len(d.Commits) != 9 || len(inserted) != 2 {
		t.Errorf("%d commits, and something new in %v; want 9, a box and a register", len(d.Commits), inserted)
	}
	t.Logf("\n%s", d.Markdown())
}

// prose returns as many bytes of words, always the same.
func prose(n int) []byte {
	var b strings.Builder
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for b.Len() < n {
		for range 1 + r.IntN(4) {
			b.WriteString([]string{"ta", "re", "mo", "li", "ku", "sen", "dor", "va"}[r.IntN(8)])
		}
		b.WriteByte(' ')
	}
	return []byte(b.String()[:n])
}
