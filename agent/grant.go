package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Grant is the owner's signed record of who may read, or read and write, what: from when until when.
type Grant struct {
	ID      string
	Path    string // what was granted, as it was called then
	Type    string // what was granted is all of this type; Path then names nothing that can be asked for
	Folder  bool   // everything in it, too
	Fields  []string
	With    string // identifier of the reader
	Group   string // the group through which it was granted, if any
	Actions []grant.Action
	Since   time.Time
	Until   time.Time
	Ended   *Ending // nil while it lasts

	Statements []Statement // the owner's: that it was given, and that it is over
}

// A Statement is what somebody signed for the purpose [coffer.Statement], with a key of that time.
type Statement struct {
	By        string // identifier of who signed
	Message   []byte // a label, a zero byte, and JSON in the form of RFC 8785 (doc/objects.md, section "Grants")
	Signature []byte // Ed25519
}

// An Ending is the owner's signed statement that a grant is over.
type Ending struct {
	At     time.Time
	Reason string // "revoked" or "expired"
	// What the reader could read: every revision that the vault accepted of it with numbers in its feed from From to To.
	From, To uint64
}

// Active reports whether the grant lasts at a time.
func (g *Grant) Active(now time.Time) bool { return g.Ended == nil && now.Before(g.Until) }

// grantRecord is a Grant as the agent keeps it (doc/objects.md, section "Grants"). Both signatures are the owner's,
// for the purpose Statement.
type grantRecord struct {
	ID        string          `json:"id"` // 16 random bytes as base64url
	Scope     coffer.ObjectID `json:"scope"`
	Folder    bool            `json:"folder,omitzero"`
	Path      string          `json:"path"`
	Type      string          `json:"type,omitzero"`   // of a grant by type
	Source    coffer.ObjectID `json:"source,omitzero"` // of an excerpt: the object that it is from
	Fields    []string        `json:"fields,omitempty"`
	With      string          `json:"with"`
	Group     string          `json:"group,omitzero"`
	Actions   []grant.Action  `json:"actions"`
	Since     time.Time       `json:"since"`
	Until     time.Time       `json:"until"`
	From      uint64          `json:"from"` // size of the vault's history when it was given
	By        string          `json:"by"`   // identifier of the owner, as it was then
	Statement base64url       `json:"statement,omitempty"`

	Ending *ending `json:"ending,omitzero"`

	// Not part of the statement: where the keys are delivered, and which were.
	Box       int       `json:"box"`
	Slot      int       `json:"slot"`
	Delivered base64url `json:"delivered,omitempty"`

	register int // where it is kept; -1 is nowhere yet
}

type ending struct {
	At        time.Time `json:"at"`
	Reason    string    `json:"reason"`
	To        uint64    `json:"to"`
	By        string    `json:"by"`
	Statement base64url `json:"statement,omitempty"`
}

const (
	revoked = "revoked"
	expired = "expired"
	removed = "removed" // with what was granted
)

func (g *grantRecord) grant() *Grant {
	out := &Grant{
		ID: g.ID, Path: g.Path, Type: g.Type, Folder: g.Folder, Fields: g.Fields, With: g.With, Group: g.Group, Actions: g.Actions,
		Since: g.Since, Until: g.Until,
	}
	if message, err := g.statement(); err == nil {
		out.Statements = append(out.Statements, Statement{g.By, message, g.Statement})
	}
	if e := g.Ending; e != nil {
		out.Ended = &Ending{At: e.At, Reason: e.Reason, From: g.From, To: e.To}
		if message, err := e.of(g).statement(); err == nil {
			out.Statements = append(out.Statements, Statement{e.By, message, e.Statement})
		}
	}
	return out
}

// lasts reports whether the reader is to have the keys.
func (g *grantRecord) lasts() bool { return g.Ending == nil }

func (g *grantRecord) writes() bool { return slices.Contains(g.Actions, grant.Write) }

// statement returns what is signed of a grant: the label and the canonical JSON of what it says.
func (g *grantRecord) statement() ([]byte, error) {
	s := *g
	s.Statement, s.Ending, s.Box, s.Slot, s.Delivered = nil, nil, 0, 0, nil
	return signable("grant", s)
}

// An endOf is the end of a grant as it is signed.
type endOf struct {
	Grant string `json:"grant"`
	ending
}

func (e *ending) of(g *grantRecord) endOf { return endOf{g.ID, *e} }

func (e endOf) statement() ([]byte, error) {
	e.Statement = nil
	return signable("end of grant", e)
}

// A stated is something that is signed.
type stated interface {
	statement() ([]byte, error) // the bytes that are signed
}

// signable returns the bytes that stand for a statement of a kind: a label, and the JSON in the form of RFC 8785.
func signable(kind string, v any) ([]byte, error) {
	b, err := jose.Encode(v)
	if err != nil {
		return nil, coffer.E("statement", coffer.Invalid, err)
	}
	if b, err = jose.Canonical(b); err != nil {
		return nil, coffer.E("statement", coffer.Invalid, err)
	}
	return append([]byte("coffer "+kind+" 2\x00"), b...), nil
}

// sign signs a statement as the owner.
func (a *Agent) sign(ctx context.Context, s stated) (base64url, error) {
	message, err := s.statement()
	if err != nil {
		return nil, err
	}
	return a.Keyring.Sign(ctx, coffer.Statement, message)
}

// signedBy checks that an identity signed a statement.
func (a *Agent) signedBy(ctx context.Context, did string, s stated, signature []byte) error {
	message, err := s.statement()
	if err != nil {
		return err
	}
	keys, err := a.signingKeys(ctx, did)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if len(k.Public) == ed25519.PublicKeySize && ed25519.Verify(k.Public, message, signature) {
			return nil
		}
	}
	return coffer.Errorf("statement", coffer.Corrupt, "not signed by whom it names")
}

// check verifies the owner's signatures of a record.
func (a *Agent) check(ctx context.Context, g *grantRecord) error {
	if !a.isOwner(g.By) || g.Ending != nil && !a.isOwner(g.Ending.By) {
		return coffer.Errorf("grant", coffer.Corrupt, "not given by the owner")
	}
	if err := a.signedBy(ctx, g.By, g, g.Statement); err != nil || g.Ending == nil {
		return err
	}
	return a.signedBy(ctx, g.Ending.By, g.Ending.of(g), g.Ending.Statement)
}

// grants are all records of grants of a vault, in the order in which they were given.
type grants struct {
	all     []*grantRecord
	byID    map[string]*grantRecord
	byScope map[coffer.ObjectID][]*grantRecord
}

func (s *grants) add(g *grantRecord) {
	if old := s.byID[g.ID]; old != nil {
		g.register = old.register
		*old = *g
		return
	}
	s.all = append(s.all, g)
	s.byID[g.ID] = g
	s.byScope[g.Scope] = append(s.byScope[g.Scope], g)
}

// A register is a page of records of grants.
type register struct {
	Type   string         `json:"type"`
	Grants []*grantRecord `json:"grants"`
}

const registerType = "coffer/register"

// grants returns the vault's records of grants.
func (v *view) grants(ctx context.Context) (*grants, error) {
	v.listed.Lock()
	defer v.listed.Unlock()
	if v.list != nil {
		return v.list, nil
	}
	s := &grants{byID: make(map[string]*grantRecord), byScope: make(map[coffer.ObjectID][]*grantRecord)}
	for n := range v.head.Registers {
		r, _, err := v.register(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, g := range r.Grants {
			g.register = n
			s.add(g)
		}
	}
	for _, e := range v.head.Log {
		if e.Grant != nil {
			g := *e.Grant
			g.register = -1
			s.add(&g)
		}
	}
	v.list = s
	return s, nil
}

func (v *view) register(ctx context.Context, n int) (*register, *known, error) {
	ref, err := v.a.placeBy(ctx, v.by, "register "+strconv.Itoa(n))
	if err != nil {
		return nil, nil, err
	}
	k, err := v.a.record(ctx, ref, v.a.mine)
	if err != nil {
		return nil, nil, gone(err)
	}
	var r register
	if err := jose.DecodeOpen(k.opened.Content, &r); err != nil || r.Type != registerType {
		return nil, nil, coffer.Errorf("register", coffer.Corrupt, "not what it should be")
	}
	return &r, k, nil
}

// settleGrants moves the records of a head's log into the registers.
func (t *txn) settleGrants(ctx context.Context, h *head) error {
	type page struct {
		*register
		known *known
	}
	pages := make(map[int]*page)
	load := func(n int) (*page, error) {
		if p := pages[n]; p != nil {
			return p, nil
		}
		p := &page{register: &register{Type: registerType}}
		if n < t.head.Registers {
			var err error
			if p.register, p.known, err = t.register(ctx, n); err != nil {
				return nil, err
			}
		}
		pages[n] = p
		return p, nil
	}
	for _, e := range h.Log {
		if e.Grant == nil {
			continue
		}
		placed := false
		for n := range h.Registers {
			p, err := load(n)
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(p.Grants, func(g *grantRecord) bool { return g.ID == e.Grant.ID }); i >= 0 {
				p.Grants[i], placed = e.Grant, true
				break
			}
		}
		if placed {
			continue
		}
		for n := max(0, h.Registers-1); ; n++ {
			p, err := load(n)
			if err != nil {
				return err
			}
			// Room is left for the end of each grant.
			with := register{Type: registerType, Grants: append(slices.Clone(p.Grants), e.Grant)}
			if b, err := jose.Encode(with); err != nil {
				return err
			} else if len(b)+300*len(with.Grants) > maxRecord && len(p.Grants) > 0 {
				continue
			}
			p.Grants = with.Grants
			h.Registers = max(h.Registers, n+1)
			break
		}
	}
	for n := range h.Registers {
		if t.moving {
			if _, err := load(n); err != nil {
				return err
			}
		}
		p := pages[n]
		if p == nil {
			continue
		}
		b, err := jose.Encode(p.register)
		if err != nil {
			return err
		}
		ref, err := t.a.numbered(ctx, "register", n)
		if err != nil {
			return err
		}
		if err := t.putRecord(ctx, ref, p.known, b, nil); err != nil {
			return err
		}
	}
	return nil
}

// newGrantID returns the id of a grant to be.
func newGrantID() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// changedGrant notes that a record is to be written with the commit.
func (t *txn) changedGrant(g *grantRecord) {
	if !slices.Contains(t.changed, g) {
		t.changed = append(t.changed, g)
	}
}

// delivered names a key without telling anything of it.
func delivered(r seal.Ref) base64url {
	s := r.Key.Access(r.ID)
	return base64url(s[:8])
}
