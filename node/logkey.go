package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/ledger"
)

// maxLogKey bounds the file of the log key, in bytes.
const maxLogKey = 4096

// logKeyType is the type of the PEM block in it.
const logKeyType = "PRIVATE KEY"

// signer returns what signs the checkpoints of the node with the origin.
func (c *Config) signer(origin string) (*ledger.Signer, error) {
	key := c.LogKey
	if key == nil {
		path := filepath.Join(c.Data, logKeyFile)
		var err error
		if key, err = readLogKey(path); errors.Is(err, fs.ErrNotExist) {
			key, err = makeLogKey(path)
		}
		if err != nil {
			return nil, err
		}
	}
	return ledger.NewSigner(ledger.Origin(origin), key)
}

// readLogKey reads what makeLogKey wrote: Corrupt if it is something else. A key that is damaged is never replaced: to
// those who follow the logs that would look like a fork.
func readLogKey(path string) (ed25519.PrivateKey, error) {
	const op = "log key"
	f, err := os.Open(path)
	if err != nil {
		return nil, coffer.E(op, coffer.Unavailable, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLogKey+1))
	if err != nil {
		return nil, coffer.E(op, coffer.Unavailable, err)
	}
	damaged := coffer.Errorf(op, coffer.Corrupt, "the file is not one of a node's log key")
	block, rest := pem.Decode(b)
	if len(b) > maxLogKey || block == nil || block.Type != logKeyType || len(rest) > 0 {
		return nil, damaged
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, damaged
	}
	return key, nil
}

// makeLogKey makes a key and writes it to a file of mode 0600: durably, and whole or not at all.
func makeLogKey(path string) (ed25519.PrivateKey, error) {
	const op = "log key"
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	if err := writeNew(path, pem.EncodeToMemory(&pem.Block{Type: logKeyType, Bytes: der})); err != nil {
		return nil, coffer.E(op, coffer.Unavailable, err)
	}
	return key, nil
}

// writeNew writes a file where there is none.
func writeNew(path string, b []byte) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".log-*.tmp") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
