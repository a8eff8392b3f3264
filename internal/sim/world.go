// Package sim plays whole histories against the real engine, gateway pipeline and reconciliation: scripted agents,
// people and administrators, upstreams whose state is in sight, a virtual clock, and a process that is killed, cut off
// or lied to by its disk at any step. One seed is one history, to the last byte of its log.
package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/internal/world"
)

// clock is the bubble's, with what somebody sets it off by.
type clock struct {
	begun time.Time
	off   time.Duration
}

// Now is the wall clock.
func (c *clock) Now() time.Time { return time.Now().Add(c.off) }

// Boot goes on whatever the wall clock says.
func (c *clock) Boot() time.Duration { return time.Since(c.begun) }

// World is one history while it happens.
type World struct {
	seed    uint64
	dir     string // for pending kills; empty: they are forgotten with the process
	settle  func() // returns when everybody else waits
	profile remit.Profile

	disk    *disk
	process *store // whose engine runs
	engine  *engine.Engine
	clock   *clock
	rules   *world.Rules
	random  io.Reader
	up      *upstream
	set     authority.Set

	r      *rand.Rand // of the step that runs
	fuse   int        // the process is killed at this many steps from here; 0: it is not
	dead   bool
	fault  fault // of the next Append
	cut    int   // answers of the authority that are lost on their way
	jumped bool  // the clock did, and nobody has looked at it
	deaf   bool  // the next answer of an upstream is lost
	gate   chan struct{}
	after  int        // points until somebody interferes
	armed  *rand.Rand // and how; nil: nobody does

	callers []remit.Caller
	held    []remit.ID
	permits []stashed
	pushes  []remit.EntryIndex
	sets    map[remit.ID]authority.Set
	struck  map[remit.ID]bool // tasks that were killed, whether the log could take it or not

	record   bool // what is appended, into recorded
	recorded []appended

	wrong  []string
	traces bool
	trace  []string
	stats  map[string]int
}

// stashed is a permit that a gateway has not used yet, or has used already.
type stashed struct {
	permit remit.Permit
	order  remit.Order
}

var errGone = remit.Errorf(remit.UpstreamDown, "the authority does not answer")

func (w *World) say(format string, args ...any) {
	if w.traces {
		w.trace = append(w.trace, fmt.Sprintf("%s  ", w.clock.Now().Format("01-02 15:04:05"))+fmt.Sprintf(format, args...))
	}
}

func (w *World) fail(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	w.say("WRONG: "+format, args...)
}

// dies tells whether the process is dead, here or by now.
func (w *World) dies() bool {
	if w.fuse > 0 {
		if w.fuse--; w.fuse == 0 {
			w.dead = true
			w.stats["killed"]++
			w.say("  the process is killed")
		}
	}
	return w.dead
}

// meanwhile lets somebody interfere, where that was asked for.
func (w *World) meanwhile() {
	if w.armed == nil || w.dead {
		return
	}
	if w.after--; w.after > 0 {
		return
	}
	was := w.r
	w.r, w.armed = w.armed, nil
	w.say("  meanwhile:")
	w.takeAway()
	w.r = was
}

// reaches has a call to the authority be made and its answer heard, or not.
func (w *World) reaches(call func() error) error {
	if w.dies() {
		return errGone
	}
	err := call()
	if w.cut > 0 {
		w.cut--
		w.stats["cut off"]++
		w.say("  the answer is lost")
		return errGone
	}
	if w.dies() {
		return errGone
	}
	return err
}

// Authorize, Redeem, Revoked and Record: see gateway.Authorizer.
type authorizer struct{ *World }

func (w authorizer) Authorize(ctx context.Context, r remit.Request, p ...remit.Payload) (d remit.Decision, err error) {
	err = w.reaches(func() (err error) { d, err = w.engine.Authorize(ctx, r, p...); return err })
	if w.odd(err); err == nil && d.Entry >= w.disk.size() && d.Code != remit.NotLive {
		w.fail("R7: decision %d is acknowledged and not durable", d.Entry)
	}
	return d, err
}

func (w authorizer) Redeem(ctx context.Context, p remit.Permit) (a remit.Attempt, err error) {
	w.meanwhile()
	err = w.reaches(func() (err error) { a, err = w.engine.Redeem(ctx, p); return err })
	w.odd(err)
	if err == nil {
		w.view(func(s *authority.State) {
			if x := s.Attempts[a.ID]; x != nil && w.struck[x.Task] {
				w.fail("R11: task %s was killed, and permit %s is redeemed all the same", x.Task, p.ID)
			}
		})
	}
	w.meanwhile()
	return a, err
}

func (w authorizer) Revoked(attempt remit.ID) <-chan struct{} { return w.engine.Revoked(attempt) }

func (w authorizer) Record(ctx context.Context, a remit.Attempt, res gateway.Result) error {
	err := w.reaches(func() error { return w.engine.Record(ctx, a, res.Outcome, res.Code, res.Receipt, res.Made) })
	w.say("  outcome of %s: %s %s %s", a.ID, res.Outcome, res.Code, reason(err))
	w.stats["outcome "+string(res.Outcome)]++
	w.odd(err)
	return err
}

// odd: a refusal is as good as anything; a fault of the house is not.
func (w *World) odd(err error) {
	var e *remit.Error
	var d *remit.DeclarationError
	if err != nil && (!errors.As(err, &e) || e.Code == remit.Internal) && !errors.As(err, &d) {
		w.fail("R1: an odd error: %v", err)
	}
}

func reason(err error) string {
	var e *remit.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return string(e.Code) + ": " + e.Sentence
	}
	return err.Error()
}

// do sends a command of people, or of Remit itself.
func (w *World) do(c authority.Command) (res authority.Result, err error) {
	err = w.reaches(func() (err error) { res, err = w.engine.Do(context.Background(), c); return err })
	w.odd(err)
	w.say("  %T %s", c, reason(err))
	return res, err
}

func (w *World) view(f func(*authority.State)) { w.engine.View(f) }

// Lease: see gateway.Credentials. It goes the broker's way: intended, made, probed.
func (w *World) Lease(ctx context.Context, a remit.Attempt) (gateway.Credential, error) {
	w.meanwhile()
	if w.dies() {
		return nil, errGone
	}
	red, err := w.engine.Take(ctx, a)
	if err != nil {
		return nil, err
	}
	if !red.Valid() || red.Attempt() != a.ID {
		w.fail("R8: the redemption of %s is not its own", a.ID)
	}
	if _, err := w.engine.Take(ctx, a); err == nil {
		w.fail("R8: the redemption of %s is taken twice", a.ID)
	}
	on := red.Steps()[0].Resource
	at := map[string]string{"repo": "forge", "artifact": "oci", "environment": "cluster"}[on.Type()]
	if at == "" {
		return credential{w, ""}, nil
	}
	if w.one(15) { // a broker that is confused, or worse
		w.stray(a.ID, on)
	}
	res, err := w.do(&authority.OpenLease{Attempt: a.ID, Upstream: at, Target: on, Revocation: remit.RevokeImmediate})
	if err != nil {
		return nil, err
	}
	if w.dies() {
		return nil, errGone
	}
	w.up.creds[res.ID], w.up.minted[res.ID] = true, true
	w.stats["credential"]++
	for _, to := range []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseActive} {
		if _, err := w.do(&authority.MoveLease{Lease: res.ID, To: to}); err != nil {
			return nil, err
		}
	}
	w.meanwhile()
	return credential{w, res.ID}, nil
}

// stray asks for a credential that the attempt has no right to, and for odd moves of those that there are.
func (w *World) stray(attempt remit.ID, on remit.Resource) {
	_, _ = w.do(&authority.OpenLease{Attempt: attempt, Upstream: pick(w, "forge", "oci", "cluster"), Target: pick(w, on, app, image, production), Write: w.one(2), Revocation: remit.RevokeImmediate})
	for _, id := range w.ids(func(s *authority.State) []remit.ID { return sorted(s.Leases) }) {
		if !w.up.minted[id] {
			_, _ = w.do(&authority.MoveLease{Lease: id, To: pick(w, remit.LeaseActive, remit.LeaseMinted, remit.LeaseRevoked, remit.LeaseExpired, remit.LeaseAbandoned, remit.LeaseRevoking), Tries: 1})
		}
	}
}

type credential struct {
	w     *World
	lease remit.ID
}

func (credential) Apply(*http.Request) error { return nil }

func (c credential) End(context.Context) error {
	if c.lease == "" || c.w.dead {
		return nil
	}
	return c.w.endLease(c.lease)
}

// endLease ends a credential, whatever became of it so far.
func (w *World) endLease(id remit.ID) error {
	tries, status := 0, remit.LeaseStatus("")
	w.view(func(s *authority.State) {
		if l := s.Leases[id]; l != nil {
			tries, status = l.Tries, l.Status
		}
	})
	if status == "" {
		return nil
	}
	if _, err := w.do(&authority.MoveLease{Lease: id, To: remit.LeaseRevoking, Tries: tries + 1}); err != nil {
		return err
	}
	if w.dies() {
		return errGone
	}
	delete(w.up.creds, id)
	_, err := w.do(&authority.MoveLease{Lease: id, To: remit.LeaseRevoked, Tries: tries + 1})
	return err
}

// protocol is the one gateway of this world. Its requests are made by the agents; see act.go.
type protocol struct{ w *World }

func (protocol) Classify(context.Context, remit.Caller, *http.Request) (remit.Request, []remit.Payload, error) {
	return remit.Request{}, nil, errors.New("requests of the simulator are classified already")
}
func (protocol) Refuse(http.ResponseWriter, *http.Request, remit.Decision) {}
func (protocol) Fail(http.ResponseWriter, *http.Request, *remit.Error)     {}

// Forward: see gateway.Protocol.
func (p protocol) Forward(_ context.Context, ro remit.Order, c gateway.Credential, _ http.ResponseWriter) gateway.Result {
	w := p.w
	if w.dies() {
		return gateway.Result{Outcome: remit.Ambiguous}
	}
	var o order
	if err := json.Unmarshal(ro.Body, &o); err != nil {
		w.fail("R7: the order of %s cannot be read", ro.Attempt)
		return gateway.Result{Outcome: remit.Ambiguous}
	}
	if id := c.(credential).lease; id != "" && !w.up.creds[id] {
		w.fail("R7: %s is sent with a credential that was never made, or has ended", ro.Attempt)
	}
	w.view(func(s *authority.State) {
		a := s.Attempts[ro.Attempt]
		if a == nil || !s.LiveTasks[a.Task] || s.Agents[a.Agent].Status != remit.AgentActive {
			w.fail("R8: attempt %s is sent although nothing stands behind it any more", ro.Attempt)
		}
	})
	made := ""
	if o.Kind == "child" {
		res, err := w.do(&authority.CreateChild{Attempt: ro.Attempt, Child: *o.Child})
		if err != nil {
			return gateway.Result{Outcome: remit.NotApplied, Code: remit.Conflict}
		}
		made = string(res.ID)
	} else if err := w.up.take(ro.Attempt, o, w.disk.size()); err != nil {
		w.say("  the upstream refuses: %v", err)
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Conflict}
	}
	w.say("  the upstream does %s %s %s %s", o.Kind, o.Repo, o.Ref, o.New)
	w.stats["act "+o.Kind]++
	w.meanwhile()
	switch {
	case w.dies():
		return gateway.Result{Outcome: remit.Ambiguous}
	case w.deaf:
		w.deaf = false
		w.say("  and nobody hears it")
		return p.Reconcile(context.Background(), ro)
	}
	if o.Kind == "ref" && slices.ContainsFunc(ro.Steps, func(s remit.Step) bool { return s.Action == "source.merge" }) {
		made = o.New
	}
	return gateway.Result{Outcome: remit.Done, Made: made, Receipt: []byte("said")}
}

// Reconcile: see gateway.Protocol.
func (p protocol) Reconcile(_ context.Context, ro remit.Order) gateway.Result {
	var o order
	if err := json.Unmarshal(ro.Body, &o); err != nil {
		return gateway.Result{Outcome: remit.Ambiguous}
	}
	if o.Kind == "child" { // what it made stands in the log
		res := gateway.Result{Outcome: remit.NotApplied}
		p.w.view(func(s *authority.State) {
			for id, t := range s.Tasks {
				if t.Attempt == ro.Attempt {
					res = gateway.Result{Outcome: remit.Done, Made: string(id)}
				}
			}
		})
		return res
	}
	return gateway.Result{Outcome: p.w.up.look(ro.Attempt, o)}
}

func (w *World) pipeline() *gateway.Pipeline {
	return &gateway.Pipeline{Authz: authorizer{w}, Creds: w, Log: slog.New(slog.DiscardHandler)}
}

// stored is the request that an entry decided, as the log keeps it.
func (w *World) stored(i remit.EntryIndex) (remit.Request, error) {
	_, c, err := w.engine.Entry(context.Background(), i)
	if err != nil {
		return remit.Request{}, err
	}
	a, ok := c.(*authority.Authorize)
	if !ok {
		return remit.Request{}, fmt.Errorf("entry %d is no request", i)
	}
	return a.Request, nil
}

// Next, Claim and Unfinished: see executor.Orders.
func (w *World) Next(ctx context.Context, _ map[remit.ID]bool) (remit.ID, error) {
	return "", ctx.Err()
}

func (w *World) Claim(ctx context.Context, id remit.ID) (executor.Claimed, remit.Decision, error) {
	var a authority.Access
	w.view(func(s *authority.State) {
		if x := s.Accesses[id]; x != nil {
			a = *x
		}
	})
	if a.Status != remit.AccessMet || a.Task == "" {
		return executor.Claimed{}, remit.Decision{}, remit.Errorf(remit.NotFound, "there is nothing to claim of %s", id)
	}
	r, err := w.stored(a.Decision)
	if err != nil {
		w.fail("R6: the work order of %s is gone: %v", id, err)
		return executor.Claimed{}, remit.Decision{}, err
	}
	info, _ := remit.Lookup(r.Steps[0].Action)
	r.Caller, r.Access = remit.Caller{Executor: authority.ExecutorOf(info.Stage.Zone()), Task: a.Task}, id
	d, err := authorizer{w}.Authorize(ctx, r)
	return executor.Claimed{Access: id, Permit: d.Permit, Order: remit.Order{Caller: r.Caller, Steps: r.Steps, Deploy: r.Deploy, Body: r.Order}}, d, err
}

func (w *World) Unfinished(context.Context) (open []executor.Open, err error) {
	var all []authority.Attempt
	w.view(func(s *authority.State) {
		for _, a := range s.Attempts {
			all = append(all, *a)
		}
	})
	slices.SortFunc(all, func(a, b authority.Attempt) int { return int(a.Decision) - int(b.Decision) })
	for _, a := range all {
		r, err := w.stored(a.Decision)
		if err != nil {
			w.fail("R7: the order of attempt %s is gone: %v", a.ID, err)
			return nil, err
		}
		open = append(open, executor.Open{Attempt: remit.Attempt{ID: a.ID}, Protocol: "sim", Order: remit.Order{Attempt: a.ID, Steps: r.Steps, Body: r.Order}})
	}
	return open, nil
}
