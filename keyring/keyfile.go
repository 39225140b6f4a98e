package keyring

import (
	"bytes"
	"crypto/rand"

	"github.com/cofferhq/coffer"
)

// keyFileFormat begins a key file: one line, with the key in base64url after it.
const keyFileFormat = "coffer-keyring-key/1 "

// newKeyFile makes a key file.
func newKeyFile(path string) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key)
	return key, writeFile(path, []byte(keyFileFormat+encode(key)+"\n"), false)
}

// readKeyFile returns the key in a key file. It is Denied if others than its owner may read it, as it is then no
// secret.
func readKeyFile(path string) ([]byte, error) {
	const op = "key file"
	b, err := readFile(op, path, true)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	text, found := bytes.CutPrefix(b, []byte(keyFileFormat))
	text, ended := bytes.CutSuffix(text, []byte("\n"))
	key, ok := decode(string(text))
	if !found || !ended || !ok || len(key) != keySize {
		return nil, coffer.Errorf(op, coffer.Corrupt, "not a key file")
	}
	return key, nil
}
