package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
)

// stream keeps a slow or silent client from holding a request forever: every read and write has its own deadline, so a
// large layer may take as long as it keeps moving.
type stream struct {
	rc    *http.ResponseController
	stall time.Duration
	last  time.Time // for reading the request
}

// longest is how long a request may take to arrive, however steadily it drips.
const longest = time.Hour

// newStream makes a stream of w; w may be nil for a request that is classified only.
func newStream(w http.ResponseWriter, stall time.Duration) *stream {
	s := &stream{stall: stall, last: time.Now().Add(longest)}
	if w != nil {
		s.rc = http.NewResponseController(w)
	}
	return s
}

// readBy and writeBy set deadlines; a ResponseWriter that has none (in tests) is let be.
func (s *stream) readBy(t time.Time) {
	if s.rc != nil {
		_ = s.rc.SetReadDeadline(t)
	}
}

func (s *stream) writeBy(t time.Time) {
	if s.rc != nil {
		_ = s.rc.SetWriteDeadline(t)
	}
}

// end takes the deadlines off the connection, which may serve another request.
func (s *stream) end() {
	s.readBy(time.Time{})
	s.writeBy(time.Time{})
}

// body is the request's body, with a deadline for each read.
func (s *stream) body(r *http.Request) io.Reader { return slowReader{s, r.Body} }

type slowReader struct {
	s *stream
	r io.Reader
}

func (b slowReader) Read(p []byte) (int, error) {
	by := time.Now().Add(b.s.stall)
	if by.After(b.s.last) {
		by = b.s.last
	}
	b.s.readBy(by)
	n, err := b.r.Read(p)
	if err != nil {
		// The server goes on reading, to notice that the client leaves: that must not run into the deadline.
		b.s.readBy(time.Time{})
	}
	return n, err
}

// drain reads what the client is still sending, 1 MiB and a second at most: a client that is cut off while it sends
// shows the broken connection instead of the answer.
func (s *stream) drain(r *http.Request) {
	if r == nil || r.Body == nil || r.Body == http.NoBody {
		return
	}
	s.readBy(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, r.Body, 1<<20) // what cannot be read need not be
	s.readBy(time.Time{})
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// copy passes size bytes of src on as they come, until ctx ends or the client stops reading. With want, the last of them
// is held back until their digest is seen to be want: so a client never has all of something else.
func (s *stream) copy(ctx context.Context, w io.Writer, src io.Reader, size int64, want string) error {
	defer context.AfterFunc(ctx, func() { s.writeBy(time.Unix(1, 0)) })()
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	sum := sha256.New()
	for size > 0 {
		n, err := io.ReadAtLeast(src, buf[:min(int64(len(buf)), size)], 1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("the registry stopped %d bytes before the end: %w", size, err)
		}
		sum.Write(buf[:n])
		if size -= int64(n); size == 0 && want != "" && "sha256:"+hex.EncodeToString(sum.Sum(nil)) != want {
			return remit.Errorf(remit.UpstreamDown, "the registry gave other bytes than those of %s", want)
		}
		s.writeBy(time.Now().Add(s.stall))
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// counted is a request body that is cut at a limit and knows whether anything of it was read.
type counted struct {
	r     io.Reader
	limit int64
	n     atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.n.Add(int64(n)) > c.limit {
		return 0, remit.Errorf(remit.TooLarge, "the blob is larger than %d bytes, which is what one request may bring", c.limit)
	}
	return n, err
}

func (c *counted) over() bool { return c.n.Load() > c.limit }
