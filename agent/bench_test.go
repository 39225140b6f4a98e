package agent_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/agent"
)

// fill puts files of 1 kB into a folder, many at once.
func fill(t testing.TB, a *agent.Agent, folder string, files int) {
	t.Helper()
	content := noise(9, 1000)
	next := make(chan int)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := range next {
				if _, err := a.Put(context.Background(), fmt.Sprintf("%s/%06d", folder, i), file(content), agent.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	all.Wait()
}

func BenchmarkPutOne(b *testing.B) {
	p := newPerson(b, provider(b), "alice")
	content := noise(9, 1000)
	for i := 0; b.Loop(); i++ {
		if _, err := p.Put(context.Background(), fmt.Sprintf("f/%06d", i), file(content), agent.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutMany(b *testing.B) {
	p := newPerson(b, provider(b), "alice")
	b.ResetTimer()
	fill(b, p.Agent, "f", b.N)
}

func BenchmarkGet(b *testing.B) {
	p := newPerson(b, provider(b), "alice")
	fill(b, p.Agent, "f", 1000)
	for i := 0; b.Loop(); i++ {
		get(b, p.Agent, fmt.Sprintf("f/%06d", i%1000))
	}
}

// BenchmarkRevoke encrypts a folder anew, after sharing it and revoking that.
func BenchmarkRevoke(b *testing.B) {
	at := provider(b)
	p, bob := newPerson(b, at, "alice"), newPerson(b, at, "bob")
	fill(b, p.Agent, "f", b.N)
	if _, err := p.Share(context.Background(), "f", agent.ShareOptions{With: p.knows(b, bob)}); err != nil {
		b.Fatal(err)
	}
	if _, err := p.Revoke(context.Background(), agent.RevokeOptions{Path: "f"}); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	if err := p.Work(context.Background(), nil); err != nil {
		b.Fatal(err)
	}
}
