package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// maxObserved is the largest answer that Remit reads in its own name, in bytes.
const maxObserved = 4 << 20

// call to the forge. Nothing of a client's headers is in it.
type outgoing struct {
	method, path, query string
	body                []byte
	apply               func(*http.Request) error // adds the credential
	accept              string
}

// send gives the forge's answer, and the secrets that were sent with it. Every error is an UPSTREAM_UNAVAILABLE;
// errUnsent is in it if the request certainly did not arrive.
func (f Forge) send(ctx context.Context, o outgoing) (*http.Response, []string, error) {
	address := f.URL + api + o.path
	if o.query != "" {
		address += "?" + o.query
	}
	unsent := func(format string, args ...any) error {
		e := remit.Errorf(remit.UpstreamDown, format, args...)
		e.Err = errors.Join(errUnsent, e.Err)
		return e
	}
	req, err := http.NewRequestWithContext(ctx, o.method, address, bytes.NewReader(o.body))
	if err != nil {
		return nil, nil, unsent("the address of forge %s is no URL: %w", f.Name, err)
	}
	if o.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if o.accept != "" {
		req.Header.Set("Accept", o.accept)
	}
	req.Header.Set("User-Agent", "remit")
	if o.apply != nil {
		if err := o.apply(req); err != nil {
			return nil, nil, unsent("the credential for forge %s cannot be had: %w", f.Name, err)
		}
	}
	res, err := f.Transport.RoundTrip(req)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return nil, nil, unsent("forge %s cannot be reached: %w", f.Name, err)
	}
	if err != nil {
		return nil, nil, remit.Errorf(remit.UpstreamDown, "forge %s broke off: %w", f.Name, err)
	}
	if err := f.wrong(res); err != nil {
		io.CopyN(io.Discard, res.Body, 4<<10)
		res.Body.Close()
		return nil, nil, err
	}
	return res, secrets(req.Header.Get("Authorization")), nil
}

// errUnsent marks what did not reach the forge; errAnswered, what the forge answered that it would not do.
var (
	errUnsent   = errors.New("not sent")
	errAnswered = errors.New("answered")
)

// wrong says what of an answer is not for the client: it is about Remit's own credential or address.
func (f Forge) wrong(res *http.Response) error {
	say := func(format string, args ...any) error {
		e := remit.Errorf(remit.UpstreamDown, "forge %s "+format, append([]any{f.Name}, args...)...)
		e.Err = errAnswered
		return e
	}
	switch status := res.StatusCode; {
	case status >= 300 && status < 400 && status != http.StatusNotModified:
		host := "elsewhere"
		if to, err := url.Parse(res.Header.Get("Location")); err == nil && to.Host != "" {
			host = "to " + to.Host
		}
		return say("redirects %.100s, where no credential is sent; declare that name instead", host)
	case status == http.StatusUnauthorized:
		return say("does not accept Remit's credential (status 401); check the declared credential")
	case status == http.StatusTooManyRequests:
		return say("has too many requests (status 429); try again in a moment")
	}
	return nil
}

// secrets are the texts of an Authorization header that may never come back to a client.
func secrets(header string) []string {
	scheme, rest, _ := strings.Cut(header, " ")
	if rest = strings.TrimSpace(rest); rest == "" {
		return nil
	}
	out := []string{rest}
	if strings.EqualFold(scheme, "Basic") {
		if text, err := base64.StdEncoding.DecodeString(rest); err == nil {
			_, password, _ := strings.Cut(string(text), ":")
			out = append(out, password)
		}
	}
	var long []string
	for _, s := range out {
		if len(s) >= 8 { // shorter ones stand in any text
			long = append(long, s)
		}
	}
	return long
}

// observe reads JSON at the forge in Remit's own name. 404 is NOT_FOUND.
func (g *Gateway) observe(ctx context.Context, f Forge, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, _, err := f.send(ctx, outgoing{method: http.MethodGet, path: path, apply: f.Observer})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxObserved+1))
	switch {
	case err != nil:
		return remit.Errorf(remit.UpstreamDown, "forge %s broke off: %w", f.Name, err)
	case res.StatusCode == http.StatusNotFound:
		return remit.Errorf(remit.NotFound, "forge %s has no %s", f.Name, remit.Visible(path))
	case res.StatusCode != http.StatusOK || len(body) > maxObserved:
		return remit.Errorf(remit.UpstreamDown, "forge %s answers Remit's own reading with status %d and %d bytes", f.Name, res.StatusCode, len(body))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return remit.Errorf(remit.UpstreamDown, "what forge %s answers is not the JSON that its API describes: %w", f.Name, err)
	}
	g.Log.InfoContext(ctx, "observed", "identity", "remit:observer", "forge", f.Name, "path", path)
	return nil
}

// tip reads the commit of a branch.
func (g *Gateway) tip(ctx context.Context, f Forge, path string) (string, error) {
	var b struct {
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}
	err := g.observe(ctx, f, path, &b)
	if err == nil && !isCommit(b.Commit.ID) {
		err = remit.Errorf(remit.UpstreamDown, "forge %s says of a branch that its commit is %.64q", f.Name, b.Commit.ID)
	}
	return b.Commit.ID, err
}

func isNotFound(err error) bool {
	var e *remit.Error
	return errors.As(err, &e) && e.Code == remit.NotFound
}
