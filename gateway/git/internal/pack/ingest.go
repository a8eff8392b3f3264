package pack

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"io/fs"
	"slices"
	"sort"
	"sync"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// tee reads the pack byte by byte where flate wants it, and hands what was
// consumed to spool and checksums block by block.
type tee struct {
	ctx     context.Context
	src     io.Reader
	spool   io.Writer
	sum     hash.Hash // SHA-1 for the trailer
	digest  hash.Hash // SHA-256 over everything
	limit   int64
	taken   int64 // bytes consumed before buf[0]
	buf     []byte
	pos     int
	failed  error // what reading or spooling ended with, if not io.EOF
	inflate io.ReadCloser
}

var teePool = sync.Pool{New: func() any {
	return &tee{sum: sha1.New(), digest: sha256.New(), buf: make([]byte, 0, 64<<10)}
}}

func (t *tee) offset() int64 { return t.taken + int64(t.pos) }

// flush passes the consumed bytes on.
func (t *tee) flush() error {
	used := t.buf[:t.pos]
	t.sum.Write(used)
	t.digest.Write(used)
	if _, err := t.spool.Write(used); err != nil {
		return err
	}
	t.taken += int64(t.pos)
	t.buf = t.buf[:copy(t.buf[:cap(t.buf)], t.buf[t.pos:])]
	t.pos = 0
	return nil
}

// fill makes at least one byte available, or returns io.EOF.
func (t *tee) fill() error {
	if t.failed != nil {
		return t.failed
	}
	fail := func(err error) error {
		t.failed = err
		return err
	}
	if err := t.ctx.Err(); err != nil {
		return fail(err)
	}
	if err := t.flush(); err != nil {
		return fail(err)
	}
	if t.taken >= t.limit {
		return fail(object.Refuse(object.CodeTooLarge, "", "the pack is larger than the limit of %d bytes", t.limit))
	}
	for range 100 {
		n, err := t.src.Read(t.buf[len(t.buf):cap(t.buf)])
		t.buf = t.buf[:len(t.buf)+n]
		if n > 0 {
			return nil
		}
		if err == io.EOF {
			return io.EOF
		}
		if err != nil {
			return fail(err)
		}
	}
	return fail(io.ErrNoProgress)
}

// ReadByte makes tee a flate.Reader: without it flate would read ahead.
func (t *tee) ReadByte() (byte, error) {
	if t.pos == len(t.buf) {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	b := t.buf[t.pos]
	t.pos++
	return b, nil
}

func (t *tee) Read(p []byte) (int, error) {
	if t.pos == len(t.buf) {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.buf[t.pos:])
	t.pos += n
	return n, nil
}

// Ingest reads one pack from r to its end and copies it to spool, which then
// holds exactly the pack. It refuses anything but a version 2 pack followed by
// the end of r. Nothing has been hashed but whole commits, trees, tags and
// blobs; deltas wait for Resolve.
func Ingest(ctx context.Context, r io.Reader, spool io.Writer, limits Limits) (*Index, error) {
	limits = limits.withDefaults()
	t := teePool.Get().(*tee)
	defer func() {
		t.src, t.spool, t.ctx = nil, nil, nil
		teePool.Put(t)
	}()
	t.ctx, t.src, t.spool, t.limit, t.taken, t.buf, t.pos, t.failed = ctx, r, spool, limits.PackBytes, 0, t.buf[:0], 0, nil
	t.sum.Reset()
	t.digest.Reset()
	x := &Index{limits: limits}
	if err := x.scan(t); err != nil {
		// A failure of the stream shows up as a damaged zlib stream first.
		if t.failed != nil {
			return nil, t.failed
		}
		return nil, err
	}
	return x, nil
}

func (x *Index) scan(t *tee) error {
	var head [12]byte
	if _, err := io.ReadFull(t, head[:]); err != nil {
		return object.Refuse(object.CodeBadPack, "", "the pack ends within its header")
	}
	if string(head[:4]) != "PACK" || binary.BigEndian.Uint32(head[4:]) != 2 {
		return object.Refuse(object.CodeBadPack, "", "the pack should begin with PACK and version 2, not %q", head[:8])
	}
	count := int64(binary.BigEndian.Uint32(head[8:]))
	if count > int64(x.limits.Objects) {
		return object.Refuse(object.CodeTooLarge, "", "the pack has %d objects, above the limit of %d; push the history in parts", count, x.limits.Objects)
	}
	s := &scanner{x: x, t: t, hasher: object.NewHasher(), block: make([]byte, 32<<10)}
	for range count {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		if err := s.entry(); err != nil {
			return err
		}
	}
	return s.finish()
}

type scanner struct {
	x        *Index
	t        *tee
	hasher   *object.Hasher
	block    []byte
	inflated int64
	results  int64
}

// entry reads one object: header, base, zlib stream.
func (s *scanner) entry() error {
	x, t := s.x, s.t
	e := entry{offset: t.offset(), kept: -1, base: none, child: none, next: none}
	kind, size, err := readHeader(t)
	if err != nil {
		return badEntry(&e, err)
	}
	e.kind = kind
	var refBase object.OID
	switch kind {
	case kindOffsetDelta:
		back, err := readBack(t)
		if err != nil {
			return badEntry(&e, err)
		}
		if e.base = x.find(e.offset - back); e.base == none {
			return object.Refuse(object.CodeBadPack, e.place(), "its delta base at offset %d is not the start of an earlier object", e.offset-back)
		}
		base := x.table.at(e.base)
		// The depth of a delta by id shows only in Resolve, which counts again.
		e.depth = base.depth + 1
		if int(e.depth) > x.limits.Depth {
			return tooDeep(&e, x.limits.Depth)
		}
	case kindRefDelta:
		if _, err := io.ReadFull(t, refBase[:]); err != nil {
			return badEntry(&e, io.ErrUnexpectedEOF)
		}
	default:
		e.typ = object.Type(kind)
	}
	e.header = uint8(t.offset() - e.offset)
	if size > x.limits.ObjectBytes {
		return tooBig(e.place(), "it", size, x.limits.ObjectBytes)
	}
	if e.delta() {
		err = s.delta(&e, size)
	} else {
		err = s.whole(&e, size)
	}
	if err != nil {
		return err
	}
	if s.results += e.size; s.results > x.limits.ResultBytes {
		return object.Refuse(object.CodeTooLargeJudge, e.place(),
			"up to here the objects are %d bytes with their deltas applied, above the limit of %d; push the history in parts", s.results, x.limits.ResultBytes)
	}
	i := x.table.add(e)
	if e.base != none {
		base := x.table.at(e.base)
		x.table.at(i).next, base.child = base.child, i
	}
	if kind == kindRefDelta {
		x.refs = append(x.refs, refDelta{base: refBase, entry: i})
	}
	return nil
}

// whole reads and hashes an object that is not a delta.
func (s *scanner) whole(e *entry, size int64) error {
	if limit := object.MaxSize(e.typ); limit > 0 && size > limit {
		return tooBig(e.place(), "the "+e.typ.String(), size, limit)
	}
	e.size = size
	s.hasher.Start(e.typ, size)
	err := s.inflate(e, size, func(p []byte) error {
		s.hasher.Write(p)
		return nil
	})
	if err != nil {
		return err
	}
	e.oid, err = s.hasher.Sum()
	e.hashed = err == nil
	return err
}

// delta reads a delta and of its bytes keeps the size that it promises.
func (s *scanner) delta(e *entry, size int64) error {
	// DELTA_SIZE_MIN of git's delta.h. Shorter ones could only make nothing of something, and git does not take them.
	if size < 4 {
		return object.Refuse(object.CodeBadPack, e.place(), "its delta has %d bytes, fewer than the 4 of the shortest", size)
	}
	var start [2 * binary.MaxVarintLen64]byte
	n := 0
	err := s.inflate(e, size, func(p []byte) error {
		n += copy(start[n:], p)
		return nil
	})
	if err != nil {
		return err
	}
	r := bytes.NewReader(start[:n])
	base, err := readDeltaSize(r)
	if err == nil {
		e.size, err = readDeltaSize(r)
	}
	if err != nil {
		return badEntry(e, err)
	}
	if e.base != none && base != s.x.table.at(e.base).size {
		return object.Refuse(object.CodeBadPack, e.place(), "its delta is for a base of %d bytes, but the base has %d", base, s.x.table.at(e.base).size)
	}
	for _, n := range []int64{base, e.size} {
		if n > s.x.limits.ObjectBytes {
			return tooBig(e.place(), "it or its delta base", n, s.x.limits.ObjectBytes)
		}
	}
	return nil
}

// inflate reads the zlib stream of an entry, which must hold exactly size
// bytes, and passes them to use.
func (s *scanner) inflate(e *entry, size int64, use func([]byte) error) error {
	t := s.t
	if s.inflated += size; s.inflated > s.x.limits.InflatedBytes {
		return object.Refuse(object.CodeTooLarge, e.place(), "up to here the pack inflates to %d bytes, above the limit of %d", s.inflated, s.x.limits.InflatedBytes)
	}
	z, err := resetZlib(t.inflate, t)
	if err != nil {
		return badEntry(e, err)
	}
	t.inflate = z
	for left := size; ; {
		n, err := z.Read(s.block)
		if left -= int64(n); left < 0 {
			return object.Refuse(object.CodeBadPack, e.place(), "it inflates to more than the %d bytes that its header names", size)
		}
		if err := use(s.block[:n]); err != nil {
			return err
		}
		if err == io.EOF && left == 0 {
			break
		}
		if err == io.EOF {
			return object.Refuse(object.CodeBadPack, e.place(), "it inflates to %d bytes, not the %d that its header names", size-left, size)
		}
		if err != nil {
			return badEntry(e, err)
		}
	}
	if s.inflated > 64<<20 && s.inflated/max(1, t.offset()) > s.x.limits.Ratio {
		return object.Refuse(object.CodeTooLarge, e.place(), "up to here the pack inflates to more than %d times its size", s.x.limits.Ratio)
	}
	return nil
}

// finish checks the trailer, the end of the stream, and sorts deltas by id.
func (s *scanner) finish() error {
	x, t := s.x, s.t
	if err := t.flush(); err != nil {
		return err
	}
	want := t.sum.Sum(nil)
	if _, err := io.ReadFull(t, x.trailer[:]); err != nil {
		return object.Refuse(object.CodeBadPack, "", "the pack ends before its checksum")
	}
	if !bytes.Equal(want, x.trailer[:]) {
		return object.Refuse(object.CodeBadPack, "", "the checksum at the end of the pack is %s, but its bytes give %x", x.trailer, want)
	}
	x.size = t.offset()
	if x.size > x.limits.PackBytes {
		return object.Refuse(object.CodeTooLarge, "", "the pack is larger than the limit of %d bytes", x.limits.PackBytes)
	}
	// The limit must not stand in the way of looking for the end.
	t.limit = x.size + int64(cap(t.buf))
	if _, err := t.ReadByte(); err == nil {
		return object.Refuse(object.CodeBadPack, "", "bytes follow the end of the pack at offset %d", x.size)
	} else if err != io.EOF {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	t.digest.Sum(x.digest[:0])
	slices.SortFunc(x.refs, func(a, b refDelta) int {
		return cmp.Or(a.base.Compare(b.base), cmp.Compare(a.entry, b.entry))
	})
	return nil
}

// find gives the entry that starts at offset; entries are in order of offset.
func (x *Index) find(offset int64) int32 {
	i := sort.Search(x.table.n, func(i int) bool { return x.table.at(int32(i)).offset >= offset })
	if i < x.table.n && x.table.at(int32(i)).offset == offset {
		return int32(i)
	}
	return none
}

func badEntry(e *entry, err error) error {
	var typed *Error
	if errors.As(err, &typed) {
		return err
	}
	// A full disk is no fault of the pack.
	var file *fs.PathError
	if errors.As(err, &file) {
		return err
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return object.Refuse(object.CodeBadPack, e.place(), "the pack ends within it")
	}
	return object.Refuse(object.CodeBadPack, e.place(), "it is damaged: %v", err)
}

func tooDeep(e *entry, limit int) error {
	return object.Refuse(object.CodeTooLargeJudge, e.place(), "its chain of deltas is longer than %d; "+tellDepth, limit, limit)
}

// readHeader reads type and size of an entry: gitformat-pack(5), "object
// header". It refuses the types 0 and 5, which are reserved.
func readHeader(r io.ByteReader) (kind uint8, size int64, err error) {
	b, err := r.ReadByte()
	if err != nil {
		return 0, 0, io.ErrUnexpectedEOF
	}
	kind = b >> 4 & 7
	if kind == 0 || kind == 5 {
		return 0, 0, errors.New("the object type is " + string('0'+rune(kind)) + ", which does not exist")
	}
	size = int64(b & 15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = r.ReadByte(); err != nil {
			return 0, 0, io.ErrUnexpectedEOF
		}
		if shift > 53 {
			return 0, 0, errors.New("its size does not fit into 60 bits")
		}
		size |= int64(b&0x7f) << shift
	}
	return kind, size, nil
}

// readBack reads the distance to the base of an offset delta.
func readBack(r io.ByteReader) (int64, error) {
	b, err := r.ReadByte()
	if err != nil {
		return 0, io.ErrUnexpectedEOF
	}
	n := int64(b & 0x7f)
	for b&0x80 != 0 {
		if b, err = r.ReadByte(); err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		if n >= 1<<48 {
			return 0, errors.New("the distance to its delta base is too large")
		}
		n = (n+1)<<7 | int64(b&0x7f)
	}
	if n == 0 {
		return 0, errors.New("its delta base is itself")
	}
	return n, nil
}

// readDeltaSize reads one of the two sizes at the start of a delta.
func readDeltaSize(r io.ByteReader) (int64, error) {
	var n int64
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, errors.New("its delta ends within its header")
		}
		if shift > 49 {
			return 0, errors.New("a size in its delta does not fit into 56 bits")
		}
		n |= int64(b&0x7f) << shift
		if b&0x80 == 0 {
			return n, nil
		}
	}
}

func resetZlib(old io.ReadCloser, src io.Reader) (io.ReadCloser, error) {
	if old == nil {
		return zlib.NewReader(src)
	}
	return old, old.(zlib.Resetter).Reset(src, nil)
}
