package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

// A hubObject is how results describe an object of a hub.
type hubObject struct {
	URI       string          `json:"uri,omitempty"` // none of private kinds
	ID        string          `json:"id"`
	Interface string          `json:"interface"`
	Context   string          `json:"context"`
	Type      string          `json:"type"`
	Author    string          `json:"author"`
	Created   time.Time       `json:"created"`
	UpdatedBy string          `json:"updatedBy"`
	Updated   time.Time       `json:"updated"`
	Title     string          `json:"title,omitempty"`
	Tags      []string        `json:"tags,omitempty"`
	Public    bool            `json:"public,omitempty"`
	Sealed    bool            `json:"sealed"`
	Strategy  string          `json:"strategy"`
	Removed   bool            `json:"removed,omitempty"`
	File      *hubBytes       `json:"file,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
}

// hubBytes is how results describe what was kept with an object.
type hubBytes struct {
	Size int64 `json:"size"`
}

func newHubObject(h *hub.Hub, o *hub.Object) hubObject {
	k := completed(o.Kind)
	r := hubObject{
		ID: o.ID.String(), Interface: k.Interface, Context: k.Context, Type: k.Type, Author: o.Author, Created: o.CreatedAt,
		UpdatedBy: o.UpdatedBy, Updated: o.UpdatedAt, Title: o.Title, Tags: o.Tags, Public: o.Public, Sealed: o.Sealed,
		Strategy: o.Strategy, Removed: o.Deleted, Value: o.Value,
	}
	if o.File != nil {
		r.File = &hubBytes{o.File.Size}
	}
	if !k.Private {
		r.URI = hub.URI{Owner: h.Owner(), Interface: k.Interface, Context: k.Context, Type: k.Type, ID: o.ID}.String()
	}
	return r
}

// completed names the interface that is meant when none is.
func completed(k hub.Kind) hub.Kind {
	if k.Interface == "" {
		k.Interface = coffer.CollectionsInterface
	}
	return k
}

// cells describe an object in a table.
func (o *owner) cells(ctx context.Context, object *hub.Object) []string {
	what := object.Title
	switch {
	case object.Deleted:
		what = "(removed)"
	case what == "":
		what = gist(object.Value)
	}
	if object.File != nil {
		what += "  " + bytesText(object.File.Size)
	}
	if object.Public {
		what += "  (public)"
	}
	return []string{short(object.ID), timeText(object.UpdatedAt), o.callHub(ctx, object.UpdatedBy), what}
}

// maxGist is how much is shown of a value in a list.
const maxGist = 72

// gist says in a few words what a value is: by its name, or by how it begins.
func gist(value json.RawMessage) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) == nil {
		for _, name := range []string{"name", "title", "headline", "text", "description"} {
			var s string
			if json.Unmarshal(members[name], &s) == nil && s != "" {
				return cut(s)
			}
		}
	}
	return cut(compact(value))
}

// compact is a value on one line.
func compact(value json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, value) != nil {
		return ""
	}
	return b.String()
}

// cut shortens a text to what fits into a list.
func cut(s string) string {
	if r := []rune(s); len(r) > maxGist {
		return string(r[:maxGist-1]) + "…"
	}
	return s
}

// listObjects writes a line for each object. What cannot be opened of them is counted, and said at the end.
func (o *owner) listObjects(ctx context.Context, h *hub.Hub, objects iter.Seq2[*hub.Object, error]) error {
	t := o.program.table()
	var bad unopened
	for object, err := range objects {
		if err != nil {
			if bad.one(err) {
				continue
			}
			return o.explainHub(h, err, "cannot list the objects")
		}
		bad.some = true
		if err := t.row(newHubObject(h, object), o.cells(ctx, object)...); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	return bad.failure(o.program)
}

// unopened counts the objects of a list that could not be opened.
type unopened struct {
	sealed, corrupt, away int
	some                  bool // others were opened
}

// one counts the error of a single object. It is false for what is wrong with the list as a whole: that is said by the
// hub, with a fault.
func (u *unopened) one(err error) bool {
	var fault *coffer.Fault
	switch {
	case errors.Is(err, coffer.Corrupt):
		u.corrupt++
	case errors.Is(err, coffer.Denied) && !errors.As(err, &fault):
		u.sealed++
	case hub.OfOne(err):
		u.away++
	default:
		return false
	}
	return true
}

func (u *unopened) failure(p *program) error {
	switch {
	case u.sealed > 0 && !u.some:
		return failed(coffer.Denied, `ask for a permission with "coffer hub ask"; what is new opens once the owner ran `+
			`"coffer hub work"`, "nothing of this opens with the keys that were sent to you")
	case u.sealed > 0:
		p.note(`%s cannot be opened: the keys come when the owner runs "coffer hub work".`, objectsText(u.sealed))
	}
	if u.away > 0 {
		why := "who wrote it cannot be reached, or this instance has a record of it alone"
		if !u.some {
			return failed(coffer.Unavailable, "ask another instance, or later", "%s cannot be shown: %s", objectsText(u.away), why)
		}
		p.note("%s cannot be shown: %s.", objectsText(u.away), why)
	}
	if u.corrupt > 0 {
		return failed(coffer.Corrupt, "the others are shown", "not what was written: %s", objectsText(u.corrupt))
	}
	return nil
}

// value writes the value of an object as it is; with --json, what else is known of it, too.
func (p *program) value(h *hub.Hub, object *hub.Object) error {
	if object.Deleted {
		return failed(coffer.NotExist, "", "the object was removed")
	}
	return p.result(newHubObject(h, object), "%s", strings.TrimSpace(string(object.Value)))
}

// objectID returns the id that a text means among the objects of a kind.
func (o *owner) objectID(ctx context.Context, h *hub.Hub, k hub.Kind, text string) (coffer.CommitRev, error) {
	return oneID(text, `see the ids with "coffer hub ls" and this kind`, func(yield func(coffer.CommitRev, error) bool) {
		query := hub.QueryOptions{Filter: "id:" + text + "*", Limit: 2}
		for object, err := range h.Query(ctx, k, &query) {
			if err != nil {
				yield(coffer.CommitRev{}, o.explainHub(h, err, "cannot look for the object"))
				return
			}
			if !yield(object.ID, nil) {
				return
			}
		}
	})
}

// object returns an object by its id.
func (o *owner) object(ctx context.Context, h *hub.Hub, k hub.Kind, text string) (*hub.Object, error) {
	id, err := o.objectID(ctx, h, k, text)
	if err != nil {
		return nil, err
	}
	object, err := h.Object(ctx, k, id)
	if errors.Is(err, coffer.NotExist) {
		return nil, errNoObject()
	}
	return object, o.explainHub(h, err, "cannot get the object")
}

func errNoObject() error {
	return failed(coffer.NotExist, `see what there is with "coffer hub ls"`, "there is no such object of this kind")
}

// wrote tells what became of an object.
func (o *owner) wrote(h *hub.Hub, k hub.Kind, id coffer.CommitRev, done string) error {
	p := o.program
	if p.Quiet && !p.JSON {
		return nil
	}
	k = completed(k)
	r := struct {
		URI  string `json:"uri,omitempty"`
		ID   string `json:"id"`
		Done string `json:"done"`
	}{ID: id.String(), Done: done}
	if !k.Private {
		r.URI = hub.URI{Owner: h.Owner(), Interface: k.Interface, Context: k.Context, Type: k.Type, ID: id}.String()
	}
	return p.result(r, "%s %s  %s", done, short(id), printable(fmt.Sprint(kindText(k))))
}
