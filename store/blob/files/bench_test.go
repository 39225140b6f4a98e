package files

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferhq/coffer/store/storetest"
)

// BenchmarkPut puts blobs, beside files that are written and flushed, and nothing else: not hashed, not renamed, their
// folder not flushed.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 20, 16 << 10} {
		for _, writers := range []int{1, 4, 16} {
			b.Run(fmt.Sprintf("%dKiB/writers=%d", size>>10, writers), func(b *testing.B) {
				s := on(b, b.TempDir())
				plain := b.TempDir()
				body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
				sum := sha256.Sum256(body)
				storetest.Duel(b, writers, 40, &storetest.Side{Name: "store", Do: func(i int) error {
					key := fmt.Sprintf("vault/%d/%d", i%8, i)
					return s.Put(b.Context(), key, int64(size), sum, bytes.NewReader(body))
				}}, &storetest.Side{Name: "plain", Do: func(i int) error {
					f, err := os.Create(filepath.Join(plain, fmt.Sprint(i)))
					if err != nil {
						return err
					}
					_, err = f.Write(body)
					return errors.Join(err, f.Sync(), f.Close())
				}})
			})
		}
	}
}

// BenchmarkGet reads blobs, beside files that are opened and read.
func BenchmarkGet(b *testing.B) {
	const size, count = 1 << 20, 32
	for _, readers := range []int{1, 16} {
		b.Run(fmt.Sprintf("%dKiB/readers=%d", size>>10, readers), func(b *testing.B) {
			s := on(b, b.TempDir())
			plain := b.TempDir()
			for i := range count {
				put(b, s, fmt.Sprintf("v/%d", i), make([]byte, size))
				if err := os.WriteFile(filepath.Join(plain, fmt.Sprint(i)), make([]byte, size), 0o600); err != nil {
					b.Fatal(err)
				}
			}
			drain := func(r io.ReadCloser) error {
				n, err := io.Copy(io.Discard, r)
				if err == nil && n != size {
					err = io.ErrUnexpectedEOF
				}
				return errors.Join(err, r.Close())
			}
			storetest.Duel(b, readers, 40, &storetest.Side{Name: "store", Do: func(i int) error {
				r, _, err := s.Get(b.Context(), fmt.Sprintf("v/%d", i%count))
				if err != nil {
					return err
				}
				return drain(r)
			}}, &storetest.Side{Name: "plain", Do: func(i int) error {
				f, err := os.Open(filepath.Join(plain, fmt.Sprint(i%count)))
				if err != nil {
					return err
				}
				return drain(f)
			}})
		})
	}
}
