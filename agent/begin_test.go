package agent_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// TestBeginTogether: in a vault that another client used, another device makes the head after this one looked for it, and
// before this one asks the history whether there ever was one. That the node goes away just then is no damage.
func TestBeginTogether(t *testing.T) {
	for _, test := range []struct {
		name string
		down bool
		want error
	}{{"the node stays", false, nil}, {"the node goes away", true, coffer.Unavailable}} {
		t.Run(test.name, func(t *testing.T) {
			alice := newPerson(t, provider(t), "alice")
			foreign := &coffer.Document{ID: coffer.NewObjectID(), Body: []byte("{}")}
			if _, err := coffer.Put(t.Context(), alice.vault, foreign); err != nil {
				t.Fatal(err)
			}
			first := alice.device(t, nil)
			between := &late{Vault: alice.vault, goes: test.down}
			between.missed = func() {
				if _, err := agent.Put(t.Context(), first, "first", "1"); err != nil {
					t.Error(err)
				}
			}
			second := alice.device(t, func(o *agent.Options) { o.Vault = between })
			if _, err := agent.Put(t.Context(), second, "second", "2"); !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if !between.came.Load() || between.down.Load() != test.down {
				t.Fatal("nothing came between")
			}
		})
	}
}

// A late vault calls missed before it says for the first time that something is not there, and may go away once its history
// was read from the beginning after that.
type late struct {
	coffer.Vault
	missed     func()
	goes       bool
	came, down atomic.Bool
}

var errDown = coffer.Errorf("late", coffer.Unavailable, "gone away")

func (l *late) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	if l.down.Load() {
		return nil, errDown
	}
	docs, err := l.Vault.Get(ctx, id)
	if err != nil && l.came.CompareAndSwap(false, true) {
		l.missed()
	}
	return docs, err
}

func (l *late) Changes(ctx context.Context, after coffer.Cursor, follow bool) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) {
		if l.down.Load() {
			yield(coffer.Change{}, errDown)
			return
		}
		for c, err := range l.Vault.Changes(ctx, after, follow) {
			if !yield(c, err) {
				return
			}
		}
		if l.goes && after == "" && l.came.Load() {
			l.down.Store(true)
		}
	}
}
