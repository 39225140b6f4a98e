package keyring

import (
	"bytes"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/cofferhq/coffer"
)

// rotated returns an identity with several generations, on a device.
func rotated(t testing.TB) *Ring {
	t.Helper()
	r := must(must(Generate().Rotated()).Rotated(Signing, Vault))
	return must(r.Forget(Vault, 1))
}

func TestBundle(t *testing.T) {
	recovery := must(ParsePhrase(NewPhrase()))
	for name, r := range map[string]*Ring{
		"generated": Generate(), "imported": imported(t, 0x11), "rotated": rotated(t),
	} {
		_, pairing := NewPairing()
		under := must(r.SealBundleUnder(pairing.Key()))
		to := must(r.SealBundle(recovery.Public()))
		for way, next := range map[string]*Ring{
			"code": must(OpenBundleUnder(pairing.Key(), under)), "phrase": must(recovery.Open(to)),
		} {
			if fingerprint(t, next) != fingerprint(t, r) || !slices.Equal(next.FormerDIDs(), r.FormerDIDs()) {
				t.Errorf("%s, %s: not the same identity", name, way)
			}
			for _, use := range allUses {
				if next.Generations(use) != r.Generations(use) || next.first[use] != r.first[use] {
					t.Errorf("%s, %s: use %d: not the same generations", name, way, use)
				}
			}
			id, public := next.Device()
			if was, old := r.Device(); id == was || bytes.Equal(public, old) || public == nil {
				t.Errorf("%s, %s: the device went along", name, way)
			}
		}
		if len(under) != 1+24+16+(len(under)/bundleStep)*bundleStep {
			t.Errorf("%s: bundle of %d bytes", name, len(under))
		}
		_, other := NewPairing()
		for what, open := range map[string]func() (*Ring, error){
			"other code":    func() (*Ring, error) { return OpenBundleUnder(other.Key(), under) },
			"other phrase":  func() (*Ring, error) { return must(ParsePhrase(NewPhrase())).Open(to) },
			"wrong way":     func() (*Ring, error) { return OpenBundleUnder(pairing.Key(), to) },
			"other way":     func() (*Ring, error) { return recovery.Open(under) },
			"nothing":       func() (*Ring, error) { return recovery.Open(nil) },
			"nothing under": func() (*Ring, error) { return OpenBundleUnder(pairing.Key(), nil) },
			"cut":           func() (*Ring, error) { return recovery.Open(to[:len(to)-1]) },
			"cut under":     func() (*Ring, error) { return OpenBundleUnder(pairing.Key(), under[:len(under)-1]) },
			"too long":      func() (*Ring, error) { return recovery.Open(make([]byte, 3*maxBundle)) },
		} {
			if _, err := open(); !errors.Is(err, coffer.Corrupt) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	for name, public := range map[string][]byte{
		"none": nil, "short": make([]byte, 32), "X25519 alone": Generate().Key(coffer.AgreementKey).Public,
		"malformed": bytes.Repeat([]byte{0xff}, deliverySize),
		"low order": append(recovery.Public()[:1184], make([]byte, 32)...),
	} {
		if _, err := Generate().SealBundle(public); !errors.Is(err, coffer.Invalid) {
			t.Errorf("sealed to a key that is %s: %v", name, err)
		}
	}
}

// TestReceiveBundle tells the story of two devices, and of those who would like to be one.
func TestReceiveBundle(t *testing.T) {
	first := must(Generate().WithDevice())
	second := must(OpenBundleUnder([32]byte{7}, must(first.SealBundleUnder([32]byte{7}))))
	id, to := second.Device()
	receive := func(from *Ring) (*Ring, error) { return second.ReceiveBundle(must(from.SealBundle(to))) }

	next := must(first.Rotated())
	received, err := receive(next)
	if err != nil {
		t.Fatal(err)
	}
	if fingerprint(t, received) != fingerprint(t, next) {
		t.Error("received something else")
	}
	if is, public := received.Device(); is != id || !bytes.Equal(public, to) {
		t.Error("received another device")
	}
	for name, from := range map[string]*Ring{
		"same":              first,
		"twice rotated":     must(next.Rotated(Signing)),
		"forgot all":        forgetful(must(next.Rotated())),
		"rotated by second": must(second.Rotated(Vault)),
	} {
		if _, err := receive(from); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	thief := must(Generate().Rotated())
	// A thief without the secrets shows off with the true names and statements.
	source := must(first.Rotated(Signing))
	forged := must(source.copied(""))
	forged.seeds[HMAC][0] = make([]byte, 32)
	forgedRing := newRing(forged, source.first, source.hmacIDs, source.former)
	other := must(first.Rotated(Vault))
	fork := must(first.Rotated(Vault))
	for name, from := range map[string]*Ring{
		"other identity": Generate(), "other that rotated": thief, "other HMAC key": forgedRing,
		"other HMAC id": must(FromSeeds(first.secrets.seeds[Signing][0], first.secrets.seeds[HMAC][0], "urn:x:y")),
	} {
		if _, err := receive(from); !errors.Is(err, coffer.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	second = must(receive(other))
	for name, from := range map[string]*Ring{"older": first, "fork": fork} {
		if _, err := receive(from); !errors.Is(err, coffer.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	misled := must(first.SealBundle(Generate().Key(coffer.DeliveryKey).Public))
	if _, err := second.ReceiveBundle(misled); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("for somebody else: %v", err)
	}
	if _, err := Generate().ReceiveBundle([]byte{1}); !errors.Is(err, coffer.NotExist) {
		t.Errorf("without a device: %v", err)
	}
}

// forgetful returns the identity with the newest generations alone.
func forgetful(r *Ring) *Ring {
	for _, use := range allUses {
		r = must(r.Forget(use, r.Generations(use)-1))
	}
	return r
}

// sealPlain seals what only a holder of the key can have written.
func sealPlain(public, b []byte) []byte {
	k := must(hpke.MLKEM768X25519().NewPublicKey(public))
	sealed := must(hpke.Seal(k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(bundleInfo), b))
	return append([]byte{keyForm}, sealed...)
}

func TestMalformedBundle(t *testing.T) {
	recovery := must(ParsePhrase(NewPhrase()))
	r := rotated(t)
	good := must(r.bundle(""))
	change := func(f func([]byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	deliveryAt := 1 + 5 + 3*32 // three signing keys
	for name, c := range map[string]struct {
		b    []byte
		kind coffer.Kind
	}{
		"newer":                {change(func(b []byte) { b[0] = 2 }), coffer.Invalid},
		"older":                {change(func(b []byte) { b[0] = 0 }), coffer.Corrupt},
		"empty":                {nil, coffer.Corrupt},
		"not padded":           {good[:len(good)-1], coffer.Corrupt},
		"padded too much":      {append(bytes.Clone(good), make([]byte, bundleStep)...), coffer.Corrupt},
		"padded with ones":     {change(func(b []byte) { b[len(b)-1] = 1 }), coffer.Corrupt},
		"no signing key":       {change(func(b []byte) { b[5] = 0 }), coffer.Corrupt},
		"255 signing keys":     {change(func(b []byte) { b[5] = 255 }), coffer.Corrupt},
		"signing key 1":        {change(func(b []byte) { b[4] = 1 }), coffer.Corrupt},
		"signing key 2^32-1":   {change(func(b []byte) { binary.BigEndian.PutUint32(b[1:], 1<<32-1) }), coffer.Corrupt},
		"delivery key 2^31":    {change(func(b []byte) { b[deliveryAt] = 128 }), coffer.Corrupt},
		"too many deliveries":  {change(func(b []byte) { b[deliveryAt+4] = 65 }), coffer.Corrupt},
		"other signing key":    {change(func(b []byte) { b[6] ^= 1 }), coffer.Corrupt},
		"other newest key":     {change(func(b []byte) { b[6+64] ^= 1 }), coffer.Corrupt},
		"zeros":                {make([]byte, bundleStep), coffer.Corrupt},
		"nothing but version":  {append([]byte{1}, make([]byte, bundleStep-1)...), coffer.Corrupt},
		"as long as can be":    {append([]byte{1}, make([]byte, maxBundle-1)...), coffer.Corrupt},
		"longer than that":     {append([]byte{1}, make([]byte, maxBundle+bundleStep-1)...), coffer.Corrupt},
		"HMAC id out of bound": {change(func(b []byte) { b[deliveryAt+5+64+5+32] = 255 }), coffer.Corrupt},
		"HMAC id is no URI":    {change(func(b []byte) { b[deliveryAt+5+64+5+32+2] = '\n' }), coffer.Corrupt},
	} {
		if _, err := recovery.Open(sealPlain(recovery.Public(), c.b)); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := recovery.Open(sealPlain(recovery.Public(), good)); err != nil {
		t.Errorf("as it was: %v", err)
	}
	// Each byte of the statements of succession counts.
	size := 1 + r.identitySize()
	for i := size - 2*successionLink; i < size; i++ {
		b := change(func(b []byte) { b[i] ^= 1 })
		if _, _, ok := parseIdentity(b[1:]); ok {
			t.Errorf("byte %d changed, and nobody saw it", i)
		}
	}
	for i := range size - 1 {
		if _, _, ok := parseIdentity(good[1 : 1+i]); ok {
			t.Errorf("cut at %d, and nobody saw it", i)
		}
	}
}

func FuzzIdentity(f *testing.F) {
	for _, r := range []*Ring{Generate(), imported(f, 0x11), rotated(f)} {
		f.Add(must(r.bundle(""))[1:])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, ok := parseIdentity(b)
		if !ok {
			return
		}
		if again := r.appendIdentity(nil, r.secrets); !bytes.Equal(append(again, rest...), b) {
			t.Error("what was read is not what is written")
		}
		if len(b)-len(rest) != r.identitySize() {
			t.Error("another size")
		}
	})
}

func FuzzOpenBundle(f *testing.F) {
	r, secret := Generate(), [32]byte{1}
	recovery := must(ParsePhrase(phrase([32]byte{})))
	f.Add(must(r.SealBundleUnder(secret)))
	f.Add(must(r.SealBundle(recovery.Public())))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err1 := OpenBundleUnder(secret, b)
		_, err2 := recovery.Open(b)
		for _, err := range []error{err1, err2} {
			if err != nil && !errors.Is(err, coffer.Corrupt) {
				t.Error(err)
			}
		}
	})
}
