package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
)

// keyed is post for what the server does once under an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): where the
// answer is lost on its way, or the server ends while it works, the same request is made again, for about six seconds.
// What was not sent at all, and every answer that came, is as with post.
func (c *Client) keyed(ctx context.Context, path string, in, out any) error {
	if in == nil {
		in = struct{}{}
	}
	d := *c
	d.key = rand.Text()
	lost := false
	for pause := firstPause; ; pause *= 2 {
		var sent atomic.Bool
		try := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
		err := d.call(try, http.MethodPost, path, "", in, out)
		lost = lost || sent.Load()
		if !lost || pause > lastPause || !unanswered(err) {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 3200 * time.Millisecond
)

// unanswered tells whether it is not known what came of a request, or not yet.
func unanswered(err error) bool {
	var e *remit.Error
	var syntax *json.SyntaxError
	var other *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &e):
		return false // also of a context that has ended
	case e.Code == remit.KeyInUse:
		return true
	case errors.As(err, &syntax), errors.As(err, &other):
		return false
	}
	return e.Err != nil && (e.Code == remit.UpstreamDown || e.Code == remit.Internal) // of the connection: an answer's own has no cause
}
