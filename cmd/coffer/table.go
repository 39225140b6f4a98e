package main

import (
	"strings"
	"text/tabwriter"
)

// A table is results in columns, or with --json an object on each line.
type table struct {
	program *program
	w       *tabwriter.Writer
}

func (p *program) table() *table {
	return &table{p, tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)}
}

// row writes one result: with --json v, and else the cells.
func (t *table) row(v any, cells ...string) error {
	if t.program.JSON {
		return writeJSON(t.program.stdout, v)
	}
	for i, c := range cells {
		cells[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(printable(c))
	}
	_, err := t.w.Write([]byte(strings.Join(cells, "\t") + "\n"))
	return err
}

func (t *table) flush() error { return t.w.Flush() }
