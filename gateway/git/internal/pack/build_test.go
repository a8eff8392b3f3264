package pack

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// builder writes packs by hand, wrong ones included.
type builder struct {
	buf   bytes.Buffer
	count uint32
}

func deflate(body []byte) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(body)
	w.Close()
	return z.Bytes()
}

func header(kind uint8, size int) []byte {
	b := kind<<4 | byte(size&15)
	size >>= 4
	var out []byte
	for size > 0 {
		out = append(out, b|0x80)
		b = byte(size & 0x7f)
		size >>= 7
	}
	return append(out, b)
}

// raw adds an entry: header for size, link, deflated body. It returns the
// offset of the entry.
func (b *builder) raw(kind uint8, size int, link, body []byte) int {
	at := 12 + b.buf.Len()
	b.count++
	b.buf.Write(header(kind, size))
	b.buf.Write(link)
	b.buf.Write(deflate(body))
	return at
}

func (b *builder) object(t object.Type, body []byte) int {
	return b.raw(uint8(t), len(body), nil, body)
}

func backTo(distance int) []byte {
	out := []byte{byte(distance & 0x7f)}
	for distance >>= 7; distance > 0; distance >>= 7 {
		distance--
		out = append([]byte{byte(distance&0x7f) | 0x80}, out...)
	}
	return out
}

func (b *builder) offsetDelta(base int, delta []byte) int {
	return b.raw(kindOffsetDelta, len(delta), backTo(12+b.buf.Len()-base), delta)
}

func (b *builder) refDelta(base object.OID, delta []byte) int {
	return b.raw(kindRefDelta, len(delta), base[:], delta)
}

func (b *builder) bytes() []byte {
	out := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), b.count)
	return seal(append(out, b.buf.Bytes()...))
}

func seal(pack []byte) []byte {
	sum := sha1.Sum(pack)
	return append(pack, sum[:]...)
}

func varint(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// appendDelta makes base+more of a base of n bytes, n below 64 KiB.
func appendDelta(n int, more string) []byte {
	d := append(varint(n), varint(n+len(more))...)
	if n > 0 {
		d = append(d, 0x80|0x10|0x20, byte(n), byte(n>>8))
	}
	if more != "" {
		d = append(append(d, byte(len(more))), more...)
	}
	return d
}

func oidOf(t testing.TB, typ object.Type, body []byte) object.OID {
	t.Helper()
	o, err := object.Hash(typ, body)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// load runs both passes.
func load(t testing.TB, data []byte, limits Limits, opts Options) (*Pack, *Index, error) {
	t.Helper()
	spool, err := os.CreateTemp(t.TempDir(), "spool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { spool.Close() })
	x, err := Ingest(context.Background(), bytes.NewReader(data), spool, limits)
	if err != nil {
		return nil, nil, err
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	p, err := Resolve(context.Background(), x, spool, opts)
	if err != nil {
		return nil, x, err
	}
	t.Cleanup(func() { p.Close() })
	return p, x, nil
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || e.Sentence == "" {
		t.Fatalf("got %v, want code %s with a sentence", err, code)
	}
}
