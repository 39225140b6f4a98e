package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// flooded is how many documents each of the two tenants has.
const flooded = 1000

// refusedPause is how long who is told to come later waits: far less than it is told.
const refusedPause = 5 * time.Millisecond

// A floodConfig says what a flood is to be.
type floodConfig struct {
	Address     string
	Tenant      *tenant
	Connections int
	Inserts     int // to make ready
}

// A flooding is what came of a flood so far.
type flooding struct{ Answered, Refused int64 }

// flood measures how long a tenant with one connection waits, by itself and while another keeps 256 connections busy.
func (p *program) flood(ctx context.Context) (err error) {
	data, err := p.folder("node")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	n, address, err := p.startNode(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	c, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	var tenants [2]*tenant
	for i := range tenants {
		if tenants[i], err = newTenant(); err != nil {
			return err
		}
		if err := tenants[i].create(c); err != nil {
			return err
		}
		for d := range flooded {
			if err := tenants[i].put(c, d); err != nil {
				return err
			}
		}
	}
	quiet, heavy := tenants[0], tenants[1]
	const perSecond = 4000
	inserts := int(p.span.Seconds() * float64(p.rounds) * perSecond)
	f, err := start(ctx, "flood", floodConfig{address, heavy, p.flooding, inserts})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	alone, beside := patience{}, patience{from: 1 << 32}
	var total flooding
	var took time.Duration
	for range p.rounds {
		if err := alone.wait(ctx, c, quiet, p.span); err != nil {
			return err
		}
		begin := time.Now()
		if err := f.ask("begin flood", nil, nil); err != nil {
			return err
		}
		err := beside.wait(ctx, c, quiet, p.span)
		var r flooding
		if err = errors.Join(err, f.ask("end flood", nil, &r)); err != nil {
			return err
		}
		took += time.Since(begin)
		total.Answered += r.Answered
		total.Refused += r.Refused
	}
	p.report.add(row{
		What: fmt.Sprintf("the flood: %d connections of one tenant", p.flooding), Side: "node", Unit: "/s",
		Figure: float64(total.Answered) / took.Seconds(), Remark: number(float64(total.Refused)/took.Seconds()) + " refused in a second",
	})
	for _, x := range []struct {
		what          string
		alone, beside []time.Duration
	}{{"get", alone.gets, beside.gets}, {"insert", alone.inserts, beside.inserts}} {
		p.report.add(row{
			What: "one connection of another tenant, " + x.what, Side: "node",
			Figure: milliseconds(quantile(x.beside, 0.5)), Unit: " ms (p50)",
			Remark: fmt.Sprintf("p99 %.2f, max %.2f ms; alone p50 %.2f, p99 %.2f ms; %d and %d requests, %d refused",
				milliseconds(quantile(x.beside, 0.99)), milliseconds(quantile(x.beside, 1)), milliseconds(quantile(x.alone, 0.5)),
				milliseconds(quantile(x.alone, 0.99)), len(x.beside), len(x.alone), beside.refused),
		})
	}
	return nil
}

// A patience is how long a tenant waited for each of its requests.
type patience struct {
	gets, inserts []time.Duration
	refused       int
	next          int // document to read
	from          int // first document to insert
}

// wait sends requests one after the other, reading and writing by turns, for a time.
func (p *patience) wait(ctx context.Context, c *conn, t *tenant, span time.Duration) error {
	for end := time.Now().Add(span); time.Now().Before(end) && ctx.Err() == nil; p.next++ {
		get, err := t.get(p.next % flooded)
		if err != nil {
			return err
		}
		insert, err := t.insert(flooded + p.from + len(p.inserts))
		if err != nil {
			return err
		}
		for _, r := range []struct {
			request []byte
			to      *[]time.Duration
		}{{get, &p.gets}, {insert, &p.inserts}} {
			begin := time.Now()
			status, _, err := c.do(r.request)
			switch {
			case err != nil:
				return err
			case busy(status):
				p.refused++
			case status/100 != 2:
				return fmt.Errorf("one connection beside a flood: status %d", status)
			}
			*r.to = append(*r.to, time.Since(begin))
		}
	}
	return ctx.Err()
}

func busy(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// serveFlood keeps connections busy, from when it is told to until it is told not to: a third of the requests read one
// document, a third find ten, a third write one.
func serveFlood(ctx context.Context, arg json.RawMessage) (map[string]handler, func() error, error) {
	var c floodConfig
	if err := json.Unmarshal(arg, &c); err != nil {
		return nil, nil, err
	}
	if err := c.Tenant.open(); err != nil {
		return nil, nil, err
	}
	var reads, writes [][]byte // signed beforehand, so that little is taken from the node
	for i := range flooded {
		get, err1 := c.Tenant.get(i)
		find, err2 := c.Tenant.find(i)
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, err
		}
		reads = append(reads, get, find)
	}
	for i := range c.Inserts {
		insert, err := c.Tenant.insert(1<<20 + i)
		if err != nil {
			return nil, nil, err
		}
		writes = append(writes, insert)
	}
	var conns []*conn
	end := func() (err error) {
		for _, c := range conns {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	for range c.Connections {
		x, err := dial(ctx, c.Address)
		if err != nil {
			return nil, nil, errors.Join(err, end())
		}
		conns = append(conns, x)
	}
	var stop atomic.Bool
	var next, written, answered, refused atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	keep := func(x *conn) {
		for !stop.Load() {
			i := int(next.Add(1))
			request := reads[i%len(reads)]
			if i%3 == 2 {
				if w := int(written.Add(1) - 1); w < len(writes) {
					request = writes[w]
				}
			}
			status, _, err := x.do(request)
			switch {
			case err == nil && status/100 == 2:
				answered.Add(1)
				continue
			case err == nil && busy(status):
				refused.Add(1)
				time.Sleep(refusedPause)
				continue
			case err == nil:
				err = fmt.Errorf("status %d", status)
			}
			failed.CompareAndSwap(nil, &err)
			return
		}
	}
	return map[string]handler{
		"begin flood": func(context.Context, json.RawMessage) (any, error) {
			stop.Store(false)
			for _, x := range conns {
				all.Go(func() { keep(x) })
			}
			return nil, nil
		},
		"end flood": func(context.Context, json.RawMessage) (any, error) {
			stop.Store(true)
			all.Wait()
			if err := failed.Load(); err != nil {
				return nil, *err
			}
			return flooding{answered.Swap(0), refused.Swap(0)}, nil
		},
	}, end, nil
}
