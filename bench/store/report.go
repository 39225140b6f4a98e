package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A row is one figure.
type row struct {
	Part      string  `json:"part"`
	What      string  `json:"what"`
	Side      string  `json:"side,omitempty"`
	Documents int     `json:"documents,omitempty"`
	Figure    float64 `json:"figure"`
	Unit      string  `json:"unit"`
	CPU       float64 `json:"cpu,omitempty"`       // microseconds of this program for an operation
	ServerCPU float64 `json:"serverCPU,omitempty"` // microseconds of the database server for an operation
	Ours      string  `json:"ours,omitempty"`      // our side that this one stands beside
	Ratio     float64 `json:"ratio,omitempty"`     // of our figure to this one
	CPURatio  float64 `json:"cpuRatio,omitempty"`  // of our processor time, the server's included, to this one
	Goal      string  `json:"goal,omitempty"`
	Held      *bool   `json:"held,omitempty"`
	Remark    string  `json:"remark,omitempty"`
}

// A report is what a run found.
type report struct {
	part string
	rows []row
}

// add adds a row to the part that runs, and returns it to be completed before the next one is added.
func (r *report) add(x row) *row {
	x.Part = r.part
	r.rows = append(r.rows, x)
	note("%s: %s", x.What, strings.Join(x.cells()[1:], " "))
	return &r.rows[len(r.rows)-1]
}

// judged notes what the goal was and whether it is held.
func (x row) judged(goal string, held bool) row {
	x.Goal, x.Held = goal, &held
	return x
}

func (x row) cells() []string {
	cells := []string{x.What, x.Side, "", number(x.Figure) + x.Unit, "", "", "", x.Remark}
	if x.Documents > 0 {
		cells[2] = number(float64(x.Documents))
	}
	if x.CPU > 0 {
		cells[4] = number(x.CPU)
	}
	if x.ServerCPU > 0 {
		cells[4] += " + " + number(x.ServerCPU)
	}
	if x.Ours != "" {
		cells[5] = fmt.Sprintf("%s %.2f", x.Ours, x.Ratio)
	}
	if x.CPURatio > 0 {
		cells[5] += fmt.Sprintf(", CPU %.2f", x.CPURatio)
	}
	if x.Goal != "" {
		cells[6] = x.Goal
		if !*x.Held {
			cells[6] += " **missed**"
		}
	}
	return cells
}

// table prints all rows in Markdown.
func (r *report) table(w io.Writer) {
	fmt.Fprintf(w, "%s, %s/%s, %d processors, load %s, %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), load(), time.Now().Format(time.DateOnly))
	fmt.Fprintln(w, "| | side | documents | | CPU, µs (+ server's) | ours beside it | goal | |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, x := range r.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(x.cells(), " | "))
	}
}

func (r *report) json(w io.Writer) {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	_ = e.Encode(map[string]any{ // to standard output: nobody to tell
		"go": runtime.Version(), "processors": runtime.NumCPU(), "load": load(), "time": time.Now().Format(time.RFC3339),
		"rows": r.rows,
	})
}

// load returns how many processes waited for a processor in the last minutes.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}

// number formats three significant digits or all of a greater number, with separators.
func number(v float64) string {
	if v < 1000 && v > -1000 {
		switch {
		case v == float64(int(v)) || v >= 100:
			return fmt.Sprintf("%.0f", v)
		case v >= 10:
			return fmt.Sprintf("%.1f", v)
		}
		return fmt.Sprintf("%.2f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile returns the value below which the part q of all is.
func quantile[T float64 | time.Duration](v []T, q float64) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
