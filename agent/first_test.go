package agent_test

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/keyring"
)

// What is stored beside a commit may be the first thing in a vault.
func TestFirst(t *testing.T) {
	at := provider(t)
	t.Run("large file", func(t *testing.T) {
		p := newPerson(t, at, "alice")
		content := noise(3, 2<<20)
		put(t, p.Agent, "scan", content)
		if !bytes.Equal(get(t, p.device(t, nil), "scan"), content) {
			t.Error("it came back as another")
		}
	})
	t.Run("pairing", func(t *testing.T) {
		p := newPerson(t, at, "bob")
		_, pairing := keyring.NewPairing()
		if err := p.OfferPairing(t.Context(), pairing, ""); err != nil {
			t.Fatal(err)
		}
		put(t, p.device(t, nil), "note", []byte("hello"))
	})
}
