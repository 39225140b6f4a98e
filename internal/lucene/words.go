package lucene

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Bounds on what is taken from a text.
const (
	MaxWord  = 128 // bytes of a folded word; what is longer counts as cut there
	MaxWhole = 256 // bytes of a folded value that is compared as a whole; longer ones are found by their words only
)

// Fold returns s in the form in which texts are compared: compatibility-composed and without case (NFKC and full case
// folding of Unicode), with U+FFFD for what is not UTF-8 and a space for NUL.
func Fold(s string) string {
	ascii := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || c == 0 {
			ascii = false
			break
		}
	}
	if ascii {
		return strings.ToLower(s)
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", " ")
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
}

// Words returns the words of s in order: the longest runs of letters, marks and digits of its folded form, each cut to
// [MaxWord] bytes.
func Words(s string) []string { return splitWords(Fold(s)) }

func splitWords(folded string) (words []string) {
	start := -1
	for i, r := range folded {
		if isWord(r) {
			if start < 0 {
				start = i
			}
		} else if start >= 0 {
			words = append(words, cut(folded[start:i]))
			start = -1
		}
	}
	if start >= 0 {
		words = append(words, cut(folded[start:]))
	}
	return words
}

func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}

func cut(word string) string {
	if len(word) <= MaxWord {
		return word
	}
	end := MaxWord
	for !utf8.RuneStart(word[end]) {
		end--
	}
	return word[:end]
}

// ParseNumber reads a decimal number. It reports false for what is none, or too great for a float64.
func ParseNumber(s string) (float64, bool) {
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n + 0, err == nil // + 0 makes 0 of -0
}

// ParseTime reads a date (YYYY-MM-DD, a day of UTC) or a time of RFC 3339, and returns the first and the last
// microsecond that it means, counted from 1970: a day, or a second where no fraction is given.
func ParseTime(s string) (first, last int64, ok bool) {
	if len(s) > 64 {
		return 0, 0, false
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		first = t.UnixMicro()
		return first, first + 24*int64(time.Hour/time.Microsecond) - 1, true
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, 0, false
	}
	first = t.UnixMicro()
	if strings.ContainsAny(s, ".,") {
		return first, first, true
	}
	return first, first + 999_999, true
}

// Near reports whether the words at these places make a phrase: positions[i] are the places of its word i, ascending.
// Places p0, p1, … of the words are a phrase when the numbers p_i - i differ by at most slop. With a slop, a word that
// stands twice in the phrase may be met by one place.
func Near(positions [][]uint32, slop int) bool {
	if len(positions) == 0 {
		return false
	}
	// No phrase ends before high, the greatest number among the first that are left. So of each word the places that lie
	// too far before it are passed over, until no word has any: this takes time in proportion to the number of places, and
	// to that of words for each step of high, which strangers may choose.
	next := make([]int, len(positions))
	high := -int64(len(positions)) // below all
	for again := true; again; {
		again = false
		for i, list := range positions {
			at := func() int64 { return int64(list[next[i]]) - int64(i) }
			for next[i] < len(list) && at() < high-int64(slop) {
				next[i]++
			}
			if next[i] == len(list) {
				return false
			}
			if p := at(); p > high {
				high, again = p, true
			}
		}
	}
	return true
}
