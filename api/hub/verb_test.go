package hub

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// spoken is a request of the verb plane by the modern one.
func spoken(requestType, members string) string {
	if members != "" {
		members = "," + members
	}
	return fmt.Sprintf(`{"@type":%q,"iss":%q,"aud":%q%s}`, requestType, modern, alice, members)
}

// TestH32H36Acts sends messages that say all by themselves: issuer, audience, type, request, meta, payload. Each answer
// has the hash of its request.
func TestH32H36Acts(t *testing.T) {
	w := newWorld(t, nil)
	raw := func(s ...string) (all []json.RawMessage) {
		for _, one := range s {
			all = append(all, json.RawMessage(one))
		}
		return all
	}
	for _, row := range []struct {
		requestType, members string
		want                 coffer.HubAct
	}{
		{"Collections/Add", `"request":{"schema":"schema.org/MusicPlaylist"},"meta":{"title":"x"},"payload":{"name":"x"}`, coffer.HubAct{
			Interface: "Collections", Verb: "Add", Context: "schema.org", Type: "MusicPlaylist",
			Meta: json.RawMessage(`{"title":"x"}`), Payload: raw(`{"name":"x"}`),
		}},
		{"collections/CREATE", `"request":{"schema":"http://schema.org","type":"MusicPlaylist"},` +
			`"payload":{"meta":{"title":"x"},"data":{"name":"x"}}`, coffer.HubAct{
			Interface: "Collections", Verb: "Add", Context: "http://schema.org", Type: "MusicPlaylist",
			Meta: json.RawMessage(`{"title":"x"}`), Payload: raw(`{"name":"x"}`),
		}},
		{"Permissions/Add", `"payload":[{"a":1},"b"]`, coffer.HubAct{Interface: "Permissions", Verb: "Add", Payload: raw(`{"a":1}`, `"b"`)}},
		{"Actions/Add", `"payload":{"data":1,"further":2}`, coffer.HubAct{
			Interface: "Actions", Verb: "Add", Payload: raw(`{"data":1,"further":2}`),
		}},
		{"Collections/Request", `"request":{"collection":"http://schema.org/Game","skip":3,"take":4,"filter":"a:b"}`, coffer.HubAct{
			Interface: "Collections", Verb: "Request", Context: "http://schema.org", Type: "Game", Skip: 3, Take: 4, Filter: "a:b",
		}},
		{"Collections/Read", `"filter":"a:b"`, coffer.HubAct{Interface: "Collections", Verb: "Request", Filter: "a:b"}},
		{"Profile/Request", ``, coffer.HubAct{Interface: "Profile", Verb: "Request"}},
		{"Stores/Request", `"request":{"key":"k"}`, coffer.HubAct{Interface: "Stores", Verb: "Request", Key: "k"}},
		{"Stores/Update", `"request":{"key":"k"},"payload":{"data":"v"}`, coffer.HubAct{
			Interface: "Stores", Verb: "Update", Key: "k", Payload: raw(`"v"`),
		}},
		{"Collections/Update", `"request":{"id":"i"},"payload":[{"a":1}]`, coffer.HubAct{
			Interface: "Collections", Verb: "Update", ID: "i", Payload: raw(`{"a":1}`),
		}},
		{"Collections/Remove", `"request":{"id":"i"}`, coffer.HubAct{Interface: "Collections", Verb: "Remove", ID: "i"}},
		{"Collections/Delete", `"request":{"id":"i"}`, coffer.HubAct{Interface: "Collections", Verb: "Remove", ID: "i"}},
		{"Services/Execute", `"request":{"schema":"Booking"}`, coffer.HubAct{Interface: "Services", Verb: "Execute", Type: "Booking"}},
	} {
		t.Run(row.requestType, func(t *testing.T) {
			request := spoken(row.requestType, row.members)
			text := w.ask(t, request)
			if got := w.host.arg.(*coffer.HubAct); !reflect.DeepEqual(*got, row.want) {
				t.Errorf("got  %+v\nwant %+v", *got, row.want)
			}
			if w.host.owner != alice || w.host.who != modern {
				t.Errorf("for %s by %s", w.host.owner, w.host.who)
			}
			payload := `[]`
			if strings.HasSuffix(row.requestType, "Delete") {
				payload = `{"success":true}`
			}
			want := `{"@type":"` + row.want.Interface + `/Response","response":{"requestHash":"` +
				requestHash([]byte(request)) + `"},"payload":` + payload + `}`
			if text != want {
				t.Errorf("got  %s\nwant %s", text, want)
			}
		})
	}
	if !slices.Contains(w.observed, "Collections/Add 200") || slices.Contains(w.observed, "collections/CREATE 200") {
		t.Errorf("observed %q", w.observed)
	}
}

func TestItems(t *testing.T) {
	w := newWorld(t, nil)
	w.host.items = []coffer.HubItem{
		{ID: "1", Meta: json.RawMessage(`{ "title": "x" }`), Data: json.RawMessage(`{"name":"y"}`), Author: "did:test:bob"},
		{ID: "2", Meta: json.RawMessage(`{"id":"own"}`), Data: json.RawMessage(`{"meta":"own"}`)},
		{ID: "3", Data: json.RawMessage(`"text"`)},
	}
	for _, row := range [][2]string{
		{"Collections/Request", `[{"@id":"1","meta":{"title":"x"},"name":"y"},{"@id":"2","meta":"own"},{"@id":"3","@value":"text"}]`},
		{"Collections/Read", `[{"id":"1","meta":{"id":"1","title":"x"},"data":{"name":"y"},"author":"did:test:bob"},` +
			`{"id":"2","meta":{"id":"own"},"data":{"meta":"own"}},{"id":"3","meta":{"id":"3"},"data":"text"}]`},
	} {
		if text := w.ask(t, spoken(row[0], "")); !strings.HasSuffix(text, `"payload":`+row[1]+"}") {
			t.Errorf("%s: %s", row[0], text)
		}
	}
	if got := string(w.host.items[0].Meta); got != `{ "title": "x" }` {
		t.Errorf("the host's meta became %s", got)
	}
}

func TestBadActs(t *testing.T) {
	w := newWorld(t, nil)
	for _, row := range []struct{ name, payload, code, target string }{
		{"iss", strings.Replace(spoken("Profile/Request", ""), modern, alice, 1), permissionsRequired, "iss"},
		{"no aud", `{"@type":"Profile/Request","iss":"` + modern + `"}`, badRequest, "aud"},
		{"skip", spoken("Profile/Request", `"request":{"skip":-1}`), badRequest, "request.skip"},
		{"take", spoken("Profile/Request", `"request":{"take":-1}`), badRequest, "request.take"},
		{"take a text", spoken("Profile/Request", `"request":{"take":"1"}`), badRequest, "request.take"},
		{"schema", spoken("Profile/Request", `"request":{"schema":"http://schema.org/"}`), badRequest, "request.schema"},
		{"schema a list", spoken("Profile/Request", `"request":{"schema":["x"]}`), badRequest, "request.schema"},
		{
			"long key",
			spoken("Stores/Request", `"request":{"key":"`+strings.Repeat("x", maxText+1)+`"}`),
			badRequest, "request.key",
		},
		{"request a text", spoken("Profile/Request", `"request":"x"`), badRequest, "request"},
		{"meta a text", spoken("Profile/Add", `"meta":"x"`), badRequest, "meta"},
		{"meta in payload", spoken("Profile/Create", `"payload":{"meta":"x","data":{}}`), badRequest, "payload.meta"},
		{
			"many objects",
			spoken("Collections/Add", `"payload":[`+strings.Repeat("1,", maxList)+`1]`),
			badRequest, "payload",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := w.ask(t, row.payload)
			refused(t, text, row.code, row.target)
			// What could be read is answered with its hash.
			if !strings.Contains(text, requestHash([]byte(row.payload))) && row.name != "no aud" &&
				!strings.Contains(row.name, " a ") {
				t.Errorf("no hash: %s", text)
			}
			if w.host.called != "" {
				t.Error("the host was asked")
			}
		})
	}
}

func TestNotOffered(t *testing.T) {
	w := newWorld(t, nil)
	for _, name := range []string{
		"Secrets/Request", "Secrets/a/b/c/Request", "Secrets/", "/", "/Request", "Collections/Drop", "Collections/", "Collections/a/Request",
		"Features/Add",
	} {
		for _, path := range []string{"/", "/.identity", "/a/b/c"} {
			r := httptest.NewRequest("POST", path, strings.NewReader(w.sealed(t, modernLetter(spoken(name, "")))))
			r.Header.Set("Content-Type", ContentType)
			inClear(t, w.do(r), 501, coffer.NotImplemented)
		}
	}
	if w.host.called != "" {
		t.Error("the host was asked")
	}
	w.host.err = coffer.E("perform", coffer.Invalid, &coffer.Fault{Code: coffer.NotImplemented, Reason: "did:test:secret"})
	inClear(t, w.post(w.sealed(t, modernLetter(spoken("Services/Execute", "")))), 501, coffer.NotImplemented)

	w.host.err = coffer.E("perform", coffer.Invalid, &coffer.Fault{Location: "https://relay.example/.identity"})
	a := w.post(w.sealed(t, modernLetter(spoken("Services/Execute", ""))))
	inClear(t, a, 303, coffer.NotImplemented)
	if a.Header().Get("Location") != "https://relay.example/.identity" {
		t.Errorf("header %v", a.Header())
	}
	// Nobody but who is known is told what is offered.
	l := modernLetter(spoken("Secrets/Request", ""))
	l.jws = unsigned
	inClear(t, w.post(w.sealed(t, l)), 401, authenticationFailed)
}

func TestFeatures(t *testing.T) {
	w := newWorld(t, nil)
	text := w.ask(t, spoken("Features/Request", ""))
	get := w.do(httptest.NewRequest("GET", "/", nil)).Body.String()
	if !strings.Contains(text, `"payload":[`+get+`]`) {
		t.Errorf("%s", text)
	}
}
