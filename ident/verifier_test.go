package ident

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"testing"

	"github.com/cofferhq/coffer"
)

func multikeyOf(public ed25519.PublicKey) string { return key{Ed25519, public}.multikey() }

func TestKey(t *testing.T) {
	ctx := context.Background()
	r := newResolver(t, Options{Verifiers: 8})
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	name, message := multikeyOf(public), []byte("message")
	signature := ed25519.Sign(private, message)
	for _, id := range []string{"did:key:" + name, name} {
		for _, p := range []coffer.Purpose{coffer.Invocation, coffer.Delegation, coffer.Assertion} {
			for range 2 { // from the document, and from what is kept
				v, err := r.Key(ctx, id+"#"+name, p)
				if err != nil {
					t.Fatal(err)
				}
				if !v.Verify(message, signature) || v.Verify([]byte("massage"), signature) || v.Verify(message, signature[:63]) ||
					v.Verify(message, nil) {
					t.Errorf("%s for %s: wrong answer", id, p)
				}
			}
		}
	}
	agreement, _ := key{Ed25519, public}.agreement()
	for _, c := range []struct {
		keyID string
		p     coffer.Purpose
		kind  coffer.Kind
	}{
		{"did:key:" + name, coffer.Invocation, coffer.Invalid},
		{"did:key:" + name + "#", coffer.Invocation, coffer.Invalid},
		{"#" + name, coffer.Invocation, coffer.Invalid},
		{"", coffer.Invocation, coffer.Invalid},
		{"did:key:" + name + "#" + name + "#" + name, coffer.Invocation, coffer.NotExist},
		{"did:key:" + name + "#" + alice, coffer.Invocation, coffer.NotExist},
		{"did:key:" + alice + "#" + name, coffer.Invocation, coffer.NotExist},
		{"did:key:" + name + "#" + agreement.multikey(), coffer.Invocation, coffer.Denied},
		{"did:key:" + carol + "#" + carol, coffer.Invocation, coffer.Denied},
		{"did:key:" + name + "#" + name, "", coffer.Invalid},
		{"did:key:" + name + "#" + name, "keyAgreement", coffer.Invalid},
		{"did:key:" + name + "?x#" + name, coffer.Invocation, coffer.Invalid},
		{"did:key:did:key:" + name + "#did:key:" + name, coffer.Invocation, coffer.Invalid},
		{"did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv#zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
			coffer.Invocation, coffer.Invalid},
		{"did:web:example.org#a", coffer.Invocation, coffer.Denied},
		{"did:key:" + name + "#" + string(bytes.Repeat([]byte("a"), maxID)), coffer.Invocation, coffer.Invalid},
	} {
		if v, err := r.Key(ctx, c.keyID, c.p); v != nil || !errors.Is(err, c.kind) {
			t.Errorf("%.80s for %s: %v", c.keyID, c.p, err)
		}
	}
	for range 100 {
		public, _, _ := ed25519.GenerateKey(rand.Reader)
		if _, err := r.Key(ctx, "did:key:"+multikeyOf(public)+"#"+multikeyOf(public), coffer.Invocation); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.verifiers.Len(); n > 8 {
		t.Errorf("%d verifiers are kept", n)
	}
}

// smallOrder are all encodings of the eight points of small order that some implementation accepts, those with a
// coordinate beyond the field and a sign without need included ("Taming the many EdDSAs", table 6c).
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
}

// TestAsTheStandardLibrary gives odd keys and signatures to us and to crypto/ed25519: both must say the same.
func TestAsTheStandardLibrary(t *testing.T) {
	r := newResolver(t, Options{})
	accepted, refused := 0, 0
	check := func(what string, public, message, signature []byte) {
		t.Helper()
		want := ed25519.Verify(public, message, signature)
		v, err := r.verifier(key{Ed25519, public})
		if got := err == nil && v.Verify(message, signature); got != want {
			t.Errorf("%s: we say %v, the standard library %v: key %x, signature %x", what, got, want, public, signature)
		}
		if want {
			accepted++
		} else {
			refused++
		}
	}
	for _, a := range smallOrder {
		for _, b := range smallOrder {
			for m := range 16 {
				check("small order", unhex(t, a), []byte{byte(m)}, append(unhex(t, b), make([]byte, 32)...))
			}
		}
	}
	if accepted == 0 {
		t.Error("no signature of small order was accepted: this test shows nothing")
	}
	seed := mathrand.Uint64()
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	order := unhex(t, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	for range 200 {
		private := ed25519.NewKeyFromSeed(binary(random, 32))
		public := []byte(private.Public().(ed25519.PublicKey))
		message := binary(random, random.IntN(100))
		signature := ed25519.Sign(private, message)
		check(fmt.Sprintf("honest, seed %d", seed), public, message, signature)
		bad := bytes.Clone(signature)
		bad[random.IntN(64)] ^= 1 << random.IntN(8)
		check(fmt.Sprintf("changed, seed %d", seed), public, message, bad)
		more := bytes.Clone(signature) // S + order: the same number to a careless checker
		carry := 0
		for i, b := range order {
			carry += int(more[32+i]) + int(b)
			more[32+i] = byte(carry)
			carry >>= 8
		}
		check(fmt.Sprintf("S beyond the order, seed %d", seed), public, message, more)
		key := bytes.Clone(public)
		key[random.IntN(32)] ^= 1 << random.IntN(8)
		check(fmt.Sprintf("changed key, seed %d", seed), key, message, signature)
		check("odd R", public, message, append(unhex(t, smallOrder[random.IntN(len(smallOrder))]), signature[32:]...))
		check("odd key", unhex(t, smallOrder[random.IntN(len(smallOrder))]), message, signature)
	}
	t.Logf("%d accepted, %d refused by both", accepted, refused)
}

func binary(r *mathrand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestKeptKeyIsFree pins that asking for a key that is kept allocates nothing.
func TestKeptKeyIsFree(t *testing.T) {
	r, ctx := newResolver(t, Options{}), context.Background()
	keyID := "did:key:" + alice + "#" + alice
	if n := testing.AllocsPerRun(100, func() { r.Key(ctx, keyID, coffer.Invocation) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	keyID := "did:key:" + multikeyOf(public) + "#" + multikeyOf(public)
	message := make([]byte, 400) // as long as what an HTTP request has signed
	signature := ed25519.Sign(private, message)
	b.Run("kept", func(b *testing.B) {
		r, ctx := newResolver(b, Options{}), context.Background()
		b.ReportAllocs()
		for b.Loop() {
			v, err := r.Key(ctx, keyID, coffer.Invocation)
			if err != nil || !v.Verify(message, signature) {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		r, ctx := newResolver(b, Options{}), context.Background()
		b.ReportAllocs()
		for b.Loop() {
			r.verifiers.Purge()
			v, err := r.Key(ctx, keyID, coffer.Invocation)
			if err != nil || !v.Verify(message, signature) {
				b.Fatal(err)
			}
		}
	})
	b.Run("std", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !ed25519.Verify(public, message, signature) {
				b.Fatal("refused")
			}
		}
	})
}

func BenchmarkKeyKept(b *testing.B) {
	r, ctx, keyID := newResolver(b, Options{}), context.Background(), "did:key:"+alice+"#"+alice
	b.ReportAllocs()
	for b.Loop() {
		r.Key(ctx, keyID, coffer.Invocation)
	}
}
