package hub

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// Types of actions by which permissions and attestations are asked for and given. Their context is
// "schema.identity.foundation/0.1".
const (
	PermissionRequestAction  = "PermissionRequestAction"
	PermissionResponseAction = "PermissionResponseAction"

	OfferAttestationAction   = "OfferAttestationAction"
	RequestAttestationAction = "RequestAttestationAction"
	ConsentAttestationAction = "ConsentAttestationAction"
	DeliverAttestationAction = "DeliverAttestationAction"
)

const actionContext = grant.PermissionContext

// A PermissionRequest asks an owner for permissions.
type PermissionRequest struct {
	From        string   // who asks, as signed
	Callback    string   // where the answer may also be sent: a URL; may be empty
	Nonce       string   // ties the answer to the request; made when it is empty
	Sets        []string // hub URIs of public PermissionSets that say what is meant, for people
	Purpose     string
	Permissions []Wanted
}

// Wanted is a permission that is asked for.
type Wanted struct {
	Interface string `json:"interface,omitempty"`
	Context   string `json:"context"`
	Type      string `json:"type"`
	Allow     string `json:"allow"`
}

// Kind returns what it is for.
func (w Wanted) Kind() Kind { return Kind{Interface: w.Interface, Context: w.Context, Type: w.Type} }

type requestClaims struct {
	Issuer      string   `json:"iss"`
	Audience    string   `json:"aud"`
	Callback    string   `json:"callback,omitempty"`
	Nonce       string   `json:"nonce"`
	Requested   []string `json:"requested"`
	Purpose     string   `json:"purpose,omitempty"`
	Permissions []Wanted `json:"permissions,omitempty"`
}

type responseClaims struct {
	Issuer   string            `json:"iss"`
	Audience string            `json:"aud"`
	Nonce    string            `json:"nonce"`
	Granted  []Wanted          `json:"granted,omitempty"`
	Errors   []permissionError `json:"permission_errors,omitempty"`
}

type permissionError struct {
	Error string `json:"error"`
	Code  string `json:"error_code"`
}

// maxWanted bounds what one request asks for.
const maxWanted = 100

// RequestPermission leaves a signed request in the hub of its owner. o may be nil; without its Copy no answer will be
// known to be one.
func (h *Hub) RequestPermission(ctx context.Context, r PermissionRequest, o *SendOptions) (URI, error) {
	if len(r.Permissions) > maxWanted || len(r.Sets) > maxWanted {
		return URI{}, coffer.Errorf("request", coffer.Invalid, "asks for too much at once")
	}
	if r.Nonce == "" {
		r.Nonce = rand.Text()
	}
	if r.Sets == nil {
		r.Sets = []string{}
	}
	text, err := h.signJWT(ctx, requestClaims{
		Issuer: h.me, Audience: h.o.Owner, Callback: r.Callback, Nonce: r.Nonce, Requested: r.Sets,
		Purpose: r.Purpose, Permissions: r.Permissions,
	})
	if err != nil {
		return URI{}, err
	}
	return h.Send(ctx, Action{
		Context: actionContext, Type: PermissionRequestAction, Value: map[string]string{"request": text},
	}, o)
}

// PermissionRequest returns what a message asks for. Invalid if it is no request, Corrupt if its sender did not sign
// it, for this owner.
func (h *Hub) PermissionRequest(ctx context.Context, m *Message) (*PermissionRequest, error) {
	var v struct {
		Request string `json:"request"`
	}
	var c requestClaims
	if m.Kind.Type != PermissionRequestAction || m.Unreadable || m.Into(&v) != nil {
		return nil, coffer.Errorf("request", coffer.Invalid, "not a request for permissions")
	}
	if err := readJWT(ctx, h.o.Resolver, v.Request, m.From, &c); err != nil {
		return nil, err
	}
	if c.Issuer != m.From || c.Audience != "" && c.Audience != h.o.Owner ||
		len(c.Permissions) > maxWanted || len(c.Requested) > maxWanted {
		return nil, coffer.Errorf("request", coffer.Corrupt, "a request by or to another, or for too much")
	}
	return &PermissionRequest{
		From: c.Issuer, Callback: c.Callback, Nonce: c.Nonce, Sets: c.Requested, Purpose: c.Purpose,
		Permissions: c.Permissions,
	}, nil
}

// Answer answers a request for permissions: it gives those in granted to who asked, whoever they name as the grantee;
// none is a refusal. The answer is sent to the hub of who asked, which to is, and the message is done. It returns the
// permissions' ids.
func (h *Hub) Answer(ctx context.Context, to *Hub, m *Message, granted []Permission,
	o *SendOptions) ([]coffer.CommitRev, error) {
	r, err := h.PermissionRequest(ctx, m)
	if err != nil {
		return nil, err
	}
	c := responseClaims{Issuer: h.o.Owner, Audience: r.From, Nonce: r.Nonce}
	var ids []coffer.CommitRev
	for _, p := range granted {
		p.Grantee = r.From
		id, err := h.Grant(ctx, p)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
		c.Granted = append(c.Granted, Wanted{
			Interface: p.Kind.Interface, Context: p.Kind.Context, Type: p.Kind.Type, Allow: p.Allow,
		})
	}
	if len(granted) == 0 {
		c.Errors = []permissionError{{"The request was refused.", "access_denied"}}
	}
	text, err := h.signJWT(ctx, c)
	if err != nil {
		return ids, err
	}
	answer := Action{Context: actionContext, Type: PermissionResponseAction, Value: map[string]string{"response": text}}
	if _, err := h.Reply(ctx, to, m, answer, o); err != nil {
		return ids, err
	}
	return ids, h.Done(ctx, m)
}

// A PermissionAnswer is what somebody answers to a request of the owner's.
type PermissionAnswer struct {
	From    string   // who answers, as signed
	Request URI      // what is answered: a message that the owner left in From's hub
	Granted []Wanted // none: it was refused
}

// Asked is what the owner asked others for: the requests for permissions and attestations of which a copy was kept
// ([SendOptions].Copy). By it a true answer is known from one to another's request, or to none.
type Asked struct {
	h  *Hub
	by map[question]asked
}

type question struct{ to, kind, nonce string }

type asked struct {
	at    URI
	types []string // of an attestation
}

// Asked reads what the owner asked for.
func (h *Hub) Asked(ctx context.Context) (*Asked, error) {
	a := &Asked{h: h, by: make(map[question]asked)}
	for s, err := range h.sent(ctx) {
		if err != nil {
			return nil, err
		}
		if s.URI.Context != actionContext {
			continue
		}
		q, r := question{to: s.URI.Owner, kind: s.URI.Type}, asked{at: s.URI}
		switch s.URI.Type {
		case PermissionRequestAction:
			var v struct {
				Request string `json:"request"`
			}
			var c requestClaims
			if json.Unmarshal(s.Value, &v) != nil {
				continue
			}
			// The copy is the owner's own, sealed and signed: it is not asked whether the key that signed this is still good.
			if t, err := parseJWT(v.Request); err != nil || jose.DecodeOpen(t.claims, &c) != nil || c.Audience != q.to {
				continue
			}
			q.nonce = c.Nonce
		case RequestAttestationAction:
			var v Attestation
			if json.Unmarshal(s.Value, &v) != nil {
				continue
			}
			q.nonce, r.types = v.Nonce, v.Types
		}
		if q.nonce != "" {
			a.by[q] = r
		}
	}
	return a, nil
}

// find returns the request that a message answers. NotExist if there is none: to who sent the message, with the nonce,
// and the parent of the message if that has one.
func (a *Asked) find(m *Message, kind, nonce string) (asked, error) {
	r, ok := a.by[question{m.From, kind, nonce}]
	if !ok || nonce == "" || m.Parent.Owner != "" && (m.Parent.Owner != r.at.Owner || m.Parent.ID != r.at.ID) {
		return asked{}, coffer.Errorf("answer", coffer.NotExist, "it answers no request of yours")
	}
	return r, nil
}

// PermissionAnswer returns what a message that answers a request grants. Invalid if it is no answer, Corrupt if its
// sender did not sign it, for this owner; NotExist if nothing of this kind was asked of the sender.
func (a *Asked) PermissionAnswer(ctx context.Context, m *Message) (*PermissionAnswer, error) {
	var v struct {
		Response string `json:"response"`
	}
	var c responseClaims
	if m.Kind.Type != PermissionResponseAction || m.Copy || m.Unreadable || m.Into(&v) != nil {
		return nil, coffer.Errorf("request", coffer.Invalid, "not an answer to a request")
	}
	if err := readJWT(ctx, a.h.o.Resolver, v.Response, m.From, &c); err != nil {
		return nil, err
	}
	if c.Issuer != m.From || c.Audience != a.h.o.Owner || len(c.Granted) > maxWanted {
		return nil, coffer.Errorf("request", coffer.Corrupt, "an answer by or to another, or of too much")
	}
	r, err := a.find(m, PermissionRequestAction, c.Nonce)
	if err != nil {
		return nil, err
	}
	return &PermissionAnswer{From: m.From, Request: r.at, Granted: c.Granted}, nil
}

// An Attestation is what the actions say by which one is asked for, agreed to, and delivered; all in one thread.
type Attestation struct {
	Types   []string        `json:"types,omitempty"` // of credentials
	Purpose string          `json:"purpose,omitempty"`
	Nonce   string          `json:"nonce,omitempty"` // of who asks, for the proof to be bound to
	Consent bool            `json:"consent,omitzero"`
	Proof   json.RawMessage `json:"proof,omitempty"` // a credential, or a presentation of some
}

// RequestAttestation asks the owner of the hub for a proof of something. o may be nil; without its Copy no answer will be
// known to be one.
func (h *Hub) RequestAttestation(ctx context.Context, a Attestation, o *SendOptions) (URI, error) {
	if a.Nonce == "" {
		a.Nonce = rand.Text()
	}
	return h.Send(ctx, Action{Context: actionContext, Type: RequestAttestationAction, Value: a}, o)
}

// Consent answers a request for an attestation: whether the owner agrees. The proof follows with DeliverAttestation.
func (h *Hub) Consent(ctx context.Context, to *Hub, m *Message, yes bool, o *SendOptions) (URI, error) {
	a, err := attestationOf(m)
	if err != nil {
		return URI{}, err
	}
	return h.Reply(ctx, to, m, Action{
		Context: actionContext, Type: ConsentAttestationAction, Value: Attestation{Nonce: a.Nonce, Consent: yes},
	}, o)
}

// DeliverAttestation sends the proof that a message asked for, and the message is done.
func (h *Hub) DeliverAttestation(ctx context.Context, to *Hub, m *Message, proof json.RawMessage,
	o *SendOptions) (URI, error) {
	a, err := attestationOf(m)
	if err != nil {
		return URI{}, err
	}
	at, err := h.Reply(ctx, to, m, Action{
		Context: actionContext, Type: DeliverAttestationAction, Value: Attestation{Nonce: a.Nonce, Proof: proof},
	}, o)
	if err != nil {
		return at, err
	}
	return at, h.Done(ctx, m)
}

// Consent returns whether who was asked for an attestation agrees, and the request. Invalid if the message says no such
// thing, NotExist if the sender was not asked.
func (a *Asked) Consent(m *Message) (yes bool, request URI, err error) {
	v, r, err := a.attestation(m, ConsentAttestationAction)
	return v.Consent, r.at, err
}

// Proof verifies what a message delivers that was asked for, and returns the request and the credentials, each about
// who sent them, and one at least of a type that was asked for. Invalid for a message that delivers nothing, and for a
// proof in a form that is not verified here; NotExist if the sender was not asked; Corrupt if something does not hold.
func (a *Asked) Proof(ctx context.Context, m *Message) ([]Credential, URI, error) {
	v, r, err := a.attestation(m, DeliverAttestationAction)
	if err != nil {
		return nil, URI{}, err
	}
	p := &proofReader{h: a.h, from: m.From, nonce: v.Nonce}
	list, err := p.read(ctx, v.Proof)
	if err != nil {
		return nil, URI{}, err
	}
	suits := func(c Credential) bool {
		return slices.ContainsFunc(c.Types, func(t string) bool { return slices.Contains(r.types, t) })
	}
	if len(r.types) > 0 && !slices.ContainsFunc(list, suits) {
		return nil, URI{}, badProof("of another type than was asked for")
	}
	return list, r.at, nil
}

func (a *Asked) attestation(m *Message, kind string) (v Attestation, r asked, err error) {
	if m.Kind.Type != kind || m.Copy || m.Unreadable || m.Into(&v) != nil {
		return v, r, coffer.Errorf("attestation", coffer.Invalid, "not an answer to a request for an attestation")
	}
	r, err = a.find(m, RequestAttestationAction, v.Nonce)
	return v, r, err
}

func attestationOf(m *Message) (a Attestation, err error) {
	if m.Kind.Type != RequestAttestationAction || m.Unreadable || m.Into(&a) != nil {
		err = coffer.Errorf("attestation", coffer.Invalid, "not a request for an attestation")
	}
	return a, err
}
