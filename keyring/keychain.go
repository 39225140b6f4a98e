package keyring

import (
	"crypto/rand"
	"errors"

	"github.com/zalando/go-keyring"

	"github.com/cofferhq/coffer"
)

// keychainService is the name under which the keychain shows our entries to its user.
const keychainService = "coffer keyring"

// entrySize is the length of an entry's name in bytes. It is random: it tells the keychain nothing.
const entrySize = 16

// newKeychainKey puts a random key into the keychain, under a random name.
func newKeychainKey() (key []byte, entry string, err error) {
	key = make([]byte, keySize)
	rand.Read(key)
	name := make([]byte, entrySize)
	rand.Read(name)
	entry = encode(name)
	if err := keyring.Set(keychainService, entry, encode(key)); err != nil {
		return nil, "", coffer.Errorf("keychain", coffer.Unavailable, "it did not take the key")
	}
	return key, entry, nil
}

// keychainKey returns the key of an entry. It is Locked if the keychain does not have it, as on another machine.
func keychainKey(entry string) ([]byte, error) {
	s, err := keyring.Get(keychainService, entry)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil, coffer.Errorf("keychain", coffer.Locked, "it has no key for this file")
	}
	if err != nil {
		return nil, coffer.Errorf("keychain", coffer.Unavailable, "it did not answer, or there is none")
	}
	key, ok := decode(s)
	if !ok || len(key) != keySize {
		return nil, coffer.Errorf("keychain", coffer.Corrupt, "what it holds for this file is not a key")
	}
	return key, nil
}

// forget removes an entry that no file needs any more. If the keychain fails, a useless entry remains: no harm.
func forget(entry string) {
	if entry != "" {
		keyring.Delete(keychainService, entry)
	}
}
