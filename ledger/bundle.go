package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// A bundle is a log in one file for verification elsewhere: a deterministic CBOR sequence (RFC 8742) of arrays of byte
// strings after the number of their kind:
//
//	[1, header]                    once, first: the encoded Header
//	[2, digest, text]              each policy that an entry installs, by ascending digest
//	[3, leaf]                      each entry in order, each followed by what it is the first to name:
//	[4, commitment, salt, body]      a payload, or [4, commitment] if it was erased
//	[5, digest, content]             a blob that a payload stands for
//	[6, hashes]                    the right edge of the tree: the roots of its complete subtrees, largest first
//	[7, checkpoint]                the signed checkpoint over all entries, last
//
// What an entry names stands in the order in which reading finds it: the command's commitment, the further digests of
// the leaf, then digests (64 hex digits) in the payloads themselves. So a log with its payloads has one bundle, a reader
// holds one command at a time, and every byte is either signed for, bound by a digest, or derived from what is.
const (
	itemHeader = 1 + iota
	itemPolicy
	itemEntry
	itemPayload
	itemBlob
	itemHashes
	itemCheckpoint
)

// bundleFormat is the version of the format.
const bundleFormat = 1

// maxItem is the largest field in a bundle, in bytes.
const maxItem = 64 << 20

// Header begins a bundle.
type Header struct {
	Format   int       `cbor:"1,keyasint"`
	Org      remit.Org `cbor:"2,keyasint"`
	Origin   string    `cbor:"3,keyasint"`
	Verifier string    `cbor:"4,keyasint"` // note verifier key
	Size     uint64    `cbor:"5,keyasint"`
}

// BundleSource is what WriteBundle writes.
type BundleSource struct {
	Store      Store
	Blobs      Blobs // may be nil when Attached is
	Org        remit.Org
	Verifier   string                  // verifier key of the log
	Checkpoint []byte                  // the bundle ends where it does
	Policies   map[remit.Digest][]byte // each policy that an entry installs, by its SHA-256
	// Attached tells which blobs the body of a payload stands for, so that it cannot be understood without them. Nil:
	// none. Other blobs (packs) stay outside.
	Attached func(body []byte) []remit.Digest
}

type item struct {
	kind   uint64
	fields [][]byte
}

func (it item) append(b []byte) []byte {
	b = appendHead(b, arrayHead, uint64(1+len(it.fields)))
	b = appendHead(b, uintHead, it.kind)
	for _, f := range it.fields {
		b = append(appendHead(b, bytesHead, uint64(len(f))), f...)
	}
	return b
}

// WriteBundle writes the bundle of a log up to a checkpoint.
func WriteBundle(ctx context.Context, w io.Writer, src BundleSource) error {
	c, err := OpenCheckpoint(src.Checkpoint, src.Verifier)
	if err != nil {
		return err
	}
	if c.Size == 0 {
		return remit.Errorf(remit.BadRequest, "the checkpoint covers no entries: there is nothing to export")
	}
	out := &bundleWriter{w: bufio.NewWriterSize(w, 256<<10)}
	header, err := encodeHeader(Header{bundleFormat, src.Org, c.Origin, src.Verifier, c.Size})
	if err != nil {
		return err
	}
	out.put(itemHeader, header)
	for _, d := range slices.SortedFunc(maps.Keys(src.Policies), compareDigests) {
		out.put(itemPolicy, d[:], src.Policies[d])
	}
	var tree Tree
	var q queue
	installed := map[remit.Digest]bool{}
	for e, err := range limit(src.Store.Read(ctx, 0), c.Size) {
		if err != nil {
			return err
		}
		l, err := Decode(e.Leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		if p, ok := l.Event.(*remit.PolicyInstalled); ok {
			installed[p.Bundle] = true
		}
		tree.push(tlog.RecordHash(e.Leaf), nil)
		out.put(itemEntry, e.Leaf)
		q.entry(l, e.Leaf)
		if err := out.attachments(ctx, src, &q); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
	}
	if tree.Size() != c.Size || tree.Root() != c.Root {
		return damaged("its first %d entries do not have the root that the checkpoint signs for %d", tree.Size(), c.Size)
	}
	for d := range installed {
		if _, ok := src.Policies[d]; !ok {
			return remit.Errorf(remit.Internal, "the policy %s, which the log installs, was not given for the bundle", d)
		}
	}
	if len(installed) != len(src.Policies) {
		return remit.Errorf(remit.Internal, "%d policies were given for the bundle, the log installs %d", len(src.Policies), len(installed))
	}
	out.put(itemHashes, edgeBytes(tree))
	out.put(itemCheckpoint, src.Checkpoint)
	return errors.Join(out.err, out.w.Flush())
}

type bundleWriter struct {
	w   *bufio.Writer
	buf []byte
	err error
}

func (o *bundleWriter) put(kind uint64, fields ...[]byte) {
	if o.err != nil {
		return
	}
	for _, f := range fields {
		if len(f) > maxItem {
			o.err = remit.Errorf(remit.TooLarge, "%d bytes do not fit into a bundle; at most %d do", len(f), maxItem)
			return
		}
	}
	o.buf = item{kind, fields}.append(o.buf[:0])
	_, o.err = o.w.Write(o.buf)
}

// attachments writes what is there of what an entry and its payloads name.
func (o *bundleWriter) attachments(ctx context.Context, src BundleSource, q *queue) error {
	attached := map[remit.Digest]bool{}
	for len(q.open) > 0 {
		d := q.open[0]
		q.open = q.open[1:]
		p, err := src.Store.Payload(ctx, d)
		switch {
		case attached[d]:
			content, err := readBlob(ctx, src.Blobs, d)
			if err != nil {
				return err
			}
			o.put(itemBlob, d[:], content)
			q.take(d, nil)
		case errors.Is(err, ErrErased):
			o.put(itemPayload, d[:])
			q.take(d, nil)
		case errors.Is(err, ErrNotFound):
			if d == q.command {
				return damaged("the payload of command %s is missing and was not erased", d)
			}
		case err != nil:
			return err
		default:
			o.put(itemPayload, d[:], p.Salt[:], p.Body)
			q.take(d, p.Body)
			if src.Attached != nil {
				for _, a := range src.Attached(p.Body) {
					attached[a] = true
				}
			}
		}
		if o.err != nil {
			return o.err
		}
	}
	return ctx.Err()
}

func readBlob(ctx context.Context, blobs Blobs, d remit.Digest) ([]byte, error) {
	if blobs == nil {
		return nil, remit.Errorf(remit.Internal, "blob %s belongs to the bundle, but no blobs were given", d)
	}
	r, size, err := blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxItem {
		return nil, remit.Errorf(remit.TooLarge, "blob %s has %d bytes; at most %d fit into a bundle", d, size, maxItem)
	}
	return io.ReadAll(r)
}

// queue holds the digests that an entry and its payloads name and whose content was not there before, in the order in
// which they are found.
type queue struct {
	open    []remit.Digest
	command remit.Digest // of the entry; zero once its payload was taken
	seen    map[remit.Digest]bool
}

func (q *queue) add(d remit.Digest) {
	if !d.IsZero() && !q.seen[d] && !slices.Contains(q.open, d) {
		q.open = append(q.open, d)
	}
}

// entry begins with what a leaf names: every byte string of 32 bytes.
func (q *queue) entry(l Leaf, raw []byte) {
	if q.seen == nil {
		q.seen = map[remit.Digest]bool{}
	}
	q.open, q.command = q.open[:0], l.Command
	q.add(l.Command)
	for i := 0; i+2+32 <= len(raw); i++ {
		if raw[i] == bytesHead|24 && raw[i+1] == 32 {
			q.add(remit.Digest(raw[i+2 : i+34]))
		}
	}
}

// take marks a digest's content as there and goes on with what the content names.
func (q *queue) take(d remit.Digest, body []byte) {
	q.seen[d] = true
	if d == q.command {
		q.command = remit.Digest{}
	}
	for i := 0; i < len(body); {
		n := 0
		for i+n < len(body) && isHex(body[i+n]) {
			n++
		}
		if n == 64 {
			raw := make([]byte, 32)
			if _, err := hex.Decode(raw, body[i:i+n]); err == nil {
				q.add(remit.Digest(raw))
			}
		}
		i += n + 1
	}
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func encodeHeader(h Header) ([]byte, error) {
	c, err := codecOf(reflect.TypeFor[Header]())
	if err != nil {
		return nil, err
	}
	return c.encode(nil, reflect.ValueOf(h))
}

func decodeHeader(b []byte) (h Header, err error) {
	c, err := codecOf(reflect.TypeFor[Header]())
	if err != nil {
		return h, err
	}
	rest, err := c.decode(b, reflect.ValueOf(&h).Elem())
	switch {
	case err != nil:
		return h, badBundle("its header: %w", err)
	case len(rest) > 0:
		return h, badBundle("%d bytes follow in its header", len(rest))
	case h.Format != bundleFormat:
		return h, badBundle("it has format %d; this release reads format %d", h.Format, bundleFormat)
	}
	return h, nil
}

func badBundle(format string, args ...any) error {
	return remit.Errorf(remit.BadRequest, "the bundle is wrong: "+format, args...)
}

func edgeBytes(t Tree) []byte {
	var b []byte
	for _, h := range t.edge {
		b = append(b, h[:]...)
	}
	return b
}

func compareDigests(a, b remit.Digest) int { return bytes.Compare(a[:], b[:]) }
