package merge

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

const owner = "did:example:alice"

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// header returns that of a commit of Alice's, some milliseconds after the start.
func header(operation, strategy string, ms int) Header {
	return Header{
		Alg: "EdDSA", KeyID: owner + "#key-1", Issuer: owner,
		Interface: coffer.CollectionsInterface, Context: "https://schema.org", Type: "MusicPlaylist",
		Operation: operation, Strategy: strategy, Sub: owner, CommittedAt: start.Add(time.Duration(ms) * time.Millisecond),
	}
}

func build(t testing.TB, h Header, payload string) *Commit {
	t.Helper()
	raw, err := Build(h, []byte(payload), func([]byte) ([]byte, error) { return make([]byte, 64), nil })
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	c, err := Parse(raw)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return c
}

// later returns an update or a delete of what first creates.
func later(t testing.TB, first *Commit, operation string, ms int, payload string) *Commit {
	h := header(operation, first.Header.Strategy, ms)
	h.ObjectID = first.Rev.String()
	return build(t, h, payload)
}

func TestBuildAndVerify(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := header(Create, Basic, 1)
	h.Meta = json.RawMessage(`{"title":"a < b"}`)
	raw, err := Build(h, []byte("hello"), func(input []byte) ([]byte, error) { return ed25519.Sign(private, input), nil })
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Header
	got.CommittedText = ""
	if fmt.Sprint(got) != fmt.Sprint(h) || string(c.Payload) != "hello" || c.Signer() != owner ||
		c.Rev != raw.Rev() || c.Object != c.Rev {
		t.Errorf("got %+v, want %+v", c, h)
	}
	if c.Header.CommittedText != "2026-03-01T08:00:00.001Z" {
		t.Errorf("committed at %q", c.Header.CommittedText)
	}
	if !c.Verify(key(public)) {
		t.Error("signature refused")
	}
	for _, change := range []func(*coffer.Commit){
		func(c *coffer.Commit) { c.Payload = "aGVsbG8x" },
		func(c *coffer.Commit) { c.Protected += "A" },
		func(c *coffer.Commit) { c.Signature = c.Signature[43:] + c.Signature[:43] },
		func(c *coffer.Commit) { c.Signature = "" },
	} {
		other := *raw
		change(&other)
		if (&Commit{Raw: &other}).Verify(key(public)) {
			t.Error("signature of something else accepted")
		}
	}
	broken := errors.New("no key")
	if _, err := Build(h, nil, func([]byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want what sign failed with", err)
	}
	h.Meta = json.RawMessage(`{`)
	_, err = Build(h, []byte("x"), func([]byte) ([]byte, error) { return make([]byte, 64), nil })
	refused(t, err, "commit.protected.meta")
}

type key ed25519.PublicKey

func (k key) Verify(message, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(ed25519.PublicKey(k), message, signature)
}

// TestStrategies tells what follows from which commits, in every order of them and with each of them twice.
func TestStrategies(t *testing.T) {
	type step struct {
		operation string
		ms        int
		payload   string
	}
	for _, test := range []struct {
		name     string
		strategy string
		steps    []step // the first creates
		want     string // "deleted" for that
		latest   int
	}{
		{"created", Basic, []step{{Create, 0, "a"}}, "a", 0},
		{"last wins", Basic, []step{{Create, 0, "a"}, {Update, 2, "c"}, {Update, 1, "b"}}, "c", 1},
		{"an update before its create", Basic, []step{{Create, 5, "a"}, {Update, 1, "b"}}, "b", 1},
		{"delete wins for ever", Basic, []step{{Create, 0, "a"}, {Delete, 1, "{}"}, {Update, 9, "b"}}, "deleted", 1},
		{"deleted with nothing", Basic, []step{{Create, 0, "a"}, {Delete, 1, ""}}, "deleted", 1},
		{"the last delete made the state", Basic, []step{{Create, 0, "a"}, {Delete, 1, "{}"}, {Delete, 2, "{}"}}, "deleted",
			2},
		{"last writer wins", LastWriterWins, []step{{Create, 0, "a"}, {Update, 2, "c"}, {Update, 1, "b"}}, "c", 1},
		{"one patch", MergePatch, []step{{Create, 0, `{"a":1,"b":{"c":2,"d":3}}`}, {Update, 1, `{"b":{"c":null},"e":[1]}`}},
			`{"a":1,"b":{"d":3},"e":[1]}`, 1},
		{"patches in order of time", MergePatch,
			[]step{{Create, 0, `{"a":1}`}, {Update, 3, `{"a":3}`}, {Update, 2, `{"a":2,"b":2}`}},
			`{"a":3,"b":2}`, 1},
		{"writers that part keep both", MergePatch, []step{{Create, 0, `{}`}, {Update, 1, `{"x":1}`}, {Update, 1, `{"y":2}`}},
			`{"x":1,"y":2}`, -1},
		{"a patched object is deleted", MergePatch, []step{{Create, 0, `{}`}, {Update, 5, `{"x":1}`}, {Delete, 1, ``}},
			"deleted", 2},
		{"created alone it stays as it was written", MergePatch, []step{{Create, 0, `{ "a": 1 }`}}, `{ "a": 1 }`, 0},
		{"digits stay", MergePatch, []step{{Create, 0, `{"n":12345678901234567890.10}`}, {Update, 1, `{"s":"<é\u2028"}`}},
			"{\"n\":12345678901234567890.10,\"s\":\"<é\\u2028\"}", 1},
		{"what is no JSON replaces", MergePatch, []step{{Create, 0, `{"a":1}`}, {Update, 1, `text`}}, `text`, 1},
		{"and is replaced", MergePatch, []step{{Create, 0, `text`}, {Update, 1, `{"a":{"b":null}}`}}, `{"a":{}}`, 1},
		{"a list replaces", MergePatch, []step{{Create, 0, `{"a":1}`}, {Update, 1, `[1, 2]`}}, `[1, 2]`, 1},
		{"an object after a list is a new one", MergePatch,
			[]step{{Create, 0, `{"a":1}`}, {Update, 1, `[1]`}, {Update, 2, `{"b":2}`}},
			`{"b":2}`, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var commits []*Commit
			for i, s := range test.steps {
				if i == 0 {
					commits = append(commits, build(t, header(Create, test.strategy, s.ms), s.payload))
					continue
				}
				commits = append(commits, later(t, commits[0], s.operation, s.ms, s.payload))
			}
			permute(commits, func(order []*Commit) {
				for _, set := range [][]*Commit{order, slices.Concat(order, order)} {
					s, err := Of(set)
					if err != nil {
						t.Fatal(err)
					}
					got := string(s.Value)
					if s.Deleted {
						if got = "deleted"; s.Value != nil {
							t.Errorf("deleted with a value")
						}
					}
					if got != test.want || s.Object != commits[0].Rev || s.Created.Rev != commits[0].Rev ||
						test.latest >= 0 && s.Latest.Rev != commits[test.latest].Rev {
						t.Fatalf("got %s by %v, want %s", got, s.Latest.Header, test.want)
					}
				}
			})
		})
	}
}

// TestKnownAnswers checks what doc/commits.md says.
func TestKnownAnswers(t *testing.T) {
	first := build(t, header(Create, MergePatch, 0), `{"title":"One","tracks":{"1":"a","2":"b"}}`)
	second := later(t, first, Update, 1, `{"tracks":{"2":null,"3":"c"}}`)
	third := later(t, first, Update, 1, `{"title":"Two"}`)
	for c, want := range map[*Commit]string{
		first:  "03efecd390d4a1f712f4c6a20e7005107c7a10f9b7846ab3641eef5209f2ad81",
		second: "d5b858569a846548cfd53cc7741f7857f2c043aa3301cc7b5ae7b98c972f2ff4",
		third:  "5b4eef67c5cd222c8159143734ef5e0a166f3a1dd8c91783d95688b43100e8cf",
	} {
		if got := c.Rev.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	s, err := Of([]*Commit{third, first, second})
	if err != nil || string(s.Value) != `{"title":"Two","tracks":{"1":"a","3":"c"}}` || s.Latest != second {
		t.Errorf("got %s, %v", s.Value, err)
	}
}

// permute calls f with every order of the commits.
func permute(commits []*Commit, f func([]*Commit)) {
	order := slices.Clone(commits)
	var place func(int)
	place = func(i int) {
		if i == len(order) {
			f(slices.Clone(order))
			return
		}
		for j := i; j < len(order); j++ {
			order[i], order[j] = order[j], order[i]
			place(i + 1)
			order[i], order[j] = order[j], order[i]
		}
	}
	place(0)
}

// TestTies checks that of commits of the same millisecond the greater revision counts.
func TestTies(t *testing.T) {
	first := build(t, header(Create, Basic, 0), "a")
	x, y := later(t, first, Update, 1, "x"), later(t, first, Update, 1, "y")
	want := x
	if y.Rev.String() > x.Rev.String() {
		want = y
	}
	permute([]*Commit{first, x, y}, func(order []*Commit) {
		s, err := Of(order)
		if err != nil || s.Latest != want {
			t.Fatalf("got %v, %v", s, err)
		}
	})
	if x.Before(y) == y.Before(x) || x.Before(x) {
		t.Error("the order is not total")
	}
}

// TestOrderOfArrival checks on random sets of commits, with repetitions, that the order does not matter.
func TestOrderOfArrival(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		strategy := []string{Basic, LastWriterWins, MergePatch}[random.IntN(3)]
		commits := []*Commit{build(t, header(Create, strategy, random.IntN(5)), `{"a":{"b":1}}`)}
		for range random.IntN(8) {
			operation := Update
			if random.IntN(12) == 0 {
				operation = Delete
			}
			payload := fmt.Sprintf(`{%q:{%q:%d},"n":%d}`, "abc"[random.IntN(3):][:1], "abc"[random.IntN(3):][:1], random.IntN(3),
				random.IntN(100))
			commits = append(commits, later(t, commits[0], operation, random.IntN(5), payload))
		}
		want, err := Of(commits)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			set := slices.Concat(commits, commits[:random.IntN(len(commits))])
			random.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
			got, err := Of(set)
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Value) != string(want.Value) || got.Deleted != want.Deleted || got.Latest.Rev != want.Latest.Rev {
				t.Fatalf("got %s, want %s", got.Value, want.Value)
			}
		}
	}
}

func TestOfRefuses(t *testing.T) {
	first := build(t, header(Create, Basic, 0), "a")
	update := later(t, first, Update, 1, "b")
	changed := func(change func(*Header)) *Commit {
		h := header(Update, Basic, 2)
		h.ObjectID = first.Rev.String()
		change(&h)
		return build(t, h, "c")
	}
	for _, test := range []struct {
		name    string
		commits []*Commit
		target  string
	}{
		{"nothing", nil, ""},
		{"no create commit", []*Commit{update}, ""},
		{"two objects", []*Commit{first, build(t, header(Create, Basic, 3), "other")}, "commit.protected.object_id"},
		{"another object's update", []*Commit{first, changed(func(h *Header) { h.ObjectID = update.Rev.String() })},
			"commit.protected.object_id"},
		{"interface", []*Commit{first, changed(func(h *Header) { h.Interface = "Profile" })}, "commit.protected.interface"},
		{"context", []*Commit{first, changed(func(h *Header) { h.Context += "/" })}, "commit.protected.context"},
		{"type", []*Commit{first, changed(func(h *Header) { h.Type = "Game" })}, "commit.protected.type"},
		{"owner", []*Commit{first, changed(func(h *Header) { h.Sub = "did:example:bob" })}, "commit.protected.sub"},
		{"strategy", []*Commit{first, changed(func(h *Header) { h.Strategy = MergePatch })},
			"commit.protected.commit_strategy"},
		{"unknown strategy", []*Commit{build(t, header(Create, "crdt", 0), "a")}, "commit.protected.commit_strategy"},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, errOf(Of(test.commits)), test.target) })
	}
}

func errOf[T any](_ T, err error) error { return err }

func refused(t *testing.T, err error, target string) {
	t.Helper()
	if !errors.Is(err, coffer.Invalid) {
		t.Fatalf("got %v, want Invalid", err)
	}
	var f *coffer.Fault
	if errors.As(err, &f); target != "" && (f == nil || f.Target != target) {
		t.Fatalf("got %v, want the target %s", err, target)
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2019-03-29T08:00:00.000Z":       "2019-03-29T08:00:00Z",
		"2019-03-29T08:00:00":            "2019-03-29T08:00:00Z",
		"2019-03-29T08:00:00.5":          "2019-03-29T08:00:00.5Z",
		"2019-03-29T08:00:00.123999999Z": "2019-03-29T08:00:00.123Z",
		"1969-12-31T23:59:59.9999Z":      "1969-12-31T23:59:59.999Z",
		"0001-01-01T00:00:00.001Z":       "0001-01-01T00:00:00.001Z",
		"2024-02-29T00:00:00Z":           "2024-02-29T00:00:00Z",
		"0001-01-01T00:00:00Z":           "",
		"0000-01-01T00:00:00Z":           "",
		"2023-02-29T00:00:00Z":           "",
		"2019-03-29T24:00:00Z":           "",
		"2019-03-29T08:00:60Z":           "",
		"2019-03-29T08:00:00+02:00":      "",
		"2019-03-29T08:00:00z":           "",
		"2019-03-29T8:00:00Z":            "",
		"2019-03-29T08:00:00,5Z":         "",
		"2019-03-29T08:00:00.Z":          "",
		"2019-03-29T08:00:00.0000000000": "",
		"2019-03-29 08:00:00":            "",
		"2019-03-29":                     "",
		"Fri Mar 29 2019":                "",
		"2019-03-29T08:00:00Z\n":         "",
		"٢٠١٩-03-29T08:00:00":            "",
	} {
		got := ""
		if at := parseTime(text); !at.IsZero() {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestStrings(t *testing.T) {
	if !Known(Basic) || !Known(LastWriterWins) || !Known(MergePatch) || Known("") || Known("BASIC") {
		t.Error("wrong strategies are known")
	}
	if depth([]byte(`{"a":[{"b":"[[[\"{{"}],"c":{}}`)) != 3 ||
		depth([]byte(`1`)) != 0 || depth([]byte(strings.Repeat("[", 20))) != 20 {
		t.Error("wrong depth")
	}
}
