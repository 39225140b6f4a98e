package lucene

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

func TestWords(t *testing.T) {
	for s, want := range map[string][]string{
		"Annual_Report-2024.PDF": {"annual", "report", "2024", "pdf"},
		"Straße ＡＢＣ ﬁn":          {"strasse", "abc", "fin"},
		"cafe\u0301":             {"café"},
		"नमस्ते दुनिया":          {"नमस्ते", "दुनिया"},
		" -- ":                   nil,
		"a\x00b":                 {"a", "b"},
		strings.Repeat("é", 100): {strings.Repeat("é", 64)},
	} {
		if got := Words(s); !reflect.DeepEqual(got, want) {
			t.Errorf("Words(%q) = %q, want %q", s, got, want)
		}
	}
}

func sample(t *testing.T) *Fields {
	f := &Fields{Title: "name"}
	f.Text("name", "Annual Report (final).pdf")
	f.Keyword("ext", "PDF")
	f.Number("size", 1200)
	f.Time("modified", time.Date(2024, 5, 17, 10, 30, 0, 0, time.UTC))
	f.Text("text", "The quick brown fox jumps over the lazy dog")
	err := f.JSON([]byte(`{"customer":{"name":"Ada Lovelace","vip":true},"total":30.5,"due":"2024-06-01","none":null,
		"items":[{"sku":"A-1","n":2},{"sku":"B-2","n":-3}],"tags":["Red wine","white"],"empty":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMatch(t *testing.T) {
	f := sample(t)
	for s, want := range map[string]bool{
		"annual":                             true,
		"ANNUAL pdf":                         true,
		"report.pdf":                         false,
		"final.pdf":                          true,
		"annual missing":                     false,
		"annual OR missing":                  true,
		"-missing":                           true,
		"annual -fox":                        false,
		`"brown quick"`:                      false,
		`"quick brown"`:                      true,
		`"quick fox"`:                        false,
		`"quick fox"~1`:                      true,
		`"brown quick"~1`:                    false,
		`"brown quick"~2`:                    true,
		`"report pdf fox"~9`:                 false, // in two fields
		"ada":                                true,
		"customer.name:ada":                  true,
		"customer.name:love":                 false,
		"customer.name:love*":                true,
		"customer.name=\"Ada Lovelace\"":     true,
		"customer:*":                         true,
		"cust:*":                             false,
		"none:*":                             false,
		"empty:*":                            false,
		"customer.vip:true":                  true,
		"customer.vip:false":                 false,
		`customer.vip:"true"`:                false,
		"total:30.5":                         true,
		"total:3.05e1":                       true,
		`total:"30.5"`:                       false,
		"total:30":                           false,
		"total:[30 TO 31]":                   true,
		"total:[30.5 TO 30.5]":               true,
		"total:{30.5 TO 31]":                 false,
		"total>30":                           true,
		"total<30":                           false,
		"items.sku:a-1":                      true,
		"items.n:-3":                         true,
		"items.n<-2":                         true,
		"items.n<-3":                         false,
		"tags:red":                           true,
		`tags:"wine white"`:                  false, // in two values
		"tags:(white black)":                 false,
		"tags:(white red)":                   true,
		"due:2024-06-01":                     true,
		"due:[2024-05-01 TO 2024-06-01]":     true,
		"due:{2024-05-01 TO 2024-06-01}":     false,
		"due>2024-06-01":                     false,
		"modified:2024-05-17":                true,
		"modified:2024-05-17T10:30:00Z":      true,
		"modified:2024-05-17T12:30:00+02:00": true,
		"modified:2024-05-17T10:30:00.5Z":    false,
		"modified>=2024-05-17T10:30:00Z":     true,
		"modified>2024-05-17":                false,
		"modified<2024-05-18":                true,
		"modified:[* TO 2024-05-16]":         false,
		"ext:pdf":                            true,
		"ext:[a TO q]":                       true,
		"ext:[a TO c]":                       false,
		"size:1200":                          true,
		"size>=1k":                           false,
		"name:*.pdf":                         true,
		"*.pdf":                              true,
		"ann*final*":                         true,
		"*.doc":                              false,
		"f?x":                                true,
		"f?":                                 false,
		"brwon~":                             true,
		"brwon~1":                            true,
		"rbown~":                             false, // another first letter
		"quikc~0":                            false,
		"annuall~1":                          true,
		"*:*":                                true,
		"-*:*":                               false,
		"name:[annual TO b]":                 true,
	} {
		q, err := Parse(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if got := q.Match(f); got != want {
			t.Errorf("%s: %t", s, got)
		}
	}
}

func TestBoundsOfFields(t *testing.T) {
	var f Fields
	for range MaxValues + 1 {
		f.Number("n", 1)
	}
	f.Text("t", "late")
	f.Text("", "x")
	f.Text(strings.Repeat("f", MaxField+1), "x")
	for name, x := range f.All() {
		if name != "n" || len(x.Numbers) != MaxValues {
			t.Errorf("%s has %d values", name, len(x.Numbers))
		}
	}
	if err := new(Fields).JSON([]byte(strings.Repeat("[", 100))); !errors.Is(err, coffer.Invalid) {
		t.Error(err)
	}
	for _, bad := range []string{"", "{", `{"a":`, "[1", "tru", "1 2"} {
		if err := new(Fields).JSON([]byte(bad)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"2024-01-01"},true,null],"\u0000":1e999}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var x Fields
		if err := x.JSON(b); err != nil && !errors.Is(err, coffer.Invalid) {
			t.Error(err)
		}
		for _, v := range x.All() {
			for _, w := range v.Wholes {
				if len(w) > MaxWhole || strings.Contains(w, "\x00") {
					t.Errorf("whole value %q", w)
				}
			}
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 50 || len(s) > 50 {
			return
		}
		s = Fold(s)
		g := Pattern{Text: pattern}.Glob()
		if g.Match(s) != slow(g.parts, s) || g.Match(s) && !strings.HasPrefix(s, g.Prefix()) {
			t.Errorf("%q and %q: %t", pattern, s, g.Match(s))
		}
	})
}

// slow is what Glob.Match does, as one would write it down first.
func slow(parts []string, s string) bool {
	if strings.Count(strings.Join(parts, ""), "*") > 4 {
		return Glob{parts}.Match(s)
	}
	switch {
	case len(parts) == 0:
		return s == ""
	case parts[0] == "*":
		return slow(parts[1:], s) || s != "" && slow(parts, s[len(string([]rune(s)[0])):])
	case parts[0] == "?":
		return s != "" && slow(parts[1:], s[len(string([]rune(s)[0])):])
	}
	rest, ok := strings.CutPrefix(s, parts[0][1:])
	return ok && slow(parts[1:], rest)
}
