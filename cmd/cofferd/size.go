package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// A size is a count of bytes as a person writes it: 1500, 64kB, 16MiB, 2GB.
type size int64

// UnmarshalText reads a size. Units of 1000 are kB, MB, GB, TB; units of 1024 are KiB, MiB, GiB, TiB.
func (s *size) UnmarshalText(text []byte) error {
	bad := errors.New("a size is a number of bytes, or one with a unit, as in 64MiB or 2GB")
	digits := strings.TrimRight(string(text), "BKMGTikmgtb ")
	factor, ok := sizeUnits[strings.ToLower(strings.TrimSpace(string(text)[len(digits):]))]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 || n > math.MaxInt64/factor {
		return bad
	}
	*s = size(n * factor)
	return nil
}

// sizeText returns a count of bytes as a person reads it, in units of 1000.
func sizeText(n int64) string {
	f, unit := float64(n), ""
	for _, unit = range []string{"B", "kB", "MB", "GB", "TB"} {
		if f < 1000 || unit == "TB" {
			break
		}
		f /= 1000
	}
	if unit == "B" {
		return strconv.FormatInt(n, 10) + " B"
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + unit
}

var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}
