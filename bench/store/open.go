package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/pebble"
)

// killAfter is how long a store is written to before it is killed.
const killAfter = 1500 * time.Millisecond

// opening measures how soon a large store is open: after it was closed, and after its process was killed while 64
// goroutines wrote.
func (p *program) opening(ctx context.Context) error {
	if p.filled == "" {
		dir, err := p.folder("open")
		if err != nil {
			return err
		}
		if p.filled, p.filledWith, err = p.fillStore(ctx, dir); err != nil {
			return err
		}
	}
	config := sideConfig{Name: "pebble", Dir: p.filled, Memory: p.memory}
	report := func(what string, took []float64) {
		p.report.add(row{
			What: "open, " + what, Side: "pebble", Documents: p.filledWith, Figure: median(took), Unit: " ms",
			Remark: fmt.Sprintf("with the first read; worst of %d: %s ms", len(took), number(quantile(took, 1))),
		}.judged("under 1 s", quantile(took, 1) < 1000))
	}
	var closed, cold, killed []float64
	for range p.rounds {
		took, err := openOnce(ctx, config)
		if err != nil {
			return err
		}
		closed = append(closed, took)
		if err := forget(p.filled); err != nil {
			return err
		}
		if took, err = openOnce(ctx, config); err != nil {
			return err
		}
		cold = append(cold, took)
		f, err := start(ctx, "fill", config)
		if err != nil {
			return err
		}
		err = f.ask("write", nil, nil)
		select {
		case <-ctx.Done():
			err = errors.Join(err, ctx.Err())
		case <-time.After(killAfter):
		}
		f.kill()
		if err != nil {
			return err
		}
		if took, err = openOnce(ctx, config); err != nil {
			return err
		}
		killed = append(killed, took)
	}
	report("after it was closed", closed)
	report("after it was closed, files not in memory", cold)
	report("after kill -9 in the middle of writing", killed)
	return nil
}

// fillStore makes a store of many documents.
func (p *program) fillStore(ctx context.Context, dir string) (filled string, documents int, err error) {
	s, err := start(ctx, "side", sideConfig{Name: "pebble", Dir: dir, Memory: max(p.memory, loadMemory)})
	if err != nil {
		return "", 0, err
	}
	err = s.ask("load", filling{Documents: p.documents, Span: loadTime(ctx)}, &documents)
	return dir, documents, errors.Join(err, s.stop())
}

// openOnce opens the store in a process of its own and closes it in order. It returns the milliseconds until the first
// answer.
func openOnce(ctx context.Context, c sideConfig) (took float64, err error) {
	s, err := start(ctx, "open", c)
	if err != nil {
		return 0, err
	}
	err = s.ask("open", nil, &took)
	return took, errors.Join(err, s.stop())
}

// serveOpen opens a store when it is asked to.
func serveOpen(_ context.Context, arg json.RawMessage) (map[string]handler, func() error, error) {
	var c sideConfig
	if err := json.Unmarshal(arg, &c); err != nil {
		return nil, nil, err
	}
	end := func() error { return nil }
	return map[string]handler{
		"open": func(ctx context.Context, _ json.RawMessage) (any, error) {
			begin := time.Now()
			s, err := pebble.Open(c.Dir, pebble.Options{Memory: c.Memory})
			if err != nil {
				return nil, err
			}
			end = s.Close
			d, err := s.Get(ctx, ourVault, idOf(0))
			if err != nil {
				return nil, err
			}
			took := milliseconds(time.Since(begin))
			return took, sized(d.Body)
		},
	}, func() error { return end() }, nil
}

// serveFill writes into a store from the moment it is told to until it is killed.
func serveFill(ctx context.Context, arg json.RawMessage) (map[string]handler, func() error, error) {
	var c sideConfig
	if err := json.Unmarshal(arg, &c); err != nil {
		return nil, nil, err
	}
	s, err := openPebble(c)
	if err != nil {
		return nil, nil, err
	}
	return map[string]handler{
		"write": func(context.Context, json.RawMessage) (any, error) {
			// Numbers that no other part uses, and no other process of this part.
			from := 1<<40 + os.Getpid()<<24
			go spread(64, func(i int) (int, error) { return 1, s.insert(ctx, from+i) })
			return nil, nil
		},
	}, s.Close, nil
}

// ourVault is the one vault of a side of ours.
var ourVault = coffer.VaultID{1}
