package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestMeasure(t *testing.T) {
	var out bytes.Buffer
	// One stream whose table stands in its document, and one with a table of its own.
	for _, size := range []int64{3<<20 + 1, 18 << 20} {
		out.Reset()
		if err := run(t.Context(), &program{size: size, objects: 10, rounds: 1, out: &out}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"AES-256-GCM, seal", "stream.Write", "age, hybrid, decrypt", "SealObject", "HPKE, Receive"} {
		if !regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \| [1-9][0-9]* \|`).MatchString(out.String()) {
			t.Errorf("no figure for %s in\n%s", name, out.String())
		}
	}
	if got := strings.Count(out.String(), " of AES-256-GCM"); got < 8 {
		t.Errorf("%d ratios\n%s", got, out.String())
	}
}
