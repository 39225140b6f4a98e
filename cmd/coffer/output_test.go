package main

import "testing"

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1_500_000_000: "1.5 GB",
		9_223_372_036_854_775_807: "9.2 EB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"plain, ümläut, 猫":    "plain, ümläut, 猫",
		"a\x1b[2Jb":           `a\x1b[2Jb`,
		"two\nlines":          "two\nlines",
		"back\rtrack\x07\x9b": `back\rtrack\a\ufffd`,
		"right-to-\u202eleft": `right-to-\u202eleft`,
	} {
		if got := printable(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
