package agent

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// A Device is one of those that have the owner's keys.
type Device struct {
	ID    string // base64url of 16 random bytes
	Name  string
	Added time.Time
	This  bool // the one that asks
	// Current says that it has been left the present keys, or has made them.
	Current bool
	Lost    bool // it is being removed
}

// deviceRecord is a Device as the agent keeps it.
type deviceRecord struct {
	ID      base64url       `json:"id"`
	Name    string          `json:"name"`
	Public  base64url       `json:"public"` // of the device's key, to which bundles are sealed
	Added   time.Time       `json:"added"`
	Place   placeJSON       `json:"place"`            // where bundles are left for it
	Keys    []int           `json:"keys"`             // what the last one held: kept
	Pairing coffer.ObjectID `json:"pairing,omitzero"` // by which it joined
	Lost    []int           `json:"lost,omitempty"`   // the generations that it knows, once it is lost
}

const (
	deviceType   = "Device"
	deviceFolder = reserved + "/devices"
	maxDevices   = 100
)

// PairingTime is for how long a device can join by a pairing code.
const PairingTime = 10 * time.Minute

// kept says which generations of keys a keyring has: of each use how many there were, and the oldest that is kept.
func kept(r *keyring.Ring) (n []int) {
	for _, use := range uses {
		last := r.Generations(use) - 1
		oldest := last
		for oldest > 0 {
			if _, err := r.At(use, oldest-1); err != nil {
				break
			}
			oldest--
		}
		n = append(n, last+1, oldest)
	}
	return n
}

func devicePath(id []byte) string { return recordPath(deviceFolder, string(id)) }

// putValue makes one of the agent's own typed objects part of the commit.
func (t *txn) putValue(ctx context.Context, path, typ string, v any) error {
	b, err := jose.Encode(v)
	if err != nil {
		return coffer.E("record", coffer.Invalid, err)
	}
	c, err := (&Source{Value: b, Type: typ}).content(tree.Base(path), t.now)
	if err != nil {
		return err
	}
	if b, err = c.encode(); err != nil {
		return err
	}
	ref, there, err := t.target(ctx, path, typ, nil)
	if err != nil {
		return err
	}
	_, err = t.put(ctx, path, ref, there, c, seal.Plain{Content: b}, PutOptions{})
	return err
}

// removeValue makes the end of one of the agent's own typed objects part of the commit. Nothing there is no error.
func (t *txn) removeValue(ctx context.Context, path string) error {
	n, err := t.tree.Get(ctx, path)
	if errors.Is(err, coffer.NotExist) {
		return nil
	} else if err != nil {
		return err
	}
	t.erase(n.Ref.ID)
	return t.tree.Remove(ctx, path)
}

// devices returns the records of all devices.
func (v *view) devices(ctx context.Context) (list []*deviceRecord, err error) {
	for i, err := range v.list1(ctx, deviceFolder) {
		if errors.Is(err, coffer.NotExist) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		d := new(deviceRecord)
		if err := v.value(ctx, i.Path, d); err != nil {
			return nil, err
		}
		if len(d.ID) != 16 || devicePath(d.ID) != i.Path {
			return nil, coffer.Errorf("device", coffer.Corrupt, "another device's record")
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(x, y *deviceRecord) int { return x.Added.Compare(y.Added) })
	return list, nil
}

// device is the owner's view of a record.
func (r *deviceRecord) device(ring *keyring.Ring) Device {
	id, _ := ring.Device()
	d := Device{
		ID: base64.RawURLEncoding.EncodeToString(r.ID), Name: r.Name, Added: r.Added, Lost: r.Lost != nil,
		This: string(id[:]) == string(r.ID),
	}
	d.Current = !d.Lost && (d.This || slices.Equal(r.Keys, kept(ring)))
	return d
}

// Devices returns the devices that were noted, in the order in which they came.
func (a *Agent) Devices(ctx context.Context) (list []Device, err error) {
	ring, err := a.ring("devices")
	if err != nil {
		return nil, err
	}
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	records, err := v.devices(ctx)
	for _, r := range records {
		list = append(list, r.device(ring))
	}
	return list, err
}

// AddDevice notes this device under a name, and returns where keys will be left for it: a text that the device keeps
// beside its keyring, for [CatchUp]. A device that is noted already keeps its place; an empty name leaves it its name.
//
// Conflict if another device has the name; Invalid if it is longer than 64 bytes or has characters that do not print,
// and without a device in the keyring.
func (a *Agent) AddDevice(ctx context.Context, name string) (place string, err error) {
	return a.addDevice(ctx, name, coffer.ObjectID{})
}

func (a *Agent) addDevice(ctx context.Context, name string, pairing coffer.ObjectID) (place string, err error) {
	const op = "device"
	ring, err := a.ring(op)
	if err != nil {
		return "", err
	}
	id, public := ring.Device()
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case public == nil:
		return "", coffer.Errorf(op, coffer.Invalid, "the keyring has no device")
	case len(name) > 64 || !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		return "", coffer.Errorf(op, coffer.Invalid, "a device's name is too long, or does not print")
	}
	fresh := newPlaceJSON(newOpenPlace())
	err = a.commit(ctx, func(ctx context.Context, t *txn) error {
		list, err := t.devices(ctx)
		if err != nil {
			return err
		}
		d := &deviceRecord{ID: id[:], Public: public, Added: t.now, Place: fresh, Pairing: pairing}
		for _, other := range list {
			switch {
			case string(other.ID) == string(id[:]):
				d = other
			case other.Name == name && name != "":
				return coffer.Errorf(op, coffer.Conflict, "another device has this name")
			}
		}
		if len(list) >= maxDevices {
			return coffer.Errorf(op, coffer.Exhausted, "too many devices")
		}
		if name != "" {
			d.Name = name
		}
		d.Keys = kept(ring)
		place = textOfPlace(d.Place)
		return t.putValue(ctx, devicePath(d.ID), deviceType, d)
	})
	return place, err
}

// textOfPlace returns a place as a device keeps it.
func textOfPlace(w placeJSON) string {
	return w.ID.String() + "." + base64.RawURLEncoding.EncodeToString(w.Key)
}

func parsePlace(text string) (p openPlace, err error) {
	id, key, ok := strings.Cut(text, ".")
	if !ok || len(text) > 256 {
		return p, coffer.Errorf("place", coffer.Invalid, "no place")
	}
	w := placeJSON{}
	if w.ID, err = coffer.ParseObjectID(id); err != nil {
		return p, coffer.Errorf("place", coffer.Invalid, "no place")
	}
	if w.Key, ok = jose.Decode64(key); !ok {
		return p, coffer.Errorf("place", coffer.Invalid, "no place")
	}
	return w.place()
}

// LoseDevice begins to remove a device, given by its name or id: nothing more is left for it, and what is left is
// erased. It still has the keys that it has: [Agent.Rotate] all of them next, and [Agent.Settle], which takes the
// device off the list. Repeated, it has no effect.
//
// NotExist if there is no such device; Conflict for this one, which cannot remove itself, and for a name that several
// have.
func (a *Agent) LoseDevice(ctx context.Context, device string) error {
	const op = "device"
	ring, err := a.ring(op)
	if err != nil {
		return err
	}
	var place openPlace
	if err := a.commit(ctx, func(ctx context.Context, t *txn) error {
		list, err := t.devices(ctx)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(r *deviceRecord) bool {
			return device == "" || r.Name != device && base64.RawURLEncoding.EncodeToString(r.ID) != device
		})
		switch {
		case len(list) == 0:
			return coffer.Errorf(op, coffer.NotExist, "there is no such device")
		case len(list) > 1:
			return coffer.Errorf(op, coffer.Conflict, "several devices have this name")
		case list[0].device(ring).This:
			return coffer.Errorf(op, coffer.Conflict, "a device cannot remove itself")
		}
		d := list[0]
		if place, err = d.Place.place(); err != nil {
			return err
		}
		if d.Lost != nil {
			return nil
		}
		d.Lost = counts(ring)
		return t.putValue(ctx, devicePath(d.ID), deviceType, d)
	}); err != nil {
		return err
	}
	return a.dropOpen(ctx, place)
}

// A bundle is what is left at an open place for a device, or for who has a recovery phrase or a pairing code. Of the
// facts, a device that is there already needs none.
type bundle struct {
	Type    string    `json:"type"`
	Version int       `json:"version"`
	Vault   string    `json:"vault"` // URL
	Space   string    `json:"space"`
	Node    string    `json:"node,omitzero"`    // origin
	LogKey  string    `json:"logKey,omitzero"`  // of who signs the vault's checkpoints
	Seen    string    `json:"seen,omitzero"`    // the last checkpoint that was found good
	Expires time.Time `json:"expires,omitzero"` // of a pairing
	Sealed  base64url `json:"sealed"`           // the keys, in the form of doc/keyring.md, section "Bundles"
}

const (
	bundleType    = "coffer/bundle"
	bundleVersion = 1
	maxBundle     = 40 << 10 // bytes of sealed keys
)

// bundle returns the facts of this vault.
func (a *Agent) bundle(node string) bundle {
	b := bundle{
		Type: bundleType, Version: bundleVersion, Vault: a.URL, Space: a.Space, Node: node, Seen: a.feed.history.seen(),
	}
	if a.LogKey != nil {
		b.LogKey = a.LogKey.String()
	}
	return b
}

func (a *Agent) putBundle(ctx context.Context, at openPlace, b bundle) error {
	content, err := jose.Encode(b)
	if err != nil {
		return coffer.E("bundle", coffer.Invalid, err)
	}
	return a.putOpen(ctx, at, content)
}

// readBundle returns what is left at a place, and who left it.
func readBundle(ctx context.Context, door Door, vault string, p openPlace, k coffer.Owner) (*bundle, string, error) {
	nobody := &Agent{Options: Options{Keyring: k}}
	o, err := nobody.readOpen(ctx, door, vault, p)
	if err != nil {
		return nil, "", err
	}
	b, err := decodeBundle(o.Content)
	if err == nil && b.Vault != vault {
		err = coffer.Errorf("bundle", coffer.Corrupt, "left for another vault")
	}
	return b, o.Author, err
}

// decodeBundle reads what stands at an open place. Corrupt for what is none; Invalid when a newer program wrote it.
func decodeBundle(content []byte) (*bundle, error) {
	const op = "bundle"
	var b bundle
	if err := jose.DecodeOpen(content, &b); err != nil || b.Type != bundleType || b.Version < 1 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "not what should be there")
	}
	if b.Version != bundleVersion {
		return nil, coffer.Errorf(op, coffer.Invalid, "left by a newer program")
	}
	if len(b.Sealed) > maxBundle || len(b.Space) > maxText || len(b.Node) > 1024 || len(b.Vault) > 2048 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "too long")
	}
	return &b, nil
}

// owns reports whether an identity has, or had, this name.
func owns(r *keyring.Ring, did string) bool {
	return r.DID() == did || slices.Contains(r.FormerDIDs(), did)
}

// send leaves the keys for the devices, and for who has the recovery phrase, that were not left these yet, and returns
// the paths of their records.
func (a *Agent) send(ctx context.Context, v *view) (sent []string, err error) {
	ring, ok := a.Keyring.(*keyring.Ring)
	if !ok {
		return nil, nil
	}
	records, err := v.devices(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if d := r.device(ring); d.Current || d.Lost {
			continue
		}
		place, err := r.Place.place()
		if err != nil {
			return nil, err
		}
		b := a.bundle("")
		if b.Sealed, err = ring.SealBundle(r.Public); err != nil {
			return nil, err
		}
		if err := a.putBundle(ctx, place, b); err != nil {
			return nil, err
		}
		sent = append(sent, devicePath(r.ID))
	}
	r, err := v.recovery(ctx)
	if err != nil || r == nil || slices.Equal(r.Keys, kept(ring)) {
		return sent, err
	}
	return append(sent, recoveryPath), a.sealRecovery(ctx, ring, r)
}

// sent notes what was left for whom, and takes lost devices off the list whose keys are no good any more.
func (t *txn) sent(ctx context.Context, paths []string) error {
	ring, err := t.a.ring("settle")
	if err != nil {
		return nil // nothing was
	}
	t.touched = true
	records, err := t.devices(ctx)
	if err != nil {
		return err
	}
	id, _ := ring.Device()
	now := counts(ring)
	for _, r := range records {
		path := devicePath(r.ID)
		switch {
		case r.Lost != nil:
			if slices.ContainsFunc(uses, func(u keyring.Use) bool { return !since(now, r.Lost, u) }) {
				continue
			}
			if err := t.removeValue(ctx, path); err != nil {
				return err
			}
		case slices.Contains(paths, path) || string(r.ID) == string(id[:]):
			r.Keys = kept(ring)
			if err := t.putValue(ctx, path, deviceType, r); err != nil {
				return err
			}
		}
	}
	if !slices.Contains(paths, recoveryPath) {
		return nil
	}
	r, err := t.recovery(ctx)
	if err != nil || r == nil {
		return err
	}
	r.Keys = kept(ring)
	return t.putValue(ctx, recoveryPath, recoveryType, r)
}

// CatchUp returns the keyring of a device as another device left it after a rotation, at the place that the device
// keeps. It replaces the old one in its file, and both are to be closed. It needs no right in the vault: the provider
// may know another controller already.
//
// NotExist when nothing newer is left, as for a device that was removed; Conflict when both devices made new keys, and
// this one is to be paired again; otherwise the errors of the door and of [keyring.Ring.ReceiveBundle].
func CatchUp(ctx context.Context, door Door, vault string, ring *keyring.Ring, place string) (*keyring.Ring, error) {
	const op = "catch up"
	p, err := parsePlace(place)
	if err != nil {
		return nil, err
	}
	b, author, err := readBundle(ctx, door, vault, p, ring)
	if err != nil {
		return nil, err
	}
	next, err := ring.ReceiveBundle(b.Sealed)
	if err != nil {
		return nil, err
	}
	switch {
	case !owns(next, author):
		err = coffer.Errorf(op, coffer.Corrupt, "left by somebody else")
	case slices.Equal(kept(next), kept(ring)):
		err = coffer.Errorf(op, coffer.NotExist, "nothing newer is left for this device")
	}
	if err != nil {
		return nil, errors.Join(err, next.Close())
	}
	return next, nil
}

// pairingPlace is where a pairing's bundle is left.
func pairingPlace(p keyring.Pairing) openPlace {
	key := p.Key()
	return openPlace{ID: p.ID(), Key: placeKey(key[:], "coffer pairing place 1")}
}

func placeKey(secret []byte, label string) [32]byte {
	b, err := hkdf.Key(sha256.New, secret, nil, label, 32)
	if err != nil {
		panic("agent: HKDF refuses a fixed length")
	}
	return [32]byte(b)
}

// OfferPairing leaves the keys, and what else a new device needs, for who has the pairing's code, until
// [Agent.Withdraw]. Node is the provider's origin. After [PairingTime] no device takes it.
func (a *Agent) OfferPairing(ctx context.Context, p keyring.Pairing, node string) error {
	ring, err := a.ring("pairing")
	if err != nil {
		return err
	}
	if stale, err := a.Stale(ctx); err != nil {
		return err
	} else if stale {
		return coffer.Errorf("pairing", coffer.Conflict, "keys were rotated, and that is not settled")
	}
	b := a.bundle(node)
	b.Expires = a.Now().UTC().Add(PairingTime).Truncate(time.Second)
	if b.Sealed, err = ring.SealBundleUnder(p.Key()); err != nil {
		return err
	}
	return a.putBundle(ctx, pairingPlace(p), b)
}

// Withdraw erases what was left for a pairing, given by its ID. Nothing there is no error.
func (a *Agent) Withdraw(ctx context.Context, pairing coffer.ObjectID) error {
	return a.dropOpen(ctx, openPlace{ID: pairing})
}

// Joined returns the device that joined by a pairing; nil if none did yet.
func (a *Agent) Joined(ctx context.Context, p keyring.Pairing) (*Device, error) {
	ring, err := a.ring("pairing")
	if err != nil {
		return nil, err
	}
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	list, err := v.devices(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Pairing == p.ID() {
			d := r.device(ring)
			return &d, nil
		}
	}
	return nil, nil
}

// A Legacy is what a new device is given: all that it needs to be one of the owner's.
type Legacy struct {
	Ring   *keyring.Ring // with a device of its own; to be saved, and closed
	Vault  string        // URL
	Space  string
	Node   string // origin; may be empty
	LogKey string // of who signs the vault's checkpoints; may be empty
	Seen   string // the last checkpoint that another device found good, for [Agent.Hear]; may be empty
}

func (b *bundle) legacy(r *keyring.Ring, author string) (*Legacy, error) {
	if !owns(r, author) {
		return nil, errors.Join(coffer.Errorf("bundle", coffer.Corrupt, "left by somebody else"), r.Close())
	}
	return &Legacy{Ring: r, Vault: b.Vault, Space: b.Space, Node: b.Node, LogKey: b.LogKey, Seen: b.Seen}, nil
}

// OpenPairing returns what another device left for the pairing in the vault with the URL. NotExist if nothing is there:
// the code is another one, was used, or is over.
func OpenPairing(ctx context.Context, door Door, vault string, p keyring.Pairing, now time.Time) (*Legacy, error) {
	nobody := keyring.Generate()
	defer nobody.Close()
	b, author, err := readBundle(ctx, door, vault, pairingPlace(p), nobody)
	if err != nil {
		return nil, err
	}
	if !now.Before(b.Expires) {
		return nil, coffer.Errorf("pairing", coffer.NotExist, "the code is over")
	}
	ring, err := keyring.OpenBundleUnder(p.Key(), b.Sealed)
	if err != nil {
		return nil, err
	}
	return b.legacy(ring, author)
}

// Join notes this device as one that came by a pairing, and erases what was left for it. It is [Agent.AddDevice] for
// the rest, and can be repeated.
func (a *Agent) Join(ctx context.Context, p keyring.Pairing, name string) (place string, err error) {
	if place, err = a.addDevice(ctx, name, p.ID()); err != nil {
		return "", err
	}
	return place, a.Withdraw(ctx, p.ID())
}

// Hear compares a checkpoint that another device found good with the vault's history. Corrupt when they do not go
// together: the vault shows each device another history.
func (a *Agent) Hear(ctx context.Context, checkpoint string) error {
	if err := a.refresh(ctx); err != nil {
		return err
	}
	return a.hear(ctx, checkpoint)
}
