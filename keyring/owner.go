package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"slices"
	"weak"

	"github.com/oasisprotocol/curve25519-voi/primitives/x25519"

	"github.com/cofferhq/coffer"
)

// A view is a Ring as of chosen generations. It shares the Ring's secrets and is closed with it.
type view struct {
	mute
	ring *Ring
	at   [Vault + 1]int // per Use, the place among the generations that are kept
}

// newest returns the Ring as of the newest generation of each use.
func (r *Ring) newest() *view {
	v := &view{ring: r}
	for use := range v.at {
		v.at[use] = r.count[use] - 1
	}
	return v
}

func (v *view) name() name { return v.ring.names[v.at[Signing]] }

// DID returns the did:key of the view's signing key.
func (v *view) DID() string { return v.name().signing.Controller }

// Key is [Ring.Key] with the view's generations.
func (v *view) Key(use coffer.KeyUse) coffer.PublicKey {
	var k coffer.PublicKey
	switch use {
	case coffer.SigningKey:
		k = v.name().signing
	case coffer.AgreementKey:
		k = v.name().agreement
	case coffer.HMACKey:
		k = coffer.PublicKey{ID: v.ring.hmacIDs[v.at[HMAC]], Controller: v.DID(), Type: "Sha256HmacKey2019"}
	case coffer.DeliveryKey:
		k = v.ring.delivery[v.at[Delivery]].key(v.DID())
	}
	k.Public = bytes.Clone(k.Public)
	return k
}

// Sign is [Ring.Sign] with the view's signing key.
func (v *view) Sign(_ context.Context, purpose coffer.Purpose, message []byte) (signature []byte, err error) {
	if purpose == "" {
		return nil, coffer.Errorf("sign", coffer.Invalid, "no purpose given")
	}
	err = v.ring.use("sign", func(s *secrets) error {
		signature = ed25519.Sign(s.signers[v.at[Signing]].signing, message)
		return nil
	})
	return signature, err
}

// Agree is [Ring.Agree] with the view's agreement key.
func (v *view) Agree(_ context.Context, peer []byte) (shared []byte, err error) {
	err = v.ring.use("agree", func(s *secrets) error {
		if shared, err = x25519.X25519(s.signers[v.at[Signing]].agreement, peer); err != nil {
			return coffer.Errorf("agree", coffer.Invalid, "not a public key that can be agreed with")
		}
		return nil
	})
	return shared, err
}

// MAC is [Ring.MAC] with the view's HMAC key.
func (v *view) MAC(_ context.Context, message []byte) (mac []byte, err error) {
	err = v.ring.use("MAC", func(s *secrets) error {
		h := hmac.New(sha256.New, s.seeds[HMAC][v.at[HMAC]])
		h.Write(message)
		mac = h.Sum(nil)
		return nil
	})
	return mac, err
}

// maxLabel is the greatest length of a label to derive by.
const maxLabel = 1024

// derive returns 32 bytes that follow from the view's vault secret, what they are for, and the label.
func (v *view) derive(op, kind, label string) (b []byte, err error) {
	if label == "" || len(label) > maxLabel {
		return nil, coffer.Errorf(op, coffer.Invalid, "a label has 1 to 1024 bytes")
	}
	err = v.ring.use(op, func(s *secrets) error {
		b = derive(s.seeds[Vault][v.at[Vault]], kind+label, 32)
		return nil
	})
	return b, err
}

// Derive is [Ring.Derive] with the view's vault secret.
func (v *view) Derive(_ context.Context, label string) ([]byte, error) {
	return v.derive("derive", ownLabel, label)
}

// Pseudonym is [Ring.Pseudonym] with the view's vault secret.
func (v *view) Pseudonym(_ context.Context, label string) (coffer.Keyring, error) {
	const op = "pseudonym"
	root, err := v.derive(op, pseudonymLabel, label)
	if err != nil {
		return nil, err
	}
	p := fromRoot(root)
	if !v.ring.adopt(p) {
		p.Close()
		return nil, errClosed(op)
	}
	return p, nil
}

// adopt has p closed when r is. It is false if r is closed already. What nobody uses any more is not kept for that.
func (r *Ring) adopt(p *Ring) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets == nil {
		return false
	}
	if len(r.pseudonyms) == cap(r.pseudonyms) { // before it grows: so this costs little on average
		r.pseudonyms = slices.DeleteFunc(r.pseudonyms, func(p weak.Pointer[Ring]) bool { return p.Value() == nil })
	}
	r.pseudonyms = append(r.pseudonyms, weak.Make(p))
	p.parent = r
	return true
}

// A delivery is the public part of a Delivery generation.
type delivery struct {
	public   []byte // 1216 bytes
	fragment string // of the key's id: the multibase of the SHA-256 multihash of public
}

func newDelivery(seed []byte) delivery {
	public := deliveryPrivate(seed).PublicKey().Bytes()
	return delivery{public, deliveryFragment(public)}
}

func deliveryFragment(public []byte) string {
	sum := sha256.Sum256(public)
	return coffer.Multibase(append([]byte{0x12, 0x20}, sum[:]...))
}

// deliverySize is the length of a DeliveryKey.
const deliverySize = 1216

// key returns the key as the identity's that has this name.
func (d delivery) key(did string) coffer.PublicKey {
	return coffer.PublicKey{
		ID: did + "#" + d.fragment, Controller: did, Type: "MLKEM768X25519DeliveryKey", Public: d.public,
	}
}

// deliveryPrivate returns the private key that a seed of 32 bytes stands for. It is made when it is used, so that there
// is nothing of it to overwrite when a Ring is closed but the seed.
func deliveryPrivate(seed []byte) hpke.PrivateKey {
	k, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		panic("keyring: HPKE refuses a seed")
	}
	return k
}

// maxReceived bounds the work that one delivery can ask for: 1 MiB of plaintext, the encapsulated key and the tag.
const maxReceived = 1<<20 + 1120 + 16

// Receive is [Ring.Receive]: a view does not differ in what it can open.
func (v *view) Receive(_ context.Context, info, sealed []byte) (opened []byte, err error) {
	const op = "receive"
	if len(sealed) > maxReceived {
		return nil, coffer.Errorf(op, coffer.Corrupt, "too long")
	}
	err = v.ring.use(op, func(s *secrets) error {
		for _, seed := range slices.Backward(s.seeds[Delivery]) {
			if opened, err = openHPKE(deliveryPrivate(seed), info, sealed); err == nil {
				return nil
			}
		}
		return coffer.Errorf(op, coffer.Corrupt, "not sealed to this identity")
	})
	return opened, err
}

func openHPKE(k hpke.PrivateKey, info, sealed []byte) ([]byte, error) {
	return hpke.Open(k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, sealed)
}
