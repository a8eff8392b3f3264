package client

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"github.com/remit-dev/remit"
)

// Through is a client of the gateways by the socket of an instance, which adds the instance's tokens: for a process that
// is part of it and can reach nothing else.
func Through(socket string, org remit.Org) *Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, DisableKeepAlives: true}
	return &Client{base: "http://instance/v1/orgs/" + url.PathEscape(string(org)), org: org, http: &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}
