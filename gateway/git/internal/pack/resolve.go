package pack

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sort"
	"sync"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// keptInMemory is how much of the commits, trees and tags stays in memory;
// what comes after that is read from a scratch file.
const keptInMemory = 8 << 20

// Base gives a whole object that the pack does not hold but one of its deltas
// is based on, at most Limits.MemoryBytes long. Its id is checked.
type Base func(ctx context.Context, oid object.OID) (object.Type, []byte, error)

// Options of Resolve.
type Options struct {
	Dir  string // for scratch files; "" is the directory for temporary files
	Base Base   // nil: a thin pack is refused, as a server that offers no-thin may
}

// Pack is a resolved pack. Its methods can be called concurrently; those that
// rebuild a blob wait for each other.
type Pack struct {
	x     *Index
	base  Base
	order []int32 // entries sorted by id

	mu       sync.Mutex // over all that follows
	reader   spoolReader
	hasher   *object.Hasher
	block    []byte
	held     int64 // bytes of contents in memory
	spare    [][]byte
	stack    scratch
	kept     []byte
	store    scratch
	external map[int32]object.OID
}

// Resolve applies all deltas of the pack that Ingest wrote to spool, hashes
// every object and parses commits, trees and tags. A pack with an object
// twice, a delta without base or an object that git fsck --strict would refuse
// is an Error. An Index serves one Resolve. Close the Pack to free its scratch files.
func Resolve(ctx context.Context, x *Index, spool io.ReaderAt, opts Options) (_ *Pack, err error) {
	if x.used {
		return nil, errors.New("pack: an Index serves one Resolve")
	}
	x.used = true
	p := &Pack{
		x: x, base: opts.Base,
		reader: spoolReader{spool: spool}, hasher: object.NewHasher(), block: make([]byte, 64<<10),
		stack: scratch{dir: opts.Dir, limit: x.limits.ScratchBytes},
		store: scratch{dir: opts.Dir, limit: x.limits.ScratchBytes},
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	for i := range int32(x.table.n) {
		if x.table.at(i).delta() {
			continue
		}
		if err := p.root(ctx, i); err != nil {
			return nil, err
		}
	}
	if err := p.outside(ctx); err != nil {
		return nil, err
	}
	p.order = make([]int32, x.table.n)
	for i := range p.order {
		p.order[i] = int32(i)
	}
	slices.SortFunc(p.order, func(a, b int32) int { return x.table.at(a).oid.Compare(x.table.at(b).oid) })
	for i := 1; i < len(p.order); i++ {
		if a := x.table.at(p.order[i]); a.oid == x.table.at(p.order[i-1]).oid {
			return nil, object.Refuse(object.CodeBadPack, a.oid.String(), "the pack holds the object twice")
		}
	}
	p.spare = nil
	return p, nil
}

// root handles an object that is not a delta, and all deltas above it.
func (p *Pack) root(ctx context.Context, i int32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := p.x.table.at(i)
	if e.typ == object.Blob && e.child == none && len(p.waiting(e.oid)) == 0 {
		return nil
	}
	c, to, err := p.room(e.size)
	if err != nil {
		return placed(e, err)
	}
	defer p.release(c)
	if err := p.reader.copyWhole(e, to, p.block); err != nil {
		return badEntry(e, err)
	}
	if _, err := to.done(); err != nil {
		return badEntry(e, err)
	}
	c.mem = to.mem
	if err := p.keep(e, c); err != nil {
		return err
	}
	return p.children(ctx, i, e.oid, e.typ, c, 1)
}

// outside resolves what is based on objects that the pack does not hold.
func (p *Pack) outside(ctx context.Context) error {
	var last object.OID
	for _, d := range p.x.refs {
		if p.x.table.at(d.entry).hashed || d.base == last {
			continue
		}
		if last = d.base; p.base == nil {
			break
		}
		typ, body, err := p.base(ctx, d.base)
		if err != nil {
			// The base can be a delta of the pack that a later round reaches.
			continue
		}
		if int64(len(body)) > p.x.limits.MemoryBytes {
			return object.Refuse(object.CodeTooLargeJudge, d.base.String(), "as a delta base it is %d bytes long; "+tellWhole, len(body))
		}
		if oid, err := object.Hash(typ, body); err != nil || oid != d.base {
			return object.Refuse(object.CodeObjectMissing, d.base.String(), "what is known under this id has another one")
		}
		if p.external == nil {
			p.external = map[int32]object.OID{}
		}
		c := &content{mem: body, size: int64(len(body))}
		if err := p.children(ctx, none, d.base, typ, c, 1); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, d := range p.x.refs {
		e := p.x.table.at(d.entry)
		if e.hashed {
			continue
		}
		if p.base == nil {
			return object.Refuse(object.CodeBadPack, e.place(),
				"its delta base %s is not in the pack, which must be complete in itself, or its bases form a circle; push with: git push --no-thin", d.base)
		}
		return object.Refuse(object.CodeObjectMissing, e.place(), "its delta base %s is neither in the pack nor known", d.base)
	}
	return nil
}

// waiting gives the deltas that name oid as their base.
func (p *Pack) waiting(oid object.OID) []refDelta {
	refs := p.x.refs
	if len(refs) == 0 {
		return nil
	}
	from := sort.Search(len(refs), func(i int) bool { return refs[i].base.Compare(oid) >= 0 })
	to := from
	for to < len(refs) && refs[to].base == oid {
		to++
	}
	return refs[from:to]
}

// children applies every delta whose base is the object i with content c, and
// what is above them. depth is that of the children.
func (p *Pack) children(ctx context.Context, i int32, oid object.OID, typ object.Type, c *content, depth int) error {
	if i != none {
		for n := p.x.table.at(i).child; n != none; n = p.x.table.at(n).next {
			if err := p.apply(ctx, n, typ, c, depth); err != nil {
				return err
			}
		}
	}
	for _, d := range p.waiting(oid) {
		e := p.x.table.at(d.entry)
		if e.hashed {
			if _, known := p.external[d.entry]; known && i != none {
				continue
			}
			// Only a second object of the same id can lead here again.
			return object.Refuse(object.CodeBadPack, oid.String(), "the pack holds the object twice")
		}
		if e.base = i; i == none {
			p.external[d.entry] = oid
		}
		if err := p.apply(ctx, d.entry, typ, c, depth); err != nil {
			return err
		}
	}
	return nil
}

// apply resolves one delta and goes on with those above it.
func (p *Pack) apply(ctx context.Context, i int32, typ object.Type, base *content, depth int) error {
	e := p.x.table.at(i)
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > p.x.limits.Depth {
		return tooDeep(e, p.x.limits.Depth)
	}
	e.typ, e.depth = typ, uint8(depth)
	if limit := object.MaxSize(typ); limit > 0 && e.size > limit {
		return tooBig(e.place(), "the "+typ.String(), e.size, limit)
	}
	c, to := &content{size: e.size}, &sink{left: e.size}
	// Who waits for an id is known only when the id is.
	if typ != object.Blob || e.child != none || len(p.x.refs) > 0 {
		var err error
		if c, to, err = p.room(e.size); err != nil {
			return placed(e, err)
		}
		defer p.release(c)
	}
	to.hash = p.hasher
	p.hasher.Start(typ, e.size)
	r, err := p.reader.open(e)
	if err != nil {
		return badEntry(e, err)
	}
	if err := applyDelta(r, base, to, p.block); err != nil {
		return badEntry(e, err)
	}
	if e.oid, err = to.done(); err != nil {
		return badEntry(e, err)
	}
	e.hashed = true
	c.mem = to.mem
	if err := p.keep(e, c); err != nil {
		return err
	}
	return p.children(ctx, i, e.oid, typ, c, depth+1)
}

// room makes place for an object: in memory while that lasts, else on the
// scratch stack.
func (p *Pack) room(size int64) (*content, *sink, error) {
	c, to := &content{size: size}, &sink{left: size}
	if p.held+size <= p.x.limits.MemoryBytes {
		p.held += size
		to.keep = true
		to.mem = p.buffer(size)
		return c, to, nil
	}
	w, at, err := p.stack.writer(size)
	if err != nil {
		return nil, nil, err
	}
	c.file, c.offset = p.stack.file, at
	to.out = bufio.NewWriterSize(w, 64<<10)
	return c, to, nil
}

// buffer gives an empty slice with room for size bytes, a used one if it can.
func (p *Pack) buffer(size int64) []byte {
	for i := len(p.spare) - 1; i >= 0; i-- {
		if b := p.spare[i]; int64(cap(b)) >= size {
			p.spare = slices.Delete(p.spare, i, i+1)
			return b[:0]
		}
	}
	return make([]byte, 0, size)
}

// release gives the place of an object back; objects go in the reverse order
// of their coming.
func (p *Pack) release(c *content) {
	if c.file != nil {
		p.stack.top = c.offset
		return
	}
	p.held -= c.size
	if cap(c.mem) >= 512 && cap(c.mem) <= 64<<10 && len(p.spare) < 64 {
		p.spare = append(p.spare, c.mem)
	}
	c.mem = nil
}

// keep parses a commit, tree or tag and stores it.
func (p *Pack) keep(e *entry, c *content) error {
	if e.typ == object.Blob {
		return nil
	}
	body := c.mem
	if c.file != nil {
		// It did not fit in memory beside its delta bases.
		body = make([]byte, e.size)
		if _, err := c.ReadAt(body, 0); err != nil {
			return err
		}
	}
	if err := object.Validate(e.typ, body); err != nil {
		return placed(e, err)
	}
	if len(p.kept)+len(body) <= keptInMemory {
		e.kept = int64(len(p.kept))
		p.kept = append(p.kept, body...)
		return nil
	}
	w, at, err := p.store.writer(e.size)
	if err != nil {
		return placed(e, err)
	}
	e.kept = keptInMemory + at
	_, err = w.Write(body)
	return err
}

// placed adds the object to an Error that does not name one.
func placed(e *entry, err error) error {
	var typed *Error
	if errors.As(err, &typed) && typed.Object == "" {
		return &Error{Code: typed.Code, Object: e.place(), Sentence: typed.Sentence}
	}
	return err
}

// Len gives the number of objects.
func (p *Pack) Len() int { return len(p.order) }

// Objects goes through all objects in the order of their ids.
func (p *Pack) Objects() iter.Seq2[object.OID, object.Type] {
	return func(yield func(object.OID, object.Type) bool) {
		for _, i := range p.order {
			if e := p.x.table.at(i); !yield(e.oid, e.typ) {
				return
			}
		}
	}
}

// Find gives the place of an object in Objects, counted from 0, its type and
// its size in bytes; ok is false if the pack does not hold it.
func (p *Pack) Find(oid object.OID) (at int, typ object.Type, size int64, ok bool) {
	at, ok = slices.BinarySearchFunc(p.order, oid, func(i int32, oid object.OID) int {
		return p.x.table.at(i).oid.Compare(oid)
	})
	if !ok {
		return 0, 0, 0, false
	}
	e := p.x.table.at(p.order[at])
	return at, e.typ, e.size, true
}

// Close frees memory and scratch files.
func (p *Pack) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept, p.spare = nil, nil
	return errors.Join(p.stack.close(), p.store.close())
}
