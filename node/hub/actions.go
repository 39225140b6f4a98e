package hub

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
)

// Actions: a queue of messages to the owner. Anybody may leave one, within bounds, and read nothing back. The owner
// handles them by updates of meta.state, and removes them by deletes.

// actionMeta is what the hub understands of the meta of an action.
type actionMeta struct {
	state, thread, parent *string
}

// read reads it; false if it is of the wrong form.
func (m *actionMeta) read(meta json.RawMessage) bool {
	return meta == nil || exact(meta, members{"state": &m.state, "thread": &m.thread, "parent": &m.parent})
}

// The states of an action.
const (
	stateNew  = "new" // also when there is none
	stateSeen = "seen"
	stateDone = "done"
)

// actionCounts reports whether a grant counts for actions: to leave one any does; for all else it has to name the
// interface, so that who may read a type of objects does not read messages of that type.
func actionCounts(p *grant.Permission, a *grant.Ask) bool {
	return a.Right == grant.CreateRight || p.Interface == coffer.ActionsInterface
}

// acceptAction checks threads and states, and holds strangers to their bounds.
func acceptAction(ctx context.Context, h *hub, v *view, r *row, c *merge.Commit, by *standing) error {
	var m actionMeta
	if !m.read(c.Header.Meta) {
		return invalid("commit.protected.meta", "state, thread and parent are texts")
	}
	if m.state != nil {
		switch *m.state {
		case stateNew:
		case stateSeen, stateDone:
			if r == nil && !by.owner {
				return invalid("commit.protected.meta.state", "an action begins as new")
			}
		default:
			return invalid("commit.protected.meta.state", "not a state of actions")
		}
	}
	if err := h.checkThread(ctx, &m, c.Object); err != nil {
		return err
	}
	if !by.stranger() {
		return nil
	}
	return v.hold(ctx, h, c)
}

// checkThread checks that what an action says it answers is here, unless it says that it is in another hub.
func (h *hub) checkThread(ctx context.Context, m *actionMeta, self coffer.CommitRev) error {
	thread, err := h.action(ctx, "commit.protected.meta.thread", m.thread, self)
	if err != nil {
		return err
	}
	parent, err := h.action(ctx, "commit.protected.meta.parent", m.parent, self)
	if err != nil || parent == nil || m.thread == nil {
		return err
	}
	var above actionMeta
	if !above.read(parent.Object.Meta) {
		return corrupt()
	}
	of := parent.Object.ID.String() // an action without a thread begins one
	if above.thread != nil {
		of = *above.thread
	}
	if thread != nil && of != *m.thread {
		return invalid("commit.protected.meta.thread", "not the thread of the parent")
	}
	return nil
}

// action returns the action that a text of meta names, nil if none or one of another hub.
func (h *hub) action(ctx context.Context, target string, text *string, self coffer.CommitRev) (*row, error) {
	if text == nil || strings.HasPrefix(*text, "hub://did:") {
		return nil, nil
	}
	rev, err := coffer.ParseCommitRev(*text)
	if err != nil || rev == self {
		return nil, invalid(target, "neither the id of another action nor a hub URI")
	}
	r, err := h.row(ctx, rev)
	if err != nil {
		return nil, err
	}
	if r == nil || r.Object.Interface != coffer.ActionsInterface {
		return nil, invalid(target, "no such action in this hub")
	}
	return r, nil
}

// hold holds a stranger's action to the bounds that there are.
func (v *view) hold(ctx context.Context, h *hub, c *merge.Commit) error {
	l := &v.s.o.Limits
	switch {
	case l.Actions < 0:
		return denied()
	case len(c.Payload) > l.Actions:
		return exhausted("commit.payload", "larger than an action may be")
	}
	to, err := v.introduced(ctx, h.owner, c)
	if err != nil {
		return err
	}
	if to == "" {
		if l.Work > 0 && !worked(c, l.Work) {
			return coffer.E("hub", coffer.Denied,
				&coffer.Fault{Target: "commit.header.work", Reason: "a proof of work is asked for, or an introduction"})
		}
		now := v.s.o.Now()
		if err := v.s.senders.take(mac(h.ids[:], "sender", v.who), now); err != nil {
			return err
		}
		if err := v.s.owners.take(mac(h.ids[:], "owner"), now); err != nil {
			return err
		}
	}
	for _, bound := range [...]struct {
		most int
		tag  string
		all  bool
	}{{l.WaitingOfSender, h.tag(byWaitingSender, v.who), false}, {l.Waiting, h.tag(byWaiting), true}} {
		if to == v.who && bound.all { // strangers must not keep out those whom the owner knows
			continue
		}
		q := coffer.Query{Index: tagKey, Equals: []map[string]string{{tagName: bound.tag}}, Limit: bound.most, IDsOnly: true}
		n := 0
		for _, err := range h.vault.Query(ctx, q) {
			if err != nil {
				return err
			}
			n++
		}
		if n >= bound.most {
			return exhausted("", "too many actions wait to be handled")
		}
	}
	return nil
}

// actionTags are what strangers' actions that are not done are counted by.
func actionTags(r *row, add func(texts ...string)) {
	if !r.Stranger || r.Object.Deleted {
		return
	}
	var m actionMeta
	if r.Object.UpdatedBy == r.Object.Sub && m.read(r.Object.Meta) && m.state != nil && *m.state == stateDone {
		return
	}
	add(byWaiting)
	add(byWaitingSender, r.Object.CreatedBy)
}
