package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer"
)

func TestDerive(t *testing.T) {
	ctx := context.Background()
	root := [32]byte{1}
	a, again, b := Bearer(root), Bearer(root), Generate()
	if !bytes.Equal(must(a.Derive(ctx, "x")), must(again.Derive(ctx, "x"))) || len(must(a.Derive(ctx, "x"))) != 32 {
		t.Error("not the same for the same label")
	}
	if bytes.Equal(must(a.Derive(ctx, "x")), must(a.Derive(ctx, "y"))) ||
		bytes.Equal(must(a.Derive(ctx, "x")), must(b.Derive(ctx, "x"))) {
		t.Error("the same for another label or identity")
	}
	for _, label := range []string{"", strings.Repeat("x", maxLabel+1)} {
		_, err1 := a.Derive(ctx, label)
		_, err2 := a.Pseudonym(ctx, label)
		if !errors.Is(err1, coffer.Invalid) || !errors.Is(err2, coffer.Invalid) {
			t.Errorf("label of %d bytes: %v, %v", len(label), err1, err2)
		}
	}
}

func TestPseudonym(t *testing.T) {
	ctx := context.Background()
	r := Generate()
	p, again, q := must(r.Pseudonym(ctx, "x")), must(r.Pseudonym(ctx, "x")), must(r.Pseudonym(ctx, "y"))
	if fingerprint(t, p.(coffer.Owner)) != fingerprint(t, again.(coffer.Owner)) {
		t.Error("not the same for the same label")
	}
	all := []coffer.Keyring{r, p, q, must(p.(coffer.Owner).Pseudonym(ctx, "x"))}
	seen := make(map[string]bool)
	for _, k := range all {
		for use := coffer.SigningKey; use <= coffer.DeliveryKey; use++ {
			key := k.Key(use)
			parts := []string{key.ID}
			if len(key.Public) > 0 {
				parts = append(parts, string(key.Public))
			}
			for _, part := range parts {
				if seen[part] {
					t.Errorf("key %d can be linked", use)
				}
				seen[part] = true
			}
			if key.Controller != k.DID() {
				t.Errorf("key %d is of another identity", use)
			}
		}
		s := must(k.Sign(ctx, coffer.Delegation, []byte("m")))
		if !ed25519.Verify(k.Key(coffer.SigningKey).Public, []byte("m"), s) {
			t.Error("signature is not its own")
		}
	}
	for range 100 { // what nobody uses is not kept for closing
		must(r.Pseudonym(ctx, "z"))
	}
	r.Close()
	for i, k := range all {
		if _, err := k.MAC(ctx, nil); !errors.Is(err, coffer.Locked) {
			t.Errorf("keyring %d after Close: %v", i, err)
		}
	}
}

func TestReceive(t *testing.T) {
	ctx := context.Background()
	r := Generate()
	good := sealTo(t, r.Key(coffer.DeliveryKey), "info", "message")
	if k := r.Key(coffer.DeliveryKey); len(k.Public) != deliverySize || k.Controller != r.DID() ||
		!strings.HasPrefix(k.ID, r.DID()+"#zQm") || k.Type != "MLKEM768X25519DeliveryKey" {
		t.Errorf("delivery key %+v", k)
	}
	if b, err := r.Receive(ctx, []byte("info"), good); err != nil || string(b) != "message" {
		t.Errorf("%q, %v", b, err)
	}
	for name, c := range map[string]struct {
		info   string
		sealed []byte
	}{
		"other info":   {"inf", good},
		"empty":        {"info", nil},
		"short":        {"info", good[:100]},
		"no text":      {"info", good[:1120]},
		"cut":          {"info", good[:len(good)-1]},
		"longer":       {"info", append(bytes.Clone(good), 0)},
		"other key":    {"info", sealTo(t, Generate().Key(coffer.DeliveryKey), "info", "message")},
		"changed":      {"info", append([]byte{good[0] ^ 1}, good[1:]...)},
		"low order":    {"info", append(append(bytes.Clone(good[:1088]), make([]byte, 32)...), good[1120:]...)},
		"far too long": {"info", make([]byte, maxReceived+1)},
	} {
		if _, err := r.Receive(ctx, []byte(c.info), c.sealed); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConcurrent uses one Ring from many sides while it is rotated and closed.
func TestConcurrent(t *testing.T) {
	ctx := context.Background()
	r := must(Generate().WithDevice())
	sealed := sealTo(t, r.Key(coffer.DeliveryKey), "", "m")
	bundle := must(r.SealBundle(r.devicePublic))
	var all sync.WaitGroup
	for name, f := range map[string]func() error{
		"sign":      func() error { _, err := r.Sign(ctx, coffer.Statement, nil); return err },
		"derive":    func() error { _, err := r.Derive(ctx, "x"); return err },
		"pseudonym": func() error { _, err := r.Pseudonym(ctx, "x"); return err },
		"receive":   func() error { _, err := r.Receive(ctx, nil, sealed); return err },
		"rotate":    func() error { _, err := r.Rotated(); return err },
		"bundle":    func() error { _, err := r.ReceiveBundle(bundle); return err },
		"close":     func() error { return r.Close() },
		"read":      func() error { r.Key(coffer.DeliveryKey); r.Earlier(); r.FormerDIDs(); r.Device(); return nil },
	} {
		all.Go(func() {
			for range 20 {
				if err := f(); err != nil && !errors.Is(err, coffer.Locked) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzReceive(f *testing.F) {
	r := Bearer([32]byte{1})
	f.Add([]byte("i"), sealTo(f, r.Key(coffer.DeliveryKey), "i", "m"))
	f.Add([]byte{}, make([]byte, 1136))
	f.Fuzz(func(t *testing.T, info, sealed []byte) {
		if _, err := r.Receive(context.Background(), info, sealed); err != nil && !errors.Is(err, coffer.Corrupt) {
			t.Error(err)
		}
	})
}

func BenchmarkPseudonym(b *testing.B) {
	r := Generate()
	for b.Loop() {
		must(r.Pseudonym(context.Background(), "x"))
	}
}
