package seal

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// An Origin says who wrote a content that somebody else has only sealed anew, as the author of the revision says.
type Origin struct {
	Author   string // DID
	Time     time.Time
	Sequence uint64 // of the revision that the origin wrote
}

// authorship is the part of a native object's binding that says who wrote it. None is left out but the origin.
type authorship struct {
	Author    string        `json:"author,omitzero"`
	Key       string        `json:"key,omitzero"` // id of the signing key
	Time      string        `json:"time,omitzero"`
	Origin    *originMember `json:"origin,omitzero"`
	Tags      string        `json:"tags,omitzero"` // digest, base64url
	Signature string        `json:"signature,omitzero"`
}

type originMember struct {
	Author   string `json:"author"`
	Time     string `json:"time"`
	Sequence uint64 `json:"sequence"`
}

// statementLabel begins every message that an author signs.
const statementLabel = "coffer authorship 1\x00"

// errNotNative is what is wrong with an object whose envelope says that it is native while what is sealed does not.
var errNotNative = errors.New("not a whole native object")

// formatTime returns a time as it is sealed. It fails for years that RFC 3339 cannot express.
func formatTime(t time.Time) (string, error) {
	b, err := t.UTC().MarshalText()
	if err != nil {
		return "", errors.New("time out of range")
	}
	return string(b), nil
}

// statement returns the message that the author of a binding with these parents signs (doc/sealing.md, "The author's
// signature").
func (b *binding) statement(m members, parents []coffer.Rev, tags [32]byte) []byte {
	s := make([]byte, 0, 512+len(parents)*len(coffer.Rev{}))
	text := func(t string) { s = append(binary.BigEndian.AppendUint64(s, uint64(len(t))), t...) }
	digest := func(v []byte) {
		sum := sha256.Sum256(v)
		s = append(s, sum[:]...)
	}
	s = append(append(s, statementLabel...), b.ID[:]...)
	s = binary.BigEndian.AppendUint64(s, b.Sequence)
	s = binary.BigEndian.AppendUint64(s, uint64(len(parents)))
	for _, r := range sortedRevs(parents) {
		s = append(s, r[:]...)
	}
	digest(m.content)
	digest(m.meta)
	if m.stream == nil {
		s = append(s, 0)
	} else {
		s = append(s, 1)
		digest(m.stream)
	}
	s = append(s, tags[:]...)
	text(b.Author)
	text(b.Key)
	text(b.Time)
	if b.Origin == nil {
		return append(s, 0)
	}
	s = append(s, 1)
	text(b.Origin.Author)
	text(b.Origin.Time)
	return binary.BigEndian.AppendUint64(s, b.Origin.Sequence)
}

// tagsDigest returns the SHA-256 of the canonical form of tags (doc/sealing.md, "Tags").
func tagsDigest(tags []coffer.Tag) [32]byte {
	size := 8
	for _, t := range tags {
		size += 3*8 + len(t.Key) + len(t.Name) + len(t.Value) + 1
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, size), uint64(len(tags)))
	for _, t := range tags {
		for _, text := range []string{t.Key, t.Name, t.Value} {
			b = append(binary.BigEndian.AppendUint64(b, uint64(len(text))), text...)
		}
		if t.Unique {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return sha256.Sum256(b)
}

// decodeAuthorship reads who wrote a native object, and checks that its tags are those that were sealed.
func (o *Opened) decodeAuthorship(b binding, m members, d *coffer.Document) error {
	if b.Author == "" || b.Key == "" {
		return errNotNative
	}
	signature, ok := jose.Decode64(b.Signature)
	if !ok || len(signature) != ed25519.SignatureSize {
		return errNotNative
	}
	tags := edv.Tags(o.Entries)
	digest := tagsDigest(tags)
	if b.Tags != base64.RawURLEncoding.EncodeToString(digest[:]) || !slices.Equal(d.Tags, tags) {
		return errors.New("other tags than were sealed")
	}
	var err error
	if o.Time, err = time.Parse(time.RFC3339, b.Time); err != nil {
		return errNotNative
	}
	if b.Origin != nil {
		o.Origin = &Origin{Author: b.Origin.Author, Sequence: b.Origin.Sequence}
		if o.Origin.Time, err = time.Parse(time.RFC3339, b.Origin.Time); err != nil || o.Origin.Author == "" {
			return errNotNative
		}
	}
	o.Author, o.AuthorKey = b.Author, b.Key
	o.statement, o.signature = b.statement(m, o.Parents, digest), signature
	return nil
}

// CheckAuthor fails with Corrupt unless the document is a native object and the Ed25519 key signed it: its place, its
// tags, and all that was sealed but the pad. Where the key has an ID or a Controller, they must be AuthorKey and
// Author; a key that has neither must be known to be the author's.
func (o *Opened) CheckAuthor(key coffer.PublicKey) error {
	if key.ID != "" && key.ID != o.AuthorKey || key.Controller != "" && key.Controller != o.Author {
		return coffer.Errorf("author", coffer.Corrupt, "signed by another's key")
	}
	return o.CheckAuthorBy(publicKey(key.Public))
}

// CheckAuthorBy is CheckAuthor for a key that is known to be the author's, made ready for many signatures.
func (o *Opened) CheckAuthorBy(key coffer.Verifier) error {
	if o.statement == nil || !key.Verify(o.statement, o.signature) {
		return coffer.Errorf("author", coffer.Corrupt, "not signed by this key")
	}
	return nil
}

type publicKey []byte

// Verify accepts exactly the signatures that crypto/ed25519 accepts, at half the cost.
func (k publicKey) Verify(message, signature []byte) bool {
	return len(k) == ed25519.PublicKeySize && ed25519.VerifyWithOptions(ed25519.PublicKey(k), message, signature,
		&ed25519.Options{Verify: ed25519.VerifyOptionsStdLib})
}
