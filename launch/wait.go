package launch

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/launch/sub"
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
	sub.Answer(w, v, err, h.launcher.Log)
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
