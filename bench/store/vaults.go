package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferhq/coffer/node"
	"github.com/cofferhq/coffer/node/vault"
)

// nodeOrigin is what clients call the node, wherever it listens.
const nodeOrigin = "http://vault.example"

// A nodeConfig says what a process with a node is to be.
type nodeConfig struct {
	Data  string
	Slots int // see vault.Limits
}

// serveNode runs a node as it comes.
func serveNode(ctx context.Context, arg json.RawMessage) (map[string]handler, func() error, error) {
	var c nodeConfig
	if err := json.Unmarshal(arg, &c); err != nil {
		return nil, nil, err
	}
	n, err := node.Open(ctx, node.Config{Data: c.Data, Listen: "127.0.0.1:0", Origin: nodeOrigin, Limits: vault.Limits{Slots: c.Slots}})
	if err != nil {
		return nil, nil, err
	}
	running, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	var served error
	serving.Go(func() { served = n.Serve(running) })
	end := func() error {
		stop()
		serving.Wait()
		return served
	}
	return map[string]handler{
		"address": func(context.Context, json.RawMessage) (any, error) { return n.Addr().String(), nil },
	}, end, nil
}

// startNode starts a node and returns where it listens.
func (p *program) startNode(ctx context.Context, data string) (n *process, address string, err error) {
	if n, err = start(ctx, "node", nodeConfig{data, p.slots}); err != nil {
		return nil, "", err
	}
	if err := n.ask("address", nil, &address); err != nil {
		n.kill()
		return nil, "", err
	}
	return n, address, nil
}

// manyEnough is how many vaults there must be for caches, which are full at some time, to say little about one vault.
const manyEnough = 50_000

// makers is over how many connections vaults are made.
const makers = 32

// manyVaults measures a node with very many vaults.
func (p *program) manyVaults(ctx context.Context) error {
	data, err := p.folder("node")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	n, address, err := p.startNode(ctx, data)
	if err != nil {
		return err
	}
	var none, all use
	if err := n.ask("use", nil, &none); err != nil {
		n.kill()
		return err
	}
	begin := time.Now()
	sample, made, err := p.makeVaults(ctx, address, begin)
	if err == nil {
		p.report.add(row{What: "make vaults, each with a document", Side: "node", Figure: float64(made) / time.Since(begin).Seconds(),
			Unit: "/s", Remark: number(float64(made)) + " vaults over HTTP"})
		err = n.ask("use", nil, &all)
	}
	if err = errors.Join(err, n.stop()); err != nil {
		return err
	}
	each := func(u use) (heap, resident float64) {
		return float64(u.Heap-none.Heap) / float64(made), float64(u.RSS-none.RSS) / float64(made)
	}
	weigh := func(when string, u use) {
		heap, resident := each(u)
		r := row{
			What: "memory for a vault, " + when, Side: "node", Figure: resident, Unit: " B resident",
			Remark: fmt.Sprintf("%s B of it reached on the heap; beside a node with none, of %s MB resident; %d open files beside %d",
				number(heap), number(float64(none.RSS)/1e6), u.Files, none.Files),
		}
		if made >= manyEnough {
			r = r.judged("at most 1 kB", resident <= 1000 && heap <= 1000)
		}
		p.report.add(r)
	}
	weigh("all of them used", all)
	for _, cold := range []bool{false, true} {
		what := "first request to a vault after a start"
		if cold {
			what += ", files not in memory"
			if err := forget(data); err != nil {
				return err
			}
		}
		n, address, err := p.startNode(ctx, data)
		if err != nil {
			return err
		}
		first, idle, err := visit(ctx, address, sample)
		var again []time.Duration
		if err == nil {
			again, _, err = visit(ctx, address, sample)
		}
		if err == nil {
			err = n.ask("use", nil, &all)
		}
		if err = errors.Join(err, n.stop()); err != nil {
			return err
		}
		worst := quantile(first, 1)
		p.report.add(row{
			What: what, Side: "node", Figure: milliseconds(quantile(first, 0.99)), Unit: " ms (p99)",
			Remark: fmt.Sprintf("%d random vaults, one after the other: p50 %.2f, max %.2f ms; the second time p50 %.2f, p99 %.2f ms; "+
				"/healthz in between p50 %.2f, p99 %.2f, max %.2f ms",
				len(first), milliseconds(quantile(first, 0.5)), milliseconds(worst), milliseconds(quantile(again, 0.5)),
				milliseconds(quantile(again, 0.99)), milliseconds(quantile(idle, 0.5)), milliseconds(quantile(idle, 0.99)),
				milliseconds(quantile(idle, 1))),
		}.judged("at most 5 ms", quantile(first, 0.99) <= 5*time.Millisecond))
		if !cold {
			weigh(fmt.Sprintf("after a start and %d requests", 2*len(first)), all)
		}
	}
	return nil
}

// makeVaults makes vaults, each of another tenant and with a document, and returns some of the tenants, at random.
func (p *program) makeVaults(ctx context.Context, address string, begin time.Time) (sample []*tenant, made int, err error) {
	end := begin.Add(loadTime(ctx))
	var mu sync.Mutex
	conns := make(chan *conn, makers)
	for range makers {
		c, err := dial(ctx, address)
		if err != nil {
			return nil, 0, err
		}
		defer c.Close()
		conns <- c
	}
	total, err := spread(makers, func(i int) (int, error) {
		if i >= p.vaults || time.Now().After(end) || ctx.Err() != nil {
			return 0, errEnough
		}
		c := <-conns
		defer func() { conns <- c }()
		t, err := newTenant()
		if err != nil {
			return 0, err
		}
		if err := errors.Join(t.create(c), t.put(c, 0)); err != nil {
			return 0, err
		}
		mu.Lock()
		defer mu.Unlock()
		// Each that was made is in the sample with the same probability.
		if made++; len(sample) < p.cold {
			sample = append(sample, t)
		} else if at := rand.IntN(made); at < p.cold {
			sample[at] = t
		}
		return 1, nil
	})
	rand.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
	return sample, int(total), err
}

// health asks a node whether it is there, which costs it next to nothing.
const health = "GET /healthz HTTP/1.1\r\nHost: vault.example\r\n\r\n"

// visit lets each tenant read the one document, one after the other over one connection, and returns how long each
// waited; and how long what costs nothing took in between, which is what the machine is busy with besides.
func visit(ctx context.Context, address string, tenants []*tenant) (took, idle []time.Duration, err error) {
	c, err := dial(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	timed := func(request []byte) (time.Duration, error) {
		begin := time.Now()
		status, _, err := c.do(request)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("reading in a vault: status %d", status)
		}
		return time.Since(begin), err
	}
	for _, t := range tenants {
		request, err := t.get(0)
		if err != nil {
			return nil, nil, err
		}
		nothing, err := timed([]byte(health))
		if err != nil {
			return nil, nil, err
		}
		d, err := timed(request)
		if err != nil {
			return nil, nil, err
		}
		took, idle = append(took, d), append(idle, nothing)
	}
	return took, idle, nil
}

// forget lets the system forget what it has in memory of a folder's files.
func forget(dir string) error {
	syscall.Sync()
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
	})
}
