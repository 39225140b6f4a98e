// Package seal turns values into envelopes that a provider can keep but not read, and back: JSON with [Seal] and
// [Open], streams of bytes in chunks with [ChunkSealer] and [ChunkOpener] (or, one chunk after the other, [Writer] and
// [Reader]), and what may be searched for with a [Blinder].
//
// The envelopes are those of encrypted data vaults, and published clients of such vaults read and write them: a JWE
// with named recipients whose plaintext is {"content", "meta", "stream"}. What this package writes differs in one way:
// it is bound to its place. A provider that passes off one document, chunk or revision as another, reorders chunks or
// cuts a stream short is found out ([coffer.Corrupt]). What foreign clients wrote opens all the same, and is reported
// as not bound.
//
// What the seal does not prove is who wrote: whoever knows a reader's public key can seal something new for it.
//
// Private keys stay in the [coffer.Keyring]; content keys never leave this package but sealed.
package seal

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Plain is what a document holds for those who can read it.
type Plain struct {
	Content json.RawMessage // a JSON object; {} when empty
	Meta    json.RawMessage // a JSON object; {} when empty
	Stream  *Stream         // nil when the document has none
}

// Options say how a document is sealed.
type Options struct {
	ID       coffer.ObjectID
	Sequence uint64
	Parents  []coffer.Rev // what the revision replaces; bound like id and sequence

	// Recipients are those who will be able to read. They stand in the envelope for all to see. None means the
	// keyring's own agreement key alone; otherwise it is a recipient only when it is listed.
	Recipients []coffer.PublicKey
	// Enc is the content encryption, "XC20P" or "A256GCM". Empty means XC20P, which all clients have.
	Enc string
	// Blind makes the index entry under the keyring's HMAC key; nil makes none.
	Blind *Blinder
	// Keep are the index entries of the revision that is replaced ([Opened].Entries). They are carried over as they
	// are, but for the one that Blind makes anew in its place.
	Keep []edv.Entry
}

// MaxBody is the most bytes of an envelope that [Open] looks at.
const MaxBody = 32 << 20

// binding is the member "coffer" of what is sealed: where the envelope belongs. It stands beside "content" and "meta",
// not in them, for clients that do not know it drop it when they write a document anew; in "meta" they would carry it
// over, and it would then name a place where their envelope does not stand.
type binding struct {
	ID       coffer.ObjectID `json:"id"`
	Sequence uint64          `json:"sequence"`
	Parents  []string        `json:"parents,omitempty"`
}

// sealed is the plaintext of an envelope.
type sealed struct {
	Content jsontext.Value `json:"content,omitzero"`
	Meta    jsontext.Value `json:"meta,omitzero"`
	Stream  jsontext.Value `json:"stream,omitzero"`
	Coffer  jsontext.Value `json:"coffer,omitzero"`
}

// Seal returns a document ready to be put into a vault: its Body is the encrypted document as it travels, and Tags and
// Stream say what the Body says. Invalid for values that are not JSON objects, for recipients whose key is no X25519
// key, and for what [coffer.Document.Check] refuses; otherwise the keyring's own error.
//
// To share a document, seal it again with more recipients and the next sequence. The binding to the sequence makes that
// necessary, and it gives the revision a key that former readers do not have. A new reader can read the stream, too:
// its key is sealed in the document. Only foreign clients need to be recipients of each chunk.
func Seal(ctx context.Context, ring coffer.Keyring, p Plain, o Options) (*coffer.Document, error) {
	const op = "seal"
	if p.Stream != nil {
		if err := p.Stream.check(o.Sequence); err != nil {
			return nil, coffer.E(op, coffer.Invalid, err)
		}
	}
	entries, err := o.entries(ctx, p)
	if err != nil {
		return nil, err
	}
	plaintext, err := encodePlain(p, o)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	if o.Enc == "" {
		o.Enc = string(jose.XC20P)
	}
	key, err := jose.NewContentKey(jose.Encryption(o.Enc))
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	protected, err := key.Protected()
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	if len(o.Recipients) == 0 {
		o.Recipients = []coffer.PublicKey{ring.Key(coffer.AgreementKey)}
	}
	recipients, err := wrap(key, o.Recipients)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	w := edv.Document{
		ID: o.ID, Sequence: o.Sequence, Indexed: entries,
		JWE: key.Encrypt(protected, recipients, plaintext),
	}
	d := &coffer.Document{ID: o.ID, Sequence: o.Sequence, Parents: o.Parents, Tags: edv.Tags(entries)}
	if p.Stream != nil {
		w.Stream, d.Stream = p.Stream.outside()
	}
	if d.Body, err = jose.Encode(w); err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "an index entry is not UTF-8")
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	return d, nil
}

// entries returns the index entries of the new revision.
func (o *Options) entries(ctx context.Context, p Plain) ([]edv.Entry, error) {
	entries := slices.Clone(o.Keep)
	if o.Blind != nil {
		own, err := o.Blind.Entry(ctx, p, o.Sequence)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(entries, func(e edv.Entry) bool { return e.HMAC == own.HMAC })
		if at >= 0 {
			entries[at] = own
		} else {
			entries = append(entries, own)
		}
	}
	for i, e := range entries {
		if slices.ContainsFunc(entries[:i], func(other edv.Entry) bool { return other.HMAC == e.HMAC }) {
			return nil, coffer.Errorf("seal", coffer.Invalid, "two index entries for one HMAC key")
		}
	}
	return entries, nil
}

func encodePlain(p Plain, o Options) ([]byte, error) {
	b := binding{ID: o.ID, Sequence: o.Sequence}
	for _, r := range o.Parents {
		b.Parents = append(b.Parents, r.String())
	}
	var s sealed
	var err error
	if s.Content, err = object(p.Content); err != nil {
		return nil, err
	}
	if s.Meta, err = object(p.Meta); err != nil {
		return nil, err
	}
	if p.Stream != nil {
		if s.Stream, err = p.Stream.inside(); err != nil {
			return nil, err
		}
	}
	if s.Coffer, err = jose.Encode(b); err != nil {
		return nil, err
	}
	plaintext, err := jose.Encode(s)
	if err != nil {
		return nil, errors.New("content or meta is not strict JSON")
	}
	return plaintext, jose.Valid(plaintext) // nothing is sealed that is nested too deep to be opened
}

// object returns b, or an empty object for none.
func object(b json.RawMessage) (jsontext.Value, error) {
	v := jsontext.Value(b)
	if len(v) == 0 {
		v = jsontext.Value("{}")
	}
	if v.Kind() != '{' {
		return nil, errors.New("content or meta is not a JSON object")
	}
	return v, nil
}

// An Opened is a document as a reader sees it.
type Opened struct {
	Plain
	ID       coffer.ObjectID
	Sequence uint64
	// Bound reports that the envelope was sealed for just this document and sequence. When it is false a foreign
	// client wrote it, and the provider may have taken it from elsewhere.
	Bound   bool
	Parents []coffer.Rev // what the writer replaced, as sealed; nil when not bound
	KeyIDs  []string     // ids of the recipients' keys; the provider may have changed the list
	Entries []edv.Entry  // all index entries, to be kept by the next revision; not authenticated
}

// Open reads a document that [Seal] or a foreign client made.
//
// Corrupt when the document is not what its writer made or does not stand where its writer put it; that it was not
// encrypted for this keyring's present key looks the same unless no recipient is named like it, which is Denied.
// Exhausted beyond [MaxBody]. Otherwise the keyring's own error.
func Open(ctx context.Context, ring coffer.Keyring, d *coffer.Document) (*Opened, error) {
	const op = "open"
	if len(d.Body) > MaxBody {
		return nil, coffer.Errorf(op, coffer.Exhausted, "document is too large")
	}
	var w edv.Document
	if err := jose.Decode(d.Body, &w); err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	if w.ID != d.ID || w.Sequence != d.Sequence {
		return nil, coffer.Errorf(op, coffer.Corrupt, "envelope is another document's")
	}
	j, err := jose.Parse(w.JWE)
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	ids, err := j.KeyIDs()
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	key, err := unwrap(ctx, ring, j)
	if err != nil {
		return nil, err
	}
	plaintext, err := j.Decrypt(nil, key)
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	o := &Opened{ID: d.ID, Sequence: d.Sequence, KeyIDs: ids, Entries: w.Indexed}
	if err := o.decodePlain(plaintext, d); err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	return o, nil
}

// decodePlain reads what was sealed, and checks that it was sealed for d.
func (o *Opened) decodePlain(plaintext []byte, d *coffer.Document) error {
	var s sealed
	if err := decodeObject(plaintext, &s); err != nil {
		return err
	}
	content, err := object(json.RawMessage(s.Content))
	if err != nil {
		return err
	}
	meta, err := object(json.RawMessage(s.Meta))
	if err != nil {
		return err
	}
	o.Content, o.Meta = json.RawMessage(content), json.RawMessage(meta)
	if s.Stream != nil {
		if o.Stream, err = decodeStream(s.Stream, d.Sequence); err != nil {
			return err
		}
	}
	if s.Coffer == nil {
		return nil
	}
	var b binding
	if err := decodeObject(s.Coffer, &b); err != nil {
		return err
	}
	for _, text := range b.Parents {
		r, err := coffer.ParseRev(text)
		if err != nil {
			return errors.New("a parent is not a revision")
		}
		o.Parents = append(o.Parents, r)
	}
	switch {
	case b.ID != d.ID || b.Sequence != d.Sequence:
		return errors.New("sealed for another place")
	case len(d.Parents) > 0 && len(o.Parents) > 0 && !sameRevs(d.Parents, o.Parents):
		return errors.New("sealed to replace another revision")
	case !sameStream(o.Stream, d.Stream):
		return errors.New("document names another stream than was sealed")
	}
	o.Bound = true
	return nil
}

// decodeObject is [jose.DecodeOpen] for an object: null would leave v as it was.
func decodeObject(b []byte, v any) error {
	if jsontext.Value(b).Kind() != '{' {
		return errors.New("not a JSON object")
	}
	return jose.DecodeOpen(b, v)
}

func sameRevs(a, b []coffer.Rev) bool {
	compare := func(x, y coffer.Rev) int { return slices.Compare(x[:], y[:]) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, compare)
	slices.SortFunc(b, compare)
	return slices.Equal(a, b)
}

func sameStream(s *Stream, outside *coffer.Stream) bool {
	if s == nil || outside == nil {
		return s == nil && outside == nil
	}
	_, want := s.outside()
	return *want == *outside
}

// wrap wraps a content key for people's agreement keys.
func wrap(key *jose.ContentKey, people []coffer.PublicKey) (jsontext.Value, error) {
	recipients := make([]jose.Recipient, len(people))
	for i, p := range people {
		// Ed25519 keys have 32 bytes as well, and encrypting to one by mistake would lose the content.
		if strings.HasPrefix(p.Type, "Ed25519") || len(p.Public) != 32 {
			return nil, errors.New("a recipient's key is no X25519 key")
		}
		recipients[i] = jose.Recipient{KeyID: p.ID, Curve: jose.X25519, Public: p.Public}
	}
	return key.Wrap(recipients...)
}

// unwrap returns the content key of a JWE. Its errors are those of [Open].
func unwrap(ctx context.Context, ring coffer.Keyring, j *jose.JWE) (*jose.ContentKey, error) {
	const op = "open"
	var failed error // the keyring's own failure, which says nothing about the envelope
	key, err := j.Unwrap(jose.Reader{
		KeyID: ring.Key(coffer.AgreementKey).ID,
		Curve: jose.X25519,
		Agree: func(ephemeral []byte) ([]byte, error) {
			z, err := ring.Agree(ctx, ephemeral)
			if err != nil && !errors.Is(err, coffer.Invalid) {
				failed = err
			}
			return z, err
		},
	})
	switch {
	case failed != nil:
		return nil, failed
	case errors.Is(err, jose.ErrNoRecipient):
		return nil, coffer.E(op, coffer.Denied, err)
	case err != nil:
		return nil, coffer.E(op, coffer.Corrupt, jose.ErrDecrypt)
	}
	return key, nil
}
