package stream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
	"github.com/cofferhq/coffer/api/edv"
)

var (
	idA = coffer.ObjectID{1}
	idB = coffer.ObjectID{2}

	markKey = [32]byte{7}
)

// A shelf is a vault that keeps the chunks of one document in memory by the rules of a provider, and counts what moves.
type shelf struct {
	coffer.Vault // what streams do not need
	t            testing.TB

	mu       sync.Mutex
	id       coffer.ObjectID
	sequence uint64 // of the present revision
	named    *coffer.Stream
	sets     map[uint64]map[uint64][]byte
	put, got []uint64 // indexes of chunks that moved
	sent     int64    // bytes
	keep     func(index uint64) bool
	before   func(index uint64) error // asked before a chunk is put
	serve    func(index uint64, raw []byte) ([]byte, error)
}

func newShelf(t testing.TB, id coffer.ObjectID) *shelf {
	return &shelf{t: t, id: id, sets: make(map[uint64]map[uint64][]byte)}
}

func (v *shelf) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	head, _, err := edv.SplitRaw(raw)
	if err != nil {
		return err
	}
	c, err := edv.DecodeChunkHead(head)
	if err != nil {
		return err
	}
	if c.Index != ref.Index || c.Sequence != ref.Sequence || ref.Size != int64(len(raw)) || ref.Sum != sha256.Sum256(raw) {
		v.t.Errorf("chunk %+v is described as %+v", c, ref)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.before != nil {
		if err := v.before(ref.Index); err != nil {
			return err
		}
	}
	if id != v.id || ref.Sequence != v.sequence {
		return coffer.Errorf("put", coffer.Conflict, "not the present sequence")
	}
	if v.sets[ref.Sequence] == nil {
		v.sets[ref.Sequence] = make(map[uint64][]byte)
	}
	v.put, v.sent = append(v.put, ref.Index), v.sent+int64(len(raw))
	if v.keep != nil && !v.keep(ref.Index) {
		raw = nil
	}
	v.sets[ref.Sequence][ref.Index] = raw
	return nil
}

func (v *shelf) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	none := coffer.Errorf("get", coffer.NotExist, "none")
	if err := ctx.Err(); err != nil {
		return coffer.ChunkRef{}, nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.named == nil || index >= v.named.Chunks || id != v.id {
		return coffer.ChunkRef{}, nil, none
	}
	raw, ok := v.sets[v.named.Sequence][index]
	if !ok {
		return coffer.ChunkRef{}, nil, none
	}
	v.got = append(v.got, index)
	if v.serve != nil {
		var err error
		if raw, err = v.serve(index, raw); err != nil {
			return coffer.ChunkRef{}, nil, err
		}
	}
	return coffer.ChunkRef{Sequence: v.named.Sequence, Index: index, Size: int64(len(raw))},
		io.NopCloser(bytes.NewReader(raw)), nil
}

// accept makes the revision present that names the stream.
func (v *shelf) accept(s *seal.Stream) {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	set := v.sets[s.Sequence]
	if set == nil {
		set = make(map[uint64][]byte)
	}
	if s.Patch != 0 {
		if s.Patch != v.sequence {
			v.t.Fatalf("set %d cannot be a patch at sequence %d", s.Patch, v.sequence)
		}
		for index, raw := range v.sets[s.Patch] {
			set[index] = raw
		}
		for index := range set {
			if index >= s.Chunks {
				delete(set, index)
			}
		}
	}
	if uint64(len(set)) != s.Chunks {
		v.t.Fatalf("the set has %d chunks and should have %d", len(set), s.Chunks)
	}
	v.sets = map[uint64]map[uint64][]byte{s.Sequence: set}
	v.named = &coffer.Stream{Sequence: s.Sequence, Chunks: s.Chunks}
	v.sequence++
}

// claim makes another revision present that names the same stream.
func (v *shelf) claim() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sequence++
	for set := range v.sets {
		if v.named == nil || set != v.named.Sequence {
			delete(v.sets, set)
		}
	}
	v.put, v.got, v.sent = nil, nil, 0
}

func (v *shelf) options(data []byte, chunk int) stream.WriteOptions {
	return stream.WriteOptions{
		Vault: v, ID: v.id, Set: v.sequence, Source: bytes.NewReader(data), Size: int64(len(data)),
		ChunkSize: chunk, MarkKey: markKey,
	}
}

// write writes a stream and has it accepted, as a patch when there is a former one.
func (v *shelf) write(data []byte, chunk int, base *seal.Stream) *seal.Stream {
	v.t.Helper()
	v.claim()
	o := v.options(data, chunk)
	o.Base = base
	s, err := stream.Write(v.t.Context(), o)
	if err != nil {
		v.t.Fatal(err)
	}
	v.accept(s)
	return s
}

func (v *shelf) reader(s *seal.Stream) *stream.Reader {
	v.t.Helper()
	r, err := stream.NewReader(v.t.Context(), stream.ReadOptions{Vault: v, ID: v.id, Stream: s, Strict: true})
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

func (v *shelf) holds(s *seal.Stream, want []byte) {
	v.t.Helper()
	r := v.reader(s)
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		v.t.Fatalf("read %d bytes, not the %d that were written: %v", len(got), len(want), err)
	}
}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func expect(t testing.TB, err error, kind coffer.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("%v, want %v", err, kind)
	}
}
