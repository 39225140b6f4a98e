package agent

import (
	"encoding/base64"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/jose"
)

// Types that the agent gives to objects itself.
const (
	TypeFile   = "File"
	TypeFolder = "Folder"
	typeGrant  = "Grant"
)

// Bounds on what stands in a document itself.
const (
	MaxInline = 16 << 10 // bytes of a file; a longer one is a stream
	MaxValue  = 1 << 20  // bytes of a typed object's JSON
	maxText   = 256      // bytes of a type and of a media type
	maxLeaves = 64       // scalars of a typed object that are indexed
)

// content is what the agent seals: the "content" of a document, specified in doc/objects.md.
type content struct {
	Type     string         `json:"type"`
	Path     string         `json:"path"`
	Name     string         `json:"name"`
	Folder   string         `json:"folder"`
	Words    []string       `json:"words,omitempty"`
	MIME     string         `json:"mime,omitzero"`
	Size     int64          `json:"size"`
	Modified time.Time      `json:"modified,omitzero"`
	Mode     uint32         `json:"mode,omitzero"`
	Data     base64url      `json:"data,omitempty"`
	Value    jsontext.Value `json:"value,omitempty"`
}

// base64url is bytes that are unpadded base64url in JSON.
type base64url []byte

// MarshalText returns the unpadded base64url of the bytes.
func (b base64url) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (b *base64url) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	return err
}

// newContent returns the content of an object at a clean path, without what it holds.
func newContent(typ, path string) *content {
	name := baseName(path)
	return &content{Type: typ, Path: path, Name: name, Folder: folderOf(path), Words: words(name)}
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

// decodeContent reads the content of a document that an agent sealed. Corrupt when it is not as doc/objects.md has it:
// above all, a path that is not clean, whose name could lead somewhere when it is written to a disk.
func decodeContent(b []byte) (*content, error) {
	const op = "object"
	var c content
	if err := jose.DecodeOpen(b, &c); err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	path, err := CleanPath(c.Path)
	if err != nil || path != c.Path || path == "" {
		return nil, coffer.Errorf(op, coffer.Corrupt, "path is not in its proper form")
	}
	if c.Name != baseName(path) || c.Folder != folderOf(path) || c.Type == "" || c.Size < 0 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "content contradicts itself")
	}
	return &c, nil
}

// indexed returns the attributes by which the object can be found, besides the unique content.path.
func (c *content) indexed() []string {
	attributes := []string{"content.folder", "content.type", "content.name", "content.words"}
	if c.Type == typeGrant {
		return append(attributes, valuePath("with"), valuePath("objects.id"))
	}
	leaves := make(map[string]int)
	countLeaves(leaves, "content.value", c.Value)
	total := 0
	for _, path := range slices.Sorted(maps.Keys(leaves)) {
		if total+leaves[path] <= maxLeaves && len(path) <= seal.MaxPath && len(attributes) < seal.MaxIndexes-1 {
			total += leaves[path]
			attributes = append(attributes, path)
		}
	}
	return attributes
}

// valuePath returns the attribute path of a field of a typed object.
func valuePath(field string) string { return "content.value." + field }

// countLeaves counts the strings, numbers and booleans below v by their attribute paths. An array counts for each of
// its elements, but what is in an array within an array is passed over, and so are arrays longer than [maxLeaves] and
// names that an attribute path cannot hold.
func countLeaves(leaves map[string]int, path string, v jsontext.Value) {
	switch v.Kind() {
	case '"', '0', 't', 'f':
		leaves[path]++
	case '[':
		var elements []jsontext.Value
		if json.Unmarshal(v, &elements) != nil || len(elements) > maxLeaves {
			return
		}
		for _, e := range elements {
			if e.Kind() != '[' {
				countLeaves(leaves, path, e)
			}
		}
	case '{':
		var members map[string]jsontext.Value
		if json.Unmarshal(v, &members) != nil {
			return
		}
		for name, member := range members {
			if name != "" && !strings.Contains(name, `\`) {
				countLeaves(leaves, path+"."+strings.ReplaceAll(name, ".", `\.`), member)
			}
		}
	}
}

// valuesAt yields the scalars that stand at the field of a typed object's value, by the rules of [countLeaves].
func valuesAt(v jsontext.Value, field string) iter.Seq[any] {
	return func(yield func(any) bool) {
		var root any
		if len(v) > 0 && json.Unmarshal(v, &root) == nil {
			descend(root, splitField(field), yield)
		}
	}
}

func descend(v any, names []string, yield func(any) bool) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if _, nested := e.([]any); !nested && !descend(e, names, yield) {
				return false
			}
		}
	case map[string]any:
		if len(names) > 0 {
			if member, ok := v[names[0]]; ok {
				return descend(member, names[1:], yield)
			}
		}
	default:
		if len(names) == 0 {
			return yield(v)
		}
	}
	return true
}

// splitField splits at the dots that no backslash precedes.
func splitField(field string) (names []string) {
	const dot = "\x00" // stands for an escaped dot; no query holds a NUL and means something by it
	for name := range strings.SplitSeq(strings.ReplaceAll(field, `\.`, dot), ".") {
		names = append(names, strings.ReplaceAll(name, dot, "."))
	}
	return names
}
