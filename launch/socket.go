package launch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/launch/sub"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	renewBefore  = time.Minute // a token with less left is not handed out again
	answerWithin = 30 * time.Second
	maxAsk       = 64 << 10 // of what git says to a helper, and of what the socket says to the helper, in bytes
	userName     = "remit"  // git wants one; the gateway looks at the password only
)

// credentialAsk is what the helper sends to POST /credential on the instance's socket, and credentialAnswer what it
// gets: an empty answer where the question is about another host.
type (
	credentialAsk struct {
		Protocol string `json:"protocol"`
		Host     string `json:"host"`
		Path     string `json:"path"`
		Refused  string `json:"refused,omitempty"` // a password that the gateway did not take
	}
	credentialAnswer struct {
		Password string    `json:"password,omitempty"`
		NotAfter time.Time `json:"not_after,omitzero"`
		Error    string    `json:"error,omitempty"`
	}
)

// serveWorkload serves the SPIFFE Workload API, after a first SVID is there.
func (l *Launcher) serveWorkload(ctx context.Context, r room, inst client.Instance, allow func(*net.UnixConn) error) (*identity.Workload, error) {
	id, err := spiffeid.FromString(inst.SPIFFEID)
	if err != nil {
		return nil, fmt.Errorf("the server's SPIFFE ID for %s: %w", inst.ID, err)
	}
	ask := func(ctx context.Context, csr []byte) (chain, bundle []byte, err error) {
		return l.Session.SVID(ctx, inst.ID, inst.Secret, csr)
	}
	w, err := identity.ServeWorkload(ctx, identity.WorkloadConfig{
		Dir: r.dir, UID: os.Geteuid(), Allow: allow, Source: identity.NewSource(id, l.Clock.Now, ask), Clock: l.Clock, Log: l.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("serving the SPIFFE Workload API to %s: %w", inst.ID, err)
	}
	return w, nil
}

// serveInstance opens the instance's own socket, mode 0600, to processes of this instance only. Closing it ends the
// instances of sub-agents.
func (l *Launcher) serveInstance(r room, inst client.Instance, subs *sub.Children, t *tokens, gateways http.Handler) (close func(), err error) {
	ln, err := net.Listen("unix", r.socket)
	if err != nil {
		return nil, fmt.Errorf("opening the instance's socket: %w", err)
	}
	if err := os.Chmod(r.socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the socket %s to others: %w", r.socket, err), ln.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /credential", sub.Soon(t.answer))
	mux.HandleFunc("GET /token", sub.Soon(t.forGateway))
	mux.HandleFunc("GET /wait", waits{l, inst}.answer)
	subs.Handle(mux)
	// Not through the mux, which would rewrite what a path means.
	s := l.serving(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			gateways.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	s.ConnContext = sub.WithPeer
	go func() {
		if err := s.Serve(&guardedListener{Listener: ln, allow: subs.Allow, log: l.Log}); !errors.Is(err, http.ErrServerClosed) {
			l.Log.Error("serving the instance's socket", "instance", inst.ID, "err", err)
		}
	}()
	return func() {
		s.Close()
		subs.Close()
	}, nil
}

// guardedListener closes connections from whom it is not for, before a byte is read.
type guardedListener struct {
	net.Listener
	allow func(*net.UnixConn) error
	log   *slog.Logger
}

// Accept waits for the next connection that is allowed.
func (g *guardedListener) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		u, ok := c.(*net.UnixConn)
		if ok {
			if err = g.allow(u); err == nil {
				return c, nil
			}
		}
		g.log.Warn("refused a connection to an instance's socket", "err", err)
		_ = c.Close()
	}
}

// tokens hands out the instance's token, and gets a new one before the old one ends.
type tokens struct {
	launcher   *Launcher
	inst       client.Instance
	host, path string // of the gateway

	mu   sync.Mutex // held while the server is asked: those who wait get the same token
	held map[string]held
}

// held is a token for one gateway.
type held struct {
	token    string
	notAfter time.Time
}

func newTokens(l *Launcher, inst client.Instance) (*tokens, error) {
	u, err := url.Parse(inst.Gateway)
	if err != nil {
		return nil, fmt.Errorf("the gateway %q is not a URL: %w", inst.Gateway, err)
	}
	return &tokens{launcher: l, inst: inst, host: u.Host, path: strings.Trim(u.Path, "/"), held: map[string]held{}}, nil
}

// get gives a token for a gateway, named as Session.Token takes it.
func (t *tokens) get(ctx context.Context, gateway string) (string, time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.held[gateway]; h.token != "" && t.launcher.Clock.Now().Add(renewBefore).Before(h.notAfter) {
		return h.token, h.notAfter, nil
	}
	token, notAfter, err := t.launcher.Session.Token(ctx, t.inst.ID, t.inst.Secret, gateway)
	if err != nil {
		return "", time.Time{}, err
	}
	t.held[gateway] = held{token, notAfter}
	return token, notAfter, nil
}

// forget drops a token that the gateway does not know any more: the server was started again.
func (t *tokens) forget(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.held, func(_ string, h held) bool { return h.token == token })
}

// ours tells whether a is about the gateway. git may leave the path out; if it does not, it must be the gateway's.
func (t *tokens) ours(a credentialAsk) bool {
	path := strings.Trim(a.Path, "/")
	return a.Protocol == "https" && a.Host == t.host && (path == "" || within(path, t.path))
}

func (t *tokens) answer(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	var a credentialAnswer
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAsk))
	var ask credentialAsk
	if err == nil {
		err = json.Unmarshal(raw, &ask)
	}
	switch {
	case err != nil:
		a.Error = "the question does not parse"
	case ask.Refused != "":
		t.forget(ask.Refused)
	case t.ours(ask):
		a.Password, a.NotAfter, err = t.get(ctx, t.inst.Gateway)
		if err != nil {
			t.launcher.Log.Warn("getting a token", "instance", t.inst.ID, "err", err)
			a.Error = "no token: " + err.Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(a); err != nil {
		t.launcher.Log.Warn("answering git's credential helper", "instance", t.inst.ID, "err", err)
	}
}

// CredentialHelper is git's credential helper (gitcredentials(7)) for an instance: it asks the launcher at socket. op
// is get, store or erase; get answers for the gateway only, so that git goes on without a password where it asks about
// another host; erase says that the password was refused. in is what git says, key=value lines; out is what it gets.
func CredentialHelper(ctx context.Context, socket, op string, in io.Reader, out io.Writer) error {
	if op != "get" && op != "erase" {
		return nil
	}
	ask, err := readAsk(in)
	if err != nil || op == "erase" && ask.Refused == "" {
		return err
	}
	if isJob(socket) {
		if op != "get" {
			return nil // each get asks anew
		}
		return jobCredential(ctx, socket, ask, out)
	}
	if op == "get" {
		ask.Refused = ""
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return fmt.Errorf("encoding git's question: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://instance/credential", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking for git's password: %w", err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}} // no proxy
	resp, err := c.Do(r)
	if err != nil && op == "erase" {
		return nil // a launcher that is gone has nothing to forget
	}
	if err != nil {
		return remit.Errorf(remit.NotLive, "the instance does not answer at %s; it has ended, or this process is not part of it: %w", socket, err)
	}
	defer resp.Body.Close()
	var a credentialAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAsk)).Decode(&a); err != nil || resp.StatusCode != http.StatusOK {
		return remit.Errorf(remit.Internal, "the instance's answer for git does not parse (HTTP %d)", resp.StatusCode)
	}
	switch {
	case a.Error != "":
		return errors.New(a.Error)
	case a.Password == "":
		return nil
	case strings.ContainsAny(a.Password, "\r\n\x00"):
		return remit.Errorf(remit.Internal, "the token has a line break in it, so git cannot be told")
	}
	// password_expiry_utc is known from git 2.40 on, and skipped by older ones.
	_, err = fmt.Fprintf(out, "username=%s\npassword=%s\npassword_expiry_utc=%d\n", userName, a.Password, a.NotAfter.Unix())
	return err
}

// readAsk reads key=value lines up to an empty one.
func readAsk(in io.Reader) (credentialAsk, error) {
	var a credentialAsk
	lines := bufio.NewScanner(io.LimitReader(in, maxAsk))
	for lines.Scan() && lines.Text() != "" {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			return a, remit.Errorf(remit.BadRequest, "git's credential protocol has key=value lines, not %q", lines.Text())
		}
		switch key {
		case "protocol":
			a.Protocol = value
		case "host":
			a.Host = value
		case "path":
			a.Path = value
		case "password":
			a.Refused = value
		}
	}
	return a, lines.Err()
}
