package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// ram is a vault that keeps chunks in memory, so that what is measured is the agent and not a disk.
type ram struct {
	coffer.Vault
	mu     sync.Mutex
	chunks map[uint64]ramChunk
}

type ramChunk struct {
	ref coffer.ChunkRef
	b   []byte
}

func (r *ram) PutChunk(_ context.Context, _ coffer.ObjectID, ref coffer.ChunkRef, from io.Reader) error {
	r.mu.Lock()
	b := r.chunks[ref.Index].b
	r.mu.Unlock()
	if int64(len(b)) != ref.Size {
		b = make([]byte, ref.Size)
	}
	if _, err := io.ReadFull(from, b); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chunks[ref.Index] = ramChunk{ref, b}
	return nil
}

func (r *ram) Chunk(_ context.Context, _ coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.chunks[index]
	return c.ref, io.NopCloser(bytes.NewReader(c.b)), nil
}

const benchSize = 256 << 20

func benchAgent(b *testing.B) *agent.Agent {
	return newHouse(b).owner(on(func(v coffer.Vault) coffer.Vault {
		return &ram{Vault: v, chunks: make(map[uint64]ramChunk)}
	}))
}

func putZeros(b *testing.B, a *agent.Agent) {
	b.Helper()
	s := agent.Source{Reader: io.LimitReader(zeros{}, benchSize), Size: benchSize}
	if _, err := a.Put(b.Context(), "f", s, agent.PutOptions{}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPut256MiB(b *testing.B) {
	a := benchAgent(b)
	putZeros(b, a)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		putZeros(b, a)
	}
}

func BenchmarkGet256MiB(b *testing.B) {
	a := benchAgent(b)
	putZeros(b, a)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		o, err := a.Get(b.Context(), "f")
		if err != nil {
			b.Fatal(err)
		}
		if err := o.WriteTo(b.Context(), nowhere{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutSmall(b *testing.B) {
	a := newHouse(b).owner()
	content := noise(1, 1000)
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			path := fmt.Sprintf("f/%p/%d", pb, n)
			if _, err := a.Put(b.Context(), path, file(content), agent.PutOptions{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkGetSmall(b *testing.B) {
	a := newHouse(b).owner()
	put(b, a, "f/small", noise(1, 1000))
	for b.Loop() {
		get(b, a, "f/small")
	}
}
