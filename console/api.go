package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/remit-dev/remit"
)

// api is an address of the API.
func (v *visit) api(path string) string {
	return "/v1/orgs/" + url.PathEscape(string(v.cfg.Org)) + path
}

// passed are the headers that go with a request from the browser to the API: who it is, and where the request comes from.
var passed = []string{"Cookie", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "User-Agent"}

// get asks the API for something, as the person.
func (v *visit) get(path string, out any) error { return v.call(http.MethodGet, path, nil, out) }

// post has the API do something, as the person, with the token of the form that they sent.
func (v *visit) post(path string, in, out any) error { return v.call(http.MethodPost, path, in, out) }

func (v *visit) call(method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding a request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	rec := &answer{header: http.Header{}, status: http.StatusOK}
	req, err := v.request(v.r.Context(), method, path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Remit-CSRF", v.r.PostFormValue("csrf"))
	}
	v.cfg.API.ServeHTTP(rec, req)
	for _, c := range rec.header.Values("Set-Cookie") {
		v.w.Header().Add("Set-Cookie", c)
	}
	if rec.status >= 300 {
		return problem(rec)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(rec.body.Bytes(), out); err != nil {
		return fmt.Errorf("the answer of %s: %w", path, err)
	}
	return nil
}

// request is a request of the browser for something else: same person, same connection.
func (v *visit) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.api(path), body)
	if err != nil {
		return nil, err
	}
	req.Host, req.RemoteAddr, req.TLS, req.Proto, req.ProtoMajor, req.ProtoMinor = v.r.Host, v.r.RemoteAddr, v.r.TLS, v.r.Proto, v.r.ProtoMajor, v.r.ProtoMinor
	for _, name := range passed {
		if lines := v.r.Header.Values(name); len(lines) > 0 {
			req.Header[name] = lines
		}
	}
	return req, nil
}

// problem is the error that an answer stands for.
func problem(a *answer) error {
	if strings.Contains(strings.Join(a.header.Values("WWW-Authenticate"), " "), "insufficient_user_authentication") {
		return errFresh
	}
	if a.status < 400 { // an id such as .. made another address of it
		return remit.Errorf(remit.NotFound, "there is no such page")
	}
	var p remit.Problem
	if err := json.Unmarshal(a.body.Bytes(), &p); err != nil || p.Code == "" {
		return fmt.Errorf("the API answered %d without a problem", a.status)
	}
	return &remit.Error{Code: p.Code, Sentence: p.Detail}
}

// answer is what the API says to a page.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
