package agent

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Link is what a reader gets of a share: where the objects are, and the capabilities for them. As text it is
// "coffer:" and the base64url of the gzip of its JSON (doc/objects.md, section "Links"). It tells who shares how many
// objects of which vault with whom, and is of use to the reader's keys only.
type Link struct {
	Vault   string // the vault's URL
	From    string // identifier of who shared
	Objects []Shared
}

// A Shared is one object of a link.
type Shared struct {
	ID         coffer.ObjectID
	Actions    []grant.Action
	Until      time.Time
	Capability []byte // its JSON
}

const linkScheme = "coffer:"

// Bounds on links.
const (
	MaxShared   = 1000    // objects in one link
	maxLinkText = 2 << 20 // bytes
	maxLinkJSON = 4 << 20
)

// linkJSON is a link as it is written.
type linkJSON struct {
	Version      int              `json:"v"`
	Vault        string           `json:"vault"`
	Capabilities []jsontext.Value `json:"capabilities"`
}

// String returns the link as text.
func (l *Link) String() string {
	w := linkJSON{Version: 1, Vault: l.Vault, Capabilities: make([]jsontext.Value, len(l.Objects))}
	for i, s := range l.Objects {
		w.Capabilities[i] = s.Capability
	}
	b, err := jose.Encode(w)
	if err != nil {
		return "" // not of a Link that OpenLink or Share returned
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err = z.Write(b); err == nil {
		err = z.Close()
	}
	if err != nil {
		return "" // memory does not fail
	}
	return linkScheme + base64.RawURLEncoding.EncodeToString(zipped.Bytes())
}

// OpenLink reads the text of a link; white space around and in it, as mail programs leave it, is passed over. Invalid
// when it is no link, when it names more than [MaxShared] objects, and when its capabilities are not all for documents
// of its vault, delegated by one and the same. That they are genuine is for the vault to find.
func OpenLink(text string) (*Link, error) {
	const op = "link"
	if len(text) > maxLinkText {
		return nil, coffer.Errorf(op, coffer.Invalid, "too long")
	}
	encoded, ok := strings.CutPrefix(strings.Join(strings.Fields(text), ""), linkScheme)
	zipped, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "no link")
	}
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "not compressed as links are")
	}
	b, err := io.ReadAll(io.LimitReader(z, maxLinkJSON+1))
	if err != nil || len(b) > maxLinkJSON {
		return nil, coffer.Errorf(op, coffer.Invalid, "not compressed as links are, or too long")
	}
	var w linkJSON
	if err := jose.Decode(b, &w); err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	if w.Version != 1 || len(w.Capabilities) == 0 || len(w.Capabilities) > MaxShared {
		return nil, coffer.Errorf(op, coffer.Invalid, "of another version, empty, or with too many objects")
	}
	l := &Link{Vault: w.Vault}
	for _, encoded := range w.Capabilities {
		s, from, err := readShared(w.Vault, encoded)
		if err != nil {
			return nil, err
		}
		if l.From == "" {
			l.From = from
		}
		if from != l.From {
			return nil, coffer.Errorf(op, coffer.Invalid, "shared by more than one")
		}
		l.Objects = append(l.Objects, s)
	}
	return l, nil
}

// readShared reads one capability of a link, and says who began to share.
func readShared(vault string, encoded []byte) (s Shared, from string, err error) {
	const op = "link"
	c, err := grant.ParseCapability(encoded)
	if err != nil {
		return s, "", coffer.E(op, coffer.Invalid, err)
	}
	local, ok := strings.CutPrefix(c.Target(), vault+"/documents/")
	if !ok || c.RootTarget() != vault || len(c.Links()) == 0 {
		return s, "", coffer.Errorf(op, coffer.Invalid, "a capability is not for a document of the vault")
	}
	s = Shared{Actions: c.Actions(), Until: c.Expires(), Capability: encoded}
	if s.ID, err = coffer.ParseObjectID(local); err != nil {
		return s, "", coffer.Errorf(op, coffer.Invalid, "a capability is not for a document")
	}
	if s.Actions == nil {
		s.Actions = []grant.Action{grant.Read, grant.Write}
	}
	return s, c.Links()[0].Delegator, nil
}
