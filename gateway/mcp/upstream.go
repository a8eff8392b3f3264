package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/upstream"
)

// endpoint is where a server of an address is.
func (s Server) endpoint() upstream.Endpoint {
	return upstream.Endpoint{Name: s.Name, URL: s.URL, Transport: s.Transport}
}

// send makes one request of the server of a call, in its session.
func (g *Gateway) send(ctx context.Context, c *call, method string, body []byte, cred gateway.Credential) (resp *http.Response, arrived bool, err error) {
	session := ""
	if c.session != nil {
		session = c.session.upstream
	}
	return c.server.endpoint().Send(ctx, method, c.header, session, body, cred.Apply)
}

// secrets finds in what a server says what a credential puts on a request.
func secrets(cred gateway.Credential, mark string) (*upstream.Redactor, error) {
	values, err := upstream.Secrets(cred.Apply)
	if err != nil {
		return nil, err
	}
	return hiding(mark, values), nil
}

// hiding finds values in what a server says, in each form that it may say them in.
func hiding(server string, values []string) *upstream.Redactor {
	var forms [][]byte
	for _, v := range values {
		if len(v) >= upstream.ShortestSecret {
			forms = append(forms, gateway.Forms([]byte(v))...)
		}
	}
	return upstream.NewRedactor(server, forms)
}

// maxRefusal bounds what is read of an answer that is none.
const maxRefusal = 64 << 10

// refused answers what a server said instead of an answer: its status, and what it wrote, if that is for the client. What it
// says of Remit's credential is not.
func (g *Gateway) refused(d *delivery, resp *http.Response) gateway.Result {
	res := gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown}
	if resp.StatusCode >= 500 || resp.StatusCode < 300 {
		res.Outcome = remit.Ambiguous
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	body = d.scrub.Clean(body)
	t := mediaType(resp.Header)
	m, no := envelope.FromServer(body)
	said := t == "application/json" && no == nil && m.Response()
	switch {
	case resp.StatusCode < 400, resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusProxyAuthRequired:
		g.broken(d, remit.UpstreamDown, "the server %s answers Remit with HTTP %d", d.c.server.Name, resp.StatusCode)
		return res
	case err != nil || (t == "application/json") && !said || bytes.IndexByte(body, 0) >= 0:
		g.broken(d, remit.UpstreamDown, "the server %s answers with HTTP %d", d.c.server.Name, resp.StatusCode)
		return res
	}
	if d.c.session != nil && resp.StatusCode == http.StatusNotFound && !said { // the server has forgotten the session
		defer g.end(d.c.session)
	}
	if !said {
		t = "text/plain; charset=utf-8"
	}
	for _, name := range []string{"Allow", "Retry-After"} {
		if v := resp.Header.Get(name); v != "" {
			d.out.HTTP.Header().Set(name, string(d.scrub.Clean([]byte(v))))
		}
	}
	d.out.Header(resp.StatusCode, t)
	_ = d.out.Write(body) // the client is gone: there is nobody to tell
	res.Receipt = received(body, true)
	return res
}

func received(result []byte, failed bool) []byte {
	return envelope.Encode(receipt{Digest: remit.Hash(result), Bytes: len(result), Error: failed})
}

// failed tells whether the result of a tool says that it failed.
func failed(result json.RawMessage) bool { return string(envelope.Member(result, "isError")) == "true" }
