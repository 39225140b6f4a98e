package ledger

import (
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cofferhq/coffer"
)

// tileHeight is the height of a tile, TileWidth how many hashes a full one has (C2SP tlog-tiles).
const (
	tileHeight = 8
	TileWidth  = 1 << tileHeight
)

// A Tile names a run of hashes of a log: those of the subtrees of TileWidth^Level leaves, from the one with the index
// Number*TileWidth on. A full tile has TileWidth of them and never changes.
type Tile struct {
	Level  int
	Number uint64
}

// A Source returns at least the first width hashes of a tile, 1 to TileWidth of them.
type Source func(t Tile, width int) ([]Hash, error)

// ReadHashes implements [tlog.HashReader]: it asks for each tile once, and for no more of it than is needed.
func (s Source) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	type place struct{ from, width int }
	places := make([]place, len(indexes))
	wanted := make(map[Tile][]int, 8) // which of the indexes
	var order []Tile
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		r := level % tileHeight
		t := Tile{Level: level / tileHeight, Number: uint64(n) >> (tileHeight - r)}
		places[i] = place{int(uint64(n)<<r) % TileWidth, 1 << r}
		if wanted[t] == nil {
			order = append(order, t)
		}
		wanted[t] = append(wanted[t], i)
	}
	hashes := make([]tlog.Hash, len(indexes))
	for _, t := range order {
		width := 0
		for _, i := range wanted[t] {
			width = max(width, places[i].from+places[i].width)
		}
		tile, err := s(t, width)
		if err != nil {
			return nil, err
		}
		if len(tile) < width {
			return nil, coffer.Errorf("log", coffer.Corrupt, "a tile is too short")
		}
		for _, i := range wanted[t] {
			hashes[i] = tlog.Hash(perfectRoot(tile[places[i].from:][:places[i].width]))
		}
	}
	return hashes, nil
}

// perfectRoot returns the root over hashes of equal height, whose number is a power of two.
func perfectRoot(hashes []Hash) Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	row := make([]Hash, len(hashes)/2)
	for {
		for i := range len(hashes) / 2 {
			row[i] = nodeHash(hashes[2*i], hashes[2*i+1])
		}
		if len(hashes) == 2 {
			return row[0]
		}
		hashes = row[:len(hashes)/2]
	}
}

// An Edge is the growing side of a log that is kept in tiles: those that are not full, one for each level. The zero
// Edge is that of the empty log.
type Edge struct {
	size  uint64
	tiles [][]Hash // by level
}

// EdgeAt returns the edge of a log that has grown to the size, out of tiles that are full, and at level 0 of the one
// that is not.
func EdgeAt(size uint64, s Source) (*Edge, error) {
	const op = "log"
	if size > MaxSize {
		return nil, coffer.Errorf(op, coffer.Invalid, "size out of range")
	}
	e := &Edge{size: size}
	for level, n := 0, size; n > 0; level, n = level+1, n/TileWidth {
		tile := make([]Hash, 0, TileWidth)
		first, width := n-n%TileWidth, int(n%TileWidth)
		if level == 0 && width > 0 {
			hashes, err := s(Tile{Number: first / TileWidth}, width)
			if err != nil {
				return nil, err
			}
			if len(hashes) < width {
				return nil, coffer.Errorf(op, coffer.Corrupt, "a tile is too short")
			}
			tile = append(tile, hashes[:width]...)
		}
		for i := len(tile); i < width; i++ {
			below, err := s(Tile{Level: level - 1, Number: first + uint64(i)}, TileWidth)
			if err != nil {
				return nil, err
			}
			root, err := TileRoot(below)
			if err != nil {
				return nil, err
			}
			tile = append(tile, root)
		}
		e.tiles = append(e.tiles, tile)
	}
	return e, nil
}

// TileRoot returns the root over a full tile: its hash in the tile above. Corrupt if it is not full.
func TileRoot(hashes []Hash) (Hash, error) {
	if len(hashes) != TileWidth {
		return Hash{}, coffer.Errorf("log", coffer.Corrupt, "a tile is not full")
	}
	return perfectRoot(hashes), nil
}

// Size returns the number of leaves.
func (e *Edge) Size() uint64 { return e.size }

// Append adds the hash of one more leaf and calls full with each tile that it fills, lowest level first.
func (e *Edge) Append(leaf Hash, full func(Tile, []Hash)) {
	for level := 0; ; level++ {
		if level == len(e.tiles) {
			e.tiles = append(e.tiles, make([]Hash, 0, TileWidth))
		}
		e.tiles[level] = append(e.tiles[level], leaf)
		if len(e.tiles[level]) < TileWidth {
			break
		}
		tile := e.tiles[level]
		e.tiles[level] = make([]Hash, 0, TileWidth)
		full(Tile{Level: level, Number: e.size >> (tileHeight * (level + 1))}, tile)
		leaf = perfectRoot(tile)
	}
	e.size++
}

// Source returns a source that answers with the edge's own tiles, and asks full for those that are full. It is good
// until the next Append.
func (e *Edge) Source(full Source) Source {
	return func(t Tile, width int) ([]Hash, error) {
		n := e.size >> (tileHeight * t.Level) // hashes at this level
		if t.Number < n/TileWidth {
			return full(t, width)
		}
		if t.Number > n/TileWidth || width > int(n%TileWidth) || t.Level >= len(e.tiles) {
			return nil, coffer.Errorf("log", coffer.Invalid, "beyond the end of the log")
		}
		return slices.Clip(e.tiles[t.Level]), nil
	}
}
