package seal

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/binary"
	"errors"

	"github.com/cofferhq/coffer"
)

// Sizes of what is delivered.
const (
	DeliveryKeySize         = 1216                      // bytes of a coffer.DeliveryKey
	DeliveryOverhead        = 1120 + 16                 // bytes that Deliver adds
	ClassicDeliveryOverhead = 32 + 16                   // bytes that DeliverClassic adds
	PadOverhead             = 1 + 4                     // bytes that PadDelivery needs besides the message
	MaxDelivery             = 1 << 20                   // bytes of what is delivered
	MaxInfo                 = 32 << 10                  // bytes of the info
	deliveryVersion         = 1                         // of the padded form, and of the suites below
	classicLabel            = "coffer classic delivery" // keeps the classic suite's use of a key apart from others
)

// suite is version 1 of the format. The numbers are those of RFC 9180, section 7, and draft-ietf-hpke-pq; HPKE binds
// them into the keys, so what was sealed under others does not open.
type suite struct{ kem, kdf, aead uint16 }

var (
	hybridSuite  = suite{kem: 0x647a, kdf: 0x0001, aead: 0x0003} // MLKEM768-X25519, HKDF-SHA256, ChaCha20-Poly1305
	classicSuite = suite{kem: 0x0020, kdf: 0x0001, aead: 0x0003} // DHKEM(X25519, HKDF-SHA256), and the same
)

// parts returns the suite's algorithms.
func (s suite) parts() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	kem, err := hpke.NewKEM(s.kem)
	if err != nil {
		panic("seal: HPKE lacks a KEM")
	}
	kdf, err := hpke.NewKDF(s.kdf)
	if err != nil {
		panic("seal: HPKE lacks a KDF")
	}
	aead, err := hpke.NewAEAD(s.aead)
	if err != nil {
		panic("seal: HPKE lacks an AEAD")
	}
	return kem, kdf, aead
}

// Deliver seals plaintext to a [coffer.DeliveryKey] and returns the encapsulated key followed by the ciphertext, for
// [coffer.Owner].Receive with the same info: HPKE (RFC 9180) in base mode without associated data, with
// MLKEM768-X25519, so that it stays sealed even when X25519 is broken. It says nothing of the recipient, and nothing
// of the sender: who it comes from must stand in the plaintext, signed. Invalid for a key that is none, and beyond
// [MaxDelivery] or [MaxInfo].
func Deliver(public, info, plaintext []byte) ([]byte, error) {
	return hybridSuite.seal(public, info, plaintext)
}

// DeliverClassic is Deliver for somebody of whom only an X25519 key of 32 bytes is known: a computer that breaks X25519
// opens what is recorded today. [ReceiveClassic] opens it.
func DeliverClassic(public, info, plaintext []byte) ([]byte, error) {
	return classicSuite.seal(public, classicInfo(info), plaintext)
}

// DeliverNobody returns what Deliver returns for some plaintext of n bytes, for a key that nobody has: to fill places
// that are to look taken. Invalid beyond [MaxDelivery].
func DeliverNobody(n int) ([]byte, error) {
	if n < 0 || n > MaxDelivery {
		return nil, coffer.Errorf("deliver", coffer.Invalid, "too long")
	}
	kem, _, _ := hybridSuite.parts()
	key, err := kem.GenerateKey()
	if err != nil {
		return nil, coffer.E("deliver", coffer.Other, err)
	}
	return Deliver(key.PublicKey().Bytes(), nil, make([]byte, n))
}

func (s suite) seal(public, info, plaintext []byte) ([]byte, error) {
	const op = "deliver"
	if len(plaintext) > MaxDelivery || len(info) > MaxInfo {
		return nil, coffer.Errorf(op, coffer.Invalid, "too long")
	}
	kem, kdf, aead := s.parts()
	key, err := kem.NewPublicKey(public)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "not a public key of its kind")
	}
	sealed, err := hpke.Seal(key, kdf, aead, info, plaintext)
	if err != nil { // only a key of low order
		return nil, coffer.Errorf(op, coffer.Invalid, "not a public key of its kind")
	}
	return sealed, nil
}

func classicInfo(info []byte) []byte {
	return append(append(make([]byte, 0, len(classicLabel)+1+len(info)), classicLabel+"\x00"...), info...)
}

// ReceiveClassic opens what [DeliverClassic] sealed to the keyring's agreement key, with this info. Corrupt if it was
// not; otherwise the keyring's own error.
func ReceiveClassic(ctx context.Context, ring coffer.Keyring, info, sealed []byte) ([]byte, error) {
	const op = "receive"
	if len(sealed) > MaxDelivery+ClassicDeliveryOverhead || len(info) > MaxInfo {
		return nil, coffer.Errorf(op, coffer.Corrupt, "too long")
	}
	public, err := ecdh.X25519().NewPublicKey(ring.Key(coffer.AgreementKey).Public)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "the keyring has no X25519 key")
	}
	var failed error // the keyring's own failure, which says nothing of what is opened
	held := heldKey{public: public, agree: func(peer []byte) ([]byte, error) {
		z, err := ring.Agree(ctx, peer)
		if err != nil && !errors.Is(err, coffer.Invalid) {
			failed = err
		}
		return z, err
	}}
	key, err := hpke.NewDHKEMPrivateKey(held)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "the keyring has no X25519 key")
	}
	_, kdf, aead := classicSuite.parts()
	plaintext, err := hpke.Open(key, kdf, aead, classicInfo(info), sealed)
	switch {
	case failed != nil:
		return nil, failed
	case err != nil:
		return nil, coffer.Errorf(op, coffer.Corrupt, "not sealed for this key")
	}
	return plaintext, nil
}

// heldKey is a keyring's X25519 key as HPKE wants it.
type heldKey struct {
	public *ecdh.PublicKey
	agree  func(peer []byte) ([]byte, error)
}

func (k heldKey) Curve() ecdh.Curve                         { return ecdh.X25519() }
func (k heldKey) PublicKey() *ecdh.PublicKey                { return k.public }
func (k heldKey) ECDH(peer *ecdh.PublicKey) ([]byte, error) { return k.agree(peer.Bytes()) }

// PadDelivery returns the message in a form of just size bytes, so that what is delivered does not show how long it
// is: a version byte, the length in 4 bytes, the message, zeros. Exhausted when size is not at least [PadOverhead]
// more than the message.
func PadDelivery(message []byte, size int) ([]byte, error) {
	if size > MaxDelivery || size-PadOverhead < len(message) {
		return nil, coffer.Errorf("deliver", coffer.Exhausted, "message does not fit")
	}
	b := make([]byte, size)
	b[0] = deliveryVersion
	binary.BigEndian.PutUint32(b[1:], uint32(len(message)))
	copy(b[PadOverhead:], message)
	return b, nil
}

// UnpadDelivery returns the message in what [PadDelivery] returned, which it shares. Corrupt for anything else.
func UnpadDelivery(b []byte) ([]byte, error) {
	const op = "receive"
	if len(b) < PadOverhead || len(b) > MaxDelivery {
		return nil, coffer.Errorf(op, coffer.Corrupt, "not a delivery")
	}
	n, rest := binary.BigEndian.Uint32(b[1:]), b[PadOverhead:]
	switch {
	case b[0] != deliveryVersion:
		return nil, coffer.Errorf(op, coffer.Corrupt, "a delivery of an unknown version")
	case uint64(n) > uint64(len(rest)) || len(bytes.Trim(rest[n:], "\x00")) > 0:
		return nil, coffer.Errorf(op, coffer.Corrupt, "not a delivery")
	}
	return rest[:n:n], nil
}
