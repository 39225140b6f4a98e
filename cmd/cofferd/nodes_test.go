package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
)

// origin is what two nodes call themselves. Clients are told where each of them listens.
const origin = "http://127.0.0.1:4747"

// A pair is two nodes on one database and one bucket.
type pair struct {
	flags     []string // of both
	data      [2]string
	processes [2]*process
	addresses [2]string
}

// startPair starts two nodes, the second with the keys of the first.
func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{flags: append(combinations[2].flags(t), "--origin", origin)}
	for i := range p.data {
		p.data[i] = filepath.Join(t.TempDir(), "data")
		p.addresses[i] = freeAddress(t)
		if i == 1 {
			copyKeys(t, p.data[0], p.data[1])
		}
		p.run(t, i)
	}
	return p
}

func (p *pair) run(t *testing.T, i int) {
	t.Helper()
	p.processes[i] = start(t, nil, serving(p.flags, "--data", p.data[i], "--listen", p.addresses[i])...)
}

// copyKeys copies the keys of a node into the data folder of another one, as an operator does.
func copyKeys(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node.json", "node.key", "log.key"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUC33TwoNodes writes at one node, and reads, finds and follows at the other, in both directions; what is revoked
// at one is refused at the other (UC-16, UC-33).
func TestUC33TwoNodes(t *testing.T) {
	p := startPair(t)
	ring := keyring.Generate()
	defer ring.Close()
	clients := [2]*edv.Client{clientOf(t, ring, origin, p.addresses[0]), clientOf(t, ring, origin, p.addresses[1])}
	url := newVaultOf(t, ring, clients[0]).URL()
	var here [2]*edv.RemoteVault
	var agents [2]*agent.Agent
	for i, c := range clients {
		here[i] = at(t, c, url)
		var err error
		if agents[i], err = agent.New(agent.Options{Vault: here[i], Keyring: ring}); err != nil {
			t.Fatal(err)
		}
	}
	w := newWriters(ring)
	for i := range here {
		there := 1 - i
		// Followed at the other before anything happens.
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		seen := make(chan coffer.Change, 100)
		var cursor coffer.Cursor
		for ch, err := range here[there].Changes(ctx, "", false) {
			if err != nil {
				t.Fatal(err)
			}
			cursor = ch.Cursor
		}
		go func() {
			defer close(seen)
			for ch, err := range here[there].Changes(ctx, cursor, true) {
				if err != nil {
					return
				}
				seen <- ch
			}
		}()
		// A document, with a tag that only one may have.
		d := &coffer.Document{ID: coffer.NewObjectID()}
		if err := w.sealed(ctx, d, 500); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := coffer.Put(ctx, here[i], d); err != nil {
			t.Fatal(err)
		}
		if got, err := here[there].Get(ctx, d.ID); err != nil || got[0].Rev() != d.Rev() {
			t.Errorf("written at %d, read at %d: %v", i, there, err)
		}
		for ch := range seen {
			if ch.ID == d.ID {
				break
			}
		}
		if took := time.Since(begun); ctx.Err() != nil || took > 15*time.Second {
			t.Errorf("written at %d, followed at %d after %v", i, there, took)
		}
		cancel()
		// A file with chunks, found by its name.
		b := bytes.Repeat([]byte{byte('a' + i)}, 3_000_000)
		name := "file of " + string(rune('a'+i))
		if _, err := agents[i].Put(t.Context(), name, agent.Source{Reader: bytes.NewReader(b), Size: int64(len(b))},
			agent.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		o, err := agents[there].Get(t.Context(), name)
		if err != nil {
			t.Fatalf("stored at %d, got at %d: %v", i, there, err)
		}
		got := make(sink, o.Size)
		if err := o.WriteTo(t.Context(), got, nil); err != nil || !bytes.Equal(got, b) {
			t.Errorf("stored at %d, read at %d: %v", i, there, err)
		}
		// Replaced at the other: the first sees it, and cannot write over it.
		next := &coffer.Document{ID: d.ID, Sequence: 1, Parents: []coffer.Rev{d.Rev()}}
		if err := w.sealed(t.Context(), next, 600); err != nil {
			t.Fatal(err)
		}
		if _, err := coffer.Put(t.Context(), here[there], next); err != nil {
			t.Fatal(err)
		}
		other := &coffer.Document{ID: d.ID, Sequence: 1, Parents: []coffer.Rev{d.Rev()}}
		if err := w.sealed(t.Context(), other, 700); err != nil {
			t.Fatal(err)
		}
		if _, err := coffer.Put(t.Context(), here[i], other); !errors.Is(err, coffer.Conflict) {
			t.Errorf("over what was replaced at the other: %v", err)
		}
		// Revoked at one: the other obeys at once.
		bob := keyring.Generate()
		defer bob.Close()
		capability, err := grant.Delegate(t.Context(), ring, url, grant.DelegateOptions{
			Controller: bob.DID(), Target: url + "/documents", Actions: []grant.Action{grant.Read},
			Created: time.Now(), Expires: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		bobs := at(t, clientOf(t, bob, origin, p.addresses[there]), url, capability)
		for range 3 {
			if _, err := bobs.Get(t.Context(), d.ID); err != nil {
				t.Fatalf("Bob, at %d: %v", there, err)
			}
		}
		if err := here[i].Revoke(t.Context(), capability); err != nil {
			t.Fatal(err)
		}
		if _, err := bobs.Get(t.Context(), d.ID); !errors.Is(err, coffer.NotExist) {
			t.Errorf("Bob, at %d, when revoked at %d: %v", there, i, err)
		}
	}
	// A shared store is checked beside its nodes.
	well(t, "beside both", p.flags[:4]...)
	for _, process := range p.processes {
		if err := process.stop(t, syscall.SIGTERM); err != nil {
			t.Errorf("the end: %v\n%s", err, process.log)
		}
	}
}

// TestUC34OneOfTwoNodesDies kills one of two nodes in the middle of writers at both. What was acknowledged is there at
// the other, whose feed has neither a gap nor a change twice, whether it was followed or is read; the one that was
// killed comes back without help.
func TestUC34OneOfTwoNodesDies(t *testing.T) {
	p := startPair(t)
	ring := keyring.Generate()
	defer ring.Close()
	clients := [2]*edv.Client{clientOf(t, ring, origin, p.addresses[0]), clientOf(t, ring, origin, p.addresses[1])}
	url := newVaultOf(t, ring, clients[0]).URL()
	here := [2]*edv.RemoteVault{at(t, clients[0], url), at(t, clients[1], url)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWriters(ring)

	// The feed, followed at the node that stays.
	following, ended := context.WithCancel(t.Context())
	var followed []coffer.Change
	var mu sync.Mutex
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ch, err := range here[1].Changes(following, "", true) {
			if err != nil {
				if following.Err() == nil {
					t.Errorf("following: %v", err)
				}
				return
			}
			mu.Lock()
			followed = append(followed, ch)
			mu.Unlock()
		}
	}()
	rounds := 2
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i, v := range here {
			// Documents only: two agents at once would write one head.
			for range 6 {
				seed := random.Uint64()
				running.Go(func() {
					err := w.write(ctx, v, seed)
					if ctx.Err() == nil && (i == 1 || !errors.Is(err, coffer.Unavailable)) {
						t.Errorf("a writer at %d: %v", i, err)
					}
				})
			}
		}
		w.until(t, 60+random.IntN(60))
		p.processes[0].stop(t, syscall.SIGKILL)
		w.until(t, 40) // at the other, which goes on
		cancel()
		running.Wait()
		w.verify(t, here[1])
		p.run(t, 0)
		w.verify(t, here[0])
	}
	var last uint64
	for i, v := range here {
		last = 0
		for ch, err := range v.Changes(t.Context(), "", false) {
			if err != nil {
				t.Fatal(err)
			}
			if ch.Number != last+1 {
				t.Fatalf("the feed at %d goes from %d to %d", i, last, ch.Number)
			}
			last = ch.Number
		}
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		n := len(followed)
		mu.Unlock()
		if n >= int(last) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d changes were seen by who follows", n, last)
		}
	}
	ended()
	<-done
	for i, ch := range followed {
		if ch.Number != uint64(i+1) {
			t.Fatalf("who follows was told of %d after %d", ch.Number, i)
		}
	}
	t.Logf("%d changes, %d writes acknowledged", last, w.count())
	for _, process := range p.processes {
		if err := process.stop(t, syscall.SIGTERM); err != nil {
			t.Errorf("the end: %v\n%s", err, process.log)
		}
	}
	well(t, "at the end", p.flags[:4]...)
}

// TestStrangerOnDatabase starts a node with other keys, or another origin, on the database of another: it is told what
// to do, and nothing is made.
func TestStrangerOnDatabase(t *testing.T) {
	flags := combinations[2].flags(t)
	first := filepath.Join(t.TempDir(), "data")
	p := start(t, nil, serving(flags, "--origin", origin, "--data", first, "--listen", freeAddress(t))...)
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	other := filepath.Join(t.TempDir(), "data")
	p = start(t, nil, "serve", "--data", other, "--listen", "127.0.0.1:0")
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	absent, empty := filepath.Join(t.TempDir(), "data"), t.TempDir()
	for name, tt := range map[string]struct{ data, origin, says string }{
		"no keys, no folder":    {absent, origin, "copy node.json, node.key and log.key"},
		"no keys":               {empty, origin, "copy node.json, node.key and log.key"},
		"other keys":            {other, origin, "copy node.json, node.key and log.key"},
		"another origin":        {first, "https://other.example", "--origin"},
		"another, and no keys":  {absent, "https://other.example", "--origin"},
		"the address as origin": {first, "", "--origin"},
	} {
		args := serving(flags, "--data", tt.data, "--listen", "127.0.0.1:0")
		if tt.origin != "" {
			args = append(args, "--origin", tt.origin)
		}
		code, _, stderr := call(t.Context(), nil, args...)
		if code != exitUsage || !strings.Contains(stderr, tt.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d\n%s", name, code, stderr)
		}
	}
	if _, err := os.Lstat(absent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a data folder was made: %v", err)
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	// With the keys it is one of them.
	copyKeys(t, first, absent)
	p = start(t, nil, serving(flags, "--origin", origin, "--data", absent, "--listen", freeAddress(t))...)
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, p.log)
	}
}
