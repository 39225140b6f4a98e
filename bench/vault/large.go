package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/cofferhq/coffer/agent"
)

const mebibyte = 1 << 20

// A pattern is a long source that is made as it is read: random bytes, each MiB its own. One of them may be changed.
type pattern struct {
	size    int64
	changed int64 // number of the MiB that is another than it was; negative is none

	at   int64 // number of the MiB that is in block
	full bool
	mem  []byte
}

// ReadAt implements [io.ReaderAt]. It is for one goroutine.
func (p *pattern) ReadAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) {
		if offset >= p.size {
			return n, io.EOF
		}
		if at := offset / mebibyte; !p.full || at != p.at {
			if p.mem == nil {
				p.mem = make([]byte, mebibyte)
			}
			seed := [32]byte{byte(at), byte(at >> 8), byte(at >> 16)}
			if at == p.changed {
				seed[31] = 1
			}
			_, _ = rand.NewChaCha8(seed).Read(p.mem) // never fails
			p.at, p.full = at, true
		}
		end := min(mebibyte, p.size-p.at*mebibyte)
		m := copy(b[n:], p.mem[offset-p.at*mebibyte:end])
		n, offset = n+m, offset+int64(m)
	}
	return n, nil
}

// Read is not used: what can be read at an offset is.
func (p *pattern) Read([]byte) (int, error) { return 0, errors.New("not to be read so") }

// large measures a large file.
func (p *program) large(ctx context.Context) error {
	alice, err := p.person(ctx)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d MiB", p.big>>20)
	put := func(changed int64) (time.Duration, written, traffic, error) {
		before, beforeWire := alice.vault.written(), alice.wire.traffic()
		begin := time.Now()
		_, err := alice.Put(ctx, "big", agent.Source{
			Reader: &pattern{size: p.big, changed: changed}, Size: p.big, Modified: time.Unix(1e9+changed, 0),
		}, agent.PutOptions{})
		return time.Since(begin), alice.vault.written().since(before), alice.wire.traffic().since(beforeWire), err
	}
	took, w, t, err := put(-1)
	if err != nil {
		return err
	}
	p.say("put "+name, speed(p.big, took), "%d chunks, %d documents, %.1f MB sent", w.chunks, w.documents,
		float64(t.sent)/1e6)
	middle := p.big / mebibyte / 2
	if took, w, t, err = put(middle); err != nil {
		return err
	}
	p.say("change 1 MiB of it", short(took), "%d chunks, %d documents, %.2f MB sent, %s received", w.chunks, w.documents,
		float64(t.sent)/1e6, kB(t.received))

	for _, part := range []struct {
		name   string
		offset int64
		length int
	}{
		{"read 4 KiB in the middle", middle*mebibyte + 1000, 4 << 10},
		{"read 4 MiB across chunks", middle*mebibyte/2 + 1000, 4 << 20},
	} {
		device, err := alice.device(ctx)
		if err != nil {
			return err
		}
		if _, err := device.Stat(ctx, "big"); err != nil { // what a device does first is not what is measured
			return err
		}
		before := device.wire.traffic()
		begin := time.Now()
		o, err := device.Get(ctx, "big")
		if err != nil {
			return err
		}
		b := make([]byte, part.length)
		if _, err := o.ReadAt(ctx, b, part.offset); err != nil {
			return err
		}
		first, t := time.Since(begin), device.wire.traffic().since(before)
		want := make([]byte, part.length)
		if _, err := (&pattern{size: p.big, changed: middle}).ReadAt(want, part.offset); err != nil || !bytes.Equal(b, want) {
			return errors.New("it came back as another")
		}
		begin = time.Now()
		if _, err := o.ReadAt(ctx, b, (part.offset+p.big/3)%(p.big-int64(part.length))); err != nil {
			return err
		}
		p.say(part.name, short(first), "opening the file included; %d requests, %.2f MB received; elsewhere then %s",
			t.requests, float64(t.received)/1e6, short(time.Since(begin)))
	}
	begin := time.Now()
	o, err := alice.Get(ctx, "big")
	if err != nil {
		return err
	}
	r := o.Open(ctx)
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != p.big {
		err = errors.New("it came back with another length")
	}
	if err != nil {
		return err
	}
	p.say("get "+name, speed(p.big, time.Since(begin)), "to nowhere")
	return nil
}
