package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/store"
)

// logs are the Merkle logs of vaults. Nothing of them is made when something is written: what the feed holds is hashed
// when a checkpoint or a proof is asked for, and kept as tiles in the vault's tile vault. All of it is derived from the
// feed and is made anew where it is missing.
type logs struct {
	signer *ledger.Signer // nil: no checkpoints
	open   *lru.Cache[coffer.VaultID, *openLog]
	tiles  *lru.Cache[tilePlace, []ledger.Hash]
}

// Bounds on what is kept in memory: an open log has up to 255 hashes for each level, a tile 256 of them.
const (
	openLogs   = 512
	tilesKept  = 2048    // 16 MiB
	tilesWrite = 64      // tiles in one commit
	catchUp    = 1 << 20 // changes that are hashed for one request
)

// An openLog is the growing side of a vault's log. Who uses it holds busy.
type openLog struct {
	busy chan struct{}
	edge *ledger.Edge // nil until it was read
	note []byte       // the last checkpoint
	size uint64       // its size
}

type tilePlace struct {
	vault coffer.VaultID
	tile  ledger.Tile
}

func newLogs(signer *ledger.Signer) logs {
	open, err := lru.New[coffer.VaultID, *openLog](openLogs)
	if err != nil {
		panic(err) // only for a size below one
	}
	tiles, err := lru.New[tilePlace, []ledger.Hash](tilesKept)
	if err != nil {
		panic(err)
	}
	return logs{signer, open, tiles}
}

// tileVault returns the vault that holds a vault's tiles.
func tileVault(id coffer.VaultID) coffer.VaultID { return derived("coffer tiles", id[:]) }

// tileID is where a tile is kept.
func tileID(t ledger.Tile) (id coffer.ObjectID) {
	copy(id[:], "tile")
	id[7] = byte(t.Level)
	binary.BigEndian.PutUint64(id[8:], t.Number)
	return id
}

// tileVersion is the first byte of a tile's body; the hashes follow.
const tileVersion = 1

var _ ledger.Log = (*View)(nil)

// Checkpoint implements [ledger.Log].
func (v *View) Checkpoint(ctx context.Context) (note []byte, err error) {
	err = v.log(ctx, "/checkpoint", func(r *logReader) error {
		if err := r.grow(); err != nil {
			return err
		}
		l, size := r.log, r.log.edge.Size()
		if l.note == nil || l.size != size {
			root, err := ledger.RootAt(size, r.source())
			if err != nil {
				return err
			}
			c := ledger.Checkpoint{Origin: ledger.Origin(v.url), Size: size, Root: root}
			if l.note, err = ledger.Sign(v.s.logs.signer, c); err != nil {
				return err
			}
			l.size = size
		}
		note = bytes.Clone(l.note)
		return nil
	})
	return note, err
}

// Consistency implements [ledger.Log].
func (v *View) Consistency(ctx context.Context, from, to uint64) (proof [][32]byte, err error) {
	err = v.log(ctx, "/proof/consistency", func(r *logReader) error {
		if err := r.reach(to); err != nil {
			return err
		}
		proof, err = ledger.ProveConsistency(from, to, r.source())
		return err
	})
	return proof, err
}

// Inclusion implements [ledger.Log].
func (v *View) Inclusion(ctx context.Context, index, size uint64) (proof [][32]byte, err error) {
	err = v.log(ctx, "/proof/inclusion", func(r *logReader) error {
		if err := r.reach(size); err != nil {
			return err
		}
		proof, err = ledger.ProveInclusion(index, size, r.source())
		return err
	})
	return proof, err
}

// log decides whether the caller may read the feed, or just what is at the place in it, and gives use the vault's log.
func (v *View) log(ctx context.Context, at string, use func(*logReader) error) error {
	const op = "log"
	c, err := v.admit(ctx, grant.Read, v.url+"/changes", v.url+"/history", v.url+at)
	switch {
	case err != nil:
		return err
	case v.s.logs.signer == nil:
		return coffer.Errorf(op, coffer.NotExist, "this node signs no checkpoints")
	case c.Erased:
		return logEnded()
	}
	l, ok := v.s.logs.open.Get(v.id)
	if !ok {
		l = &openLog{busy: make(chan struct{}, 1)}
		if present, ok, _ := v.s.logs.open.PeekOrAdd(v.id, l); ok {
			l = present
		}
	}
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	}
	r := &logReader{ctx: ctx, s: v.s, id: v.id, log: l, left: catchUp}
	// What was hashed is kept even if the request fails: the next one goes on there.
	return errors.Join(use(r), r.flush())
}

func logEnded() error {
	return coffer.Errorf("log", coffer.NotExist, "the log ended with its vault")
}

// A logReader reads a vault's log for one request, and makes what is missing of it.
type logReader struct {
	ctx   context.Context
	s     *Service
	id    coffer.VaultID
	log   *openLog
	left  int           // changes that may still be hashed
	fresh []ledger.Tile // full tiles that are not stored yet, and their hashes
	made  [][]ledger.Hash
}

func (r *logReader) source() ledger.Source { return r.log.edge.Source(r.tile) }

// reach makes sure that the log is there up to the size, if the feed is.
func (r *logReader) reach(size uint64) error {
	if err := r.start(); err != nil || size <= r.log.edge.Size() {
		return err
	}
	return r.grow()
}

// start reads the growing side of the log up to the last full tile.
func (r *logReader) start() error {
	if r.log.edge != nil {
		return nil
	}
	u, err := r.s.disk(r.id).Usage(r.ctx, r.id)
	if err != nil {
		return err
	}
	edge, err := ledger.EdgeAt(u.Changes-u.Changes%ledger.TileWidth, r.tile)
	if err != nil {
		return err
	}
	r.log.edge = edge
	return nil
}

// grow adds all that the feed holds.
func (r *logReader) grow() error {
	if err := r.start(); err != nil {
		return err
	}
	edge := r.log.edge
	return r.read(edge.Size(), ledger.MaxSize, func(leaf ledger.Hash) error {
		edge.Append(leaf, r.keep)
		return r.flushMany()
	})
}

// read hashes the changes with numbers greater than after, up to so many of them.
func (r *logReader) read(after, most uint64, add func(ledger.Hash) error) error {
	if most == 0 {
		return nil
	}
	last := after
	for c, err := range r.s.disk(r.id).Changes(r.ctx, r.id, after) {
		switch {
		case err != nil:
			return err
		case c.Kind == coffer.VaultErased:
			return logEnded()
		case c.Number != last+1:
			return coffer.Errorf("log", coffer.Corrupt, "the feed has a gap")
		case r.left == 0:
			return coffer.Errorf("log", coffer.Unavailable, "a long log is being caught up with")
		}
		r.left--
		if err := add(ledger.LeafHash(c)); err != nil {
			return err
		}
		if last = c.Number; last-after == most {
			return nil
		}
	}
	return nil
}

// tile is a [ledger.Source] of the vault's full tiles: from memory, from the store, or made of what lies below.
func (r *logReader) tile(t ledger.Tile, _ int) ([]ledger.Hash, error) {
	if tile, ok := r.s.logs.tiles.Get(tilePlace{r.id, t}); ok {
		return tile, nil
	}
	d, err := r.s.disk(r.id).Get(r.ctx, tileVault(r.id), tileID(t))
	if err == nil {
		if tile, ok := decodeTile(d.Body); ok {
			r.s.logs.tiles.Add(tilePlace{r.id, t}, tile)
			return tile, nil
		}
	} else if k := coffer.KindOf(err); k != coffer.NotExist && k != coffer.Corrupt {
		return nil, err
	}
	tile := make([]ledger.Hash, 0, ledger.TileWidth)
	first := t.Number * ledger.TileWidth
	if t.Level == 0 {
		err := r.read(first, ledger.TileWidth, func(leaf ledger.Hash) error {
			tile = append(tile, leaf)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for i := uint64(len(tile)); t.Level > 0 && i < ledger.TileWidth; i++ {
		below, err := r.tile(ledger.Tile{Level: t.Level - 1, Number: first + i}, ledger.TileWidth)
		if err != nil {
			return nil, err
		}
		root, err := ledger.TileRoot(below)
		if err != nil {
			return nil, err
		}
		tile = append(tile, root)
	}
	if len(tile) != ledger.TileWidth {
		return nil, coffer.Errorf("log", coffer.Corrupt, "the feed is shorter than its log")
	}
	r.keep(t, tile)
	return tile, r.flushMany()
}

func decodeTile(b []byte) ([]ledger.Hash, bool) {
	if len(b) != 1+ledger.TileWidth*len(ledger.Hash{}) || b[0] != tileVersion {
		return nil, false
	}
	tile := make([]ledger.Hash, ledger.TileWidth)
	for i := range tile {
		tile[i] = ledger.Hash(b[1+i*len(ledger.Hash{}):])
	}
	return tile, true
}

// keep remembers a tile that was made, to be stored.
func (r *logReader) keep(t ledger.Tile, tile []ledger.Hash) {
	r.s.logs.tiles.Add(tilePlace{r.id, t}, tile)
	r.fresh, r.made = append(r.fresh, t), append(r.made, tile)
}

// flushMany stores the tiles that were made, if there are enough for a commit.
func (r *logReader) flushMany() error {
	if len(r.fresh) < tilesWrite {
		return nil
	}
	return r.flush()
}

// flush stores the tiles that were made, unless the vault has been erased meanwhile: then nothing of it may come back.
func (r *logReader) flush() error {
	if len(r.fresh) == 0 {
		return nil
	}
	ctx, disk := context.WithoutCancel(r.ctx), r.s.disk(r.id)
	// What erases the vault moves the law of its tile vault, too. It is read first, and whether there is a vault then, not
	// in what is remembered: so the end is seen here, or keeps the commit from happening.
	u, err := disk.Usage(ctx, tileVault(r.id))
	if err != nil {
		return err
	}
	d, err := disk.Get(ctx, own, coffer.ObjectID(r.id))
	if err != nil {
		return err
	}
	c, err := readRecord(d)
	if err != nil {
		return err
	}
	writes := make([]store.Write, len(r.fresh))
	for i, t := range r.fresh {
		body := make([]byte, 1, 1+ledger.TileWidth*len(ledger.Hash{}))
		body[0] = tileVersion
		for _, h := range r.made[i] {
			body = append(body, h[:]...)
		}
		d := &coffer.Document{ID: tileID(t), Body: body}
		writes[i] = store.Write{Vault: tileVault(r.id), Time: r.s.now(), Document: d, Law: &u.Law}
	}
	r.fresh, r.made = nil, nil
	if c.Erased {
		return logEnded()
	}
	_, err = disk.Apply(ctx, writes...)
	switch {
	case errors.Is(err, store.ErrMoved):
		return logEnded()
	case !errors.Is(err, coffer.Conflict):
		return err
	}
	// Another node on the same store made one of them, too, or one was erased: ids are not taken twice.
	for _, w := range writes {
		_, err := disk.Apply(ctx, w)
		switch {
		case errors.Is(err, store.ErrMoved):
			return logEnded()
		case err != nil && !errors.Is(err, coffer.Conflict):
			return err
		}
	}
	return nil
}
