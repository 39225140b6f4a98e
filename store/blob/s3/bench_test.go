package s3

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store/storetest"
)

// rawClient returns minio-go as one uses it who asks for nothing more, and the bucket that the store is in.
func rawClient(b *testing.B, url string) (*minio.Client, string) {
	b.Helper()
	t, err := ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	c, err := minio.New(t.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(t.Key, t.Secret, ""), Secure: t.TLS, Transport: newTransport(defaultPatience),
	})
	if err != nil {
		b.Fatal(err)
	}
	return c, t.Bucket
}

// BenchmarkPut puts blobs beside minio-go's PutObject, which checks no hash of ours, asks for no condition and sends no
// mark.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 20, 16 << 10} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKiB/writers=%d", size>>10, writers), func(b *testing.B) {
				url := servers.Bucket(b)
				s := on(b, url)
				raw, bucket := rawClient(b, url)
				body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
				sum := sha256.Sum256(body)
				storetest.Duel(b, writers, 40, &storetest.Side{Name: "store", Do: func(i int) error {
					key := fmt.Sprintf("vault/%d/%d", i%8, i)
					return s.Put(b.Context(), key, int64(size), sum, io.MultiReader(bytes.NewReader(body)))
				}}, &storetest.Side{Name: "raw", Do: func(i int) error {
					name := fmt.Sprintf("raw/%d/%d", i%8, i)
					r := io.MultiReader(bytes.NewReader(body))
					_, err := raw.PutObject(b.Context(), bucket, name, r, int64(size), minio.PutObjectOptions{DisableMultipart: true})
					return err
				}})
			})
		}
	}
}

// BenchmarkGet gets blobs beside minio-go's GetObject.
func BenchmarkGet(b *testing.B) {
	const size, count = 1 << 20, 32
	for _, readers := range []int{1, 16} {
		b.Run(fmt.Sprintf("%dKiB/readers=%d", size>>10, readers), func(b *testing.B) {
			url := servers.Bucket(b)
			s := on(b, url)
			raw, bucket := rawClient(b, url)
			for i := range count {
				body := content(i, size)
				if err := s.Put(b.Context(), fmt.Sprintf("v/%d", i), size, sha256.Sum256(body), bytes.NewReader(body)); err != nil {
					b.Fatal(err)
				}
			}
			drain := func(r io.ReadCloser) error {
				n, err := io.Copy(io.Discard, r)
				if err == nil && n != size {
					err = io.ErrUnexpectedEOF
				}
				_ = r.Close()
				return err
			}
			storetest.Duel(b, readers, 40, &storetest.Side{Name: "store", Do: func(i int) error {
				r, _, err := s.Get(b.Context(), fmt.Sprintf("v/%d", i%count))
				if err != nil {
					return err
				}
				return drain(r)
			}}, &storetest.Side{Name: "raw", Do: func(i int) error {
				r, err := raw.GetObject(b.Context(), bucket, fmt.Sprintf("v/%d.blob", i%count), minio.GetObjectOptions{})
				if err != nil {
					return err
				}
				return drain(r)
			}})
		})
	}
}
