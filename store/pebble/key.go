package pebble

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/cofferhq/coffer"
)

// The tables of a vault; see the package's comment.
const (
	chunkTable  = 'c'
	docTable    = 'd'
	feedTable   = 'f'
	headTable   = 'h'
	nameTable   = 'n'
	keptTable   = 'r'
	usageTable  = 's'
	tagTable    = 't'
	uniqueTable = 'u'
)

// Where the parts of a key of a vault are.
const (
	vaultAt = 1
	tableAt = vaultAt + 16
	restAt  = tableAt + 1
	idLen   = 16
	hashLen = 16
)

// restLen returns how long a key of the table is beyond its table; -1 if there is no such table.
func restLen(table byte) int {
	switch table {
	case usageTable:
		return 0
	case docTable, headTable:
		return idLen
	case feedTable:
		return 8
	case chunkTable, keptTable:
		return idLen + 16
	case nameTable, tagTable:
		return hashLen + idLen
	case uniqueTable:
		return hashLen
	}
	return -1
}

// What keys begin with.
const (
	vaultKeys  = 1 // those of vaults
	dueKeys    = 2 // the queue of kept revisions
	traceKeys  = 3 // what Rebuild notes and removes again
	dueLen     = 1 + 8 + 16 + idLen + 8
	dueVaultAt = 1 + 8
)

var formatKey = []byte("\x00format")

// A key is built in a buffer of the caller's: each function appends to b.

func appendTable(b []byte, v coffer.VaultID, table byte) []byte {
	b = append(b, vaultKeys)
	b = append(b, v[:]...)
	return append(b, table)
}

func appendObject(b []byte, v coffer.VaultID, table byte, id coffer.ObjectID) []byte {
	return append(appendTable(b, v, table), id[:]...)
}

func appendChange(b []byte, v coffer.VaultID, number uint64) []byte {
	return binary.BigEndian.AppendUint64(appendTable(b, v, feedTable), number)
}

func appendChunk(b []byte, v coffer.VaultID, id coffer.ObjectID, set, index uint64) []byte {
	b = appendObject(b, v, chunkTable, id)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, set), index)
}

// appendKept makes the key of a kept revision, which was replaced at a time in milliseconds.
func appendKept(b []byte, v coffer.VaultID, id coffer.ObjectID, sequence, time uint64) []byte {
	b = appendObject(b, v, keptTable, id)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, sequence), time)
}

// appendDueTime makes the least key of the queue that has the time.
func appendDueTime(b []byte, time uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, dueKeys), time)
}

// appendDue makes the key of a kept revision in the queue.
func appendDue(b []byte, v coffer.VaultID, id coffer.ObjectID, sequence, time uint64) []byte {
	b = appendDueTime(b, time)
	b = append(b, v[:]...)
	b = append(b, id[:]...)
	return binary.BigEndian.AppendUint64(b, sequence)
}

// appendTrace makes the key under which Rebuild notes the last change of an object.
func appendTrace(b []byte, v coffer.VaultID, id coffer.ObjectID) []byte {
	n := len(b)
	b = appendObject(b, v, headTable, id)
	b[n] = traceKeys
	return b
}

// A keptName is what a kept revision is known by within its object.
type keptName struct{ sequence, time uint64 }

// keptAt reads the end of the key of a kept revision, which has the right length.
func keptAt(key []byte) (coffer.ObjectID, keptName) {
	rest := key[restAt:]
	return coffer.ObjectID(rest[:idLen]),
		keptName{binary.BigEndian.Uint64(rest[idLen:]), binary.BigEndian.Uint64(rest[idLen+8:])}
}

// dueAt reads a key of the queue, which has the right length.
func dueAt(key []byte) (v coffer.VaultID, id coffer.ObjectID, n keptName) {
	rest := key[dueVaultAt:]
	copy(v[:], rest)
	copy(id[:], rest[len(v):])
	n = keptName{binary.BigEndian.Uint64(rest[len(v)+idLen:]), binary.BigEndian.Uint64(key[1:])}
	return v, id, n
}

// appendTerm makes the key of a term up to where the object follows.
func appendTerm(b []byte, v coffer.VaultID, t term) []byte {
	b = append(b, vaultKeys)
	b = append(b, v[:]...)
	return append(b, t[:]...)
}

// bounds returns the least key of a vault and the least one beyond it.
func bounds(v coffer.VaultID) (lower, upper []byte) {
	return appendTable(nil, v, 0), appendTable(nil, v, 0xff)
}

// after returns the least key beyond all that begin with prefix, whose last byte is not 0xff or which has another.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// next returns the id that follows, or false after the greatest.
func next(id coffer.ObjectID) (coffer.ObjectID, bool) {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			return id, true
		}
	}
	return id, false
}

// A term is what documents are found by: a table and the hash of a tag or of a tag's name.
type term [1 + hashLen]byte

func termOf(table byte, texts ...string) (t term) {
	b := make([]byte, 0, 256)
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	t[0] = table
	copy(t[1:], sum[:])
	return t
}

func tagTerm(key, name, value string) term { return termOf(tagTable, key, name, value) }
func nameTerm(key, name string) term       { return termOf(nameTable, key, name) }

// An index is the terms of a document, sorted, without duplicates. Those of unique tags stand there three times: as a
// name, as a tag and as unique.
type index []term

func indexOf(tags []coffer.Tag) index {
	x := make(index, 0, 2*len(tags)+1)
	for i := range tags {
		t := &tags[i]
		tag := tagTerm(t.Key, t.Name, t.Value)
		x = append(x, tag, nameTerm(t.Key, t.Name))
		if t.Unique {
			tag[0] = uniqueTable
			x = append(x, tag)
		}
	}
	slices.SortFunc(x, compareTerms)
	return slices.Compact(x)
}

// uniques returns the terms of unique tags: the end of the index, since theirs is the last table.
func (x index) uniques() index {
	i := len(x)
	for i > 0 && x[i-1][0] == uniqueTable {
		i--
	}
	return x[i:]
}

func compareTerms(a, b term) int { return bytes.Compare(a[:], b[:]) }

// differ calls gone for the terms of old that are not in x, and come for those of x that are not in old.
func (x index) differ(old index, gone, come func(term)) {
	for len(x) > 0 || len(old) > 0 {
		order := 1
		switch {
		case len(old) == 0:
			order = -1
		case len(x) > 0:
			order = compareTerms(x[0], old[0])
		}
		switch {
		case order < 0:
			come(x[0])
			x = x[1:]
		case order > 0:
			gone(old[0])
			old = old[1:]
		default:
			x, old = x[1:], old[1:]
		}
	}
}
