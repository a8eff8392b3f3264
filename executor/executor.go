// Package executor carries out approved work orders, so that an agent need not send its work again: what was approved
// is what was stored, and nobody can change it in between. It has an identity of its own.
package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// The executors. Each zone has its own, with its own identity and credential (R4d).
const (
	Source     = "executor/source"
	Build      = "executor/build"
	Production = "executor/production"
)

// Claimed is a work order that may be carried out now, once.
type Claimed struct {
	Access   remit.ID
	Protocol string
	Permit   remit.Permit
	Order    remit.Order
}

// Open is an attempt whose outcome nobody recorded: a crash lies between.
type Open struct {
	Attempt  remit.Attempt
	Protocol string
	Order    remit.Order
}

// Orders is the queue of met approvals, and of attempts that a crash left open.
type Orders interface {
	// Next waits for an approval that is met. With after it passes over those that were tried since.
	Next(ctx context.Context, after map[remit.ID]bool) (remit.ID, error)
	// Claim has the order judged again by the policy in force. A decision other than allow ends it; the error is for
	// what may be tried again.
	Claim(ctx context.Context, access remit.ID) (Claimed, remit.Decision, error)
	// Unfinished lists the attempts without an outcome.
	Unfinished(ctx context.Context) ([]Open, error)
}

// Executor runs orders one after another.
type Executor struct {
	Orders    Orders
	Pipeline  *gateway.Pipeline
	Protocols map[string]gateway.Protocol
	Log       *slog.Logger
	// Settle is how long an upstream may still be at work on what was sent before this process began, or before the
	// attempt expired; Settle of the package. After that, what is seen there is recorded.
	Settle time.Duration

	begun time.Time // the first Reconcile
	open  []Open    // that were not settled then
}

// Settle is the longest that a gateway waits for an upstream's answer, so that an upstream which takes longer has lost
// what it was told in any case.
const Settle = 10 * time.Minute

const (
	tries   = 5
	longest = time.Minute
	// again is when an approval that is still met is tried again after its tries were in vain.
	again = 5 * time.Minute
)

// Run works until ctx ends. What Reconcile left open is looked at again beside it.
func (e *Executor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var settling sync.WaitGroup
	defer settling.Wait()
	defer cancel()
	settling.Go(func() { e.settle(ctx) })
	vain := map[remit.ID]bool{}
	for {
		id, err := e.next(ctx, vain)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			clear(vain)
			continue
		case err != nil:
			return err
		}
		settled, err := e.complete(ctx, id)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			e.Log.Error("completing an approved order", "access", id, "err", err)
		}
		if !settled {
			vain[id] = true // the approval may still be met: it is passed over for a while
		}
	}
}

// next waits for an approval; if some were tried in vain, not longer than they are to be tried again.
func (e *Executor) next(ctx context.Context, vain map[remit.ID]bool) (remit.ID, error) {
	if len(vain) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, again)
		defer cancel()
	}
	return e.Orders.Next(ctx, vain)
}

// complete claims an order and carries it out. What is proven not to have been applied is tried again, a few times.
// settled tells that the approval is no longer met: it was used, or it waits for further votes.
func (e *Executor) complete(ctx context.Context, id remit.ID) (settled bool, _ error) {
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = longest
	return backoff.Retry(ctx, func() (bool, error) {
		c, d, err := e.Orders.Claim(ctx, id)
		if err != nil {
			return false, lasting(err)
		}
		if d.Verdict != remit.Allow {
			e.Log.Info("an approved order is not carried out", "access", id, "verdict", d.Verdict, "code", d.Code, "why", d.Sentence)
			return d.Code == remit.PolicyHeld, nil
		}
		proto := e.Protocols[c.Protocol]
		if proto == nil {
			return false, backoff.Permanent(remit.Errorf(remit.Internal, "no gateway carries out orders of %q", c.Protocol))
		}
		res, err := e.Pipeline.Complete(ctx, proto, c.Permit, c.Order, nil)
		if err != nil {
			if res.Outcome == remit.Ambiguous {
				return true, backoff.Permanent(err) // it was sent, perhaps: the use is spent, and a person looks
			}
			return false, err
		}
		e.Log.Info("carried out an approved order", "access", id, "outcome", res.Outcome, "code", res.Code)
		if res.Outcome == remit.NotApplied && res.Code != remit.Stale {
			return false, remit.Errorf(remit.UpstreamDown, "the upstream did not apply it: %s", res.Receipt)
		}
		return true, nil
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(tries))
}

// lasting marks what the same claim would be told again at once.
func lasting(err error) error {
	var refused *remit.Error
	if errors.As(err, &refused) && refused.Code == remit.NotFound {
		return backoff.Permanent(err)
	}
	return err
}

// Reconcile finds out what became of the attempts that a crash left without an outcome, and records it. What cannot be
// found out is ambiguous, for a person to look at. What the upstream may still be at work on stays open, with the use of
// its approval reserved; Run settles it.
func (e *Executor) Reconcile(ctx context.Context) error {
	open, err := e.Orders.Unfinished(ctx)
	if err != nil {
		return err
	}
	e.begun = time.Now()
	e.open, err = e.look(ctx, open)
	return err
}

// settle looks again, less and less often, until nothing is open.
func (e *Executor) settle(ctx context.Context) {
	wait := time.Second
	for len(e.open) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, 15*time.Second)
		var err error
		if e.open, err = e.look(ctx, e.open); err != nil {
			e.Log.Error("finding out what became of open attempts", "err", err)
		}
	}
}

// settled tells when nothing can come of an attempt any more that has not: a process sends nothing after its end, nor
// after the attempt's.
func (e *Executor) settled(a remit.Attempt) time.Time {
	d := e.Settle
	if d == 0 {
		d = Settle
	}
	if !a.NotAfter.IsZero() && a.NotAfter.Before(e.begun) {
		return a.NotAfter.Add(d)
	}
	return e.begun.Add(d)
}

// look asks what became of attempts, and records it. It returns those of which that is not known yet.
func (e *Executor) look(ctx context.Context, open []Open) (yet []Open, _ error) {
	var failed []error
	for _, o := range open {
		res := gateway.Result{Outcome: remit.Ambiguous}
		if proto := e.Protocols[o.Protocol]; proto != nil {
			res = proto.Reconcile(ctx, o.Order)
		}
		if !res.Outcome.Valid() {
			res.Outcome = remit.Ambiguous
		}
		switch until := e.settled(o.Attempt); {
		case ctx.Err() != nil: // what was found is of a question that was broken off
			return append(yet, o), errors.Join(append(failed, ctx.Err())...)
		case res.Yet && time.Now().Before(until):
			e.Log.Info("an attempt has no outcome yet: its upstream may be at work on it", "attempt", o.Attempt.ID, "until", until)
			yet = append(yet, o)
			continue
		}
		e.Log.Warn("an attempt had no outcome; found out", "attempt", o.Attempt.ID, "outcome", res.Outcome)
		if err := e.Pipeline.Authz.Record(ctx, o.Attempt, res); err != nil {
			failed = append(failed, fmt.Errorf("recording the outcome of %s: %w", o.Attempt.ID, err))
		}
	}
	return yet, errors.Join(failed...)
}
