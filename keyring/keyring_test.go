package keyring

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

var _ coffer.Owner = (*Ring)(nil)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// imported returns an identity of known seeds; b is every byte of the Ed25519 seed.
func imported(t testing.TB, b byte) *Ring {
	t.Helper()
	r, err := FromSeeds(bytes.Repeat([]byte{b}, 32), bytes.Repeat([]byte{0x77}, 32), "urn:example:hmac")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestKnownAnswers compares with what the JavaScript libraries of encrypted data vaults make of the same seeds.
func TestKnownAnswers(t *testing.T) {
	for seed, did := range map[byte]string{
		0x11: "did:key:z6MktULudTtAsAhRegYPiZ6631RV3viv12qd4GQF8z1xB22S",
		0x22: "did:key:z6MkqGC3nWZhYieEVTVDKW5v588CiGfsDSmRVG9ZwwWTvLSK",
		0x33: "did:key:z6Mkg49NtQR2LyYRDCQFK4w1VVHqhypZSSRo7HsyuN7SV7v5",
		0x44: "did:key:z6MktwtqAzuD5F77tAMBMwNs1KybZeff61EehV9xB1ZpXQG7",
	} {
		r := imported(t, seed)
		if r.DID() != did {
			t.Errorf("seed %x: DID %s, want %s", seed, r.DID(), did)
		}
		if got, want := r.Key(coffer.SigningKey).ID, did+"#"+strings.TrimPrefix(did, "did:key:"); got != want {
			t.Errorf("seed %x: key id %s, want %s", seed, got, want)
		}
	}
}

// TestAgreementKey compares with libsodium's known answer for the same point on both curves (its test
// ed25519_convert), and with the standard library's X25519.
func TestAgreementKey(t *testing.T) {
	r, err := FromSeeds(unhex(t, "421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee"), make([]byte, 32),
		"urn:x:y")
	if err != nil {
		t.Fatal(err)
	}
	k := r.Key(coffer.AgreementKey)
	if want := "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50"; hex.EncodeToString(k.Public) != want {
		t.Errorf("agreement key %x, want %s", k.Public, want)
	}
	if k.Type != "X25519KeyAgreementKey2020" || k.Controller != r.DID() || !strings.HasPrefix(k.ID, r.DID()+"#z6LS") {
		t.Errorf("agreement key: %+v", k)
	}
	private, err := ecdh.X25519().NewPrivateKey(unhex(t,
		"8052030376d47112be7f73ed7a019293dd12ad910b654455798b4667d73de166"))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		peer, _ := ecdh.X25519().GenerateKey(rand.Reader)
		for _, high := range []byte{0, 0x80} { // the last bit of a public key does not count
			public := peer.PublicKey().Bytes()
			public[31] |= high
			pub, _ := ecdh.X25519().NewPublicKey(public)
			want, _ := private.ECDH(pub)
			got, err := r.Agree(context.Background(), public)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("shared secret %x (%v), want %x", got, err, want)
			}
		}
	}
}

func TestUse(t *testing.T) {
	ctx := context.Background()
	r := Generate()
	message := []byte("a message")
	signature, err := r.Sign(ctx, coffer.Invocation, message)
	if err != nil || !ed25519.Verify(r.Key(coffer.SigningKey).Public, message, signature) {
		t.Errorf("signature %x, %v", signature, err)
	}
	if _, err := r.Sign(ctx, "", message); !errors.Is(err, coffer.Invalid) {
		t.Errorf("signature without a purpose: %v", err)
	}
	for name, peer := range map[string][]byte{
		"empty": {}, "short": make([]byte, 31), "long": make([]byte, 33), "zero": make([]byte, 32),
		"one":     append([]byte{1}, make([]byte, 31)...),
		"order 8": unhex(t, "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
	} {
		if _, err := r.Agree(ctx, peer); !errors.Is(err, coffer.Invalid) {
			t.Errorf("agreement with a key that is %s: %v", name, err)
		}
	}
	h := hmac.New(sha256.New, bytes.Repeat([]byte{0x77}, 32))
	h.Write(message)
	if mac, err := imported(t, 1).MAC(ctx, message); err != nil || !bytes.Equal(mac, h.Sum(nil)) {
		t.Errorf("MAC %x, %v", mac, err)
	}
	if k := r.Key(coffer.HMACKey); k.Public != nil || k.Type != "Sha256HmacKey2019" {
		t.Errorf("HMAC key: %+v", k)
	}
	if k := r.Key(9); k.ID != "" || k.Public != nil {
		t.Errorf("a key for no use: %+v", k)
	}
	r.Key(coffer.SigningKey).Public[0] ^= 1
	if !ed25519.Verify(r.Key(coffer.SigningKey).Public, message, signature) {
		t.Error("a caller changed the Ring's key")
	}
}

// TestDerivation pins what follows from a root for ever; the same values stand in doc/keyring.md.
func TestDerivation(t *testing.T) {
	root := make([]byte, 32)
	for i := range root {
		root[i] = byte(i)
	}
	r, again := fromRoot(bytes.Clone(root)), fromRoot(root)
	if r.DID() != again.DID() || r.hmacIDs[0] != again.hmacIDs[0] ||
		!bytes.Equal(r.secrets.seeds[HMAC][0], again.secrets.seeds[HMAC][0]) {
		t.Error("one root, two identities")
	}
	page := formatPage(t)
	for _, want := range []string{
		hex.EncodeToString(r.secrets.root), hex.EncodeToString(r.secrets.seeds[Signing][0]),
		hex.EncodeToString(r.secrets.seeds[HMAC][0]),
		hex.EncodeToString(r.secrets.seeds[Delivery][0]), hex.EncodeToString(r.secrets.seeds[Vault][0]),
		r.Key(coffer.DeliveryKey).ID,
		r.Key(coffer.HMACKey).ID, r.DID(), r.Key(coffer.AgreementKey).ID,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("doc/keyring.md does not have %s", want)
		}
	}
	a, b := Generate(), Generate()
	if a.DID() == b.DID() || a.hmacIDs[0] == b.hmacIDs[0] ||
		bytes.Equal(a.secrets.seeds[HMAC][0], b.secrets.seeds[HMAC][0]) {
		t.Error("two roots, one identity")
	}
}

func TestFromSeeds(t *testing.T) {
	seed := make([]byte, 32)
	for _, bad := range []struct {
		name      string
		seed, mac []byte
		id        string
	}{
		{"short seed", seed[:31], seed, "urn:x:y"},
		{"private key for a seed", make([]byte, 64), seed, "urn:x:y"},
		{"short HMAC key", seed, seed[:16], "urn:x:y"},
		{"no id", seed, seed, ""},
		{"no URI", seed, seed, "hmac"},
		{"no scheme", seed, seed, ":hmac"},
		{"line break", seed, seed, "urn:x:\n"},
		{"long id", seed, seed, "urn:x:" + strings.Repeat("y", maxHMACID)},
	} {
		if _, err := FromSeeds(bad.seed, bad.mac, bad.id); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", bad.name, err)
		}
	}
	mac := bytes.Repeat([]byte{1}, 32)
	r, err := FromSeeds(seed, mac, "urn:x:y")
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if mac[0] != 1 {
		t.Error("Close cleared the caller's key")
	}
}

func TestClose(t *testing.T) {
	ctx := context.Background()
	r, err := Generate().WithDevice()
	if err != nil {
		t.Fatal(err)
	}
	s := r.secrets
	did := r.DID()
	pseudonym, err := r.Pseudonym(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := r.At(Vault, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	for name, b := range map[string][]byte{
		"root": s.root, "signing": s.signers[0].signing, "agreement": s.signers[0].agreement, "device": s.device,
		"signing seed": s.seeds[Signing][0], "delivery": s.seeds[Delivery][0], "hmac": s.seeds[HMAC][0],
		"vault": s.seeds[Vault][0],
	} {
		if len(b) == 0 || !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("%s key is still there", name)
		}
	}
	_, err1 := r.Sign(ctx, coffer.Invocation, nil)
	_, err2 := r.Agree(ctx, make([]byte, 32))
	_, err3 := r.MAC(ctx, nil)
	err4 := Save(t.TempDir()+"/k", r, Keychain())
	_, err5 := r.Derive(ctx, "x")
	_, err6 := r.Pseudonym(ctx, "x")
	_, err7 := r.Receive(ctx, nil, []byte{1})
	_, err8 := r.Rotated()
	_, err9 := r.Forget(Vault, 0)
	_, err10 := r.WithDevice()
	_, err11 := r.SealBundle(Generate().Key(coffer.DeliveryKey).Public)
	_, err12 := r.SealBundleUnder([32]byte{})
	_, err13 := r.ReceiveBundle([]byte{1})
	_, err14 := r.Card(ctx, "")
	_, err15 := pseudonym.Sign(ctx, coffer.Invocation, nil)
	_, err16 := earlier.Derive(ctx, "x")
	for i, err := range []error{
		err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11, err12, err13, err14, err15, err16,
	} {
		if !errors.Is(err, coffer.Locked) {
			t.Errorf("use %d of a closed Ring: %v", i, err)
		}
	}
	if r.DID() != did {
		t.Error("a closed Ring forgot its name")
	}
}

// TestShowsNothing prints a Ring and a Protection in all ways and looks for secrets, in each form they could have.
func TestShowsNothing(t *testing.T) {
	r, err := Generate().WithDevice()
	if err != nil {
		t.Fatal(err)
	}
	view, err := r.At(Vault, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, pairing := NewPairing()
	recovery, err := ParsePhrase(NewPhrase())
	if err != nil {
		t.Fatal(err)
	}
	type wraps struct {
		Ring     *Ring
		ring     *Ring
		View     coffer.Keyring
		pairing  Pairing
		recovery Recovery
	}
	inside := Generate() // fmt asks no method of an unexported field: the public parts of this one show
	wrapped := wraps{r, inside, view, pairing, *recovery}
	words := Passphrase([]byte("open sesame"))
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t"} {
		for _, v := range []any{
			r, wrapped, &wrapped, []*Ring{r}, view, pairing, recovery, words, &words, []Protection{words},
		} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, r.String(), r.GoString())
	for _, v := range []any{r, wrapped, view, pairing, recovery, words} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(b)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	shown := strings.ToLower(out.String())
	if !strings.Contains(shown, hidden) {
		t.Fatal("nothing was printed")
	}
	code, entropy := pairing.code(), recovery.entropy()
	secrets := [][]byte{
		r.secrets.root, r.secrets.signers[0].signing[:32], r.secrets.signers[0].agreement, r.secrets.seeds[HMAC][0],
		r.secrets.seeds[Delivery][0], r.secrets.seeds[Vault][0], r.secrets.device, code[:], entropy[:],
		inside.secrets.root, inside.secrets.signers[0].agreement, inside.secrets.seeds[HMAC][0],
		[]byte("open sesame"),
	}
	for _, s := range secrets {
		s = s[:8]
		for _, form := range []string{string(s), hex.EncodeToString(s), strings.Trim(fmt.Sprint(s), "[]"),
			strings.Trim(fmt.Sprintf("%#v", s), "[]byte{}"), encode(s)[:8]} {
			if strings.Contains(shown, strings.ToLower(form)) {
				t.Errorf("a secret shows as %q", form)
			}
		}
	}
	if strings.Contains(out.String(), r.DID()) {
		t.Error("the identity shows")
	}
}

func BenchmarkSign(b *testing.B) {
	r, m := Generate(), make([]byte, 400)
	for b.Loop() {
		r.Sign(context.Background(), coffer.Invocation, m)
	}
}

func BenchmarkAgree(b *testing.B) {
	r, peer := Generate(), Generate().Key(coffer.AgreementKey).Public
	for b.Loop() {
		r.Agree(context.Background(), peer)
	}
}

func BenchmarkMAC(b *testing.B) {
	r, m := Generate(), make([]byte, 32)
	for b.Loop() {
		r.MAC(context.Background(), m)
	}
}
