package seal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// ObjectOptions say how a native object is sealed.
type ObjectOptions struct {
	Ref      Ref // where it stands, the key that opens it, and the keys whose verifiers it bears; Write may be zero
	Sequence uint64
	Parents  []coffer.Rev // what the revision replaces

	// Size is how many bytes the plaintext is padded to, if it fits. If it does not, or Size is 0, it is padded to
	// [Padme] of its length.
	Size  int
	Fixed bool // what does not fit into Size is Exhausted

	Open   *coffer.Secret // admits to reading the object without a capability; nil: nobody can know such a secret
	Author coffer.Keyring // signs
	Time   time.Time      // when it is sealed, as the author says
	Origin *Origin        // who wrote the content, when it is only sealed anew; nil: the author

	// Recipients are other clients of encrypted data vaults who shall be able to read. They stand in the envelope for
	// all to see.
	Recipients []coffer.PublicKey
	// Blind makes the index entry under the Blinder's HMAC key, padded to 4, 8, 16, … attributes; nil makes none.
	Blind *Blinder
	// Keep are index entries of the revision that is replaced ([Opened].Entries). Carried over are those of other HMAC
	// keys than that of Blind, and never the verifiers.
	Keep []edv.Entry
	// Enc is the content encryption, "XC20P" or "A256GCM". Empty means A256GCM, which is the faster one and, as each
	// revision has a key of its own, as safe; but XC20P when there are Recipients, for all clients have that.
	Enc string
}

// SealObject returns a native object ready to be put into a vault: its Body is the encrypted document as it travels,
// and Tags and Stream say what the Body says.
//
// Invalid for values that are not JSON objects, without an object key or an author who has an Ed25519 key, for
// recipients whose key is no X25519 key, for times outside of the years 0 to 9999, and for what
// [coffer.Document.Check] refuses. Exhausted when it does not fit, beyond 23 MiB of plaintext, and for more than 2048
// attributes under one key. Otherwise the author's own error, or that of the Blinder's keyring.
func SealObject(ctx context.Context, p Plain, o ObjectOptions) (*coffer.Document, error) {
	const op = "seal"
	entries, err := o.entries(ctx, p)
	if err != nil {
		return nil, err
	}
	m, err := p.members(o.Sequence)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	b, err := o.sign(ctx, m, edv.Tags(entries))
	if err != nil {
		return nil, err
	}
	plaintext, err := m.encode(b)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	n, err := padded(len(plaintext)+padMember, o.Size, o.Fixed)
	if err != nil {
		return nil, err
	}
	plaintext = appendPad(plaintext, n)
	d := &coffer.Document{ID: o.Ref.ID, Sequence: o.Sequence, Parents: o.Parents}
	if err := envelop(d, p.Stream, entries, o.enc(), plaintext, o.wrap); err != nil {
		return nil, err
	}
	if len(d.Body) > MaxBody {
		return nil, coffer.Errorf(op, coffer.Exhausted, "object is too large")
	}
	return d, nil
}

// sign returns the binding of the new revision, signed by its author.
func (o *ObjectOptions) sign(ctx context.Context, m members, tags []coffer.Tag) (b binding, err error) {
	const op = "seal"
	if o.Author == nil || o.Ref.Key == (ObjectKey{}) {
		return b, coffer.Errorf(op, coffer.Invalid, "no author, or no object key")
	}
	b = newBinding(o.Ref.ID, o.Sequence, o.Parents)
	digest := tagsDigest(tags)
	b.Author, b.Key = o.Author.DID(), o.Author.Key(coffer.SigningKey).ID
	b.Tags = base64.RawURLEncoding.EncodeToString(digest[:])
	if b.Time, err = formatTime(o.Time); err != nil {
		return b, coffer.E(op, coffer.Invalid, err)
	}
	if g := o.Origin; g != nil {
		b.Origin = &originMember{Author: g.Author, Sequence: g.Sequence}
		if b.Origin.Time, err = formatTime(g.Time); err != nil {
			return b, coffer.E(op, coffer.Invalid, err)
		}
		if g.Author == "" {
			return b, coffer.Errorf(op, coffer.Invalid, "origin without an author")
		}
	}
	if b.Author == "" || b.Key == "" {
		return b, coffer.Errorf(op, coffer.Invalid, "author has no name or no signing key")
	}
	signature, err := o.Author.Sign(ctx, coffer.Authorship, b.statement(m, o.Parents, digest))
	if err != nil {
		return b, err
	}
	if len(signature) != 64 {
		return b, coffer.Errorf(op, coffer.Invalid, "author has no Ed25519 key")
	}
	b.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return b, nil
}

// wrap returns the recipients of the content key.
func (o *ObjectOptions) wrap(key *jose.ContentKey) (jsontext.Value, error) {
	out := append(jsontext.Value{'['}, o.Ref.Key.recipient(key.Bytes())...)
	if len(o.Recipients) == 0 {
		return append(out, ']'), nil
	}
	if slices.ContainsFunc(o.Recipients, func(k coffer.PublicKey) bool { return k.ID == ObjectKeyID }) {
		return nil, errors.New("a recipient is called what the object key is")
	}
	named, err := wrap(key, o.Recipients)
	if err != nil {
		return nil, err
	}
	return append(append(out, ','), named[1:]...), nil
}

func (o *ObjectOptions) enc() string {
	switch {
	case o.Enc != "":
		return o.Enc
	case len(o.Recipients) > 0:
		return string(jose.XC20P)
	}
	return string(jose.A256GCM)
}

// entries returns the index entries of the new revision: the verifiers, then the blinded attributes.
func (o *ObjectOptions) entries(ctx context.Context, p Plain) ([]edv.Entry, error) {
	keep := slices.DeleteFunc(slices.Clone(o.Keep), func(e edv.Entry) bool { return e.HMAC.ID == coffer.AccessKey })
	entries, err := nextEntries(ctx, p, o.Sequence, o.Blind, keep)
	if err != nil {
		return nil, err
	}
	if o.Blind != nil {
		own := o.Blind.ring.Key(coffer.HMACKey)
		ref := coffer.KeyRef{ID: own.ID, Type: own.Type}
		at := slices.IndexFunc(entries, func(e edv.Entry) bool { return e.HMAC == ref })
		if entries[at].Attributes, err = o.Blind.pad(ctx, entries[at].Attributes); err != nil {
			return nil, err
		}
	}
	return slices.Insert(entries, 0, o.access()), nil
}

// access returns the entry of the verifiers. All three are always there: an object that is not open has a verifier that
// no secret meets, and looks the same.
func (o *ObjectOptions) access() edv.Entry {
	id := o.Ref.ID
	secrets := []struct {
		access coffer.Access
		secret coffer.Secret
	}{
		{coffer.ReadAccess, o.Ref.Key.Access(id)},
		{coffer.WriteAccess, o.Ref.Write.Access(id)},
		{coffer.OpenAccess, coffer.Secret{}},
	}
	e := edv.Entry{HMAC: coffer.KeyRef{ID: coffer.AccessKey, Type: accessType}, Sequence: o.Sequence}
	for _, s := range secrets {
		value := randomText()
		switch {
		case s.access == coffer.OpenAccess && o.Open != nil:
			value = o.Open.Verifier(id, s.access)
		case s.access == coffer.OpenAccess || s.access == coffer.WriteAccess && o.Ref.Write == WriteKey{}:
			// A key of zeros is none: what follows from it anyone could compute.
		default:
			value = s.secret.Verifier(id, s.access)
		}
		e.Attributes = append(e.Attributes, edv.Attribute{Name: string(s.access), Value: value})
	}
	return e
}

// accessType is what the "indexed" entry of the verifiers says of its key: servers want a type there.
const accessType = "Sha256HmacKey2019"

// randomText returns a random text that looks like a blinded name or value.
func randomText() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// pad adds dummies to attributes until they are 4, 8, 16, … . The names of dummies recur from document to document,
// as names do, and their values never do. The order says nothing.
func (b *Blinder) pad(ctx context.Context, attributes []edv.Attribute) ([]edv.Attribute, error) {
	class := leastAttributes
	for class < len(attributes) {
		class *= 2
	}
	if class > mostAttributes {
		return nil, coffer.Errorf("index", coffer.Exhausted, "too many attributes")
	}
	for n := len(attributes); n < class; n++ {
		name, err := b.dummyName(ctx)
		if err != nil {
			return nil, err
		}
		attributes = append(attributes, edv.Attribute{Name: name, Value: randomText()})
	}
	slices.SortFunc(attributes, func(x, y edv.Attribute) int { return strings.Compare(x.Value, y.Value) })
	return attributes, nil
}

// OpenObject reads a native object by its key.
//
// Denied when the envelope is not sealed for an object key at all. Corrupt when it does not open with this one; when
// it is not what its writer made, or does not stand where its writer put it, or has other tags than its writer gave
// it; and when it has no author who signed it. Exhausted beyond [MaxBody]. Whether the author is who it should be, the
// caller finds out with [Opened.CheckAuthor].
func OpenObject(ref Ref, d *coffer.Document) (*Opened, error) {
	const op = "open"
	o, j, err := parse(d)
	if err != nil {
		return nil, err
	}
	text, ok := objectRecipient(j)
	if !ok {
		return nil, coffer.Errorf(op, coffer.Denied, "not sealed for an object key")
	}
	if ref.ID != d.ID {
		return nil, coffer.Errorf(op, coffer.Corrupt, "another object")
	}
	raw, ok := jose.Decode64(text)
	if !ok || len(raw) != len(wrapped{}) {
		return nil, coffer.E(op, coffer.Corrupt, jose.ErrDecrypt)
	}
	content, ok := ref.Key.unwrap(wrapped(raw))
	if !ok {
		return nil, coffer.E(op, coffer.Corrupt, jose.ErrDecrypt)
	}
	key, err := jose.ContentKeyOf(j.Enc, content[:])
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	if err := o.decrypt(j, key, d, true); err != nil {
		return nil, err
	}
	return o, nil
}
