package vault_test

import (
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

func TestPresentIsForWriters(t *testing.T) {
	s := tell(t, vault.Limits{})
	d := s.put(document(10))
	at := "/documents/" + d.ID.String()
	for name, tt := range map[string]struct {
		path         string
		action       grant.Action
		present, get coffer.Kind
	}{
		"write":           {at, grant.Write, works, coffer.Denied},
		"write the index": {at + "/index", grant.Write, works, coffer.Denied},
		"read":            {at, grant.Read, coffer.Denied, works},
		"write another":   {"/documents/" + coffer.NewObjectID().String(), grant.Write, coffer.Denied, coffer.Denied},
	} {
		v := s.as(s.bob, s.delegate(s.alice, "", s.bob, tt.path, tt.action))
		_, err := v.Present(t.Context(), d.ID)
		s.want(err, tt.present, "as Bob, who may "+name+", present")
		_, err = v.Get(t.Context(), d.ID)
		s.want(err, tt.get, "as Bob, who may "+name+", get")
	}
	_, err := s.as(s.bob, nil).Present(t.Context(), d.ID)
	s.want(err, coffer.NotExist, "as Bob, without a right, present")
	_, err = s.v.Present(t.Context(), coffer.NewObjectID())
	s.want(err, coffer.NotExist, "as Alice, present of nothing")
}

func TestReindexChangesTagsAlone(t *testing.T) {
	s := tell(t, vault.Limits{})
	ctx := t.Context()
	d := s.put(document(10))
	tagged := func(value string, change func(*coffer.Document)) *coffer.Document {
		n := *d
		n.Parents = []coffer.Rev{d.Rev()}
		n.Tags = []coffer.Tag{{Key: "k", Name: "color", Value: value}}
		if change != nil {
			change(&n)
		}
		return &n
	}
	indexer := s.as(s.bob, s.delegate(s.alice, "", s.bob, "/documents/"+d.ID.String()+"/index", grant.Write))
	for name, tt := range map[string]struct {
		document *coffer.Document
		want     coffer.Kind
	}{
		"the next sequence": {tagged("red", func(n *coffer.Document) { n.Sequence++ }), coffer.Conflict},
		"no parent":         {tagged("red", func(n *coffer.Document) { n.Parents = nil }), coffer.Conflict},
		"another parent":    {tagged("red", func(n *coffer.Document) { n.Parents[0][0] ^= 1 }), coffer.Conflict},
		"another document":  {tagged("red", func(n *coffer.Document) { n.ID = coffer.NewObjectID() }), coffer.Denied},
		"a bad tag":         {tagged("red", func(n *coffer.Document) { n.Tags[0].Name = "" }), coffer.Invalid},
	} {
		_, err := indexer.Reindex(ctx, tt.document)
		s.want(err, tt.want, "as Bob, "+name)
	}
	n := tagged("red", nil)
	change, err := indexer.Reindex(ctx, n)
	if err != nil || change.Sequence != 0 || change.Rev != n.Rev() || change.Number != 2 {
		t.Errorf("as Bob, reindex: %+v, %v", change, err)
	}
	_, err = coffer.Put(ctx, indexer, tagged("blue", nil))
	s.want(err, coffer.Denied, "as Bob, who may write the index, put")
	if n, err := s.v.Count(ctx, coffer.Query{Index: "k", Equals: []map[string]string{{"color": "red"}}}); n != 1 || err != nil {
		t.Errorf("%d documents are red, %v; want 1", n, err)
	}
	_, err = s.as(s.bob, nil).Reindex(ctx, tagged("blue", nil))
	s.want(err, coffer.NotExist, "as Bob, without a right")
}
