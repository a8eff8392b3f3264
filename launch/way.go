package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/launch/front"
	"github.com/remit-dev/remit/launch/isolate"
)

// way is an instance's own way to the gateways: at its socket, for who is part of the instance, and at a port of this
// machine, for agents that speak to nothing else. In a sandbox the port is one of its own network, where nobody else is.
type way struct {
	front  *front.Front
	addr   string // 127.0.0.1:PORT
	port   int
	bearer string // what the port wants; nothing in a sandbox
	inside bool   // in a sandbox: the server itself cannot be reached
	proxy  bool   // the port is also the command's proxy, and its only one
	server *http.Server
}

// openWay makes the front and serves it at the port. The socket comes later (serveInstance).
// In isolation hosts are what the port is a proxy to.
func (l *Launcher) openWay(inst client.Instance, cmd *command, t *tokens, isolated bool, hosts []string) (w *way, err error) {
	w = &way{bearer: front.NewBearer(), proxy: isolated}
	if w.front, err = front.New(front.Config{Base: serverOf(inst.Gateway), Org: inst.Org, CA: inst.CA, Tokens: t, Log: l.Log}); err != nil {
		return nil, err
	}
	ln := cmd.listener()
	if ln != nil {
		w.inside, w.bearer = true, ""
	} else if ln, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("opening a port for the command: %w", err)
	}
	w.addr = ln.Addr().String()
	_, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	if w.port, err = strconv.Atoi(port); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	h := front.Guarded(w.front, w.bearer, port)
	if isolated {
		proxy, err := isolate.NewProxy(hosts, w.bearer, l.say)
		if err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		h = proxy.Wrap(h)
		cmd.only(w.port)
	}
	w.server = l.serving(h)
	go func() {
		if err := w.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			l.Log.Error("serving the instance's port", "instance", inst.ID, "err", err)
		}
	}()
	return w, nil
}

// serving is a server of streams: a header must come soon, a body may take as long as it does.
func (l *Launcher) serving(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: answerWithin, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(l.Log.Handler(), slog.LevelWarn)}
}

// Close ends what goes through.
func (w *way) Close() {
	w.server.Close()
	w.front.Close()
}

func (w *way) url() string { return "http://" + w.addr }

// seen is the instance as its command sees it: in a sandbox the server's address leads nowhere, and this one's does.
func (w *way) seen(inst client.Instance) client.Instance {
	if !w.inside {
		return inst
	}
	server := serverOf(inst.Gateway)
	moved := func(u string) string {
		if rest, ok := strings.CutPrefix(u, server+"/"); ok {
			return w.url() + "/" + rest
		}
		return u
	}
	rewrites := []client.Rewrite{{From: []string{inst.Gateway + "/"}, To: moved(inst.Gateway + "/")}}
	for _, r := range inst.Rewrites {
		rewrites = append(rewrites, client.Rewrite{From: slices.Clone(r.From), To: moved(r.To)})
	}
	inst.Gateway, inst.Rewrites = moved(inst.Gateway), rewrites
	return inst
}

// exports adds to the command's environment how it gets to the front:
//
//	REMIT_FRONT          http://127.0.0.1:PORT, below which the gateways lie as they do below REMIT_SERVER
//	REMIT_FRONT_BEARER   file with the bearer that the port wants, also as a password; not set in a sandbox, where it wants none
//	NO_PROXY, NODE_USE_ENV_PROXY   where a proxy is set: it is not asked for this machine, and Node's fetch asks it too
func (w *way) exports(r room, env []string) ([]string, error) {
	env = setVariable(env, "REMIT_FRONT", w.url())
	if w.bearer != "" {
		if err := os.WriteFile(r.bearer, []byte(w.bearer+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("writing the bearer of the instance's port: %w", err)
		}
		env = setVariable(env, "REMIT_FRONT_BEARER", r.bearer)
	}
	if w.proxy {
		return isolate.Environ(env, w.addr, w.bearer), nil
	}
	if !slices.ContainsFunc([]string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}, func(n string) bool { return value(env, n) != "" }) {
		return env, nil
	}
	env = setVariable(env, "NODE_USE_ENV_PROXY", "1")
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		list := value(env, name)
		if list != "" {
			list += ","
		}
		env = setVariable(env, name, list+"127.0.0.1,localhost")
	}
	return env, nil
}

// setVariable is env with one variable set anew.
func setVariable(env []string, name, value string) []string {
	return append(unsetVariable(env, name), name+"="+value)
}

func unsetVariable(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

// Token and Forget are what the front asks for.
func (t *tokens) Token(ctx context.Context, gateway string) (string, error) {
	token, _, err := t.get(ctx, gateway)
	return token, err
}

// Forget drops a token that the server does not know any more.
func (t *tokens) Forget(token string) { t.forget(token) }
