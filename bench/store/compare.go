package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A contender is a side with so many documents, in a process of its own.
type contender struct {
	*process
	name      string
	wanted    int
	documents int // loaded
	dir       string
	config    sideConfig
}

// embedded reports whether the side has caches of its own.
func (c *contender) embedded() bool { return c.config.Postgres == "" }

// reopen lets a side start anew, with the memory that it is measured with.
func (c *contender) reopen(ctx context.Context, memory int64) (err error) {
	if err := c.stop(); err != nil {
		return err
	}
	c.config.Memory, c.config.Documents = memory, c.documents
	c.process, err = start(ctx, "side", c.config)
	return err
}

// A contest is one kind of thing that the contenders do in turns.
type contest struct {
	what    string
	turn    turn
	least   map[string]float64 // goal for the ratio of ours to a peer
	results map[*contender][]result
	cpu     map[*contender]time.Duration
}

// compare measures documents on all sides.
func (p *program) compare(ctx context.Context) (err error) {
	contenders, end, err := p.contenders(ctx)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return err
	}
	if err := p.loadAll(ctx, contenders); err != nil {
		return err
	}
	for _, c := range []*contest{
		{what: "get", turn: turn{Do: "get", Workers: 16}},
		{what: "find by unique tag", turn: turn{Do: "unique", Workers: 16}},
		{what: "find ten by a tag", turn: turn{Do: "shared", Workers: 16}},
		{what: "changes of the feed", turn: turn{Do: "changes", Workers: 1}},
	} {
		if err := p.hold(ctx, c, contenders); err != nil {
			return err
		}
		p.flat(c, contenders)
	}
	if err := p.sizes(ctx, contenders); err != nil {
		return err
	}
	for _, writers := range []int{1, 16, 64} {
		c := &contest{what: fmt.Sprintf("insert, %d writers", writers), turn: turn{Do: "insert", Workers: writers}}
		if writers == 64 {
			c.least = map[string]float64{"bare": 0.9, "sqlite": 4, "pgx": 0.8}
		}
		if err := p.hold(ctx, c, contenders); err != nil {
			return err
		}
	}
	return p.compactAll(ctx, contenders)
}

// compactAll closes the large stores that lie in trees of tables, and reports what they take when all is compacted. What
// others measure later finds the one of ours as it was left.
func (p *program) compactAll(ctx context.Context, contenders []*contender) error {
	var stored, documents int64
	for _, c := range contenders {
		if c.wanted < p.documents || c.name != "pebble" && c.name != "bare" {
			continue
		}
		var own, holds int64
		if err := errors.Join(c.ask("stored", nil, &own), c.ask("holds", nil, &holds), c.stop()); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if c.name == "pebble" {
			stored, documents = own, holds
			p.filled, p.filledWith = c.dir, int(holds)
		}
		size, garbage, err := compacted(ctx, c.dir)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		r := row{
			What: "bytes on disk for a document, compacted", Side: c.name, Documents: int(holds), Figure: float64(size) / float64(holds),
			Unit: " B", Remark: number(float64(garbage)/float64(holds)) + " B of it values that nothing refers to",
		}
		if stored > 0 {
			factor := r.Figure / (float64(stored) / float64(documents))
			r.Remark = fmt.Sprintf("%.2f of what it counts for; %s", factor, r.Remark)
			if c.name == "pebble" {
				r = r.judged("at most 1.3 of that", factor <= 1.3)
			}
		}
		p.report.add(r)
	}
	return ctx.Err()
}

// contenders starts the wanted sides with few and with many documents. end stops all that were started.
func (p *program) contenders(ctx context.Context) (all []*contender, end func() error, err error) {
	var ends []func() error
	end = func() (err error) {
		for _, e := range slices.Backward(ends) {
			err = errors.Join(err, e())
		}
		return err
	}
	started := false
	for _, name := range sideNames {
		if len(p.sides) > 0 && !slices.Contains(p.sides, name) {
			continue
		}
		relational := name == "postgres" || name == "pgx"
		if relational && !started {
			stop, err := p.server()
			if err != nil {
				return all, end, err
			}
			ends, started = append(ends, stop), true
		}
		for _, n := range p.sizesWanted() {
			c := &contender{name: name, wanted: n}
			if c.dir, err = p.folder(name); err != nil {
				return all, end, err
			}
			c.config = sideConfig{Name: name, Dir: c.dir, Memory: max(p.memory, loadMemory)}
			if relational {
				var drop func() error
				if c.config.Postgres, drop, err = p.database(ctx); err != nil {
					return all, end, err
				}
				ends = append(ends, drop)
			}
			if c.process, err = start(ctx, "side", c.config); err != nil {
				return all, end, fmt.Errorf("%s: %w", name, err)
			}
			ends = append(ends, func() error { return c.stop() })
			all = append(all, c)
		}
	}
	return all, end, nil
}

func (p *program) sizesWanted() []int {
	if p.few == 0 || p.few == p.documents {
		return []int{p.documents}
	}
	return []int{p.few, p.documents}
}

// loadTime is how long loading may take, of the time that is left for all.
func loadTime(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return time.Hour
	}
	return time.Until(end) * 2 / 3
}

// loadMemory is what embedded sides may use for their caches while they are loaded.
const loadMemory = 128 << 20

// loadSteps is in how many steps the large stores are loaded, all sides in turns.
const loadSteps = 50

// loadAll loads all sides, in turns, and lets them come to rest. When there is no time for more, all hold equally many.
func (p *program) loadAll(ctx context.Context, contenders []*contender) error {
	took := make(map[*contender]time.Duration)
	end := time.Now().Add(loadTime(ctx))
	for step := 1; step <= loadSteps && (step == 1 || time.Now().Before(end)); step++ {
		for i := range contenders {
			c := contenders[(i+step)%len(contenders)]
			begin := time.Now()
			to := max(loading, p.documents*step/loadSteps/loading*loading)
			if step == loadSteps {
				to = p.documents
			}
			if err := c.ask("load", filling{Documents: min(to, c.wanted)}, &c.documents); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			took[c] += time.Since(begin)
		}
		if step%10 == 0 {
			note("%d documents loaded", contenders[len(contenders)-1].documents)
		}
	}
	for _, c := range contenders {
		if err := c.ask("rest", nil, nil); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if c.embedded() {
			if err := c.reopen(ctx, p.memory); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if c.wanted < p.documents {
			continue
		}
		r := row{What: "load in bulk", Side: c.name, Documents: c.documents, Figure: float64(c.documents) / took[c].Seconds(), Unit: "/s"}
		if c.documents < c.wanted {
			r.Remark = "not more in the time there was"
		}
		for _, y := range contenders {
			if y.name == oursFor[c.name] && y.wanted == c.wanted {
				r.Ours, r.Ratio = y.name, took[c].Seconds()/took[y].Seconds()
			}
		}
		p.report.add(r)
	}
	return nil
}

// hold lets the contenders do one kind of thing, in turns, and reports what came of it.
func (p *program) hold(ctx context.Context, c *contest, contenders []*contender) error {
	c.results = make(map[*contender][]result)
	c.cpu = make(map[*contender]time.Duration)
	c.turn.Span = p.span
	for _, x := range contenders {
		if err := x.profile(p.profile, c.what); err != nil {
			return err
		}
		var before time.Duration
		if err := x.ask("cpu", nil, &before); err != nil {
			return err
		}
		c.cpu[x] = -before
	}
	for round := range p.rounds {
		for i := range contenders {
			if err := ctx.Err(); err != nil {
				return err
			}
			x := contenders[(i+round)%len(contenders)]
			var r result
			if err := x.ask("turn", c.turn, &r); err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
			c.results[x] = append(c.results[x], r)
		}
	}
	for _, x := range contenders {
		// What the engine did of itself while the others had their turns counts, too.
		var after time.Duration
		if err := errors.Join(x.ask("cpu", nil, &after), x.profile("", "")); err != nil {
			return err
		}
		c.cpu[x] += after
	}
	for _, x := range contenders {
		p.report.add(c.row(x, contenders))
	}
	return nil
}

// profile begins a profile of the process, or ends it if no prefix is given.
func (c *contender) profile(prefix, what string) error {
	if prefix != "" {
		what = strings.ReplaceAll(strings.ReplaceAll(what, ",", ""), " ", "-")
		prefix = fmt.Sprintf("%s%s-%d-%s.pprof", prefix, c.name, c.documents, what)
	}
	return c.ask("profile", prefix, nil)
}

// costs returns the microseconds of processor time, of the side's process and of its server, that an operation took.
func (c *contest) costs(x *contender) (own, server float64) {
	var used time.Duration
	var count int64
	for _, r := range c.results[x] {
		used += r.Server
		count += r.Count
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(max(count, 1)) }
	return each(c.cpu[x]), each(used)
}

func (c *contest) row(x *contender, contenders []*contender) row {
	var rates []float64
	for _, r := range c.results[x] {
		rates = append(rates, r.rate())
	}
	own, server := c.costs(x)
	r := row{
		What: c.what, Side: x.name, Documents: x.documents, Figure: median(rates), Unit: "/s", CPU: own, ServerCPU: server,
	}
	for _, y := range contenders {
		if y.name == oursFor[x.name] && y.wanted == x.wanted {
			ours, ourServer := c.costs(y)
			r.Ours, r.Ratio, r.CPURatio = y.name, c.ratio(y, x), (ours+ourServer)/(own+server)
			if least := c.least[x.name]; least > 0 {
				r = r.judged(fmt.Sprintf("at least %.1f", least), r.Ratio >= least)
			}
		}
	}
	return r
}

// ratio is the median of the ratios of rounds.
func (c *contest) ratio(x, y *contender) float64 {
	var ratios []float64
	for i := range min(len(c.results[x]), len(c.results[y])) {
		ratios = append(ratios, c.results[x][i].rate()/c.results[y][i].rate())
	}
	return median(ratios)
}

// flat says how much dearer one thing is among many documents than among few.
func (p *program) flat(c *contest, contenders []*contender) {
	for _, few := range contenders {
		for _, many := range contenders {
			if few.name != many.name || few.documents >= many.documents {
				continue
			}
			factor := c.ratio(few, many)
			r := row{
				What: c.what + ": cost beside that among " + number(float64(few.documents)), Side: few.name, Documents: many.documents,
				Figure: factor, Unit: "×",
			}
			if few.name == "pebble" || few.name == "postgres" {
				r = r.judged("at most 2", factor <= 2)
			}
			p.report.add(r)
		}
	}
}

// sizes reports what the large stores take.
func (p *program) sizes(ctx context.Context, contenders []*contender) error {
	var stored int64 // the same on all sides that hold as many
	for _, c := range contenders {
		if c.wanted < p.documents {
			continue
		}
		var u use
		var disk, own int64
		if err := errors.Join(c.ask("rest", nil, nil), c.ask("use", nil, &u), c.ask("disk", nil, &disk), c.ask("stored", nil, &own)); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if own > 0 {
			stored = own / int64(max(c.documents, 1))
		}
		each := float64(disk) / float64(max(c.documents, 1))
		r := row{What: "bytes on disk for a document", Side: c.name, Documents: c.documents, Figure: each, Unit: " B"}
		if stored > 0 {
			factor := each / float64(stored)
			r.Remark = fmt.Sprintf("%.2f of what it counts for, %s B", factor, number(float64(stored)))
		}
		p.report.add(r)
		p.report.add(row{
			What: "memory after reading", Side: c.name, Documents: c.documents, Figure: float64(u.RSS) / 1e6, Unit: " MB resident",
			Remark: fmt.Sprintf("%s MB of it reached on Go's heap; at most %s MB resident", number(float64(u.Heap)/1e6), number(float64(u.Peak)/1e6)),
		})
	}
	return ctx.Err()
}
