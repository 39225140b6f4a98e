// Package seal turns values into envelopes that a provider can keep but not read, and back: JSON with [Seal] and
// [Open], streams of bytes in chunks with [ChunkSealer] and [ChunkOpener] (or, one chunk after the other, [Writer] and
// [Reader]), and what may be searched for with a [Blinder].
//
// A native object is sealed with [SealObject] under its [ObjectKey] and opened with [OpenObject]. Its envelope names
// nobody, its length is padded, and its author signed what is in it ([Opened.CheckAuthor]). Keys reach a reader with
// [Deliver]. doc/sealing.md gives the formats and what a provider can still learn.
//
// [Seal] and [Open] are for the envelopes of other clients of encrypted data vaults: a JWE with named recipients whose
// plaintext is {"content", "meta", "stream"}. What this package writes differs in one way: it is bound to its place. A
// provider that passes off one document, chunk or revision as another, reorders chunks or cuts a stream short is found
// out ([coffer.Corrupt]). What foreign clients wrote opens all the same, and is reported as not bound. What such a seal
// does not prove is who wrote: whoever knows a reader's public key can seal something new for it.
//
// Private keys stay in the [coffer.Keyring]; content keys never leave this package but sealed.
package seal

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

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

// binding is the member "coffer" of what is sealed: where the envelope belongs and, of a native object, who wrote it.
// It stands beside "content" and "meta", not in them, for clients that do not know it drop it when they write a
// document anew; in "meta" they would carry it over, and it would then name a place where their envelope does not
// stand.
type binding struct {
	ID       coffer.ObjectID `json:"id"`
	Sequence uint64          `json:"sequence"`
	Parents  []string        `json:"parents,omitempty"`
	authorship
}

// newBinding returns the binding to a place.
func newBinding(id coffer.ObjectID, sequence uint64, parents []coffer.Rev) binding {
	b := binding{ID: id, Sequence: sequence}
	for _, r := range parents {
		b.Parents = append(b.Parents, r.String())
	}
	return b
}

// members are what is sealed besides the binding, each as it stands in the plaintext.
type members struct {
	content, meta jsontext.Value
	stream        jsontext.Value // nil when there is none
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
	entries, err := nextEntries(ctx, p, o.Sequence, o.Blind, o.Keep)
	if err != nil {
		return nil, err
	}
	m, err := p.members(o.Sequence)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	plaintext, err := m.encode(newBinding(o.ID, o.Sequence, o.Parents))
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	plaintext = append(plaintext, '}')
	if o.Enc == "" {
		o.Enc = string(jose.XC20P)
	}
	if len(o.Recipients) == 0 {
		o.Recipients = []coffer.PublicKey{ring.Key(coffer.AgreementKey)}
	}
	d := &coffer.Document{ID: o.ID, Sequence: o.Sequence, Parents: o.Parents}
	err = envelop(d, p.Stream, entries, o.Enc, plaintext, func(key *jose.ContentKey) (jsontext.Value, error) {
		return wrap(key, o.Recipients)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// envelop encrypts the plaintext for the recipients that wrap returns, and completes the document.
func envelop(d *coffer.Document, s *Stream, entries []edv.Entry, enc string, plaintext []byte,
	wrap func(*jose.ContentKey) (jsontext.Value, error)) error {
	const op = "seal"
	if err := jose.Valid(plaintext); err != nil { // nothing is sealed that cannot be opened
		return coffer.E(op, coffer.Invalid, err)
	}
	key, err := jose.NewContentKey(jose.Encryption(enc))
	if err != nil {
		return coffer.E(op, coffer.Invalid, err)
	}
	protected, err := key.Protected()
	if err != nil {
		return coffer.E(op, coffer.Invalid, err)
	}
	recipients, err := wrap(key)
	if err != nil {
		return coffer.E(op, coffer.Invalid, err)
	}
	w := edv.Document{
		ID: d.ID, Sequence: d.Sequence, Indexed: entries,
		JWE: key.Encrypt(protected, recipients, plaintext),
	}
	d.Tags = edv.Tags(entries)
	if s != nil {
		w.Stream, d.Stream = s.outside()
	}
	if d.Body, err = jose.Encode(w); err != nil {
		return coffer.Errorf(op, coffer.Invalid, "an index entry is not UTF-8")
	}
	return d.Check()
}

// nextEntries returns the index entries of a new revision: those that are kept, and in its place the one that blind
// makes.
func nextEntries(ctx context.Context, p Plain, sequence uint64, blind *Blinder, keep []edv.Entry) ([]edv.Entry, error) {
	entries := slices.Clone(keep)
	if blind != nil {
		own, err := blind.Entry(ctx, p, sequence)
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

// members returns the members of the plaintext, for a document with this sequence.
func (p Plain) members(sequence uint64) (m members, err error) {
	if m.content, err = compact(p.Content); err != nil {
		return m, err
	}
	if m.meta, err = compact(p.Meta); err != nil {
		return m, err
	}
	if p.Stream != nil {
		if err := p.Stream.check(sequence); err != nil {
			return m, err
		}
		m.stream, err = p.Stream.inside()
	}
	return m, err
}

// encode returns the plaintext, but for its closing brace.
func (m *members) encode(b binding) ([]byte, error) {
	bound, err := jose.Encode(b)
	if err != nil {
		return nil, errors.New("not UTF-8")
	}
	out := make([]byte, 0, len(m.content)+len(m.meta)+len(m.stream)+len(bound)+64)
	out = append(append(out, `{"content":`...), m.content...)
	out = append(append(out, `,"meta":`...), m.meta...)
	if m.stream != nil {
		out = append(append(out, `,"stream":`...), m.stream...)
	}
	return append(append(out, `,"coffer":`...), bound...), nil
}

// compact returns the JSON object without white space, or an empty one for none.
func compact(b json.RawMessage) (jsontext.Value, error) {
	v, err := object(b)
	if err != nil {
		return nil, err
	}
	out, err := jsontext.AppendFormat(make(jsontext.Value, 0, len(v)), v, jsontext.PreserveRawStrings(true))
	if err != nil {
		return nil, errors.New("content or meta is not strict JSON")
	}
	return out, nil
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
	KeyIDs  []string     // ids of the recipients' keys, [ObjectKeyID] left out; the provider may have changed the list
	Entries []edv.Entry  // all index entries, to be kept by the next revision; authenticated in native objects only

	// Of native objects only. Nobody has checked it before [Opened.CheckAuthor] did.
	Author    string    // DID of who sealed the revision
	AuthorKey string    // id of the key that signed
	Time      time.Time // when it was sealed, as the author says
	Origin    *Origin   // who wrote the content; nil when that is the author

	statement, signature []byte
}

// Open reads a document that [Seal] or a foreign client made, and a native object that names the keyring's key.
//
// Corrupt when the document is not what its writer made or does not stand where its writer put it; that it was not
// encrypted for this keyring's present key looks the same unless no recipient is named like it, which is Denied.
// Exhausted beyond [MaxBody]. Otherwise the keyring's own error.
func Open(ctx context.Context, ring coffer.Keyring, d *coffer.Document) (*Opened, error) {
	o, j, err := parse(d)
	if err != nil {
		return nil, err
	}
	key, err := unwrap(ctx, ring, j)
	if err != nil {
		return nil, err
	}
	_, native := objectRecipient(j)
	if err := o.decrypt(j, key, d, native); err != nil {
		return nil, err
	}
	return o, nil
}

// parse reads what stands outside of the seal. Its errors are those of [Open].
func parse(d *coffer.Document) (*Opened, *jose.JWE, error) {
	const op = "open"
	if len(d.Body) > MaxBody {
		return nil, nil, coffer.Errorf(op, coffer.Exhausted, "document is too large")
	}
	var w edv.Document
	if err := jose.Decode(d.Body, &w); err != nil {
		return nil, nil, coffer.E(op, coffer.Corrupt, err)
	}
	if w.ID != d.ID || w.Sequence != d.Sequence {
		return nil, nil, coffer.Errorf(op, coffer.Corrupt, "envelope is another document's")
	}
	j, err := jose.Parse(w.JWE)
	if err != nil {
		return nil, nil, coffer.E(op, coffer.Corrupt, err)
	}
	ids, err := j.KeyIDs()
	if err != nil {
		return nil, nil, coffer.E(op, coffer.Corrupt, err)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == ObjectKeyID })
	return &Opened{ID: d.ID, Sequence: d.Sequence, KeyIDs: ids, Entries: w.Indexed}, j, nil
}

// decrypt reads what is sealed.
func (o *Opened) decrypt(j *jose.JWE, key *jose.ContentKey, d *coffer.Document, native bool) error {
	const op = "open"
	plaintext, err := j.Decrypt(nil, key)
	if err != nil {
		return coffer.E(op, coffer.Corrupt, err)
	}
	if err := o.decodePlain(plaintext, d, native); err != nil {
		return coffer.E(op, coffer.Corrupt, err)
	}
	return nil
}

// decodePlain reads what was sealed, and checks that it was sealed for d. What has an author must be a whole native
// object, and what is native must have one.
func (o *Opened) decodePlain(plaintext []byte, d *coffer.Document, native bool) error {
	var s struct {
		Content jsontext.Value `json:"content"`
		Meta    jsontext.Value `json:"meta"`
		Stream  jsontext.Value `json:"stream"`
		Coffer  jsontext.Value `json:"coffer"`
		Pad     jsontext.Value `json:"pad"`
	}
	if err := decodeObject(plaintext, &s); err != nil {
		return err
	}
	m := members{stream: s.Stream}
	var err error
	if m.content, err = object(json.RawMessage(s.Content)); err != nil {
		return err
	}
	if m.meta, err = object(json.RawMessage(s.Meta)); err != nil {
		return err
	}
	o.Content, o.Meta = json.RawMessage(m.content), json.RawMessage(m.meta)
	if s.Stream != nil {
		if o.Stream, err = decodeStream(s.Stream, d.Sequence); err != nil {
			return err
		}
	}
	if s.Coffer == nil {
		if native {
			return errNotNative
		}
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
	native = native || b.authorship != (authorship{})
	switch {
	case b.ID != d.ID || b.Sequence != d.Sequence:
		return errors.New("sealed for another place")
	case len(d.Parents) > 0 && (native || len(o.Parents) > 0) && !sameRevs(d.Parents, o.Parents):
		return errors.New("sealed to replace another revision")
	case !sameStream(o.Stream, d.Stream):
		return errors.New("document names another stream than was sealed")
	case native && !isPad(s.Pad):
		return errNotNative
	}
	o.Bound = true
	if !native {
		return nil
	}
	return o.decodeAuthorship(b, m, d)
}

// decodeObject is [jose.DecodeOpen] for an object: null would leave v as it was.
func decodeObject(b []byte, v any) error {
	if jsontext.Value(b).Kind() != '{' {
		return errors.New("not a JSON object")
	}
	return jose.DecodeOpen(b, v)
}

func sameRevs(a, b []coffer.Rev) bool { return slices.Equal(sortedRevs(a), sortedRevs(b)) }

func sortedRevs(revs []coffer.Rev) []coffer.Rev {
	return slices.SortedFunc(slices.Values(revs), func(x, y coffer.Rev) int { return slices.Compare(x[:], y[:]) })
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
