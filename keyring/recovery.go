package keyring

import (
	"bytes"
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/tyler-smith/go-bip39"
	"golang.org/x/text/unicode/norm"

	"github.com/cofferhq/coffer"
)

// A Recovery is what follows from a recovery phrase: where a bundle for it is kept, and the key that opens it. It is a
// secret; it prints as nothing.
type Recovery struct {
	mute
	entropy func() [32]byte // a function, so that no verb of fmt reaches it through a copy
	public  []byte
}

// phraseWords is the number of words of a phrase, and maxPhrase the greatest length of its text in bytes.
const (
	phraseWords = 24
	maxPhrase   = 4 << 10
)

// NewPhrase returns 24 random English words (BIP-39, 256 bits). Whoever has them and can reach the bundle has the
// identity.
func NewPhrase() string {
	var entropy [32]byte
	rand.Read(entropy[:])
	return phrase(entropy)
}

func phrase(entropy [32]byte) string {
	words, err := bip39.NewMnemonic(entropy[:])
	if err != nil {
		panic("keyring: BIP-39 refuses 256 bits")
	}
	return words
}

// ParsePhrase reads a phrase as people type it: in capitals or not, with any space between. It is Invalid, and the
// reason says which word by its place, if there are not 24 words, one is not in the list, or they do not fit together.
func ParsePhrase(words string) (*Recovery, error) {
	const op = "recovery phrase"
	if len(words) > maxPhrase {
		return nil, coffer.Errorf(op, coffer.Invalid, "too long")
	}
	list := strings.Fields(strings.ToLower(norm.NFKD.String(words)))
	if len(list) != phraseWords {
		return nil, coffer.Errorf(op, coffer.Invalid, "it has 24 words, not "+strconv.Itoa(len(list)))
	}
	for i, w := range list {
		if _, ok := bip39.GetWordIndex(w); !ok {
			return nil, coffer.Errorf(op, coffer.Invalid, "word "+strconv.Itoa(i+1)+" is none of the list's")
		}
	}
	entropy, err := bip39.EntropyFromMnemonic(strings.Join(list, " "))
	if err != nil || len(entropy) != 32 {
		return nil, coffer.Errorf(op, coffer.Invalid,
			"each word is one of the list's, but they do not fit together: one is another's, or two are swapped")
	}
	r := &Recovery{entropy: func() [32]byte { return [32]byte(entropy) }}
	seed := r.derive("key", 32)
	defer clear(seed)
	r.public = deliveryPrivate(seed).PublicKey().Bytes()
	return r, nil
}

// derive returns n bytes that follow from the phrase and what they are for. The 256 bits are used as they are, without
// BIP-39's PBKDF2, as nobody can try them all.
func (r *Recovery) derive(label string, n int) []byte {
	entropy := r.entropy()
	defer clear(entropy[:])
	return derive(entropy[:], "coffer-recovery/1 "+label, n)
}

// ID returns the id of the object that the bundle is in.
func (r *Recovery) ID() coffer.ObjectID { return coffer.ObjectID(r.derive("object", 16)) }

// Secret returns the secret that admits to reading that object, an open one, without any capability.
func (r *Recovery) Secret() coffer.Secret { return coffer.Secret(r.derive("open", 32)) }

// Public returns the key to which bundles for the phrase are sealed, of 1216 bytes. With it each device can seal one
// after a rotation without the phrase. It is best kept where only the identity can read it: whoever has it can seal a
// bundle of another identity to the phrase.
func (r *Recovery) Public() []byte { return bytes.Clone(r.public) }

// Open returns the identity in a bundle that was sealed to Public, with a new device. It is Corrupt if it was not
// sealed to the phrase, Invalid if a newer version made it. Compare the DID with the one expected, if that is known.
func (r *Recovery) Open(sealed []byte) (*Ring, error) {
	seed := r.derive("key", 32)
	defer clear(seed)
	return openBundle(seed, sealed)
}
