package store

import (
	"time"

	"github.com/cofferhq/coffer"
)

// Bounds on one commit. They keep the memory for it small, whatever a caller asks for.
const (
	MaxWrites = 4096     // writes in one Apply
	MaxCommit = 32 << 20 // bytes of all their bodies and tags
	MaxBy     = 4096     // bytes of [Write.By]
	MaxBlob   = 1024     // bytes of [Chunk.Blob]
	MaxChunk  = 1 << 40  // [coffer.ChunkRef.Size]
)

// ID returns the object that the write names; the zero one for Govern and Purge.
func (w *Write) ID() coffer.ObjectID {
	switch {
	case w.Document != nil:
		return w.Document.ID
	case w.Erase != nil:
		return *w.Erase
	case w.Attach != nil:
		return w.Attach.ID
	case w.Detach != nil:
		return w.Detach.ID
	}
	return coffer.ObjectID{}
}

// CheckWrites reports the first rule of form that the writes of one commit break: as Exhausted when they are too many
// or too much, as Invalid else. Every driver's Apply calls it.
func CheckWrites(writes []Write) error {
	const op = "store.Apply"
	if len(writes) > MaxWrites {
		return coffer.Errorf(op, coffer.Exhausted, "too many writes for one commit")
	}
	type object struct {
		vault coffer.VaultID
		id    coffer.ObjectID
	}
	var total int64
	var named map[object]struct{} // of more than one write; a vault purged or governed stands under the zero id
	var purged map[coffer.VaultID]bool
	if len(writes) > 1 {
		named = make(map[object]struct{}, len(writes))
		purged = make(map[coffer.VaultID]bool)
	}
	for i := range writes {
		w := &writes[i]
		if err := w.check(); err != nil {
			return err
		}
		if w.Document != nil {
			if total += Size(w.Document); total > MaxCommit {
				return coffer.Errorf(op, coffer.Exhausted, "too much for one commit")
			}
		}
		if named == nil {
			continue
		}
		o := object{w.Vault, w.ID()}
		if _, twice := named[o]; twice {
			return coffer.Errorf(op, coffer.Invalid, "two writes name the same object")
		}
		named[o] = struct{}{}
		if before, known := purged[w.Vault]; known && (before || w.Purge) {
			return coffer.Errorf(op, coffer.Invalid, "a purge stands beside another write of its vault")
		}
		purged[w.Vault] = w.Purge
	}
	return nil
}

func (w *Write) check() error {
	const op = "store.Apply"
	steps := 0
	for _, set := range [...]bool{w.Document != nil, w.Erase != nil, w.Attach != nil, w.Detach != nil, w.Govern, w.Purge} {
		if set {
			steps++
		}
	}
	switch {
	case steps != 1 || (w.Reindex || w.Keep) && w.Document == nil:
		return coffer.Errorf(op, coffer.Invalid, "a write must be one step")
	case w.Present != (coffer.Rev{}) && (w.Document != nil || w.Govern || w.Purge):
		return coffer.Errorf(op, coffer.Invalid, "a present revision is named where there is no place for it")
	case w.Vault == coffer.VaultID{}:
		return coffer.Errorf(op, coffer.Invalid, "no vault")
	case !w.Purge && !w.Govern && w.ID() == coffer.ObjectID{}:
		return coffer.Errorf(op, coffer.Invalid, "no object")
	case len(w.By) > MaxBy:
		return coffer.Errorf(op, coffer.Invalid, "the writer's name is too long")
	case w.Time.Year() < 1970 || w.Time.Year() > 9999:
		if w.Attach == nil && w.Detach == nil && !w.Govern {
			return coffer.Errorf(op, coffer.Invalid, "time out of range")
		}
	}
	if w.Document != nil {
		return w.Document.Check()
	}
	if c := w.Attach; c != nil {
		switch {
		case c.Ref.Size < 0 || c.Ref.Size > MaxChunk:
			return coffer.Errorf(op, coffer.Invalid, "chunk size out of range")
		case c.Blob == "" || len(c.Blob) > MaxBlob:
			return coffer.Errorf(op, coffer.Invalid, "blob key empty or too long")
		}
	}
	return nil
}

// Size returns how many bytes a document counts for in [Usage]: those of its body and its tags' texts.
func Size(d *coffer.Document) int64 {
	n := int64(len(d.Body))
	for i := range d.Tags {
		t := &d.Tags[i]
		n += int64(len(t.Key) + len(t.Name) + len(t.Value))
	}
	return n
}

// Keeps returns the one set of chunks that an object keeps when the document is accepted: the one that its stream
// names, else the one that may be written while the document is present.
func Keeps(d *coffer.Document) uint64 {
	if d.Stream != nil && !d.Stream.Pending {
		return d.Stream.Sequence
	}
	return d.Sequence
}

// Exceeds reports whether a write that took a vault from one usage to another breaks the limit; see [Write.Limit].
func Exceeds(before, after, limit Usage) bool {
	return limit.Documents > 0 && after.Documents > limit.Documents && after.Documents > before.Documents ||
		limit.Bytes > 0 && after.Bytes > limit.Bytes && after.Bytes > before.Bytes
}

// Instant returns t as the feed records it: in UTC, whole milliseconds.
func Instant(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
