package seal

import (
	"context"
	"io"
)

// A Reader reads a stream from its beginning to its end, one chunk after the other; package stream reads native ones
// faster. It is not for use by several goroutines at once.
//
// For a bound stream what it reads is just what was written: whatever the provider did to the chunks, their order or
// their number ends in an error before io.EOF, not in other bytes. Bytes are handed out chunk by chunk, each once it
// has been authenticated; a truncation is noticed only after what came before it was read.
type Reader struct {
	fetch func() error // fills rest from the next chunk
	rest  []byte       // not yet read
	err   error
}

// NewReader returns a Reader over the chunks that get returns: it appends the raw chunk with this index to dst. The
// context is used for as long as the Reader is.
func NewReader(ctx context.Context, o *ChunkOpener,
	get func(ctx context.Context, dst []byte, index uint64) ([]byte, error)) *Reader {
	r := &Reader{}
	raw := make([]byte, 0, min(o.stream.Size, uint64(o.stream.ChunkSize))+8<<10) // most heads are shorter
	if o.stream.Native {
		r.fetch = o.fetchNative(ctx, raw, &r.rest, get)
		return r
	}
	var index uint64
	r.fetch = func() (err error) {
		if index == o.stream.Chunks {
			return io.EOF
		}
		if raw, err = get(ctx, raw[:0], index); err != nil {
			return err
		}
		r.rest, err = o.OpenInPlace(ctx, raw, index)
		index++
		return err
	}
	return r
}

// fetchNative returns what fills rest from the next data chunk of a native stream, without the padding.
func (o *ChunkOpener) fetchNative(ctx context.Context, raw []byte, rest *[]byte,
	get func(ctx context.Context, dst []byte, index uint64) ([]byte, error)) func() error {
	l, left := o.stream.Layout(), o.stream.Size
	table := o.stream.table
	var number uint64
	return func() (err error) {
		if left == 0 {
			return io.EOF
		}
		if l.Tables > 0 && number%TableSpan == 0 {
			part := number / TableSpan
			if raw, err = get(ctx, raw[:0], l.TableIndex(part)); err != nil {
				return err
			}
			if table, err = o.OpenTable(raw, part); err != nil {
				return err
			}
		}
		if raw, err = get(ctx, raw[:0], DataIndex(number)); err != nil {
			return err
		}
		plain, err := o.OpenDataInPlace(raw, number, &table[number%TableSpan], true)
		if err != nil {
			return err
		}
		*rest = plain[:min(uint64(len(plain)), left)]
		left -= uint64(len(*rest))
		number++
		return nil
	}
}

// Read reads up to len(p) bytes. Its errors are those of get and of [ChunkOpener.Open], and io.EOF at the end.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 && r.err == nil {
		r.err = r.fetch()
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; n > 0 {
		return n, nil
	}
	return 0, r.err
}

// WriteTo writes what is left to w, a chunk at a time. Its errors are those of Read but io.EOF, and w's own.
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if len(r.rest) > 0 {
			k, err := w.Write(r.rest)
			n, r.rest = n+int64(k), r.rest[k:]
			if err != nil {
				return n, err
			}
		}
		if r.err == nil {
			r.err = r.fetch()
		}
		if r.err == io.EOF {
			return n, nil
		}
		if r.err != nil {
			return n, r.err
		}
	}
}
