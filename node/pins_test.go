package node_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/node"
)

// named is a keyring under another name than its did:key.
type named struct {
	coffer.Keyring
	id string
}

func (n named) DID() string { return n.id }

func (n named) Key(use coffer.KeyUse) coffer.PublicKey {
	k := n.Keyring.Key(use)
	_, key, _ := strings.Cut(k.ID, "#")
	k.ID, k.Controller = n.id+"#"+key, n.id
	return k
}

// A node knows the keys behind a URN or a URL only if it was told.
func TestPinnedNames(t *testing.T) {
	alice := coffertest.Person(t, "alice")
	_, key, _ := strings.Cut(alice.Key(coffer.SigningKey).ID, "#")
	for _, id := range []string{"urn:example:alice", "https://alice.example/me"} {
		file, err := json.Marshal([]ident.Pin{{ID: id, Keys: []string{key}}})
		if err != nil {
			t.Fatal(err)
		}
		pins, err := ident.ReadPins(file)
		if err != nil {
			t.Fatal(err)
		}
		create := func(c node.Config) error {
			n := coffertest.Node(t, c)
			client, err := edv.NewClient(edv.ClientOptions{Base: n.Origin(), Keyring: named{alice, id}, Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.CreateVault(t.Context(), &coffer.Config{Controller: id})
			return err
		}
		if err := create(node.Config{}); !errors.Is(err, coffer.NotExist) {
			t.Errorf("%s, at a node that was not told: %v, want %v", id, err, coffer.NotExist)
		}
		if err := create(node.Config{Pins: pins}); err != nil {
			t.Errorf("%s, at a node that was told: %v", id, err)
		}
	}
	for _, bad := range []string{"", "{}", `[{"id":1}]`, `[{"id":"urn:a:b","key":[]}]`, "[" + strings.Repeat(" ", 1<<20) + "]"} {
		if _, err := ident.ReadPins([]byte(bad)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("ReadPins(%.20q): %v, want Invalid", bad, err)
		}
	}
}
