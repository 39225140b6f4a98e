package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// Something can be asked for by whoever has its *name*: a short text that fits into a QR code and grants nothing. It
// leads to an open object that says who is asked, and how: by a message in the vault's inbox, sealed to the owner. The
// answer is left at a place that only the two know (doc/objects.md, section "Asking").

// A named is the owner's record of something that can be asked for.
type named struct {
	Token base64url       `json:"token"`
	Scope coffer.ObjectID `json:"scope"`
	Path  string          `json:"path"`
	Title string          `json:"title"`
	Place placeJSON       `json:"place"`
	Since time.Time       `json:"since"`
	Until time.Time       `json:"until"`
}

type placeJSON struct {
	ID  coffer.ObjectID `json:"id"`
	Key base64url       `json:"key"`
}

func newPlaceJSON(p openPlace) placeJSON { return placeJSON{p.ID, p.Key[:]} }

func (w placeJSON) place() (p openPlace, err error) {
	if len(w.Key) != len(p.Key) {
		return p, coffer.Errorf("place", coffer.Corrupt, "a key has another length")
	}
	return openPlace{w.ID, [32]byte(w.Key)}, nil
}

// An askPage is what stands at the place that a name leads to.
type askPage struct {
	Type       string         `json:"type"`
	Version    int            `json:"version"`
	Vault      string         `json:"vault"`
	Title      string         `json:"title"`
	Card       string         `json:"card"` // the owner's
	Token      base64url      `json:"token"`
	Seed       base64url      `json:"seed"` // of whoever asks
	Capability jsontext.Value `json:"capability"`
}

// A requestJSON is what is sealed to the owner.
type requestJSON struct {
	Type      string    `json:"type"`
	Version   int       `json:"version"`
	Vault     string    `json:"vault"`
	Token     base64url `json:"token"`
	Card      string    `json:"card"` // of whoever asks
	Reason    string    `json:"reason"`
	Fields    []string  `json:"fields,omitempty"`
	Write     bool      `json:"write,omitzero"`
	Reply     placeJSON `json:"reply"`
	Time      time.Time `json:"time"`
	Statement base64url `json:"statement,omitempty"`
}

func (r *requestJSON) statement() ([]byte, error) {
	c := *r
	c.Statement = nil
	return signable("request", c)
}

// An answerJSON is what is left for whoever asked.
type answerJSON struct {
	Type    string `json:"type"`
	Link    string `json:"link,omitempty"` // none: no
	Message string `json:"message,omitempty"`
}

const (
	namedFolder    = reserved + "/named"
	askedFolder    = reserved + "/asked"
	answeredFolder = reserved + "/answered"

	askType     = "coffer/ask"
	requestType = "coffer/request"
	answerType  = "coffer/answer"
	askVersion  = 1

	nameScheme  = "coffer-ask:"
	requestInfo = "coffer request 1"
	requestSize = 8 << 10
	maxReason   = 2048 // bytes
	maxFields   = 64
	inboxKey    = "urn:coffer:inbox"
	inboxName   = "message"
	// keepAnswers is for how long an answer waits.
	keepAnswers = 30 * 24 * time.Hour
)

// tokenTag returns by which tag a message says what it is about: nothing to those who do not know the token.
func tokenTag(token []byte) string {
	sum := sha256.Sum256(append([]byte("coffer ask 1\x00"), token...))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// messageKey returns the key of messages about what has a name.
func (p openPlace) messageRef(id coffer.ObjectID) seal.Ref {
	return seal.Ref{ID: id, Key: p.derive("message")}
}

// Name makes a text by which what is at the path can be asked for: by anybody who is given it, until a year is over or
// [Agent.Unname]. The title is shown to whoever has the text; nothing else of the object is.
func (a *Agent) Name(ctx context.Context, at, title string) (string, error) {
	at, err := a.objectPath(at)
	if err != nil {
		return "", err
	}
	if a.guest != nil || a.URL == "" || len(title) > maxText {
		return "", coffer.Errorf("name", coffer.Invalid, "needs a vault of one's own and its URL, and a short title")
	}
	i, err := a.Stat(ctx, at)
	if err != nil {
		return "", err
	}
	ring, ok := a.Keyring.(carded)
	if !ok {
		return "", coffer.Errorf("name", coffer.Invalid, "the keyring has no card")
	}
	card, err := ring.Card(ctx, "")
	if err != nil {
		return "", err
	}
	now := a.Now().UTC().Truncate(time.Second)
	id := coffer.NewObjectID()
	n := named{
		Token: id[:], Scope: i.ID, Path: at, Title: title, Place: newPlaceJSON(newOpenPlace()), Since: now,
		Until: now.Add(maxLife),
	}
	seed, capability, err := a.asker(ctx, &n)
	if err != nil {
		return "", err
	}
	page, err := jose.Encode(askPage{askType, askVersion, a.URL, title, card, n.Token, seed, capability})
	if err != nil {
		return "", coffer.E("name", coffer.Invalid, err)
	}
	// The record comes first: what is open to others must be known.
	if err := a.putValue(ctx, namedPath(n.Token), "Named", n); err != nil {
		return "", err
	}
	place, err := n.Place.place()
	if err != nil {
		return "", err
	}
	if err := a.putOpen(ctx, place, page); err != nil {
		return "", err
	}
	b := append([]byte{askVersion}, place.ID[:]...)
	b = append(append(b, place.Key[:]...), a.URL...)
	return nameScheme + base64.RawURLEncoding.EncodeToString(b), nil
}

// A carded keyring has a card to show to others.
type carded interface {
	Card(ctx context.Context, name string) (string, error)
}

func namedPath(token []byte) string { return namedFolder + "/" + tokenTag(token) }

// putValue keeps one of the agent's own typed objects.
func (a *Agent) putValue(ctx context.Context, at, typ string, v any) error {
	b, err := jose.Encode(v)
	if err != nil {
		return coffer.E("record", coffer.Invalid, err)
	}
	_, err = a.put(ctx, at, Source{Value: b, Type: typ}, PutOptions{})
	return err
}

// asker returns the identity of whoever asks by a name, and its capability.
func (a *Agent) asker(ctx context.Context, n *named) (seed, capability []byte, err error) {
	if seed, err = a.Keyring.Derive(ctx, "coffer asker 1\x00"+a.Space+"\x00"+string(n.Token)); err != nil {
		return nil, nil, err
	}
	capability, err = grant.Delegate(ctx, a.controller(), a.URL, grant.DelegateOptions{
		Controller: keyring.Bearer([32]byte(seed)).DID(), Target: a.URL + "/inbox", Actions: []grant.Action{grant.Write},
		Created: n.Since, Expires: n.Until, ID: urn(n.Token),
	})
	return seed, capability, err
}

// A Named is something that can be asked for.
type Named struct {
	ID    string
	Path  string
	Title string
	Since time.Time
	Until time.Time
}

// Names yields what can be asked for.
func (a *Agent) Names(ctx context.Context) iter.Seq2[Named, error] {
	return func(yield func(Named, error) bool) {
		for n, err := range values[named](ctx, a, namedFolder) {
			if err != nil {
				yield(Named{}, err)
				return
			}
			if !yield(Named{tokenTag(n.Token), n.Path, n.Title, n.Since, n.Until}, nil) {
				return
			}
		}
	}
}

// Unname ends a name, by its id: nobody can ask by it from then on. NotExist if there is none.
func (a *Agent) Unname(ctx context.Context, id string) error {
	n, err := a.named(ctx, id)
	if err != nil {
		return err
	}
	_, capability, err := a.asker(ctx, n)
	if err != nil {
		return err
	}
	if a.Revoker != nil {
		if err := a.Revoker.Revoke(ctx, capability); err != nil && !errors.Is(err, coffer.NotExist) {
			return err
		}
	}
	place, err := n.Place.place()
	if err != nil {
		return err
	}
	if err := a.dropOpen(ctx, place); err != nil {
		return err
	}
	return a.remove(ctx, namedPath(n.Token), false)
}

// named returns the record with an id.
func (a *Agent) named(ctx context.Context, id string) (*named, error) {
	if len(id) != 22 || strings.Contains(id, "/") {
		return nil, coffer.Errorf("name", coffer.NotExist, "no such name")
	}
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	var n named
	return &n, v.value(ctx, namedFolder+"/"+id, &n)
}

// values yields the agent's own typed objects in a folder.
func values[T any](ctx context.Context, a *Agent, folder string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		v, err := a.look(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for i, err := range v.list1(ctx, folder) {
			if errors.Is(err, coffer.NotExist) {
				return
			}
			var value *T
			if err == nil {
				value = new(T)
				err = v.value(ctx, i.Path, value)
			}
			if !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// A Page is what a name leads to: who is asked for what.
type Page struct {
	Title string
	Owner string // identifier of who is asked; the page is signed by it

	vault string
	place openPlace
	askPage
}

// OpenName reads what a name leads to. Invalid for a text that is no name, NotExist when it has ended.
func (a *Agent) OpenName(ctx context.Context, text string, door Door) (*Page, error) {
	const op = "name"
	encoded, ok := strings.CutPrefix(strings.Join(strings.Fields(text), ""), nameScheme)
	b, good := jose.Decode64(encoded)
	if !ok || !good || len(text) > 4096 || len(b) < 1+16+32+8 {
		return nil, coffer.Errorf(op, coffer.Invalid, "no name, or a part of it is missing")
	}
	if b[0] != askVersion {
		return nil, coffer.Errorf(op, coffer.Invalid, "made by a newer program")
	}
	p := &Page{vault: string(b[49:])}
	p.place.ID, p.place.Key = coffer.ObjectID(b[1:17]), [32]byte(b[17:49])
	o, err := a.readOpen(ctx, door, p.vault, p.place)
	if err != nil {
		return nil, err
	}
	if err := jose.DecodeOpen(o.Content, &p.askPage); err != nil || p.Type != askType || p.Version != askVersion ||
		p.askPage.Vault != p.vault || len(p.Seed) != 32 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the page is not what it should be")
	}
	card, err := keyring.ParseCard(p.Card)
	if err != nil {
		return nil, err
	}
	if card.DID != o.Author {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the page is not by whom it names")
	}
	if err := a.knownKey(ctx, card.DID, card.Signing); err != nil {
		return nil, err
	}
	p.Title, p.Owner = p.askPage.Title, card.DID
	return p, nil
}

// AskOptions say what is asked for, and why.
type AskOptions struct {
	Reason string
	Fields []string // of a typed object: only these
	Write  bool
	Name   string // what whoever asks wants to be called
}

// asked is the record of something that was asked for.
type asked struct {
	Title  string    `json:"title"`
	Owner  string    `json:"owner"`
	Vault  string    `json:"vault"`
	Reason string    `json:"reason"`
	Reply  placeJSON `json:"reply"`
	Time   time.Time `json:"time"`
}

// Ask asks the owner for what a name is of. It returns the id by which [Agent.Answers] names it.
func (a *Agent) Ask(ctx context.Context, p *Page, o AskOptions, door Door) (string, error) {
	const op = "ask"
	if len(o.Reason) > maxReason || len(o.Fields) > maxFields {
		return "", coffer.Errorf(op, coffer.Invalid, "the reason is too long, or there are too many fields")
	}
	ring, ok := a.Keyring.(carded)
	if !ok || a.guest != nil {
		return "", coffer.Errorf(op, coffer.Invalid, "needs a vault of one's own, and a keyring with a card")
	}
	card, err := ring.Card(ctx, o.Name)
	if err != nil {
		return "", err
	}
	owner, err := keyring.ParseCard(p.Card)
	if err != nil {
		return "", err
	}
	now := a.Now().UTC().Truncate(time.Millisecond)
	reply := newOpenPlace()
	r := requestJSON{
		Type: requestType, Version: askVersion, Vault: p.vault, Token: p.Token, Card: card, Reason: o.Reason,
		Fields: o.Fields, Write: o.Write, Reply: newPlaceJSON(reply), Time: now,
	}
	if r.Statement, err = a.sign(ctx, &r); err != nil {
		return "", err
	}
	b, err := jose.Encode(r)
	if err != nil {
		return "", coffer.E(op, coffer.Invalid, err)
	}
	if b, err = seal.PadDelivery(b, requestSize); err != nil {
		return "", err
	}
	sealed, err := seal.Deliver(owner.Delivery.Public, []byte(requestInfo), b)
	if err != nil {
		return "", err
	}
	c := content{Type: TypeFile, Data: sealed, Size: int64(len(sealed))}
	content, err := c.encode()
	if err != nil {
		return "", err
	}
	by := keyring.Bearer([32]byte(p.Seed))
	d, err := seal.SealObject(ctx, seal.Plain{Content: content}, seal.ObjectOptions{
		Ref: p.place.messageRef(coffer.NewObjectID()), Author: by, Time: now,
		Keep: []edv.Entry{{
			HMAC: coffer.KeyRef{ID: inboxKey, Type: "Sha256HmacKey2019"}, Attributes: []edv.Attribute{{Name: inboxName, Value: tokenTag(p.Token)}},
		}},
	})
	if err != nil {
		return "", err
	}
	id := recordPath(askedFolder, d.ID.String())
	record := asked{p.Title, p.Owner, p.vault, o.Reason, newPlaceJSON(reply), now}
	if err := a.putValue(ctx, id, "Asked", record); err != nil {
		return "", err
	}
	if err := door.Drop(ctx, p.vault, by, p.Capability, d); err != nil {
		_ = a.remove(context.WithoutCancel(ctx), id, false)
		return "", err
	}
	return path.Base(id), nil
}

// An Answer is what came of asking.
type Answer struct {
	ID      string
	Title   string
	Owner   string
	Reason  string
	Time    time.Time
	Waiting bool   // there is no answer yet
	Link    string // empty: the answer is no
	Message string
}

// Answers yields what was asked for and what came of it. It goes on after an error, which is about one answer; the
// Answer then says which.
func (a *Agent) Answers(ctx context.Context, door Door) iter.Seq2[Answer, error] {
	return func(yield func(Answer, error) bool) {
		v, err := a.look(ctx)
		if err != nil {
			yield(Answer{}, err)
			return
		}
		for i, err := range v.list1(ctx, askedFolder) {
			if errors.Is(err, coffer.NotExist) {
				return
			}
			var w asked
			var answer Answer
			if err == nil {
				err = v.value(ctx, i.Path, &w)
			}
			if err == nil {
				answer, err = a.answer(ctx, i.Name(), &w, door)
			}
			if !yield(answer, err) { // one vault that is out of reach does not hide what others answered
				return
			}
		}
	}
}

func (a *Agent) answer(ctx context.Context, id string, w *asked, door Door) (Answer, error) {
	out := Answer{ID: id, Title: w.Title, Owner: w.Owner, Reason: w.Reason, Time: w.Time}
	place, err := w.Reply.place()
	if err != nil {
		return out, err
	}
	o, err := a.readOpen(ctx, door, w.Vault, place)
	if errors.Is(err, coffer.NotExist) || errors.Is(err, coffer.Denied) {
		out.Waiting = true
		return out, nil
	} else if err != nil {
		return out, err
	}
	var answer answerJSON
	if o.Author != w.Owner || jose.DecodeOpen(o.Content, &answer) != nil || answer.Type != answerType {
		return out, coffer.Errorf("answer", coffer.Corrupt, "not by who was asked")
	}
	out.Link, out.Message = answer.Link, answer.Message
	return out, nil
}

// ForgetAsked forgets something that was asked for.
func (a *Agent) ForgetAsked(ctx context.Context, id string) error {
	if id == "" || strings.Contains(id, "/") {
		return coffer.Errorf("ask", coffer.NotExist, "nothing of this id was asked")
	}
	return a.remove(ctx, askedFolder+"/"+id, false)
}

// A Request is what somebody asks the owner for.
type Request struct {
	ID     coffer.ObjectID
	From   string // identifier of who asks
	Proven bool   // the request is signed with the key that From names; else whose key it is, Grant finds out
	Name   string // what who asks wants to be called; proves nothing
	Card   string
	Title  string
	Path   string // of what is asked for
	Reason string
	Fields []string
	Write  bool
	Time   time.Time

	reply openPlace
}

// Requests yields what others ask for. Messages that are no requests, or not signed by whom they name, are passed over
// and counted by [Agent.Junk].
func (a *Agent) Requests(ctx context.Context) iter.Seq2[*Request, error] {
	return func(yield func(*Request, error) bool) {
		for d, err := range a.messages(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			r, err := a.request(ctx, d)
			if errors.Is(err, coffer.Corrupt) || errors.Is(err, coffer.NotExist) || errors.Is(err, coffer.Invalid) ||
				errors.Is(err, coffer.Denied) {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Junk erases the messages in the inbox that [Agent.Requests] passes over, and returns how many there were.
func (a *Agent) Junk(ctx context.Context) (n int, err error) {
	var junk []coffer.ObjectID
	for d, err := range a.messages(ctx) {
		if err != nil {
			return 0, err
		}
		switch _, err := a.request(ctx, d); coffer.KindOf(err) {
		case coffer.Corrupt, coffer.NotExist, coffer.Invalid, coffer.Denied:
			junk = append(junk, d.ID)
		}
	}
	for _, id := range junk {
		if _, err := a.Vault.Apply(ctx, coffer.Write{Erase: id}); err != nil && !errors.Is(err, coffer.NotExist) {
			return n, err
		}
		n++
	}
	return n, nil
}

// messages yields what is in the vault's inbox.
func (a *Agent) messages(ctx context.Context) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) {
		if a.guest != nil {
			yield(nil, coffer.Errorf("requests", coffer.Invalid, "needs a vault of one's own"))
			return
		}
		var last coffer.ObjectID
		for d, err := range a.Vault.Query(ctx, coffer.Query{Index: inboxKey, Has: []string{inboxName}}) {
			if err == nil && bytes.Compare(d.ID[:], last[:]) <= 0 { // or the vault could go on for ever
				err = coffer.Errorf("requests", coffer.Corrupt, "the vault answered out of order, or twice")
			}
			if !yield(d, err) || err != nil {
				return
			}
			last = d.ID
		}
	}
}

// request reads a message.
func (a *Agent) request(ctx context.Context, d *coffer.Document) (*Request, error) {
	const op = "request"
	i := slices.IndexFunc(d.Tags, func(t coffer.Tag) bool { return t.Key == inboxKey && t.Name == inboxName })
	if i < 0 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "no message")
	}
	n, err := a.named(ctx, d.Tags[i].Value)
	if err != nil {
		return nil, err
	}
	place, err := n.Place.place()
	if err != nil {
		return nil, err
	}
	o, err := seal.OpenObject(place.messageRef(d.ID), d)
	if err != nil {
		return nil, err
	}
	c, err := decodeContent(o.Content)
	if err != nil {
		return nil, err
	}
	b, err := a.Keyring.Receive(ctx, []byte(requestInfo), c.Data)
	if err != nil {
		return nil, err
	}
	var w requestJSON
	if b, err = seal.UnpadDelivery(b); err != nil {
		return nil, err
	}
	if jose.DecodeOpen(b, &w) != nil || w.Type != requestType || w.Version != askVersion || w.Vault != a.URL ||
		!bytes.Equal(w.Token, n.Token) || len(w.Reason) > maxReason || len(w.Fields) > maxFields {
		return nil, coffer.Errorf(op, coffer.Corrupt, "not a request for what it names")
	}
	card, err := keyring.ParseCard(w.Card)
	if err != nil {
		return nil, err
	}
	// Whose key it is may have to be looked up in a place of a stranger's choice: that is for Grant, not for reading.
	message, err := w.statement()
	if err != nil || !ed25519.Verify(card.Signing.Public, message, w.Statement) {
		return nil, coffer.Errorf(op, coffer.Corrupt, "not signed by whom it names")
	}
	r := &Request{
		ID: d.ID, From: card.DID, Proven: card.Proven, Name: card.Name, Card: w.Card, Title: n.Title, Reason: w.Reason, Fields: w.Fields,
		Write: w.Write, Time: w.Time,
	}
	if r.reply, err = w.Reply.place(); err != nil {
		return nil, err
	}
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if !r.Proven {
		if c, err := v.contact(ctx, r.From); err == nil {
			known, err := keyring.ParseCard(c.Card)
			r.Proven = err == nil && known.DID == card.DID && bytes.Equal(known.Signing.Public, card.Signing.Public)
		}
	}
	r.Path, err = v.find(ctx, &grantRecord{Scope: n.Scope, Path: n.Path})
	return r, err
}

// Request returns the request with an id, or NotExist.
func (a *Agent) Request(ctx context.Context, id coffer.ObjectID) (*Request, error) {
	docs, err := a.Vault.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 || docs[0].ID != id {
		return nil, coffer.Errorf("request", coffer.Corrupt, "the vault answered with another object")
	}
	return a.request(ctx, docs[0])
}

// answered is the owner's record of an answer that waits.
type answered struct {
	Place placeJSON `json:"place"`
	Time  time.Time `json:"time"`
}

// Grant answers a request with what is asked for, or with what the options say: other fields, another time. With is
// whoever asks, who becomes a contact. It returns what was granted.
func (a *Agent) Grant(ctx context.Context, r *Request, o ShareOptions, message string) (*Share, error) {
	name := r.Name
	if c, err := a.Contact(ctx, r.From); err == nil {
		name = c.Name // what the owner calls a contact is not for others to say
	} else if !errors.Is(err, coffer.NotExist) {
		return nil, err
	}
	if _, err := a.AddContact(ctx, r.Card, name); err != nil {
		return nil, err
	}
	o.With = r.From
	shares, err := a.Share(ctx, r.Path, o)
	if err != nil {
		return nil, err
	}
	return &shares[0], a.reply(ctx, r, answerJSON{Type: answerType, Link: shares[0].Link, Message: message})
}

// Refuse answers a request with no.
func (a *Agent) Refuse(ctx context.Context, r *Request, message string) error {
	return a.reply(ctx, r, answerJSON{Type: answerType, Message: message})
}

// Dismiss erases a request without an answer.
func (a *Agent) Dismiss(ctx context.Context, r *Request) error {
	_, err := a.Vault.Apply(ctx, coffer.Write{Erase: r.ID})
	if errors.Is(err, coffer.NotExist) {
		return nil
	}
	return err
}

// reply leaves an answer, and takes the request out of the inbox. Answers that waited for long go.
func (a *Agent) reply(ctx context.Context, r *Request, answer answerJSON) error {
	if len(answer.Message) > maxReason {
		return coffer.Errorf("answer", coffer.Invalid, "the message is too long")
	}
	b, err := jose.Encode(answer)
	if err != nil {
		return coffer.E("answer", coffer.Invalid, err)
	}
	// Whoever asks chose the place: it must not be one where something is.
	if _, err := a.Vault.Get(ctx, r.reply.ID); !errors.Is(err, coffer.NotExist) {
		if err == nil {
			err = coffer.Errorf("answer", coffer.Conflict, "something is where the answer is to be left")
		}
		return err
	}
	now := a.Now().UTC().Truncate(time.Second)
	at := recordPath(answeredFolder, r.reply.ID.String())
	if err := a.putValue(ctx, at, "Answered", answered{newPlaceJSON(r.reply), now}); err != nil {
		return err
	}
	if err := a.putOpen(ctx, r.reply, b); err != nil {
		return err
	}
	if err := a.Dismiss(ctx, r); err != nil {
		return err
	}
	for old, err := range values[answered](ctx, a, answeredFolder) {
		if err != nil {
			return err
		}
		if old.Time.After(now.Add(-keepAnswers)) {
			continue
		}
		place, err := old.Place.place()
		if err != nil {
			return err
		}
		if err := a.dropOpen(ctx, place); err != nil {
			return err
		}
		if err := a.remove(ctx, recordPath(answeredFolder, place.ID.String()), false); err != nil {
			return err
		}
	}
	return nil
}
