package jose

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// IntegrityInput returns the 64 bytes that the proof of a document signs with the cryptosuite eddsa-jcs-2022 (Data
// Integrity EdDSA Cryptosuites v1.0, section 3.3): the SHA-256 of the canonical JSON of "proof" without its "proofValue",
// and that of the document without "proof". It fails when the proof is no object, or a member is not strict JSON.
func IntegrityInput(document map[string]json.RawMessage) ([]byte, error) {
	var proof map[string]json.RawMessage
	if err := Decode(document["proof"], &proof); err != nil {
		return nil, err
	}
	if proof == nil {
		return nil, errors.New("no proof")
	}
	document = maps.Clone(document)
	delete(document, "proof")
	delete(proof, "proofValue")
	p, err := canonicalMembers(proof)
	if err != nil {
		return nil, err
	}
	d, err := canonicalMembers(document)
	if err != nil {
		return nil, err
	}
	a, b := sha256.Sum256(p), sha256.Sum256(d)
	return slices.Concat(a[:], b[:]), nil
}

func canonicalMembers(members map[string]json.RawMessage) ([]byte, error) {
	b, err := Encode(members)
	if err != nil {
		return nil, err
	}
	return Canonical(b)
}
