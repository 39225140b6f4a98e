package hub

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
)

// Stores: values by key of a pair, the owner and another identity. The context is the other's identifier, the type the
// key, and there is one object for each. The other one may do in his own Store what the owner has granted him for the
// context and the type Store; nobody else may anything.

// storeType is the type that a Store is granted by.
const storeType = "Store"

// storeGranted asks for a Store in place of one of its keys.
func storeGranted(a *grant.Ask) bool {
	if a.Context != a.Who || a.Who == coffer.Everybody {
		return false
	}
	a.Type = storeType
	return true
}

// acceptStored holds the other one to what his Store may hold. The owner may exceed it.
func acceptStored(ctx context.Context, h *hub, v *view, r *row, c *merge.Commit, by *standing) error {
	if by.owner || c.Header.Operation == merge.Delete {
		return nil
	}
	bytes, keys := v.s.o.Limits.StoreBytes, v.s.o.Limits.StoreKeys
	if by.grant.MaxBytes > 0 {
		bytes = by.grant.MaxBytes
	}
	if by.grant.MaxKeys > 0 {
		keys = by.grant.MaxKeys
	}
	bytes -= int64(len(c.Payload))
	if r == nil {
		keys--
	}
	tag := h.tag(byContext, coffer.StoresInterface, c.Header.Context)
	for d, err := range h.documents(ctx, []string{tag}, coffer.ObjectID{}, storedAtOnce) {
		if err != nil {
			return err
		}
		stored, err := h.readRow(d, false)
		if err != nil {
			return err
		}
		keys--
		if stored.Object.ID != c.Object || c.Header.Strategy == merge.MergePatch {
			bytes -= stored.Size
		}
		if keys < 0 || bytes < 0 {
			break
		}
	}
	if keys < 0 || bytes < 0 {
		return exhausted("commit.payload", "the Store is full")
	}
	return nil
}

// storedAtOnce is how many values are asked for at a time.
const storedAtOnce = 256

// storedTags are what the values of a Store that are there are found by.
func storedTags(r *row, add func(texts ...string)) {
	if !r.Object.Deleted {
		add(byContext, coffer.StoresInterface, r.Object.Context)
	}
}
