package launch

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
	"github.com/remit-dev/remit/client"
)

// maxAnswer bounds what a launcher, which passes on what its server says, can make a process read at once.
const maxAnswer = 64 << 20

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
		return client.Problem(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return remit.Errorf(remit.Internal, "the instance's answer cannot be read: %w", err)
	}
	return nil
}
