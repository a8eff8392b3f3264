// Package front is an instance's own way to Remit's gateways: an agent speaks plain HTTP to it on this machine, and it
// puts the instance's token on what it sends on. So no agent has a token in its configuration, nor a certificate
// authority to trust.
package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// gateways are those that can be reached, and what the tokens of each are for.
var gateways = map[string]string{
	"mcp": "mcp", "hook": "hook", "acs": "acs", "git": "git", "forge": "forge", "task": "task", "change": "change", "secret": "secret",
	"registry": "oci", "probe": "probe",
}

// Tokens are the instance's.
type Tokens interface {
	// Token gives a token that is good at a gateway now.
	Token(ctx context.Context, gateway string) (string, error)
	// Forget drops one that the server does not know any more.
	Forget(token string)
}

// Config is what a Front needs; all of it.
type Config struct {
	Base   string // https://HOST:PORT, of the server
	Org    remit.Org
	CA     []byte // PEM: what the server is verified by, and by nothing else
	Tokens Tokens
	Log    *slog.Logger
}

// Front forwards /v1/orgs/ORG/GATEWAY/… to the server. Whoever reaches it acts as the instance: serve it where only the
// instance's processes get to, or behind Guarded.
type Front struct {
	base   *url.URL
	prefix string // /v1/orgs/ORG/
	proxy  *httputil.ReverseProxy
	idle   func()
}

// New is a Front; nothing is asked yet.
func New(c Config) (*Front, error) {
	base, err := url.Parse(c.Base)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil || strings.Trim(base.Path, "/") != "" {
		return nil, remit.Errorf(remit.BadRequest, "the server's address is https://HOST:PORT, not %q", c.Base)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA) {
		return nil, remit.Errorf(remit.BadRequest, "the server's CA holds no certificate in PEM")
	}
	// No proxy of the person's stands between an instance and its gateways, and bytes pass as they are.
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: 10 * time.Second, ExpectContinueTimeout: time.Second, IdleConnTimeout: 2 * time.Minute, MaxIdleConnsPerHost: 8,
	}
	f := &Front{base: base, prefix: "/v1/orgs/" + url.PathEscape(string(c.Org)) + "/", idle: transport.CloseIdleConnections}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: f.rewrite, Transport: &bearing{next: transport, tokens: c.Tokens}, FlushInterval: -1, // at once: answers are streams
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			var e *remit.Error
			switch {
			case r.Context().Err() != nil:
				return // the client went away
			case !errors.As(err, &e):
				e = remit.Errorf(remit.UpstreamDown, "Remit's server does not answer, so nothing can be decided and nothing was done: %w", err)
			}
			c.Log.Warn("an instance's request was not forwarded", "path", r.URL.Path, "err", err)
			refuse(w, e)
		},
	}
	return f, nil
}

// Close lets go of connections to the server that nothing uses.
func (f *Front) Close() { f.idle() }

// ServeHTTP forwards one request, streaming both ways.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, err := f.tokenFor(r.URL)
	if err != nil {
		refuse(w, err)
		return
	}
	f.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), gatewayKey{}, token)))
}

type gatewayKey struct{}

// tokenFor says which tokens a path asks for. What is served is a list: the rest of the server's API is for people and
// launchers, and no token of an instance's opens it.
func (f *Front) tokenFor(u *url.URL) (string, *remit.Error) {
	rest, ours := strings.CutPrefix(u.EscapedPath(), f.prefix)
	name, _, _ := strings.Cut(rest, "/")
	token, known := gateways[name]
	if !ours || !known {
		return "", remit.Errorf(remit.NotFound, "this is the way to the gateways of one organisation, which lie below %sGATEWAY/; there is none at %.200q", f.prefix, u.EscapedPath())
	}
	if slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return "", remit.Errorf(remit.BadRequest, "the path has a segment . or .. in it; write it without")
	}
	return token, nil
}

// rewrite aims a request at the server. ReverseProxy has removed what is hop by hop (RFC 9110 §7.6.1).
func (f *Front) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = f.base.Scheme, f.base.Host, f.base.Host
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	// No credential of the client's goes on; and no request to switch protocols, which ReverseProxy would keep.
	for _, h := range []string{"Authorization", "Cookie", "Dpop", "Connection", "Upgrade"} {
		p.Out.Header.Del(h)
	}
	if _, said := p.Out.Header["User-Agent"]; !said {
		p.Out.Header["User-Agent"] = nil // or net/http says one
	}
}

// refuse writes a problem (RFC 9457).
func refuse(w http.ResponseWriter, e *remit.Error) {
	info := e.Code.Info()
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(info.HTTP)
	_ = json.NewEncoder(w).Encode(remit.Problem{Code: e.Code, Title: info.Meaning, Detail: e.Sentence, Status: info.HTTP})
}
