package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestMeasure runs all parts with small sizes.
func TestMeasure(t *testing.T) {
	t.Chdir("../..") // where cofferd is built from
	var out bytes.Buffer
	p := program{requests: 10, objects: []int{20, 120}, grants: []int{2, 10}, dir: t.TempDir(), out: &out}
	if err := p.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "\n| "); rows < 6+2+2 {
		t.Errorf("%d rows:\n%s", rows, out.String())
	}
	if left, err := os.ReadDir(p.dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
