package vaulttest

import (
	"context"
	"time"

	"github.com/cofferhq/coffer"
)

// A historian is a vault that gives revisions by their sequences, those too that were replaced and are kept.
type historian interface {
	Revision(ctx context.Context, id coffer.ObjectID, sequence uint64) (*coffer.Document, error)
}

// replaced plays reading revisions on a vault that gives them.
func (s *script) replaced() {
	if _, ok := s.v.(historian); !ok {
		s.Skip("a vault that gives no revisions by their sequences")
	}
	soon := time.Now().Add(time.Hour)
	first := s.insert("color=red", "serial=1!")
	second := s.put(next(first, nil, "color=blue"))
	third := s.put(next(second, nil))
	other := s.insert()
	capability := s.Delegate(s.T, first.ID, soon, "read")
	reader := s.Bob(s.T, capability)
	for who, v := range map[string]coffer.Vault{"Alice": s.v, "a reader": reader} {
		s.wantRevision(v, who, third, true)
		s.wantRevision(v, who, second, s.Keeps)
		s.wantRevision(v, who, first, s.Keeps)
		s.wantNoRevision(v, first.ID, 3, coffer.NotExist, who+": a revision to come")
	}
	s.wantNoRevision(s.v, coffer.NewObjectID(), 0, coffer.NotExist, "a revision of no document")
	s.wantNoRevision(reader, other.ID, 0, coffer.Denied, "a reader: another document's")
	s.wantNoRevision(s.Bob(s.T, nil), first.ID, 0, coffer.NotExist, "a stranger")
	writer := s.Bob(s.T, s.Delegate(s.T, first.ID, soon, "write"))
	s.wantNoRevision(writer, first.ID, 2, coffer.Denied, "who may only write")
	if found := s.find(coffer.Query{Index: index, Has: []string{"color"}}); len(found) > 0 {
		s.Errorf("a query finds %d documents by what was replaced", len(found))
	}
	s.insert("serial=1!") // what was replaced holds no unique tag

	if err := s.Revoke(s.ctx, capability); err != nil {
		s.Fatalf("revoke: %v", err)
	}
	for sequence := range uint64(3) {
		s.wantNoRevision(reader, first.ID, sequence, coffer.NotExist, "a reader, revoked")
	}
	if _, err := coffer.Erase(s.ctx, s.v, first.ID); err != nil {
		s.Fatalf("erase: %v", err)
	}
	for sequence := range uint64(3) {
		s.wantNoRevision(s.v, first.ID, sequence, coffer.NotExist, "of what was erased")
	}
}

// wantRevision reads a revision by its sequence, which is there or not.
func (s *script) wantRevision(v coffer.Vault, who string, d *coffer.Document, there bool) {
	s.Helper()
	if !there {
		s.wantNoRevision(v, d.ID, d.Sequence, coffer.NotExist, who+": what was replaced")
		return
	}
	got, err := v.(historian).Revision(s.ctx, d.ID, d.Sequence)
	if err != nil {
		s.Errorf("%s: revision %d: %v", who, d.Sequence, err)
		return
	}
	s.wantSame(got, d)
}

func (s *script) wantNoRevision(v coffer.Vault, id coffer.ObjectID, sequence uint64, kind coffer.Kind, what string) {
	s.Helper()
	_, err := v.(historian).Revision(s.ctx, id, sequence)
	s.want(err, kind, what)
}
