// Package upstream is the way to a server that has an address: Remit's own client of it, and what every way there shares.
package upstream

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Endpoint is where a server is.
type Endpoint struct {
	Name      string // as it is declared
	URL       string
	Transport http.RoundTripper // it follows no redirects
}

// Send makes one request: with the headers of the protocol, the server's own session (empty: none), and the credential that
// apply puts on it (nil: none). arrived is false where the server surely has not got it. Redirects are answers.
func (e Endpoint) Send(ctx context.Context, method string, header http.Header, session string, body []byte, apply func(*http.Request) error) (resp *http.Response, arrived bool, err error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, method, e.URL, bytes.NewReader(body))
	if err != nil {
		return nil, false, remit.Errorf(remit.Internal, "the address of server %s cannot be requested", e.Name)
	}
	if r.Header = header.Clone(); r.Header == nil {
		r.Header = http.Header{}
	}
	if session != "" {
		r.Header.Set(envelope.HeaderSession, session)
	}
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json, text/event-stream")
	}
	r.Header.Set("User-Agent", "remit")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if apply != nil {
		if err := apply(r); err != nil {
			return nil, false, err
		}
	}
	resp, err = e.Transport.RoundTrip(r)
	return resp, sent.Load(), err
}
