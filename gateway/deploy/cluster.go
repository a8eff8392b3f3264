package deploy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// cluster speaks the few requests to a Kubernetes API server that a deployment needs.
type cluster struct {
	base string // https://HOST:PORT, or with a path
	http *http.Client
	auth func(*http.Request) error
}

const (
	maxObject = 3 << 20 // as large as an object can be in etcd, and more
	manager   = "remit" // field manager of server-side apply
	oneCall   = 30 * time.Second
)

// transport reaches a declared cluster and trusts what its declaration says.
func transport(u remit.Upstream) (http.RoundTripper, error) {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: oneCall, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, DisableCompression: true}
	if u.CA != "" {
		pem, err := os.ReadFile(u.CA)
		if err != nil {
			return nil, remit.Errorf(remit.UpstreamDown, "the certificates of upstream %s: %w", u.Name, err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, remit.Errorf(remit.UpstreamDown, "%s, the certificates of upstream %s, holds none in PEM", u.CA, u.Name)
		}
	}
	return t, nil
}

// cluster is the API server of an upstream, with what puts a credential on a request.
func (g *Gateway) cluster(u remit.Upstream, auth func(*http.Request) error) (*cluster, error) {
	at, err := url.Parse(u.Location)
	if err != nil || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Scheme != "https" && !(at.Scheme == "http" && u.Insecure) {
		return nil, remit.Errorf(remit.Conflict, "upstream %s: the location of a cluster is https://HOST:PORT", u.Name)
	}
	t, err := g.cfg.Transport(u)
	if err != nil {
		return nil, err
	}
	// A redirect would carry the credential elsewhere.
	return &cluster{base: strings.TrimSuffix(u.Location, "/"), auth: auth,
		http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// refusal is an answer of the API server that says no.
type refusal struct {
	status int
	reason string // Status.reason, such as Forbidden
	text   string
}

func (e *refusal) Error() string {
	return fmt.Sprintf("the cluster says %d %s: %s", e.status, e.reason, e.text)
}

// final tells whether err proves that the request changed nothing: the API server itself refused it.
func final(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status >= 400 && r.status < 500 && r.status != http.StatusRequestTimeout && r.status != http.StatusTooManyRequests
}

func notFound(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == http.StatusNotFound
}

// apply asks that an object becomes what body says: server-side apply, in which the fields that others set stay theirs.
func (c *cluster) apply(ctx context.Context, o *object, dry bool) (map[string]any, error) {
	body, err := json.Marshal(o.body)
	if err != nil {
		return nil, err
	}
	q := url.Values{"fieldManager": {manager}, "force": {"true"}, "fieldValidation": {"Strict"}}
	if dry {
		q.Set("dryRun", "All")
	}
	return c.do(ctx, http.MethodPatch, o.path+"?"+q.Encode(), body)
}

func (c *cluster) get(ctx context.Context, o *object) (map[string]any, error) {
	return c.do(ctx, http.MethodGet, o.path, nil)
}

func (c *cluster) do(ctx context.Context, method, path string, body []byte) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, oneCall)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/apply-patch+yaml") // of which JSON is a part
	}
	if err := c.auth(req); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which the receipt need not repeat
		}
		return nil, fmt.Errorf("the cluster does not answer: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxObject+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the cluster's answer broke off: %w", err)
	case len(b) > maxObject:
		return nil, fmt.Errorf("the cluster's answer has more than %d bytes", maxObject)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		var s struct{ Reason, Message string }
		if json.Unmarshal(b, &s) != nil {
			s.Message = "an answer that is not Kubernetes'"
		}
		return nil, &refusal{resp.StatusCode, clip(s.Reason, 64), clip(s.Message, 1<<10)}
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, errors.New("the cluster's answer is no object")
	}
	return out, nil
}
