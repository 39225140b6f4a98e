package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cofferhq/coffer/agent"
)

// words returns a text for a document: common words, and one that a thousandth of the documents have.
func words(n int) []byte {
	return fmt.Appendf(nil, "invoice for customer%d, month%d: consulting, travel, rare%d and paper\n", n%977, n%12, n%1000)
}

// search measures finding documents by a word.
func (p *program) search(ctx context.Context) error {
	alice, err := p.person(ctx)
	if err != nil {
		return err
	}
	before := alice.vault.written()
	begin := time.Now()
	if err := each(p.documents, writers, func(i int) error {
		path := fmt.Sprintf("texts/%03d/%06d.txt", i/1000, i)
		_, err := alice.Put(ctx, path, file(words(i), "text/plain"), agent.PutOptions{})
		return err
	}); err != nil {
		return err
	}
	took := time.Since(begin)
	w := alice.vault.written().since(before)
	p.say(fmt.Sprintf("put %d texts, with the index", p.documents), rate(p.documents, took), "%.2f documents, %s each",
		float64(w.documents)/float64(p.documents), kB(w.bytes/int64(p.documents)))

	device, err := alice.device(ctx)
	if err != nil {
		return err
	}
	last := p.documents - 1
	for _, q := range []struct{ name, query string }{
		{"find a word, new device", fmt.Sprintf("rare%d", last%1000)},
		{"the same again", fmt.Sprintf("rare%d", last%1000)},
		{"find another word", fmt.Sprintf("rare%d", last/2%1000)},
		{"find two words", fmt.Sprintf("customer%d AND rare%d", last%977, last%1000)},
	} {
		before := device.wire.traffic()
		begin := time.Now()
		found := 0
		var first time.Duration
		for _, err := range device.Find(ctx, q.query) {
			if err != nil {
				return err
			}
			if found++; found == 1 {
				first = time.Since(begin)
			}
		}
		took := time.Since(begin)
		if found == 0 {
			return fmt.Errorf("%s found nothing", q.query)
		}
		t := device.wire.traffic().since(before)
		p.say(q.name, short(took), "%d found, the first after %s; %d requests, %s received", found, short(first), t.requests,
			kB(t.received))
	}
	return nil
}
