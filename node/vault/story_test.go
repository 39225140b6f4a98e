package vault_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
)

// A story has people and Alice's vault.
type story struct {
	*testing.T
	vaults            *coffertest.Vaults
	alice, bob, carol coffer.Keyring
	id                coffer.VaultID
	url               string
	v                 *vault.View // as Alice
}

func tell(t *testing.T, limits vault.Limits) *story {
	t.Helper()
	s := &story{T: t, vaults: coffertest.NewVaults(t, limits)}
	s.alice, s.bob, s.carol = coffertest.Person(t, "alice"), coffertest.Person(t, "bob"), coffertest.Person(t, "carol")
	s.id, s.url = s.vaults.NewVault(t, s.alice)
	s.v = s.as(s.alice, nil)
	return s
}

// as returns the vault as somebody sees it, by a capability or claiming to be its controller.
func (s *story) as(who coffer.Keyring, capability []byte) *vault.View {
	s.Helper()
	return s.vaults.As(s.vaults.Caller(s, who, s.url, capability), s.id)
}

// delegate returns a capability for what is below the vault's URL at path. parent is the vault's URL if empty.
func (s *story) delegate(from coffer.Keyring, parent string, to coffer.Keyring, path string, actions ...grant.Action) []byte {
	s.Helper()
	if parent == "" {
		parent = s.url
	}
	now, life := s.vaults.Now(), time.Hour
	if parent != s.url { // the parent may be a second older
		life = time.Hour / 2
	}
	c, err := grant.Delegate(s.Context(), from, parent, grant.DelegateOptions{
		Controller: to.DID(), Target: s.url + path, Actions: actions, Created: now, Expires: now.Add(life),
	})
	if err != nil {
		s.Fatalf("delegate: %v", err)
	}
	return c
}

func (s *story) want(err error, kind coffer.Kind, what string) {
	s.Helper()
	if kind == coffer.Other && err != nil || kind != coffer.Other && !errors.Is(err, kind) {
		s.Errorf("%s: %v, want %v", what, err, kind)
	}
}

// works is the kind of no error in tables.
const works = coffer.Other

func document(size int) *coffer.Document {
	return &coffer.Document{ID: coffer.NewObjectID(), Body: bytes.Repeat([]byte("b"), size)}
}

func (s *story) put(d *coffer.Document) *coffer.Document {
	s.Helper()
	if _, err := coffer.Put(s.Context(), s.v, d); err != nil {
		s.Fatalf("put: %v", err)
	}
	return d
}

func chunk(sequence, index uint64, size int) (coffer.ChunkRef, []byte) {
	b := bytes.Repeat([]byte("c"), size)
	return coffer.ChunkRef{Sequence: sequence, Index: index, Size: int64(size), Sum: sha256.Sum256(b)}, b
}

func putChunk(ctx context.Context, v *vault.View, id coffer.ObjectID, index uint64, size int) error {
	ref, b := chunk(0, index, size)
	return v.PutChunk(ctx, id, ref, bytes.NewReader(b))
}

// files returns how many of the vault's chunks lie on the disk, below a folder with the vault's name.
func (s *story) files() (n int) {
	s.Helper()
	name := hex.EncodeToString(s.id[:])
	err := filepath.WalkDir(s.vaults.Chunks, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, name) {
			n++
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *story) changes(v *vault.View) (all []coffer.Change, err error) {
	for c, err := range v.Changes(s.Context(), "", false) {
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (s *story) config() *coffer.Config {
	s.Helper()
	c, err := s.v.Config(s.Context())
	if err != nil {
		s.Fatalf("config: %v", err)
	}
	return c
}
