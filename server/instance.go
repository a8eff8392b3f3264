package server

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
)

// rewrites sends git's traffic for the upstreams that a grant reaches through the gateway. It is convenience: nothing
// else has a credential for them.
func (s *Server) rewrites(ctx context.Context, gateway string, grant []remit.Scope, upstreams map[string]remit.Digest, moved map[string]string) ([]remit.Rewrite, error) {
	var out []remit.Rewrite
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		within := remit.Pattern("repo:" + name + "/**")
		if !slices.ContainsFunc(grant, func(g remit.Scope) bool {
			return slices.ContainsFunc(g.Resources, func(p remit.Pattern) bool { _, both := p.Intersect(within); return both })
		}) {
			continue
		}
		u, err := s.upstream(ctx, upstreams[name])
		if err != nil {
			return nil, err
		}
		for _, from := range addresses(u) {
			out = append(out, remit.Rewrite{From: from, To: gateway + "/" + name + "/"})
			// A repository that lies elsewhere than its name says has a longer, and thus stronger, line of its own.
			for _, repo := range slices.Sorted(maps.Keys(moved)) {
				if strings.HasPrefix(repo, name+"/") {
					out = append(out, remit.Rewrite{From: from + moved[repo], To: gateway + "/" + repo + ".git"})
				}
			}
		}
	}
	return out, nil
}

// addresses are the beginnings of the URLs under which git knows an upstream.
func addresses(u remit.Upstream) []string {
	at := strings.TrimSuffix(u.Location, "/") + "/"
	if u.Kind == "local" {
		return []string{at, "file://" + at}
	}
	parsed, err := url.Parse(at)
	if err != nil || parsed.Host == "" {
		return nil
	}
	path := strings.TrimPrefix(parsed.Path, "/")
	host := parsed.Hostname()
	return []string{at, "git@" + host + ":" + path, "ssh://git@" + host + "/" + path}
}

// token is a bearer for one gateway, for a few minutes.
func token(s *Server, c *call, in remit.TokenRequest) (remit.Token, error) {
	if err := c.self(); err != nil {
		return remit.Token{}, err
	}
	if s.cfg.Mounts[in.Gateway] == nil {
		return remit.Token{}, remit.Errorf(remit.BadRequest, "there is no gateway %.64q; there are %s", in.Gateway, strings.Join(slices.Sorted(maps.Keys(s.cfg.Mounts)), ", "))
	}
	if c.job != nil {
		if !c.job.At(in.Gateway) {
			return remit.Token{}, remit.Errorf(remit.Forbidden, "the access token is not for the gateway %.64q; ask for it in the exchange", in.Gateway)
		}
		t, err := s.cfg.Tokens.IssueFor(c.instance, c.job.Secret, in.Gateway, identity.BearerLife)
		return remit.Token{Token: t.Text, NotAfter: t.NotAfter}, err
	}
	secret, err := secretOf(c.r)
	if err != nil {
		return remit.Token{}, err
	}
	t, err := s.cfg.Tokens.Issue(c.instance, secret, in.Gateway)
	return remit.Token{Token: t.Text, NotAfter: t.NotAfter}, err
}

// self refuses an instance that speaks of another one.
func (c *call) self() error {
	if c.instance != c.id() {
		return remit.Errorf(remit.Forbidden, "an instance speaks for itself only")
	}
	return nil
}

// svid certifies the key of an instance for minutes, and never beyond its task's deadline.
func svid(s *Server, c *call, in remit.SVIDRequest) (out remit.SVID, err error) {
	if err := c.self(); err != nil {
		return out, err
	}
	v, err := s.instance(c.r.Context(), c.instance)
	if err != nil {
		return out, err
	}
	id, err := identity.InstanceID(s.cfg.CA.TrustDomain(), v.Agent, c.instance)
	if err != nil {
		return out, err
	}
	notAfter := s.now().Add(identity.SVIDLife)
	if v.Deadline.Before(notAfter) {
		notAfter = v.Deadline
	}
	chain, err := s.cfg.CA.SVID(in.CSR, id, notAfter)
	if err != nil {
		return out, err
	}
	certs, err := x509.ParseCertificates(chain)
	if err != nil {
		return out, remit.Errorf(remit.Internal, "the SVID that was made cannot be read: %w", err)
	}
	for _, cert := range certs {
		out.Chain = append(out.Chain, cert.Raw)
	}
	out.Bundle, out.NotAfter = [][]byte{s.cfg.CA.Root()}, certs[0].NotAfter
	return out, nil
}

// endInstance is what the launcher says when its command has ended.
func endInstance(s *Server, c *call, _ none) (none, error) {
	if err := c.self(); err != nil {
		return none{}, err
	}
	return none{}, s.lose(c.r.Context(), c.instance, false)
}

// lose ends an instance, with its tokens. An instance that has ended already is no error.
func (s *Server) lose(ctx context.Context, id remit.ID, lost bool) error {
	s.cfg.Tokens.End(id)
	_, err := s.cfg.Engine.Do(ctx, &authority.EndInstance{Instance: id, Lost: lost})
	var refused *remit.Error
	if errors.As(err, &refused) && refused.Code == remit.NotFound {
		return nil
	}
	return err
}

// heard notes that the launcher of an instance lives.
func (s *Server) heard(id remit.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats[id] = s.now()
}

// silent tells for how long nothing was heard of an instance. What is seen for the first time has the whole time from now:
// one whose start is durable and not noted yet, and each one after a start of the server.
func (s *Server) silent(id remit.ID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.beats[id]
	if !ok {
		last = s.now()
		s.beats[id] = last
	}
	return s.now().Sub(last)
}

// endUnheld ends the instances that nothing was heard of for Lost.
func (s *Server) endUnheld(ctx context.Context) error {
	var running []remit.ID
	s.view(func(st *authority.State) { running = slices.Collect(maps.Keys(st.Instances)) })
	s.mu.Lock()
	maps.DeleteFunc(s.beats, func(id remit.ID, _ time.Time) bool { return !slices.Contains(running, id) })
	s.mu.Unlock()
	for _, id := range running {
		if s.silent(id) > Lost && !s.now().Before(s.jobEnd(ctx, id)) {
			if err := s.lose(ctx, id, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// hold is the connection that an instance lives by. The launcher sends a line every few seconds in the body of its
// request, the server one in its answer. When the instance has ended, the last line of the answer says why. When the
// connection or the launcher's lines end first, the instance is lost.
func hold(s *Server, c *call) error {
	if err := c.self(); err != nil {
		return err
	}
	select {
	case <-s.closed:
		return remit.Errorf(remit.Overload, "the server is stopping; come back in a moment")
	default:
	}
	leave, err := s.enter(c.who())
	if err != nil {
		return err
	}
	defer leave()
	if c.job == nil {
		defer s.launchers.hold(c.r)()
	}
	ctx := c.r.Context()
	rc := http.NewResponseController(c.w)
	if err := rc.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return remit.Errorf(remit.BadRequest, "this connection cannot be read and written at once: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	s.heard(c.instance)
	send := func(line string) error {
		_ = rc.SetWriteDeadline(time.Now().Add(sendWithin))
		if _, err := io.WriteString(c.w, line+"\n"); err != nil {
			return err
		}
		return rc.Flush()
	}
	if err := send(""); err != nil {
		return s.lose(context.WithoutCancel(ctx), c.instance, true)
	}
	gone := s.listen(ctx, c, rc)
	defer gone.stop()
	due := s.cfg.Clock.After(beat)
	for {
		ended := s.cfg.Engine.Ended()
		if why := s.whyEnded(c.instance, c.task); why != "" {
			_ = send(why) // the launcher reads it, or finds out by the end of the connection
			return nil
		}
		select {
		case <-ended:
			continue
		case <-due:
			due = s.cfg.Clock.After(beat)
			if s.silent(c.instance) <= Lost && send("") == nil {
				continue
			}
		case <-gone.done:
		case <-ctx.Done():
		case <-s.closed:
		}
		select {
		case <-s.closed:
			return nil // the launcher comes back, or Tick ends the instance
		default:
			return s.lose(context.WithoutCancel(ctx), c.instance, true)
		}
	}
}

// listener reads the launcher's lines.
type listener struct {
	done chan struct{} // closed when no more will come
	stop func()
}

// listen notes each line of the body as a sign of life. stop ends the reading before the handler returns: nothing may
// touch a connection afterwards.
func (s *Server) listen(ctx context.Context, c *call, rc *http.ResponseController) listener {
	ctx, cancel := context.WithCancel(ctx)
	l := listener{done: make(chan struct{})}
	var mu sync.Mutex // a deadline that stop set is not set anew
	wait := func() bool {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		_ = rc.SetReadDeadline(time.Now().Add(2 * Lost))
		return true
	}
	go func() {
		defer close(l.done)
		lines := bufio.NewReaderSize(c.r.Body, 16)
		for wait() {
			if _, err := lines.ReadSlice('\n'); err != nil {
				return
			}
			s.heard(c.instance)
		}
	}()
	l.stop = func() {
		mu.Lock()
		cancel()
		_ = rc.SetReadDeadline(time.Now().Add(-time.Second))
		mu.Unlock()
		<-l.done
	}
	return l
}

// whyEnded is the last line for a launcher; empty while its instance lives.
func (s *Server) whyEnded(id, task remit.ID) string {
	why := ""
	now := s.now().UnixNano()
	s.view(func(st *authority.State) {
		if st.InstanceLive(id, now) {
			return
		}
		why = fmt.Sprintf("instance %s was ended", id)
		t := st.Tasks[task]
		switch {
		case t == nil:
		case !st.LiveTasks[task]:
			why = fmt.Sprintf("task %s is %s", task, t.Status)
		case now >= t.Deadline:
			why = fmt.Sprintf("task %s is %s", task, remit.TaskExpired)
		case st.Agents[t.Agent] != nil && st.Agents[t.Agent].Status != remit.AgentActive:
			why = fmt.Sprintf("agent %s is %s", t.Agent, st.Agents[t.Agent].Status)
		}
	})
	if why == "" {
		return ""
	}
	b, err := json.Marshal(Ended{why})
	if err != nil {
		return ""
	}
	return string(b)
}

// Ended is the last line of a held connection.
type Ended struct {
	Reason string `json:"reason"`
}
