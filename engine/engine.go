// Package engine is the single writer: command → decide → append → apply → wake. It keeps one organisation's state
// twice, as decided (the writer's own) and as committed (what everybody reads), so that nobody sees what is not
// durable. If the log cannot be written, callers are denied; if nobody can tell whether it was, the engine stops.
package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Policies finds a policy by the digest of its bundle.
type Policies interface {
	Policy(context.Context, remit.Digest) (authority.Policy, error)
}

// Clock tells the time. Boot is the time since boot, suspension included (CLOCK_BOOTTIME): it shows a wall clock that
// was set.
type Clock interface {
	Now() time.Time
	Boot() time.Duration
}

// Config is what an engine needs. All members but Random and Kills are required.
type Config struct {
	Store    ledger.Store
	Blobs    ledger.Blobs
	Policies Policies
	Clock    Clock
	Log      *slog.Logger
	Random   io.Reader // crypto/rand by default
	Kills    string    // path of the file for kills that the log could not take; empty: memory only
}

// Limits of the queue in front of the writer.
const (
	maxQueue     = 4096 // commands that wait; more are denied with OVERLOAD
	maxGroup     = 512  // commands in one commit
	maxConflicts = 128  // times that a group is decided anew because another writer was faster
)

// Engine decides and records. Make one with Open.
type Engine struct {
	cfg   Config
	queue chan *job
	done  chan struct{} // closed when the writer has stopped
	stop  context.CancelFunc

	// The writer's own.
	working *authority.State
	tree    ledger.Tree
	epoch   uint64

	mu        sync.RWMutex
	committed *authority.State
	changed   chan struct{} // closed and replaced at each commit
	ended     chan struct{} // the same, where something may have ended
	tail      tail
	policy    atomic.Pointer[authority.Policy]
	failed    atomic.Pointer[remit.Error] // why nothing is decided any more

	draining atomic.Bool

	live    liveness
	kills   kills
	repeats repeats
	clock   clockGuard
	reviews reviews

	apply func(*authority.State, int64, remit.Event) error // authority.Apply; tests make it fail
}

// Open folds the log and starts the writer. An empty log must be given a genesis next (Do with *authority.Init).
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	e := &Engine{cfg: cfg, queue: make(chan *job, maxQueue), done: make(chan struct{}), changed: make(chan struct{}), ended: make(chan struct{}), apply: authority.Apply}
	if err := e.fold(ctx); err != nil {
		return nil, err
	}
	e.live.attempts = map[remit.ID]*underway{}
	e.clock.init(cfg.Clock, e.committed.Now)
	if err := e.kills.load(cfg.Kills); err != nil {
		return nil, err
	}
	ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	go e.write(ctx)
	return e, nil
}

// Close records the counts of repeated denials, lets what is being committed finish and stops. What waits is denied.
func (e *Engine) Close() {
	if err := e.count(e.background(), e.repeats.all()); err != nil {
		e.cfg.Log.Warn("the counts of repeated denials are lost", "err", err)
	}
	e.stop()
	<-e.done
}

// longLog is how many entries are worth a reserve while they are read.
const longLog = 50_000

// fold reads the log from its first entry. It is applied once; the second state is a copy of the first.
func (e *Engine) fold(ctx context.Context) error {
	if head, err := e.cfg.Store.Head(ctx); err == nil && head.Size > longLog {
		// A long log is read through a small heap, which would be collected thousands of times. Nothing writes to these
		// bytes, so they cost addresses and no memory; while they are there, a collection waits for as many more.
		reserve := make([]byte, 64<<20)
		defer runtime.KeepAlive(reserve)
	}
	s := authority.New()
	tree, head, err := ledger.Replay(ctx, e.cfg.Store, ledger.Tree{}, func(_ remit.EntryIndex, l ledger.Leaf) error {
		return e.apply(s, l.At.UnixNano(), l.Event)
	})
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	e.working, e.tree, e.epoch = s, tree, head.Epoch
	e.committed = copyState(s)
	e.tail.next = s.Next
	if s.Policy.IsZero() {
		return nil
	}
	if _, err := e.loadPolicy(ctx, s.Policy); err != nil {
		return fmt.Errorf("the policy in force, %s: %w", s.Policy, err)
	}
	return nil
}

// loadPolicy gives the policy of a digest. The last one that was asked for is kept.
func (e *Engine) loadPolicy(ctx context.Context, d remit.Digest) (authority.Policy, error) {
	if p := e.policy.Load(); p != nil && (*p).Digest() == d {
		return *p, nil
	}
	p, err := e.cfg.Policies.Policy(ctx, d)
	if err != nil {
		return nil, err
	}
	e.policy.Store(&p)
	return p, nil
}

// judged asks the policy of a digest; if it cannot be had, the finding denies.
func (e *Engine) judged(f authority.Facts, digest remit.Digest) *authority.Judged {
	p, err := e.loadPolicy(e.background(), digest)
	if err != nil {
		e.cfg.Log.Error("loading a policy", "policy", digest, "err", err)
		return authority.NewJudged(f, digest, authority.Finding{Verdict: remit.Deny, Code: remit.NoPolicy, Rules: []string{"R1"}, Limit: true,
			Sentence: "the policy in force cannot be read"})
	}
	return authority.NewJudged(f, digest, p.Judge(f))
}

// Do is the one way in for commands of people and of Remit itself: judge, decide, append, apply, wake. It returns when
// the events are durable. Payloads are what the command names by commitment.
func (e *Engine) Do(ctx context.Context, c authority.Command, payloads ...remit.Payload) (authority.Result, error) {
	if _, err := e.ready(c); err != nil {
		return authority.Result{}, err
	}
	return e.do(ctx, c, Once{}, payloads)
}

// do is Do for what was found ready; the writer looks again.
func (e *Engine) do(ctx context.Context, c authority.Command, once Once, payloads []remit.Payload) (authority.Result, error) {
	for _, p := range payloads { // or the store would refuse the whole group that it is in
		if len(p.Body) > remit.MaxPayload {
			return authority.Result{}, remit.Errorf(remit.TooLarge, "a text of %d bytes; at most %d", len(p.Body), remit.MaxPayload)
		}
	}
	j := &job{ctx: ctx, cmd: c, once: once, payloads: payloads, done: make(chan struct{})}
	select {
	case e.queue <- j:
	default:
		return authority.Result{}, remit.Errorf(remit.Overload, "%d commands already wait to be decided; try again", maxQueue)
	}
	// The caller's context is not waited on: what is queued will be decided, and its answer must not be lost.
	select {
	case <-j.done:
	case <-e.done:
		select {
		case <-j.done: // it was answered before the writer stopped
		default:
			return authority.Result{}, e.why()
		}
	}
	return j.result, j.err
}

// ready gives the time to decide c at. It denies while the engine has failed or the clock is in doubt.
func (e *Engine) ready(c authority.Command) (time.Time, error) {
	if f := e.failed.Load(); f != nil {
		return time.Time{}, f
	}
	if e.draining.Load() && begins(c) {
		return time.Time{}, remit.Errorf(remit.Draining, "the server is being drained and begins nothing new; try again later")
	}
	now, err := e.clock.read()
	if err != nil && !takesAway(c) {
		return time.Time{}, err
	}
	return now, nil
}

// takesAway tells which commands work while the clock is in doubt: what ends authority, what says what came of it, and
// what ends the doubt (R11).
func takesAway(c authority.Command) bool {
	switch c := c.(type) {
	case *authority.Kill, *authority.EndInstance, *authority.EndTask, *authority.DropHold, *authority.Record, *authority.CountDenials, *authority.ConfirmClock, *authority.RecordFinding,
		*authority.Init:
		return true
	case *authority.ChangeAgent:
		return c.To != remit.AgentActive
	case *authority.ContainUpstream:
		return !c.Lift
	case *authority.MoveLease:
		return c.To != remit.LeaseAnchored && c.To != remit.LeaseMinted && c.To != remit.LeaseActive
	}
	return false
}

func (e *Engine) why() error {
	if f := e.failed.Load(); f != nil {
		return f
	}
	return remit.Errorf(remit.LedgerDown, "the server is stopping")
}

// View reads the committed state. f does not keep what it is given, and does not change it; it does not call View.
func (e *Engine) View(f func(*authority.State)) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	f(e.committed)
}

// Changed gives a channel that is closed at the next commit.
func (e *Engine) Changed() <-chan struct{} {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.changed
}

// Wait returns when f is true of the committed state, or with ctx's error.
func (e *Engine) Wait(ctx context.Context, f func(*authority.State) bool) error {
	for {
		next := e.Changed()
		ok := false
		e.View(func(s *authority.State) { ok = f(s) })
		if ok {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.done:
			return e.why()
		}
	}
}

// background is the context of what Remit does of its own accord.
func (e *Engine) background() context.Context { return context.Background() }

// Now is the time that the next decision would be stamped with, at the earliest.
func (e *Engine) Now() time.Time {
	now, _ := e.clock.read()
	return now
}

// Failed says why nothing is decided any more; nil while all is well.
func (e *Engine) Failed() error {
	if f := e.failed.Load(); f != nil {
		return f
	}
	return nil
}
