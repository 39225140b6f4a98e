package seal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"os"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

func TestDeliver(t *testing.T) {
	// Spelt out here, so that it fails when the format changes.
	key, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	public := key.PublicKey().Bytes()
	if len(public) != DeliveryKeySize {
		t.Fatalf("key has %d bytes", len(public))
	}
	message, info := []byte("a key"), []byte("coffer test 1\x00")
	sealed, err := Deliver(public, info, message)
	if err != nil || len(sealed) != len(message)+DeliveryOverhead {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
	got, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, sealed)
	if err != nil || !bytes.Equal(got, message) {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte("other"), sealed); err == nil {
		t.Error("opened with other info")
	}
	again, err := Deliver(public, info, message)
	if err != nil || bytes.Equal(again, sealed) {
		t.Errorf("sealed alike twice, %v", err)
	}
	nobody, err := DeliverNobody(len(message))
	if err != nil || len(nobody) != len(sealed) {
		t.Errorf("%d bytes for nobody, %v", len(nobody), err)
	}
	for name, f := range map[string]func() ([]byte, error){
		"no key":        func() ([]byte, error) { return Deliver(nil, info, message) },
		"a short key":   func() ([]byte, error) { return Deliver(public[1:], info, message) },
		"an X25519 key": func() ([]byte, error) { return Deliver(public[:32], info, message) },
		"low order": func() ([]byte, error) {
			return Deliver(append(bytes.Clone(public[:1184]), make([]byte, 32)...), info, message)
		},
		"too long":        func() ([]byte, error) { return Deliver(public, info, make([]byte, MaxDelivery+1)) },
		"too much info":   func() ([]byte, error) { return Deliver(public, make([]byte, MaxInfo+1), message) },
		"classic, hybrid": func() ([]byte, error) { return DeliverClassic(public, info, message) },
		"classic, none":   func() ([]byte, error) { return DeliverClassic(make([]byte, 32), info, message) },
		"nobody, less":    func() ([]byte, error) { return DeliverNobody(-1) },
		"nobody, more":    func() ([]byte, error) { return DeliverNobody(MaxDelivery + 1) },
	} {
		if _, err := f(); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeliverClassic(t *testing.T) {
	alice, bob := newRing(t, "alice"), newRing(t, "bob")
	info, message := []byte("info"), []byte("a key")
	sealed, err := DeliverClassic(alice.public().Public, info, message)
	if err != nil || len(sealed) != len(message)+ClassicDeliveryOverhead {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
	if got, err := ReceiveClassic(t.Context(), alice, info, sealed); err != nil || !bytes.Equal(got, message) {
		t.Fatalf("%q, %v", got, err)
	}
	secret, err := hpke.NewDHKEMPrivateKey(alice.secret)
	if err != nil {
		t.Fatal(err)
	}
	spelt := []byte("coffer classic delivery\x00info")
	if got, err := hpke.Open(secret, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), spelt, sealed); err != nil ||
		!bytes.Equal(got, message) {
		t.Errorf("by HPKE itself: %q, %v", got, err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := ReceiveClassic(t.Context(), alice, info, bad); !errors.Is(err, coffer.Corrupt) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for name, f := range map[string]func() ([]byte, error){
		"by another": func() ([]byte, error) { return ReceiveClassic(t.Context(), bob, info, sealed) },
		"other info": func() ([]byte, error) { return ReceiveClassic(t.Context(), alice, nil, sealed) },
		"nothing":    func() ([]byte, error) { return ReceiveClassic(t.Context(), alice, info, nil) },
		"low order":  func() ([]byte, error) { return ReceiveClassic(t.Context(), alice, info, make([]byte, 64)) },
		"too long":   func() ([]byte, error) { return ReceiveClassic(t.Context(), alice, info, make([]byte, 2<<20)) },
	} {
		if _, err := f(); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	alice.fail = coffer.Errorf("keyring", coffer.Locked, "passphrase needed")
	if _, err := ReceiveClassic(t.Context(), alice, info, sealed); !errors.Is(err, coffer.Locked) {
		t.Errorf("a locked keyring: %v", err)
	}
}

// What was delivered once opens for ever.
func TestKnownDeliveries(t *testing.T) {
	for file, test := range map[string]struct {
		kem  hpke.KEM
		info string
	}{
		"testdata/delivery1.txt": {hpke.MLKEM768X25519(), "test"},
		"testdata/classic1.txt":  {hpke.DHKEM(ecdh.X25519()), "coffer classic delivery\x00test"},
	} {
		key, err := test.kem.DeriveKeyPair(bytes.Repeat([]byte{1}, 32))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sealed, ok := jose.Decode64(string(bytes.TrimSpace(text)))
		if !ok {
			t.Fatal("not base64url")
		}
		b, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(test.info), sealed)
		if err != nil || len(b) != 64 {
			t.Fatalf("%s: %x, %v", file, b, err)
		}
		if message, err := UnpadDelivery(b); err != nil || string(message) != "a key" {
			t.Errorf("%s: %q, %v", file, message, err)
		}
	}
}

func TestPadDelivery(t *testing.T) {
	for n := range 20 {
		message := make([]byte, n)
		rand.Read(message)
		b, err := PadDelivery(message, 15+PadOverhead)
		if n > 15 {
			if !errors.Is(err, coffer.Exhausted) {
				t.Errorf("%d bytes: %v", n, err)
			}
			continue
		}
		if err != nil || len(b) != 15+PadOverhead {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if got, err := UnpadDelivery(b); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%x, %v", got, err)
		}
	}
	if _, err := PadDelivery(nil, 4); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("no room: %v", err)
	}
	if _, err := PadDelivery(nil, MaxDelivery+1); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("too much room: %v", err)
	}
	for _, b := range []string{
		"", "\x01\x00\x00\x00", "\x00\x00\x00\x00\x00", "\x02\x00\x00\x00\x00", "\x01\x00\x00\x00\x01",
		"\x01\xff\xff\xff\xff\x00", "\x01\x00\x00\x00\x01aa", "\x01\x00\x00\x00\x01a\x00\x00\x01",
	} {
		if _, err := UnpadDelivery([]byte(b)); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func FuzzUnpadDelivery(f *testing.F) {
	b, _ := PadDelivery([]byte("message"), 20)
	f.Add(b)
	f.Add([]byte("\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		message, err := UnpadDelivery(b)
		if err != nil {
			return
		}
		if again, err := PadDelivery(message, len(b)); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is not what was padded, %v", b, err)
		}
	})
}

func FuzzReceiveClassic(f *testing.F) {
	r := newRing(f, "alice")
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(ephemeral.PublicKey().Bytes(), make([]byte, 16)...))
	f.Add(make([]byte, 31))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ReceiveClassic(t.Context(), r, nil, b); !errors.Is(err, coffer.Corrupt) {
			t.Fatal(err)
		}
	})
}

func BenchmarkDeliver(b *testing.B) {
	key, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	public, message := key.PublicKey().Bytes(), make([]byte, 512)
	b.Run("to somebody", func(b *testing.B) {
		for b.Loop() {
			if _, err := Deliver(public, nil, message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("to nobody", func(b *testing.B) {
		for b.Loop() {
			if _, err := DeliverNobody(len(message)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
