package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/keyring"
)

// keyFile returns the file that protects a keyring file which is protected by a key file: the one beside it.
func keyFile(keyring string) string {
	return keyring[:len(keyring)-len(filepath.Ext(keyring))] + ".key"
}

// openKeyring opens the profile's keyring, asking for its passphrase if it has one.
func (p *program) openKeyring(ctx context.Context) (*keyring.Ring, error) {
	l, err := p.places()
	if err != nil {
		return nil, err
	}
	ring, passphrase, err := p.unlock(ctx, l.keyring, keyFile(l.keyring))
	p.passphrase = passphrase
	return ring, err
}

// unlock opens a keyring file. It returns the passphrase if that is what the file is protected by.
func (p *program) unlock(ctx context.Context, file, key string) (ring *keyring.Ring, passphrase []byte, err error) {
	ring, err = keyring.Load(file, keyring.Unlock{KeyFile: key, Passphrase: func() ([]byte, error) {
		given, err := p.givenPassphrase()
		if given == nil && err == nil {
			given, err = p.askPassphrase(ctx)
		}
		passphrase = append([]byte(nil), given...) // the keyring clears the one that it gets
		return given, err
	}})
	return ring, passphrase, explain(err, "", "cannot open the keyring")
}

// A protector chooses what a new keyring file is protected by.
type protector struct {
	Protect string `enum:"auto,passphrase,keychain,keyfile" default:"auto" help:"What protects the keys: passphrase, keychain, keyfile, or auto: the first that there is."`
}

// The protections, as --protect and the results name them.
const (
	byPassphrase = "passphrase"
	byKeychain   = "keychain"
	byKeyFile    = "keyfile"
)

// save writes a keyring to the profile's file, protected as was chosen, and returns by what. The passphrase is that of
// the keyring taken over, if there is one.
func (c *protector) save(ctx context.Context, p *program, ring *keyring.Ring, passphrase []byte) (string, error) {
	l, err := p.places()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(l.keyring), 0o700); err != nil {
		return "", explain(err, "", "cannot make a place for the keys")
	}
	by := c.Protect
	if len(passphrase) == 0 && (by == "auto" || by == byPassphrase) {
		if passphrase, err = p.givenPassphrase(); err == nil && passphrase == nil {
			passphrase, err = p.newPassphrase(ctx)
		}
		if err != nil {
			return "", err
		}
	}
	switch {
	case len(passphrase) > 0 && by == "auto":
		by = byPassphrase
	case len(passphrase) == 0 && by == byPassphrase:
		return "", failed(coffer.Invalid, "set COFFER_PASSPHRASE or give --passphrase-file FILE",
			"no passphrase was given, and there is no terminal to ask for one")
	}
	switch by {
	case byPassphrase:
		err = keyring.Save(l.keyring, ring, keyring.Passphrase(passphrase))
		clear(passphrase)
	case byKeyFile:
		err = keyring.Save(l.keyring, ring, keyring.KeyFile(keyFile(l.keyring)))
	default:
		err = keyring.Save(l.keyring, ring, keyring.Keychain())
		if by == "auto" && errors.Is(err, coffer.Unavailable) {
			by = byKeyFile
			err = keyring.Save(l.keyring, ring, keyring.KeyFile(keyFile(l.keyring)))
		} else {
			by = byKeychain
		}
	}
	if err != nil {
		return "", explain(err, "", "cannot save the keyring")
	}
	switch by {
	case byKeyFile:
		p.note("No passphrase was given and there is no OS keychain: the keys are protected by the file %s (mode 0600). "+
			"Whoever can read that folder has the identity.", keyFile(l.keyring))
	case byKeychain:
		p.note("The keys are protected by this system's keychain.")
	}
	return by, nil
}
