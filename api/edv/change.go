package edv

import (
	"net/http"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// ChangeType is the media type of a single [coffer.Change] as JSON. A client that accepts it gets it as the body of
// answers to writes, which are empty otherwise.
const ChangeType = "application/vnd.coffer.change+json"

// A change is a [coffer.Change] as it travels.
type change struct {
	Cursor   coffer.Cursor `json:"cursor"`
	Number   uint64        `json:"number"`
	Type     string        `json:"type"`
	ID       string        `json:"documentId,omitempty"`
	Sequence uint64        `json:"sequence"`
	Rev      string        `json:"revision,omitempty"`
	By       string        `json:"by"`
	Time     time.Time     `json:"time"`
}

// changeTexts are the kinds of change as they travel, by number.
var changeTexts = [...]string{"", "accepted", "erased", "vault-erased"}

func changeOf(c coffer.Change) change {
	w := change{Cursor: c.Cursor, Number: c.Number, Sequence: c.Sequence, By: c.By, Time: c.Time.UTC()}
	if int(c.Kind) < len(changeTexts) {
		w.Type = changeTexts[c.Kind]
	}
	if c.ID != (coffer.ObjectID{}) {
		w.ID = c.ID.String()
	}
	if c.Rev != (coffer.Rev{}) {
		w.Rev = c.Rev.String()
	}
	return w
}

// change returns what the wire form stands for, or Corrupt.
func (w *change) change() (c coffer.Change, err error) {
	c = coffer.Change{Cursor: w.Cursor, Number: w.Number, Sequence: w.Sequence, By: w.By, Time: w.Time}
	for k, text := range changeTexts {
		if text == w.Type && text != "" {
			c.Kind = coffer.ChangeKind(k)
		}
	}
	if w.ID != "" {
		if c.ID, err = coffer.ParseObjectID(w.ID); err != nil {
			c.Kind = 0
		}
	}
	if w.Rev != "" {
		if c.Rev, err = coffer.ParseRev(w.Rev); err != nil {
			c.Kind = 0
		}
	}
	if c.Kind == 0 || c.Number == 0 || c.Cursor == "" || (c.Kind == coffer.VaultErased) != (w.ID == "") {
		return coffer.Change{}, coffer.Errorf("change", coffer.Corrupt, "the server described none")
	}
	return c, nil
}

func decodeChange(b []byte) (coffer.Change, error) {
	var w change
	if err := jose.DecodeOpen(b, &w); err != nil {
		return coffer.Change{}, coffer.E("change", coffer.Corrupt, err)
	}
	return w.change()
}

// accepted answers a write that was accepted, with the change if the client takes it, and else empty.
func (c *call) accepted(status int, ch coffer.Change) error {
	if ch.Rev != (coffer.Rev{}) {
		c.Header()["Etag"] = []string{quote(ch.Rev.String())}
	}
	if !c.accepts(ChangeType) {
		return c.empty(status)
	}
	if status == http.StatusNoContent {
		status = http.StatusOK
	}
	c.Header()["Content-Type"] = []string{ChangeType}
	return c.encode(status, changeOf(ch))
}

func quote(s string) string { return `"` + s + `"` }
