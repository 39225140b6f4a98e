package ledger

import (
	"errors"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cofferhq/coffer"
)

// MaxProof is how many hashes a proof has at most: two for each level of the greatest log.
const MaxProof = 2 * 53

// RootAt returns the root of the first size leaves of a log.
func RootAt(size uint64, s Source) (Hash, error) {
	if size > MaxSize {
		return Hash{}, outOfRange()
	}
	h, err := tlog.TreeHash(int64(size), s)
	return Hash(h), proving(err)
}

// ProveConsistency returns the proof that the log of size to goes on from the log of size from (RFC 6962, section
// 2.1.2): without hashes if the sizes are equal or from is 0. Invalid unless from is at most to.
func ProveConsistency(from, to uint64, s Source) ([]Hash, error) {
	if from > to || to > MaxSize {
		return nil, outOfRange()
	}
	if from == 0 {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(to), int64(from), s)
	return plain(p), proving(err)
}

// ProveInclusion returns the proof that the leaf with the index stands in the log of that size (RFC 6962, section
// 2.1.1). Invalid unless index is less than size.
func ProveInclusion(index, size uint64, s Source) ([]Hash, error) {
	if index >= size || size > MaxSize {
		return nil, outOfRange()
	}
	p, err := tlog.ProveRecord(int64(size), int64(index), s)
	return plain(p), proving(err)
}

// CheckConsistency returns nil if the proof shows that newer goes on from older, which may not be longer. Corrupt if it
// does not: the log is forked, or the proof not one of these two.
func CheckConsistency(proof []Hash, older, newer Checkpoint) error {
	const op = "consistency proof"
	failed := coffer.Errorf(op, coffer.Corrupt, "the newer log does not go on from the older")
	if older.Origin != newer.Origin {
		return coffer.Errorf(op, coffer.Invalid, "of two logs")
	}
	if older.Size > newer.Size || newer.Size > MaxSize || len(proof) > MaxProof {
		return failed
	}
	if older.Size == 0 {
		if len(proof) > 0 || older.Root != emptyRoot || newer.Size == 0 && newer != older {
			return failed
		}
		return nil
	}
	t, n := int64(newer.Size), int64(older.Size)
	if tlog.CheckTree(hashed(proof), t, tlog.Hash(newer.Root), n, tlog.Hash(older.Root)) != nil {
		return failed
	}
	return nil
}

// CheckInclusion returns nil if the proof shows that the leaf with the index and the hash stands in the log. Corrupt if
// it does not.
func CheckInclusion(proof []Hash, index uint64, leaf Hash, log Checkpoint) error {
	if index < log.Size && log.Size <= MaxSize && len(proof) <= MaxProof &&
		tlog.CheckRecord(hashed(proof), int64(log.Size), tlog.Hash(log.Root), int64(index), tlog.Hash(leaf)) == nil {
		return nil
	}
	return coffer.Errorf("inclusion proof", coffer.Corrupt, "the log does not have this leaf there")
}

// prefixRoot returns the root of the first from leaves that a consistency proof states. One whose from is a power of
// two states none: there the verifier puts in what it knows.
func prefixRoot(proof []Hash, from, to uint64) (Hash, bool) {
	if from == 0 || from >= to || to > MaxSize || bits.OnesCount64(from) == 1 || len(proof) == 0 || len(proof) > MaxProof {
		return Hash{}, false
	}
	// The proof's first hash is the largest subtree that ends at from; each later hash that joins it from the left is a
	// part of the prefix (RFC 9162, section 2.1.4.2).
	n, last := from-1, to-1
	for n&1 == 1 {
		n, last = n>>1, last>>1
	}
	root := proof[0]
	for _, h := range proof[1:] {
		if last == 0 {
			return Hash{}, false
		}
		if n&1 == 1 || n == last {
			root = nodeHash(h, root)
			for n&1 == 0 && n != 0 {
				n, last = n>>1, last>>1
			}
		}
		n, last = n>>1, last>>1
	}
	return root, last == 0
}

func hashed(proof []Hash) []tlog.Hash {
	out := make([]tlog.Hash, len(proof))
	for i, h := range proof {
		out[i] = tlog.Hash(h)
	}
	return out
}

func plain(proof []tlog.Hash) []Hash {
	out := make([]Hash, len(proof))
	for i, h := range proof {
		out[i] = Hash(h)
	}
	return out
}

func outOfRange() error { return coffer.Errorf("log", coffer.Invalid, "no such place in the log") }

// proving gives what the source failed with its own kind.
func proving(err error) error {
	var e *coffer.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return coffer.E("log", coffer.Other, err)
}
