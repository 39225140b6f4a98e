package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// signedCard returns a card of these fields, signed by k.
func signedCard(k *Ring, did, fragment string, public, sealing []byte, name string) string {
	b := appendField([]byte{cardVersion}, did)
	b = appendField(b, fragment)
	b = append(append(b, public...), sealing...)
	b = appendField(b, name)
	s := ed25519.Sign(k.secrets.signers[0].signing, append([]byte(cardMessage), b...))
	return cardPrefix + encode(append(b, s...))
}

func TestCard(t *testing.T) {
	ctx := context.Background()
	r := must(Generate().Rotated())
	p := must(r.Pseudonym(ctx, "x")).(*Ring)
	for _, k := range []*Ring{r, p} {
		for _, name := range []string{"", "Ada", "Zoë Müller-Lüdenscheidt", "می\u200cخواهم", strings.Repeat("x", maxName)} {
			card := must(k.Card(ctx, name))
			want := &Card{k.DID(), name, k.Key(coffer.SigningKey), k.Key(coffer.DeliveryKey), true}
			got, err := ParseCard("\n " + card + "\t")
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %+v, %v", name, got, err)
			}
		}
	}
	for name, bad := range map[string]string{
		"long": strings.Repeat("x", maxName+1), "line break": "a\nb", "turned": "a\u202eb", "no text": "\xff",
	} {
		if _, err := r.Card(ctx, name); err != nil {
			t.Errorf("%s as a name: %v", name, err)
		}
		if _, err := r.Card(ctx, bad); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := must(ParseCard(must(r.Card(ctx, "cle\u0301")))); got.Name != "cl\u00e9" {
		t.Errorf("name %+q", got.Name)
	}

	// Each byte counts.
	card := must(r.Card(ctx, "Ada"))
	b, _ := decode(strings.TrimPrefix(card, cardPrefix))
	for i := range b {
		changed := slices.Clone(b)
		changed[i] ^= 1
		if _, err := ParseCard(cardPrefix + encode(changed)); err == nil {
			t.Errorf("byte %d changed, and nobody saw it", i)
		}
		if i%50 == 0 {
			if _, err := ParseCard(cardPrefix + encode(b[:i])); !errors.Is(err, coffer.Invalid) {
				t.Errorf("cut at %d: %v", i, err)
			}
		}
	}
}

func TestParseCard(t *testing.T) {
	r, other := Generate(), Generate()
	public, sealing := r.Key(coffer.SigningKey).Public, r.Key(coffer.DeliveryKey).Public
	others := other.Key(coffer.SigningKey).Public
	did := r.DID()
	own := strings.TrimPrefix(did, "did:key:")
	good := signedCard(r, did, own, public, sealing, "")
	if c := must(ParseCard(good)); !c.Proven {
		t.Error("a did:key is not proven")
	}
	web := must(ParseCard(signedCard(r, "did:web:a.example", "key-1", public, sealing, "Ada")))
	if web.Proven || web.Signing.ID != "did:web:a.example#key-1" || web.Signing.Controller != "did:web:a.example" ||
		!bytes.Equal(web.Signing.Public, public) || !strings.HasPrefix(web.Delivery.ID, "did:web:a.example#zQm") {
		t.Errorf("did:web: %+v", web)
	}
	for name, c := range map[string]struct {
		card string
		kind coffer.Kind
	}{
		"empty":            {"", coffer.Invalid},
		"prefix alone":     {cardPrefix, coffer.Invalid},
		"other prefix":     {"x" + good, coffer.Invalid},
		"far too long":     {cardPrefix + strings.Repeat("A", 1<<20), coffer.Invalid},
		"padded base64":    {good + "=", coffer.Invalid},
		"other's name":     {signedCard(r, other.DID(), own, public, sealing, ""), coffer.Invalid},
		"other's key":      {signedCard(r, other.DID(), own, others, sealing, ""), coffer.Invalid},
		"other fragment":   {signedCard(r, did, "key-1", public, sealing, ""), coffer.Invalid},
		"other signed":     {signedCard(other, did, own, public, sealing, ""), coffer.Corrupt},
		"web, other":       {signedCard(other, "did:web:a.example", "key-1", public, sealing, ""), coffer.Corrupt},
		"not a delivery":   {signedCard(r, did, own, public, bytes.Repeat([]byte{0xff}, deliverySize), ""), coffer.Invalid},
		"short delivery":   {signedCard(r, did, own, public, sealing[1:], ""), coffer.Invalid},
		"no DID":           {signedCard(r, "", "key-1", public, sealing, ""), coffer.Invalid},
		"no DID but a URL": {signedCard(r, "https://a.example/", "key-1", public, sealing, ""), coffer.Invalid},
		"DID with path":    {signedCard(r, "did:web:a.example/b", "key-1", public, sealing, ""), coffer.Invalid},
		"DID with line":    {signedCard(r, "did:web:a\nb", "key-1", public, sealing, ""), coffer.Invalid},
		"no method":        {signedCard(r, "did::a", "key-1", public, sealing, ""), coffer.Invalid},
		"no fragment":      {signedCard(r, "did:web:a.example", "", public, sealing, ""), coffer.Invalid},
		"two fragments":    {signedCard(r, "did:web:a.example", "a#b", public, sealing, ""), coffer.Invalid},
		"long DID":         {signedCard(r, "did:web:"+strings.Repeat("a", maxDID), "a", public, sealing, ""), coffer.Invalid},
		"name that turns":  {signedCard(r, did, own, public, sealing, "a\u202eb"), coffer.Invalid},
		"long name":        {signedCard(r, did, own, public, sealing, strings.Repeat("a", maxName+1)), coffer.Invalid},
	} {
		if _, err := ParseCard(c.card); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCard(f *testing.F) {
	r := Bearer([32]byte{1})
	f.Add(must(r.Card(context.Background(), "Ada")))
	public, sealing := r.Key(coffer.SigningKey).Public, r.Key(coffer.DeliveryKey).Public
	f.Add(signedCard(r, "did:web:a.example", "key-1", public, sealing, ""))
	f.Add(cardPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCard(s)
		if err != nil {
			if coffer.KindOf(err) == coffer.Other {
				t.Error(err)
			}
			return
		}
		if !isDID(c.DID) || c.Signing.Controller != c.DID || len(c.Delivery.Public) != deliverySize ||
			c.Proven != strings.HasPrefix(c.DID, "did:key:") {
			t.Errorf("%+v", c)
		}
	})
}
