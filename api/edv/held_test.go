package edv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// FuzzParseAccess reads anything as the header with a secret. There is one text for each secret.
func FuzzParseAccess(f *testing.F) {
	f.Add(formatAccess(coffer.Secret{1, 2, 3}))
	f.Add(strings.Repeat("A", 42) + "B")
	f.Add(strings.Repeat("A", 41) + "\r\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseAccess([]string{text})
		if ok && formatAccess(s) != text {
			t.Errorf("%q is not the only text of its secret", text)
		}
		if !ok && s != (coffer.Secret{}) {
			t.Errorf("%q gives a secret and is none", text)
		}
		if _, twice := parseAccess([]string{text, text}); twice {
			t.Error("takes the header twice")
		}
	})
}

// A sinkView keeps what it is asked to do, also as the vault of who holds secrets.
type sinkView struct {
	View
	taken  *coffer.Document
	secret *coffer.Secret
}

func (v *sinkView) Deliver(_ context.Context, d *coffer.Document) (coffer.Change, error) {
	v.taken = d
	return coffer.Change{Kind: coffer.Accepted, ID: d.ID, Rev: d.Rev(), Number: 1, Cursor: "x"}, nil
}

func (v *sinkView) Held(secret func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool)) coffer.Vault {
	if s, ok := secret(coffer.ObjectID{}, coffer.WriteAccess); ok {
		v.secret = &s
	}
	return v
}

func (v *sinkView) Apply(_ context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	v.taken = writes[0].Document
	return []coffer.Change{{Kind: coffer.Accepted, ID: v.taken.ID, Rev: v.taken.Rev(), Number: 1, Cursor: "x"}}, nil
}

// oneView is a host with one view.
type oneView struct {
	Host
	v *sinkView
}

func (h *oneView) As(grant.Caller, coffer.VaultID) View { return h.v }

// FuzzHeldBodies sends anything, as bodies and headers, to where documents come that not everybody may send elsewhere.
// What reaches the vault is what was sent, and says what it replaces.
func FuzzHeldBodies(f *testing.F) {
	v := readVectors(f)
	id := coffer.ObjectID{1}
	jwe := `"jwe":{"protected":"x","recipients":[{"header":{"alg":"x","kid":"x"}}],"iv":"x","ciphertext":"","tag":"x"}}`
	rev := coffer.Rev{7}
	f.Add(uint8(0), v.document(f), "", "", "")
	f.Add(uint8(1), []byte(`{"id":"`+id.String()+`","sequence":0,`+jwe), formatAccess(coffer.Secret{1}), "", "")
	f.Add(uint8(2), []byte(`{"id":"`+id.String()+`","sequence":1,`+jwe), "AAAA", quote(rev.String()), "")
	f.Add(uint8(2), []byte(`{"id":"`+id.String()+`","sequence":3,"stream":{"sequence":0,"chunks":1,"patch":2},`+jwe), "", "", "*")
	f.Add(uint8(2), []byte(`{"id":"`+id.String()+`","sequence":1,`+jwe), "", `"x", ,`, "")
	f.Fuzz(func(t *testing.T, route uint8, body []byte, access, match, none string) {
		host := &oneView{v: new(sinkView)}
		s := &Server{o: ServerOptions{Host: host, Origin: "https://vault.example", Now: time.Now}}
		s.o.Limits.setDefaults()
		r := httptest.NewRequest("POST", "/edvs/x/held/"+id.String(), bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		for name, value := range map[string]string{AccessHeader: access, "If-Match": match, "If-None-Match": none} {
			if value != "" {
				r.Header[name] = []string{value}
			}
		}
		c := &call{Server: s, r: r, out: httptest.NewRecorder(), digest: sha256.Sum256(body)}
		c.path, _ = parsePath(r.RequestURI)
		calls := []func(*call) error{(*call).deliver, (*call).insertHeld, (*call).updateHeld}
		which := int(route) % len(calls)
		err := calls[which](c)
		d := host.v.taken
		if err != nil {
			if status := asFailure(err, stateError).status; status/100 != 4 || d != nil {
				t.Fatalf("answered %d: %v", status, err)
			}
			return
		}
		want, err := DecodeDocument(body)
		if err != nil || c.status/100 != 2 || d == nil {
			t.Fatalf("answered %d to what is no document: %v", c.status, err)
		}
		parents := d.Parents
		if want.Parents = parents; want.Rev() != d.Rev() {
			t.Error("the vault was given another document")
		}
		if secret, ok := parseAccess(r.Header[AccessHeader]); which > 0 && (host.v.secret != nil) != ok ||
			host.v.secret != nil && *host.v.secret != secret {
			t.Error("the vault was given another secret")
		}
		switch which {
		case 0:
			if len(body) > MaxMessage || c.Header().Get("Location") != "" {
				t.Error("a message too large, or it is told where it is")
			}
		case 2:
			if d.ID != id || (len(parents) == 0) != (none == "*") || len(parents) > 0 && match == "" {
				t.Errorf("replaces %d revisions by If-Match %q, If-None-Match %q", len(parents), match, none)
			}
			return
		}
		if len(parents) > 0 || c.status != http.StatusCreated {
			t.Errorf("an insert replaces %d revisions and is answered %d", len(parents), c.status)
		}
	})
}
