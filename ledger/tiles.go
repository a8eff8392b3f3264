package ledger

import (
	"context"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// CheckpointPath is where C2SP tlog-tiles puts the signed head, beside the tiles.
const CheckpointPath = "checkpoint"

// maxTileLevel: C2SP tlog-tiles has levels 0 to 5; one tile of level 5 is over 2^48 entries.
const maxTileLevel = 5

// Tile names a tile: its level L, its number N and its width W. L is -1 where it is an entry bundle.
type Tile = tlog.Tile

// EntryTile tells whether a tile is an entry bundle. Those hold the leaves; the others hold hashes only.
func EntryTile(t Tile) bool { return t.L == -1 }

// FullTile tells whether a tile has all that it ever will.
func FullTile(t Tile) bool { return t.W == torchwood.TileWidth }

// TilePath is the path of a tile below a log's prefix, C2SP tlog-tiles: tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>].
func TilePath(t Tile) string { return torchwood.TilePath(t) }

// ParseTilePath reads what TilePath writes and nothing else.
func ParseTilePath(path string) (Tile, error) {
	t, err := torchwood.ParseTilePath(path)
	// Not every path that it reads is the one that it writes.
	if err != nil || t.H != torchwood.TileHeight || t.L < -1 || t.L > maxTileLevel || TilePath(t) != path {
		return Tile{}, remit.Errorf(remit.NotFound, "a tile is tile/LEVEL/NUMBER or tile/entries/NUMBER with the number as in x001/234 (C2SP tlog-tiles), not %.64q", path)
	}
	return t, nil
}

// ReadTile gives a tile of the log as it was at a size: up to 256 hashes, or up to 256 leaves each after its length in
// two bytes. NOT_FOUND for what was not there at that size.
func ReadTile(ctx context.Context, s Store, size uint64, t Tile) ([]byte, error) {
	there := size >> (torchwood.TileHeight * max(t.L, 0)) // hashes of that level
	if t.H != torchwood.TileHeight || t.L < -1 || t.L > maxTileLevel || t.N < 0 || t.W < 1 || t.W > torchwood.TileWidth ||
		uint64(t.N) > there/torchwood.TileWidth || uint64(t.N)*torchwood.TileWidth+uint64(t.W) > there {
		return nil, remit.Errorf(remit.NotFound, "the log has no such tile under its signed head, at %d entries", size)
	}
	if !EntryTile(t) {
		return tlog.ReadTileData(t, HashReader(ctx, s))
	}
	var b []byte
	next := remit.EntryIndex(t.N) * torchwood.TileWidth
	end := next + remit.EntryIndex(t.W)
	for e, err := range s.Read(ctx, next) {
		if err == nil {
			b, err = torchwood.AppendTileEntry(b, e.Leaf)
		}
		if err != nil {
			return nil, err
		}
		if next++; next == end {
			return b, nil
		}
	}
	return nil, damaged("it ends after %d of %d entries", next, size)
}

// WriteTiles writes a log as C2SP tlog-tiles: the signed head, its entry bundles, which fetch gives, and the tiles of
// hashes, which are computed from them. What does not give the root that was signed is refused, and so is what does not
// extend seen, the checkpoint that was written before, if any. The signed head is put last.
func WriteTiles(signed []byte, verifierKey string, seen Checkpoint, fetch func(Tile) ([]byte, error), put func(path string, content []byte) error) error {
	c, err := OpenCheckpoint(signed, verifierKey)
	if err != nil {
		return err
	}
	if c.Size < seen.Size {
		return remit.Errorf(remit.BadRequest, "the log has %d entries, but %d were seen before: its end was cut", c.Size, seen.Size)
	}
	var tree Tree
	var levels [][]byte // of each level the hashes of its last tile
	var add func(level int, h tlog.Hash) error
	add = func(level int, h tlog.Hash) error {
		if level == len(levels) {
			levels = append(levels, nil)
		}
		levels[level] = append(levels[level], h[:]...)
		if len(levels[level]) < torchwood.TileWidth*tlog.HashSize {
			return nil
		}
		full := levels[level]
		levels[level] = nil
		n := int64((tree.size - 1) >> (torchwood.TileHeight * (level + 1)))
		if err := put(TilePath(Tile{H: torchwood.TileHeight, L: level, N: n, W: torchwood.TileWidth}), full); err != nil {
			return err
		}
		return add(level+1, rootOf(full))
	}
	for tree.size < c.Size {
		t := Tile{H: torchwood.TileHeight, L: -1, N: int64(tree.size / torchwood.TileWidth), W: int(min(c.Size-tree.size, torchwood.TileWidth))}
		content, err := fetch(t)
		if err != nil {
			return err
		}
		rest := content
		for range t.W {
			var leaf []byte
			if leaf, rest, err = torchwood.ReadTileEntry(rest); err != nil {
				return remit.Errorf(remit.BadRequest, "%s does not hold %d entries: %w", TilePath(t), t.W, err)
			}
			h := tlog.RecordHash(leaf)
			tree.push(h, nil)
			if err := add(0, h); err != nil {
				return err
			}
			if tree.size == seen.Size && tree.Root() != seen.Root {
				return remit.Errorf(remit.BadRequest, "the first %d entries are not those that were seen before: the log was forked or changed", seen.Size)
			}
		}
		if len(rest) > 0 {
			return remit.Errorf(remit.BadRequest, "%s holds more than %d entries", TilePath(t), t.W)
		}
		if err := put(TilePath(t), content); err != nil {
			return err
		}
	}
	if tree.Root() != c.Root {
		return remit.Errorf(remit.BadRequest, "the entries do not give the root that was signed, at %d entries: the log was changed", c.Size)
	}
	for level, part := range levels {
		if len(part) == 0 {
			continue
		}
		n := int64(c.Size >> (torchwood.TileHeight * (level + 1)))
		if err := put(TilePath(Tile{H: torchwood.TileHeight, L: level, N: n, W: len(part) / tlog.HashSize}), part); err != nil {
			return err
		}
	}
	return put(CheckpointPath, signed)
}

// rootOf is the root of the complete tree over the hashes of a full tile.
func rootOf(tile []byte) tlog.Hash {
	var t Tree
	for ; len(tile) > 0; tile = tile[tlog.HashSize:] {
		t.push(tlog.Hash(tile[:tlog.HashSize]), nil)
	}
	return t.edge[0]
}
