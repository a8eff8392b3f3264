package launch

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/launch/sub"
)

// forGateway answers GET /token?gateway=NAME on an instance's socket: a token for one gateway, for tools that cannot ask
// a credential helper. It is as short-lived as git's, and good at that gateway only.
func (t *tokens) forGateway(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	name := r.URL.Query().Get("gateway")
	token, notAfter, err := "", time.Time{}, error(remit.Errorf(remit.BadRequest, "name a gateway: git, task, probe, …"))
	if name != "" && !strings.Contains(name, "/") {
		token, notAfter, err = t.get(ctx, name)
	}
	sub.Answer(w, remit.Token{Token: token, NotAfter: notAfter}, err, t.launcher.Log)
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
	return sub.Ask(socket, r, out)
}

// NewOuter is the launcher of the instance that this process is part of, as the Session of one that runs a sub-agent's
// command: at socket (REMIT_SOCKET).
func NewOuter(socket string) (*sub.Outer, error) {
	if isJob(socket) {
		return nil, remit.Errorf(remit.NotFound, "a CI job has no launcher that starts instances of sub-agents")
	}
	return sub.NewOuter(socket), nil
}

var (
	_ Session = (*sub.Outer)(nil)
	_ Waiter  = (*sub.Outer)(nil)
)
