package main

import "testing"

func TestSize(t *testing.T) {
	tests := []struct {
		text string
		want int64 // -1 is a refusal
	}{
		{"0", 0}, {"1500", 1500}, {"64kB", 64000}, {"16MiB", 16 << 20}, {"2GB", 2e9}, {"1 TiB", 1 << 40}, {"3m", 3e6},
		{"9223372036854775807", 9223372036854775807},
		{"", -1}, {"MiB", -1}, {"-1", -1}, {"1.5GB", -1}, {"9223372036854775808", -1}, {"9000000TiB", -1}, {"1 XB", -1},
		{"1kiBB", -1},
	}
	for _, tt := range tests {
		var s size
		err := s.UnmarshalText([]byte(tt.text))
		if (err != nil) != (tt.want < 0) || err == nil && int64(s) != tt.want {
			t.Errorf("%q: %d, %v; want %d", tt.text, s, err, tt.want)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"0", "64kB", "1 TiB", "9223372036854775808", "kB", "1.5GB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s size
		if err := s.UnmarshalText([]byte(text)); err == nil && s < 0 {
			t.Errorf("%q is negative: %d", text, s)
		}
	})
}
