package client

import (
	"context"
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

// forGateway answers GET /token?gateway=NAME on an instance's socket: a token for one gateway, for tools that cannot ask
// a credential helper. It is as short-lived as git's, and good at that gateway only.
func (t *tokens) forGateway(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	name := r.URL.Query().Get("gateway")
	var answer any
	token, notAfter, err := "", time.Time{}, error(remit.Errorf(remit.BadRequest, "name a gateway: git, task, probe, …"))
	if name != "" && !strings.Contains(name, "/") {
		token, notAfter, err = t.get(ctx, name)
	}
	w.Header().Set("Content-Type", "application/json")
	answer = remit.Token{Token: token, NotAfter: notAfter}
	if err != nil {
		var e *remit.Error
		if !errors.As(err, &e) {
			e = remit.Errorf(remit.UpstreamDown, "the server cannot be asked: %w", err)
		}
		info := e.Code.Info()
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(info.HTTP)
		answer = remit.Problem{Code: e.Code, Title: info.Meaning, Detail: e.Sentence, Status: info.HTTP}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		t.launcher.Log.Warn("answering who asks for a token", "instance", t.inst.ID, "err", err)
	}
}

// TokenThrough asks the launcher at socket (REMIT_SOCKET) for a token for a gateway.
func TokenThrough(ctx context.Context, socket, gateway string) (t remit.Token, err error) {
	return t, through(ctx, socket, "/token?gateway="+url.QueryEscape(gateway), &t)
}

// through asks an instance's socket.
func through(ctx context.Context, socket, path string, out any) error {
	if isJob(socket) {
		return throughJob(ctx, socket, path, out)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://instance"+path, nil)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}} // no proxy
	resp, err := c.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return remit.Errorf(remit.NotLive, "the instance does not answer at %s; it has ended, or this process is not part of it: %w", socket, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return problem(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return remit.Errorf(remit.Internal, "the instance's answer cannot be read: %w", err)
	}
	return nil
}

// AskChild asks for work of another agent, as the instance that holds a token for the gateway task. verb is request or
// delegate. The answer may be a task, a hold or a denial; an error is what is neither.
func (c *Client) AskChild(ctx context.Context, token, verb string, in remit.ChildRequest) (out remit.ChildAnswer, err error) {
	return out, c.ask(ctx, token, "/task/"+verb, in, &out)
}

// AskChange has a change reviewed or merged, as the instance that holds a token for the gateway change. verb is review or
// merge. The answer may be what was done, a hold or a denial; an error is what is neither.
func (c *Client) AskChange(ctx context.Context, token, verb string, in remit.ChangeRequest) (out remit.ChangeAnswer, err error) {
	return out, c.ask(ctx, token, "/change/"+verb, in, &out)
}

// ask posts to a gateway, whose decisions are answers too.
func (c *Client) ask(ctx context.Context, token, path string, in, out any) error {
	resp, err := c.send(ctx, http.MethodPost, path, "Bearer "+token, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "application/json" {
		return problem(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return remit.Errorf(remit.Internal, "the server's answer cannot be read: %w", err)
	}
	return nil
}
