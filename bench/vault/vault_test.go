package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestMeasure(t *testing.T) {
	var out bytes.Buffer
	p := &program{files: 80, one: 12, recipients: 8, big: 18<<20 + 5, documents: 60, dir: t.TempDir(), out: &out}
	if err := p.measure(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, row := range []string{
		"put 80 objects", "share a folder of 12", "share a folder of 80", "revoke", "encrypt 80 anew",
		"share one object with 8", "change 1 MiB of it", "read 4 KiB in the middle", "find a word, new device",
	} {
		if !strings.Contains(out.String(), "\n| "+row) {
			t.Errorf("no row %q in\n%s", row, out.String())
		}
	}
}
