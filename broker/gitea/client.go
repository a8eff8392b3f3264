package gitea

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
)

const (
	callTime  = 30 * time.Second
	maxAnswer = 8 << 20 // a page of 50 repositories is some 200 KiB
)

// client speaks to one Gitea with one credential, for the time of one call of the provider.
type client struct {
	ctx      context.Context
	upstream string
	url      string
	http     *http.Client
	sdk      *sdk.Client
}

func (p *Provider) dial(ctx context.Context, a broker.Asked) (*client, error) {
	if err := p.check(a); err != nil {
		return nil, err
	}
	return remits(ctx, a.Upstream)
}

// remits is a client with Remit's own credential.
func remits(ctx context.Context, u remit.Upstream) (*client, error) {
	header, err := broker.Authorization(ctx, u.Write)
	if err != nil {
		return nil, err
	}
	if header == "" {
		return nil, remit.Errorf(remit.BadRequest, "upstream %s declares no credential of an administrator as write", u.Name)
	}
	if token, bearer := strings.CutPrefix(header, "Bearer "); bearer {
		header = basic("remit", token) // services/auth/basic.go: the name beside a token is not looked at
	}
	return dial(ctx, u, header)
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func dial(ctx context.Context, u remit.Upstream, authorization string) (*client, error) {
	at, err := url.Parse(strings.TrimSuffix(u.Location, "/"))
	if err != nil || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return nil, remit.Errorf(remit.BadRequest, "the location of upstream %s is not of the form https://HOST/PATH", u.Name)
	}
	ip := net.ParseIP(at.Hostname())
	loopback := at.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if at.Scheme != "https" && !(at.Scheme == "http" && u.Insecure && loopback) {
		return nil, remit.Errorf(remit.BadRequest, "the location of upstream %s is not https; http is for a loopback address that is declared as insecure", u.Name)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if u.CA != "" {
		pem, err := os.ReadFile(u.CA)
		if err != nil {
			return nil, remit.Errorf(remit.UpstreamDown, "the certificates of upstream %s: %w", u.Name, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, remit.Errorf(remit.UpstreamDown, "%s, the certificates of upstream %s, holds none in PEM", u.CA, u.Name)
		}
	}
	// Connections are not kept: a client lives for one call, and a lease makes a handful of them.
	next := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, TLSHandshakeTimeout: callTime, ResponseHeaderTimeout: callTime,
		DialContext: (&net.Dialer{Timeout: callTime}).DialContext, MaxResponseHeaderBytes: 64 << 10}
	c := &client{ctx: ctx, upstream: u.Name, url: at.String(), http: &http.Client{
		Transport: &transport{host: at.Host, authorization: authorization, next: next}, Timeout: callTime,
		// A repository that was renamed answers with its new place; a lease is for what was declared.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.sdk, err = sdk.NewClient(c.url, sdk.SetContext(ctx), sdk.SetHTTPClient(c.http), sdk.SetGiteaVersion(""), sdk.SetUserAgent("remit"))
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "upstream %s: %w", u.Name, err)
	}
	return c, nil
}

// of is a client for the tokens of a user: the SDK takes the name of whose tokens they are from the name that it signs
// in with. What is really sent is the client's own credential.
func (c *client) of(user string) *sdk.Client {
	s, err := sdk.NewClient(c.url, sdk.SetContext(c.ctx), sdk.SetHTTPClient(c.http), sdk.SetGiteaVersion(""), sdk.SetUserAgent("remit"), sdk.SetBasicAuth(user, ""))
	if err != nil {
		return c.sdk // it has no user, so its methods for tokens fail
	}
	return s
}

// purge deletes a user with all that it owns, which the SDK has no parameter for.
func (c *client) purge(user string) (*sdk.Response, error) {
	r, err := http.NewRequestWithContext(c.ctx, http.MethodDelete, c.url+"/api/v1/admin/users/"+url.PathEscape(user)+"?purge=true", nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		err = errors.New(answer.Status)
	}
	return &sdk.Response{Response: answer}, err
}

func status(r *sdk.Response) int {
	if r == nil || r.Response == nil {
		return 0
	}
	return r.StatusCode
}

// failed is the error of a call. What the upstream says is left out: it may repeat what it was sent.
func (c *client) failed(what string, r *sdk.Response, err error) error {
	if cause := c.ctx.Err(); cause != nil {
		return cause
	}
	switch s := status(r); s {
	case 0:
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return remit.Errorf(remit.UpstreamDown, "upstream %s could not be asked to %s: %w", c.upstream, what, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return remit.Errorf(remit.Forbidden, "upstream %s does not let Remit %s (%d); its credential is a token of an administrator with the scopes write:admin, write:user and write:repository", c.upstream, what, s)
	case http.StatusOK, http.StatusCreated:
		return remit.Errorf(remit.UpstreamDown, "upstream %s was asked to %s, and its answer is not what Gitea says: %w", c.upstream, what, err)
	default:
		return remit.Errorf(remit.UpstreamDown, "upstream %s was asked to %s, and answered %d", c.upstream, what, s)
	}
}

// transport puts the credential on what goes to the one host, and bounds what comes back.
type transport struct {
	host, authorization string
	next                http.RoundTripper
}

var errTooLong = errors.New("the answer is too long")

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != t.host {
		return nil, errors.New(r.URL.Host + " is not the declared upstream " + t.host)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", t.authorization)
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &limited{answer.Body, maxAnswer}
	return answer, nil
}

// limited is a body that fails instead of ending when there is more than expected.
type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(b)) > l.left {
		b = b[:l.left]
	}
	n, err := l.ReadCloser.Read(b)
	l.left -= int64(n)
	return n, err
}
