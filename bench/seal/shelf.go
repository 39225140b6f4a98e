package main

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/cofferhq/coffer"
)

// A shelf is a vault that keeps the chunks of one stream in memory.
type shelf struct {
	coffer.Vault // what streams do not need
	mu           sync.Mutex
	chunks       map[uint64][]byte
}

// PutChunk implements [coffer.Vault].
func (s *shelf) PutChunk(_ context.Context, _ coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	b := make([]byte, ref.Size)
	_, err := io.ReadFull(r, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks[ref.Index] = b
	return err
}

// Chunk implements [coffer.Vault].
func (s *shelf) Chunk(_ context.Context, _ coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.chunks[index]
	if !ok {
		return coffer.ChunkRef{}, nil, coffer.Errorf("get", coffer.NotExist, "no such chunk")
	}
	return coffer.ChunkRef{Index: index, Size: int64(len(b))}, io.NopCloser(bytes.NewReader(b)), nil
}

// Nowhere is a vault that reads chunks and keeps none: that is not what is measured.
type nowhere struct {
	coffer.Vault
}

// PutChunk implements [coffer.Vault].
func (nowhere) PutChunk(_ context.Context, _ coffer.ObjectID, _ coffer.ChunkRef, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
