package search

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// mergeRatio is how many times larger than all newer ones together a segment is at least; so there are few of them.
const mergeRatio = 8

// Flush writes what is pending into a segment, together with the newer segments that have become too many. It returns
// the manifest that is now to be committed in the place of the manifest before and of all deltas that were given or
// added, and the blocks to be dropped after that. The index goes on with the new manifest at once: if it cannot be
// committed, drop what [Index.Made] returns and Open the index anew. Without anything pending it returns the manifest
// as it is. Memory is needed for what is pending, four bytes for each document of the segments that are merged, and
// the longest posting list. The errors are those of Blocks; and Corrupt. Then nothing has changed, and the blocks that
// were put are dropped again as far as possible.
func (x *Index) Flush(ctx context.Context) (manifest []byte, drop []seal.Ref, err error) {
	return x.flush(ctx, false)
}

// Compact is [Index.Flush] into a single segment, also without anything pending. What was removed or replaced leaves
// no trace in it, and finding costs least. It reads and writes the whole index.
func (x *Index) Compact(ctx context.Context) (manifest []byte, drop []seal.Ref, err error) {
	return x.flush(ctx, true)
}

func (x *Index) flush(ctx context.Context, whole bool) (manifest []byte, drop []seal.Ref, err error) {
	x.flushing.Lock()
	defer x.flushing.Unlock()
	x.mu.Lock()
	pending, segments := maps.Clone(x.pending), x.segments
	x.made = nil
	x.mu.Unlock()
	if len(pending) == 0 && !(whole && len(segments) > 0) {
		return encodeManifest(segments), nil, nil
	}
	sources := []source{newDraft(pending)}
	weight := sources[0].weight()
	rest := segments
	for len(rest) > 0 && (whole || rest[0].weight < mergeRatio*weight) {
		sources = append(sources, &written{x, rest[0]})
		weight += rest[0].weight
		refs, err := rest[0].refs(ctx, x)
		if err != nil {
			return nil, nil, err
		}
		drop = append(drop, refs...)
		rest = rest[1:]
	}
	w := &writer{ctx: ctx, x: x, oldest: len(rest) == 0}
	made, err := w.merge(sources)
	if err != nil {
		// Nobody will ever know of these blocks otherwise. What cannot be dropped now is only space.
		if len(w.made) > 0 {
			_ = x.blocks.Drop(context.WithoutCancel(ctx), w.made...)
		}
		return nil, nil, err
	}
	now := rest
	if made != nil {
		now = append([]*segment{made}, rest...)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments, x.made = now, w.made
	kept := map[coffer.ObjectID]*Document{}
	for id, d := range x.pending {
		if old, ok := pending[id]; !ok || old != d {
			kept[id] = d // came while the segment was written
		}
	}
	x.pending, x.sorted = kept, nil
	return encodeManifest(now), drop, nil
}

// A source is what goes into a new segment: entries by ids, and terms.
type source interface {
	weight() uint64
	entries() int
	all(ctx context.Context) iter.Seq2[*stored, error]
	terms(ctx context.Context) iter.Seq2[*entry, error]
	postings(ctx context.Context, e *entry) (*postings, error)
}

// written is a segment as a source.
type written struct {
	x *Index
	s *segment
}

func (w *written) weight() uint64 { return w.s.weight }
func (w *written) entries() int   { return int(w.s.entries) }

func (w *written) all(ctx context.Context) iter.Seq2[*stored, error] { return w.s.all(ctx, w.x) }

func (w *written) terms(ctx context.Context) iter.Seq2[*entry, error] {
	return w.s.terms(ctx, w.x, "", true)
}

func (w *written) postings(ctx context.Context, e *entry) (*postings, error) {
	return w.s.postings(ctx, w.x, e, false) // the next term's are most often in the same block
}

// draft is pending documents as a source.
type draft struct {
	ids   []coffer.ObjectID
	docs  map[coffer.ObjectID]*Document // nil: removed
	lists map[string]*postingList
	bytes uint64
}

func newDraft(pending map[coffer.ObjectID]*Document) *draft {
	d := &draft{docs: pending, lists: map[string]*postingList{}}
	d.ids = slices.SortedFunc(maps.Keys(pending), func(a, b coffer.ObjectID) int { return bytes.Compare(a[:], b[:]) })
	var places []byte
	for n, id := range d.ids {
		doc := pending[id]
		d.bytes += 64
		if doc == nil {
			continue
		}
		terms(doc.fields(), func(key string, at []uint32) {
			l := d.lists[key]
			if l == nil {
				l = &postingList{words: key[0] == kindWord}
				d.lists[key] = l
				d.bytes += uint64(len(key))
			}
			many := false
			if places = places[:0]; l.words {
				places, many = appendPlaces(places, at)
			}
			before := len(l.b)
			l.add(uint32(n), many, places)
			d.bytes += uint64(len(l.b) - before)
		})
	}
	return d
}

func (d *draft) weight() uint64 { return d.bytes }
func (d *draft) entries() int   { return len(d.ids) }

func (d *draft) all(context.Context) iter.Seq2[*stored, error] {
	return func(yield func(*stored, error) bool) {
		for _, id := range d.ids {
			s := &stored{id: id, removed: true}
			if doc := d.docs[id]; doc != nil {
				s = storedOf(doc)
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

func storedOf(doc *Document) *stored {
	s := &stored{
		id: doc.ID, folder: doc.Folder, name: []byte(doc.Name), typ: []byte(doc.Type), mime: []byte(doc.MIME), size: doc.Size,
	}
	if !doc.Modified.IsZero() {
		s.timed, s.seconds, s.nanos = true, doc.Modified.Unix(), int64(doc.Modified.Nanosecond())
	}
	return s
}

func (d *draft) terms(context.Context) iter.Seq2[*entry, error] {
	return func(yield func(*entry, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(d.lists)) {
			l := d.lists[key]
			if !yield(&entry{key: []byte(key), count: l.count, inline: l.b}, nil) {
				return
			}
		}
	}
}

func (d *draft) postings(_ context.Context, e *entry) (*postings, error) {
	return &postings{r: reader{b: e.inline}, words: e.key[0] == kindWord, end: uint64(len(d.ids)), left: e.count}, nil
}

// A writer writes one segment.
type writer struct {
	ctx    context.Context
	x      *Index
	oldest bool // there is nothing older that a removal could be about

	dir    directory
	buffer []*block   // to be put
	made   []seal.Ref // what was put
	weight uint64

	stored, terms, stream []byte // the blocks that are being filled
	seen                  intern
	termBefore            []byte
	ids                   []coffer.ObjectID // for the filter
}

// gone stands for the ordinal of what is not taken over.
const gone = ^uint32(0)

// merge writes a segment of the sources, the newest of which is first. It returns nil if nothing is left.
func (w *writer) merge(sources []source) (*segment, error) {
	w.dir.payload = uint64(w.x.BlockSize - 1)
	ordinals, err := w.mergeStored(sources)
	if err != nil || w.dir.entries == 0 {
		return nil, err
	}
	if err := w.mergeTerms(sources, ordinals); err != nil {
		return nil, err
	}
	return w.finish()
}

// A stream is one source's part of a merge.
type stream[T any] struct {
	next  func() (T, error, bool)
	stop  func()
	value T
	done  bool
}

func open[T any](seq iter.Seq2[T, error]) *stream[T] {
	s := &stream[T]{}
	s.next, s.stop = iter.Pull2(seq)
	return s
}

func (s *stream[T]) advance() error {
	v, err, ok := s.next()
	s.value, s.done = v, !ok
	return err
}

// mergeStored writes the entries, and returns for each source which ordinals its own have become.
func (w *writer) mergeStored(sources []source) ([][]uint32, error) {
	ordinals := make([][]uint32, len(sources))
	streams := make([]*stream[*stored], len(sources))
	for i, s := range sources {
		ordinals[i] = make([]uint32, 0, min(s.entries(), 1<<16))
		streams[i] = open(s.all(w.ctx))
		defer streams[i].stop()
		if err := streams[i].advance(); err != nil {
			return nil, err
		}
	}
	for {
		newest := -1 // of those with the least id
		for i, s := range streams {
			if !s.done && (newest < 0 || bytes.Compare(s.value.id[:], streams[newest].value.id[:]) < 0) {
				newest = i
			}
		}
		if newest < 0 {
			return ordinals, nil
		}
		s := *streams[newest].value
		ordinal := gone
		if !s.removed || !w.oldest {
			ordinal = w.dir.entries
			if err := w.addStored(&s); err != nil {
				return nil, err
			}
		}
		for i, t := range streams {
			if t.done || t.value.id != s.id {
				continue
			}
			if i == newest {
				ordinals[i] = append(ordinals[i], ordinal)
			} else {
				ordinals[i] = append(ordinals[i], gone)
			}
			if err := t.advance(); err != nil {
				return nil, err
			}
		}
	}
}

func (w *writer) addStored(s *stored) error {
	if w.dir.entries == 1<<31-1 {
		return coffer.Errorf("search", coffer.Exhausted, "too many documents")
	}
	encode := func(b []byte) []byte {
		if s.removed {
			return appendRemoved(b, s.id)
		}
		h := s.hit()
		return appendStored(b, &w.seen, &h)
	}
	before := len(w.stored)
	if before > 0 {
		w.stored = encode(w.stored)
		if len(w.stored) > w.x.BlockSize {
			w.cut(&w.stored, before)
			before = 0
		}
	}
	if before == 0 {
		clear(w.seen)
		w.stored = encode([]byte{blockStored})
		w.dir.stored = append(w.dir.stored, storedBlock{&block{}, s.id, w.dir.entries})
	}
	if s.removed {
		w.dir.removed = append(w.dir.removed, w.dir.entries)
	}
	w.dir.entries++
	if !w.oldest {
		w.ids = append(w.ids, s.id)
	}
	return w.put(false)
}

// cut ends the block that is being filled at that length, and begins no other.
func (w *writer) cut(b *[]byte, length int) {
	if length == 0 {
		return
	}
	data := slices.Clone((*b)[:length])
	*b = (*b)[:0]
	var at *block
	switch data[0] {
	case blockStored:
		at = w.dir.stored[len(w.dir.stored)-1].block
	case blockTerms:
		at = w.dir.terms[len(w.dir.terms)-1].block
	default:
		at = &block{}
		w.dir.postings = append(w.dir.postings, at)
	}
	at.data = data
	w.buffer = append(w.buffer, at)
	w.weight += uint64(length)
}

// put puts what is waiting, if there is enough of it.
func (w *writer) put(all bool) error {
	if len(w.buffer) == 0 || !all && len(w.buffer) < putAtOnce {
		return nil
	}
	data := make([][]byte, len(w.buffer))
	for i, b := range w.buffer {
		data[i] = b.data
	}
	refs, err := w.x.blocks.Put(w.ctx, data)
	w.made = append(w.made, refs...)
	if err != nil {
		return err
	}
	if len(refs) != len(data) {
		return errCorrupt("blocks were kept at another number of places")
	}
	for i, b := range w.buffer {
		b.ref, b.data = refs[i], nil
	}
	w.buffer = w.buffer[:0]
	return nil
}

// mergeTerms writes the terms and their lists.
func (w *writer) mergeTerms(sources []source, ordinals [][]uint32) error {
	streams := make([]*stream[*entry], len(sources))
	for i, s := range sources {
		streams[i] = open(s.terms(w.ctx))
		defer streams[i].stop()
		if err := streams[i].advance(); err != nil {
			return err
		}
	}
	var key []byte
	list := &postingList{}
	var with []int
	for {
		with = with[:0]
		for i, s := range streams {
			if s.done {
				continue
			}
			if c := bytes.Compare(s.value.key, key); len(with) == 0 || c < 0 {
				key = append(key[:0], s.value.key...)
				with = append(with[:0], i)
			} else if c == 0 {
				with = append(with, i)
			}
		}
		if len(with) == 0 {
			break
		}
		*list = postingList{words: key[0] == kindWord, b: list.b[:0]}
		lists := make([]*postings, len(with))
		for k, i := range with {
			var err error
			if lists[k], err = sources[i].postings(w.ctx, streams[i].value); err != nil {
				return err
			}
		}
		if err := mergeLists(list, lists, with, ordinals); err != nil {
			return err
		}
		if list.count > 0 {
			if err := w.addTerm(key, list); err != nil {
				return err
			}
		}
		for _, i := range with {
			if err := streams[i].advance(); err != nil {
				return err
			}
		}
	}
	w.cut(&w.terms, len(w.terms))
	w.cut(&w.stream, len(w.stream))
	return nil
}

// mergeLists merges the lists of the sources that have a term.
func mergeLists(out *postingList, lists []*postings, of []int, ordinals [][]uint32) error {
	heads := make([]posting, len(lists))
	live := make([]bool, len(lists))
	advance := func(k int) error {
		for {
			p, ok := lists[k].read()
			if live[k] = ok; !ok {
				if lists[k].r.bad {
					return errCorrupt("a posting list is malformed")
				}
				return nil
			}
			if n := ordinals[of[k]][p.ordinal]; n != gone {
				p.ordinal = n
				heads[k] = p
				return nil
			}
		}
	}
	for k := range lists {
		if err := advance(k); err != nil {
			return err
		}
	}
	for {
		least := -1
		for k := range heads {
			if live[k] && (least < 0 || heads[k].ordinal < heads[least].ordinal) {
				least = k
			}
		}
		if least < 0 {
			return nil
		}
		out.add(heads[least].ordinal, heads[least].many, heads[least].places)
		if err := advance(least); err != nil {
			return err
		}
	}
}

func (w *writer) addTerm(key []byte, list *postingList) error {
	before := len(w.terms)
	if before > 0 {
		w.terms = appendEntry(w.terms, w.termBefore, key, list.count, list.b)
		if len(w.terms) > w.x.BlockSize {
			w.cut(&w.terms, before)
			before = 0
		}
	}
	if before == 0 {
		w.terms = appendEntry([]byte{blockTerms}, nil, key, list.count, list.b)
		w.dir.terms = append(w.dir.terms, termBlock{&block{}, slices.Clone(key), w.dir.length})
	}
	w.termBefore = append(w.termBefore[:0], key...)
	if len(list.b) > maxInline {
		w.dir.length += uint64(len(list.b))
		for rest := list.b; len(rest) > 0; {
			if len(w.stream) == 0 {
				w.stream = append(w.stream, blockPostings)
			}
			n := min(len(rest), w.x.BlockSize-len(w.stream))
			w.stream = append(w.stream, rest[:n]...)
			if rest = rest[n:]; len(w.stream) == w.x.BlockSize {
				w.cut(&w.stream, len(w.stream))
			}
		}
	}
	return w.put(false)
}

// finish writes what is left, the directory and the root.
func (w *writer) finish() (*segment, error) {
	w.cut(&w.stored, len(w.stored))
	if !w.oldest {
		w.dir.filter = newFilter(len(w.ids))
		for _, id := range w.ids {
			w.dir.filter.add(id)
		}
	}
	var raw []byte
	if len(w.made) == 0 && w.weight < uint64(w.x.BlockSize) {
		raw = w.dir.encode(true) // all in the root, if there is room
	}
	if raw == nil || len(raw)+2 > w.x.BlockSize {
		if err := w.put(true); err != nil {
			return nil, err
		}
		raw = w.dir.encode(false)
	}
	w.buffer = nil
	root := append([]byte{blockRoot, 0}, raw...)
	if len(root) > w.x.BlockSize {
		var parts []*block
		for part := range slices.Chunk(raw, w.x.BlockSize-1) {
			parts = append(parts, &block{data: append([]byte{blockDirectory}, part...)})
			w.weight += uint64(len(part))
		}
		for group := range slices.Chunk(parts, putAtOnce) {
			w.buffer = slices.Clone(group)
			if err := w.put(true); err != nil {
				return nil, err
			}
		}
		root = appendUvarint([]byte{blockRoot, 1}, uint64(len(parts)))
		for _, p := range parts {
			root = appendRef(root, p.ref)
		}
		if len(root) > w.x.BlockSize {
			return nil, coffer.Errorf("search", coffer.Exhausted, "too many documents")
		}
	}
	at := &block{data: root}
	w.buffer = []*block{at}
	if err := w.put(true); err != nil {
		return nil, err
	}
	w.weight += uint64(len(root))
	return &segment{entries: w.dir.entries, weight: w.weight, root: at.ref}, nil
}
