package tree

import (
	"fmt"
	"testing"
)

// large returns a disk with so many files in folders of a thousand.
func large(b *testing.B, files int) (*disk, func(i int) string) {
	d := newDisk(b, MaxContent)
	tr := d.open()
	path := func(i int) string { return fmt.Sprintf("folder%03d/file%07d.txt", i/1000, i) }
	for i := range files {
		put(b, tr, path(i))
	}
	d.commit(tr)
	b.Logf("%d files in %d pages", files, len(d.pages))
	return d, path
}

func BenchmarkPut(b *testing.B) {
	d, path := large(b, 100_000)
	b.ReportAllocs()
	pages, i := 0, 0
	for b.Loop() {
		tr := d.open()
		put(b, tr, path(i*7919%100_000)+"x")
		dirty, _ := tr.Dirty()
		pages += len(dirty)
		d.commit(tr)
		i++
	}
	b.ReportMetric(float64(pages)/float64(b.N), "pages/op")
	b.ReportMetric(float64(d.loads)/float64(b.N), "loads/op")
}

func BenchmarkPutMany(b *testing.B) {
	d, path := large(b, 100_000)
	tr, i := d.open(), 0
	b.ReportAllocs()
	for b.Loop() {
		put(b, tr, path(i*7919%100_000)+"x")
		i++
	}
}

func BenchmarkGet(b *testing.B) {
	d, path := large(b, 100_000)
	b.Run("loaded", func(b *testing.B) {
		tr, i := d.open(), 0
		all(b, tr, "", map[string]Node{})
		b.ReportAllocs()
		for b.Loop() {
			_, err := tr.Get(ctx, path(i*7919%100_000))
			check(b, err)
			i++
		}
	})
	b.Run("fresh", func(b *testing.B) {
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			_, err := d.open().Get(ctx, path(i*7919%100_000))
			check(b, err)
			i++
		}
	})
}

func BenchmarkList(b *testing.B) {
	d, _ := large(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if n := len(list(b, d.open(), "folder042")); n != 1000 {
			b.Fatal(n)
		}
	}
}
