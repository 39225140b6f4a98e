package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/pebble"
)

// A bare is an engine with the options of store/pebble that is given, for each document, as many records with keys and
// values as long as store/pebble was seen to write, in the same order, and does nothing else: it checks nothing, reads
// nothing, names no revision by its hash and counts no usage. What wait share a commit.
type bare struct {
	db     *engine.DB
	dir    string
	shape  []shape
	groups *grouper
	number atomic.Uint64 // of the last change
}

// A shape is a kind of record.
type shape struct {
	table byte
	count int // for each document
	key   int // bytes after the vault and the table
	value int
}

// The tables that are read, and where their keys have what; see store/pebble.
const (
	documentTable = 'd' // id
	feedTable     = 'f' // number
	tagTable      = 't' // hash, id
	tableAt       = 17
	hashLength    = 16
)

// bareCommitters is how many groups are on their way at once: one is put together while the other is being flushed.
const bareCommitters = 2

func openBare(ctx context.Context, c sideConfig) (side, error) {
	options, shapes, err := observe(ctx, c)
	if err != nil {
		return nil, err
	}
	db, err := engine.Open(c.Dir, options)
	if err != nil {
		return nil, err
	}
	b := &bare{db: db, dir: c.Dir, shape: shapes}
	b.number.Store(uint64(c.Documents))
	b.groups = newGrouper(bareCommitters, func(ds []*coffer.Document) error { return b.commit(ds) })
	return b, nil
}

// observe lets store/pebble write into a folder of its own, and returns the options of its engine and what records it
// wrote for a document.
func observe(ctx context.Context, c sideConfig) (_ *engine.Options, _ []shape, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(c.Dir), "observed-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := pebble.Open(dir, pebble.Options{Memory: c.Memory})
	if err != nil {
		return nil, nil, err
	}
	const observed = 140 // shares the values of commonName evenly
	o := &ours{store: s, vault: ourVault}
	if err := errors.Join(o.load(ctx, 0, observed), s.Close()); err != nil {
		return nil, nil, err
	}
	options, err := optionsOf(dir)
	if err != nil {
		return nil, nil, err
	}
	db, err := engine.Open(dir, options)
	if err != nil {
		return nil, nil, err
	}
	shapes, err := shapesOf(db, observed)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, nil, err
	}
	options, err = optionsOf(dir) // an engine keeps those that it was opened with
	return options, shapes, err
}

// optionsOf reads the options that an engine wrote into its folder.
func optionsOf(dir string) (*engine.Options, error) {
	files, err := filepath.Glob(filepath.Join(dir, "OPTIONS-*"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("an engine without options"), err)
	}
	text, err := os.ReadFile(slices.Max(files))
	if err != nil {
		return nil, err
	}
	o := &engine.Options{Logger: silent{}}
	err = o.Parse(string(text), &engine.ParseHooks{
		NewFilterPolicy: func(name string) (engine.FilterPolicy, error) {
			if p := bloom.FilterPolicy(10); p.Name() == name {
				return p, nil
			}
			return engine.NoFilterPolicy, nil
		},
		SkipUnknown: func(string, string) bool { return true },
	})
	return o, err
}

// silent is told what the engine does.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}

// Fatalf is called when the engine cannot go on.
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// shapesOf returns the kinds of records of which there is at least one for each of n documents.
func shapesOf(db *engine.DB, n int) (shapes []shape, err error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	seen := make(map[byte]*shape)
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		if len(key) <= tableAt || key[0] != 1 {
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		s := seen[key[tableAt]]
		if s == nil {
			s = &shape{table: key[tableAt]}
			seen[s.table] = s
		}
		s.count++
		s.key += len(key) - tableAt - 1
		s.value += len(value)
	}
	for _, s := range seen {
		if s.count < n {
			continue
		}
		shapes = append(shapes, shape{s.table, s.count / n, s.key / s.count, s.value / s.count})
	}
	slices.SortFunc(shapes, func(a, b shape) int { return int(a.table) - int(b.table) })
	return shapes, it.Error()
}

// prefix is how all keys begin.
var prefix = append([]byte{1, 1}, make([]byte, 15)...)

// appendKey makes the key of the i-th record of a kind.
func (b *bare) appendKey(key []byte, s shape, d *coffer.Document, i int, number uint64) []byte {
	key = append(append(key[:0], prefix...), s.table)
	if s.table == feedTable {
		return binary.BigEndian.AppendUint64(key, number)
	}
	if s.key >= 2*hashLength || s.table != documentTable && s.key == hashLength && s.value == hashLength {
		t := &d.Tags[i%len(d.Tags)]
		key = appendTag(key, s.table, t.Name, t.Value)
	}
	if s.key >= hashLength+len(d.ID) || s.key == len(d.ID) && len(key) == len(prefix)+1 {
		key = append(key, d.ID[:]...)
	}
	for len(key) < tableAt+1+s.key {
		key = append(key, 0)
	}
	return key[:tableAt+1+s.key]
}

func appendTag(key []byte, table byte, name, value string) []byte {
	text := make([]byte, 0, 256)
	text = append(text, table)
	text = append(append(text, tagKey...), name...)
	if table != 'n' { // names alone have a table, too
		text = append(text, value...)
	}
	sum := sha256.Sum256(text)
	return append(key, sum[:hashLength]...)
}

func (b *bare) commit(ds []*coffer.Document) error {
	batch := b.db.NewBatch()
	defer batch.Close()
	var key, value []byte
	for _, d := range ds {
		number := b.number.Add(1)
		for _, s := range b.shape {
			for i := range s.count {
				key = b.appendKey(key, s, d, i, number)
				value = slices.Grow(value[:0], s.value)[:s.value]
				if s.table == documentTable {
					copy(value[s.value-len(d.Body):], d.Body)
				} else if s.value == len(d.ID) {
					copy(value, d.ID[:])
				}
				if err := batch.Set(key, value, nil); err != nil {
					return err
				}
			}
		}
	}
	return batch.Commit(engine.Sync)
}

func (b *bare) insert(_ context.Context, n int) error { return b.groups.insert(n) }

func (b *bare) load(_ context.Context, from, to int) error { return b.commit(documents(from, to)) }

func (b *bare) get(_ context.Context, n int) error { return b.fetch(idOf(n)) }

// fetch reads a document and copies its body, as its reader may keep it.
func (b *bare) fetch(id coffer.ObjectID) error {
	value, closer, err := b.db.Get(append(append(slices.Clone(prefix), documentTable), id[:]...))
	if err != nil {
		return err
	}
	body := slices.Clone(value[len(value)-bodySize:])
	return errors.Join(sized(body), closer.Close())
}

func (b *bare) find(name, value string) (found int, err error) {
	lower := appendTag(append(slices.Clone(prefix), tagTable), tagTable, name, value)
	it, err := b.db.NewIter(&engine.IterOptions{LowerBound: lower, UpperBound: append(slices.Clone(lower), 0xff, 0xff, 0xff, 0xff)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := b.fetch(coffer.ObjectID(it.Key()[len(lower):])); err != nil {
			return found, err
		}
		found++
	}
	return found, it.Error()
}

func (b *bare) unique(_ context.Context, n int) (int, error) {
	return b.find(uniqueName, uniqueValue(n))
}
func (b *bare) shared(_ context.Context, n int) (int, error) {
	return b.find(sharedName, sharedValue(n))
}

func (b *bare) changes(_ context.Context, after int) (read int, err error) {
	lower := binary.BigEndian.AppendUint64(append(slices.Clone(prefix), feedTable), uint64(after+1))
	upper := append(slices.Clone(prefix), feedTable+1)
	it, err := b.db.NewIter(&engine.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	bytes := 0
	for ok := it.First(); ok && read < page; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return read, err
		}
		bytes += len(value)
		read++
	}
	return read, it.Error()
}

func (b *bare) rest(ctx context.Context) error { return settled(ctx, b.dir) }

func (b *bare) disk(context.Context) (int64, error)   { return folderSize(b.dir) }
func (b *bare) stored(context.Context) (int64, error) { return 0, nil }
func (b *bare) server() int                           { return 0 }

// Close closes the engine.
func (b *bare) Close() error {
	b.groups.Close()
	return b.db.Close()
}
