package keyring

import (
	"bytes"
	"crypto/rand"
	"slices"

	"github.com/cofferhq/coffer"
)

// A Use is what has generations of its own.
type Use uint8

// The uses. Their numbers stand for them in no file.
const (
	Signing  Use = 1 // the signing key and its agreement key; a new generation has a new DID
	Delivery Use = 2 // the delivery key
	HMAC     Use = 3 // the HMAC key and its id
	Vault    Use = 4 // the secret behind Derive and Pseudonym
)

// allUses are the uses in the order in which files have them.
var allUses = [...]Use{Signing, Delivery, HMAC, Vault}

// maxGenerations bounds how many generations of one use are kept, and how many signing keys there can ever be.
const maxGenerations = 64

// Generations returns how many generations of a use there have been, forgotten ones too: the newest is number
// Generations-1, the first was 0. It is 0 for an unknown use.
func (r *Ring) Generations(use Use) int {
	if use < Signing || use > Vault {
		return 0
	}
	return r.first[use] + r.count[use]
}

// At returns the identity as of generation n of one use, and the newest of all others. It is closed with the Ring.
// NotExist if there is no such generation, or it was forgotten.
//
// To find what may have been written under an earlier vault secret, go from Generations(Vault)-1 down until NotExist.
func (r *Ring) At(use Use, n int) (coffer.Owner, error) {
	if n >= r.Generations(use) || n < 0 || n < r.first[use] {
		return nil, coffer.Errorf("generation", coffer.NotExist, "there is no such generation, or it was forgotten")
	}
	v := r.newest()
	v.at[use] = n - r.first[use]
	return v, nil
}

// Earlier returns keyrings that together have every earlier signing, agreement, delivery and HMAC key that is kept,
// newest first; none if nothing was rotated. They are for finding the key that an envelope or an index names. Each is
// a coffer.Owner with the newest vault secret, and is closed with the Ring.
func (r *Ring) Earlier() []coffer.Keyring {
	n := max(r.count[Signing], r.count[Delivery], r.count[HMAC]) - 1
	earlier := make([]coffer.Keyring, 0, n)
	for back := 1; back <= n; back++ {
		v := r.newest()
		for _, use := range []Use{Signing, Delivery, HMAC} {
			v.at[use] = max(v.at[use]-back, 0)
		}
		earlier = append(earlier, v)
	}
	return earlier
}

// Rotated returns the identity with one more generation, of random keys, of each of these uses; of all if none is
// named. The earlier ones stay usable. With Signing it gets another DID, and the old and the new key sign that it goes
// on under it ([Ring.Succession]). It has a device, a new one if r has none. Both Rings are to be closed.
//
// Put it into the file ([Replace]) before anything is done with it.
//
// Invalid for an unknown use, Exhausted if 64 generations are kept, or there have been 64 signing keys; Locked once the
// Ring is closed.
func (r *Ring) Rotated(uses ...Use) (*Ring, error) {
	const op = "rotate keys"
	if len(uses) == 0 {
		uses = allUses[:]
	}
	for i, use := range uses {
		switch {
		case use < Signing || use > Vault:
			return nil, coffer.Errorf(op, coffer.Invalid, "unknown use")
		case slices.Contains(uses[:i], use):
			return nil, coffer.Errorf(op, coffer.Invalid, "a use is named twice")
		case r.count[use] >= maxGenerations || use == Signing && r.Generations(use) >= maxGenerations:
			return nil, coffer.Errorf(op, coffer.Exhausted, "there are as many generations as can be")
		}
	}
	return r.changed(op, func(s *secrets, c *Ring) {
		for _, use := range uses {
			seed := make([]byte, 32)
			rand.Read(seed)
			s.seeds[use] = append(s.seeds[use], seed)
			switch use {
			case Signing:
				next, _ := newSigner(seed)
				last, _ := newSigner(s.seeds[use][len(s.seeds[use])-2])
				c.former = append(c.former, succeed(last.signing, next.signing))
				clear(next.signing)
				clear(next.agreement)
				clear(last.signing)
				clear(last.agreement)
			case HMAC:
				var id [16]byte
				rand.Read(id[:])
				c.hmacIDs = append(c.hmacIDs, uuid(id))
			}
		}
	})
}

// Forget returns the identity without the generations of a use that are before the given one. What they alone could
// open or find is lost for it: first everything must have been encrypted anew. FormerDIDs and Succession are as before.
// Both Rings are to be closed, and the new one replaces the file.
//
// The delivery key and vault secret of an imported identity's generation 0 follow from its first signing seed and HMAC
// key, so they are truly gone only when one of these is, too.
//
// Invalid for an unknown use and if no generation would stay, Locked once the Ring is closed.
func (r *Ring) Forget(use Use, before int) (*Ring, error) {
	const op = "forget keys"
	if before < 0 || before >= r.Generations(use) {
		return nil, coffer.Errorf(op, coffer.Invalid, "no generation would stay")
	}
	return r.changed(op, func(s *secrets, c *Ring) {
		n := max(before-c.first[use], 0)
		for _, seed := range s.seeds[use][:n] {
			clear(seed)
		}
		s.seeds[use] = s.seeds[use][n:]
		c.first[use] += n
		if use == HMAC {
			c.hmacIDs = c.hmacIDs[n:]
		}
	})
}

// changed returns a Ring made of copies of what is in r and changed by f, which gets the secrets, and a Ring that has
// just the first numbers, HMAC ids and successions. It has a device.
func (r *Ring) changed(op string, f func(*secrets, *Ring)) (*Ring, error) {
	s, err := r.copied(op)
	if err != nil {
		return nil, err
	}
	clear(s.root) // with it what is forgotten would be known
	s.root, s.imported = nil, false
	c := &Ring{first: r.first, hmacIDs: slices.Clone(r.hmacIDs), former: slices.Clone(r.former)}
	f(s, c)
	next := newRing(s, c.first, c.hmacIDs, c.former)
	next.setDevice(r.deviceID, s.device)
	return next, nil
}

// copied returns a copy of the secrets, without signers.
func (r *Ring) copied(op string) (*secrets, error) {
	c := new(secrets)
	err := r.use(op, func(s *secrets) error {
		c.root, c.imported, c.device = bytes.Clone(s.root), s.imported, bytes.Clone(s.device)
		for use := range s.seeds {
			for _, seed := range s.seeds[use] {
				c.seeds[use] = append(c.seeds[use], bytes.Clone(seed))
			}
		}
		return nil
	})
	return c, err
}
