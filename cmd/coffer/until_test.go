package main

import (
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

func TestParseUntil(t *testing.T) {
	now := time.Date(2026, 11, 20, 10, 30, 0, 0, time.FixedZone("", 3600))
	tests := []struct{ text, want string }{ // want "" is a refusal
		{"90m", "2026-11-20T12:00:00+01:00"},
		{"36h", "2026-11-21T22:30:00+01:00"},
		{"30d", "2026-12-20T10:30:00+01:00"},
		{"2w", "2026-12-04T10:30:00+01:00"},
		{"2026-11-20", "2026-11-20T23:59:59+01:00"},
		{"2027-01-31", "2027-01-31T23:59:59+01:00"},
		{"2027-01-31T17:00", "2027-01-31T17:00:00+01:00"},
		{"2027-01-31T17:00:00Z", "2027-01-31T17:00:00Z"},
		{"", ""}, {"d", ""}, {"-1d", ""}, {"0d", ""}, {"-5m", ""}, {"70000d", ""}, {"friday", ""}, {"2026-11-19", ""},
		{"2026-11-20T10:30", ""}, {"2027-02-30", ""}, {"1.5d", ""},
	}
	for _, tt := range tests {
		got, err := parseUntil(tt.text, now)
		if tt.want == "" {
			if !errors.Is(err, coffer.Invalid) {
				t.Errorf("%q: %v, %v; want Invalid", tt.text, got, err)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339) != tt.want {
			t.Errorf("%q: %v, %v; want %s", tt.text, got.Format(time.RFC3339), err, tt.want)
		}
	}
}

func FuzzParseUntil(f *testing.F) {
	for _, s := range []string{"30d", "2w", "36h", "2027-01-31", "2027-01-31T17:00", "2027-01-31T17:00:00Z", "9e9h",
		"65535w"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 20, 10, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseUntil(s, now)
		if err == nil && !got.After(now) {
			t.Errorf("%q is not ahead: %v", s, got)
		}
	})
}
