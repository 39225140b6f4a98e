package edv

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Document is an encrypted document as it travels (EDV draft, section "Encrypted Document"; see doc/http-api.md).
type Document struct {
	ID       coffer.ObjectID `json:"id"`
	Sequence uint64          `json:"sequence"`
	Indexed  []Entry         `json:"indexed,omitzero"`
	Stream   *StreamRef      `json:"stream,omitzero"`
	JWE      jsontext.Value  `json:"jwe"`
}

// An Entry holds the attributes that one HMAC key blinded.
type Entry struct {
	HMAC       coffer.KeyRef `json:"hmac"`
	Sequence   uint64        `json:"sequence"`
	Attributes []Attribute   `json:"attributes"`
}

// An Attribute is a blinded name and value.
type Attribute struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Unique bool   `json:"unique,omitzero"`
}

// A StreamRef names the set of chunks that belongs to a document. All members are absent while the stream is open.
// Patch names the set whose chunks take the places of others in it, see [coffer.Stream]; it is ours.
type StreamRef struct {
	Sequence *uint64 `json:"sequence,omitzero"`
	Chunks   *uint64 `json:"chunks,omitzero"`
	Patch    *uint64 `json:"patch,omitzero"`
}

// NewStreamRef returns the wire form of a stream, nil if there is none.
func NewStreamRef(s *coffer.Stream) *StreamRef {
	switch {
	case s == nil:
		return nil
	case s.Pending:
		return new(StreamRef)
	}
	w := &StreamRef{Sequence: &s.Sequence, Chunks: &s.Chunks}
	if s.Patch != 0 {
		w.Patch = &s.Patch
	}
	return w
}

// jwe is a JWE in the general JSON serialization, as far as a server looks into it.
type jwe struct {
	Protected  string      `json:"protected"`
	Recipients []recipient `json:"recipients"`
	IV         string      `json:"iv"`
	Ciphertext string      `json:"ciphertext"`
	Tag        string      `json:"tag"`
}

type recipient struct {
	Header       recipientHeader `json:"header"`
	EncryptedKey string          `json:"encrypted_key"`
}

type recipientHeader struct {
	Alg  string                    `json:"alg"`
	Kid  string                    `json:"kid"`
	Rest map[string]jsontext.Value `json:",embed"`
}

// Bounds on lists: each entry is compared with the others.
const (
	maxRecipients = 1024
	maxEntries    = 256
)

// DecodeDocument reads an encrypted document strictly and returns it with body as its Body, its tags taken from the
// index entries, and no parents. Invalid for anything that the format does not allow.
func DecodeDocument(body []byte) (*coffer.Document, error) {
	const op = "document"
	var w struct {
		Document
		Sequence *uint64 `json:"sequence"`
		JWE      *jwe    `json:"jwe"`
	}
	if err := jose.Decode(body, &w); err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	if w.Sequence == nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "no sequence")
	}
	if err := w.JWE.check(); err != nil {
		return nil, err
	}
	if len(w.Indexed) > maxEntries {
		return nil, coffer.Errorf(op, coffer.Invalid, "too many index entries")
	}
	d := &coffer.Document{ID: w.ID, Sequence: *w.Sequence, Body: body}
	for i, e := range w.Indexed {
		if err := e.check(); err != nil {
			return nil, err
		}
		for _, other := range w.Indexed[:i] {
			if other.HMAC == e.HMAC {
				return nil, coffer.Errorf(op, coffer.Invalid, "two index entries for one HMAC key")
			}
		}
		d.Tags = e.appendTags(d.Tags)
	}
	if w.Stream != nil {
		s, err := w.Stream.stream()
		if err != nil {
			return nil, err
		}
		d.Stream = s
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	return d, nil
}

// DecodeEntry reads a single index entry strictly.
func DecodeEntry(body []byte) (*Entry, error) {
	var e Entry
	if err := jose.Decode(body, &e); err != nil {
		return nil, coffer.E("index entry", coffer.Invalid, err)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return &e, nil
}

func (e *Entry) check() error {
	switch {
	case e.HMAC.ID == "" || e.HMAC.Type == "":
		return coffer.Errorf("index entry", coffer.Invalid, "no HMAC key named")
	case e.Attributes == nil:
		return coffer.Errorf("index entry", coffer.Invalid, "no attributes")
	}
	return nil
}

// appendTags adds the entry's tags.
func (e *Entry) appendTags(tags []coffer.Tag) []coffer.Tag {
	for _, a := range e.Attributes {
		tags = append(tags, coffer.Tag{Key: e.HMAC.ID, Name: a.Name, Value: a.Value, Unique: a.Unique})
	}
	return tags
}

// Tags returns the tags that the entries stand for.
func Tags(entries []Entry) (tags []coffer.Tag) {
	for i := range entries {
		tags = entries[i].appendTags(tags)
	}
	return tags
}

func (s *StreamRef) stream() (*coffer.Stream, error) {
	switch {
	case s.Sequence == nil && s.Chunks == nil && s.Patch == nil:
		return &coffer.Stream{Pending: true}, nil
	case s.Sequence == nil || s.Chunks == nil:
		return nil, coffer.Errorf("document", coffer.Invalid, "stream has one of sequence and chunks without the other")
	case *s.Chunks > maxChunkIndex:
		return nil, coffer.Errorf("document", coffer.Invalid, "stream has too many chunks")
	case s.Patch != nil && *s.Patch == 0:
		return nil, coffer.Errorf("document", coffer.Invalid, "stream is patched with set 0")
	}
	stream := &coffer.Stream{Sequence: *s.Sequence, Chunks: *s.Chunks}
	if s.Patch != nil {
		stream.Patch = *s.Patch
	}
	return stream, nil
}

func (j *jwe) check() error {
	const op = "document"
	switch {
	case j == nil:
		return coffer.Errorf(op, coffer.Invalid, "no jwe")
	case j.Protected == "" || j.IV == "" || j.Tag == "":
		return coffer.Errorf(op, coffer.Invalid, "jwe lacks a member")
	case len(j.Recipients) == 0 || len(j.Recipients) > maxRecipients:
		return coffer.Errorf(op, coffer.Invalid, "jwe has no recipient, or too many")
	}
	for _, r := range j.Recipients {
		if r.Header.Alg == "" || r.Header.Kid == "" {
			return coffer.Errorf(op, coffer.Invalid, "a recipient lacks alg or kid")
		}
	}
	return nil
}
