package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/remit-dev/remit"
)

// events tells a page what comes to the log, as server-sent events (WHATWG HTML §9.2): the kind of each entry and its
// number, nothing of what it says. A page that hears of something asks for itself again.
func events(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	from := v.r.URL.Query().Get("from")
	if last := v.r.Header.Get("Last-Event-ID"); last != "" { // the connection broke and the browser goes on
		n, err := strconv.ParseUint(last, 10, 62)
		if err != nil {
			return remit.Errorf(remit.BadRequest, "Last-Event-ID is the number of an entry")
		}
		from = strconv.FormatUint(n+1, 10)
	}
	n, err := strconv.ParseUint(from, 10, 62)
	if err != nil {
		return remit.Errorf(remit.BadRequest, "from is the number of an entry")
	}
	req, err := v.request(v.r.Context(), http.MethodGet, "/log/entries?follow=true&from="+strconv.FormatUint(n, 10), http.NoBody)
	if err != nil {
		return err
	}
	t := &ticker{w: v.w, header: http.Header{}}
	v.cfg.API.ServeHTTP(t, req)
	if t.status >= 300 {
		return problem(&answer{header: t.header, status: t.status, body: t.rest})
	}
	return nil
}

// ticker turns the entries of the log, a line of JSON each, into events.
type ticker struct {
	w      http.ResponseWriter
	header http.Header
	status int
	begun  bool
	rest   bytes.Buffer // of a line that has not ended; or the problem
}

func (t *ticker) Header() http.Header { return t.header }

func (t *ticker) WriteHeader(status int) { t.status = status }

// Unwrap gives http.ResponseController the connection, for its deadlines.
func (t *ticker) Unwrap() http.ResponseWriter { return t.w }

// FlushError sends what there is.
func (t *ticker) FlushError() error {
	t.begin()
	return http.NewResponseController(t.w).Flush()
}

func (t *ticker) begin() {
	if t.begun {
		return
	}
	t.begun = true
	t.w.Header().Set("Content-Type", "text/event-stream")
	t.w.WriteHeader(http.StatusOK)
}

func (t *ticker) Write(b []byte) (int, error) {
	if t.status >= 300 {
		return t.rest.Write(b)
	}
	t.begin()
	t.rest.Write(b)
	for {
		i := bytes.IndexByte(t.rest.Bytes(), '\n')
		if i < 0 {
			return len(b), nil
		}
		if err := t.line(t.rest.Next(i + 1)[:i]); err != nil {
			return 0, err
		}
	}
}

// line is one entry; an empty line says that the server is there.
func (t *ticker) line(b []byte) error {
	if len(b) == 0 {
		_, err := t.w.Write([]byte(":\n\n"))
		if err != nil {
			return err
		}
		return http.NewResponseController(t.w).Flush()
	}
	var e remit.LogEntry
	var leaf struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("an entry of the log: %w", err)
	}
	if err := json.Unmarshal(e.Leaf, &leaf); err != nil {
		return fmt.Errorf("entry %d of the log: %w", e.Entry, err)
	}
	_, err := fmt.Fprintf(t.w, "id: %d\nevent: entry\ndata: %s\n\n", e.Entry, leaf.Kind)
	return err
}
