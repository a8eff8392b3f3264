// Package intake is what a request has to be before its message is looked at (MCP, Streamable HTTP): it names this server, no
// page led it here, and its body arrives whole and in time.
package intake

import (
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Place is what a server is called, and whose pages may call it.
type Place struct {
	names   []string // without any, each name will do
	origins []string
}

// At is the place of a server that clients find at the URL base, and by the names of hosts; pages of origins may call it.
func At(base string, hosts, origins []string) Place {
	names := slices.Clone(hosts)
	if u, err := url.Parse(base); err == nil && u.Host != "" {
		names = append(names, u.Host, u.Hostname())
	}
	return Place{names, origins}
}

// Check refuses with FORBIDDEN what a page in a browser sends that was led here by another name (DNS rebinding; Streamable HTTP,
// Security Warning): the browser says whose page it is, and by which name it came. On a loopback address this machine's own
// names are names of the server too.
func (p Place) Check(r *http.Request) *remit.Error {
	names := p.names
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if tcp, ok := local.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		names = slices.Concat(names, []string{"localhost", "127.0.0.1", "[::1]", "::1"})
	}
	known := func(host string) bool {
		bare := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			bare = h
		}
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, host) || strings.EqualFold(n, bare) })
	}
	if len(names) > 0 && !known(r.Host) {
		return remit.Errorf(remit.Forbidden, "this server is not called %.80q", r.Host)
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 || len(origins) == 1 && slices.Contains(p.origins, origins[0]) {
		return nil
	}
	if u, err := url.Parse(origins[0]); err != nil || len(origins) > 1 || len(names) == 0 || u.Host == "" || !known(u.Host) || !strings.EqualFold(u.Host, r.Host) {
		return remit.Errorf(remit.Forbidden, "a page of %.80q may not call this server", origins[0])
	}
	return nil
}

// Read reads the message of a request: JSON, at most limit bytes, all of it before within is over. Where it stays, the rest is
// not waited for either, and the connection ends.
func Read(w http.ResponseWriter, r *http.Request, limit int, within time.Duration) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, &remit.Error{Code: remit.BadRequest, Sentence: "Content-Type must be application/json",
			Err: &envelope.ProtocolError{Status: http.StatusUnsupportedMediaType, Code: envelope.InvalidRequest, Sentence: "Content-Type must be application/json"}}
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, remit.Errorf(remit.BadRequest, "a compressed message is not accepted")
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(within)) // a request in memory has none
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	switch {
	case err != nil:
		w.Header().Set("Connection", "close")
		return nil, remit.Errorf(remit.BadRequest, "the message did not arrive whole: %w", err)
	case len(body) > limit:
		w.Header().Set("Connection", "close")
		return nil, remit.Errorf(remit.TooLarge, "a message has at most %d bytes", limit)
	}
	_ = rc.SetReadDeadline(time.Time{})
	return body, nil
}
