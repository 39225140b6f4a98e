package hub

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/cofferhq/coffer"
)

// The first bytes of the ids of documents.
const (
	commitDocument byte = 1
	objectDocument byte = 2
	kindDocument   byte = 3
	markDocument   byte = 4
	useDocument    byte = 5
)

// sealVersion is the first byte of a body at rest. A nonce and AES-256-GCM follow, with the document's id as associated
// data.
const sealVersion = 1

const nonceSize = 12

// mac returns the MAC of texts under a key. Each text's length goes before it.
func mac(key []byte, texts ...string) (sum [32]byte) {
	h := hmac.New(sha256.New, key)
	b := make([]byte, 0, 256)
	for _, t := range texts {
		b = binary.AppendUvarint(b[:0], uint64(len(t)))
		h.Write(append(b, t...))
	}
	h.Sum(sum[:0])
	return sum
}

// secrets are the keys of one owner's hub. All derive from the service's secret and the owner's identifier.
type secrets struct {
	bodies [32]byte // the key of a document's body is a MAC of its id under it
	tags   [32]byte
	ids    [32]byte
}

func newSecrets(secret [32]byte, owner string) secrets {
	return secrets{
		bodies: mac(secret[:], "coffer hub bodies 1", owner),
		tags:   mac(secret[:], "coffer hub tags 1", owner),
		ids:    mac(secret[:], "coffer hub ids 1", owner),
	}
}

// vaultName returns the name of an owner's vault.
func vaultName(secret [32]byte, owner string) string {
	sum := mac(secret[:], "coffer hub vault 1", owner)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// commitID returns where a commit is kept.
func (k *secrets) commitID(rev coffer.CommitRev) coffer.ObjectID {
	return k.id(commitDocument, "commit", string(rev[:]))
}

// kindID returns where a kind is kept.
func (k *secrets) kindID(iface, context, typ string) coffer.ObjectID {
	return k.id(kindDocument, "kind", iface, context, typ)
}

func (k *secrets) id(first byte, texts ...string) coffer.ObjectID {
	sum := mac(k.ids[:], texts...)
	sum[0] = first
	return coffer.ObjectID(sum[:16])
}

// objectID returns where an object is kept that came at the time.
func (k *secrets) objectID(stamp int64, object coffer.CommitRev) (id coffer.ObjectID) {
	sum := mac(k.ids[:], "object", string(object[:]))
	id[0] = objectDocument
	binary.BigEndian.PutUint64(id[1:], uint64(stamp))
	copy(id[9:], sum[:])
	return id
}

// stampOf returns when the object came that is kept there.
func stampOf(id coffer.ObjectID) int64 { return int64(binary.BigEndian.Uint64(id[1:])) }

// tagKey and tagName are those of all tags.
const (
	tagKey  = "urn:coffer:hub"
	tagName = "h"
)

// tag blinds what a document is found by.
func (k *secrets) tag(texts ...string) string {
	sum := mac(k.tags[:], texts...)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func aead(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // only for keys of another size
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

// seal returns version, nonce and ciphertext.
func seal(key [32]byte, plaintext, bound []byte) []byte {
	gcm := aead(key)
	b := make([]byte, 1+nonceSize, 1+nonceSize+len(plaintext)+gcm.Overhead())
	b[0] = sealVersion
	rand.Read(b[1:])
	return gcm.Seal(b, b[1:], plaintext, bound)
}

// open opens what seal returned; false for anything else.
func open(key [32]byte, sealed, bound []byte) ([]byte, bool) {
	if len(sealed) < 1+nonceSize || sealed[0] != sealVersion {
		return nil, false
	}
	b, err := aead(key).Open(nil, sealed[1:1+nonceSize], sealed[1+nonceSize:], bound)
	return b, err == nil
}

// body seals the body of a document.
func (k *secrets) body(id coffer.ObjectID, plaintext []byte) []byte {
	return seal(mac(k.bodies[:], string(id[:])), plaintext, id[:])
}

// read opens the body of a document.
func (k *secrets) read(d *coffer.Document) ([]byte, error) {
	b, ok := open(mac(k.bodies[:], string(d.ID[:])), d.Body, d.ID[:])
	if !ok {
		return nil, corrupt()
	}
	return b, nil
}

func corrupt() error { return coffer.Errorf("hub", coffer.Corrupt, "a document of the hub is damaged") }
