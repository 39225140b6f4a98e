// Package keyring is the only holder of private keys.
//
// A [Ring] is one identity: an Ed25519 key that signs, the X25519 key that is the same point seen from the other side,
// to which others encrypt, an HMAC key that blinds what is indexed, a delivery key that withstands quantum computers,
// to which others send keys, and a vault secret, from which all follows that the identity keeps for itself. Its name is
// the did:key of the signing key, so the name alone tells others how to check its signatures and how to encrypt to it.
// A Ring uses its keys on request and hands none of them out; what it prints, logs or marshals holds no secret.
//
//	ring := keyring.Generate()
//	err := keyring.Save(path, ring, keyring.Passphrase(words))
//	…
//	ring, err := keyring.Load(path, keyring.Unlock{Passphrase: ask})
//	defer ring.Close()
//
// At rest a Ring is a small file of mode 0600, sealed under a passphrase, under a key that the operating system's
// keychain holds, or under a key in another file; doc/keyring.md describes the format, which stays readable for ever,
// and what each protection is worth. Which path the file has is the caller's decision.
//
// Each key has generations. [Ring.Rotated] adds some, [Ring.At] and [Ring.Earlier] use former ones, [Ring.Forget] drops
// them. A Ring does not change: these return another one, which the caller puts into the file by [Replace] before
// anything is done under the new keys, so that no crash can lose a key that something was encrypted under.
//
// An identity moves to another device as a bundle: under a pairing code ([NewPairing], [Ring.SealBundleUnder]), to a
// device that is paired already ([Ring.SealBundle], [Ring.ReceiveBundle]), or to a recovery phrase ([NewPhrase],
// [ParsePhrase], [Recovery.Open]).
//
// A [JWKSet] is for who must have other keys, RSA for instance, under a name that does not follow from them: a hub.
package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/oasisprotocol/curve25519-voi/primitives/x25519"

	"github.com/cofferhq/coffer"
)

// A Ring is a coffer.Owner whose private keys are in this process's memory. It is safe for concurrent use. Its public
// parts and the numbers of its generations never change.
type Ring struct {
	names    []name     // of the Signing generations that are kept, oldest first
	delivery []delivery // of the Delivery generations, as are the following
	hmacIDs  []string
	first    [Vault + 1]int // per Use, the number of the oldest generation that is kept
	count    [Vault + 1]int // and how many are kept

	former       []succession // every signing key before the newest, oldest first
	deviceID     [16]byte
	devicePublic []byte // nil without a device

	mu         sync.RWMutex
	secrets    *secrets // nil once closed; behind a pointer, so that no verb of fmt reaches it through a copy
	parent     *Ring    // of a pseudonym: keeps what must be reached to close it
	pseudonyms []weak.Pointer[Ring]
}

// A name is the public part of a Signing generation.
type name struct{ signing, agreement coffer.PublicKey }

// secrets are what must not leave.
type secrets struct {
	root     []byte           // 32 bytes, of a generated identity of version 1, whose seeds all follow from it
	imported bool             // an identity of version 1 without a root
	seeds    [Vault + 1]seeds // per Use; of HMAC, the keys
	signers  []signer         // what follows from the seeds of Signing
	device   []byte           // 32 bytes; nil without a device
}

// seeds are 32 bytes for each generation that is kept, oldest first.
type seeds [][]byte

type signer struct {
	signing   ed25519.PrivateKey
	agreement []byte
}

// Generate makes a new identity from 32 random bytes.
func Generate() *Ring {
	root := make([]byte, 32)
	rand.Read(root)
	return fromRoot(root)
}

// Bearer returns the identity whose root is the seed: for a seed that was handed over in a link. Whoever has the seed
// is that identity.
func Bearer(seed [32]byte) *Ring { return fromRoot(bytes.Clone(seed[:])) }

// Labels keep what is derived from one secret apart (doc/keyring.md, section "What is derived"). The first three are of
// version 1 and stay what they are.
const (
	signingLabel          = "coffer-keyring/1 ed25519 seed"
	hmacLabel             = "coffer-keyring/1 hmac key"
	hmacIDLabel           = "coffer-keyring/1 hmac id"
	deliveryLabel         = "coffer-keyring/2 delivery seed"
	vaultLabel            = "coffer-keyring/2 vault secret"
	importedDeliveryLabel = "coffer-keyring/2 imported delivery seed"
	importedVaultLabel    = "coffer-keyring/2 imported vault secret"
	ownLabel              = "coffer-keyring/2 derive\x00"    // and the caller's label
	pseudonymLabel        = "coffer-keyring/2 pseudonym\x00" // and the caller's label
)

// derive returns n bytes that follow from a secret and a label: HKDF-SHA256 without salt.
func derive(secret []byte, label string, n int) []byte {
	b, err := hkdf.Key(sha256.New, secret, nil, label, n)
	if err != nil {
		panic("keyring: HKDF refuses a fixed length")
	}
	return b
}

// fromRoot takes the root over.
func fromRoot(root []byte) *Ring {
	s := &secrets{root: root}
	s.seeds[Signing] = seeds{derive(root, signingLabel, ed25519.SeedSize)}
	s.seeds[Delivery] = seeds{derive(root, deliveryLabel, 32)}
	s.seeds[HMAC] = seeds{derive(root, hmacLabel, 32)}
	s.seeds[Vault] = seeds{derive(root, vaultLabel, 32)}
	return newRing(s, [Vault + 1]int{}, []string{uuid([16]byte(derive(root, hmacIDLabel, 16)))}, nil)
}

// uuid returns the URN of the UUID of version 4 made of random bytes, or of such as look random. That is what others
// name HMAC keys by, too: it does not show that it was derived.
func uuid(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return "urn:uuid:" + strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// maxHMACID is the greatest length of an HMAC key's id.
const maxHMACID = 1024

// isHMACID reports whether s is a URI short enough to name an HMAC key by.
func isHMACID(s string) bool {
	return len(s) <= maxHMACID && strings.IndexByte(s, ':') >= 1 &&
		!strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// FromSeeds takes over an identity made elsewhere: the seed of its Ed25519 key (RFC 8032), its HMAC key, each of 32
// bytes, and the URI that names the HMAC key. The arguments are copied. Invalid if one is malformed.
func FromSeeds(ed25519Seed, hmacKey []byte, hmacID string) (*Ring, error) {
	if len(ed25519Seed) != ed25519.SeedSize || len(hmacKey) != 32 {
		return nil, coffer.Errorf("keyring", coffer.Invalid, "a seed and an HMAC key have 32 bytes")
	}
	if !isHMACID(hmacID) {
		return nil, coffer.Errorf("keyring", coffer.Invalid, "the HMAC key's id is not a URI")
	}
	both := slices.Concat(ed25519Seed, hmacKey)
	defer clear(both)
	s := &secrets{imported: true}
	s.seeds[Signing] = seeds{bytes.Clone(ed25519Seed)}
	s.seeds[Delivery] = seeds{derive(both, importedDeliveryLabel, 32)}
	s.seeds[HMAC] = seeds{bytes.Clone(hmacKey)}
	s.seeds[Vault] = seeds{derive(both, importedVaultLabel, 32)}
	return newRing(s, [Vault + 1]int{}, []string{hmacID}, nil), nil
}

// newRing takes all over.
func newRing(s *secrets, first [Vault + 1]int, hmacIDs []string, former []succession) *Ring {
	r := &Ring{hmacIDs: hmacIDs, first: first, former: former, secrets: s}
	for use, seeds := range s.seeds {
		r.count[use] = len(seeds)
	}
	for _, seed := range s.seeds[Signing] {
		k, n := newSigner(seed)
		s.signers, r.names = append(s.signers, k), append(r.names, n)
	}
	for _, seed := range s.seeds[Delivery] {
		r.delivery = append(r.delivery, newDelivery(seed))
	}
	return r
}

func newSigner(seed []byte) (signer, name) {
	// X25519 clamps its scalar, so the first half of the hash is the private key of the same point (RFC 8032, section
	// 5.1.5, and RFC 7748, section 4.1).
	h := sha512.Sum512(seed)
	defer clear(h[:])
	s := signer{signing: ed25519.NewKeyFromSeed(seed), agreement: bytes.Clone(h[:32])}
	public := bytes.Clone(s.signing[ed25519.SeedSize:])
	x := (*x25519.PrivateKey)(s.agreement).Public()
	did, id := didKey(public)
	return s, name{
		signing: coffer.PublicKey{ID: id, Controller: did, Type: "Ed25519VerificationKey2020", Public: public},
		agreement: coffer.PublicKey{
			ID:         did + "#" + coffer.Multibase(append([]byte{0xec, 0x01}, x[:]...)),
			Controller: did, Type: "X25519KeyAgreementKey2020", Public: x[:],
		},
	}
}

// didKey returns the did:key of an Ed25519 key, and the key's own id. The prefixes, here and above, are the multicodecs
// ed25519-pub and x25519-pub (The did:key Method v0.9, section 3.1.1).
func didKey(public []byte) (did, id string) {
	name := coffer.Multibase(append([]byte{0xed, 0x01}, public...))
	did = "did:key:" + name
	return did, did + "#" + name
}

// DID returns the did:key of the newest signing key.
func (r *Ring) DID() string { return r.newest().DID() }

// Key returns the public part of the newest key for a use, and the zero PublicKey for an unknown use. Of the HMAC key
// that is an id, which tells an outsider nothing of the DID.
func (r *Ring) Key(use coffer.KeyUse) coffer.PublicKey { return r.newest().Key(use) }

// Sign returns the Ed25519 signature of the message. It is Invalid without a purpose, Locked once the Ring is closed.
// The purpose is not part of what is signed: the protocols fix the message to the byte, and it says itself what it is
// for.
func (r *Ring) Sign(ctx context.Context, purpose coffer.Purpose, message []byte) ([]byte, error) {
	return r.newest().Sign(ctx, purpose, message)
}

// Agree returns the X25519 shared secret with the peer's public key (RFC 7748, section 6.1). It is Invalid if that is
// not 32 bytes or of low order, Locked once the Ring is closed. It uses the newest key: for an envelope that names an
// earlier one there is [Ring.Earlier].
func (r *Ring) Agree(ctx context.Context, peer []byte) ([]byte, error) {
	return r.newest().Agree(ctx, peer)
}

// MAC returns the HMAC-SHA256 of the message under the newest HMAC key. It is Locked once the Ring is closed.
func (r *Ring) MAC(ctx context.Context, message []byte) ([]byte, error) {
	return r.newest().MAC(ctx, message)
}

// Derive returns 32 bytes that follow from the newest vault secret and the label. It is Invalid for a label that is
// empty or longer than 1024 bytes, Locked once the Ring is closed.
func (r *Ring) Derive(ctx context.Context, label string) ([]byte, error) {
	return r.newest().Derive(ctx, label)
}

// Pseudonym returns an identity that follows from the newest vault secret and the label, a *Ring. None of its keys and
// ids has anything in common with this one's that others could see. It is closed when this Ring is. It is Invalid for a
// label that is empty or longer than 1024 bytes, Locked once the Ring is closed.
func (r *Ring) Pseudonym(ctx context.Context, label string) (coffer.Keyring, error) {
	return r.newest().Pseudonym(ctx, label)
}

// Receive opens what was sealed to the DeliveryKey by HPKE (RFC 9180, base mode; MLKEM768-X25519, HKDF-SHA256,
// ChaCha20-Poly1305) with this info and no associated data: the encapsulated key, then the ciphertext. It tries each
// generation that is kept, newest first. It is Corrupt if none opens it, or it is of more than 1 MiB; Locked once the
// Ring is closed.
func (r *Ring) Receive(ctx context.Context, info, sealed []byte) ([]byte, error) {
	return r.newest().Receive(ctx, info, sealed)
}

// use calls f with the secrets, which stay what they are until it returns.
func (r *Ring) use(op string, f func(*secrets) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.secrets == nil {
		return errClosed(op)
	}
	return f(r.secrets)
}

func errClosed(op string) error { return coffer.Errorf(op, coffer.Locked, "the keyring is closed") }

// Close overwrites the private keys with zeros, and those of the pseudonyms that are in use. Copies that the Go runtime
// and its cryptography made while the keys were used may stay in memory until that is used for something else. The
// public parts remain.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pseudonyms {
		if p := p.Value(); p != nil {
			p.Close()
		}
	}
	r.pseudonyms = nil
	if r.secrets != nil {
		r.secrets.clear()
		r.secrets = nil
	}
	return nil
}

// clear overwrites the secrets with zeros.
func (s *secrets) clear() {
	clear(s.root)
	for _, seeds := range s.seeds {
		for _, seed := range seeds {
			clear(seed)
		}
	}
	for _, k := range s.signers {
		clear(k.signing)
		clear(k.agreement)
	}
	clear(s.device)
}

// hidden stands for a Ring, and for all else that holds secrets, wherever one is printed.
const hidden = "keyring (not shown)"

// Format prints no secret, and not whose it is, whatever the verb.
func (r *Ring) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// String returns no secret, and not whose it is.
func (r *Ring) String() string { return hidden }

// GoString returns no secret, and not whose it is.
func (r *Ring) GoString() string { return hidden }

// MarshalJSON returns no secret, and not whose it is: a Ring leaves this process only by Save.
func (r *Ring) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue returns no secret, and not whose it is.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(hidden) }

// A mute value prints nothing of what it stands in, whatever the verb.
type mute struct{}

// Format prints no secret, whatever the verb.
func (mute) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalJSON returns no secret.
func (mute) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue returns no secret.
func (mute) LogValue() slog.Value { return slog.StringValue(hidden) }
