package vaulttest

import "github.com/cofferhq/coffer"

func (s *script) patches() {
	d := s.put(document(coffer.NewObjectID(), 0, &coffer.Stream{Pending: true}))
	for i, text := range []string{"a", "b", "c"} {
		s.putChunk(d.ID, 0, uint64(i), text)
	}
	d = s.put(next(d, &coffer.Stream{Chunks: 3}))
	s.putChunk(d.ID, 1, 1, "b again")
	s.putChunk(d.ID, 1, 3, "d")
	for i, text := range []string{"a", "b", "c"} { // readers have the old set, whole
		s.wantChunk(d.ID, 0, uint64(i), text)
	}
	s.wantNoChunk(d.ID, 3)
	refuse := func(kind coffer.Kind, stream coffer.Stream, what string) {
		s.Helper()
		_, err := coffer.Put(s.ctx, s.v, next(d, &stream))
		s.want(err, kind, what)
	}
	refuse(coffer.Conflict, coffer.Stream{Chunks: 5, Patch: 1}, "patch a set that lacks its end then")
	refuse(coffer.Conflict, coffer.Stream{Chunks: 4, Patch: 2}, "patch with a set to come")
	refuse(coffer.Invalid, coffer.Stream{Chunks: 4, Patch: 3}, "patch with a set beyond the document")
	refuse(coffer.Invalid, coffer.Stream{Sequence: 1, Chunks: 4, Patch: 1}, "patch a set with itself")
	orphan := document(coffer.NewObjectID(), 2, &coffer.Stream{Patch: 1})
	_, err := coffer.Put(s.ctx, s.v, orphan)
	s.want(err, coffer.Conflict, "insert a patch")

	d = s.put(next(d, &coffer.Stream{Chunks: 4, Patch: 1}))
	s.wantSame(s.get(d.ID), d)
	s.wantPatched(d.ID, 0, 1, 1, "b again")
	s.wantPatched(d.ID, 0, 1, 3, "d")
	s.wantChunk(d.ID, 0, 0, "a")
	s.wantChunk(d.ID, 0, 2, "c")
	refuse(coffer.Conflict, coffer.Stream{Chunks: 4, Patch: 1}, "patch twice with one set")

	d = s.put(next(d, &coffer.Stream{Chunks: 4})) // keeps the set as it is
	s.wantPatched(d.ID, 0, 1, 1, "b again")
	s.putChunk(d.ID, 3, 0, "a again")
	d = s.put(next(d, &coffer.Stream{Chunks: 2, Patch: 3}))
	s.wantPatched(d.ID, 0, 3, 0, "a again")
	s.wantPatched(d.ID, 0, 1, 1, "b again")
	s.wantNoChunk(d.ID, 2)
	s.wantNoChunk(d.ID, 3)
	if n := len(s.changes("")); n != 5 {
		s.Errorf("%d changes, want one for each revision", n)
	}
}

// wantPatched is wantChunk for a chunk of a set that was written for another one.
func (s *script) wantPatched(id coffer.ObjectID, set, written, index uint64, text string) {
	s.Helper()
	ref, b := raw(written, index, text)
	ref.Sequence = set
	s.wantBytes(id, ref, b)
}
