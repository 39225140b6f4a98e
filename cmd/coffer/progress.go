package main

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progress shows a person how far a transfer has come. The nil progress shows nothing.
type progress struct {
	bar  *progressbar.ProgressBar
	over sync.Once
}

// progress starts a bar over so many bytes, -1 if that is not known. It returns nil unless a person looks on.
func (p *program) progress(description string, total int64) *progress {
	if p.NoProgress || p.Quiet || p.JSON || !isTerminal(p.stderr) {
		return nil
	}
	return &progress{bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription(printable(description)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(true),
	)}
}

// add counts bytes that were moved.
func (g *progress) add(n int64) {
	if g != nil {
		_ = g.bar.Add64(n)
	}
}

// clear makes room for a line of text. The bar comes back below it.
func (g *progress) clear() {
	if g != nil {
		_ = g.bar.Clear()
	}
}

// done takes the bar away for good. It may be called again.
func (g *progress) done() {
	if g != nil {
		g.over.Do(g.clear)
	}
}

// read returns r, counted.
func (g *progress) read(r io.Reader) io.Reader {
	if g == nil {
		return r
	}
	return countedReader{r, g}
}

type countedReader struct {
	io.Reader
	g *progress
}

func (c countedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.g.add(int64(n))
	return n, err
}

// total says how many bytes there will be.
func (g *progress) total(n int64) { g.bar.ChangeMax64(n) }

// counted starts a bar over objects, of a number that may change. It returns nil unless a person looks on.
func (p *program) counted(description string) *progress {
	if p.NoProgress || p.Quiet || p.JSON || !isTerminal(p.stderr) {
		return nil
	}
	return &progress{bar: progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription(printable(description)),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(true),
	)}
}

// at says how many of how many are done.
func (g *progress) at(done, total int) {
	if g != nil {
		g.bar.ChangeMax(max(total, 1))
		_ = g.bar.Set(done)
	}
}

// write returns w, counted.
func (g *progress) write(w io.Writer) io.Writer {
	if g == nil {
		return w
	}
	return countedWriter{w, g}
}

type countedWriter struct {
	io.Writer
	g *progress
}

func (c countedWriter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.g.add(int64(n))
	return n, err
}
