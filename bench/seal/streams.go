package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"io"
	mathrand "math/rand/v2"

	"filippo.io/age"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
)

const chunk = seal.DefaultChunkSize

// streams are the rows of one long stream.
func (p *program) streams(ctx context.Context) ([]*row, error) {
	data := make([]byte, p.size)
	_, _ = mathrand.NewChaCha8([32]byte{1}).Read(data) // never fails
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	blocks := func(f func(i int, plain []byte) error) (int64, error) {
		for i := 0; i*chunk < len(data); i++ {
			if err := f(i, data[i*chunk:min((i+1)*chunk, len(data))]); err != nil {
				return 0, err
			}
		}
		return p.size, nil
	}
	out, iv := make([]byte, 0, chunk+8192), make([]byte, gcm.NonceSize())

	// The bare cipher's own ciphertexts, to be opened.
	var bare [][]byte
	if _, err := blocks(func(_ int, plain []byte) error {
		bare = append(bare, gcm.Seal(nil, iv, plain, nil))
		return nil
	}); err != nil {
		return nil, err
	}

	id, marks := coffer.NewObjectID(), [32]byte{1}
	shelf := &shelf{chunks: make(map[uint64][]byte)}
	write := func(to coffer.Vault) (*seal.Stream, error) {
		return stream.Write(ctx, stream.WriteOptions{
			Vault: to, ID: id, Source: bytes.NewReader(data), Size: p.size, MarkKey: marks,
		})
	}
	written, err := write(shelf)
	if err != nil {
		return nil, err
	}
	read := func(strict bool) func() (int64, error) {
		return func() (int64, error) {
			r, err := stream.NewReader(ctx, stream.ReadOptions{Vault: shelf, ID: id, Stream: written, Strict: strict})
			if err != nil {
				return 0, err
			}
			defer r.Close()
			return r.WriteTo(io.Discard)
		}
	}

	s, err := seal.NewNativeStream(0, 0)
	if err != nil {
		return nil, err
	}
	sealer, err := seal.NewChunkSealer(id, s)
	if err != nil {
		return nil, err
	}
	marker := seal.NewMarker(marks, id, 0)
	sealed := func(after func(raw, plain []byte, index uint64)) func() (int64, error) {
		return func() (int64, error) {
			return blocks(func(i int, plain []byte) error {
				raw, err := sealer.Seal(out, uint64(i), false, plain)
				if err == nil {
					after(raw, plain, uint64(i))
				}
				return err
			})
		}
	}
	// Whole chunks alone, so that nothing is measured of the stream's end.
	opener, err := seal.NewStreamOpener(id, written)
	if err != nil {
		return nil, err
	}
	layout := written.Layout()
	entries := written.Table()
	if layout.Tables > 0 {
		entries = nil
		for n := range layout.Tables {
			part, err := opener.OpenTable(bytes.Clone(shelf.chunks[layout.TableIndex(n)]), n)
			if err != nil {
				return nil, err
			}
			entries = append(entries, part...)
		}
	}
	opened := func(strict bool) func() (int64, error) {
		return func() (n int64, err error) {
			for i := range layout.Data {
				plain, err := opener.OpenData(out, shelf.chunks[seal.DataIndex(i)], i, &entries[i], strict)
				if err != nil {
					return 0, err
				}
				n += int64(len(plain))
			}
			return n, nil
		}
	}

	rows := []*row{
		{name: "AES-256-GCM, seal", run: func() (int64, error) {
			return blocks(func(_ int, plain []byte) error {
				_, _ = rand.Read(iv) // never fails
				gcm.Seal(out, iv, plain, nil)
				return nil
			})
		}},
		{name: "AES-256-GCM, open", run: func() (n int64, err error) {
			zero := make([]byte, gcm.NonceSize())
			for _, b := range bare {
				plain, err := gcm.Open(out, zero, b, nil)
				if err != nil {
					return 0, err
				}
				n += int64(len(plain))
			}
			return n, nil
		}},
		{name: "SHA-256", run: func() (int64, error) {
			return blocks(func(_ int, plain []byte) error { sha256.Sum256(plain); return nil })
		}},
		{name: "ChunkSealer", beside: "AES-256-GCM, seal", run: sealed(func(raw, plain []byte, index uint64) {})},
		{name: "ChunkSealer, SHA-256", beside: "AES-256-GCM, seal", run: sealed(func(raw, plain []byte, index uint64) {
			sealer.Ref(index, raw)
		})},
		{name: "ChunkSealer, SHA-256, mark", beside: "AES-256-GCM, seal", run: sealed(func(raw, plain []byte, index uint64) {
			sealer.Entry(sealer.Ref(index, raw), raw, marker, plain)
		})},
		{name: "ChunkOpener", beside: "AES-256-GCM, open", run: opened(false)},
		{name: "ChunkOpener, SHA-256", beside: "AES-256-GCM, open", run: opened(true)},
		{name: "stream.Write", beside: "AES-256-GCM, seal", run: func() (int64, error) {
			_, err := write(nowhere{})
			return p.size, err
		}},
		{name: "stream.Reader", beside: "AES-256-GCM, open", run: read(false)},
		{name: "stream.Reader, SHA-256", beside: "AES-256-GCM, open", run: read(true)},
	}
	peers, err := ages()
	if err != nil {
		return nil, err
	}
	for _, a := range peers {
		var ciphertext bytes.Buffer
		if err := a.encrypt(&ciphertext, data); err != nil {
			return nil, err
		}
		rows = append(rows,
			&row{name: a.name + ", encrypt", beside: "AES-256-GCM, seal", run: func() (int64, error) {
				return p.size, a.encrypt(io.Discard, data)
			}},
			&row{name: a.name + ", decrypt", beside: "AES-256-GCM, open", run: func() (int64, error) {
				return a.decrypt(ciphertext.Bytes())
			}},
		)
	}
	for _, r := range rows {
		r.unit = 1e6
	}
	return rows, nil
}

// An ager is age with one kind of key.
type ager struct {
	name      string
	recipient age.Recipient
	identity  age.Identity
}

func ages() ([]*ager, error) {
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, err
	}
	return []*ager{{"age, X25519", classic.Recipient(), classic}, {"age, hybrid", hybrid.Recipient(), hybrid}}, nil
}

func (a *ager) encrypt(to io.Writer, plain []byte) error {
	w, err := age.Encrypt(to, a.recipient)
	if err != nil {
		return err
	}
	if _, err := w.Write(plain); err != nil {
		return err
	}
	return w.Close()
}

func (a *ager) decrypt(ciphertext []byte) (int64, error) {
	r, err := age.Decrypt(bytes.NewReader(ciphertext), a.identity)
	if err != nil {
		return 0, err
	}
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 64<<10))
}
