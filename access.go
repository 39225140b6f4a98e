package coffer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// A Secret admits its holder to one object: with it and a capability for what is held in the vault, or alone to an open
// object. The vault keeps only its [Secret.Verifier]. doc/access.md says how it is used.
type Secret [32]byte

// An Access is what a secret admits to.
type Access string

// The kinds of access.
const (
	ReadAccess  Access = "read"  // reading, by a capability for what is held in the vault
	WriteAccess Access = "write" // replacing and erasing, by such a capability
	OpenAccess  Access = "open"  // reading, without any capability
)

// AccessKey is the [Tag] key of the verifiers of an object's secrets: tags whose Name is the Access and whose Value the
// verifier.
const AccessKey = "urn:coffer:access"

// Verifier returns what a vault checks the secret against: the unpadded base64url of
// SHA-256("coffer access 1" 0x00 access 0x00 id secret).
func (s Secret) Verifier(id ObjectID, a Access) string {
	b := append([]byte("coffer access 1\x00"), a...)
	b = append(append(append(b, 0), id[:]...), s[:]...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Tag returns the tag by which a vault checks the secret.
func (s Secret) Tag(id ObjectID, a Access) Tag {
	return Tag{Key: AccessKey, Name: string(a), Value: s.Verifier(id, a)}
}

// Admits reports whether the document's tags say that the secret admits its holder. A document without a verifier
// admits nobody.
func (d *Document) Admits(a Access, s Secret) bool {
	want, ok := []byte(s.Verifier(d.ID, a)), false
	for _, t := range d.Tags {
		if t.Key == AccessKey && t.Name == string(a) && subtle.ConstantTimeCompare([]byte(t.Value), want) == 1 {
			ok = true
		}
	}
	return ok
}

// A Holder is a vault that knows of secrets: an optional second interface of a [Vault].
type Holder interface {
	// Held returns the vault as one sees it who may reach just the objects whose secrets he holds, by a capability for
	// what is held. Get, Chunk, PutChunk, DropChunk and Apply with one write work, Apply also to insert; the other
	// methods are Denied. What secret does not know, or knows wrongly, is NotExist.
	Held(secret func(id ObjectID, a Access) (Secret, bool)) Vault
}
