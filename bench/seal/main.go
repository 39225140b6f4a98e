// Command seal measures what sealing and opening cost, beside the bare cipher and beside age (filippo.io/age), in one
// run and in turn: a long stream, many objects of 1 kB, and the delivery of a key. It prints a table in Markdown.
//
//	GOMAXPROCS=1 go run ./bench/seal [-size 268435456] [-objects 10000] [-rounds 3] [-cpu] [-profile FILE]
//
// With GOMAXPROCS=1 the figures are those of one core. What is printed of each row is the median of the rounds; what is
// worth comparing is the ratio.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A program is one run.
type program struct {
	size    int64 // bytes of the stream
	objects int
	rounds  int
	only    string // rows whose names hold it
	cpu     bool   // count CPU time
	out     io.Writer
}

func main() {
	p := program{out: os.Stdout}
	flag.Int64Var(&p.size, "size", 256<<20, "bytes of the stream")
	flag.IntVar(&p.objects, "objects", 10000, "objects of 1 kB")
	flag.IntVar(&p.rounds, "rounds", 3, "rounds; the median is printed")
	flag.StringVar(&p.only, "only", "", "measure only the rows whose names hold this")
	flag.BoolVar(&p.cpu, "cpu", false, "count CPU time, for a machine that has other things to do")
	profile := flag.String("profile", "", "write a CPU profile to this file")
	flag.Parse()
	if err := run(context.Background(), &p, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "seal:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p *program, profile string) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return p.measure(ctx)
}

// A row is what is measured.
type row struct {
	name   string
	beside string                // the row that it is compared with; empty: none
	unit   float64               // of what is counted: 1e6 for MB, 1 for pieces
	run    func() (int64, error) // returns how many bytes or pieces were done
	rates  []float64
}

func (p *program) measure(ctx context.Context) error {
	fmt.Fprintf(p.out, "%s, %s/%s, GOMAXPROCS=%d; stream of %d MiB, %d objects, %d rounds\n\n", runtime.Version(),
		runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), p.size>>20, p.objects, p.rounds)
	for _, part := range []struct {
		unit string
		rows func(context.Context) ([]*row, error)
	}{{"MB/s", p.streams}, {"per second", p.small}, {"per second", p.deliveries}} {
		rows, err := part.rows(ctx)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(r *row) bool { return !strings.Contains(r.name, p.only) })
		if len(rows) == 0 {
			continue
		}
		if err := p.turns(rows); err != nil {
			return err
		}
		p.print(part.unit, rows)
	}
	return nil
}

// turns measures the rows in turn, so that what else the machine does meets all of them.
func (p *program) turns(rows []*row) error {
	for range p.rounds {
		for _, r := range rows {
			debug.FreeOSMemory() // what the one before left behind is not this one's
			begin := p.clock()
			n, err := r.run()
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			r.rates = append(r.rates, float64(n)/r.unit/(p.clock()-begin).Seconds())
		}
	}
	return nil
}

// clock returns the time that has gone by, or the CPU time of this process.
func (p *program) clock() time.Duration {
	var u syscall.Rusage
	if p.cpu && syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return time.Since(start)
}

var start = time.Now()

func (p *program) print(unit string, rows []*row) {
	fmt.Fprintf(p.out, "| | %s | rounds | beside |\n| --- | --- | --- | --- |\n", unit)
	for _, r := range rows {
		beside := ""
		if i := slices.IndexFunc(rows, func(o *row) bool { return o.name == r.beside }); i >= 0 {
			beside = fmt.Sprintf("%.2f of %s", median(r.rates)/median(rows[i].rates), r.beside)
		}
		fmt.Fprintf(p.out, "| %s | %.0f | %.0f to %.0f | %s |\n", r.name, median(r.rates), slices.Min(r.rates),
			slices.Max(r.rates), beside)
	}
	fmt.Fprintln(p.out)
}

func median(v []float64) float64 {
	v = slices.SortedFunc(slices.Values(v), cmp.Compare)
	return v[len(v)/2]
}
