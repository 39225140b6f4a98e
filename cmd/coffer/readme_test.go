package main

import (
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// readmeCommand is the command "readme" of scripts. It types into a shell what README.md says to type once a node is
// up, line by line as it is printed, and fails when a line does. What starts the node must be printed before.
func readmeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: readme")
	}
	b, err := os.ReadFile("../../README.md")
	ts.Check(err)
	before, after, found := strings.Cut(string(b), "\nThen, in another terminal")
	if !found || !strings.Contains(before, "\n    go run ./cmd/coffer up ") {
		ts.Fatalf("README.md does not say how to begin")
	}
	start, n := time.Now(), 0
	for line := range strings.Lines(after) {
		command, ok := strings.CutPrefix(line, "    ")
		switch {
		case ok:
			n++
			ts.Logf("$ %s", command)
			ts.Check(ts.Exec("sh", "-c", command))
		case n > 0:
			ts.Logf("%d lines in %v", n, time.Since(start))
			return
		}
	}
	ts.Fatalf("README.md says nothing to type")
}
