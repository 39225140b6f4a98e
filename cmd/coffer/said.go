package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/grant"
)

// A saying puts the messages of one type into words, as what follows the sender's name. It is empty for a message that
// has not the form of its type: that is shown like one of an unknown type.
type saying func(m *hub.Message, c *checked) string

// sayings are the types of messages that are known, by CONTEXT/TYPE.
var sayings = map[string]saying{
	grant.PermissionContext + "/" + hub.PermissionRequestAction:  sayRequest,
	grant.PermissionContext + "/" + hub.PermissionResponseAction: sayResponse,
	grant.PermissionContext + "/" + hub.RequestAttestationAction: attestation(func(a *hub.Attestation, _ *checked) string {
		return "asks for a proof of " + orSomething(strings.Join(a.Types, " or ")) + forWhat(a.Purpose)
	}),
	grant.PermissionContext + "/" + hub.OfferAttestationAction: attestation(func(a *hub.Attestation, _ *checked) string {
		return "offers a proof of " + orSomething(strings.Join(a.Types, " or ")) + forWhat(a.Purpose)
	}),
	grant.PermissionContext + "/" + hub.ConsentAttestationAction: attestation(func(a *hub.Attestation, c *checked) string {
		switch {
		case c.problem != "":
			return "says something of a proof (" + c.problem + ")"
		case a.Consent:
			return "agrees to send the proof"
		}
		return "does not agree to send the proof"
	}),
	grant.PermissionContext + "/" + hub.DeliverAttestationAction: attestation(sayProof),

	schemaOrg + "/" + messageType: act(func(a *schemaAction) string { return prefixed("", a.text()) }),
	schemaOrg + "/" + replyType:   act(func(a *schemaAction) string { return prefixed("", a.text()) }),
	schemaOrg + "/AskAction":      act(func(a *schemaAction) string { return prefixed("asks: ", cmp.Or(thingName(a.Question), a.text())) }),
	schemaOrg + "/ReadAction":     act(func(a *schemaAction) string { return prefixed("asks you to read ", thingName(a.Object)) }),
	schemaOrg + "/VoteAction": act(func(a *schemaAction) string {
		return prefixed("votes for ", cmp.Or(thingName(a.Candidate), thingName(a.Object)))
	}),
	schemaOrg + "/RsvpAction": act(sayRsvp),
}

// say puts a message into words: those of its type, or else its JSON.
func say(m *hub.Message, c *checked) string {
	if m.Unreadable {
		return "left something that cannot be opened: it was not sealed for you"
	}
	if s := sayings[m.Kind.Context+"/"+m.Kind.Type]; s != nil {
		if text := s(m, c); text != "" {
			return text
		}
	}
	return m.Kind.Context + "/" + m.Kind.Type + " " + compact(m.Value)
}

// answerText says how messages of a kind are answered, if they ask for something.
func answerText(k hub.Kind) string {
	switch k.Context + "/" + k.Type {
	case grant.PermissionContext + "/" + hub.PermissionRequestAction:
		return "--grant, or --no"
	case grant.PermissionContext + "/" + hub.RequestAttestationAction:
		return "--consent yes, or no; and then --proof FILE"
	case schemaOrg + "/" + messageType, schemaOrg + "/" + replyType, schemaOrg + "/AskAction":
		return "TEXT"
	}
	return ""
}

func sayRequest(m *hub.Message, c *checked) string {
	switch {
	case m.Copy:
		return "asked for permissions"
	case c.problem != "":
		return "says that it is a request for permissions (" + c.problem + ")"
	case c.request == nil:
		return ""
	}
	asks := "asks for " + orSomething(wantedText(c.request.Permissions))
	if len(c.request.Sets) > 0 {
		asks += ", as in " + strings.Join(c.request.Sets, ", ")
	}
	return asks + forWhat(c.request.Purpose)
}

func sayResponse(m *hub.Message, c *checked) string {
	switch {
	case m.Copy:
		return "answered the request"
	case c.problem != "":
		return "says that it answers a request for permissions (" + c.problem + ")"
	case c.answer == nil:
		return ""
	case len(c.answer.Granted) == 0:
		return "refuses what you asked for"
	}
	return "grants " + wantedText(c.answer.Granted)
}

// sayProof names what was verified, and by whose word it holds.
func sayProof(a *hub.Attestation, c *checked) string {
	if c.problem != "" || len(c.credentials) == 0 {
		return fmt.Sprintf("sends %s of JSON for a proof%s", bytesText(int64(len(a.Proof))), prefixed(": ", c.problem))
	}
	var all []string
	for _, one := range c.credentials {
		text := strings.Join(one.Types, " and ") + ", signed by " + one.issuerName
		if one.Issuer == one.subject {
			text = strings.Join(one.Types, " and ") + ", signed by nobody else"
		}
		if one.Until != nil {
			text += ", until " + timeText(*one.Until)
		}
		if one.Revocable {
			text += ", if it was not revoked since"
		}
		all = append(all, text)
	}
	return "proves " + strings.Join(all, "; ")
}

// wantedText names permissions to a person.
func wantedText(list []hub.Wanted) string {
	var all []string
	for _, w := range list {
		all = append(all, w.Allow+" on "+kindText(w.Kind()))
	}
	return strings.Join(all, ", ")
}

func attestation(words func(a *hub.Attestation, c *checked) string) saying {
	return func(m *hub.Message, c *checked) string {
		var a hub.Attestation
		if m.Into(&a) != nil {
			return ""
		}
		return words(&a, c)
	}
}

// A schemaAction is what is understood of an action of schema.org. Its members are texts, or things that have names.
type schemaAction struct {
	Text         string          `json:"text"`
	Description  string          `json:"description"`
	Comment      json.RawMessage `json:"resultComment"`
	Question     json.RawMessage `json:"question"`
	Object       json.RawMessage `json:"object"`
	Event        json.RawMessage `json:"event"`
	Candidate    json.RawMessage `json:"candidate"`
	RsvpResponse string          `json:"rsvpResponse"`
}

func act(words func(a *schemaAction) string) saying {
	return func(m *hub.Message, _ *checked) string {
		var a schemaAction
		if m.Into(&a) != nil {
			return ""
		}
		return words(&a)
	}
}

func (a *schemaAction) text() string { return cmp.Or(a.Text, thingName(a.Comment), a.Description) }

func sayRsvp(a *schemaAction) string {
	to := cmp.Or(thingName(a.Event), thingName(a.Object))
	if to == "" {
		return ""
	}
	answer := a.RsvpResponse[strings.LastIndexByte(a.RsvpResponse, '/')+1:]
	switch strings.TrimPrefix(answer, "RsvpResponse") {
	case "Yes":
		return "comes to " + to
	case "No":
		return "does not come to " + to
	case "Maybe":
		return "may come to " + to
	}
	return ""
}

// thingName returns what a thing is called: a text itself, or by its name.
func thingName(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	var thing struct {
		Name, Text, Headline, URL string
	}
	if json.Unmarshal(v, &thing) != nil {
		return ""
	}
	return cmp.Or(thing.Name, thing.Text, thing.Headline, thing.URL)
}

// prefixed is empty when there is nothing to say.
func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func orSomething(s string) string { return cmp.Or(s, "something") }

func forWhat(purpose string) string { return prefixed(", for: ", purpose) }
