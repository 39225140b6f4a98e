package vaulttest

import (
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/ledger"
)

// A Ledger says how the log of a House's vault is known, and how its node starts again.
type Ledger struct {
	Origin string // of the log
	Key    string // the verifier key of the node
	// Restart starts the node again and returns the vault as Alice sees it then; nil if it cannot be done.
	Restart func(t testing.TB) coffer.Vault
}

// log plays the log on a House that has one.
func (s *script) log() {
	if s.Ledger == nil {
		s.Skip("a House without a log")
	}
	key, err := ledger.ParseVerifier(s.Ledger.Key)
	if err != nil {
		s.Fatalf("verifier key: %v", err)
	}
	w, err := ledger.NewWatcher(s.Ledger.Origin, key)
	if err != nil {
		s.Fatal(err)
	}
	s.followLog(w)
	s.wantLog(w, 0)
	first := s.insert()
	s.put(next(first, nil))
	if _, err := coffer.Erase(s.ctx, s.v, first.ID); err != nil {
		s.Fatalf("erase: %v", err)
	}
	s.followLog(w)
	s.wantLog(w, 3)
	older, _ := w.Signed()

	// Beyond one tile.
	for range 6 {
		writes := make([]coffer.Write, 50)
		for i := range writes {
			writes[i].Document = document(coffer.NewObjectID(), 0, nil)
		}
		changes, err := s.v.Apply(s.ctx, writes...)
		if err != nil {
			s.Fatalf("apply: %v", err)
		}
		for _, c := range changes {
			if err := w.Wrote(c); err != nil {
				s.Fatalf("own write: %v", err)
			}
		}
	}
	s.followLog(w)
	s.wantLog(w, 303)
	newer, note := w.Signed()
	s.proofs(older, newer)
	s.strangersToLog()

	if s.Ledger.Restart == nil {
		return
	}
	s.v = s.Ledger.Restart(s)
	s.proofs(older, newer)
	s.followLog(w)
	s.wantLog(w, 303)
	s.insert()
	if err := w.Heard(note, nil); err != nil {
		s.Errorf("the checkpoint from before: %v", err)
	}
	s.followLog(w)
	s.wantLog(w, 304)
}

// merkle returns the vault's log.
func (s *script) merkle() ledger.Log {
	s.Helper()
	l, ok := s.v.(ledger.Log)
	if !ok {
		s.Fatal("the vault has no log")
	}
	return l
}

// followLog is a turn of a follower.
func (s *script) followLog(w *ledger.Watcher) {
	s.Helper()
	due := w.Due()
	note, err := s.merkle().Checkpoint(s.ctx)
	if err != nil {
		s.Fatalf("checkpoint: %v", err)
	}
	if err := w.Checkpoint(note, due); err != nil {
		s.Fatalf("the checkpoint: %v", err)
	}
	due = w.Due()
	for _, c := range s.changes(w.Cursor()) {
		if err := w.Read(c); err != nil {
			s.Fatalf("change %d: %v", c.Number, err)
		}
	}
	if err := w.Ended(due); err != nil {
		s.Fatalf("the end of the feed: %v", err)
	}
}

func (s *script) wantLog(w *ledger.Watcher, size uint64) {
	s.Helper()
	if c, _ := w.Signed(); c.Size != size || w.Size() != size {
		s.Fatalf("the log has %d changes and a checkpoint of %d, want %d", w.Size(), c.Size, size)
	}
}

// proofs asks for proofs about two checkpoints of the log.
func (s *script) proofs(older, newer ledger.Checkpoint) {
	s.Helper()
	l := s.merkle()
	proof, err := l.Consistency(s.ctx, older.Size, newer.Size)
	if err != nil {
		s.Fatalf("consistency: %v", err)
	}
	if err := ledger.CheckConsistency(proof, older, newer); err != nil {
		s.Errorf("consistency: %v", err)
	}
	for _, same := range []uint64{0, newer.Size} {
		if proof, err := l.Consistency(s.ctx, same, newer.Size); err != nil || len(proof) > 0 {
			s.Errorf("consistency from %d: %d hashes, %v; want none", same, len(proof), err)
		}
	}
	all := s.changes("")
	for _, i := range []uint64{0, 2, 255, 256, newer.Size - 1} {
		for _, log := range []ledger.Checkpoint{older, newer} {
			if i >= log.Size {
				continue
			}
			proof, err := l.Inclusion(s.ctx, i, log.Size)
			if err != nil {
				s.Fatalf("inclusion of %d: %v", i, err)
			}
			if err := ledger.CheckInclusion(proof, i, ledger.LeafHash(all[i]), log); err != nil {
				s.Errorf("inclusion of %d: %v", i, err)
			}
		}
	}
	_, backwards := l.Consistency(s.ctx, 3, 2)
	_, beyond := l.Consistency(s.ctx, 1, newer.Size+1)
	_, absent := l.Inclusion(s.ctx, newer.Size, newer.Size)
	_, endless := l.Inclusion(s.ctx, 1, 1<<60)
	for what, err := range map[string]error{
		"consistency backwards": backwards, "consistency beyond the end": beyond,
		"inclusion of what is not there": absent, "inclusion in an endless log": endless,
	} {
		s.want(err, coffer.Invalid, what)
	}
}

// strangersToLog checks that who may not read the feed learns nothing of the log.
func (s *script) strangersToLog() {
	expires := time.Now().Add(time.Hour)
	documents := s.Delegate(s, coffer.ObjectID{}, expires, "read", "write")
	for _, who := range []struct {
		name       string
		capability []byte
		want       coffer.Kind
	}{{"a stranger", nil, coffer.NotExist}, {"a delegate for documents", documents, coffer.Denied}} {
		l, ok := s.Bob(s, who.capability).(ledger.Log)
		if !ok {
			s.Fatal("the vault has no log")
		}
		_, checkpoint := l.Checkpoint(s.ctx)
		_, consistency := l.Consistency(s.ctx, 1, 2)
		_, inclusion := l.Inclusion(s.ctx, 1, 2)
		for what, err := range map[string]error{
			"checkpoint": checkpoint, "consistency": consistency, "inclusion": inclusion,
		} {
			if !errors.Is(err, who.want) {
				s.Errorf("%s of %s: %v, want %v", what, who.name, err, who.want)
			}
		}
	}
	if s.DelegateAt == nil {
		return
	}
	witness := s.Bob(s, s.DelegateAt(s, "/checkpoint", expires, "read"))
	if _, err := witness.(ledger.Log).Checkpoint(s.ctx); err != nil {
		s.Errorf("checkpoint of who may see just that: %v", err)
	}
}
