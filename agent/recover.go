package agent

import (
	"context"
	"errors"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/keyring"
)

// recoveryRecord is what the owner's devices know of the recovery phrase: enough to seal the keys to it anew after
// each rotation, and nothing that opens them.
type recoveryRecord struct {
	Public base64url `json:"public"`
	Place  placeJSON `json:"place"`
	Node   string    `json:"node"`
	Since  time.Time `json:"since"`
	Keys   []int     `json:"keys"` // what the last bundle held: kept
}

const (
	recoveryType = "Recovery"
	recoveryPath = reserved + "/recovery"
)

// recoveryPlace is where the bundle for a phrase is left.
func recoveryPlace(r *keyring.Recovery) openPlace {
	secret := r.Secret()
	return openPlace{ID: r.ID(), Key: placeKey(secret[:], "coffer recovery place 1")}
}

// recovery returns the record of the phrase; nil if there is none.
func (v *view) recovery(ctx context.Context) (*recoveryRecord, error) {
	r := new(recoveryRecord)
	err := v.value(ctx, recoveryPath, r)
	if errors.Is(err, coffer.NotExist) {
		return nil, nil
	}
	return r, err
}

func (a *Agent) sealRecovery(ctx context.Context, ring *keyring.Ring, r *recoveryRecord) error {
	place, err := r.Place.place()
	if err != nil {
		return err
	}
	b := a.bundle(r.Node)
	if b.Sealed, err = ring.SealBundle(r.Public); err != nil {
		return err
	}
	return a.putBundle(ctx, place, b)
}

// SetRecovery seals the keys, and what else a device needs, to a recovery phrase, in the place of the phrase that there
// was. From then on each rotation does so again. Node is the provider's origin. Whoever has the phrase and the vault's
// URL has everything.
func (a *Agent) SetRecovery(ctx context.Context, phrase *keyring.Recovery, node string) error {
	ring, err := a.ring("recovery")
	if err != nil {
		return err
	}
	v, err := a.look(ctx)
	if err != nil {
		return err
	}
	if v.stale {
		return coffer.Errorf("recovery", coffer.Conflict, "keys were rotated, and that is not settled")
	}
	before, err := v.recovery(ctx)
	if err != nil {
		return err
	}
	r := &recoveryRecord{
		Public: phrase.Public(), Place: newPlaceJSON(recoveryPlace(phrase)), Node: node,
		Since: a.Now().UTC().Truncate(time.Second), Keys: kept(ring),
	}
	if err := a.sealRecovery(ctx, ring, r); err != nil {
		return err
	}
	if err := a.commit(ctx, func(ctx context.Context, t *txn) error {
		return t.putValue(ctx, recoveryPath, recoveryType, r)
	}); err != nil {
		return err
	}
	if before == nil || before.Place.ID == r.Place.ID {
		return nil
	}
	return a.dropRecovery(ctx, before)
}

func (a *Agent) dropRecovery(ctx context.Context, r *recoveryRecord) error {
	place, err := r.Place.place()
	if err != nil {
		return err
	}
	return a.dropOpen(ctx, place)
}

// Recovery returns since when there is a recovery phrase. NotExist if there is none.
func (a *Agent) Recovery(ctx context.Context) (since time.Time, err error) {
	v, err := a.look(ctx)
	if err != nil {
		return since, err
	}
	r, err := v.recovery(ctx)
	if err == nil && r == nil {
		err = coffer.Errorf("recovery", coffer.NotExist, "there is no recovery phrase")
	}
	if err != nil {
		return since, err
	}
	return r.Since, nil
}

// EndRecovery makes the recovery phrase one that opens nothing. NotExist if there is none.
func (a *Agent) EndRecovery(ctx context.Context) error {
	v, err := a.look(ctx)
	if err != nil {
		return err
	}
	r, err := v.recovery(ctx)
	if err == nil && r == nil {
		err = coffer.Errorf("recovery", coffer.NotExist, "there is no recovery phrase")
	}
	if err != nil {
		return err
	}
	if err := a.dropRecovery(ctx, r); err != nil {
		return err
	}
	return a.commit(ctx, func(ctx context.Context, t *txn) error { return t.removeValue(ctx, recoveryPath) })
}

// Recover returns what the recovery phrase opens in the vault with the URL. NotExist if nothing is there: the phrase is
// another one, or was replaced. The restored keyring has a device of its own, for [Agent.AddDevice]; the devices that
// were lost are to be removed.
func Recover(ctx context.Context, door Door, vault string, phrase *keyring.Recovery) (*Legacy, error) {
	nobody := keyring.Generate()
	defer nobody.Close()
	b, author, err := readBundle(ctx, door, vault, recoveryPlace(phrase), nobody)
	if err != nil {
		return nil, err
	}
	ring, err := phrase.Open(b.Sealed)
	if err != nil {
		return nil, err
	}
	return b.legacy(ring, author)
}
