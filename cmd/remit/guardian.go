package main

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/hook"
	"github.com/remit-dev/remit/guardian"
)

// newGuardian serves hosts of the Agent Control Standard: what they ask is judged as a call of a hook, in the same pipeline.
// The key that the standard wants beforehand is made from the server's own, one for each instance, and handed to whoever
// proves to be the instance: it outlives a restart, and knowing it is worth nothing without the instance's token.
func newGuardian(org remit.Org, prefix string, server [32]byte, authn gateway.Authenticator, hooks http.Handler, log *slog.Logger) *guardian.Guardian {
	return &guardian.Guardian{Authn: authn, Judge: hookJudge{hooks, prefix + "/" + hook.Name + "/claude-code/PreToolUse"}, Now: time.Now, Log: log,
		Key: func(instance remit.ID) ([]byte, error) {
			return hkdf.Key(sha256.New, server[:], nil, "remit acs v1\n"+string(org)+"\n"+string(instance), sha256.Size)
		}}
}

// hookJudge asks the gateway of hooks, in the words of the host whose tools have the names that most hosts give theirs.
type hookJudge struct {
	hooks http.Handler
	path  string
}

// nowhere is where a host works that does not say where: there is no tree, so nothing that writes is ordinary.
const nowhere = "/var/empty"

func (j hookJudge) Judge(ctx context.Context, r *http.Request, _ remit.Caller, c guardian.Call) (guardian.Verdict, error) {
	dir := c.Dir
	if dir == "" || dir == "/" {
		dir = nowhere
	}
	body, err := json.Marshal(map[string]any{"hook_event_name": "PreToolUse", "session_id": c.Session, "cwd": dir, "tool_name": c.Tool, "tool_input": c.Input, "tool_use_id": c.ID})
	if err != nil {
		return guardian.Verdict{}, fmt.Errorf("writing the call down: %w", err)
	}
	asked := r.Clone(ctx)
	asked.URL.Path, asked.URL.RawPath = j.path, ""
	asked.Body, asked.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	w := &answered{header: http.Header{}}
	j.hooks.ServeHTTP(w, asked)
	if w.status == http.StatusNoContent && w.header.Get("Remit-Hook") == hook.NoObjection {
		return guardian.Verdict{Decision: remit.Allow}, nil
	}
	var p remit.Problem
	if err := json.Unmarshal(w.body.Bytes(), &p); err != nil || p.Code == "" {
		return guardian.Verdict{}, fmt.Errorf("the gateway of hooks answered %d without a reason", w.status)
	}
	v := guardian.Verdict{Decision: remit.Deny, Code: p.Code, Sentence: p.Detail}
	if p.Code.Info().Exit == remit.ExitWaiting && strings.HasPrefix(p.Detail, "waiting for approval") {
		v.Decision = remit.Hold
	}
	return v, nil
}

// answered keeps what a handler answers.
type answered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answered) Header() http.Header { return a.header }

func (a *answered) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answered) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}
