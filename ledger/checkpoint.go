package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/cofferhq/coffer"
)

// A Checkpoint says what a log is at one size (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string // which log: see [Origin]
	Size   uint64 // number of leaves
	Root   Hash   // of the tree of these leaves
}

// Bounds on what comes from outside.
const (
	MaxNote = 16 << 10 // bytes of a signed checkpoint, witnesses' signatures included
	maxName = 512      // bytes of an origin, and of a key's name
	maxKey  = 1024     // bytes of a verifier key
)

// Origin returns the name of the log of the vault with the URL: the URL without its scheme. Given a node's origin, it
// returns the name of the node's key.
func Origin(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		return rest
	}
	return url
}

// checkName accepts what may name a log or a key: not empty, at most maxName bytes, UTF-8 without spaces, control
// characters and "+".
func checkName(s string) error {
	bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+' }
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, bad) {
		return coffer.Errorf("ledger", coffer.Invalid, "not a name for a log or a key")
	}
	return nil
}

// text returns the text that is signed: three lines.
func (c *Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// parseCheckpoint reads just what text writes.
func parseCheckpoint(text string) (c Checkpoint, err error) {
	malformed := coffer.Errorf("checkpoint", coffer.Corrupt, "malformed")
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) != 4 || lines[3] != "" || checkName(lines[0]) != nil {
		return c, malformed
	}
	size, err := strconv.ParseUint(lines[1], 10, 53)
	if err != nil {
		return c, malformed
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return c, malformed
	}
	c = Checkpoint{Origin: lines[0], Size: size, Root: Hash(root)}
	if c.text() != text || size == 0 && c.Root != emptyRoot {
		return Checkpoint{}, malformed
	}
	return c, nil
}

// A Signer signs checkpoints with a node's key.
type Signer struct {
	name string
	hash uint32
	key  ed25519.PrivateKey
}

// ed25519Type is the type of an Ed25519 key in a signed note.
const ed25519Type = 1

// NewSigner returns a signer with the key, which is called name: the node's origin without its scheme. Invalid if one
// of them is not what it should be.
func NewSigner(name string, key ed25519.PrivateKey) (*Signer, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, coffer.Errorf("checkpoint key", coffer.Invalid, "not an Ed25519 private key")
	}
	public := key.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(append(append([]byte(name), '\n', ed25519Type), public...))
	return &Signer{name, binary.BigEndian.Uint32(sum[:4]), key}, nil
}

// Verifier returns what checks the signer's signatures.
func (s *Signer) Verifier() *Verifier {
	text, err := note.NewEd25519VerifierKey(s.name, s.key.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err) // the key's length has been checked
	}
	v, err := ParseVerifier(text)
	if err != nil {
		panic(err) // what was made is not what is read
	}
	return v
}

// A noteSigner signs notes.
type noteSigner struct{ *Signer }

func (s noteSigner) Name() string                    { return s.name }
func (s noteSigner) KeyHash() uint32                 { return s.hash }
func (s noteSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// A Verifier checks the signatures of one node's key.
type Verifier struct {
	text string
	list note.Verifiers
}

// ParseVerifier reads a verifier key as C2SP signed-note writes it: name, key hash and key, with "+" between. Invalid
// if it is malformed, too long, or not of an Ed25519 key.
func ParseVerifier(text string) (*Verifier, error) {
	const op = "checkpoint key"
	if len(text) > maxKey {
		return nil, coffer.Errorf(op, coffer.Invalid, "too long")
	}
	v, err := note.NewVerifier(text)
	if err != nil || checkName(v.Name()) != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "not a verifier key")
	}
	return &Verifier{text, note.VerifierList(v)}, nil
}

// String returns the verifier key as text.
func (v *Verifier) String() string { return v.text }

// Sign returns the checkpoint as a signed note. Invalid if it is not a possible one.
func Sign(s *Signer, c Checkpoint) ([]byte, error) {
	const op = "sign checkpoint"
	if err := checkName(c.Origin); err != nil {
		return nil, err
	}
	if c.Size > MaxSize || c.Size == 0 && c.Root != emptyRoot {
		return nil, coffer.Errorf(op, coffer.Invalid, "size out of range, or not the root of that size")
	}
	b, err := note.Sign(&note.Note{Text: c.text()}, noteSigner{s})
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	return b, nil
}

// Open returns the checkpoint that the note holds. Corrupt unless the note is one of the log with this origin, signed
// with the verifier's key, without extension lines. Signatures by others are passed over.
func Open(v *Verifier, origin string, signed []byte) (Checkpoint, error) {
	const op = "checkpoint"
	if len(signed) > MaxNote || bytes.IndexByte(signed, 0) >= 0 {
		return Checkpoint{}, coffer.Errorf(op, coffer.Corrupt, "malformed")
	}
	n, err := note.Open(signed, v.list)
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified) || errors.As(err, &invalid):
		return Checkpoint{}, coffer.Errorf(op, coffer.Corrupt, "not signed with the node's key")
	case err != nil:
		return Checkpoint{}, coffer.Errorf(op, coffer.Corrupt, "malformed")
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != origin {
		return Checkpoint{}, coffer.Errorf(op, coffer.Corrupt, "of another log")
	}
	return c, nil
}
