package grant_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// A keyring with one key, in place of package keyring.
type oneKey struct {
	coffer.Keyring
	private ed25519.PrivateKey
}

func newKey(seed string) oneKey {
	return oneKey{private: ed25519.NewKeyFromSeed([]byte(strings.Repeat(seed, 32)))}
}

func (k oneKey) DID() string {
	return "did:key:" + coffer.Multibase(append([]byte{0xed, 1}, k.private.Public().(ed25519.PublicKey)...))
}

func (k oneKey) Key(coffer.KeyUse) coffer.PublicKey {
	return coffer.PublicKey{ID: k.DID() + "#" + k.DID()[len("did:key:"):], Controller: k.DID()}
}

func (k oneKey) Sign(_ context.Context, _ coffer.Purpose, message []byte) ([]byte, error) {
	return ed25519.Sign(k.private, message), nil
}

func (k oneKey) Verify(message, signature []byte) bool {
	return ed25519.Verify(k.private.Public().(ed25519.PublicKey), message, signature)
}

// Alice lets Bob read one document of her vault. Bob asks for it, and the server finds out by what right.
func Example() {
	ctx := context.Background()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	alice, bob := newKey("a"), newKey("b")
	const vault = "https://vault.example/edvs/z1A5sEs297TrgBd1P2m2sm8jB"
	const document = vault + "/documents/z19inwPEW2tBULosfqG97hZd8"

	capability, err := grant.Delegate(ctx, alice, vault, grant.DelegateOptions{
		Controller: bob.DID(),
		Target:     document,
		Actions:    []grant.Action{grant.Read},
		Created:    now,
		Expires:    now.Add(24 * time.Hour),
	})
	if err != nil {
		panic(err)
	}

	invoker, err := grant.NewInvoker(bob, string(capability))
	if err != nil {
		panic(err)
	}
	header, err := invoker.Sign(ctx, grant.Request{Method: "GET", URL: document, Action: grant.Read, Now: now})
	if err != nil {
		panic(err)
	}

	verified, err := grant.Verify(ctx, &grant.Invocation{
		Method: "GET",
		URI:    strings.TrimPrefix(document, "https://vault.example"),
		Host:   "vault.example",
		Header: header,
	}, &grant.Facts{
		Now:    now,
		Origin: "https://vault.example",
		Action: grant.Read,
		Roots: func(_ context.Context, target string) ([]string, error) {
			if target == vault {
				return []string{alice.DID()}, nil
			}
			return nil, nil
		},
		Key: func(_ context.Context, id string, _ coffer.Purpose) (coffer.Verifier, error) {
			for _, k := range []oneKey{alice, bob} {
				if k.Key(coffer.SigningKey).ID == id {
					return k, nil
				}
			}
			return nil, coffer.Errorf("key", coffer.NotExist, "unknown")
		},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("Bob asks:", verified.Caller.Who() == bob.DID())

	never := func(grant.Link) (bool, error) { return false, nil }
	read := grant.Act{Root: vault, Action: grant.Read, Targets: []string{document}}
	fmt.Println("may read:", grant.Decide(verified.Caller, read, now, never) == nil)
	write := grant.Act{Root: vault, Action: grant.Write, Targets: []string{document}}
	fmt.Println("may not write:", errors.Is(grant.Decide(verified.Caller, write, now, never), coffer.Denied))
	// Output:
	// Bob asks: true
	// may read: true
	// may not write: true
}
