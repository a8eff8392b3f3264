package git

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// stream keeps a slow or silent client from holding a request forever: every read and write has its own deadline, so a
// large push may take as long as it keeps moving.
type stream struct {
	rc    *http.ResponseController
	stall time.Duration
	last  time.Time // for reading the request
	begun atomic.Bool
	whole atomic.Bool // the request was read to its end
}

// longest is how long a request may take to arrive, however steadily it drips.
const longest = time.Hour

// newStream makes a stream of r and its answer; w may be nil for a request that is classified only.
func newStream(w http.ResponseWriter, r *http.Request, stall time.Duration) *stream {
	s := &stream{stall: stall, last: time.Now().Add(longest)}
	s.whole.Store(r.Body == nil || r.Body == http.NoBody)
	if w != nil {
		s.rc = http.NewResponseController(w)
	}
	return s
}

// readBy and writeBy set deadlines; a ResponseWriter that has none (in tests) is let be.
func (s *stream) readBy(t time.Time) {
	if s.rc != nil {
		s.rc.SetReadDeadline(t)
	}
}

func (s *stream) writeBy(t time.Time) {
	if s.rc != nil {
		s.rc.SetWriteDeadline(t)
	}
}

// body is the request's body, with a deadline for each read.
func (s *stream) body(r *http.Request) io.Reader { return &slowReader{s: s, r: r.Body} }

type slowReader struct {
	s *stream
	r io.Reader
}

func (b *slowReader) Read(p []byte) (int, error) {
	b.s.begun.Store(true)
	by := time.Now().Add(b.s.stall)
	if by.After(b.s.last) {
		by = b.s.last
	}
	b.s.readBy(by)
	n, err := b.r.Read(p)
	if err != nil {
		b.s.ended(err)
	}
	return n, err
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// ended is told how reading the request ended. Behind a whole one the server goes on reading, to notice that the client
// leaves: that must not run into a deadline. Of any other it would read the rest before it answers, and a client that
// never sends it would hold the connection for ever: there the deadline is over, and the connection ends with the answer.
func (s *stream) ended(err error) {
	if errors.Is(err, io.EOF) {
		s.whole.Store(true)
	}
	if s.whole.Load() {
		s.readBy(time.Time{})
		return
	}
	s.readBy(past)
}

// writer is w, with a deadline for each write.
func (s *stream) writer(w io.Writer) io.Writer { return slowWriter{s, w} }

type slowWriter struct {
	s *stream
	w io.Writer
}

func (b slowWriter) Write(p []byte) (int, error) {
	b.s.writeBy(time.Now().Add(b.s.stall))
	return b.w.Write(p)
}

// drain reads what the client is still sending, 1 MiB and a second at most: a client that is cut off while it sends
// shows the broken connection instead of the answer. Who waits for 100 Continue (RFC 9110 §10.1.1) sends nothing yet, and
// is not asked to.
func (s *stream) drain(r *http.Request) {
	if s.whole.Load() || !s.begun.Load() && r.Header.Get("Expect") != "" {
		return
	}
	s.readBy(time.Now().Add(time.Second))
	_, err := io.CopyN(io.Discard, r.Body, 1<<20)
	s.ended(err)
}

// end takes the deadlines off the connection, which may serve another request if this one was read whole.
func (s *stream) end() {
	s.ended(nil)
	s.writeBy(time.Time{})
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// copy passes src on to the client as it comes, until it ends, ctx ends, or the client stops reading.
func (s *stream) copy(ctx context.Context, w io.Writer, src io.Reader) error {
	defer context.AfterFunc(ctx, func() { s.writeBy(past) })()
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if n > 0 {
			if _, err := s.writer(w).Write(buf[:n]); err != nil {
				return err
			}
			if s.rc != nil {
				s.rc.Flush()
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
