package lucene

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

func TestParse(t *testing.T) {
	w := func(field, text string) Term { return Term{Field: field, Text: text} }
	q := func(field, text string) Term { return Term{Field: field, Text: text, Quoted: true} }
	closed := func(s string) Bound { return Bound{Text: s} }
	excluded := func(s string) Bound { return Bound{Text: s, Exclusive: true} }
	open := Bound{Open: true}
	for s, want := range map[string]Node{
		"report":                       w("", "report"),
		" annual  report ":             And{w("", "annual"), w("", "report")},
		"a AND b && c d":               And{w("", "a"), w("", "b"), w("", "c"), w("", "d")},
		"a OR b || c":                  Or{w("", "a"), w("", "b"), w("", "c")},
		"a b OR c d":                   Or{And{w("", "a"), w("", "b")}, And{w("", "c"), w("", "d")}},
		"a (b OR c) d":                 And{w("", "a"), Or{w("", "b"), w("", "c")}, w("", "d")},
		"((a b) c)":                    And{w("", "a"), w("", "b"), w("", "c")},
		"NOT a":                        Not{w("", "a")},
		"-a !b NOT c +d":               And{Not{w("", "a")}, Not{w("", "b")}, Not{w("", "c")}, w("", "d")},
		"-(a OR b)":                    Not{Or{w("", "a"), w("", "b")}},
		"name:report.pdf":              w("name", "report.pdf"),
		"name=report.pdf":              w("name", "report.pdf"),
		`customer="Ada \"A.\""`:        q("customer", `Ada "A."`),
		"total:30":                     w("total", "30"),
		"total:-30":                    w("total", "-30"),
		"a.b.c:x":                      w("a.b.c", "x"),
		"url:http://x/y?z":             Pattern{"url", "http://x/y?z"},
		"at:2024-01-01T10:00:00Z":      w("at", "2024-01-01T10:00:00Z"),
		"f:(a OR b)":                   Or{w("f", "a"), w("f", "b")},
		"f:(a g:b -c)":                 And{w("f", "a"), w("g", "b"), Not{w("f", "c")}},
		`"annual report"`:              q("", "annual report"),
		`"annual report"~3^2`:          Term{Text: "annual report", Quoted: true, Slop: 3},
		"rep*":                         Pattern{"", "rep*"},
		"f:r?p*t":                      Pattern{"f", "r?p*t"},
		`f:a\*b*`:                      Pattern{"f", `a\*b*`},
		`a\*b`:                         w("", "a*b"),
		"report~":                      Fuzzy{"", "report", 2},
		"report~1^0.5":                 Fuzzy{"", "report", 1},
		"report~0":                     w("", "report"),
		"n:[1 TO 5]":                   Range{"n", closed("1"), closed("5")},
		"n:{1 TO 5}":                   Range{"n", excluded("1"), excluded("5")},
		"n:{1 TO 5]":                   Range{"n", excluded("1"), closed("5")},
		"n:[1 TO *}":                   Range{"n", closed("1"), open},
		`n:["a b" TO z]`:               Range{"n", closed("a b"), closed("z")},
		"n:[* TO *]":                   Exists{"n"},
		"n:>=5":                        Range{"n", closed("5"), open},
		"n>5":                          Range{"n", excluded("5"), open},
		"n<= 5":                        Range{"n", open, closed("5")},
		"n:<5 m":                       And{Range{"n", open, excluded("5")}, w("", "m")},
		"*:*":                          All{},
		"*":                            All{},
		"*:* -a":                       And{All{}, Not{w("", "a")}},
		"f:*":                          Exists{"f"},
		"(a b)^3 c^1.5":                And{w("", "a"), w("", "b"), w("", "c")},
		`\AND \-x and`:                 And{w("", "AND"), w("", "-x"), w("", "and")},
		"ANDROID ORB":                  And{w("", "ANDROID"), w("", "ORB")},
		"R&D x|y":                      And{w("", "R&D"), w("", "x|y")},
		`f:""`:                         q("f", ""),
		"Österreich Straße":            And{w("", "Österreich"), w("", "Straße")},
		"name:report.pdf type:Invoice": And{w("name", "report.pdf"), w("type", "Invoice")},
	} {
		got, err := Parse(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if !reflect.DeepEqual(got.Root, want) {
			t.Errorf("%s: %#v, want %#v", s, got.Root, want)
		}
		again, err := Parse(got.String())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s is written %s, which is %v, %v", s, got, again, err)
		}
	}
}

func TestParseSaysWhere(t *testing.T) {
	for s, want := range map[string]string{
		"":                        "at character 1: a term is missing",
		"  ":                      "at character 3: a term is missing",
		"a AND":                   "at character 6: a term is missing",
		"a OR OR b":               "at character 6: a term is missing",
		"AND a":                   "at character 1: a term is missing",
		"()":                      "at character 2: a term is missing",
		"é (b":                    "at character 3: a parenthesis does not close",
		"a)":                      "at character 2: a parenthesis closes that was not opened",
		`é "b`:                    "at character 3: a quotation does not end",
		`"a"b`:                    "at character 4: no space behind a quotation",
		`a"b"`:                    `at character 2: a mark within a word: put \ before it`,
		"a[1]":                    `at character 2: a mark within a word: put \ before it`,
		`a\`:                      `at character 2: nothing follows \`,
		":a":                      "at character 1: a field has no name",
		"a:":                      "at character 3: a field has no value",
		"a: b":                    "at character 3: a field has no value",
		"a*:b":                    "at character 1: a field's name holds * or ?",
		"a~3":                     "at character 2: a word's distance is not 0, 1 or 2",
		"a.b~":                    "at character 4: only a single word can be fuzzy",
		"a*~":                     "at character 3: a pattern cannot be fuzzy",
		`"a b"~`:                  "at character 6: a phrase's distance is not 0 to 100",
		`"a b"~101`:               "at character 6: a phrase's distance is not 0 to 100",
		"a^x":                     "at character 2: a boost is no number",
		"[1 TO 2]":                "at character 1: a range needs a field",
		">5":                      "at character 1: a range needs a field",
		"n:[1 2]":                 "at character 6: a range lacks TO",
		"n:[1 TO 2":               "at character 10: a range does not end",
		"n:[ TO 2]":               "at character 8: a range lacks TO",
		"n:>*":                    "at character 3: a comparison needs a value",
		"n:>":                     "at character 4: a range's bound is missing",
		"&":                       "at character 1: a word has no letters or digits",
		`"-"`:                     "at character 1: a phrase has no words",
		"**":                      "at character 1: a pattern holds nothing but * and ?",
		strings.Repeat("(", 40):   "at character 34: nested too deeply",
		strings.Repeat("-", 40):   "at character 34: nested too deeply",
		strings.Repeat("a ", 257): "at character 513: too many terms",
		strings.Repeat("a", 4097): "longer than 4096 bytes",
		"\xff":                    "not UTF-8",
		strings.Repeat("f:(", 40): "at character 99: nested too deeply",
	} {
		_, err := Parse(s)
		if !errors.Is(err, coffer.Invalid) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", s, err, want)
		}
	}
}

// The page for users gives only queries that can be read.
func TestPageIsRight(t *testing.T) {
	page, err := os.ReadFile("../../doc/query.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if s, ok := strings.CutPrefix(cells[0], "| `"); ok && strings.HasSuffix(s, "`") {
			n++
			if _, err := Parse(strings.TrimSuffix(s, "`")); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
	if n < 15 {
		t.Errorf("found %d examples", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`a b "c d"~2 OR -f:(x* OR y~1) n:[1 TO *} m>=3^2`, `*:* f:* \AND !x`, `f:"" || (a && b)`, `a.b:\"*\\?`, "NOT NOT a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) {
				t.Fatal(err)
			}
			return
		}
		text := q.String()
		if len(text) > MaxLength {
			return
		}
		again, err := Parse(text)
		if err != nil || !reflect.DeepEqual(q, again) {
			t.Fatalf("%q is %#v, written %q, which is %#v, %v", s, q.Root, text, again, err)
		}
		var doc Fields
		doc.Text("f", s)
		q.Match(&doc)
	})
}
