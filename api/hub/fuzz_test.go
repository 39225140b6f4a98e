package hub

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// FuzzRequest: a request that is read means the same when it is written and read again, and what is refused is refused
// as Invalid.
func FuzzRequest(f *testing.F) {
	rev := strings.Repeat("a", 64)
	for _, s := range []string{
		asked(writeRequest, `"commit":{"protected":"x","header":{"a":1},"payload":"","signature":"x"}`),
		asked(objectQueryRequest, `"query":{"interface":"Profile","context":"c","type":"t","object_id":["`+rev+`"],`+
			`"filters":[{"type":"eq","field":"a","value":"b"}],"skip_token":null}`),
		asked(commitQueryRequest, `"query":{"revision":["`+rev+`"],"limit":3}`),
		asked(adoptRequest, `"commits":[{"protected":"x","payload":"x","signature":"x"}]`),
		spoken("Collections/Add", `"request":{"schema":"a/b"},"meta":{"title":"x"},"payload":[1,{"a":2}]`),
		spoken("Stores/Update", `"request":{"key":"k"},"payload":{"meta":{},"data":null}`),
		`{"@type":5}`, `[]`, `null`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err == nil {
			err = understand(r)
		}
		if err != nil {
			if coffer.KindOf(err) != coffer.Invalid {
				t.Fatalf("%v is not Invalid", err)
			}
			return
		}
		text, err := jose.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRequest(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if text2, err := jose.Encode(again); err != nil || string(text) != string(text2) {
			t.Fatalf("%v\n%s\n%s", err, text, text2)
		}
	})
}

// understand does with a request what comes before the host is asked.
func understand(r *request) error {
	if r.verbal() {
		iface, verb := interfaceOf(r.Type)
		a, _, err := r.act(iface, verb)
		if err == nil && (len(a.Payload) > maxList || a.Skip < 0 || a.Take < 0) {
			panic("out of bounds")
		}
		return err
	}
	for i := range r.Commits {
		if _, err := r.Commits[i].commit("commits"); err != nil {
			return err
		}
	}
	switch r.Type {
	case writeRequest:
		_, err := r.Commit.commit("commit")
		return err
	case objectQueryRequest:
		q, err := r.Query.objects()
		if err == nil && (len(q.IDs) > coffer.MaxQueryIDs || len(q.Filters) > coffer.MaxQueryFilters) {
			panic("out of bounds")
		}
		return err
	case commitQueryRequest:
		q, err := r.Query.commits()
		if err == nil && len(q.Objects)+len(q.Revisions) > coffer.MaxQueryIDs {
			panic("out of bounds")
		}
		return err
	}
	return nil
}

// FuzzAnswer: an answer is read or Corrupt, and an error made of one is short and on one line.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"@type":"WriteResponse","revisions":["` + strings.Repeat("a", 64) + `"]}`,
		`{"@type":"ObjectQueryResponse","objects":[{"created_at":"2019-03-29T08:00:00.000Z","meta":{}}],"skip_token":null}`,
		`{"@type":"CommitQueryResponse","commits":[{"protected":"x","payload":"x","signature":"x"}],"skip_token":"x"}`,
		`{"@type":"ErrorResponse","error_code":"bad_request","target":"a\nb",` +
			`"inner_error":{"timestamp":"2019-03-29T08:00:00.000Z","kind":"locked"}}`,
		`{"@type":"Profile/Response","response":{"requestHash":"x"},"payload":[{"id":"1","meta":{"id":"1","a":2},"data":1}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer("x", b)
		if err != nil {
			if coffer.KindOf(err) != coffer.Corrupt {
				t.Fatalf("%v is not Corrupt", err)
			}
			return
		}
		if text := errorFrom("x", a).Error(); len(text) > 8*maxReason || strings.ContainsAny(text, "\n\r\x00") {
			t.Fatalf("%q", text)
		}
		for i := range a.Objects {
			o := a.Objects[i].object()
			w := objectOf(&o)
			if back := w.object(); !reflect.DeepEqual(back, o) {
				t.Fatalf("%+v became %+v", o, back)
			}
		}
		for i := range a.Commits {
			if c, err := a.Commits[i].commit("x"); err == nil && commitOf(c).Protected != a.Commits[i].Protected {
				t.Fatal("a commit changed")
			}
		}
		var items []wrapped
		if jose.DecodeOpen(a.Payload, &items) == nil {
			for _, i := range items {
				withoutID(i.Meta, i.ID)
			}
		}
	})
}

// FuzzToken: only what was issued is good.
func FuzzToken(f *testing.F) {
	w := newWorld(f, nil)
	f.Add(w.tokens.issue(modern, w.now))
	f.Add("opaque-token")
	f.Fuzz(func(t *testing.T, token string) {
		if _, ok := w.tokens.check(token, modern, w.now); ok && token != w.tokens.issue(modern, w.now) {
			t.Fatalf("%q is good", token)
		}
	})
}
