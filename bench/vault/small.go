package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/keyring"
)

// kilobyte returns bytes that are the number's own.
func kilobyte(n int) []byte {
	b := make([]byte, 1000)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b) // never fails
	return b
}

func file(b []byte, mime string) agent.Source {
	return agent.Source{Reader: bytes.NewReader(b), Size: int64(len(b)), MIME: mime, Modified: time.Unix(1e9, 0)}
}

// each calls f with the numbers below n, from as many goroutines, and returns the first error.
func each(n, goroutines int, f func(i int) error) error {
	var next atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				if err := f(i); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
				}
			}
		})
	}
	all.Wait()
	return failed
}

// fill puts objects of 1 kB into a folder, and returns how long that took.
func (o *person) fill(ctx context.Context, folder string, n, goroutines int) (time.Duration, error) {
	begin := time.Now()
	err := each(n, goroutines, func(i int) error {
		_, err := o.Put(ctx, fmt.Sprintf("%s/%06d", folder, i), file(kilobyte(i), ""), agent.PutOptions{})
		return err
	})
	return time.Since(begin), err
}

// small measures many small objects, sharing them, and revoking that.
func (p *program) small(ctx context.Context) error {
	alice, err := p.person(ctx)
	if err != nil {
		return err
	}
	before, beforeWire := alice.vault.written(), alice.wire.traffic()
	took, err := alice.fill(ctx, "large", p.files, writers)
	if err != nil {
		return err
	}
	putting := float64(p.files) / took.Seconds()
	w, t := alice.vault.written().since(before), alice.wire.traffic().since(beforeWire)
	p.say(fmt.Sprintf("put %d objects of 1 kB, %d at once", p.files, writers), rate(p.files, took),
		"%d documents, %s in %d requests", w.documents, kB(t.sent), t.requests)
	before = alice.vault.written()
	if took, err = alice.fill(ctx, "small", p.one, 1); err != nil {
		return err
	}
	w = alice.vault.written().since(before)
	p.say(fmt.Sprintf("put %d, one after the other", p.one), rate(p.one, took), "%.1f documents, %s each",
		float64(w.documents)/float64(p.one), kB(w.bytes/int64(p.one)))
	begin := time.Now()
	if err := each(p.one, writers, func(i int) error {
		return check(ctx, alice.Agent, fmt.Sprintf("small/%06d", i), i)
	}); err != nil {
		return err
	}
	p.say(fmt.Sprintf("get %d, %d at once", p.one, writers), rate(p.one, time.Since(begin)), "")
	if len(p.only) > 0 && !slices.Contains(p.only, "share") {
		return nil
	}

	bob, err := p.person(ctx)
	if err != nil {
		return err
	}
	if err := alice.knows(ctx, bob.ring); err != nil {
		return err
	}
	var link string
	for _, folder := range []struct {
		name string
		n    int
	}{{"small", p.one}, {"large", p.files}} {
		before = alice.vault.written()
		begin = time.Now()
		shares, err := alice.Share(ctx, folder.name, agent.ShareOptions{With: bob.ring.DID()})
		if err != nil {
			return err
		}
		took, link = time.Since(begin), shares[0].Link
		w = alice.vault.written().since(before)
		p.say(fmt.Sprintf("share a folder of %d", folder.n), short(took), "%d documents, %s written", w.documents,
			kB(w.bytes))
	}
	guest, err := bob.guest(ctx, link)
	if err != nil {
		return err
	}
	return p.revoke(ctx, alice, guest, putting)
}

// check reads an object and compares it.
func check(ctx context.Context, a *agent.Agent, path string, n int) error {
	o, err := a.Get(ctx, path)
	if err != nil {
		return err
	}
	r := o.Open(ctx)
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(b, kilobyte(n)) {
		err = errors.New("it came back as another")
	}
	return err
}

// revoke measures how long a reader can go on, and how fast a folder is encrypted anew.
func (p *program) revoke(ctx context.Context, alice *person, guest *agent.Agent, putting float64) error {
	if err := check(ctx, guest, "000000", 0); err != nil {
		return err
	}
	// The reader reads without a pause, and notes when a read that was served ended.
	var last time.Time
	reads := 0
	refused := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		for {
			if err := check(ctx, guest, "000000", 0); err != nil {
				refused <- err
				return
			}
			last = time.Now()
			if reads++; reads == 1 {
				close(started)
			}
		}
	}()
	select {
	case <-started:
	case err := <-refused:
		return err
	}
	before := alice.vault.written()
	begin := time.Now()
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Path: "large"}); err != nil {
		return err
	}
	took := time.Since(begin)
	// From here on every read fails: this one was begun after Revoke returned.
	if err := check(ctx, guest, "000000", 0); err == nil {
		return errors.New("read after being revoked")
	}
	err := <-refused
	if kind := coffer.KindOf(err); kind != coffer.NotExist && kind != coffer.Denied {
		return fmt.Errorf("the reader was refused for another reason: %w", err)
	}
	w := alice.vault.written().since(before)
	p.say("revoke", short(took), "%d documents, %s written", w.documents, kB(w.bytes))
	p.say("the reader's last answer, after the revocation began", short(max(0, last.Sub(begin))), "%d reads were answered", reads)

	before = alice.vault.written()
	begin = time.Now()
	if err := alice.Work(ctx, nil); err != nil {
		return err
	}
	took = time.Since(begin)
	w = alice.vault.written().since(before)
	p.say(fmt.Sprintf("encrypt %d anew", p.files), rate(p.files, took), "%.0f %% of the rate of putting; %d documents, %s",
		100*float64(p.files)/took.Seconds()/putting, w.documents, kB(w.bytes))
	return check(ctx, alice.Agent, "large/000000", 0)
}

// many measures sharing with many at once.
func (p *program) many(ctx context.Context) error {
	alice, err := p.person(ctx)
	if err != nil {
		return err
	}
	if _, err := alice.fill(ctx, "f", 10, 1); err != nil {
		return err
	}
	rings := make([]*keyring.Ring, p.recipients)
	for i := range rings {
		rings[i] = keyring.Generate()
	}
	begin := time.Now()
	if err := each(len(rings), writers, func(i int) error { return alice.knows(ctx, rings[i]) }); err != nil {
		return err
	}
	p.say(fmt.Sprintf("add %d contacts", len(rings)), short(time.Since(begin)), "")
	var readers []agent.ShareOptions
	for _, r := range rings {
		readers = append(readers, agent.ShareOptions{With: r.DID()})
	}
	before, beforeWire := alice.vault.written(), alice.wire.traffic()
	begin = time.Now()
	shares, err := alice.Share(ctx, "f/000000", readers...)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	w, t := alice.vault.written().since(before), alice.wire.traffic().since(beforeWire)
	p.say(fmt.Sprintf("share one object with %d", len(rings)), short(took),
		"%d deliveries, %d documents, %s written, %s sent", len(shares), w.documents, kB(w.bytes), kB(t.sent))
	begin = time.Now()
	before = alice.vault.written()
	if _, err := alice.Revoke(ctx, agent.RevokeOptions{Path: "f/000000", With: rings[0].DID()}); err != nil {
		return err
	}
	w = alice.vault.written().since(before)
	p.say("revoke one of them", short(time.Since(begin)), "%d documents, %s written", w.documents, kB(w.bytes))
	return nil
}
