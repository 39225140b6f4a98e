// Command hub measures identity hubs: what a request costs cofferd beside what its cryptography alone costs, with RSA as
// the published client has it and with Ed25519 and X25519; and how long queries take as objects and grants become many.
// The node is a process of its own and is asked over HTTP; what it uses of the processor is what the system says of the
// process. It prints a table in Markdown. It runs on Linux.
//
//	go run ./bench/hub [-requests 1000] [-objects 10000,100000] [-grants 10,1000] [-only cpu,objects,grants] [-dir FOLDER]
//
// A run with -smoke takes seconds.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A program is one run.
type program struct {
	requests int   // of each sort
	objects  []int // of one identity
	grants   []int
	only     []string
	dir      string
	out      io.Writer
}

func main() {
	p := program{out: os.Stdout}
	flag.IntVar(&p.requests, "requests", 1000, "requests of each sort")
	objects := flag.String("objects", "10000,100000", "objects of one identity, ascending")
	grants := flag.String("grants", "10,1000", "grants of one identity, ascending")
	only := flag.String("only", "", "measure only these parts: cpu, objects, grants")
	flag.StringVar(&p.dir, "dir", os.TempDir(), "folder for the node's data, in a folder of its own that is removed")
	smoke := flag.Bool("smoke", false, "small sizes: whether it works")
	flag.Parse()
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	if *smoke {
		p.requests, *objects, *grants = 40, "300,600", "5,50"
	}
	var err error
	if p.objects, err = numbers(*objects); err == nil {
		p.grants, err = numbers(*grants)
	}
	if err == nil {
		err = p.measure(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hub:", err)
		os.Exit(1)
	}
}

func numbers(s string) (list []int, err error) {
	for text := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 || len(list) > 0 && n <= list[len(list)-1] {
			return nil, fmt.Errorf("numbers above 0, ascending, with commas: %q", s)
		}
		list = append(list, n)
	}
	return list, nil
}

// measure measures all parts that are asked for.
func (p *program) measure(ctx context.Context) error {
	dir, err := os.MkdirTemp(p.dir, "coffer-hub-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer d.stop()
	for _, part := range []struct {
		name    string
		measure func(context.Context, *daemon) error
	}{{"cpu", p.cpu}, {"objects", p.manyObjects}, {"grants", p.manyGrants}} {
		if len(p.only) > 0 && !slices.Contains(p.only, part.name) {
			continue
		}
		if err := part.measure(ctx, d); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}
