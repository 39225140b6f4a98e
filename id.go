package coffer

import (
	"crypto/rand"
)

// An ObjectID names a document within its vault: 16 random bytes, chosen by the writer, never used again once taken.
// Its text form is the one encrypted data vaults use: "z" and the base58btc of 0x00 0x10 and the 16 bytes (multibase
// and an identity multihash). The zero ObjectID is nobody's.
type ObjectID [16]byte

// A VaultID names a vault within its node, in the same form as an ObjectID. The node chooses it.
type VaultID [16]byte

// NewObjectID returns a random ObjectID.
func NewObjectID() ObjectID { return ObjectID(random16()) }

// NewVaultID returns a random VaultID.
func NewVaultID() VaultID { return VaultID(random16()) }

func random16() (b [16]byte) {
	rand.Read(b[:])
	return b
}

// ParseObjectID reads the text form. It accepts just what [ObjectID.String] writes: one text per id.
func ParseObjectID(s string) (ObjectID, error) {
	b, err := parseID(s)
	return ObjectID(b), err
}

// ParseVaultID reads the text form of a VaultID (the local part of a vault's URL).
func ParseVaultID(s string) (VaultID, error) {
	b, err := parseID(s)
	return VaultID(b), err
}

// String returns the text form.
func (id ObjectID) String() string { return formatID(id) }

// String returns the text form.
func (id VaultID) String() string { return formatID(id) }

// MarshalText returns the text form.
func (id ObjectID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *ObjectID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseObjectID(string(b))
	return err
}

// MarshalText returns the text form.
func (id VaultID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *VaultID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseVaultID(string(b))
	return err
}

// idLen is the greatest length of an id's text; base58 of 18 bytes is at most 25 characters.
const idLen = 26

func formatID(id [16]byte) string {
	var b [18]byte
	b[1] = 16
	copy(b[2:], id[:])
	return Multibase(b[:])
}

func parseID(s string) (id [16]byte, err error) {
	if len(s) > idLen {
		return id, Errorf("identifier", Invalid, "too long")
	}
	b, err := ParseMultibase(s)
	if err != nil || len(b) != 18 || b[0] != 0 || b[1] != 16 {
		return id, Errorf("identifier", Invalid, "must be multibase base58btc of a 16 byte identity multihash")
	}
	copy(id[:], b[2:])
	return id, nil
}
