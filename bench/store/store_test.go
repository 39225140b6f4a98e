package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/servers"
)

// TestMain lets the test's program be what the program runs once more.
func TestMain(m *testing.M) {
	if kind := os.Getenv(childVariable); kind != "" {
		os.Exit(child(kind))
	}
	os.Exit(m.Run())
}

func miniature(t *testing.T) *program {
	return &program{
		documents: 700, few: 150, vaults: 40, cold: 10, flooding: 8, rounds: 2, span: 30 * time.Millisecond, memory: 4 << 20,
		dir: t.TempDir(), postgres: os.Getenv(servers.PostgresVariable),
	}
}

func TestMeasure(t *testing.T) {
	p := miniature(t)
	err := p.run(t.Context())
	if errors.Is(err, servers.ErrLacking) {
		t.Logf("%v here: only the embedded sides", err)
		p = miniature(t)
		p.sides = []string{"pebble", "bare", "sqlite"}
		err = p.run(t.Context())
	}
	var out bytes.Buffer
	p.print(&out, false)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	sides := p.sides
	if len(sides) == 0 {
		sides = sideNames
	}
	for _, what := range []string{
		"load in bulk", "get", "find by unique tag", "find ten by a tag", "changes of the feed", "bytes on disk for a document",
		"memory after reading", "insert, 1 writers", "insert, 16 writers", "insert, 64 writers",
	} {
		for _, side := range sides {
			if !strings.Contains(out.String(), "| "+what+" | "+side+" | 700 |") {
				t.Errorf("no row %q of %s in\n%s", what, side, out.String())
			}
		}
	}
	for _, what := range []string{
		"make vaults", "memory for a vault, all", "first request to a vault", "first request to a vault after a start, files not",
		"open, after it was closed", "open, after kill -9", "the flood: 8 connections", "one connection of another tenant, get",
		"one connection of another tenant, insert",
	} {
		if !strings.Contains(out.String(), "\n| "+what) {
			t.Errorf("no row %q in\n%s", what, out.String())
		}
	}
	for _, r := range p.report.rows {
		if r.Figure == 0 && !strings.Contains(r.Unit, "B") {
			t.Errorf("nothing was measured: %+v", r)
		}
	}
}

func TestJSON(t *testing.T) {
	var r report
	r.part = "documents"
	r.add(row{What: "get", Side: "bare", Figure: 1000, Unit: "/s", Ours: "pebble", Ratio: 0.5, CPURatio: 2}.judged("at least 0.9", false))
	var out bytes.Buffer
	r.json(&out)
	var got struct{ Rows []row }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 1 || got.Rows[0].Ratio != 0.5 || got.Rows[0].Held == nil || *got.Rows[0].Held {
		t.Errorf("got %s", out.String())
	}
	out.Reset()
	r.table(&out)
	if want := "| get | bare |  | 1,000/s |  | pebble 0.50, CPU 2.00 | at least 0.9 **missed** |  |"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{{0, "0"}, {0.456, "0.46"}, {3, "3"}, {12.34, "12.3"}, {999.4, "999"}, {1000, "1,000"}, {1234567.8, "1,234,568"}, {-4321, "-4,321"}} {
		if got := number(c.v); got != c.want {
			t.Errorf("number(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(v, q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if !slices.Equal(v, []float64{5, 1, 4, 2, 3}) {
		t.Error("quantile changed what it was given")
	}
}
