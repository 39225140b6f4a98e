package main

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferhq/coffer/agent/hub"
	apihub "github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
)

// adaDID is somebody whose identity document says where her hub is, and who does not use this program.
const adaDID = "did:web:ada.example"

// adaCommand is the command "ada" of scripts.
func adaCommand(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case !neg && len(args) == 2 && args[0] == "identities":
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), adaPins(ts), 0o600))
	case !neg && len(args) == 4 && args[0] == "publish":
		ts.Setenv(args[3], adaPublishes(ts, args[1], args[2]))
	default:
		ts.Fatalf("usage: ada identities FILE|publish KIND FILE VARIABLE")
	}
}

// adaKeys are always the same.
func adaKeys(ts *testscript.TestScript) *keyring.JWKSet {
	seed := sha256.Sum256([]byte(adaDID))
	signing := ed25519.NewKeyFromSeed(seed[:])
	agreement, err := ecdh.X25519().NewPrivateKey(seed[:])
	ts.Check(err)
	keys := keyring.NewJWKSet(adaDID)
	for tail, k := range map[string]struct{ curve, use, x string }{
		"sign": {"Ed25519", "sig", base64.RawURLEncoding.EncodeToString(signing.Public().(ed25519.PublicKey))},
		"open": {"X25519", "enc", base64.RawURLEncoding.EncodeToString(agreement.PublicKey().Bytes())},
	} {
		b, err := json.Marshal(map[string]string{
			"kty": "OKP", "crv": k.curve, "use": k.use, "x": k.x, "d": base64.RawURLEncoding.EncodeToString(seed[:]),
		})
		ts.Check(err)
		ts.Check(keys.Add(tail, b))
	}
	return keys
}

// adaPins returns what identities.json holds: Ada, whose hub is at two hosts, one that does not answer, and one that
// does, once it runs.
func adaPins(ts *testscript.TestScript) []byte {
	const dead = "did:web:dead.example"
	node := ts.Getenv("NODE")
	host := "did:web:" + strings.ReplaceAll(strings.TrimPrefix(node, "http://"), ":", "%3A")
	keys := adaKeys(ts)
	document := func(did string, endpoint map[string]any) map[string]any {
		method := func(tail string) map[string]any {
			return map[string]any{
				"id": did + "#" + tail, "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": keys.Public(adaDID + "#" + tail),
			}
		}
		return map[string]any{
			"id": did, "verificationMethod": []any{method("sign"), method("open")},
			"authentication": []string{did + "#sign"}, "assertionMethod": []string{did + "#sign"},
			"keyAgreement": []string{did + "#open"},
			"service":      []any{map[string]any{"id": did + "#hub", "type": "IdentityHub", "serviceEndpoint": endpoint}},
		}
	}
	pins := []map[string]any{
		{"id": adaDID, "document": document(adaDID, map[string]any{"instances": []string{dead, host}})},
		{"id": dead, "document": document(dead, map[string]any{"locations": []string{"http://127.0.0.1:1/.identity"}})},
	}
	if resp, err := http.Get(node + "/.well-known/did.json"); err == nil {
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		ts.Check(err)
		if resp.StatusCode == http.StatusOK {
			pins = append(pins, map[string]any{"id": host, "document": json.RawMessage(b)})
		}
	}
	b, err := json.Marshal(pins)
	ts.Check(err)
	return b
}

// adaPublishes keeps a public object in Ada's hub and returns its id.
func adaPublishes(ts *testscript.TestScript, kind, file string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pins, err := ident.ReadPins(adaPins(ts))
	ts.Check(err)
	resolver, err := ident.New(ident.Options{Pinned: pins})
	ts.Check(err)
	host, err := resolver.Resolve(ctx, pins[len(pins)-1].ID)
	ts.Check(err)
	ada := apihub.SetRequester(adaKeys(ts), adaDID+"#sign")
	client, err := apihub.NewClient(apihub.ClientOptions{
		URL: ts.Getenv("NODE") + hubPath, Hub: host, Requester: ada, Key: resolver.MessageKey, Now: time.Now,
	})
	ts.Check(err)
	h, err := hub.Open(hub.Options{Hub: client, Owner: adaDID, Keyring: keyring.Generate(), Sign: ada, Resolver: resolver})
	ts.Check(err)
	k, err := (&hubKind{}).kind(kind)
	ts.Check(err)
	id, err := h.Publish(ctx, k, json.RawMessage(ts.ReadFile(file)), nil)
	ts.Check(err)
	return id.String()
}
