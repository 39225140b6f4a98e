package node

import (
	"context"

	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
)

// check verifies documents and chunks, each against the other. Chunks that nothing names are no fault: a crash leaves
// them, and the next start removes them.
func check(ctx context.Context, documents store.Store, chunks blob.Store, report func(string)) error {
	sizes := map[string]int64{}
	for info, err := range chunks.List(ctx) {
		if err != nil {
			return err
		}
		sizes[info.Key] = info.Size
	}
	return documents.Check(ctx, report, func(c store.Chunk) {
		switch size, ok := sizes[c.Blob]; {
		case !ok:
			report("a chunk is recorded, but not there")
		case size != c.Ref.Size:
			report("a chunk is not of its recorded size")
		}
	})
}
