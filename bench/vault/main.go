// Command vault measures what an owner does with a vault at a node: storing many small objects, sharing a folder,
// revoking that and encrypting anew, sharing with many, changing and reading parts of a large file, and searching. The
// node runs in this process and is asked over HTTP, as its clients do, with sessions; all is durable before it is
// answered. It prints a table in Markdown.
//
//	go run ./bench/vault [-files 10000] [-one 1000] [-recipients 100] [-big 1073741824] [-documents 100000]
//	    [-only put,share,many,big,search] [-dir FOLDER] [-profile FILE]
//
// Bytes are those on the connections, headers included. A run with -smoke takes seconds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/node"
)

// A program is one run.
type program struct {
	files      int   // objects of 1 kB that are put many at once
	one        int   // the same, one after the other
	recipients int   // with whom something is shared at once
	big        int64 // bytes of the large file
	documents  int   // that are searched
	only       []string
	dir        string // where the node keeps its data
	out        io.Writer

	origin string // of the node
}

// writers is how many goroutines put at once.
const writers = 64

func main() {
	p := program{out: os.Stdout}
	flag.IntVar(&p.files, "files", 10000, "objects of 1 kB that are put by 64 goroutines")
	flag.IntVar(&p.one, "one", 1000, "objects of 1 kB that are put one after the other")
	flag.IntVar(&p.recipients, "recipients", 100, "with whom something is shared at once")
	flag.Int64Var(&p.big, "big", 1<<30, "bytes of the large file")
	flag.IntVar(&p.documents, "documents", 100000, "documents that are searched")
	flag.StringVar(&p.dir, "dir", os.TempDir(), "folder for the node's data, in a folder of its own that is removed")
	only := flag.String("only", "", "measure only these parts: put, share (with put), many, big, search")
	smoke := flag.Bool("smoke", false, "small sizes: whether it works")
	profile := flag.String("profile", "", "write a CPU profile of both sides to this file")
	flag.Parse()
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	if *smoke {
		p.files, p.one, p.recipients, p.big, p.documents = 300, 30, 10, 24<<20, 500
	}
	ctx := context.Background()
	if err := profiled(*profile, func() error { return p.measure(ctx) }); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := pprof.StartCPUProfile(to); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

// measure runs a node and all parts.
func (p *program) measure(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(p.dir, "coffer-vault-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n, err := node.Open(ctx, node.Config{Data: dir, Listen: "127.0.0.1:0", Memory: 256 << 20})
	if err != nil {
		return err
	}
	p.origin = n.Origin()
	running, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	var served error
	serving.Go(func() { served = n.Serve(running) })
	defer func() {
		stop()
		serving.Wait()
		err = errors.Join(err, served)
	}()
	fmt.Fprintf(p.out, "%s, %s/%s, GOMAXPROCS=%d\n\n| | | |\n| --- | --- | --- |\n", runtime.Version(), runtime.GOOS,
		runtime.GOARCH, runtime.GOMAXPROCS(0))
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"put", p.small}, {"many", p.many}, {"big", p.large}, {"search", p.search}} {
		wanted := slices.Contains(p.only, part.name) || part.name == "put" && slices.Contains(p.only, "share")
		if len(p.only) > 0 && !wanted {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// say prints a row.
func (p *program) say(what, figure, remark string, args ...any) {
	fmt.Fprintf(p.out, "| %s | %s | %s |\n", what, figure, fmt.Sprintf(remark, args...))
}

// rate says how many pieces there were in a second.
func rate(n int, took time.Duration) string { return fmt.Sprintf("%.0f/s", float64(n)/took.Seconds()) }

func speed(n int64, took time.Duration) string {
	return fmt.Sprintf("%.0f MB/s", float64(n)/1e6/took.Seconds())
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

func kB(n int64) string { return fmt.Sprintf("%.1f kB", float64(n)/1e3) }
