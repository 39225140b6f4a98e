package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Source is what is to be kept: the bytes of a file, or the value of a typed object.
type Source struct {
	// Reader gives the bytes, Size of them, or as many as there are if Size is negative. If it is an io.ReaderAt too,
	// it is read from offset 0 on, and an upload that goes on after an interruption skips what was sent already.
	Reader io.Reader
	Size   int64

	// Value is a JSON value, used when Reader is nil, and Type says what it is. It is kept without the spaces between its
	// parts. The scalars in it can be searched for.
	Value []byte
	Type  string // TypeFile if empty and there is no Value

	MIME     string
	Modified time.Time   // the present time if zero; then an interrupted upload starts anew
	Mode     fs.FileMode // permission bits are kept; 0 is not known
}

// PutOptions say how something is put.
type PutOptions struct {
	// Progress is called now and then with the bytes of a file that are stored and with its size, -1 when that is not
	// known; by one goroutine at a time.
	Progress func(done, total int64)
	// Over, if not nil, is what the caller believes to be at the path: with a zero ID, nothing. If something else is,
	// nothing is written and the error is Conflict.
	Over *Info
}

// Put keeps the source under the path, in the place of what is there, and makes the folders that are missing. It
// returns once everything is durable; until then, readers get what was there before, whole.
//
// A file longer than [MaxInline] is stored in chunks, some of them on their way at once, in at most 16 MiB of memory
// whatever its length (with the default number of workers). If that is interrupted and there is a Journal, the same
// call for a source of the same Size and Modified goes on where it stopped, as long as nobody else wrote to the path.
// It is for the caller to know that the same size and time mean the same bytes.
//
// Invalid for a path as [CleanPath] has it and for values beyond the bounds of this package; Conflict when a folder is
// at the path, or a file at the path of its folder, when somebody else writes to the path while chunks are being
// stored, and when the source has another length than it said.
func (a *Agent) Put(ctx context.Context, path string, s Source, o PutOptions) (Info, error) {
	path, err := objectPath(path)
	if err != nil {
		return Info{}, err
	}
	return a.put(ctx, a.at(path), s, o)
}

// PutID is Put for the file or typed object with this id, which must exist: above all for one that another owner shared
// for writing (see [Agent.In]). Its path, its readers and the owner's index entries stay what they are; the owner finds
// it as before, but by the fields that a typed object had then.
func (a *Agent) PutID(ctx context.Context, id coffer.ObjectID, s Source, o PutOptions) (Info, error) {
	return a.put(ctx, func(ctx context.Context) (*place, error) {
		r, err := a.current(ctx, id)
		if err != nil {
			return nil, err
		}
		if ok, err := a.believed(ctx, r); err != nil {
			return nil, err
		} else if r.content == nil || !ok && !a.guest {
			return nil, coffer.Errorf("put", coffer.Corrupt, "the object was not written by this owner")
		}
		return &place{path: r.content.Path, there: r}, nil
	}, s, o)
}

// A place is where something is put, as it was found.
type place struct {
	path    string
	there   *revision      // nil when nothing is
	folders []coffer.Write // those that are missing
}

// A finder finds out what is there now.
type finder = func(context.Context) (*place, error)

// at returns the place with this clean path.
func (a *Agent) at(path string) finder {
	return func(ctx context.Context) (*place, error) {
		folders := ancestors(path)
		if within(path, reserved) {
			folders = nil // the agent's own folder is nowhere to be seen
		}
		found, err := a.find(ctx, append([]string{path}, folders...)...)
		if err != nil {
			return nil, err
		}
		p := &place{path: path, there: found[path]}
		for _, f := range folders {
			switch r := found[f]; {
			case r == nil:
				c := newContent(TypeFolder, f)
				c.Modified = a.Now().UTC()
				b, err := c.encode()
				if err != nil {
					return nil, err
				}
				d, err := a.seal(ctx, draft{id: coffer.NewObjectID(), content: b})
				if err != nil {
					return nil, err
				}
				p.folders = append(p.folders, coffer.Write{Document: d})
			case r.content.Type != TypeFolder:
				return nil, coffer.Errorf("put", coffer.Conflict, "a part of the path is not a folder")
			}
		}
		return p, nil
	}
}

// check reports why nothing may be put there.
func (p *place) check(o PutOptions) error {
	const op = "put"
	if p.there != nil && p.there.content.Type == TypeFolder {
		return coffer.Errorf(op, coffer.Conflict, "a folder is there")
	}
	if o.Over == nil {
		return nil
	}
	var there Info
	if p.there != nil && !p.there.pending() {
		there = p.there.info()
	}
	if there.ID != o.Over.ID || there.Sequence != o.Over.Sequence {
		return coffer.Errorf(op, coffer.Conflict, "something else is there")
	}
	return nil
}

// maxAttempts is how often a write is tried that others get ahead of.
const maxAttempts = 8

// MkdirAll makes the folder and those above it that are missing. That it is there already is no error; Conflict when
// something else is.
func (a *Agent) MkdirAll(ctx context.Context, path string) error {
	path, err := objectPath(path)
	if err != nil {
		return err
	}
	for range maxAttempts {
		var p *place
		if p, err = a.at(path + "/x")(ctx); err != nil || len(p.folders) == 0 {
			return err
		}
		if _, err = a.Vault.Apply(ctx, p.folders...); !errors.Is(err, coffer.Conflict) {
			return err
		}
	}
	return err
}

// content returns what the source will be at the path, without its bytes.
func (s *Source) content(now time.Time) (*content, error) {
	const op = "put"
	c := &content{Type: s.Type, MIME: s.MIME, Modified: s.Modified.UTC(), Mode: uint32(s.Mode.Perm())}
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
	if c.Type == "" || c.Type == TypeFolder || c.Type == typeGrant {
		return nil, coffer.Errorf(op, coffer.Invalid, "type is empty or taken")
	}
	return c, nil
}

func (a *Agent) put(ctx context.Context, find finder, s Source, o PutOptions) (Info, error) {
	c, err := s.content(a.Now())
	if err != nil {
		return Info{}, err
	}
	if o.Progress == nil {
		o.Progress = func(done, total int64) {}
	}
	if s.Reader == nil {
		return a.write(ctx, find, c, o)
	}
	// One byte more than a document may hold tells whether it is enough.
	limit := int64(MaxInline + 1)
	if s.Size >= 0 && s.Size < limit {
		limit = s.Size + 1
	}
	reader := s.Reader
	at, skips := reader.(io.ReaderAt)
	if skips {
		reader = io.NewSectionReader(at, 0, math.MaxInt64)
	}
	head, err := io.ReadAll(io.LimitReader(reader, limit))
	if err != nil {
		return Info{}, err
	}
	if len(head) > MaxInline {
		u := &upload{content: c, total: s.Size, options: o, resumable: s.Size >= 0 && !s.Modified.IsZero()}
		u.open = func(skip int64) (io.Reader, error) {
			if skips {
				return io.NewSectionReader(at, skip, math.MaxInt64-skip), nil
			}
			all := io.MultiReader(bytes.NewReader(head), reader)
			_, err := io.CopyN(io.Discard, all, skip)
			return all, err
		}
		return a.stream(ctx, find, u)
	}
	if s.Size >= 0 && int64(len(head)) != s.Size {
		return Info{}, otherLength()
	}
	c.Size, c.Data = int64(len(head)), head
	return a.write(ctx, find, c, o)
}

func otherLength() error {
	return coffer.Errorf("put", coffer.Conflict, "the source has another length than it said")
}

// write puts what fits into a document.
func (a *Agent) write(ctx context.Context, find finder, c *content, o PutOptions) (Info, error) {
	var err error
	for range maxAttempts {
		var p *place
		if p, err = find(ctx); err != nil {
			return Info{}, err
		}
		if err = p.check(o); err != nil {
			return Info{}, err
		}
		var r *revision
		if r, err = a.replace(ctx, p, c, draft{}); err == nil {
			o.Progress(c.Size, c.Size)
			return r.info(), nil
		}
		if !errors.Is(err, coffer.Conflict) {
			break
		}
	}
	return Info{}, err
}

// replace puts one revision with this content in its place, together with the folders that are missing. Of the draft,
// the stream is taken.
func (a *Agent) replace(ctx context.Context, p *place, c *content, d draft) (*revision, error) {
	named := newContent(c.Type, p.path)
	c.Path, c.Name, c.Folder, c.Words = named.Path, named.Name, named.Folder, named.Words
	b, err := c.encode()
	if err != nil {
		return nil, err
	}
	d.id, d.replaces, d.content = coffer.NewObjectID(), p.there, b
	if p.there != nil {
		d.id = p.there.doc.ID
	}
	if d.readers, err = a.readers(ctx, p.there); err != nil {
		return nil, err
	}
	return a.commit(ctx, d, p.folders...)
}

// commit seals the draft and applies it with the other writes. It returns what is there then.
func (a *Agent) commit(ctx context.Context, d draft, also ...coffer.Write) (*revision, error) {
	doc, err := a.seal(ctx, d)
	if err != nil {
		return nil, err
	}
	if _, err := a.Vault.Apply(ctx, append(also, coffer.Write{Document: doc})...); err != nil {
		return nil, err
	}
	return a.open(ctx, doc)
}
