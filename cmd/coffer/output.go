package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// result writes one result: with --json v, one object on one line, and else the text. A write that fails fails the run.
func (p *program) result(v any, format string, args ...any) error {
	if p.JSON {
		return writeJSON(p.stdout, v)
	}
	_, err := fmt.Fprintf(p.stdout, format+"\n", args...)
	return err
}

// note tells the person something that is neither result nor error.
func (p *program) note(format string, args ...any) {
	switch {
	case p.Quiet:
	case p.JSON:
		_ = writeJSON(p.stderr, map[string]string{"note": fmt.Sprintf(format, args...)})
	default:
		fmt.Fprintln(p.stderr, printable(fmt.Sprintf(format, args...)))
	}
}

// writeJSON writes v as one line of JSON.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printable returns s with all that a terminal might obey escaped: names come from others, too.
func printable(s string) string {
	unsafe := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if strings.IndexFunc(s, unsafe) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unsafe(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// filesText returns a count of files as a person reads it.
func filesText(n int) string {
	if n == 1 {
		return "1 file"
	}
	return strconv.Itoa(n) + " files"
}

// objectsText returns a count of objects as a person reads it.
func objectsText(n int) string {
	if n == 1 {
		return "1 object"
	}
	return strconv.Itoa(n) + " objects"
}

// bytesText returns a count of bytes as a person reads it.
func bytesText(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, unit := float64(n), 0
	for value >= 999.95 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + " " + units[unit]
}

var units = []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// timeText returns a time as a person reads it, in the machine's zone.
func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
