package git

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/remit-dev/remit"
)

// errAnswered marks a failure that the upstream itself stated, with a status: it did not take the request.
var errAnswered = errors.New("the upstream answered")

// upstreamRequest is a request to an upstream. Nothing of a client's headers is in it: what is sent is what stands here.
type upstreamRequest struct {
	repo     Repo
	service  string
	advert   bool
	apply    func(*http.Request) error // adds the credential
	protocol string                    // Git-Protocol, for reads
	body     io.ReadCloser
	length   int64 // -1: not known
}

// send gives the upstream's answer, of status 200 and of the type that belongs to the request. Every error is an
// UPSTREAM_UNAVAILABLE that names what is wrong.
func (u upstreamRequest) send(ctx context.Context) (*http.Response, error) {
	method, address, kind := http.MethodPost, u.repo.URL+"/"+u.service, "result"
	if u.advert {
		method, address, kind = http.MethodGet, u.repo.URL+"/info/refs?service="+u.service, "advertisement"
	}
	req, err := http.NewRequestWithContext(ctx, method, address, u.body)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream's address of %s is not a URL: %w", u.repo.Name, err)
	}
	want := "application/x-" + u.service + "-" + kind
	req.Header.Set("Accept", want)
	// Forges tell git's clients from others by this.
	req.Header.Set("User-Agent", "git/2 remit")
	if !u.advert {
		req.Header.Set("Content-Type", "application/x-"+u.service+"-request")
		req.ContentLength = u.length
	}
	if u.protocol != "" {
		req.Header.Set("Git-Protocol", u.protocol)
	}
	if u.apply != nil {
		if err := u.apply(req); err != nil {
			return nil, remit.Errorf(remit.UpstreamDown, "the credential for the upstream of %s cannot be had: %w", u.repo.Name, err)
		}
	}
	res, err := u.repo.Transport.RoundTrip(req)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the upstream of %s cannot be reached or broke off: %w", u.repo.Name, err)
	}
	if why := u.wrong(res, want); why != nil {
		io.CopyN(io.Discard, res.Body, 4<<10)
		res.Body.Close()
		return nil, why
	}
	return res, nil
}

// wrong says in words what is not right about an answer.
func (u upstreamRequest) wrong(res *http.Response, want string) error {
	say := func(format string, args ...any) error {
		e := remit.Errorf(remit.UpstreamDown, "the upstream of %s "+format, append([]any{u.repo.Name}, args...)...)
		e.Err = errAnswered
		return e
	}
	switch status := res.StatusCode; {
	case status >= 300 && status < 400:
		host := "elsewhere"
		if to, err := url.Parse(res.Header.Get("Location")); err == nil && to.Host != "" {
			host = "to " + to.Host
		}
		return say("redirects %.100s, where no credential is sent; declare that location instead", host)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return say("does not accept Remit's credential (status %d); check the declared credential and what it may do", status)
	case status == http.StatusNotFound:
		return say("has no such repository (status 404), or hides it from Remit's credential")
	case status != http.StatusOK:
		return say("answers with status %d", status)
	}
	if got := res.Header.Get("Content-Type"); got != want {
		return say("answers with type %.60q; a git server answers with %q", got, want)
	}
	return nil
}
