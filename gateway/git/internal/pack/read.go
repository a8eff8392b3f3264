package pack

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Object gives the bytes of an object that is at most Limits.MemoryBytes
// long, else TOO_LARGE_TO_JUDGE; OBJECT_MISSING if the pack does not hold it.
func (p *Pack) Object(ctx context.Context, oid object.OID) (object.Type, []byte, error) {
	at, typ, size, ok := p.Find(oid)
	if !ok {
		return 0, nil, object.Refuse(object.CodeObjectMissing, oid.String(), "it is not in the pack")
	}
	if typ != object.Blob {
		body, err := p.read(p.x.table.at(p.order[at]))
		return typ, body, err
	}
	if size > p.x.limits.MemoryBytes {
		return 0, nil, object.Refuse(object.CodeTooLargeJudge, oid.String(), "it is %d bytes long, above the %d that are read at once", size, p.x.limits.MemoryBytes)
	}
	var buf bytes.Buffer
	buf.Grow(int(size))
	if err := p.Copy(ctx, &buf, oid); err != nil {
		return 0, nil, err
	}
	return typ, buf.Bytes(), nil
}

// read gives a kept commit, tree or tag.
func (p *Pack) read(e *entry) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body := make([]byte, e.size)
	if e.kept < keptInMemory {
		if int(e.kept+e.size) > len(p.kept) {
			return nil, io.ErrClosedPipe
		}
		copy(body, p.kept[e.kept:])
		return body, nil
	}
	if p.store.file == nil {
		return nil, io.ErrClosedPipe
	}
	_, err := p.store.file.ReadAt(body, e.kept-keptInMemory)
	return body, err
}

// Copy rebuilds an object of any size from the spool, writes it to w, and at
// the end fails if its id is not what it was in Resolve.
func (p *Pack) Copy(ctx context.Context, w io.Writer, oid object.OID) error {
	at, _, _, ok := p.Find(oid)
	if !ok {
		return object.Refuse(object.CodeObjectMissing, oid.String(), "it is not in the pack")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// From the object down to its base; Resolve bounded the length.
	chain := []int32{p.order[at]}
	for {
		e := p.x.table.at(chain[len(chain)-1])
		if !e.delta() || e.base == none {
			break
		}
		chain = append(chain, e.base)
	}
	var below *content
	if root := p.x.table.at(chain[len(chain)-1]); root.delta() {
		_, body, err := p.base(ctx, p.external[chain[len(chain)-1]])
		if err != nil {
			return err
		}
		below = &content{mem: body, size: int64(len(body))}
	}
	for n := len(chain) - 1; n >= 0; n-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := p.x.table.at(chain[n])
		c, to := &content{size: e.size}, &sink{left: e.size, out: bufio.NewWriterSize(w, 64<<10)}
		if n > 0 {
			var err error
			if c, to, err = p.room(e.size); err != nil {
				return placed(e, err)
			}
			defer p.release(c)
		}
		to.hash = p.hasher
		p.hasher.Start(e.typ, e.size)
		if err := p.rebuild(e, below, to); err != nil {
			return badEntry(e, err)
		}
		got, err := to.done()
		if err != nil {
			return badEntry(e, err)
		}
		if got != e.oid {
			return object.Refuse(object.CodeBadObject, e.oid.String(), "the spool has changed since it was judged: the object is now %s", got)
		}
		c.mem = to.mem
		below = c
	}
	return nil
}

func (p *Pack) rebuild(e *entry, below *content, to *sink) error {
	if !e.delta() {
		return p.reader.copyWhole(e, to, p.block)
	}
	r, err := p.reader.open(e)
	if err != nil {
		return err
	}
	return applyDelta(r, below, to, p.block)
}
