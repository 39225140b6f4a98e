package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/store"
)

// storedHubKeys is how the hubs' keys are kept: as a document of the store, so that all nodes on one database have the
// same, and a backup has them; sealed under a secret of the node's own identity.
type storedHubKeys struct {
	Version int    `json:"version"`
	Web     []byte `json:"web"` // the keys of the origin's did:web
	JWK     []byte `json:"jwk"` // the one of a did:jwk
}

// hubKeysVersion is the only form that there is.
const hubKeysVersion = 1

// The tails of the ids of the hubs' keys.
const (
	hubEncryptionTail = "encryption" // RSA: what published clients encrypt to
	hubSignatureTail  = "signature"  // RSA: what they verify by
	hubAgreementTail  = "agreement"  // X25519
	hubAssertionTail  = "assertion"  // Ed25519
)

// hubKeysPlace returns the vault and the id of the document. Both are hashes, which no vault that clients name is.
func hubKeysPlace() (v coffer.VaultID, id coffer.ObjectID) {
	sum := sha256.Sum256([]byte("coffer hub keys\x00"))
	return coffer.VaultID(sum[:16]), coffer.ObjectID(sum[16:])
}

// hubKeys returns the keys of the hubs: those of the did:web, under no name yet, and those of the did:jwk. They are made
// when there are none.
func (n *Node) hubKeys(ctx context.Context) (web, jwk *keyring.JWKSet, err error) {
	const op = "hub keys"
	derived, err := n.ring.Derive(ctx, "coffer hub keys 1")
	if err != nil {
		return nil, nil, err
	}
	secret := [32]byte(derived)
	v, id := hubKeysPlace()
	d, err := n.disks.documents.Get(ctx, v, id)
	if errors.Is(err, coffer.NotExist) {
		if err := n.makeHubKeys(ctx, secret); err != nil {
			return nil, nil, err
		}
		d, err = n.disks.documents.Get(ctx, v, id)
	}
	if err != nil {
		return nil, nil, err
	}
	var stored storedHubKeys
	if err := jose.DecodeOpen(d.Body, &stored); err != nil || stored.Version < 1 {
		return nil, nil, coffer.Errorf(op, coffer.Corrupt, "what is stored cannot be read")
	}
	if stored.Version > hubKeysVersion {
		return nil, nil, coffer.Errorf(op, coffer.Unavailable, "they were made by a later version: use that one")
	}
	if web, err = keyring.OpenJWKSet(secret, stored.Web); err != nil {
		return nil, nil, err
	}
	jwk, err = keyring.OpenJWKSet(secret, stored.JWK)
	return web, jwk, err
}

// makeHubKeys makes keys and stores them, unless another node is first.
func (n *Node) makeHubKeys(ctx context.Context, secret [32]byte) error {
	web, jwk := keyring.NewJWKSet(""), keyring.NewJWKSet("")
	for _, k := range []struct {
		set             *keyring.JWKSet
		tail, kind, use string
	}{
		// The published client encrypts to the first key that there is, and knows none but RSA.
		{web, hubEncryptionTail, "RSA", "enc"},
		{web, hubSignatureTail, "RSA", "sig"},
		{web, hubAgreementTail, "X25519", "enc"},
		{web, hubAssertionTail, "Ed25519", "sig"},
		{jwk, "0", "RSA", ""},
	} {
		if err := k.set.Generate(k.tail, k.kind, k.use); err != nil {
			return err
		}
	}
	jwk = jwk.Under(keyring.JWKDID(jwk.Public("#0")))
	stored := storedHubKeys{Version: hubKeysVersion}
	var err error
	if stored.Web, err = web.Seal(secret); err != nil {
		return err
	}
	if stored.JWK, err = jwk.Seal(secret); err != nil {
		return err
	}
	body, err := jose.Encode(stored)
	if err != nil {
		return coffer.E("hub keys", coffer.Other, err)
	}
	v, id := hubKeysPlace()
	_, err = n.disks.documents.Apply(ctx, store.Write{
		Vault: v, By: n.did, Time: n.config.Now(), Document: &coffer.Document{ID: id, Body: body},
	})
	if errors.Is(err, coffer.Conflict) {
		return nil
	}
	return err
}

// hubDocument returns the identity document of the hubs: in the form of today, and in that which hub-sdk-js 0.1.2 reads
// ("publicKey", with RSA first).
func hubDocument(keys *keyring.JWKSet, origin string) ([]byte, error) {
	type method struct {
		ID         string    `json:"id"`
		Type       string    `json:"type"`
		Controller string    `json:"controller"`
		JWK        *jose.JWK `json:"publicKeyJwk"`
	}
	type service struct {
		ID       string         `json:"id"`
		Type     string         `json:"type"`
		Endpoint map[string]any `json:"serviceEndpoint"`
	}
	did := keys.DID()
	var methods, legacy []method
	uses := map[string][]string{}
	for _, id := range keys.KeyIDs() {
		public := *keys.Public(id)
		tail := id[len(did)+1:]
		public.Kid = tail
		methods = append(methods, method{id, "JsonWebKey2020", did, &public})
		if public.Kty == "RSA" {
			legacy = append(legacy, method{id, "RsaVerificationKey2018", did, &public})
		}
		if tail == hubEncryptionTail || tail == hubAgreementTail {
			uses["keyAgreement"] = append(uses["keyAgreement"], id)
		} else {
			uses["authentication"] = append(uses["authentication"], id)
			uses["assertionMethod"] = append(uses["assertionMethod"], id)
		}
	}
	return json.Marshal(map[string]any{
		"@context":           []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"},
		"id":                 did,
		"verificationMethod": methods,
		"publicKey":          legacy,
		"authentication":     uses["authentication"],
		"assertionMethod":    uses["assertionMethod"],
		"keyAgreement":       uses["keyAgreement"],
		"service": []service{{did + "#hub", "IdentityHub", map[string]any{
			"@context": "schema.identity.foundation/hub", "@type": "HostServiceEndpoint",
			"locations": []string{origin + "/.identity"},
		}}},
	})
}
