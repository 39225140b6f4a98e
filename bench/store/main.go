// Command store measures what documents are kept in: the stores of this module beside peers that do the same work, a
// node with very many vaults, how soon a large store opens, and what one tenant's flood does to another.
//
//	go run ./bench/store [-documents 1000000] [-few 10000] [-vaults 100000] [-rounds 5] [-time 500ms]
//	    [-only documents,vaults,open,flood] [-sides pebble,bare,sqlite,postgres,pgx] [-postgres URL] [-dir FOLDER]
//	    [-memory 16] [-slots 0] [-limit 15m] [-small] [-json] [-profile PREFIX]
//
// Every side runs in a process of its own, so that processor time and memory are its own. The sides take turns, in
// another order each round, so that whatever else the machine does meets all alike: figures are medians of rounds, and
// a ratio is the median of the ratios of rounds. All inserts are durable before they are answered.
//
// Part documents (documents.go): durable inserts, point reads, queries, catching up with the feed, bytes on disk and
// memory, on stores of few and of many documents. Sides: store/pebble (ours.go), a bare Pebble that writes records of the
// same number and size (bare.go), SQLite (sqlite.go), store/postgres, and a hand-written program on PostgreSQL (pgx.go).
// PostgreSQL is the server that is named, or one that is started for this run and ends with it.
//
// Part vaults (vaults.go): a node with very many vaults. Part open (open.go): opening a store. Part flood (flood.go): one
// connection beside 256. A run with -small takes less than three minutes, one without ends after -limit at the latest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// A program is one run.
type program struct {
	documents, few int
	vaults         int
	cold           int // vaults that are asked for the first time after a start
	rounds         int
	span           time.Duration // of one turn
	flooding       int           // connections
	slots          int           // of the node; see vault.Limits
	memory         int64         // bytes for the caches of each side
	only, sides    []string
	postgres       string
	dir            string
	profile        string
	report         report

	filled     string // store/pebble with very many documents, closed, when a part has made one
	filledWith int    // documents
}

func main() {
	if kind := os.Getenv(childVariable); kind != "" {
		os.Exit(child(kind))
	}
	p := program{cold: 1000, flooding: 256}
	flag.IntVar(&p.documents, "documents", 1_000_000, "documents in the large stores")
	flag.IntVar(&p.few, "few", 10_000, "documents in the small stores")
	flag.IntVar(&p.vaults, "vaults", 100_000, "vaults at the node")
	flag.IntVar(&p.rounds, "rounds", 5, "rounds; medians are printed")
	flag.DurationVar(&p.span, "time", 500*time.Millisecond, "length of a turn")
	flag.StringVar(&p.postgres, "postgres", "", "URL of a PostgreSQL server on which databases may be made; one is started if empty")
	flag.StringVar(&p.dir, "dir", os.TempDir(), "folder for all data, in a folder of its own that is removed")
	flag.StringVar(&p.profile, "profile", "", "write CPU profiles of the sides' inserts and reads to files whose names begin so")
	flag.IntVar(&p.slots, "slots", 0, "how many small acts the node gives its store at once; 0 is its default")
	memory := flag.Int64("memory", 16, "MiB for the caches of each embedded store while it is measured")
	only := flag.String("only", "", "only these parts: documents, vaults, open, flood")
	sides := flag.String("sides", "", "only these sides: "+strings.Join(sideNames, ", "))
	limit := flag.Duration("limit", 15*time.Minute, "when to end, with what was measured until then")
	small := flag.Bool("small", false, "a run of less than three minutes: fewer of everything")
	asJSON := flag.Bool("json", false, "print JSON in place of a table")
	flag.Parse()
	p.memory = *memory << 20
	if *small {
		p.documents, p.few, p.vaults, p.rounds, p.span, p.cold = 50_000, 5_000, 3_000, 3, 300*time.Millisecond, 300
		*limit = min(*limit, 3*time.Minute)
	}
	p.only, p.sides = list(*only), list(*sides)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	err := p.run(ctx)
	p.print(os.Stdout, *asJSON)
	if err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func (p *program) print(w io.Writer, asJSON bool) {
	if asJSON {
		p.report.json(w)
	} else {
		p.report.table(w)
	}
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// run runs the parts that are wanted.
func (p *program) run(ctx context.Context) (err error) {
	if p.dir, err = os.MkdirTemp(p.dir, "coffer-store-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"documents", p.compare}, {"vaults", p.manyVaults}, {"open", p.opening}, {"flood", p.flood}} {
		if len(p.only) > 0 && !slices.Contains(p.only, part.name) {
			continue
		}
		p.report.part = part.name
		if err := part.run(ctx); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("%s: cut off: %w", part.name, context.Cause(ctx))
			}
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// folder makes a folder below the run's own.
func (p *program) folder(name string) (string, error) { return os.MkdirTemp(p.dir, name+"-") }

// note says on the standard error how far the run is.
func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
