package pebble

import (
	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
)

// A finder looks up what a group of calls touches, in the state before it. Most of it is not there: a new object has no
// head, and a new unique tag no holder. Iterators that stay open from one call to the next, and look at the filters of
// the lowest level, too, find that out at a fraction of the cost of a Get for each.
type finder struct {
	db        *engine.DB
	iterators [256]*engine.Iterator // by table
}

// find calls decode with the value of a key of a vault, or returns NotExist.
func (f *finder) find(key []byte, decode func([]byte) error) error {
	it := f.iterators[key[tableAt]]
	if it == nil {
		var err error
		it, err = f.db.NewIter(&engine.IterOptions{UseL6Filters: true})
		if err != nil {
			return failure(applyOp, err)
		}
		f.iterators[key[tableAt]] = it
	}
	if !it.SeekPrefixGE(key) {
		if err := it.Error(); err != nil {
			return failure(applyOp, err)
		}
		return coffer.E(applyOp, coffer.NotExist, nil)
	}
	b, err := it.ValueAndErr()
	if err != nil {
		return failure(applyOp, err)
	}
	return decode(b)
}

func (f *finder) close() {
	for i, it := range f.iterators {
		if it != nil {
			_ = it.Close() // its errors were seen where it was used
			f.iterators[i] = nil
		}
	}
}
