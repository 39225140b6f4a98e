package agent

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Types that the agent gives to objects itself.
const (
	TypeFile   = "File"
	TypeFolder = "Folder"
)

// Bounds on what stands in a document itself.
const (
	MaxInline = 16 << 10 // bytes of a file; a longer one is a stream
	MaxValue  = 1 << 20  // bytes of a typed object's JSON
	maxText   = 256      // bytes of a type and of a media type
)

// content is what the agent seals of a file or a typed object: the "content" of a document, specified in
// doc/objects.md. Its name is what it was called when it was written; what it is called now, its folder says.
type content struct {
	Type     string         `json:"type"`
	Name     string         `json:"name"`
	MIME     string         `json:"mime,omitzero"`
	Size     int64          `json:"size"`
	Modified time.Time      `json:"modified,omitzero"`
	Mode     uint32         `json:"mode,omitzero"`
	Data     base64url      `json:"data,omitempty"`
	Value    jsontext.Value `json:"value,omitzero"` // {} and the like are values

	text string // of a long file: the beginning of what is searched
}

// base64url is bytes that are unpadded base64url in JSON.
type base64url []byte

// MarshalText returns the unpadded base64url of the bytes.
func (b base64url) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (b *base64url) UnmarshalText(text []byte) error {
	var ok bool
	if *b, ok = jose.Decode64(string(text)); !ok {
		return errors.New("not base64url without padding")
	}
	return nil
}

// mode returns the permission bits.
func (c *content) mode() fs.FileMode { return fs.FileMode(c.Mode) & fs.ModePerm }

// encode returns the content as JSON.
func (c *content) encode() ([]byte, error) {
	b, err := jose.Encode(c)
	if err != nil {
		return nil, coffer.Errorf("object", coffer.Invalid, "cannot be written as JSON")
	}
	return b, nil
}

// decodeContent reads the content of an object that an agent sealed. Corrupt when it is not as doc/objects.md has it.
func decodeContent(b []byte) (*content, error) {
	const op = "object"
	var c content
	if err := jose.DecodeOpen(b, &c); err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	if c.Type == "" || c.Type == TypeFolder || c.Size < 0 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "content contradicts itself")
	}
	return &c, nil
}

// content returns what the source will be under the name, without its bytes. Invalid for what is out of bounds.
func (s *Source) content(name string, now time.Time) (*content, error) {
	const op = "put"
	c := &content{Type: s.Type, Name: name, MIME: s.MIME, Modified: s.Modified.UTC(), Mode: uint32(s.Mode.Perm())}
	if s.Modified.IsZero() {
		c.Modified = now.UTC()
	}
	if len(c.Type) > maxText || len(c.MIME) > maxText {
		return nil, coffer.Errorf(op, coffer.Invalid, "type or media type is too long")
	}
	if s.Reader != nil {
		if c.Type == "" {
			c.Type = TypeFile
		}
	} else {
		if len(s.Value) > MaxValue {
			return nil, coffer.Errorf(op, coffer.Invalid, "value is too long")
		}
		if err := jose.Valid(s.Value); err != nil {
			return nil, coffer.E(op, coffer.Invalid, err)
		}
		value, err := jose.Encode(jsontext.Value(s.Value)) // as it will be sealed: without spaces
		if err != nil {
			return nil, coffer.E(op, coffer.Invalid, err)
		}
		c.Value, c.Size = value, int64(len(value))
		if c.Type == TypeFile {
			c.Type = ""
		}
	}
	if c.Type == "" || c.Type == TypeFolder {
		return nil, coffer.Errorf(op, coffer.Invalid, "type is empty or taken")
	}
	return c, nil
}
