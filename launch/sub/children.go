// Package sub is how an agent starts its sub-agents: at the socket of an instance, its processes start instances of what
// was delegated from its task. Children is the side of that instance's launcher, which has the person's session and every
// secret; Outer that of a sub-agent's launcher, which has neither.
package sub

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
)

const (
	answerWithin = 30 * time.Second
	endWithin    = 5 * time.Second // to tell the server that a command ended
	maxAsk       = 64 << 10        // bytes
)

// Limits of what an instance asks for its sub-agents.
const (
	maxChildren = 16 // instances of sub-agents at one time
	maxChain    = 8  // tasks, each delegated from the next: as long as the server lets a chain become
)

// Session is the server, as far as running instances go.
type Session interface {
	Token(ctx context.Context, instance remit.ID, secret client.Secret, gateway string) (token string, notAfter time.Time, err error)
	SVID(ctx context.Context, instance remit.ID, secret client.Secret, csr []byte) (chain, bundle []byte, err error)
	Hold(ctx context.Context, instance remit.ID, secret client.Secret) (<-chan error, error)
	End(ctx context.Context, instance remit.ID, secret client.Secret) error
}

// Delegating is what a Session may also be: then an instance can start instances of what it has delegated, although it
// has no person's session.
type Delegating interface {
	// StartDelegated starts an instance of a task that was delegated from the first of from, maybe through others, as each
	// of from was from the next. Of any other task it starts none.
	StartDelegated(ctx context.Context, from []remit.ID, i client.InstanceStart) (client.Instance, error)
	// Complete ends the task of an instance, in that one's name.
	Complete(ctx context.Context, task, instance remit.ID, secret client.Secret) error
}

var _ Delegating = (*client.LaunchSession)(nil)

// What the launcher of a sub-agent sends to the socket of the instance that it is part of, and gets.
//
//	POST /instance             an instance, which lives as long as this exchange: childAsk → childAnswer, childEnd
//	POST /instance/ID/token    a token of it: remit.TokenRequest → remit.Token
//	POST /instance/ID/svid     an SVID of it: remit.SVIDRequest → childSVID
//	GET  /instance/ID/wait     as GET /wait, for its access requests
//	POST /instance/ID/complete its task is done
//	POST /instance/ID/end      its command has ended
//
// The instance's secret stays with the launcher that started it. So when that launcher ends, with kill -9 too, nobody
// holds the heartbeat of the sub-agent's instance any more, and it ends as well.
type (
	childAsk struct {
		Task       remit.ID   `json:"task"`
		From       []remit.ID `json:"from,omitempty"`       // see Delegating; this launcher adds its own task
		Ungoverned []string   `json:"ungoverned,omitempty"` // see client.InstanceStart
	}
	childAnswer struct {
		Instance client.Instance `json:"instance"` // without its secret
	}
	childEnd struct {
		Reason string `json:"reason"`
	}
	childSVID struct {
		Chain  []byte `json:"chain"`
		Bundle []byte `json:"bundle"`
	}
)

// Config is what Children need; all of it.
type Config struct {
	Session Session
	// Instance is whose processes start others, with how they are confined and what they were handed (see
	// client.InstanceStart).
	Instance    client.Instance
	Confinement remit.Confinement
	Ungoverned  []string
	Owns        func(*net.UnixConn) error // whether who connected is of that instance, or of a sub-agent's
	Wait        func(client.Instance) http.HandlerFunc
	Log         *slog.Logger
}

// Children are the instances that an instance's processes have started for its sub-agents.
type Children struct {
	Config

	mu      sync.Mutex
	running map[remit.ID]child
	starts  int  // exchanges at POST /instance
	closed  bool // no more
	all     sync.WaitGroup
}

// child is one of them.
type child struct {
	inst client.Instance
	pid  int           // of its launcher; 0 where that cannot be known
	over chan struct{} // closed by POST /instance/ID/end
}

// New is an instance's, of which there are none yet.
func New(c Config) *Children { return &Children{Config: c, running: map[remit.ID]child{}} }

// Allow is Config.Owns without the processes of sub-agents: they descend from the command, and have sockets of their
// own, with their own smaller grant.
func (c *Children) Allow(conn *net.UnixConn) error {
	if err := c.Owns(conn); err != nil {
		return err
	}
	launchers := map[int]bool{}
	c.mu.Lock()
	for _, k := range c.running {
		launchers[k.pid] = true
	}
	c.mu.Unlock()
	delete(launchers, 0)
	if len(launchers) == 0 {
		return nil
	}
	pid, _, err := identity.PeerPID(conn)
	if err != nil || launchers[pid] {
		return err
	}
	below, err := identity.DescendsFrom(pid, launchers, os.DirFS("/proc"))
	if err == nil && below {
		err = fmt.Errorf("process %d is part of a sub-agent's instance, which has a socket of its own", pid)
	}
	return err
}

// Handle puts on mux what an instance's socket answers about sub-agents. Its server's ConnContext is WithPeer.
func (c *Children) Handle(mux *http.ServeMux) {
	mux.HandleFunc("POST /instance", c.start)
	mux.HandleFunc("POST /instance/{id}/token", Soon(c.of(c.token)))
	mux.HandleFunc("POST /instance/{id}/svid", Soon(c.of(c.svid)))
	mux.HandleFunc("GET /instance/{id}/wait", c.of(func(w http.ResponseWriter, r *http.Request, k child) { c.Wait(k.inst)(w, r) }))
	mux.HandleFunc("POST /instance/{id}/complete", Soon(c.of(c.complete)))
	mux.HandleFunc("POST /instance/{id}/end", Soon(c.of(c.end)))
}

// peer is the process at the other end of a connection, where that can be known.
type peer struct{}

// WithPeer notes who connected.
func WithPeer(ctx context.Context, conn net.Conn) context.Context {
	if u, ok := conn.(*net.UnixConn); ok {
		if pid, _, err := identity.PeerPID(u); err == nil {
			return context.WithValue(ctx, peer{}, pid)
		}
	}
	return ctx
}

// Close ends all of them and returns when the server was told. Their connections are closed already, or about to be.
func (c *Children) Close() {
	c.mu.Lock()
	c.closed = true
	for _, k := range c.running {
		k.finish()
	}
	c.mu.Unlock()
	c.all.Wait()
}

// finish ends the exchange that the instance lives by; under the lock of Children.
func (k child) finish() {
	select {
	case <-k.over:
	default:
		close(k.over)
	}
}

// enter takes one of the places.
func (c *Children) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return remit.Errorf(remit.NotLive, "instance %s has ended", c.Instance.ID)
	case c.starts >= maxChildren:
		return remit.Errorf(remit.OverBudget, "%d sub-agents of instance %s run; wait until one of them has ended", maxChildren, c.Instance.ID)
	}
	c.starts++
	c.all.Add(1)
	return nil
}

func (c *Children) leave() {
	c.mu.Lock()
	c.starts--
	c.mu.Unlock()
	c.all.Done()
}

// start answers POST /instance, and goes on until the instance has ended: because its launcher says so or is gone, the
// server does, or this instance ends.
func (c *Children) start(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(answerWithin))
	var ask childAsk
	err := remit.DecodeStrict(r.Body, maxAsk, &ask)
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		c.answer(w, nil, remit.Errorf(remit.BadRequest, "the question does not parse: %w", err))
		return
	}
	if err := c.enter(); err != nil {
		c.answer(w, nil, err)
		return
	}
	defer c.leave()
	inst, err := c.ask(r.Context(), ask)
	if err != nil {
		c.answer(w, nil, err)
		return
	}
	// Deferred calls run last first: the server is told that it ended before the heartbeat is let go.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	defer func() { _ = c.tell(ctx, inst) }()
	asking := context.AfterFunc(r.Context(), cancel) // who waits no more does not wait for the server either
	held, err := c.Session.Hold(ctx, inst.ID, inst.Secret)
	asking()
	if err != nil {
		c.answer(w, nil, fmt.Errorf("opening the heartbeat of %s: %w", inst.ID, err))
		return
	}
	pid, _ := r.Context().Value(peer{}).(int)
	k := child{inst: inst, pid: pid, over: make(chan struct{})}
	c.mu.Lock()
	c.running[inst.ID] = k
	if c.closed {
		k.finish()
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.running, inst.ID)
		c.mu.Unlock()
	}()
	shown := inst
	shown.Secret = ""
	c.answer(w, childAnswer{shown}, nil)
	if err := rc.Flush(); err != nil {
		return
	}
	select {
	case err := <-held:
		end := childEnd{Reason: "the server ended it"}
		if err != nil {
			end.Reason = err.Error()
		}
		if err := json.NewEncoder(w).Encode(end); err != nil {
			c.Log.Warn("telling a sub-agent's launcher why its instance ended", "instance", inst.ID, "err", err)
		}
	case <-k.over:
	case <-r.Context().Done():
	}
}

// ask starts an instance on a task that this one's was delegated to. What runs in it runs inside this instance's
// confinement, whatever it adds, and can read what this one was handed.
func (c *Children) ask(ctx context.Context, a childAsk) (client.Instance, error) {
	s, ok := c.Session.(Delegating)
	switch {
	case !ok:
		return client.Instance{}, remit.Errorf(remit.NotFound, "this launcher cannot start instances of sub-agents")
	case a.Task == "" || len(a.From) >= maxChain:
		return client.Instance{}, remit.Errorf(remit.BadRequest, "name the task, and at most %d between it and that of instance %s", maxChain-1, c.Instance.ID)
	case c.Confinement == remit.ConfineSandbox:
		return client.Instance{}, remit.Errorf(remit.Forbidden, "inside a sandbox a sub-agent has no instance of its own, because the sandbox's way to Remit is that of instance %s; run without --isolate, or have a person say: remit run --task %s",
			c.Instance.ID, a.Task)
	}
	confinement := cmp.Or(c.Instance.Confinement, c.Confinement)
	ungoverned := slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.Ungoverned, a.Ungoverned))))
	inst, err := s.StartDelegated(ctx, append(slices.Clone(a.From), c.Instance.Task), client.InstanceStart{Task: a.Task, Confinement: confinement, Ungoverned: ungoverned})
	inst.Confinement = confinement
	return inst, err
}

// of finds the instance that a path names.
func (c *Children) of(h func(http.ResponseWriter, *http.Request, child)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		k, ok := c.running[remit.ID(r.PathValue("id"))]
		c.mu.Unlock()
		if !ok {
			c.answer(w, nil, remit.Errorf(remit.NotLive, "instance %s runs no sub-agent's instance %.64q", c.Instance.ID, r.PathValue("id")))
			return
		}
		h(w, r, k)
	}
}

func (c *Children) token(w http.ResponseWriter, r *http.Request, k child) {
	var in remit.TokenRequest
	if err := remit.DecodeStrict(r.Body, maxAsk, &in); err != nil {
		c.answer(w, nil, remit.Errorf(remit.BadRequest, "the question does not parse: %w", err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	token, notAfter, err := c.Session.Token(ctx, k.inst.ID, k.inst.Secret, in.Gateway)
	c.answer(w, remit.Token{Token: token, NotAfter: notAfter}, err)
}

func (c *Children) svid(w http.ResponseWriter, r *http.Request, k child) {
	var in remit.SVIDRequest
	if err := remit.DecodeStrict(r.Body, maxAsk, &in); err != nil {
		c.answer(w, nil, remit.Errorf(remit.BadRequest, "the question does not parse: %w", err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	chain, bundle, err := c.Session.SVID(ctx, k.inst.ID, k.inst.Secret, in.CSR)
	c.answer(w, childSVID{chain, bundle}, err)
}

func (c *Children) complete(w http.ResponseWriter, r *http.Request, k child) {
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	err := error(remit.Errorf(remit.NotFound, "this launcher cannot complete tasks"))
	if s, ok := c.Session.(Delegating); ok {
		err = s.Complete(ctx, k.inst.Task, k.inst.ID, k.inst.Secret)
	}
	c.answer(w, struct{}{}, err)
}

func (c *Children) end(w http.ResponseWriter, r *http.Request, k child) {
	err := c.tell(r.Context(), k.inst)
	c.mu.Lock()
	k.finish()
	c.mu.Unlock()
	c.answer(w, struct{}{}, err)
}

// tell ends an instance at the server, also when who asked is gone. If the server cannot be told, the end of the heartbeat
// tells it.
func (c *Children) tell(ctx context.Context, inst client.Instance) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	err := c.Session.End(ctx, inst.ID, inst.Secret)
	if err != nil {
		c.Log.Warn("ending a sub-agent's instance", "instance", inst.ID, "err", err)
	}
	return err
}

func (c *Children) answer(w http.ResponseWriter, v any, err error) { Answer(w, v, err, c.Log) }
