package seal

import (
	"github.com/cofferhq/coffer"
)

// A Writer seals what is written to it, one chunk after the other, as a stream that is not native; package stream
// writes those. It is not for use by several goroutines at once.
type Writer struct {
	sealer *ChunkSealer
	put    func(ref coffer.ChunkRef, raw []byte) error
	plain  []byte // not yet sealed: a full chunk waits here until it is known not to be the last
	raw    []byte
	index  uint64
	err    error
}

// NewWriter returns a Writer that hands each sealed chunk to put, which must not keep raw.
func NewWriter(s *ChunkSealer, put func(ref coffer.ChunkRef, raw []byte) error) *Writer {
	return &Writer{
		sealer: s, put: put,
		plain: make([]byte, 0, s.stream.ChunkSize),
		raw:   make([]byte, 0, s.stream.ChunkSize+s.Overhead()),
	}
}

// Write seals and puts all that is complete. After an error, which may be put's own, the Writer is of no more use.
func (w *Writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if len(w.plain) == cap(w.plain) {
			w.flush(false)
		}
		if w.err != nil {
			return n, w.err
		}
		k := min(len(p), cap(w.plain)-len(w.plain))
		w.plain = append(w.plain, p[:k]...)
		n, p = n+k, p[k:]
	}
	return n, w.err
}

// Close seals and puts the last chunk, and returns the stream as the closing revision of its document shall seal it.
func (w *Writer) Close() (*Stream, error) {
	size := w.index*uint64(w.sealer.stream.ChunkSize) + uint64(len(w.plain))
	if len(w.plain) > 0 {
		w.flush(true)
	}
	if w.err != nil {
		return nil, w.err
	}
	w.err = coffer.Errorf("stream", coffer.Invalid, "closed")
	return w.sealer.stream.Close(size)
}

func (w *Writer) flush(last bool) {
	if w.err != nil {
		return
	}
	if w.raw, w.err = w.sealer.Seal(w.raw[:0], w.index, last, w.plain); w.err == nil {
		w.err = w.put(w.sealer.Ref(w.index, w.raw), w.raw)
	}
	w.index, w.plain = w.index+1, w.plain[:0]
}
