package files

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
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
