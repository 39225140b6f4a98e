package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/store"
)

// An installation is what all nodes on one database have in common. It is a document in a vault of its own, in the
// store that they share, written by the first of them.
type installation struct {
	Version int    `json:"version"` // of this form
	Origin  string `json:"origin"`  // of which all URLs are made
	Node    string `json:"node"`    // the identifier of the node
	LogKey  string `json:"logKey"`  // the public key of the checkpoints, as a verifier key of signed notes
}

// installationVersion is the only form that there is.
const installationVersion = 1

// installationPlace returns the vault and the id of the document. Both are hashes, which no vault that clients name is.
func installationPlace() (v coffer.VaultID, id coffer.ObjectID) {
	sum := sha256.Sum256([]byte("coffer installation\x00"))
	return coffer.VaultID(sum[:16]), coffer.ObjectID(sum[16:])
}

// installed returns the installation that the store belongs to; nil if none was written yet.
func installed(ctx context.Context, s store.Store) (*installation, error) {
	v, id := installationPlace()
	d, err := s.Get(ctx, v, id)
	if errors.Is(err, coffer.NotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var i installation
	if err := jose.DecodeOpen(d.Body, &i); err != nil || i.Version < 1 {
		return nil, coffer.Errorf("installation", coffer.Corrupt, "what the database says of its nodes cannot be read")
	}
	if i.Version > installationVersion {
		return nil, coffer.Errorf("installation", coffer.Unavailable,
			"the database was set up by a later version: use that one")
	}
	return &i, nil
}

// install writes the installation into a store that has none. It returns the one that is there in the end: another node
// may have been first.
func (n *Node) install(ctx context.Context, i *installation) (*installation, error) {
	body, err := jose.Encode(i)
	if err != nil {
		return nil, coffer.E("installation", coffer.Other, err)
	}
	v, id := installationPlace()
	_, err = n.disks.documents.Apply(ctx, store.Write{
		Vault: v, By: n.did, Time: n.config.Now(), Document: &coffer.Document{ID: id, Body: body},
	})
	if err != nil && !errors.Is(err, coffer.Conflict) {
		return nil, err
	}
	there, err := installed(ctx, n.disks.documents)
	if err == nil && there == nil {
		err = coffer.Errorf("installation", coffer.Corrupt, "what was written is not there")
	}
	return there, err
}

// join makes the node one of those that share its store: with the same keys and the same origin, or not at all. Keys
// are made only for the first one.
func (n *Node) join(ctx context.Context) error {
	const op = "installation"
	const copies = "copy node.json, node.key and log.key from the data folder of the first node"
	there, err := installed(ctx, n.disks.documents)
	if err != nil {
		return err
	}
	if there != nil && there.Origin != n.origin {
		return coffer.Errorf(op, coffer.Invalid,
			"the other nodes on this database have another origin: give all of them the same --origin")
	}
	if there != nil {
		files := []string{identityFile, identityKeyFile}
		if n.config.LogKey == nil {
			files = append(files, logKeyFile)
		}
		for _, name := range files {
			if _, err := os.Stat(filepath.Join(n.config.Data, name)); errors.Is(err, fs.ErrNotExist) {
				return coffer.Errorf(op, coffer.Invalid, "this database has nodes already, and this one has not their keys: "+
					copies+" into this one's")
			}
		}
	}
	if err := n.keys(); err != nil {
		return err
	}
	own := installation{
		Version: installationVersion, Origin: n.origin, Node: n.did, LogKey: n.signer.Verifier().String(),
	}
	if there == nil {
		if there, err = n.install(ctx, &own); err != nil {
			return err
		}
	}
	switch {
	case there.Origin != own.Origin:
		return coffer.Errorf(op, coffer.Invalid,
			"the other nodes on this database have another origin: give all of them the same --origin")
	case there.Node != own.Node || there.LogKey != own.LogKey:
		return coffer.Errorf(op, coffer.Invalid, "the other nodes on this database have other keys: "+copies)
	}
	return nil
}

// keys reads the node's keys, and makes them at the first start.
func (n *Node) keys() (err error) {
	if n.ring, err = identity(n.config.Data); err != nil {
		return err
	}
	n.did = n.ring.DID()
	n.signer, err = n.config.signer(n.origin)
	return err
}
