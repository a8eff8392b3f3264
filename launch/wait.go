package launch

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// Waiter is what a Session may also be: then an instance can wait for its own access requests at its socket.
type Waiter interface {
	// WaitAccess returns when an access request of the instance's task has ended, or after the server's patience with it
	// as it is.
	WaitAccess(ctx context.Context, access, instance remit.ID, secret []byte) (remit.AccessView, error)
}

// waitWithin bounds one question at GET /wait; the server's patience is about half a minute.
const waitWithin = time.Minute

// waits answers GET /wait?access=ID on an instance's socket.
type waits struct {
	launcher *Launcher
	inst     client.Instance
}

func (h waits) answer(w http.ResponseWriter, r *http.Request) {
	// The server's own time-outs are those of short questions, and would cancel this one.
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(r.Context(), waitWithin)
	defer cancel()
	v, err := h.wait(ctx, remit.ID(r.URL.Query().Get("access")))
	w.Header().Set("Content-Type", "application/json")
	var answer any = v
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
		h.launcher.Log.Warn("answering who waits", "instance", h.inst.ID, "err", err)
	}
}

func (h waits) wait(ctx context.Context, access remit.ID) (remit.AccessView, error) {
	if access == "" {
		return remit.AccessView{}, remit.Errorf(remit.BadRequest, "no access request is named")
	}
	s, ok := h.launcher.Session.(Waiter)
	if !ok {
		return remit.AccessView{}, remit.Errorf(remit.NotFound, "this launcher cannot wait for access requests")
	}
	return s.WaitAccess(ctx, access, h.inst.ID, []byte(h.inst.Secret))
}

// WaitThrough asks the launcher at socket (REMIT_SOCKET) how an access request stands. It returns when the request has
// ended, or after the server's patience with the request as it is.
func WaitThrough(ctx context.Context, socket string, access remit.ID) (remit.AccessView, error) {
	var v remit.AccessView
	return v, through(ctx, socket, "/wait?access="+url.QueryEscape(string(access)), &v)
}

var _ Waiter = (*client.LaunchSession)(nil)
