package vault

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/store"
)

// Chunk implements [coffer.Vault].
func (v *View) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	if _, err := v.decide(ctx, grant.Read, v.chunk(id, index)); err != nil {
		return coffer.ChunkRef{}, nil, err
	}
	return v.read(ctx, id, index, nil)
}

// An admission says whether who is asking may do something with a revision. nil is for those who may by their
// capability alone.
type admission func(d *coffer.Document) bool

// attempts is how often something is looked at again that changed while it was looked at.
const attempts = 8

// read returns a chunk of a document that admits.
func (v *View) read(
	ctx context.Context, id coffer.ObjectID, index uint64, admits admission,
) (coffer.ChunkRef, io.ReadCloser, error) {
	for range attempts {
		c, err := v.find(ctx, id, index, admits)
		if err != nil {
			return coffer.ChunkRef{}, nil, err
		}
		r, size, err := v.s.blobs.Get(ctx, c.Blob)
		if errors.Is(err, coffer.NotExist) {
			continue // replaced or collected since; look again
		}
		if err != nil {
			return coffer.ChunkRef{}, nil, err
		}
		if size != c.Ref.Size {
			r.Close()
			return coffer.ChunkRef{}, nil, coffer.Errorf("chunk", coffer.Corrupt, "not of its recorded size")
		}
		return c.Ref, r, nil
	}
	return coffer.ChunkRef{}, nil, coffer.Errorf("chunk", coffer.Corrupt, "recorded, but not there")
}

func (v *View) chunk(id coffer.ObjectID, index uint64) string {
	return fmt.Sprintf("%s/chunks/%d", v.document(id), index)
}

// find returns where a chunk is: of the set that the document names, or else of the set being written.
func (v *View) find(ctx context.Context, id coffer.ObjectID, index uint64, admits admission) (store.Chunk, error) {
	for range attempts {
		d, err := v.present(ctx, id, admits)
		if err != nil {
			return store.Chunk{}, err
		}
		c, err := v.disk().Chunk(ctx, v.id, id, store.Keeps(d), index)
		if admits == nil {
			return c, err
		}
		if errors.Is(err, coffer.NotExist) {
			return c, absent()
		}
		if err != nil {
			return c, err
		}
		// A chunk that came with a later revision is not for whom that one does not admit.
		again, err := v.present(ctx, id, admits)
		if err != nil {
			return store.Chunk{}, err
		}
		if again.Rev() == d.Rev() {
			return c, nil
		}
	}
	return store.Chunk{}, busy()
}

// present returns the present revision of an object if it admits, and else just what is returned when there is none.
func (v *View) present(ctx context.Context, id coffer.ObjectID, admits admission) (*coffer.Document, error) {
	d, err := v.disk().Get(ctx, v.id, id)
	if admits == nil {
		return d, err
	}
	if errors.Is(err, coffer.NotExist) {
		admits(&coffer.Document{ID: id}) // takes its time, too
		return nil, absent()
	}
	if err != nil {
		return nil, err
	}
	if !admits(d) {
		return nil, absent()
	}
	return d, nil
}

// absent is the answer to who may ask about secrets and knows none that admits, be there an object or not.
func absent() error { return coffer.E("vault", coffer.NotExist, nil) }

// busy is the answer to who came too late, again and again.
func busy() error {
	return coffer.Errorf("vault", coffer.Unavailable, "others are replacing the document")
}

// PutChunk implements [coffer.Vault]. The chunk is made durable first and recorded then, so that what is recorded is
// always there.
func (v *View) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	return v.putChunk(ctx, id, ref, r, v.chunk(id, ref.Index), nil)
}

// putChunk stores a chunk of a document that admits, for who may write what is named by target.
func (v *View) putChunk(
	ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader, target string, admits admission,
) error {
	const op = "put chunk"
	if _, err := v.decide(ctx, grant.Write, target); err != nil {
		return err
	}
	if limit := v.s.limits.Chunk; limit > 0 && ref.Size > limit {
		return tooLarge(op)
	}
	// What the commit will check is checked before the bytes are taken in, too.
	d, err := v.present(ctx, id, admits)
	if err != nil {
		return err
	}
	if d.Sequence != ref.Sequence {
		return coffer.Errorf(op, coffer.Conflict, "not for the document's present sequence")
	}
	key := blobKey(v.id, id, ref)
	coming, arrived := v.s.arrive(v.id, key, max(0, ref.Size))
	defer arrived()
	if limit := v.s.limits.Bytes; limit > 0 {
		u, err := v.disk().Usage(ctx, v.id)
		if err != nil {
			return err
		}
		if u.Bytes+coming > limit {
			return coffer.Errorf(op, coffer.Exhausted, "the vault's quota is used up")
		}
	}
	if err := v.s.blobs.Put(ctx, key, ref.Size, ref.Sum, r); err != nil {
		return err
	}
	w := store.Write{Vault: v.id, By: v.caller.Who(), Time: v.s.now(), Limit: v.s.quota(),
		Attach: &store.Chunk{ID: id, Ref: ref, Blob: key}}
	// To arrive took its time: whether it is allowed is decided again.
	var results []store.Result
	err = v.lawful(ctx, func(bool) (err error) {
		results, err = v.attach(ctx, w, target, admits)
		return err
	})
	if err != nil {
		// After a failure of the disk the commit may have happened all the same: ask before removing.
		ctx := context.WithoutCancel(ctx)
		if named, namedErr := v.s.named(ctx, key); namedErr == nil && !named {
			_ = v.s.blobs.Delete(ctx, key) // what is left behind, the sweep removes
		}
		return err
	}
	v.s.release(ctx, v.id, results[0])
	return nil
}

// attach records a chunk that has arrived.
func (v *View) attach(ctx context.Context, w store.Write, target string, admits admission) ([]store.Result, error) {
	r, err := v.decideOn(ctx, false, grant.Write, target)
	if err != nil {
		return nil, err
	}
	w.Law = &r.law
	if admits == nil {
		return v.disk().Apply(ctx, w)
	}
	return v.whilePresent(ctx, w.Attach.ID, admits, func(*coffer.Document) (store.Write, error) { return w, nil })
}

// whilePresent commits a write to an object while a revision of it that admits is present. It makes the write anew when
// another one came between.
func (v *View) whilePresent(
	ctx context.Context, id coffer.ObjectID, admits admission, write func(*coffer.Document) (store.Write, error),
) ([]store.Result, error) {
	for range attempts {
		d, err := v.present(ctx, id, admits)
		if err != nil {
			return nil, err
		}
		w, err := write(d)
		if err != nil {
			return nil, err
		}
		w.Present = d.Rev()
		results, err := v.disk().Apply(ctx, w)
		switch kind := coffer.KindOf(err); {
		case err != nil && kind == coffer.NotExist: // erased since, or the chunk dropped
			return nil, absent()
		case errors.Is(err, store.ErrMoved):
		case kind == coffer.Conflict:
			if now, err := v.present(ctx, id, admits); err != nil || now.Rev() != w.Present {
				continue
			}
		}
		return results, err
	}
	return nil, busy()
}

// DropChunk implements [coffer.Vault].
func (v *View) DropChunk(ctx context.Context, id coffer.ObjectID, index uint64) error {
	return v.lawful(ctx, func(first bool) error {
		r, err := v.decideOn(ctx, first, grant.Write, v.chunk(id, index))
		if err != nil {
			return err
		}
		d, err := v.disk().Get(ctx, v.id, id)
		if err != nil {
			return err
		}
		c, err := v.droppable(ctx, d, index)
		if err != nil {
			return err
		}
		results, err := v.disk().Apply(ctx, v.detach(r, &c))
		if err != nil {
			return err
		}
		v.s.release(ctx, v.id, results[0])
		return nil
	})
}

// detach returns the write that forgets a chunk.
func (v *View) detach(r *record, c *store.Chunk) store.Write {
	return store.Write{Vault: v.id, By: v.caller.Who(), Time: v.s.now(), Law: &r.law, Detach: c}
}

// droppable returns the chunk with the index of the set that is being written, or else of the set that is named.
func (v *View) droppable(ctx context.Context, d *coffer.Document, index uint64) (store.Chunk, error) {
	c, err := v.disk().Chunk(ctx, v.id, d.ID, d.Sequence, index)
	if set := store.Keeps(d); errors.Is(err, coffer.NotExist) && set != d.Sequence {
		return v.disk().Chunk(ctx, v.id, d.ID, set, index)
	}
	return c, err
}

// blobKey returns a new key for a chunk: the folder of the vault, of the document, and a name that says which chunk it
// is and is used once.
func blobKey(v coffer.VaultID, id coffer.ObjectID, ref coffer.ChunkRef) string {
	once := coffer.NewObjectID()
	return fmt.Sprintf("%x/%x/%d-%d-%x", v[:], id[:], ref.Sequence, ref.Index, once[:])
}

// readBlobKey returns which chunk a key was made for.
func readBlobKey(key string) (v coffer.VaultID, id coffer.ObjectID, ref coffer.ChunkRef, err error) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || hex.DecodedLen(len(parts[0])) != len(v) || hex.DecodedLen(len(parts[1])) != len(id) {
		return v, id, ref, coffer.Errorf("chunk", coffer.Corrupt, "key of no known form")
	}
	_, errV := hex.Decode(v[:], []byte(parts[0]))
	_, errID := hex.Decode(id[:], []byte(parts[1]))
	_, errRef := fmt.Sscanf(parts[2], "%d-%d-", &ref.Sequence, &ref.Index)
	if errors.Join(errV, errID, errRef) != nil {
		return v, id, ref, coffer.Errorf("chunk", coffer.Corrupt, "key of no known form")
	}
	return v, id, ref, nil
}

// release removes blobs that nothing names any more. What it fails to remove, the sweep will.
func (s *Service) release(ctx context.Context, v coffer.VaultID, r store.Result) {
	ctx = context.WithoutCancel(ctx)
	if r.Purged {
		_ = s.blobs.DeleteAll(ctx, hex.EncodeToString(v[:]))
	}
	if len(r.Released) > 0 {
		_ = s.blobs.Delete(ctx, r.Released...)
	}
}
