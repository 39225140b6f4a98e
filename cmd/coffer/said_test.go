package main

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/grant"
)

func TestSay(t *testing.T) {
	const attest = grant.PermissionContext
	for _, c := range []struct{ context, kind, value, want string }{
		{schemaOrg, "Message", `{"text":"hello"}`, "hello"},
		{schemaOrg, "Message", `{"description":"hello"}`, "hello"},
		{schemaOrg, "Message", `{"text":7}`, `schema.org/Message {"text":7}`},
		{schemaOrg, "Message", `"hello"`, `schema.org/Message "hello"`},
		{schemaOrg, "ReplyAction", `{"resultComment":{"text":"yes"}}`, "yes"},
		{schemaOrg, "AskAction", `{"question":"Why?"}`, "asks: Why?"},
		{schemaOrg, "AskAction", `{"question":{"name":"Why?"}}`, "asks: Why?"},
		{schemaOrg, "ReadAction", `{"object":{"url":"https://a.example"}}`, "asks you to read https://a.example"},
		{schemaOrg, "VoteAction", `{"candidate":"Ada"}`, "votes for Ada"},
		{schemaOrg, "VoteAction", `{"candidate":7}`, `schema.org/VoteAction {"candidate":7}`},
		{schemaOrg, "RsvpAction", `{"event":"Party","rsvpResponse":"RsvpResponseNo"}`, "does not come to Party"},
		{schemaOrg, "RsvpAction", `{"event":"Party","rsvpResponse":"http://schema.org/RsvpResponseMaybe"}`, "may come to Party"},
		{schemaOrg, "RsvpAction", `{"event":"Party"}`, `schema.org/RsvpAction {"event":"Party"}`},
		{"cook.example", "Message", `{"text": "hello"}`, `cook.example/Message {"text":"hello"}`},
		{attest, hub.RequestAttestationAction, `{"types":["A","B"],"purpose":"p"}`, "asks for a proof of A or B, for: p"},
		{attest, hub.RequestAttestationAction, `{}`, "asks for a proof of something"},
		{attest, hub.OfferAttestationAction, `{"types":["A"]}`, "offers a proof of A"},
		{attest, hub.ConsentAttestationAction, `{"consent":true}`, "agrees to send the proof"},
		{attest, hub.ConsentAttestationAction, `{}`, "does not agree to send the proof"},
		{attest, hub.DeliverAttestationAction, `{"proof":{}}`, "sends 2 B of JSON for a proof"},
	} {
		m := &hub.Message{Kind: hub.Kind{Context: c.context, Type: c.kind}, Value: json.RawMessage(c.value)}
		if got := say(m, new(checked)); got != c.want {
			t.Errorf("%s/%s %s: %q, want %q", c.context, c.kind, c.value, got, c.want)
		}
	}
	m := &hub.Message{Unreadable: true, Kind: hub.Kind{Context: schemaOrg, Type: "Message"}}
	if got, want := say(m, new(checked)), "left something that cannot be opened: it was not sealed for you"; got != want {
		t.Errorf("unreadable: %q, want %q", got, want)
	}
}

// TestSayChecked puts what was verified, or not, into words.
func TestSayChecked(t *testing.T) {
	until := time.Date(2030, 1, 2, 3, 4, 0, 0, time.Local)
	age := proof{Types: []string{"AgeOver18"}, Issuer: "did:web:state.example", issuerName: "State", subject: "did:key:a"}
	short := age
	short.Until, short.Revocable = &until, true
	own := age
	own.subject = own.Issuer
	asks := []hub.Wanted{{Context: "c", Type: "t", Allow: "-R--"}}
	for _, c := range []struct {
		kind, value string
		checked     checked
		want        string
	}{
		{hub.DeliverAttestationAction, `{}`, checked{credentials: []proof{age}}, "proves AgeOver18, signed by State"},
		{
			hub.DeliverAttestationAction, `{}`, checked{credentials: []proof{short}},
			"proves AgeOver18, signed by State, until 2030-01-02 03:04, if it was not revoked since",
		},
		{hub.DeliverAttestationAction, `{}`, checked{credentials: []proof{own}}, "proves AgeOver18, signed by nobody else"},
		{hub.DeliverAttestationAction, `{"proof":{}}`, checked{problem: "p"}, "sends 2 B of JSON for a proof: p"},
		{hub.ConsentAttestationAction, `{"consent":true}`, checked{problem: "p"}, "says something of a proof (p)"},
		{
			hub.PermissionResponseAction, `{}`, checked{problem: "p"},
			"says that it answers a request for permissions (p)",
		},
		{hub.PermissionResponseAction, `{}`, checked{answer: &hub.PermissionAnswer{}}, "refuses what you asked for"},
		{hub.PermissionResponseAction, `{}`, checked{answer: &hub.PermissionAnswer{Granted: asks}}, "grants -R-- on c/t"},
		{hub.PermissionRequestAction, `{}`, checked{problem: "p"}, "says that it is a request for permissions (p)"},
		{hub.PermissionRequestAction, `{}`, checked{request: &hub.PermissionRequest{Permissions: asks}}, "asks for -R-- on c/t"},
	} {
		m := &hub.Message{Kind: hub.Kind{Context: grant.PermissionContext, Type: c.kind}, Value: json.RawMessage(c.value)}
		if got := say(m, &c.checked); got != c.want {
			t.Errorf("%s: %q, want %q", c.kind, got, c.want)
		}
	}
}

// TestUnsure describes a message of which it is not known who sent it: not even the name of a contact stands there.
func TestUnsure(t *testing.T) {
	m := &hub.Message{From: "did:web:bob.example", State: hub.New, Value: json.RawMessage(`{"text":"hello"}`)}
	d := (&reading{}).message(t.Context(), m, coffer.Errorf("key", coffer.Unavailable, "no answer"))
	if d.state() != "new, NOT verified" || d.who() != m.From || d.Value != nil || d.Problem != "it cannot be found out now" {
		t.Errorf("%+v", d)
	}
}

// FuzzSay puts what strangers sent into words.
func FuzzSay(f *testing.F) {
	f.Add("RsvpAction", `{"event":{"name":"Party"},"rsvpResponse":"https://schema.org/RsvpResponseYes"}`)
	f.Add("AskAction", `{"question":null,"text":"x"}`)
	f.Add("Message", `[]`)
	f.Add("Recipe", `{"salt":1}`)
	f.Fuzz(func(t *testing.T, kind, value string) {
		if !utf8.ValidString(kind) || !json.Valid([]byte(value)) {
			return // a hub's agent lets nothing else through
		}
		m := &hub.Message{Kind: hub.Kind{Context: schemaOrg, Type: kind}, Value: json.RawMessage(value)}
		said := say(m, new(checked))
		if said == "" {
			t.Error("a message that says nothing")
		}
		if n := utf8.RuneCountInString(cut(said)); n > maxGist {
			t.Errorf("cut to %d characters", n)
		}
		gist(m.Value)
	})
}
