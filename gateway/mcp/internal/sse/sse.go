// Package sse reads and writes streams of server-sent events (HTML, Server-sent events §9.2), which carry messages of the
// Model Context Protocol (Streamable HTTP), without writing anew what only passes through.
package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Event is one server-sent event (HTML, Server-sent events §9.2.6), as it came.
type Event struct {
	Raw   []byte // with the blank line that ends it
	rest  []byte // its lines without those of data
	Data  []byte // of its data lines
	HasID bool   // it has an id, so that the stream can be taken up again behind it
}

// Blank tells whether the event says nothing.
func (e Event) Blank() bool { return len(bytes.TrimSpace(e.Data)) == 0 }

// WithData is the event with other data: what else it says stays.
func (e Event) WithData(data []byte) []byte {
	out := append([]byte{}, e.rest...)
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		out = append(append(append(out, "data: "...), line...), '\n')
	}
	return append(out, '\n')
}

// What reading a stream can fail with, besides io.ErrUnexpectedEOF.
var (
	ErrTooLong = errors.New("a message is longer than the limit")
	ErrStream  = errors.New("the stream is no stream of events")
)

// Reader reads a stream of events.
type Reader struct {
	r     *bufio.Reader
	limit int // bytes of one event
	begun bool
}

// NewReader reads r. An event has at most limit bytes, with its comments and its ids.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{r: bufio.NewReader(r), limit: limit}
}

// Next gives the next event, or io.EOF where the stream ends between two. What clients may read otherwise than this reader is
// an error: a byte order mark, and a carriage return that is not before a line feed, which ends a line for some.
func (s *Reader) Next() (Event, error) {
	var e Event
	for {
		line, err := s.line(len(e.Raw))
		if err != nil {
			if err == io.EOF && (len(e.Raw) > 0 || len(line) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return Event{}, err
		}
		if !s.begun && bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
			return Event{}, ErrStream
		}
		s.begun = true
		e.Raw = append(e.Raw, line...)
		text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if bytes.IndexByte(text, '\r') >= 0 {
			return Event{}, ErrStream
		}
		if len(text) == 0 {
			e.Data = bytes.TrimSuffix(e.Data, []byte("\n"))
			return e, nil
		}
		name, value, _ := bytes.Cut(text, []byte(":"))
		if string(name) == "data" {
			e.Data = append(append(e.Data, bytes.TrimPrefix(value, []byte(" "))...), '\n')
			continue
		}
		e.HasID = e.HasID || string(name) == "id"
		e.rest = append(e.rest, line...)
	}
}

func (s *Reader) line(before int) (line []byte, err error) {
	for {
		part, err := s.r.ReadSlice('\n')
		line = append(line, part...)
		if before+len(line) > s.limit {
			return line, ErrTooLong
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// Writer is where an answer streams to. Whoever reads too slowly is cut off, so that nobody holds a server's connection
// by not reading.
type Writer struct {
	HTTP   http.ResponseWriter
	within time.Duration // that one write may take
	Begun  bool          // the status was written
	Stream bool          // it is a stream of events
	Sent   bool          // the answer itself was written
}

// NewWriter answers on w. One write takes at most within: then it fails.
func NewWriter(w http.ResponseWriter, within time.Duration) *Writer {
	return &Writer{HTTP: w, within: within}
}

// Write writes bytes as they are, and sends them at once where it is a stream.
func (o *Writer) Write(b []byte) error {
	rc := http.NewResponseController(o.HTTP)
	_ = rc.SetWriteDeadline(time.Now().Add(o.within)) // a writer in memory has none
	if _, err := o.HTTP.Write(b); err != nil {
		return err
	}
	if o.Stream {
		_ = rc.Flush()
	}
	return nil
}

// End takes the deadline away: the connection may serve other requests.
func (o *Writer) End() { _ = http.NewResponseController(o.HTTP).SetWriteDeadline(time.Time{}) }

// Header begins an answer of one body.
func (o *Writer) Header(status int, contentType string) {
	h := o.HTTP.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Content-Type-Options", "nosniff")
	o.HTTP.WriteHeader(status)
	o.Begun = true
}

// Open begins a stream of events; its first byte does not wait for the first event.
func (o *Writer) Open() error {
	o.Header(http.StatusOK, "text/event-stream")
	o.Stream = true
	return http.NewResponseController(o.HTTP).Flush()
}

// Message writes one message in the form that the answer has, and begins it if it has none: last, and alone, it is JSON.
func (o *Writer) Message(b []byte, last bool) error {
	o.Sent = o.Sent || last
	if !o.Begun && last {
		o.Header(http.StatusOK, "application/json")
		return o.Write(b)
	}
	if !o.Begun {
		if err := o.Open(); err != nil {
			return err
		}
	}
	return o.Write(Event{rest: []byte("event: message\n")}.WithData(b))
}

// Accepts tells what a client takes for an answer. One that does not say takes JSON.
func Accepts(r *http.Request) (json, stream bool) {
	any := true
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			t, _, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			any = false
			json = json || t == "application/json" || t == "application/*" || t == "*/*"
			stream = stream || t == "text/event-stream" || t == "text/*" || t == "*/*"
		}
	}
	return json || any, stream
}
