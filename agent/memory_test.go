package agent_test

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// discard is a vault that forgets chunks.
type discard struct{ coffer.Vault }

func (discard) PutChunk(_ context.Context, _ coffer.ObjectID, _ coffer.ChunkRef, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// nowhere is an io.WriterAt.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// growth returns by how much the heap's live objects grew at most while f ran.
func growth(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	live := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	before, peak := live(), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			peak = max(peak, live())
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return peak - before
}

// The memory of putting and getting does not grow with the file.
func TestConstantMemory(t *testing.T) {
	const most = 16 << 20
	p := newPerson(t, provider(t), "alice")
	put := growth(func() {
		const size = 128 << 20
		a := p.device(t, func(o *agent.Options) { o.Vault = discard{o.Vault} })
		s := agent.Source{Reader: io.LimitReader(zeros{}, size), Size: size}
		if _, err := a.Put(t.Context(), "f", s, agent.PutOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Logf("putting 128 MiB: %.1f MiB", float64(put)/(1<<20))
	if put > most {
		t.Errorf("putting took %d MiB", put>>20)
	}

	const size = 64 << 20
	s := agent.Source{Reader: io.LimitReader(zeros{}, size), Size: size}
	if _, err := p.Put(t.Context(), "g", s, agent.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	get := growth(func() {
		o, err := p.Get(t.Context(), "g")
		if err != nil {
			t.Error(err)
			return
		}
		if err := o.WriteTo(t.Context(), nowhere{}, nil); err != nil {
			t.Error(err)
		}
		r := o.Open(t.Context())
		defer r.Close()
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
	})
	t.Logf("getting 64 MiB twice: %.1f MiB", float64(get)/(1<<20))
	if get > most {
		t.Errorf("getting took %d MiB", get>>20)
	}
}
