package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/binary"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/cofferhq/coffer"
)

// A Card is what one hands to others so that they can check one's signatures and send one keys.
type Card struct {
	DID      string
	Name     string           // what the card's owner wants to be called; may be empty, and proves nothing
	Signing  coffer.PublicKey // an Ed25519 key, which signed the card
	Delivery coffer.PublicKey // 1216 bytes
	// Proven says that the DID itself names the signing key, as a did:key does. Else the card proves nothing before the
	// caller has found Signing among the keys by which the DID's identity makes statements.
	Proven bool
}

// A card in text: the prefix and in base64url a version, four fields each after its length in two bytes, and the
// signature of cardMessage and all before it. The fields are the DID, the signing key's fragment, its 32 bytes, the
// delivery key's 1216, and the name.
const (
	cardPrefix  = "coffer-card:"
	cardVersion = 1
	cardMessage = "coffer-card/1\n"
	maxDID      = 1024
	maxName     = 256
	maxCard     = 1 + 2 + maxDID + 2 + maxDID + ed25519.PublicKeySize + deliverySize + 2 + maxName +
		ed25519.SignatureSize
)

// Card returns the identity's card as text, signed for the purpose coffer.Statement. The name may be empty. It is
// public. Invalid if the name is longer than 256 bytes or has characters that do not print; Locked once the Ring is
// closed.
func (r *Ring) Card(ctx context.Context, name string) (string, error) {
	name = norm.NFC.String(name)
	if !isName(name) {
		return "", coffer.Errorf("card", coffer.Invalid, "a name has at most 256 bytes, all of characters that print")
	}
	k := r.Key(coffer.SigningKey)
	_, fragment, _ := strings.Cut(k.ID, "#")
	b := appendField([]byte{cardVersion}, k.Controller)
	b = appendField(b, fragment)
	b = append(append(b, k.Public...), r.Key(coffer.DeliveryKey).Public...)
	b = appendField(b, name)
	signature, err := r.Sign(ctx, coffer.Statement, append([]byte(cardMessage), b...))
	if err != nil {
		return "", err
	}
	return cardPrefix + encode(append(b, signature...)), nil
}

func appendField(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// isName reports whether a name can be shown beside others: it has no line breaks, and nothing that turns the direction
// of writing. Joiners print nothing, but some scripts need them.
func isName(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsPrint(c) && c != '\u200c' && c != '\u200d'
	})
}

// ParseCard reads a card, with space around it or not, and checks its signature. It is Invalid if the card is malformed
// or of a newer version, Corrupt if the signature is not right.
func ParseCard(card string) (*Card, error) {
	const op = "card"
	malformed := coffer.Errorf(op, coffer.Invalid, "malformed, or of a newer version")
	text, found := strings.CutPrefix(strings.TrimSpace(card), cardPrefix)
	if !found || len(text) > (maxCard+2)/3*4 {
		return nil, coffer.Errorf(op, coffer.Invalid, "not a card")
	}
	b, ok := decode(text)
	if !ok || len(b) < 1+ed25519.SignatureSize || len(b) > maxCard || b[0] != cardVersion {
		return nil, malformed
	}
	signed, signature := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	rest := signed[1:]
	// take returns the next n bytes, field those after a length; nil once there are too few.
	take := func(n int) (taken []byte) {
		if n > len(rest) {
			ok, n = false, len(rest)
		}
		taken, rest = rest[:n], rest[n:]
		return taken
	}
	field := func(limit int) string {
		length := take(2)
		if len(length) < 2 || int(binary.BigEndian.Uint16(length)) > limit {
			ok = false
			return ""
		}
		return string(take(int(binary.BigEndian.Uint16(length))))
	}
	did, fragment := field(maxDID), field(maxDID)
	public, sealing, name := take(ed25519.PublicKeySize), take(deliverySize), field(maxName)
	if !ok || len(rest) > 0 || !isDID(did) || !isFragment(fragment) || !isName(name) {
		return nil, malformed
	}
	own, ownID := didKey(public)
	if strings.HasPrefix(did, "did:key:") && (did != own || did+"#"+fragment != ownID) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the DID is not that of the key")
	}
	if _, err := hpke.MLKEM768X25519().NewPublicKey(sealing); err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "the delivery key is none")
	}
	if !ed25519.Verify(public, slices.Concat([]byte(cardMessage), signed), signature) {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the signature is not right")
	}
	return &Card{
		DID: did, Name: name, Proven: did == own,
		Signing: coffer.PublicKey{
			ID: did + "#" + fragment, Controller: did, Type: "Ed25519VerificationKey2020", Public: bytes.Clone(public),
		},
		Delivery: delivery{bytes.Clone(sealing), deliveryFragment(sealing)}.key(did),
	}, nil
}

// isDID reports whether s may be a DID without a path, query or fragment (DID Core 1.0, section 3.1).
func isDID(s string) bool {
	method, rest, _ := strings.Cut(strings.TrimPrefix(s, "did:"), ":")
	return strings.HasPrefix(s, "did:") && method != "" && rest != "" && isFragment(method+rest) &&
		!strings.ContainsAny(rest, "/?")
}

// isFragment reports whether s may be the fragment of a key's id.
func isFragment(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' })
}
