package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob/files"
)

// An endless store has a vault of one controller's under every id, and in it what is open to who knows secret 1.
type endless struct {
	store.Store
	controller string
	vault      coffer.VaultID // the one that is used
}

func (e *endless) Get(_ context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	switch {
	case v == e.vault:
		return admitting(id, secret(1)), nil
	case e.vault != coffer.VaultID(id):
		return nil, coffer.E("get", coffer.NotExist, nil)
	}
	body, err := json.Marshal(coffer.Config{ID: coffertest.Origin + "/edvs/" + e.vault.String(), Controller: e.controller,
		ReferenceID: "main", KeyAgreementKey: &coffer.KeyRef{ID: e.controller + "#key", Type: "X25519KeyAgreementKey2020"},
		HMAC: &coffer.KeyRef{ID: "urn:hmac:" + e.vault.String(), Type: "Sha256HmacKey2019"}})
	return &coffer.Document{ID: id, Body: body}, err
}

func (e *endless) Usage(context.Context, coffer.VaultID) (store.Usage, error) {
	return store.Usage{}, nil
}

func (e *endless) Count(context.Context, coffer.VaultID, coffer.Query) (int, error) { return 0, nil }

func (e *endless) Changes(context.Context, coffer.VaultID, uint64) iter.Seq2[coffer.Change, error] {
	return func(func(coffer.Change, error) bool) {}
}

func (e *endless) Apply(_ context.Context, writes ...store.Write) ([]store.Result, error) {
	return make([]store.Result, len(writes)), nil
}

// TestManyVaultsTakeLittleMemory uses twenty thousand vaults in every way that leaves something in memory.
func TestManyVaultsTakeLittleMemory(t *testing.T) {
	const many, most = 20_000, 1000 // vaults, and bytes for each
	if testing.Short() {
		t.Skip("takes seconds")
	}
	alice, bob := coffertest.Person(t, "alice"), coffertest.Person(t, "bob")
	disk := &endless{controller: alice.DID(), vault: coffer.NewVaultID()}
	chunks, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Verifying who calls takes long, and is not the point: the vaults have one URL, so that one caller is good for all.
	at := coffertest.NewVaultsOn(t, vault.Limits{}, disk, chunks)
	url := coffertest.Origin + "/edvs/" + disk.vault.String()
	asAlice := at.Caller(t, alice, url, nil)
	capability := delegateAt(t, alice, bob, url, "/documents", time.Now().Add(time.Hour), []string{"read"})
	asBob := at.Caller(t, bob, url, capability)
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	signer := coffertest.LogSigner(t, coffertest.Origin)
	s := vault.New(vault.Options{Store: disk, Blobs: chunks, Now: time.Now, Signer: signer,
		Limits: vault.Limits{Rate: 100, Bytes: 1 << 30}, Target: func(coffer.VaultID) string { return url }})
	for n := range many {
		disk.vault = coffer.NewVaultID()
		v := s.As(asAlice, disk.vault)
		_, countErr := s.As(asBob, disk.vault).Count(t.Context(), coffer.Query{})
		_, putErr := coffer.Put(t.Context(), v, document(10))
		_, messageErr := v.Deliver(t.Context(), message("x"))
		_, openErr := v.Opened(t.Context(), coffer.NewObjectID(), secret(1))
		if n < 2000 {
			_, err = v.Checkpoint(t.Context())
		}
		if err := errors.Join(countErr, putErr, messageErr, openErr, err); err != nil {
			t.Fatal(err)
		}
	}
	grown := heap() - before
	t.Logf("%d bytes for each of %d vaults", grown/many, many)
	if grown > many*most {
		t.Errorf("%d vaults take %d bytes each, want at most %d", many, grown/many, most)
	}
	runtime.KeepAlive(s)
}
