package client

import (
	"context"
	"net/http"
	"strings"
	"sync"
)

// renewal is how a person proves themselves anew within a command.
type renewal struct {
	again func(context.Context) (token string, err error)

	mu    sync.Mutex
	token string // of the newest session
}

// Renewing is c that has its person prove themselves anew, and then asks once more, where the server answers that their
// session is over or that their proof is too old (RFC 9470). Again gives the token of the new session.
func (c *Client) Renewing(again func(context.Context) (token string, err error)) *Client {
	d := *c
	d.renew = &renewal{again: again, token: c.token}
	return &d
}

// bearer is the token that a request of a person's shows.
func (c *Client) bearer() string {
	if c.renew == nil {
		return c.token
	}
	c.renew.mu.Lock()
	defer c.renew.mu.Unlock()
	return c.renew.token
}

// renews tells whether another proof of the same kind would be another answer. Where the server asks for a class of
// authentication (RFC 9470 §3, acr_values), it would not: an SSH key has none.
func (c *Client) renews(resp *http.Response) bool {
	return c.renew != nil && resp.StatusCode == http.StatusUnauthorized &&
		!strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), ","), "acr_values=")
}

// newer is a token that is newer than old: that which another request got meanwhile, or that of a new proof.
func (r *renewal) newer(ctx context.Context, old string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.token != old {
		return r.token, nil
	}
	token, err := r.again(ctx)
	if err == nil {
		r.token = token
	}
	return token, err
}
