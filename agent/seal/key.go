package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"

	"github.com/cofferhq/coffer"
)

// An ObjectKey opens one object: every revision that was sealed under it. It is the object's epoch key: whoever is not
// to read later revisions does not get the next one.
type ObjectKey [32]byte

// A WriteKey lets its holder replace one object at the vault. It opens nothing.
type WriteKey [32]byte

// A Ref is all that is needed to reach and open an object. Without Write, which is then zero, it is for reading.
type Ref struct {
	ID    coffer.ObjectID
	Key   ObjectKey
	Write WriteKey
}

// NewRef returns a Ref with a random id and random keys.
func NewRef() Ref {
	r := Ref{ID: coffer.NewObjectID()}
	rand.Read(r.Key[:])
	rand.Read(r.Write[:])
	return r
}

// Renewed returns the Ref with new keys.
func (r Ref) Renewed() Ref {
	n := NewRef()
	n.ID = r.ID
	return n
}

// Access returns the secret that admits to reading the object.
func (k ObjectKey) Access(id coffer.ObjectID) coffer.Secret {
	return coffer.Secret(derive(k[:], "coffer read access 1\x00"+string(id[:])))
}

// Access returns the secret that admits to replacing the object.
func (k WriteKey) Access(id coffer.ObjectID) coffer.Secret {
	return coffer.Secret(derive(k[:], "coffer write access 1\x00"+string(id[:])))
}

// derive returns 32 bytes that follow from the key and the label.
func derive(key []byte, label string) [32]byte {
	b, err := hkdf.Key(sha256.New, key, nil, label, 32)
	if err != nil {
		panic("seal: HKDF refuses a fixed length")
	}
	return [32]byte(b)
}
