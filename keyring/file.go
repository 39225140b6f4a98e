package keyring

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/text/unicode/norm"

	"github.com/cofferhq/coffer"
)

// Save writes a Ring to a new file, whole or not at all, with mode 0600. It is a Conflict if there is something at path
// already, Invalid if the Protection is, Denied or Unavailable if the disk or the keychain refuses.
func Save(path string, r *Ring, p Protection) error { return save(path, r, p, false) }

// Replace is Save, but takes the place of a file that may be there: at every moment the old one or the new one is. It
// is a Conflict if that file is of a newer version than the Ring needs, which may hold keys that the Ring has not.
func Replace(path string, r *Ring, p Protection) error { return save(path, r, p, true) }

func save(path string, r *Ring, p Protection, replace bool) error {
	if _, err := os.Lstat(path); err == nil && !replace {
		return errExists // before a keychain entry or a key file is made in vain
	}
	secrets, version, err := r.marshal()
	if err != nil {
		return err
	}
	defer clear(secrets)
	// Whatever is there is to be replaced, but for one thing.
	b, _ := readFile("save keyring", path, false)
	old, err := parse(b)
	if errors.Is(err, coffer.Invalid) || err == nil && old.version > version {
		return coffer.Errorf("save keyring", coffer.Conflict, "the file there is of a newer version: load it first")
	}
	key, h, err := p.newKey(rand.Reader)
	if err != nil {
		return err
	}
	defer clear(key)
	b, err = seal(secrets, version, key, h, rand.Reader)
	if err == nil && len(b) > maxFile {
		err = coffer.Errorf("save keyring", coffer.Exhausted, "too many keys for one file")
	}
	if err == nil {
		err = writeFile(path, b, replace)
	}
	if err != nil {
		forget(h.Entry)
		return err
	}
	if old != nil {
		forget(old.Entry)
	}
	return nil
}

// newKey returns a key to seal under, and a header that says how to come by it again.
func (p Protection) newKey(random io.Reader) ([]byte, header, error) {
	h := header{Protection: p.kind}
	switch p.kind {
	case byPassphrase:
		passphrase := composed(*p.passphrase)
		defer clear(passphrase)
		if n := len(passphrase); n == 0 || n > maxPassphrase {
			return nil, h, coffer.Errorf("save keyring", coffer.Invalid, "a passphrase has 1 to 1024 bytes")
		}
		salt := make([]byte, saltSize)
		if _, err := io.ReadFull(random, salt); err != nil {
			return nil, h, coffer.Errorf("save keyring", coffer.Unavailable, "no randomness")
		}
		h.KDF = &kdf{Name: "argon2id", cost: p.cost, Salt: encode(salt)}
		return p.cost.key(passphrase, salt), h, nil
	case byKeychain:
		key, entry, err := newKeychainKey()
		h.Entry = entry
		return key, h, err
	case byKeyFile:
		key, err := readKeyFile(p.keyFile)
		if errors.Is(err, coffer.NotExist) {
			key, err = newKeyFile(p.keyFile)
		}
		return key, h, err
	}
	return nil, h, coffer.Errorf("save keyring", coffer.Invalid, "no protection given")
}

// Load reads a Ring from its file. It is NotExist without a file; Locked if the passphrase or key is wrong, missing,
// or the file was changed; Corrupt if the file is no keyring or cut short; Invalid if a newer version wrote it;
// Exhausted if it asks for more than 1 GiB, 64 passes or 16 lanes of Argon2id; Unavailable if the disk or the keychain
// does not answer; Denied if the file may not be read, or others than its owner may read the key file.
func Load(path string, u Unlock) (*Ring, error) {
	b, err := readFile("load keyring", path, false)
	if err != nil {
		return nil, err
	}
	f, err := parse(b)
	if err != nil {
		return nil, err
	}
	var key []byte
	wrong := "wrong key or damaged file"
	switch f.Protection {
	case byPassphrase:
		if u.Passphrase == nil {
			return nil, coffer.Errorf("load keyring", coffer.Locked, "the file needs its passphrase")
		}
		passphrase, err := u.Passphrase()
		if err != nil {
			return nil, err
		}
		defer clear(passphrase)
		wrong = "wrong passphrase or damaged file"
		c := composed(passphrase)
		defer clear(c)
		// Files that older programs wrote may be sealed under the bytes as they were typed.
		if !bytes.Equal(c, passphrase) && len(c) <= maxPassphrase {
			r, err := f.openUnder(f.KDF.key(c, f.salt), wrong)
			if !errors.Is(err, coffer.Locked) {
				return r, err
			}
		}
		if len(passphrase) > maxPassphrase {
			return nil, coffer.Errorf("load keyring", coffer.Locked, wrong)
		}
		key = f.KDF.key(passphrase, f.salt)
	case byKeychain:
		key, err = keychainKey(f.Entry)
	case byKeyFile:
		if u.KeyFile == "" {
			return nil, coffer.Errorf("load keyring", coffer.Locked, "the file needs its key file")
		}
		key, err = readKeyFile(u.KeyFile)
	}
	if err != nil {
		return nil, err
	}
	return f.openUnder(key, wrong)
}

// openUnder is open, and clears the key.
func (f *sealedFile) openUnder(key []byte, wrong string) (*Ring, error) {
	defer clear(key)
	return f.open(key, wrong)
}

// composed returns a copy of a passphrase in Unicode's form NFC: what one keyboard composes, another may send in parts.
// What is not UTF-8 stays as it is, and so does what is too long in any form.
func composed(passphrase []byte) []byte {
	if len(passphrase) > 4*maxPassphrase {
		return bytes.Clone(passphrase)
	}
	return norm.NFC.Append(nil, passphrase...)
}

// ChangeProtection seals the Ring in a file anew. On error the file is as it was.
func ChangeProtection(path string, u Unlock, p Protection) error {
	r, err := Load(path, u)
	if err != nil {
		return err
	}
	defer r.Close()
	return Replace(path, r, p)
}

// ChangePassphrase is ChangeProtection from one passphrase to another. It clears the old one.
func ChangePassphrase(path string, old, next []byte) error {
	return ChangeProtection(path, Unlock{Passphrase: func() ([]byte, error) { return old, nil }}, Passphrase(next))
}

// errExists is what Save says when it would have to overwrite.
var errExists = coffer.Errorf("save keyring", coffer.Conflict, "there is a file already")

// readFile reads a file of ours, which is short: of a longer one it reads just enough to show that it is too long. A
// bare file holds a secret that nothing seals; it is Denied if others than its owner may read it.
func readFile(op, path string, bare bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, diskError(op, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, diskError(op, err)
	}
	if bare && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, coffer.Errorf(op, coffer.Denied, "others may read it: its mode must be 0600")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, diskError(op, err)
	}
	return b, nil
}

// writeFile writes a file of mode 0600: durably, and whole or not at all. Without replace it is a Conflict if there is
// something at path.
func writeFile(path string, b []byte, replace bool) error {
	const op = "save keyring"
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".coffer-*.tmp") // of mode 0600
	if err != nil {
		return diskError(op, err)
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return diskError(op, err)
	}
	if !replace {
		// A link fails if there is something; a rename would not.
		switch err := os.Link(f.Name(), path); {
		case err == nil:
			return syncDir(op, dir)
		case errors.Is(err, fs.ErrExist):
			return errExists
		}
		// A file system without links.
		if _, err := os.Lstat(path); err == nil {
			return errExists
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return diskError(op, err)
	}
	return syncDir(op, dir)
}

// syncDir makes the names in a folder durable.
func syncDir(op, dir string) error {
	if runtime.GOOS == "windows" { // where folders cannot be synced, and need not
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return diskError(op, err)
	}
	defer d.Close()
	return diskError(op, d.Sync())
}

// diskError returns a disk's error with its kind and without the path, which may name somebody.
func diskError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return coffer.E(op, coffer.NotExist, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return coffer.E(op, coffer.Denied, fs.ErrPermission)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return coffer.E(op, coffer.Unavailable, path.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return coffer.E(op, coffer.Unavailable, link.Err)
	}
	return coffer.Errorf(op, coffer.Unavailable, "the disk refused")
}
