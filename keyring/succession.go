package keyring

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
)

// A succession is a signing key that another one came after, and what both say to that.
type succession struct {
	former    [ed25519.PublicKeySize]byte
	signed    [ed25519.SignatureSize]byte // by the former key
	confirmed [ed25519.SignatureSize]byte // by its successor
}

// successionMessage returns what the former key signs: purpose coffer.Statement. The successor signs it with the former
// key's signature after it.
func successionMessage(former, next []byte) []byte {
	from, _ := didKey(former)
	to, _ := didKey(next)
	return []byte("coffer-succession/1\n" + from + "\n" + to + "\n")
}

func succeed(former, next ed25519.PrivateKey) (s succession) {
	copy(s.former[:], former[ed25519.SeedSize:])
	m := successionMessage(s.former[:], next[ed25519.SeedSize:])
	copy(s.signed[:], ed25519.Sign(former, m))
	copy(s.confirmed[:], ed25519.Sign(next, append(m, s.signed[:]...)))
	return s
}

// leadsTo reports whether both keys signed that the former's identity goes on under the next.
func (s *succession) leadsTo(next []byte) bool {
	m := successionMessage(s.former[:], next)
	return !bytes.Equal(s.former[:], next) && ed25519.Verify(s.former[:], m, s.signed[:]) &&
		ed25519.Verify(next, append(m, s.signed[:]...), s.confirmed[:])
}

// FormerDIDs returns the names that the identity had, oldest first.
func (r *Ring) FormerDIDs() []string {
	dids := make([]string, len(r.former))
	for i := range r.former {
		dids[i], _ = didKey(r.former[i].former[:])
	}
	return dids
}

// A succession in text: the prefix, and in base64url a version, a key, and up to 63 times what two keys signed and the
// second key.
const (
	successionPrefix  = "coffer-succession:"
	successionVersion = 1
	successionLink    = 2*ed25519.SignatureSize + ed25519.PublicKeySize
	maxSuccession     = 1 + ed25519.PublicKeySize + (maxGenerations-1)*successionLink
)

// Succession returns the statement, signed by all keys from that of a former DID to the present one, that the identity
// which had that name has the present one. It is public. NotExist if did is none of FormerDIDs.
func (r *Ring) Succession(did string) (string, error) {
	i := slices.Index(r.FormerDIDs(), did)
	if i < 0 {
		return "", coffer.Errorf("succession", coffer.NotExist, "the identity did not have that name")
	}
	b := append([]byte{successionVersion}, r.former[i].former[:]...)
	for ; i < len(r.former); i++ {
		b = slices.Concat(b, r.former[i].signed[:], r.former[i].confirmed[:], r.public(i+1))
	}
	return successionPrefix + encode(b), nil
}

// public returns the public key of Signing generation n, forgotten or not.
func (r *Ring) public(n int) []byte {
	if n < len(r.former) {
		return r.former[n].former[:]
	}
	return r.names[len(r.names)-1].signing.Public
}

// VerifySuccession returns the DIDs that a statement made by [Ring.Succession] leads from and to, having checked all
// signatures; it needs nothing else. It is Invalid if the statement is malformed, Corrupt if a signature is not right.
//
// It proves that who had the keys of the first name chose the second. Whoever stole these keys can have done so, too.
func VerifySuccession(statement string) (from, to string, err error) {
	const op = "succession"
	text, found := strings.CutPrefix(statement, successionPrefix)
	if !found || len(text) > (maxSuccession+2)/3*4 {
		return "", "", coffer.Errorf(op, coffer.Invalid, "not a statement of succession")
	}
	b, ok := decode(text)
	links := len(b) - 1 - ed25519.PublicKeySize
	if !ok || links < successionLink || links%successionLink != 0 || len(b) > maxSuccession ||
		b[0] != successionVersion {
		return "", "", coffer.Errorf(op, coffer.Invalid, "malformed, or of a newer version")
	}
	key, b := b[1:1+ed25519.PublicKeySize], b[1+ed25519.PublicKeySize:]
	from, _ = didKey(key)
	for len(b) > 0 {
		next := b[2*ed25519.SignatureSize : successionLink]
		s := succession{
			[ed25519.PublicKeySize]byte(key), [ed25519.SignatureSize]byte(b), [ed25519.SignatureSize]byte(b[64:128]),
		}
		if !s.leadsTo(next) {
			return "", "", coffer.Errorf(op, coffer.Corrupt, "a signature is not right")
		}
		key, b = next, b[successionLink:]
	}
	to, _ = didKey(key)
	return from, to, nil
}
