// Package pack reads one pack of a push in two passes with bounded memory.
//
// Ingest is the first pass: it copies the stream to a spool while it checks
// the framing of gitformat-pack(5), limits, delta bases and the trailer.
// Resolve is the second: it applies every delta, hashes every object with
// collision detection, parses commits, trees and tags as strictly as package
// object does, and keeps those three for later reading. Blobs are hashed and
// let go; Copy rebuilds one on request.
//
// One pass cannot do: an object's id is known only once its delta chain is
// applied, and bases may come behind what refers to them.
package pack

import (
	"fmt"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Error is how every refusal of this package reads; its codes are BAD_PACK,
// BAD_OBJECT, COLLISION, OBJECT_MISSING, TOO_LARGE and TOO_LARGE_TO_JUDGE.
// Other errors are failures of reading or writing, or of the context.
type Error = object.Error

// Limits bound one pack. A zero field takes the value of DefaultLimits.
type Limits struct {
	PackBytes     int64 // the pack as sent
	Objects       int   // objects in it
	ObjectBytes   int64 // one object, inflated and with its delta applied
	InflatedBytes int64 // all entries inflated, deltas not applied
	ResultBytes   int64 // all objects with deltas applied
	Ratio         int64 // inflated to sent bytes, checked above 64 MiB inflated
	Depth         int   // deltas between an object and its undeltified base
	MemoryBytes   int64 // objects held in memory at once; larger ones go to scratch files
	ScratchBytes  int64 // one scratch file
}

// DefaultLimits give a live heap below 64 MiB for any pack.
var DefaultLimits = Limits{
	PackBytes:     512 << 20,
	Objects:       400_000,
	ObjectBytes:   128 << 20,
	InflatedBytes: 2 << 30,
	ResultBytes:   8 << 30,
	Ratio:         300,
	Depth:         50,
	MemoryBytes:   16 << 20,
	ScratchBytes:  1 << 30,
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits
	for _, f := range []struct{ value, standard *int64 }{
		{&l.PackBytes, &d.PackBytes}, {&l.ObjectBytes, &d.ObjectBytes}, {&l.InflatedBytes, &d.InflatedBytes},
		{&l.ResultBytes, &d.ResultBytes}, {&l.Ratio, &d.Ratio}, {&l.MemoryBytes, &d.MemoryBytes}, {&l.ScratchBytes, &d.ScratchBytes},
	} {
		if *f.value <= 0 {
			*f.value = *f.standard
		}
	}
	if l.Objects <= 0 {
		l.Objects = d.Objects
	}
	if l.Depth <= 0 {
		l.Depth = d.Depth
	}
	l.Depth = min(l.Depth, maxDepth)
	return l
}

// The kinds of pack entries that are no objects themselves.
const (
	kindOffsetDelta = 6
	kindRefDelta    = 7
)

// maxDepth bounds Limits.Depth: a depth is a byte in the index, and Resolve
// recurses that deep.
const maxDepth = 200

// none stands for "no entry" in the links between entries.
const none int32 = -1

// entry is what the index knows of one object of the pack. There can be
// 400,000 of them, so it is kept to 64 bytes.
type entry struct {
	offset int64 // of its header in the pack
	size   int64 // of the object, deltas applied
	kept   int64 // where the kept bytes of a commit, tree or tag begin; -1
	base   int32 // the entry that its delta applies to; none
	child  int32 // its first delta by offset; none
	next   int32 // the next delta of the same base; none
	header uint8 // bytes before the zlib stream
	kind   uint8 // as in the pack: 1-4, 6, 7
	depth  uint8 // deltas below it, known for offset deltas after Ingest
	typ    object.Type
	hashed bool
	oid    object.OID
}

func (e *entry) delta() bool { return e.kind >= kindOffsetDelta }

// place names an entry where its id is not known yet.
func (e *entry) place() string {
	if e.hashed {
		return e.oid.String()
	}
	return fmt.Sprintf("object at offset %d", e.offset)
}

const chunkLen = 1 << 12

// table is a list of entries that grows without being copied: a header that
// claims 400,000 objects costs nothing until they come.
type table struct {
	chunks []*[chunkLen]entry
	n      int
}

func (t *table) at(i int32) *entry { return &t.chunks[i/chunkLen][i%chunkLen] }

func (t *table) add(e entry) int32 {
	if t.n%chunkLen == 0 {
		t.chunks = append(t.chunks, new([chunkLen]entry))
	}
	i := int32(t.n)
	t.n++
	*t.at(i) = e
	return i
}

// refDelta is a delta that names its base by id.
type refDelta struct {
	base  object.OID
	entry int32
}

// Index is the result of the first pass.
type Index struct {
	limits  Limits
	table   table
	refs    []refDelta // sorted by base, then entry
	size    int64
	trailer object.OID
	digest  [32]byte
	used    bool
}

// Len gives the number of objects.
func (x *Index) Len() int { return x.table.n }

// Size gives the bytes of the pack, trailer included.
func (x *Index) Size() int64 { return x.size }

// Trailer gives the checksum that ends the pack. It names the pack, but is
// only SHA-1 over bytes that the client chose.
func (x *Index) Trailer() object.OID { return x.trailer }

// Digest gives SHA-256 over all bytes of the pack, trailer included. This is
// what an approval can be bound to.
func (x *Index) Digest() [32]byte { return x.digest }

func tooBig(place, what string, got, limit int64) *Error {
	return object.Refuse(object.CodeTooLarge, place, "%s is %d bytes, above the limit of %d", what, got, limit)
}

// The client settings that avoid what cannot be judged.
const (
	tellDepth = "push again with: git -c pack.depth=%d push"
	tellWhole = "push again with: git -c core.bigFileThreshold=1m -c pack.window=0 push, which sends large files whole, or in smaller pushes"
)
