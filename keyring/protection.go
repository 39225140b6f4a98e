package keyring

import (
	"fmt"
	"io"
)

// A Protection says what a Ring's file is sealed under. Make one with [Passphrase], [Keychain] or [KeyFile]; the zero
// Protection protects nothing and is Invalid.
type Protection struct {
	kind       string
	passphrase *[]byte // behind a pointer, so that no verb of fmt reaches it
	keyFile    string
	cost       cost
}

// The protections, as the file's header names them.
const (
	byPassphrase = "passphrase"
	byKeychain   = "keychain"
	byKeyFile    = "keyfile"
)

// maxPassphrase is the greatest length of a passphrase.
const maxPassphrase = 1024

// Passphrase seals the file under a passphrase of 1 to 1024 bytes, by Argon2id, in Unicode's form NFC: it does not
// matter how a keyboard composes letters.
func Passphrase(passphrase []byte) Protection {
	return Protection{kind: byPassphrase, passphrase: &passphrase, cost: defaultCost}
}

// Keychain seals the file under a random key that the operating system's keychain keeps for the user who is logged in.
// Without that keychain the file cannot be opened again.
func Keychain() Protection { return Protection{kind: byKeychain} }

// KeyFile seals the file under a random key in the file at path, which is made if there is none. It is for machines
// where nobody is there to type: whoever can read both files has the identity, so it protects copies of the one
// without the other (a backup, a disk of its own, a file synchronized by mistake), and nothing else.
func KeyFile(path string) Protection { return Protection{kind: byKeyFile, keyFile: path} }

// Format prints no secret, whatever the verb.
func (p Protection) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// An Unlock has at hand what may be needed to open a file. Which of it is needed stands in the file; the keychain is
// asked without being named here.
type Unlock struct {
	// Passphrase is called when the file is sealed under a passphrase. What it returns is cleared after use, and its
	// errors are Load's.
	Passphrase func() ([]byte, error)
	// KeyFile is the path of the key file, for a file that is sealed under one.
	KeyFile string
}
