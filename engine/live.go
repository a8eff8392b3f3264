package engine

import (
	"context"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// liveness is soft state about what is under way: attempts with their redemptions, and outcomes that the log could not
// take yet. A restart forgets it: then no attempt has a redemption any more, and those without an outcome are found in
// the committed state and reconciled.
type liveness struct {
	mu       sync.Mutex // taken after Engine.mu, never before
	attempts map[remit.ID]*underway
	owed     []outcome
}

type underway struct {
	secret     [32]byte
	redemption *authority.Redemption // nil once it was taken
	notAfter   time.Time
	ended      chan struct{}
}

// over tells whether the authority of an attempt has been seen to end.
func (u *underway) over() bool {
	select {
	case <-u.ended:
		return true
	default:
		return false
	}
}

func (u *underway) end() {
	if !u.over() {
		close(u.ended)
	}
	u.redemption = nil
}

// outcome is a record that is tried again.
type outcome struct {
	cmd      *authority.Record
	payloads []remit.Payload
}

// redeemed begins to watch an attempt.
func (e *Engine) redeemed(a remit.Attempt, r *authority.Redemption) {
	e.live.mu.Lock()
	e.live.attempts[a.ID] = &underway{secret: a.Secret, redemption: r, notAfter: a.NotAfter, ended: make(chan struct{})}
	e.live.mu.Unlock()
	// A kill or an end that came between the commit and the lines above has not seen this attempt.
	e.View(func(s *authority.State) { e.end(s, e.Now()) })
}

// Take hands over the redemption of an attempt, once, while its authority lasts.
func (e *Engine) Take(_ context.Context, a remit.Attempt) (*authority.Redemption, error) {
	now := e.Now()
	l := &e.live
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.attempts[a.ID]
	switch {
	case u == nil || subtle.ConstantTimeCompare(u.secret[:], a.Secret[:]) != 1:
		return nil, remit.Errorf(remit.AlreadyUsed, "attempt %s is not under way", a.ID)
	case u.over():
		return nil, remit.Errorf(remit.NotLive, "the authority of attempt %s has ended", a.ID)
	case !now.Before(u.notAfter):
		return nil, remit.Errorf(remit.Expired, "attempt %s has expired", a.ID)
	case u.redemption == nil:
		return nil, remit.Errorf(remit.AlreadyUsed, "the redemption of attempt %s was taken", a.ID)
	}
	r := u.redemption
	u.redemption = nil
	return r, nil
}

// closedChan is what Revoked gives for an attempt that is not under way: it has no authority.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Revoked gives a channel that is closed when the authority of an attempt ends.
func (e *Engine) Revoked(attempt remit.ID) <-chan struct{} {
	e.live.mu.Lock()
	defer e.live.mu.Unlock()
	if u := e.live.attempts[attempt]; u != nil {
		return u.ended
	}
	return closedChan
}

// Record says what came of an attempt; made is the immutable name of what the upstream made of it, if any. If the log cannot take it now, it is tried again by Tick, and the error says so.
func (e *Engine) Record(ctx context.Context, a remit.Attempt, o remit.Outcome, code remit.Code, receipt []byte, made string) error {
	cmd := &authority.Record{Attempt: a.ID, Outcome: o, Code: code, Made: made}
	var payloads []remit.Payload
	if len(receipt) > 0 {
		// The outcome matters more than the end of a long receipt.
		p, err := e.NewPayload(receipt[:min(len(receipt), remit.MaxPayload)])
		if err != nil {
			return err
		}
		cmd.Receipt = p.Commitment()
		payloads = append(payloads, p)
	}
	_, err := e.Do(ctx, cmd, payloads...)
	e.live.mu.Lock()
	defer e.live.mu.Unlock()
	delete(e.live.attempts, a.ID)
	if err != nil && passing(err) {
		e.live.owed = append(e.live.owed, outcome{cmd, payloads})
		return remit.Errorf(remit.LedgerDown, "the outcome of attempt %s is recorded when the log can be written: %w", a.ID, err)
	}
	return err
}

// passing tells whether what the log refused may be taken later.
func passing(err error) bool {
	var refused *remit.Error
	return errors.As(err, &refused) && (refused.Code == remit.LedgerDown || refused.Code == remit.NoSpace || refused.Code == remit.Overload)
}

// settle records the outcomes that could not be recorded before.
func (e *Engine) settle(ctx context.Context) error {
	e.live.mu.Lock()
	owed := e.live.owed
	e.live.owed = nil
	e.live.mu.Unlock()
	for i, o := range owed {
		if _, err := e.Do(ctx, o.cmd, o.payloads...); err != nil {
			if passing(err) {
				e.live.mu.Lock()
				e.live.owed = append(e.live.owed, owed[i:]...)
				e.live.mu.Unlock()
				return err
			}
			e.cfg.Log.Error("an outcome cannot be recorded", "attempt", o.cmd.Attempt, "outcome", o.cmd.Outcome, "err", err)
		}
	}
	return nil
}

// sweep ends the attempts whose authority a commit took away.
func (e *Engine) sweep(leaves []ledger.Leaf) {
	for _, leaf := range leaves {
		switch leaf.Event.(type) {
		case *remit.TaskEnded, *remit.InstanceEnded, *remit.AgentChanged, *remit.PersonKilled, *remit.Removed,
			*remit.AgentDeclared, *remit.PersonDeclared, *remit.PlanWithdrawn, *remit.ReviewRemoved:
			e.end(e.committed, leaves[len(leaves)-1].At)
			return
		}
	}
}

// end ends the attempts of which what they rest on is not alive at now, or is killed.
func (e *Engine) end(s *authority.State, now time.Time) {
	pending := e.kills.all()
	e.live.mu.Lock()
	defer e.live.mu.Unlock()
	for id, u := range e.live.attempts {
		if a := s.Attempts[id]; a != nil && dead(s, a, now, pending) {
			u.end()
		}
	}
}

func dead(s *authority.State, a *authority.Attempt, now time.Time, pending []authority.Kill) bool {
	if !s.TaskLive(a.Task, now.UnixNano()) || a.Executor == "" && !s.InstanceLive(a.Instance, now.UnixNano()) {
		return true
	}
	// A CI job and what an executor does by itself have no launcher.
	if p := s.People[a.Launcher]; a.Launcher != "" && (p == nil || p.Killed || p.Removed) {
		return true
	}
	for _, k := range pending {
		if ends(k, s, a.Task, a.Launcher) || s.PlanGone(a, k) {
			return true
		}
	}
	return s.PlanGone(a, authority.Kill{})
}

// expire ends the attempts whose time is over, whether or not anybody says what came of them.
func (e *Engine) expire(now time.Time) {
	e.live.mu.Lock()
	defer e.live.mu.Unlock()
	for id, u := range e.live.attempts {
		if !now.Before(u.notAfter) {
			u.end()
			delete(e.live.attempts, id)
		}
	}
}
