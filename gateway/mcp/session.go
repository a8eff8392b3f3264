package mcp

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/stdio"
)

// maxAsked bounds what a session remembers of each kind: requests of the server's that wait for their answer, and calls
// whose stream ended before theirs came.
const maxAsked = 256

// session is one session of the protocol's versions before 2026-07-28. Its name is Remit's own: the server's stays here.
type session struct {
	id       string
	instance remit.ID
	server   string
	upstream string             // Mcp-Session-Id of the server; empty: it gave none
	cred     gateway.Credential // of the step that opened it
	proc     *stdio.Process     // of a server that speaks over standard input and output
	close    func()             // says goodbye to the server
	ctx      context.Context    // ends with the session
	cancel   context.CancelFunc

	mu      sync.Mutex
	version string // that was agreed; empty until the server has answered
	can     envelope.Capabilities
	asked   map[string]bool  // ids of the server's requests that the client was shown
	open    map[string]*call // calls whose answer may come on another stream (2025-11-25, Resumability)
	busy    int
	used    time.Time
	idle    *time.Timer
}

// sessions are those that live, by their ids.
type sessions struct {
	mu   sync.Mutex
	byID map[string]*session
	of   map[remit.ID]int
}

// begin opens a session. Of an instance that has too many, the one that was used the longest ago ends.
func (g *Gateway) begin(c *call, upstream string, cred gateway.Credential, proc *stdio.Process) (*session, error) {
	now := g.cfg.Now()
	s := &session{id: rand.Text(), instance: c.caller.Instance, server: c.server.Name, upstream: upstream, proc: proc, can: c.can,
		asked: map[string]bool{}, open: map[string]*call{}, used: now}
	if k, ok := cred.(*kept); ok {
		k.keep()
	}
	s.cred = cred
	s.ctx, s.cancel = context.WithCancel(context.Background())
	server := c.server
	s.close = func() { g.goodbye(server, s) }

	var last *session
	g.sessions.mu.Lock()
	if g.sessions.of[s.instance] >= g.cfg.InstanceSessions {
		for _, o := range g.sessions.byID {
			if o.instance == s.instance && (last == nil || o.lastUse().Before(last.lastUse())) {
				last = o
			}
		}
	}
	full := last == nil && len(g.sessions.byID) >= g.cfg.Sessions
	if !full {
		g.sessions.byID[s.id] = s
		g.sessions.of[s.instance]++
	}
	g.sessions.mu.Unlock()
	if last != nil {
		g.end(last)
	}
	s.idle = time.AfterFunc(g.cfg.Idle, func() { g.endIdle(s) })
	context.AfterFunc(s.ctx, func() { s.idle.Stop() })
	if full {
		g.end(s)
		return nil, remit.Errorf(remit.Overload, "there are %d sessions, as many as there may be; end one", g.cfg.Sessions)
	}
	ended := g.cfg.ended(s.instance)
	go func() {
		select {
		case <-ended:
			g.end(s)
		case <-s.ctx.Done():
		}
	}()
	return s, nil
}

// find gives the session of that id, to the instance and at the server that it was opened for. To everybody else there is
// none.
func (g *Gateway) find(id string, instance remit.ID, server string) *session {
	g.sessions.mu.Lock()
	defer g.sessions.mu.Unlock()
	if s := g.sessions.byID[id]; s != nil && s.instance == instance && s.server == server {
		return s
	}
	return nil
}

// end ends a session, once: its streams are cut, the server is told, the credential goes.
func (g *Gateway) end(s *session) {
	g.sessions.mu.Lock()
	if g.sessions.byID[s.id] == s {
		delete(g.sessions.byID, s.id)
		if g.sessions.of[s.instance]--; g.sessions.of[s.instance] == 0 {
			delete(g.sessions.of, s.instance)
		}
	}
	g.sessions.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	first := s.close != nil
	bye := s.close
	s.close = nil
	s.mu.Unlock()
	s.cancel()
	if first {
		bye()
	}
}

// endIdle ends a session that nobody has used for the time, or looks again later.
func (g *Gateway) endIdle(s *session) {
	s.mu.Lock()
	left := g.cfg.Idle - g.cfg.Now().Sub(s.used)
	if s.busy > 0 {
		left = g.cfg.Idle
	}
	s.mu.Unlock()
	if left > 0 {
		s.idle.Reset(left)
		return
	}
	g.end(s)
}

// use marks a session as used until done is called; ctx ends with it.
func (s *session) use(ctx context.Context, now func() time.Time) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	s.mu.Lock()
	s.busy++
	s.used = now()
	s.mu.Unlock()
	return ctx, func() {
		stop()
		cancel()
		s.mu.Lock()
		s.busy--
		s.used = now()
		s.mu.Unlock()
	}
}

func (s *session) lastUse() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// agreed is the version that the session speaks, and what its client can do.
func (s *session) agreed() (string, envelope.Capabilities) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, s.can
}

func (s *session) agree(version string) {
	s.mu.Lock()
	s.version = version
	s.mu.Unlock()
}

// ask remembers that the client is shown a request of the server's; false: it has too many to answer already, or that
// one twice.
func (s *session) ask(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[id] || len(s.asked) >= maxAsked {
		return false
	}
	s.asked[id] = true
	return true
}

// answered tells whether the client was asked that, and forgets it: one answer is taken.
func (s *session) answered(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.asked[id]
	delete(s.asked, id)
	return ok
}

// leave keeps a call whose stream ended without its answer.
func (s *session) leave(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) < maxAsked { // without what was sent: it may be large
		s.open[envelope.IDKey(c.id)] = &call{caller: c.caller, server: c.server, version: c.version, id: c.id, method: c.method, name: c.name, can: c.can, session: s, pipe: c.pipe}
	}
}

// resume gives the call of that id that was left, once.
func (s *session) resume(id string) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.open[id]
	delete(s.open, id)
	return c
}

// goodbye tells the server that a session is over, as well as that can be told, and gives its credential back.
func (g *Gateway) goodbye(server Server, s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWithin)
	defer cancel()
	switch {
	case s.proc != nil:
		s.proc.Stop()
	case s.upstream != "":
		c := &call{server: server, session: s, header: http.Header{}}
		if version, _ := s.agreed(); version != "" {
			c.header.Set(envelope.HeaderVersion, version)
		}
		if resp, _, err := g.send(ctx, c, http.MethodDelete, nil, s.cred); err == nil {
			_ = resp.Body.Close()
		}
	}
	if k, ok := s.cred.(*kept); ok {
		if err := k.Credential.End(ctx); err != nil {
			g.cfg.Log.Error("ending the credential of a session", "upstream", s.server, "err", err)
		}
	}
}

// keeping leases credentials that a session may keep beyond the step that opened it.
type keeping struct{ gateway.Credentials }

func (k keeping) Lease(ctx context.Context, a remit.Attempt) (gateway.Credential, error) {
	c, err := k.Credentials.Lease(ctx, a)
	if err != nil {
		return nil, err
	}
	return &kept{Credential: c}, nil
}

// kept is a credential that ends with its step, unless a session keeps it.
type kept struct {
	gateway.Credential
	by atomic.Bool // a session has it
}

func (k *kept) keep() { k.by.Store(true) }

func (k *kept) End(ctx context.Context) error {
	if k.by.Load() {
		return nil
	}
	return k.Credential.End(ctx)
}

// headerUnattended is set by the launcher for an agent that runs on its own.
const headerUnattended = "Remit-Unattended"

// attended is what a client can do when nobody looks at it: some say that they show people pages, and then cancel by
// themselves.
func attended(r *http.Request, can envelope.Capabilities) envelope.Capabilities {
	if r.Header.Get(headerUnattended) != "" {
		can.ElicitURL = false
	}
	return can
}
