package front

import (
	"bytes"
	"io"
	"net/http"

	"github.com/remit-dev/remit"
)

// maxKept is the longest body that is kept to be sent again, in bytes; only bodies whose length the client said are.
const maxKept = 1 << 20

// bearing puts the instance's token on each request. A server that was started again knows none of the tokens that it
// gave before: what it refuses for that is sent once more with a new one, where the body can be had again.
type bearing struct {
	next   http.RoundTripper
	tokens Tokens
}

// RoundTrip sends one request.
func (b *bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	gateway, _ := r.Context().Value(gatewayKey{}).(string)
	again := r.Body == nil || r.Body == http.NoBody
	if !again && r.ContentLength > 0 && r.ContentLength <= maxKept {
		kept, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, remit.Errorf(remit.BadRequest, "the request's body ended early")
		}
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept)), nil }
		r.Body, _ = r.GetBody()
		again = true
	}
	for {
		token, err := b.tokens.Token(r.Context(), gateway)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := b.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			resp.Body.Close()
			return nil, remit.Errorf(remit.UpstreamDown, "the server wants to switch protocols, which no gateway does")
		}
		if resp.StatusCode != http.StatusUnauthorized {
			return resp, nil
		}
		b.tokens.Forget(token)
		if !again {
			return resp, nil
		}
		again = false
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxKept))
		resp.Body.Close()
		r = r.Clone(r.Context())
		if r.GetBody != nil {
			r.Body, _ = r.GetBody()
		}
	}
}
