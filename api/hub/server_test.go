package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

const query1 = `"query":{"interface":"Collections"}`

// TestH29NotAuthenticated: without the keys of the identity, or a token of the hub for it, or with what was sent before,
// nobody comes further than to one and the same refusal.
func TestH29NotAuthenticated(t *testing.T) {
	w := newWorld(t, nil)
	good := modernLetter(asked(objectQueryRequest, query1))
	with := func(change func(*letter)) string {
		l := good
		change(&l)
		return w.sealed(t, l)
	}
	header := func(name string, v any) string {
		return with(func(l *letter) { l.header = map[string]any{name: v} })
	}
	cut := func(s string) string { return s[:len(s)-8] + "AAAAAAAA" }
	replayed := w.sealed(t, good)
	w.opened(t, w.post(replayed), modern+"#X25519")
	expired := w.tokens.issue(modern, w.now.Add(-tokenLife))
	early := w.tokens.issue(modern, w.now.Add(tokenSkew+1))
	foreign := newTokens([32]byte{2}).issue(modern, w.now)

	for name, body := range map[string]string{
		"empty":                 "",
		"text":                  "x",
		"JSON":                  "{}",
		"empty parts":           "....",
		"not base64url":         "a.b.c.d.e",
		"cannot decrypt":        cut(w.sealed(t, good)),
		"encrypted to another":  with(func(l *letter) { l.to = other + "#X25519" }),
		"not a JWS":             w.encrypted(t, "x", hubDID+"#X25519"),
		"two parts":             w.encrypted(t, "e30.e30", hubDID+"#X25519"),
		"unknown identifier":    header("kid", "did:test:nobody#1"),
		"unknown key":           header("kid", modern+"#2"),
		"key of another":        header("kid", alice+"#key-1"),
		"no fragment":           header("kid", modern),
		"no kid":                header("kid", nil),
		"resolver away":         header("kid", "did:test:away#1"),
		"alg none":              header("alg", "none"),
		"none, not signed":      with(func(l *letter) { l.header = map[string]any{"alg": "none"}; l.jws = unsigned }),
		"alg of another family": header("alg", "RS256"),
		"no alg":                header("alg", nil),
		"crit":                  header("crit", []string{"exp"}),
		"b64":                   header("b64", false),
		"no nonce":              header("did-requester-nonce", nil),
		"long nonce":            header("did-requester-nonce", strings.Repeat("n", 257)),
		"long header":           header("pad", strings.Repeat("x", 17<<10)),
		"bad signature":         with(func(l *letter) { l.jws = cut }),
		"bad signature, token":  with(func(l *letter) { l.jws = cut; l.header = map[string]any{"did-access-token": nil} }),
		"not signed":            with(func(l *letter) { l.jws = unsigned }),
		"changed payload":       with(func(l *letter) { l.jws = func(s string) string { return strings.Replace(s, ".ey", ".fy", 1) } }),
		"repeated member":       w.encrypted(t, repeated(t, w), hubDID+"#X25519"),
		"expired token":         header("did-access-token", expired),
		"token from the future": header("did-access-token", early),
		"foreign token":         header("did-access-token", foreign),
		"token of another":      header("did-access-token", w.tokens.issue(alice, w.now)),
		"changed token":         header("did-access-token", cut(w.tokens.issue(modern, w.now))),
		"opaque token":          header("did-access-token", "opaque-token"),
		"replay":                replayed,
	} {
		t.Run(name, func(t *testing.T) {
			w.host.called = ""
			a := w.post(body)
			inClear(t, a, 401, authenticationFailed)
			if a.Header().Get("WWW-Authenticate") == "" {
				t.Error("no challenge")
			}
			if w.host.called != "" {
				t.Error("the host was asked")
			}
		})
	}
	if len(w.reports) > 0 {
		t.Errorf("reported: %q", w.reports)
	}
}

// unsigned takes the signature off.
func unsigned(s string) string { return s[:strings.LastIndexByte(s, '.')+1] }

// repeated is a message with a header member twice, signed.
func repeated(t *testing.T, w *world) string {
	m := &jose.JWS{Protected: encode64([]byte(
		`{"alg":"EdDSA","kid":"` + modern + `#Ed25519","did-requester-nonce":"x","kid":"` + modern + `#Ed25519"}`))}
	s, err := w.known[modern].SignInput(t.Context(), modern+"#Ed25519", coffer.Authentication, m.Input())
	if err != nil {
		t.Fatal(err)
	}
	m.Signature = encode64(s)
	return m.Compact()
}

func TestInTheClear(t *testing.T) {
	w := newWorld(t, func(o *ServerOptions) { o.Limits.Body = 4 << 10 })
	post := func(contentType, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		return w.do(r)
	}
	inClear(t, post("text/plain", "x"), 400, badRequest)
	inClear(t, post("", "x"), 400, badRequest)
	inClear(t, post("application/jwt; charset=utf-8", "x"), 401, authenticationFailed)
	inClear(t, w.post(strings.Repeat("x", 4<<10+1)), 413, badRequest)
	for _, size := range []int{4 << 10, 4<<10 + 1} { // without a length
		r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", size))))
		r.Header.Set("Content-Type", ContentType)
		if want := 401 + 12*(size-4<<10); w.do(r).Code != want {
			t.Errorf("%d bytes: want status %d", size, want)
		}
	}
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("x"), broken{}))
	r.Header.Set("Content-Type", ContentType)
	inClear(t, w.do(r), 400, badRequest)

	a := w.do(httptest.NewRequest("PUT", "/", nil))
	inClear(t, a, 405, badRequest)
	if a.Header().Get("Allow") == "" {
		t.Error("no Allow")
	}
	if a := w.do(httptest.NewRequest("OPTIONS", "/", nil)); a.Code != 204 || a.Header().Get("Access-Control-Allow-Headers") == "" {
		t.Errorf("OPTIONS: %d %v", a.Code, a.Header())
	}
	// Nothing that the answer could be encrypted to.
	l := letter{
		from: "did:test:mute#Ed25519", to: hubDID + "#X25519",
		payload: strings.ReplaceAll(asked(objectQueryRequest, query1), modern, "did:test:mute"),
	}
	inClear(t, w.post(w.sealed(t, l)), 400, badRequest)
	for _, key := range []any{"x", map[string]any{}, w.known[alice].Public(alice + "#key-1"), w.known[modern].Public(modern + "#Ed25519")} {
		l.header = map[string]any{replyKeyID: key}
		inClear(t, w.post(w.sealed(t, l)), 400, badRequest)
	}
	if w.host.called != "" {
		t.Error("the host was asked")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestAccessToken(t *testing.T) {
	w := newWorld(t, nil)
	for _, row := range []struct{ from, to, reads, alg string }{
		{alice + "#key-1", hubDID + "#key-1", alice + "#key-1", "RS256"},
		{alice + "#key-1", hubDID + "#X25519", alice + "#key-1", "RS256"},
		{modern + "#Ed25519", hubDID + "#X25519", modern + "#X25519", "EdDSA"},
		{modern + "#Ed25519", "did:test:alias#X25519", modern + "#X25519", "EdDSA"},
		{"did:test:p256#P-256", hubDID + "#key-1", "did:test:p256#P-256", "EdDSA"},
	} {
		l := letter{from: row.from, to: row.to, header: map[string]any{"did-access-token": nil, "did-requester-nonce": "N"}}
		h, token := w.opened(t, w.post(w.sealed(t, l)), row.reads)
		did, _, _ := strings.Cut(row.from, "#")
		hub, _, _ := strings.Cut(row.to, "#")
		if h.Nonce != "N" || h.Alg != row.alg || !strings.HasPrefix(h.KeyID, hub+"#") || h.Token != "" {
			t.Errorf("%s: header %+v", row.from, h)
		}
		if _, ok := w.tokens.check(token, did, w.now); !ok {
			t.Errorf("%s: the token is not good", row.from)
		}
		if strings.Contains(token, "did") {
			t.Error("the token says whose it is")
		}
	}
	// With a payload, too, and signed RS512.
	l := rsaLetter("{}")
	l.header = map[string]any{"did-access-token": nil}
	w.opened(t, w.post(w.sealed(t, l)), alice+"#key-1")
	if want := slices.Repeat([]string{"AccessToken 200"}, 6); !slices.Equal(w.observed, want) {
		t.Errorf("observed %q", w.observed)
	}
}

func TestReplyKey(t *testing.T) {
	w := newWorld(t, nil)
	l := letter{
		from: "did:test:mute#Ed25519", to: hubDID + "#X25519",
		payload: strings.ReplaceAll(asked(objectQueryRequest, query1), modern, "did:test:mute"),
		header:  map[string]any{replyKeyID: w.known[bob].Public(bob + "#key-1")},
	}
	w.known[bob].Generate("reply", "X25519", "")
	l.header[replyKeyID] = w.known[bob].Public(bob + "#reply")
	r, _ := w.known[bob].Reader(bob + "#reply")
	r.KeyID = replyKeyID
	if _, text := w.openedBy(t, w.post(w.sealed(t, l)).Body.String(), r); !strings.Contains(text, `"objects":[]`) {
		t.Error(text)
	}
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t, nil)
	rev := strings.Repeat("a", 64)
	many := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	for _, row := range []struct{ name, payload, code, target string }{
		{"empty", ``, badRequest, ""},
		{"not JSON", `hello`, badRequest, ""},
		{"trailing data", asked(objectQueryRequest, query1) + "x", badRequest, ""},
		{"array", `[]`, badRequest, ""},
		{"null", `null`, badRequest, "@type"},
		{"not UTF-8", asked(objectQueryRequest, "\"purpose\":\"\xff\""), badRequest, ""},
		{"repeated", asked(objectQueryRequest, query1+`,"iss":"`+modern+`"`), badRequest, ""},
		{
			"repeated below",
			asked(objectQueryRequest, `"query":{"interface":"Profile","interface":"Profile"}`),
			badRequest, "",
		},
		{"deep", asked(objectQueryRequest, `"meta":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)), badRequest, ""},
		{"no type", strings.Replace(asked(objectQueryRequest, query1), `"@type"`, `"type"`, 1), badRequest, "@type"},
		{"unknown type", asked("DropRequest", query1), badRequest, "@type"},
		{"type of another type", `{"@type":5}`, badRequest, "@type"},
		{
			"no context",
			strings.Replace(asked(objectQueryRequest, query1), `"@context"`, `"x"`, 1),
			badRequest, "@context",
		},
		{
			"other context",
			strings.Replace(asked(objectQueryRequest, query1), `/0.1"`, `/0.2"`, 1),
			badRequest, "@context",
		},
		{"context list", `{"@context":["x"]}`, badRequest, "@context"},
		{"no iss", strings.Replace(asked(objectQueryRequest, query1), `"iss"`, `"x"`, 1), badRequest, "iss"},
		{"no sub", strings.Replace(asked(objectQueryRequest, query1), `"sub"`, `"x"`, 1), badRequest, "sub"},
		{"no aud", strings.Replace(asked(objectQueryRequest, query1), `"aud"`, `"x"`, 1), badRequest, "aud"},
		{
			"sub a number",
			strings.Replace(asked(objectQueryRequest, query1), `"sub":"`+alice+`"`, `"sub":7`, 1),
			badRequest, "sub",
		},
		{
			"long sub",
			strings.Replace(asked(objectQueryRequest, query1), alice, alice+strings.Repeat("x", maxDID), 1),
			badRequest, "sub",
		},
		{
			"iss of another",
			strings.Replace(asked(objectQueryRequest, query1), modern, alice, 1),
			permissionsRequired, "iss",
		},
		{"aud of another", strings.Replace(asked(objectQueryRequest, query1), hubDID, other, 1), badRequest, "aud"},
		{
			"long purpose",
			asked(objectQueryRequest, query1+`,"purpose":"`+strings.Repeat("x", 257)+`"`),
			badRequest, "purpose",
		},
		{"fields", asked(commitQueryRequest, `"fields":["rev"]`), coffer.NotImplemented, "fields"},

		{"no query", asked(objectQueryRequest, ""), badRequest, "query"},
		{"query null", asked(objectQueryRequest, `"query":null`), badRequest, "query"},
		{"query a text", asked(objectQueryRequest, `"query":"x"`), badRequest, "query"},
		{"no interface", asked(objectQueryRequest, `"query":{}`), badRequest, "query.interface"},
		{"interface a number", asked(objectQueryRequest, `"query":{"interface":1}`), badRequest, "query.interface"},
		{
			"context alone",
			asked(objectQueryRequest, `"query":{"interface":"Profile","context":"x"}`),
			badRequest, "query.context, query.type",
		},
		{
			"type alone",
			asked(objectQueryRequest, `"query":{"interface":"Profile","type":"x"}`),
			badRequest, "query.context, query.type",
		},
		{
			"type a list",
			asked(objectQueryRequest, `"query":{"interface":"Profile","context":"x","type":["x"]}`),
			badRequest, "query.type",
		},
		{
			"object_id a text",
			asked(objectQueryRequest, `"query":{"interface":"Profile","object_id":"`+rev+`"}`),
			badRequest, "query.object_id",
		},
		{
			"object_id of numbers",
			asked(objectQueryRequest, `"query":{"interface":"Profile","object_id":[1]}`),
			badRequest, "query.object_id[0]",
		},
		{
			"object_id malformed",
			asked(objectQueryRequest, `"query":{"interface":"Profile","object_id":["`+rev+`","A"]}`),
			badRequest, "query.object_id[1]",
		},
		{"fields a text", asked(commitQueryRequest, `"fields":"rev"`), badRequest, "fields"},
		{"fields of numbers", asked(commitQueryRequest, `"fields":[1]`), badRequest, "fields[0]"},
		{
			"empty lists of both",
			asked(commitQueryRequest, `"query":{"object_id":[],"revision":[]}`),
			coffer.NotImplemented, "query.object_id, query.revision",
		},
		{
			"many object_ids",
			asked(objectQueryRequest, `"query":{"interface":"Profile","object_id":[`+many(101, `"`+rev+`"`)+`]}`),
			badRequest, "query.object_id",
		},
		{
			"far too many",
			asked(objectQueryRequest, `"query":{"interface":"Profile","object_id":[`+many(1001, `"`+rev+`"`)+`]}`),
			badRequest, "query.object_id",
		},
		{
			"skip_token a number",
			asked(objectQueryRequest, `"query":{"interface":"Profile","skip_token":1}`),
			badRequest, "query.skip_token",
		},
		{
			"filters a map",
			asked(objectQueryRequest, `"query":{"interface":"Profile","filters":{}}`),
			badRequest, "query.filters",
		},
		{
			"filter a text",
			asked(objectQueryRequest, `"query":{"interface":"Profile","filters":["x"]}`),
			badRequest, "query.filters[0]",
		},
		{
			"filter without field",
			asked(objectQueryRequest, `"query":{"interface":"Profile","filters":[{"type":"eq","value":"x"}]}`),
			badRequest, "query.filters[0].field",
		},
		{
			"filter's value",
			asked(objectQueryRequest, `"query":{"interface":"Profile","filters":[{"type":"eq","field":"x","value":1}]}`),
			badRequest, "query.filters[0].value",
		},
		{
			"many filters",
			asked(objectQueryRequest, `"query":{"interface":"Profile","filters":[`+many(17, `{"type":"eq","field":"x","value":"x"}`)+`]}`),
			badRequest, "query.filters",
		},
		{"limit", asked(objectQueryRequest, `"query":{"interface":"Profile","limit":-1}`), badRequest, "query.limit"},
		{
			"limit a text",
			asked(objectQueryRequest, `"query":{"interface":"Profile","limit":"1"}`),
			badRequest, "query.limit",
		},
		{
			"huge limit",
			asked(objectQueryRequest, `"query":{"interface":"Profile","limit":1e99}`),
			badRequest, "query.limit",
		},
		{
			"long filter",
			asked(objectQueryRequest, `"query":{"interface":"Profile","filter":"`+strings.Repeat("x", maxFilter+1)+`"}`),
			badRequest, "query.filter",
		},
		{
			"both",
			asked(commitQueryRequest, `"query":{"object_id":["`+rev+`"],"revision":["`+rev+`"]}`),
			coffer.NotImplemented, "query.object_id, query.revision",
		},
		{
			"revision malformed",
			asked(commitQueryRequest, `"query":{"revision":["`+strings.ToUpper(rev)+`"]}`),
			badRequest, "query.revision[0]",
		},

		{"no commit", asked(writeRequest, ""), badRequest, "commit"},
		{"commit a text", asked(writeRequest, `"commit":"x"`), badRequest, "commit"},
		{"no protected", asked(writeRequest, `"commit":{"payload":"","signature":"x"}`), badRequest, "commit.protected"},
		{
			"protected a map",
			asked(writeRequest, `"commit":{"protected":{},"payload":"","signature":"x"}`),
			badRequest, "commit.protected",
		},
		{"no payload", asked(writeRequest, `"commit":{"protected":"x","signature":"x"}`), badRequest, "commit.payload"},
		{"no signature", asked(writeRequest, `"commit":{"protected":"x","payload":"x"}`), badRequest, "commit.signature"},
		{
			"header a text",
			asked(writeRequest, `"commit":{"protected":"x","payload":"x","signature":"x","header":"x"}`),
			badRequest, "commit.header",
		},
		{
			"further member",
			asked(writeRequest, `"commit":{"protected":"x","payload":"x","signature":"x","rev":"x"}`),
			badRequest, "commit",
		},
		{"no commits", asked(adoptRequest, ""), badRequest, "commits"},
		{"commits a map", asked(adoptRequest, `"commits":{}`), badRequest, "commits"},
		{
			"second commit",
			asked(adoptRequest, `"commits":[{"protected":"x","payload":"x","signature":"x"},{}]`),
			badRequest, "commits[1].protected",
		},
		{"many commits", asked(adoptRequest, `"commits":[`+many(1001, `{}`)+`]`), badRequest, "commits"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.host.called = ""
			refused(t, w.ask(t, row.payload), row.code, row.target)
			if w.host.called != "" {
				t.Errorf("%s reached the host", w.host.called)
			}
		})
	}
}

func TestErrorsOfTheHost(t *testing.T) {
	w := newWorld(t, nil)
	for _, row := range []struct {
		err          error
		code, target string
		kind         coffer.Kind // that the client makes of it
		reported     bool
	}{
		{coffer.Errorf("x", coffer.Invalid, "no"), badRequest, "", coffer.Invalid, false},
		{
			coffer.E("x", coffer.Invalid, &coffer.Fault{Target: "commit.protected.sub", Reason: "no"}),
			badRequest, "commit.protected.sub", coffer.Invalid, false,
		},
		{
			coffer.E("x", coffer.Invalid, &coffer.Fault{Code: coffer.NotImplemented, Reason: "no"}),
			coffer.NotImplemented, "", coffer.Invalid, false,
		},
		{coffer.E("x", coffer.Denied, nil), permissionsRequired, "", coffer.Denied, false},
		{coffer.Errorf("x", coffer.NotExist, "no"), notFound, "", coffer.NotExist, false},
		{coffer.Errorf("x", coffer.Exhausted, "no"), tooManyRequests, "", coffer.Exhausted, false},
		{coffer.Errorf("x", coffer.Unavailable, "no"), temporarilyUnavailable, "", coffer.Unavailable, false},
		{context.DeadlineExceeded, temporarilyUnavailable, "", coffer.Unavailable, false},
		{coffer.Errorf("x", coffer.Locked, "no"), badRequest, "", coffer.Locked, false},
		{coffer.Errorf("x", coffer.Conflict, "no"), badRequest, "", coffer.Conflict, false},
		{coffer.Errorf("x", coffer.Corrupt, "a secret"), serverError, "", coffer.Corrupt, true},
		{errors.New("a secret"), serverError, "", coffer.Other, true},
	} {
		w.reports, w.host.err = nil, row.err
		text := w.ask(t, asked(objectQueryRequest, query1))
		refused(t, text, row.code, row.target)
		if (len(w.reports) == 1) != row.reported {
			t.Errorf("%v: reports %q", row.err, w.reports)
		}
		a, err := parseAnswer("ask", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var f *coffer.Fault
		if err = errorFrom("ask", a); !errors.Is(err, row.kind) || !errors.As(err, &f) || f.Target != row.target ||
			(f.Code == coffer.NotImplemented) != (row.code == coffer.NotImplemented) {
			t.Errorf("%v became %v", row.err, err)
		}
	}
	w.host.err, w.host.panics, w.reports = nil, true, nil
	refused(t, w.ask(t, asked(objectQueryRequest, query1)), serverError, "")
	if len(w.reports) != 1 || strings.Contains(w.reports[0], "secret") {
		t.Errorf("reports %q", w.reports)
	}
}

func TestPanicBeforeTheEnvelope(t *testing.T) {
	w := newWorld(t, func(o *ServerOptions) { o.AnswerKey = nil; o.AnswerKey = (*world)(nil).answerKey })
	inClear(t, w.post(w.sealed(t, modernLetter("{}"))), 500, serverError)
	if len(w.reports) != 1 || !slices.Equal(w.observed, []string{"unknown 500"}) {
		t.Errorf("reports %q, observed %q", w.reports, w.observed)
	}
}

func TestAnswers(t *testing.T) {
	w := newWorld(t, nil)
	v, _ := readVectors()
	c := v.Commits[0].Commit
	rev := c.Rev()
	at := time.Date(2019, 3, 29, 8, 0, 0, 0, time.UTC)
	w.host.revs, w.host.added = []coffer.CommitRev{rev}, 3
	w.host.objects = &coffer.ObjectPage{Objects: []coffer.HubObject{{
		Interface: "Collections", Context: "http://schema.org", Type: "MusicPlaylist", ID: rev, CreatedBy: alice, CreatedAt: at,
		Sub: alice, Strategy: "basic", Meta: json.RawMessage(`{"title":"x"}`), UpdatedBy: bob, UpdatedAt: at,
		Revision: rev, Deleted: true,
	}}, Skip: "more"}
	w.host.commits = func(*coffer.CommitQuery) *coffer.CommitPage {
		return &coffer.CommitPage{Commits: []*coffer.Commit{&c}, Watermark: "mark"}
	}
	w.host.kinds = &coffer.HubDescription{
		Kinds:   []coffer.HubKind{{Interface: "Profile", Context: "c", Type: "t", Allow: "-R--", Schema: json.RawMessage(`{}`)}},
		OpenAPI: json.RawMessage(`{"openapi":"3.1.0"}`),
	}
	w.host.items = []coffer.HubItem{{ID: "1", Data: json.RawMessage(`{"openapi":"3.1.0"}`)}}
	commitJSON := `{"protected":"` + c.Protected + `","header":{},"payload":"` + c.Payload + `","signature":"` + c.Signature + `"}`
	head := `{"@context":"` + schemaContext + `","@type":`
	for _, row := range []struct{ request, called, answer string }{
		{asked(writeRequest, `"commit":`+commitJSON), "Write", head + `"WriteResponse","revisions":["` + rev.String() + `"]}`},
		{
			asked(objectQueryRequest, query1), "Objects", head + `"ObjectQueryResponse","objects":[{"interface":"Collections",` +
				`"context":"http://schema.org","type":"MusicPlaylist","id":"` + rev.String() + `","created_by":"did:test:alice",` +
				`"created_at":"2019-03-29T08:00:00.000Z","sub":"did:test:alice","commit_strategy":"basic","meta":{"title":"x"},` +
				`"updated_by":"did:test:bob","updated_at":"2019-03-29T08:00:00.000Z","revision":"` + rev.String() +
				`","deleted":true}],"skip_token":"more"}`,
		},
		{
			asked(commitQueryRequest, ""), "Commits",
			head + `"CommitQueryResponse","commits":[` + commitJSON + `],"skip_token":null,"watermark":"mark"}`,
		},
		{asked(adoptRequest, `"commits":[`+commitJSON+`]`), "Adopt", head + `"AdoptResponse","added":3}`},
		{
			asked(descriptionRequest, ""), "Describe", head + `"DescriptionResponse","kinds":[{"interface":"Profile","context":"c",` +
				`"type":"t","allow":"-R--","schema":{}}],"openapi":{"openapi":"3.1.0"}}`,
		},
		{asked(servicesRequest, ""), "Perform", head + `"ServicesResponse","services":[{"openapi":"3.1.0"}]}`},
	} {
		if got := w.ask(t, row.request); got != row.answer {
			t.Errorf("got  %s\nwant %s", got, row.answer)
		}
		if w.host.called != row.called || w.host.owner != alice || w.host.who != modern {
			t.Errorf("%s for %s by %s", w.host.called, w.host.owner, w.host.who)
		}
	}
	// What is empty is an empty list, and the end is null.
	w.host.objects, w.host.revs, w.host.items, w.host.kinds = new(coffer.ObjectPage), nil, nil, new(coffer.HubDescription)
	w.host.commits = func(*coffer.CommitQuery) *coffer.CommitPage { return new(coffer.CommitPage) }
	for _, row := range [][2]string{
		{asked(writeRequest, `"commit":`+commitJSON), `"revisions":[]}`},
		{asked(objectQueryRequest, query1), `"objects":[],"skip_token":null}`},
		{asked(commitQueryRequest, `"query":null`), `"commits":[],"skip_token":null}`},
		{asked(descriptionRequest, ""), `"kinds":[]}`},
		{asked(servicesRequest, ""), `"services":[]}`},
	} {
		if got := w.ask(t, row[0]); !strings.HasSuffix(got, row[1]) {
			t.Errorf("got %s, want %s", got, row[1])
		}
	}
	if i := slices.Index(w.observed, "WriteRequest 200"); i != 0 {
		t.Errorf("observed %q", w.observed)
	}
}

func TestQueriesReachTheHost(t *testing.T) {
	w := newWorld(t, nil)
	rev := coffer.CommitRev{0xaa}
	w.ask(t, asked(objectQueryRequest, `"purpose":"research","query":{"interface":"Collections","context":"c","type":"t","object_id":["`+
		rev.String()+`"],"skip_token":"s","filters":[{"type":"eq","field":"f","value":""}],"filter":"a:b","sort":"-created_at",`+
		`"no_deleted":true,"since":"w","limit":7}`))
	q := w.host.arg.(*coffer.ObjectQuery)
	if q.Interface != "Collections" || q.Context != "c" || q.Type != "t" || !slices.Equal(q.IDs, []coffer.CommitRev{rev}) ||
		q.Skip != "s" || !slices.Equal(q.Filters, []coffer.FieldFilter{{Type: "eq", Field: "f"}}) || q.Filter != "a:b" ||
		q.Sort != "-created_at" || !q.NoDeleted || q.Since != "w" || q.Limit != 7 {
		t.Errorf("%+v", q)
	}
	if w.host.purpose != "research" {
		t.Errorf("purpose %q", w.host.purpose)
	}
	// Of an empty list of objects there is none; commits are then asked for without such a condition.
	w.ask(t, asked(objectQueryRequest, `"query":{"interface":"Collections","object_id":[]}`))
	if q := w.host.arg.(*coffer.ObjectQuery); !slices.Equal(q.IDs, []coffer.CommitRev{{}}) {
		t.Errorf("%+v", q)
	}
	for _, members := range []string{`"query":{"object_id":[]},"fields":[]`, `"query":{"revision":[]}`} {
		w.host.arg = nil
		w.ask(t, asked(commitQueryRequest, members))
		if q, ok := w.host.arg.(*coffer.CommitQuery); !ok || len(q.Objects)+len(q.Revisions) > 0 {
			t.Errorf("%s: %+v", members, w.host.arg)
		}
	}
	w.ask(t, asked(commitQueryRequest, `"query":{"revision":["`+rev.String()+`"],"skip_token":null,"limit":3}`))
	if q := w.host.arg.(*coffer.CommitQuery); q.Objects != nil || !slices.Equal(q.Revisions, []coffer.CommitRev{rev}) || q.Limit != 3 {
		t.Errorf("%+v", q)
	}
}

// TestLargePages: a page that is too large is asked for again, shorter.
func TestLargePages(t *testing.T) {
	w := newWorld(t, func(o *ServerOptions) { o.Limits.Answer = 1000 })
	w.host.commits = func(q *coffer.CommitQuery) *coffer.CommitPage {
		n := q.Limit
		if n == 0 {
			n = 100
		}
		page := &coffer.CommitPage{Skip: "more"}
		for range n {
			page.Commits = append(page.Commits, &coffer.Commit{Payload: strings.Repeat("x", 300)})
		}
		return page
	}
	if got := strings.Count(w.ask(t, asked(commitQueryRequest, "")), `"payload"`); got != 3 {
		t.Errorf("%d commits", got)
	}
	w.o.Limits.Answer = 10
	if got := strings.Count(w.ask(t, asked(commitQueryRequest, "")), `"payload"`); got != 1 {
		t.Errorf("%d commits", got)
	}
}

func TestNewServer(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*ServerOptions){
		"host":   func(o *ServerOptions) { o.Host = nil },
		"key":    func(o *ServerOptions) { o.Key = nil },
		"answer": func(o *ServerOptions) { o.AnswerKey = nil },
		"now":    func(o *ServerOptions) { o.Now = nil },
		"secret": func(o *ServerOptions) { o.Secret = [32]byte{} },
		"keys":   func(o *ServerOptions) { o.Keys = nil },
		"mute":   func(o *ServerOptions) { o.Keys = []Keys{w.known["did:test:mute"]} },
	} {
		o := w.o
		change(&o)
		if _, err := NewServer(o); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDescription(t *testing.T) {
	w := newWorld(t, func(o *ServerOptions) { o.Endpoint = "https://hub.example/.identity" })
	for _, method := range []string{"GET", "HEAD"} {
		a := w.do(httptest.NewRequest(method, "/.identity/api/v1.0", nil))
		var d Description
		if a.Code != 200 || json.Unmarshal(a.Body.Bytes(), &d) != nil {
			t.Fatal(a.Code, a.Body)
		}
		if d.DID != hubDID || !slices.Equal(d.DIDs, []string{hubDID, "did:test:alias"}) || len(d.Interfaces) != 6 ||
			d.Endpoint != "https://hub.example/.identity" || !slices.Equal(d.Algorithms.Encrypt, []string{"ECDH-ES", "RSA-OAEP"}) ||
			!slices.Equal(d.Strategies, []string{"basic"}) || d.Limits.Body != 2<<20 || len(d.Requests) != 6 || len(d.Verbs) != 8 {
			t.Errorf("%s", a.Body)
		}
	}
}

func TestVectors(t *testing.T) {
	w := newWorld(t, nil)
	v, err := readVectors()
	if err != nil {
		t.Fatal(err)
	}
	w.host.objects = new(coffer.ObjectPage)
	for _, e := range v.Envelopes {
		t.Run(e.Name, func(t *testing.T) {
			w.host.called = ""
			a := w.post(e.JWE)
			if e.AccessToken == "" {
				h, token := w.opened(t, a, e.Signer)
				if h.Nonce != e.Nonce || h.Alg != "RS256" {
					t.Errorf("%+v", h)
				}
				if _, ok := w.tokens.check(token, strings.TrimSuffix(e.Signer, "#key-1"), w.now); !ok {
					t.Error("the token is not good")
				}
				return
			}
			// Their access token is not ours: the client would ask for one and send the request again.
			inClear(t, a, 401, authenticationFailed)
			if w.host.called != "" {
				t.Error("the host was asked")
			}
			_, text := w.opened(t, w.post(w.sealed(t, letter{from: e.Signer, to: hubDID + "#key-1", payload: e.Body})), e.Signer)
			if w.host.called == "" || w.host.owner != alice || w.host.who != strings.TrimSuffix(e.Signer, "#key-1") {
				t.Errorf("%s for %s by %s: %s", w.host.called, w.host.owner, w.host.who, text)
			}
		})
	}
	for _, c := range v.Commits {
		b, _ := json.Marshal(c.Commit)
		w.ask(t, asked(writeRequest, `"commit":`+string(b)))
		if got := w.host.arg.(*coffer.Commit); got.Rev().String() != c.Rev || got.Protected != c.Commit.Protected ||
			got.Payload != c.Commit.Payload || got.Signature != c.Commit.Signature {
			t.Errorf("%s: changed on the way", c.Name)
		}
	}
}

// TestDescribe asks hubs, and what is none, what they say of themselves.
func TestDescribe(t *testing.T) {
	w := newWorld(t, nil)
	answers := map[string]http.HandlerFunc{
		"/hub":       w.Server.ServeHTTP,
		"/none":      http.NotFound,
		"/broken":    func(o http.ResponseWriter, _ *http.Request) { o.WriteHeader(http.StatusBadGateway) },
		"/text":      func(o http.ResponseWriter, _ *http.Request) { io.WriteString(o, "hello") },
		"/nobody":    func(o http.ResponseWriter, _ *http.Request) { io.WriteString(o, "{}") },
		"/long":      func(o http.ResponseWriter, _ *http.Request) { o.Write(make([]byte, maxDescription+1)) },
		"/elsewhere": func(o http.ResponseWriter, r *http.Request) { http.Redirect(o, r, "/hub", http.StatusFound) },
	}
	at := httptest.NewServer(http.HandlerFunc(func(o http.ResponseWriter, r *http.Request) { answers[r.URL.Path](o, r) }))
	defer at.Close()
	d, err := Describe(t.Context(), nil, at.URL+"/hub")
	if err != nil || d.DID != hubDID || d.Own() != hubDID {
		t.Fatalf("%+v, %v", d, err)
	}
	if own := (&Description{DID: "did:web:a", DIDs: []string{"did:web:a", "did:key:b"}}).Own(); own != "did:key:b" {
		t.Errorf("its own name is %s", own)
	}
	for where, want := range map[string]coffer.Kind{
		at.URL + "/none": coffer.NotExist, at.URL + "/text": coffer.NotExist, at.URL + "/nobody": coffer.NotExist,
		at.URL + "/long": coffer.NotExist, at.URL + "/elsewhere": coffer.NotExist, at.URL + "/broken": coffer.Unavailable,
		"http://127.0.0.1:1/": coffer.Unavailable, "http://hub.example/": coffer.Invalid, "hub": coffer.Invalid,
	} {
		if _, err := Describe(t.Context(), nil, where); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", where, err, want)
		}
	}
}
