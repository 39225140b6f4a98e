package ledger

import (
	"bytes"
	"encoding/base64"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Evidence is proof for anybody that a node signed two checkpoints of one log that cannot both be true: a log that only
// grows has one root for each size, and the log of a later size begins with that of an earlier.
type Evidence struct {
	Older []byte // signed note
	Newer []byte // signed note of a log at least as long

	// For checkpoints of different sizes: Proof shows, by RFC 6962, that the log of Newer goes on from the log of Older's
	// size with the root Prefix, which is not Older's.
	Proof  []Hash
	Prefix Hash
}

// MaxEvidence bounds encoded evidence, in bytes.
const MaxEvidence = 4*MaxNote + MaxProof*64 + 1024

// evidenceText is Evidence as JSON.
type evidenceText struct {
	Version int      `json:"version"`
	Older   string   `json:"older"`
	Newer   string   `json:"newer"`
	Proof   []string `json:"proof,omitempty"`
	Prefix  string   `json:"prefix,omitempty"`
}

// Encode returns the evidence as JSON; doc/ledger.md says what it has.
func (e *Evidence) Encode() ([]byte, error) {
	w := evidenceText{Version: 1, Older: string(e.Older), Newer: string(e.Newer)}
	for _, h := range e.Proof {
		w.Proof = append(w.Proof, encodeHash(h))
	}
	if len(e.Proof) > 0 {
		w.Prefix = encodeHash(e.Prefix)
	}
	b, err := jose.Encode(w)
	if err != nil {
		return nil, coffer.E("evidence", coffer.Invalid, err)
	}
	return b, nil
}

// DecodeEvidence reads what [Evidence.Encode] writes; anything else is Corrupt. It checks nothing: see
// [Evidence.Check].
func DecodeEvidence(b []byte) (*Evidence, error) {
	const op = "evidence"
	var w evidenceText
	if len(b) > MaxEvidence || jose.Decode(b, &w) != nil || w.Version != 1 ||
		len(w.Older) > MaxNote || len(w.Newer) > MaxNote ||
		len(w.Proof) > MaxProof || (len(w.Proof) == 0) != (w.Prefix == "") {
		return nil, coffer.Errorf(op, coffer.Corrupt, "malformed")
	}
	e := &Evidence{Older: []byte(w.Older), Newer: []byte(w.Newer)}
	for _, text := range w.Proof {
		h, err := decodeHash(text)
		if err != nil {
			return nil, err
		}
		e.Proof = append(e.Proof, h)
	}
	if w.Prefix != "" {
		var err error
		if e.Prefix, err = decodeHash(w.Prefix); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Check returns nil if the evidence proves that the holder of the key forked the log with this origin. Corrupt if a
// checkpoint is not one of that log, signed with that key; Invalid if both may be true. It needs nothing but what it is
// given, so that anybody who knows the node's key can judge.
func (e *Evidence) Check(v *Verifier, origin string) error {
	const op = "evidence"
	older, err := Open(v, origin, e.Older)
	if err != nil {
		return err
	}
	newer, err := Open(v, origin, e.Newer)
	if err != nil {
		return err
	}
	if older.Size == newer.Size {
		if older.Root == newer.Root || len(e.Proof) > 0 {
			return coffer.Errorf(op, coffer.Invalid, "the checkpoints do not contradict each other")
		}
		return nil
	}
	prefix := Checkpoint{older.Origin, older.Size, e.Prefix}
	if older.Size == 0 || e.Prefix == older.Root || CheckConsistency(e.Proof, prefix, newer) != nil {
		return coffer.Errorf(op, coffer.Invalid, "the checkpoints do not contradict each other by this proof")
	}
	return nil
}

// Contradiction returns the evidence that two notes of one log, both signed with the key, contradict each other. They
// do by themselves if they are of one size. Otherwise proof is the consistency proof that the node gave between the
// two: if it leads to the newer root from another root than the older one, it convicts the node by its own words.
// (Not if the older size is a power of two: then a proof states no older root. Any other older checkpoint will do.)
//
// NotExist if no contradiction shows, Corrupt if a note is not the log's.
func Contradiction(v *Verifier, origin string, a, b []byte, proof []Hash) (*Evidence, error) {
	older, err := Open(v, origin, a)
	if err != nil {
		return nil, err
	}
	newer, err := Open(v, origin, b)
	if err != nil {
		return nil, err
	}
	if older.Size > newer.Size {
		older, newer, a, b = newer, older, b, a
	}
	e := &Evidence{Older: bytes.Clone(a), Newer: bytes.Clone(b)}
	if older.Size < newer.Size {
		e.Prefix, _ = prefixRoot(proof, older.Size, newer.Size)
		e.Proof = append(e.Proof, proof...)
	}
	if e.Check(v, origin) != nil {
		return nil, coffer.Errorf("evidence", coffer.NotExist, "no contradiction shows")
	}
	return e, nil
}

func encodeHash(h Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

func decodeHash(text string) (Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(Hash{}) || len(text) != base64.StdEncoding.EncodedLen(len(b)) {
		return Hash{}, coffer.Errorf("hash", coffer.Corrupt, "malformed")
	}
	return Hash(b), nil
}
