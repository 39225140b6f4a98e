package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

// parseUntil reads when something is to end: a time from now (90m, 36h, 30d, 2w), a day (2027-01-31, all of it), or a
// time (2027-01-31T17:00, here; with seconds and a zone as RFC 3339 has it). It must lie ahead.
func parseUntil(s string, now time.Time) (time.Time, error) {
	t, ok := readUntil(s, now)
	if !ok {
		return t, failed(coffer.Invalid, "write it like 36h, 30d, 2w, 2027-01-31 or 2027-01-31T17:00",
			"--until is no time")
	}
	if !t.After(now) {
		return t, failed(coffer.Invalid, "give a time ahead", "--until is over already")
	}
	return t, nil
}

func readUntil(s string, now time.Time) (time.Time, bool) {
	if len(s) > 64 {
		return time.Time{}, false
	}
	for unit, days := range map[string]int{"d": 1, "w": 7} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseUint(digits, 10, 16)
			return now.AddDate(0, 0, int(n)*days), err == nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), true
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second), true
	}
	if t, err := time.ParseInLocation("2006-01-02T15:04", s, now.Location()); err == nil {
		return t, true
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}
