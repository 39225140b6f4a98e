package keyring

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"math"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer"
)

// A bundle is an identity on its way to another device, or put by for recovery: all generations, and not the device. It
// is always sealed. Its first byte says how: by HPKE to a public key as of a DeliveryKey, or by XChaCha20-Poly1305
// under a secret.
const (
	keyForm        = 1
	secretForm     = 2
	bundleVersion  = 1                 // the first byte within
	bundleInfo     = "coffer-bundle/1" // HPKE's info, and what is authenticated besides under a secret
	bundleKeyLabel = "coffer-bundle/1 key"
	bundleStep     = 1 << 10 // a bundle is padded with zeros to a multiple of this, to show less of what was rotated
	maxBundle      = 32 << 10
)

// SealBundle seals the secrets of the identity to a public key of 1216 bytes: another device's, or that of a recovery
// phrase. It is Invalid if that is not a key, Locked once the Ring is closed.
func (r *Ring) SealBundle(public []byte) ([]byte, error) {
	const op = "seal bundle"
	k, err := hpke.MLKEM768X25519().NewPublicKey(public)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "not a public key for a bundle")
	}
	b, err := r.bundle(op)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	sealed, err := hpke.Seal(k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(bundleInfo), b)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "not a public key for a bundle")
	}
	return append([]byte{keyForm}, sealed...), nil
}

// SealBundleUnder seals the secrets of the identity under a secret that cannot be guessed, like [Pairing.Key]. It is
// Locked once the Ring is closed.
func (r *Ring) SealBundleUnder(secret [32]byte) ([]byte, error) {
	return r.sealBundleUnder(secret, rand.Reader)
}

func (r *Ring) sealBundleUnder(secret [32]byte, random io.Reader) ([]byte, error) {
	const op = "seal bundle"
	b, err := r.bundle(op)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, coffer.Errorf(op, coffer.Unavailable, "no randomness")
	}
	key := derive(secret[:], bundleKeyLabel, keySize)
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	return aead.Seal(append([]byte{secretForm}, nonce...), nonce, b, []byte(bundleInfo)), nil
}

// OpenBundleUnder returns the identity that was sealed by SealBundleUnder, with a new device. It is Corrupt if it was
// not sealed under this secret, Invalid if a newer version made it.
func OpenBundleUnder(secret [32]byte, sealed []byte) (*Ring, error) {
	const op = "open bundle"
	if len(sealed) < 1+chacha20poly1305.NonceSizeX || len(sealed) > 2*maxBundle || sealed[0] != secretForm {
		return nil, errNoBundle
	}
	key := derive(secret[:], bundleKeyLabel, keySize)
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	nonce, sealed := sealed[1:1+chacha20poly1305.NonceSizeX], sealed[1+chacha20poly1305.NonceSizeX:]
	b, err := aead.Open(nil, nonce, sealed, []byte(bundleInfo))
	if err != nil {
		return nil, errNoBundle
	}
	return openedBundle(b)
}

var errNoBundle = coffer.Errorf("open bundle", coffer.Corrupt, "not a bundle, or not sealed to whoever opens it")

// openBundle opens what SealBundle sealed to the key that the seed stands for.
func openBundle(seed, sealed []byte) (*Ring, error) {
	if len(sealed) == 0 || len(sealed) > 2*maxBundle || sealed[0] != keyForm {
		return nil, errNoBundle
	}
	b, err := openHPKE(deliveryPrivate(seed), []byte(bundleInfo), sealed[1:])
	if err != nil {
		return nil, errNoBundle
	}
	return openedBundle(b)
}

// openedBundle reads a bundle and clears it. The Ring has a new device.
func openedBundle(b []byte) (*Ring, error) {
	defer clear(b)
	if len(b) > 0 && b[0] > bundleVersion {
		return nil, coffer.Errorf("open bundle", coffer.Invalid,
			"the bundle was made by a newer version of this program; update the program to open it")
	}
	malformed := coffer.Errorf("open bundle", coffer.Corrupt, "the secrets are malformed")
	if len(b) == 0 || len(b) > maxBundle || len(b)%bundleStep != 0 || b[0] != bundleVersion {
		return nil, malformed
	}
	r, rest, ok := parseIdentity(b[1:])
	if !ok || len(rest) >= bundleStep || bytes.ContainsFunc(rest, func(c rune) bool { return c != 0 }) {
		return nil, malformed
	}
	r.setDevice([16]byte{}, nil)
	return r, nil
}

// ReceiveBundle opens a bundle that another device of this identity sealed to this device, and returns the identity as
// it is there, on this device. Both Rings are to be closed, and the new one replaces the file.
//
// Whoever knows the device's public key can seal something to it, so the bundle must carry on from what is here: it has
// the same keys, as far as both have them, a DID that all DIDs here lead to by their signatures, and no fewer
// generations of any use. It is a Conflict if it does not, as when two devices rotated at the same time; Corrupt if it
// was not sealed to this device, NotExist if the Ring has none, Invalid if a newer version made it, Locked once the
// Ring is closed.
//
// That does not help against who has the secrets, such as the thief of a device: until it has received the owner's
// rotation a device takes the thief's, too.
func (r *Ring) ReceiveBundle(sealed []byte) (next *Ring, err error) {
	const op = "open bundle"
	err = r.use(op, func(s *secrets) error {
		if s.device == nil {
			return coffer.Errorf(op, coffer.NotExist, "this keyring has no device that a bundle could be sealed to")
		}
		n, err := openBundle(s.device, sealed)
		if err != nil {
			return err
		}
		if !r.carriesOn(s, n) {
			n.Close()
			return coffer.Errorf(op, coffer.Conflict, "the bundle does not carry on from the keys that are here")
		}
		n.setDevice(r.deviceID, bytes.Clone(s.device))
		next = n
		return nil
	})
	return next, err
}

// carriesOn reports whether n, which nobody else has yet, is r as it was or was changed since.
func (r *Ring) carriesOn(s *secrets, n *Ring) bool {
	same := 1
	for _, use := range allUses {
		if n.Generations(use) < r.Generations(use) {
			return false
		}
		for i, seed := range s.seeds[use] {
			j := r.first[use] + i - n.first[use]
			if j < 0 {
				continue // forgotten there
			}
			same &= subtle.ConstantTimeCompare(seed, n.secrets.seeds[use][j])
			if use == HMAC && r.hmacIDs[i] != n.hmacIDs[j] {
				return false
			}
		}
	}
	for i := range r.Generations(Signing) {
		if !bytes.Equal(r.public(i), n.public(i)) {
			return false
		}
	}
	return same == 1
}

// bundle returns the secrets as they are sealed. The caller clears them.
func (r *Ring) bundle(op string) (b []byte, err error) {
	err = r.use(op, func(s *secrets) error {
		n := (1 + r.identitySize() + bundleStep - 1) / bundleStep * bundleStep
		b = make([]byte, 0, n) // never grows, so that no copy is left behind
		b = r.appendIdentity(append(b, bundleVersion), s)[:n]
		return nil
	})
	return b, err
}

// identitySize is the length of what appendIdentity appends.
func (r *Ring) identitySize() int {
	n := len(allUses) * (4 + 1)
	for _, use := range allUses {
		n += r.count[use] * 32
	}
	for _, id := range r.hmacIDs {
		n += 2 + len(id)
	}
	return n + len(r.former)*(32+64+64)
}

// appendIdentity appends the identity as files and bundles have it (doc/keyring.md, section "Identity").
func (r *Ring) appendIdentity(b []byte, s *secrets) []byte {
	for _, use := range allUses {
		b = binary.BigEndian.AppendUint32(b, uint32(r.first[use]))
		b = append(b, byte(r.count[use]))
		for i, seed := range s.seeds[use] {
			b = append(b, seed...)
			if use == HMAC {
				b = binary.BigEndian.AppendUint16(b, uint16(len(r.hmacIDs[i])))
				b = append(b, r.hmacIDs[i]...)
			}
		}
	}
	for _, f := range r.former {
		b = append(append(append(b, f.former[:]...), f.signed[:]...), f.confirmed[:]...)
	}
	return b
}

// parseIdentity reads what appendIdentity appends, and returns what comes after it. All of b may come from somebody who
// could seal it and is malicious all the same.
func parseIdentity(b []byte) (r *Ring, rest []byte, ok bool) {
	s, first, ids, former := new(secrets), [Vault + 1]int{}, []string(nil), []succession(nil)
	defer func() {
		if !ok {
			s.clear()
		}
	}()
	// take returns the next n bytes, and zeros once there are too few.
	short := false
	take := func(n int) []byte {
		if short = short || n > len(b); short {
			return make([]byte, n)
		}
		taken := b[:n]
		b = b[n:]
		return taken
	}
	for _, use := range allUses {
		number, count := binary.BigEndian.Uint32(take(4)), int(take(1)[0])
		if short || count == 0 || count > maxGenerations || number > math.MaxInt32-maxGenerations {
			return nil, nil, false
		}
		first[use] = int(number)
		for range count {
			s.seeds[use] = append(s.seeds[use], bytes.Clone(take(32)))
			if use == HMAC {
				id := string(take(int(binary.BigEndian.Uint16(take(2)))))
				if short || !isHMACID(id) {
					return nil, nil, false
				}
				ids = append(ids, id)
			}
		}
	}
	signings := first[Signing] + len(s.seeds[Signing])
	if short || signings > maxGenerations || len(b) < (signings-1)*(32+64+64) {
		return nil, nil, false
	}
	for range signings - 1 {
		former = append(former, succession{[32]byte(take(32)), [64]byte(take(64)), [64]byte(take(64))})
	}
	r = newRing(s, first, ids, former)
	for i := range former {
		if i >= first[Signing] && !bytes.Equal(former[i].former[:], r.names[i-first[Signing]].signing.Public) ||
			!former[i].leadsTo(r.public(i+1)) {
			return nil, nil, false
		}
	}
	return r, b, true
}
