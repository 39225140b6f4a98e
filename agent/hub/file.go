package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/lucene"
	"github.com/cofferhq/coffer/merge"
)

// A file is an object like others, its head, and parts, which are objects of the same kind: what holds for objects holds
// for them. That they belong together is sealed in each. doc/hub-sealing.md has the form.
const (
	partSize    = 384 << 10 // as much as an object's value holds, as base64, whoever sealed it
	maxParts    = 16 << 10  // so that their ids fit into the head, beside a value
	partsAtOnce = 3         // on their way to the hub
	partsPage   = 32        // that are listed at once: they are large
	partMember  = "part"    // of the meta of a part: true

	// MaxFile is how many bytes a file can have.
	MaxFile = maxParts * partSize
)

// A FileInfo is what is known of the bytes of a file without reading them.
type FileInfo struct {
	Size int64
}

// A fileHead is what is sealed beside the value of a file.
type fileHead struct {
	ID    []byte `json:"id"` // random: 16 bytes
	Size  int64  `json:"size"`
	Parts []byte `json:"parts"` // their ids, one after the other
	Sum   []byte `json:"sum"`   // SHA-256 of the bytes
}

// A filePart is what is sealed beside the bytes of a part.
type filePart struct {
	ID    []byte `json:"id"` // of the head
	Index int    `json:"index"`
}

// valid reports whether a head has the form that it should have.
func (f *fileHead) valid() bool {
	return f.Size >= 0 && f.Size <= MaxFile && len(f.ID) == fileIDSize && len(f.Sum) == sha256.Size &&
		len(f.Parts) == f.count()*sha256.Size
}

const fileIDSize = 16

// count returns how many parts there are.
func (f *fileHead) count() int { return int((f.Size + partSize - 1) / partSize) }

// length returns how many bytes a part has.
func (f *fileHead) length(index int) int { return int(min(partSize, f.Size-int64(index)*partSize)) }

func (f *fileHead) part(index int) coffer.CommitRev {
	return coffer.CommitRev(f.Parts[index*sha256.Size:][:sha256.Size])
}

// isPart reports whether an object says that it is part of a file. The hub can see that.
func (r *record) isPart() bool { return metaOf(r.Created.Header.Meta).Part }

// partFilter returns a filter that leaves the parts of files out, or leaves them alone, for a hub that can.
func partFilter(wire Kind, filter string, parts bool) string {
	if wire.Interface != coffer.CollectionsInterface {
		return filter
	}
	also := "NOT meta." + partMember + ":true"
	if parts {
		also = "meta." + partMember + ":true"
	}
	if filter == "" {
		return also
	}
	if both := "(" + filter + ") AND " + also; len(both) <= lucene.MaxLength {
		return both
	}
	return filter
}

var errPublicFile = coffer.Errorf("put file", coffer.Invalid, "a file cannot be public")

// removePart removes a part, if it is there, without fetching it.
func (h *Hub) removePart(ctx context.Context, wire Kind, id coffer.CommitRev) error {
	m, err := meta(nil, map[string]any{partMember: true}) // so that those who watch are not shown that it is gone
	if err != nil {
		return err
	}
	_, err = h.write(ctx, merge.Header{
		Interface: wire.Interface, Context: wire.Context, Type: wire.Type,
		Operation: merge.Delete, Strategy: merge.Basic, ObjectID: id.String(), Meta: m,
	}, []byte("{}"), nil, nil)
	if errors.Is(err, coffer.NotExist) {
		return nil
	}
	return err
}

// partsOf returns the ids of the parts that an object has, if it is a file that one can open. What it was created as
// counts, by who created it, and what the hub says of them: who may only update a file, or create one, must not have the
// owner do to the objects of others what is done to the file.
func (h *Hub) partsOf(ctx context.Context, k, wire Kind, r *record) (ids []coffer.CommitRev, err error) {
	if wire.Interface != coffer.CollectionsInterface || r.Deleted {
		return nil, nil
	}
	o := r.object(k)
	if _, _, err := h.openPayload(ctx, o, r.Created); err != nil || o.file == nil {
		if errors.Is(err, coffer.Corrupt) || errors.Is(err, coffer.Denied) {
			return nil, nil
		}
		return nil, err
	}
	for from := 0; from < o.file.count(); from += coffer.MaxQueryIDs {
		q := coffer.ObjectQuery{Interface: wire.Interface, Context: wire.Context, Type: wire.Type, NoDeleted: true}
		for i := from; i < min(from+coffer.MaxQueryIDs, o.file.count()); i++ {
			q.IDs = append(q.IDs, o.file.part(i))
		}
		for pages := 0; pages == 0 || q.Skip != ""; pages++ {
			p, err := h.o.Hub.Objects(ctx, h.o.Owner, &q)
			if err != nil {
				return nil, err
			}
			if pages == coffer.MaxQueryIDs {
				return nil, corrupt("the hub does not come to an end")
			}
			for _, part := range p.Objects {
				if part.CreatedBy == o.Author {
					ids = append(ids, part.ID)
				}
			}
			q.Skip = p.Skip
		}
	}
	return ids, nil
}

// removeParts removes the parts of an object, if it is a file that one can open.
func (h *Hub) removeParts(ctx context.Context, k, wire Kind, r *record) error {
	ids, err := h.partsOf(ctx, k, wire, r)
	if err != nil {
		return err
	}
	c := newCrew(ctx)
	for _, id := range ids {
		c.do(func(ctx context.Context) error { return h.removePart(ctx, wire, id) })
	}
	if err := c.wait(); !errors.Is(err, coffer.Denied) {
		return err
	}
	return nil // who may remove the object and not its parts leaves these to the owner's Work
}

// withParts returns ids of objects of a kind with those of the parts of the files among them. Exhausted if these are
// more than a grant can name.
func (h *Hub) withParts(ctx context.Context, k, wire Kind, ids []coffer.CommitRev) ([]coffer.CommitRev, error) {
	if len(ids) == 0 || len(ids) > coffer.MaxQueryIDs || k.Interface != coffer.CollectionsInterface {
		return ids, nil
	}
	all := slices.Clone(ids)
	for o, err := range h.list(ctx, k, &coffer.ObjectQuery{IDs: ids, NoDeleted: true}, nil) {
		if errors.Is(err, coffer.Corrupt) {
			continue
		}
		if err != nil {
			return nil, err
		}
		parts, err := h.partsOf(ctx, k, wire, o.record)
		if err != nil {
			return nil, err
		}
		for _, id := range parts {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
		if len(all) > coffer.MaxQueryIDs {
			return nil, coffer.Errorf("grant", coffer.Exhausted, "the file is too large to be granted alone: grant the kind")
		}
	}
	return all, nil
}
