package keyring_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/keyring"
)

func Example() {
	dir, err := os.MkdirTemp("", "keyring")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "me.keyring")

	if err := keyring.Save(path, keyring.Generate(), keyring.Passphrase([]byte("correct horse"))); err != nil {
		fmt.Println(err)
		return
	}
	ask := func() ([]byte, error) { return []byte("correct horse"), nil }
	ring, err := keyring.Load(path, keyring.Unlock{Passphrase: ask})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ring.Close()

	message := []byte("(request-target): get /edvs")
	signature, err := ring.Sign(context.Background(), coffer.Invocation, message)
	fmt.Println(err, ed25519.Verify(ring.Key(coffer.SigningKey).Public, message, signature))
	fmt.Println(ring)
	// Output:
	// <nil> true
	// keyring (not shown)
}
