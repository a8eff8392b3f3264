package sse

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Beat is the time between signs of life of an answer that is kept open.
const Beat = 5 * time.Second

// Answer answers with one message: as JSON, unless the client takes event streams only. One write takes at most within.
func Answer(w http.ResponseWriter, r *http.Request, within time.Duration, status int, message []byte) {
	o := NewWriter(w, within)
	defer o.End()
	if json, stream := Accepts(r); stream && !json && status == http.StatusOK {
		if o.Open() == nil {
			_ = o.Message(message, true) // the client is gone: there is nobody to tell
		}
		return
	}
	o.Header(status, "application/json")
	_ = o.Write(message)
}

// Pending is an answer that is kept open.
type Pending struct {
	*Writer
	r      *http.Request
	cancel context.CancelFunc
	signs  chan struct{} // closed when the signs of life have ended; nil: there are none
}

// KeepOpen begins a stream where the client takes one, so that nothing on the way thinks that nobody answers: until ctx ends,
// or Close is called, it has a sign of life each Beat. That is a comment, or, where the client gave a progressToken, a
// notification that says why (MCP, Progress).
func KeepOpen(ctx context.Context, w http.ResponseWriter, r *http.Request, within time.Duration, token json.RawMessage, why string) *Pending {
	o := &Pending{Writer: NewWriter(w, within), r: r}
	ctx, o.cancel = context.WithCancel(ctx)
	if _, stream := Accepts(r); !stream || o.Open() != nil {
		return o
	}
	o.signs = make(chan struct{})
	go func() {
		defer close(o.signs)
		every := time.NewTicker(Beat)
		defer every.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			var err error
			if token == nil {
				err = o.Write([]byte(": waiting\n\n"))
			} else { // the count must grow; nobody knows of how many
				err = o.Message(envelope.Encode(map[string]any{"jsonrpc": "2.0", "method": "notifications/progress",
					"params": map[string]any{"progressToken": token, "progress": n, "message": why}}), false)
			}
			if err != nil {
				return
			}
		}
	}()
	return o
}

// Close sends the answer, if there is one, and ends it.
func (o *Pending) Close(message []byte) {
	o.cancel()
	if o.signs != nil {
		<-o.signs
	}
	defer o.End()
	switch {
	case message == nil:
	case !o.Begun:
		Answer(o.HTTP, o.r, o.within, http.StatusOK, message)
	default:
		_ = o.Message(message, true) // the client is gone: there is nobody to tell
	}
}
