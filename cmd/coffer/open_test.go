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

// webCommand is the command "web" of scripts, of people whose identity documents say where their hubs are, and who do
// not use this program. Their identifiers are did:web:NAME.example.
//
//	web identities FILE NAME=ORIGIN[,ORIGIN…]…  writes an identities.json with people, whose hubs are at these nodes in
//	                                            this order, and with the nodes that run; "dead" is one that never answers
//	web publish NAME ORIGIN KIND FILE [VAR]     keeps a public object in a hub; its id is in $VAR
//	web copy NAME FROM TO                       exports a hub from one node and imports it at another
func webCommand(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case !neg && len(args) > 2 && args[0] == "identities":
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), webPins(ts, args[2:]), 0o600))
	case !neg && (len(args) == 5 || len(args) == 6) && args[0] == "publish":
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		k, err := (&hubKind{}).kind(args[3])
		ts.Check(err)
		id, err := webHub(ctx, ts, args[1], args[2]).Publish(ctx, k, json.RawMessage(ts.ReadFile(args[4])), nil)
		ts.Check(err)
		if len(args) == 6 {
			ts.Setenv(args[5], id.String())
		}
	case !neg && len(args) == 4 && args[0] == "copy":
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := webHub(ctx, ts, args[1], args[3]).Import(ctx, webHub(ctx, ts, args[1], args[2]).Export(ctx))
		ts.Check(err)
	default:
		ts.Fatalf("usage: web identities FILE NAME=ORIGIN...|publish NAME ORIGIN KIND FILE [VARIABLE]|copy NAME FROM TO")
	}
}

// webDID is the identifier of somebody.
func webDID(name string) string { return "did:web:" + name + ".example" }

// webKeys are always the same.
func webKeys(ts *testscript.TestScript, did string) *keyring.JWKSet {
	seed := sha256.Sum256([]byte(did))
	signing := ed25519.NewKeyFromSeed(seed[:])
	agreement, err := ecdh.X25519().NewPrivateKey(seed[:])
	ts.Check(err)
	keys := keyring.NewJWKSet(did)
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

// webDocument is an identity document with one service.
func webDocument(ts *testscript.TestScript, did string, endpoint map[string]any) map[string]any {
	keys := webKeys(ts, did)
	method := func(tail string) map[string]any {
		return map[string]any{
			"id": did + "#" + tail, "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": keys.Public(did + "#" + tail),
		}
	}
	return map[string]any{
		"id": did, "verificationMethod": []any{method("sign"), method("open")},
		"authentication": []string{did + "#sign"}, "assertionMethod": []string{did + "#sign"},
		"keyAgreement": []string{did + "#open"},
		"service":      []any{map[string]any{"id": did + "#hub", "type": "IdentityHub", "serviceEndpoint": endpoint}},
	}
}

// webPins returns what identities.json holds.
func webPins(ts *testscript.TestScript, people []string) []byte {
	dead := webDID("dead")
	pins := []map[string]any{{
		"id": dead, "document": webDocument(ts, dead, map[string]any{"locations": []string{"http://127.0.0.1:1/.identity"}}),
	}}
	known := map[string]bool{"dead": true}
	for _, p := range people {
		name, origins, _ := strings.Cut(p, "=")
		var instances []string
		for origin := range strings.SplitSeq(origins, ",") {
			host := webHost(origin)
			instances = append(instances, host)
			if known[origin] {
				continue
			}
			known[origin] = true
			if b := webSays(ts, origin); b != nil {
				pins = append(pins, map[string]any{"id": host, "document": json.RawMessage(b)})
			}
		}
		did := webDID(name)
		document := webDocument(ts, did, map[string]any{"instances": instances})
		pins = append(pins, map[string]any{"id": did, "document": document})
	}
	b, err := json.Marshal(pins)
	ts.Check(err)
	return b
}

// webHost is the identifier of who runs a node.
func webHost(origin string) string {
	if origin == "dead" {
		return webDID(origin)
	}
	return "did:web:" + strings.ReplaceAll(strings.TrimPrefix(origin, "http://"), ":", "%3A")
}

// webSays returns the identity document of a node; nil if it does not run.
func webSays(ts *testscript.TestScript, origin string) []byte {
	resp, err := http.Get(origin + "/.well-known/did.json")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return b
}

// webHub returns somebody's own hub at a node.
func webHub(ctx context.Context, ts *testscript.TestScript, name, origin string) *hub.Hub {
	pins, err := ident.ReadPins(webPins(ts, []string{name + "=" + origin}))
	ts.Check(err)
	resolver, err := ident.New(ident.Options{Pinned: pins})
	ts.Check(err)
	host, err := resolver.Resolve(ctx, webHost(origin))
	ts.Check(err)
	did := webDID(name)
	who := apihub.SetRequester(webKeys(ts, did), did+"#sign")
	client, err := apihub.NewClient(apihub.ClientOptions{
		URL: origin + hubPath, Hub: host, Requester: who, Key: resolver.MessageKey, Now: time.Now,
	})
	ts.Check(err)
	h, err := hub.Open(hub.Options{Hub: client, Owner: did, Keyring: keyring.Generate(), Sign: who, Resolver: resolver})
	ts.Check(err)
	return h
}
