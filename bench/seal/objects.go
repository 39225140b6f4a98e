package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/keyring"
)

// small are the rows of many objects of 1 kB.
func (p *program) small(ctx context.Context) ([]*row, error) {
	ring := keyring.Generate()
	key := ring.Key(coffer.SigningKey)
	now := time.Now().UTC()
	content := fmt.Appendf(nil, `{"type":"File","name":"note","size":750,"data":"%s"}`, strings.Repeat("QUJD", 250))
	sealOne := func(i int, enc string) (seal.Ref, *coffer.Document, error) {
		ref := seal.NewRef()
		d, err := seal.SealObject(ctx, seal.Plain{Content: content}, seal.ObjectOptions{
			Ref: ref, Author: ring, Time: now, Enc: enc,
		})
		return ref, d, err
	}
	refs, docs := make([]seal.Ref, p.objects), make([]*coffer.Document, p.objects)
	for i := range docs {
		var err error
		if refs[i], docs[i], err = sealOne(i, ""); err != nil {
			return nil, err
		}
	}
	each := func(f func(i int) error) func() (int64, error) {
		return func() (int64, error) {
			for i := range p.objects {
				if err := f(i); err != nil {
					return 0, err
				}
			}
			return int64(p.objects), nil
		}
	}
	rows := []*row{
		{name: "SealObject", run: each(func(i int) error { _, _, err := sealOne(i, ""); return err })},
		{name: "SealObject, XC20P", beside: "SealObject", run: each(func(i int) error {
			_, _, err := sealOne(i, "XC20P")
			return err
		})},
		{name: "OpenObject", run: each(func(i int) error { _, err := seal.OpenObject(refs[i], docs[i]); return err })},
		{name: "OpenObject, CheckAuthor", beside: "OpenObject", run: each(func(i int) error {
			o, err := seal.OpenObject(refs[i], docs[i])
			if err != nil {
				return err
			}
			return o.CheckAuthor(key)
		})},
	}
	peers, err := ages()
	if err != nil {
		return nil, err
	}
	for _, a := range peers {
		var ciphertext bytes.Buffer
		if err := a.encrypt(&ciphertext, content); err != nil {
			return nil, err
		}
		rows = append(rows,
			&row{name: a.name + ", encrypt 1 kB", beside: "SealObject", run: each(func(int) error {
				return a.encrypt(io.Discard, content)
			})},
			&row{name: a.name + ", decrypt 1 kB", beside: "OpenObject, CheckAuthor", run: each(func(int) error {
				n, err := a.decrypt(ciphertext.Bytes())
				if err == nil && n != int64(len(content)) {
					err = errors.New("it came back as another")
				}
				return err
			})},
		)
	}
	return pieces(rows), nil
}

// deliveries are the rows of a key that is sealed to somebody.
func (p *program) deliveries(ctx context.Context) ([]*row, error) {
	ring := keyring.Generate()
	public, info := ring.Key(coffer.DeliveryKey).Public, []byte("coffer measurement")
	slot, err := seal.PadDelivery(make([]byte, 400), 640)
	if err != nil {
		return nil, err
	}
	sealed, err := seal.Deliver(public, info, slot)
	if err != nil {
		return nil, err
	}
	n := max(1, p.objects/10)
	each := func(f func() error) func() (int64, error) {
		return func() (int64, error) {
			for range n {
				if err := f(); err != nil {
					return 0, err
				}
			}
			return int64(n), nil
		}
	}
	return pieces([]*row{
		{name: "HPKE, Deliver", run: each(func() error { _, err := seal.Deliver(public, info, slot); return err })},
		{name: "HPKE, Receive", run: each(func() error { _, err := ring.Receive(ctx, info, sealed); return err })},
		{name: "HPKE, DeliverNobody", run: each(func() error { _, err := seal.DeliverNobody(len(slot)); return err })},
	}), nil
}

func pieces(rows []*row) []*row {
	for _, r := range rows {
		r.unit = 1
	}
	return rows
}
