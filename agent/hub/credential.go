package hub

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Credential is a verifiable credential of which was verified that its issuer signed it, whom it is about, and that
// it is good at the time.
type Credential struct {
	Types   []string  // "AgeOver18"; not "VerifiableCredential", which all are
	Issuer  string    // who says it; whether to believe that is for the reader to know
	Subject string    // whom it is about
	Until   time.Time // zero: it says no end
	// Revocable says that the issuer may have revoked it in a list that the credential names. Nobody was asked.
	Revocable bool
}

const (
	credentialType   = "VerifiableCredential"
	presentationType = "VerifiablePresentation"
)

// Bounds of what is sent for a proof.
const (
	maxProof       = 512 << 10
	maxCredentials = 16
	maxTypes       = 16
)

func badProof(reason string) error { return coffer.Errorf("proof", coffer.Corrupt, reason) }

var errProofForm = coffer.Errorf("proof", coffer.Invalid, "a form that is not verified here")

// A proofReader verifies what somebody sent for a proof.
type proofReader struct {
	h     *Hub
	from  string // who sent it, in a message that he signed
	nonce string // of the request
}

// read returns the credentials of a proof: one, or a presentation of some. Each is a compact JWS or has a
// DataIntegrityProof of the cryptosuite eddsa-jcs-2022; a presentation may be signed by who sends it in either way, or
// be unsigned, as the message is not. Corrupt when something does not hold, Invalid for all other forms.
func (p *proofReader) read(ctx context.Context, proof json.RawMessage) ([]Credential, error) {
	if len(proof) > maxProof {
		return nil, errProofForm
	}
	s, err := p.verified(ctx, proof, true)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(s.types, presentationType) {
		c, err := p.credential(s)
		return []Credential{c}, err
	}
	parts, ok := many[json.RawMessage](s.members["verifiableCredential"], maxCredentials)
	switch holder, given := reference(s.members["holder"]); {
	case !ok || len(parts) == 0, !given && s.members["holder"] != nil:
		return nil, errProofForm
	case given && holder != p.from, s.signer != "" && s.signer != p.from:
		return nil, badProof("presented by another than who sent it")
	case s.signer != "" && (s.nonce != p.nonce || !slices.Contains(s.audience, p.h.o.Owner)):
		return nil, badProof("made for another request")
	}
	var list []Credential
	for _, part := range parts {
		one, err := p.verified(ctx, part, false)
		if err != nil {
			return nil, err
		}
		c, err := p.credential(one)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// A statement is a credential or a presentation, of which the signature was verified.
type statement struct {
	members map[string]json.RawMessage
	types   []string
	signer  string // "": it is not signed
	// what a JWT says beside the members
	subject       string
	before, until time.Time
	// whom a presentation was made for
	nonce    string
	audience []string
}

// verified reads a statement and verifies who signed it, if it is signed.
func (p *proofReader) verified(ctx context.Context, raw json.RawMessage, presented bool) (*statement, error) {
	var text string
	if jose.Decode(raw, &text) == nil {
		return p.openJWT(ctx, text, presented)
	}
	s := new(statement)
	if jose.Decode(raw, &s.members) != nil || s.members == nil || !s.setTypes() {
		return nil, errProofForm
	}
	purpose := coffer.Assertion
	if slices.Contains(s.types, presentationType) {
		if !presented {
			return nil, errProofForm
		}
		if s.members["proof"] == nil {
			return s, nil
		}
		purpose = coffer.Authentication
	}
	return s, p.verifyIntegrity(ctx, s, purpose)
}

func (s *statement) setTypes() bool {
	var ok bool
	s.types, ok = many[string](s.members["type"], maxTypes)
	return ok && (slices.Contains(s.types, credentialType) || slices.Contains(s.types, presentationType))
}

// openJWT opens a credential or a presentation that is a JWT: of VC-JWT of 2019 ("vc", "vp"), or of 2025, where the
// claims are the members.
func (p *proofReader) openJWT(ctx context.Context, text string, presented bool) (*statement, error) {
	t, err := parseJWT(text)
	if err != nil {
		return nil, errProofForm
	}
	s := &statement{signer: t.signer()}
	var c struct {
		Issuer    string                     `json:"iss"`
		Subject   string                     `json:"sub"`
		Audience  json.RawMessage            `json:"aud"`
		Nonce     string                     `json:"nonce"`
		NotBefore *float64                   `json:"nbf"`
		Expires   *float64                   `json:"exp"`
		VC        map[string]json.RawMessage `json:"vc"`
		VP        map[string]json.RawMessage `json:"vp"`
	}
	var ok bool
	if jose.DecodeOpen(t.claims, &c) != nil {
		return nil, errProofForm
	}
	switch {
	case c.VC != nil && c.VP == nil:
		s.members = c.VC
	case c.VP != nil && c.VC == nil && presented:
		s.members = c.VP
	case c.VC != nil || c.VP != nil || jose.Decode(t.claims, &s.members) != nil || s.members == nil:
		return nil, errProofForm
	}
	if !s.setTypes() {
		return nil, errProofForm
	}
	purpose, shown := coffer.Assertion, slices.Contains(s.types, presentationType)
	if c.VC != nil && shown || c.VP != nil && !shown { // what it is signed as is not what it says that it is
		return nil, errProofForm
	}
	if shown {
		if purpose = coffer.Authentication; !presented {
			return nil, errProofForm
		}
		if s.audience, ok = many[string](c.Audience, maxTypes); !ok {
			return nil, badProof("made for nobody")
		}
	}
	if c.Issuer != "" && c.Issuer != s.signer {
		return nil, badProof("not signed by its issuer")
	}
	if s.before, ok = numericDate(c.NotBefore); !ok {
		return nil, errProofForm
	}
	if s.until, ok = numericDate(c.Expires); !ok {
		return nil, errProofForm
	}
	switch now := p.h.o.Now(); {
	case now.Before(s.before):
		return nil, badProof("it has not begun")
	case !s.until.IsZero() && !now.Before(s.until):
		return nil, badProof("it has ended")
	}
	s.subject, s.nonce = c.Subject, c.Nonce
	return s, t.verify(ctx, p.h.o.Resolver, purpose)
}

// verifyIntegrity verifies the proof of a statement (Data Integrity EdDSA Cryptosuites v1.0, section 3.3), and sets what
// it says. The other cryptosuites need JSON-LD.
func (p *proofReader) verifyIntegrity(ctx context.Context, s *statement, purpose coffer.Purpose) error {
	var options struct {
		Type    string          `json:"type"`
		Suite   string          `json:"cryptosuite"`
		Key     string          `json:"verificationMethod"`
		Purpose string          `json:"proofPurpose"`
		Value   string          `json:"proofValue"`
		Expires *string         `json:"expires"`
		Nonce   string          `json:"challenge"`
		Domain  json.RawMessage `json:"domain"`
		Context json.RawMessage `json:"@context"`
	}
	if jose.DecodeOpen(s.members["proof"], &options) != nil ||
		options.Type != "DataIntegrityProof" || options.Suite != string(grant.EddsaJCS2022) {
		return errProofForm
	}
	wanted := "assertionMethod"
	if purpose == coffer.Authentication {
		wanted = "authentication"
		s.nonce = options.Nonce
		s.audience, _ = many[string](options.Domain, maxTypes)
	}
	if options.Purpose != wanted {
		return badProof("signed for another purpose")
	}
	if options.Expires != nil {
		if until, err := time.Parse(time.RFC3339, *options.Expires); err != nil || !p.h.o.Now().Before(until) {
			return badProof("it has ended")
		}
	}
	input, err := jose.IntegrityInput(s.members)
	if err != nil {
		return errProofForm
	}
	if options.Context != nil {
		x, err := jose.Canonical(options.Context)
		y, err2 := jose.Canonical(s.members["@context"])
		if err != nil || err2 != nil || string(x) != string(y) {
			return badProof("signed in another context")
		}
	}
	signature, err := coffer.ParseMultibase(options.Value)
	if err != nil {
		return errProofForm
	}
	s.signer, _, _ = strings.Cut(options.Key, "#")
	key, err := p.h.o.Resolver.MessageKey(ctx, options.Key, "EdDSA", purpose)
	if errors.Is(err, coffer.Unavailable) {
		return err
	}
	if err != nil || !key.Verify(input, signature) {
		return badProof("not signed by whom it names")
	}
	return nil
}

// credential checks what a signed statement says: that it is by its issuer, about who sent it, and good now.
func (p *proofReader) credential(s *statement) (c Credential, err error) {
	issuer, given := reference(s.members["issuer"])
	subjects, ok := many[json.RawMessage](s.members["credentialSubject"], 1)
	switch {
	case slices.Contains(s.types, presentationType), s.signer == "", !ok, len(subjects) != 1,
		!given && s.members["issuer"] != nil:
		return c, errProofForm
	case given && issuer != s.signer:
		return c, badProof("not signed by its issuer")
	}
	about, given := reference(subjects[0])
	if s.subject != "" && given && about != s.subject {
		return c, badProof("about two")
	}
	if !given {
		about = s.subject
	}
	if about != p.from {
		return c, badProof("about another than who sent it")
	}
	c = Credential{Issuer: s.signer, Subject: about, Until: s.until, Revocable: s.members["credentialStatus"] != nil}
	for _, t := range s.types {
		if t != credentialType {
			c.Types = append(c.Types, t)
		}
	}
	now := p.h.o.Now()
	var from time.Time
	for _, f := range [...]struct {
		name string
		end  bool
	}{{"validFrom", false}, {"issuanceDate", false}, {"validUntil", true}, {"expirationDate", true}} {
		raw, given := s.members[f.name]
		if !given {
			continue
		}
		var text string
		if jose.Decode(raw, &text) != nil {
			return c, errProofForm
		}
		t, err := time.Parse(time.RFC3339, text)
		switch {
		case err != nil:
			return c, errProofForm
		case f.end && (c.Until.IsZero() || t.Before(c.Until)):
			c.Until = t.UTC()
		case !f.end && t.After(from):
			from = t
		}
	}
	switch {
	case now.Before(from):
		return c, badProof("it has not begun")
	case !c.Until.IsZero() && !now.Before(c.Until):
		return c, badProof("it has ended")
	}
	return c, nil
}

// numericDate returns the time that a JWT says (RFC 7519, section 2), zero for none; false for one out of bounds.
func numericDate(n *float64) (time.Time, bool) {
	switch {
	case n == nil:
		return time.Time{}, true
	case !(*n >= 0 && *n < 1<<38):
		return time.Time{}, false
	}
	return time.Unix(int64(*n), 0).UTC(), true
}

// reference returns the identifier that a text is, or an object has; false if there is none.
func reference(raw json.RawMessage) (string, bool) {
	var text string
	if jose.Decode(raw, &text) == nil {
		return text, text != ""
	}
	var object struct {
		ID string `json:"id"`
	}
	return object.ID, jose.DecodeOpen(raw, &object) == nil && object.ID != ""
}

// many returns the elements of an array, or what stands for an array of one; none and false if it is neither, or has too
// many.
func many[T any](raw json.RawMessage, most int) ([]T, bool) {
	if len(raw) == 0 {
		return nil, false
	}
	list := make([]T, 1)
	var err error
	if raw[0] == '[' {
		err = jose.Decode(raw, &list)
	} else {
		err = jose.Decode(raw, &list[0])
	}
	if err != nil || len(list) > most {
		return nil, false
	}
	return list, true
}
