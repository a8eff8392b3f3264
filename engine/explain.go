package engine

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Explanation is what deriving one command again says of it: more than its entries, which carry no sentences.
type Explanation struct {
	At      time.Time
	Event   remit.Event       // the entry itself
	Command authority.Command // nil: its payload is gone, and nothing below is known
	Result  authority.Result
	Opened  *remit.AccessOpened // that the command made, if any
	Card    authority.Card      // of Opened
	// Derived tells that deriving the command just now gave exactly the entries that the log has.
	Derived bool
}

// Explain derives the commands whose first entries are given, each on the state before it, in one pass over the log. An
// entry that is not the first of a command is explained by itself alone.
func (e *Engine) Explain(ctx context.Context, entries ...remit.EntryIndex) (map[remit.EntryIndex]*Explanation, error) {
	want, out := map[remit.EntryIndex]bool{}, map[remit.EntryIndex]*Explanation{}
	last := remit.EntryIndex(0)
	for _, i := range entries {
		want[i], last = true, max(last, i)
	}
	state := authority.New()
	var x *Explanation     // of the command whose entries are being read
	var left []remit.Event // of x, not yet met in the log
	for entry, err := range e.cfg.Store.Read(ctx, 0) {
		if err != nil {
			return nil, err
		}
		l, err := ledger.Decode(entry.Leaf)
		if err != nil {
			return nil, err
		}
		if !l.Command.IsZero() {
			x.end(left)
			if x, left = nil, nil; entry.Index > last {
				break
			}
		}
		if want[entry.Index] {
			explained, events, err := e.explain(ctx, state, l)
			if err != nil {
				return nil, err
			}
			out[entry.Index] = explained
			if !l.Command.IsZero() {
				x, left = explained, events
			}
		}
		if x != nil && x.Derived {
			if x.Derived = len(left) > 0 && sameLeaf(l, left[0], entry.Leaf); x.Derived {
				left = left[1:]
			}
		}
		if err := authority.Apply(state, l.At.UnixNano(), l.Event); err != nil {
			return nil, err
		}
	}
	x.end(left)
	if len(out) < len(want) {
		return nil, remit.Errorf(remit.NotFound, "the log has no entry %d", last)
	}
	return out, nil
}

// end is told which derived events the log does not have.
func (x *Explanation) end(left []remit.Event) {
	if x != nil && len(left) > 0 {
		x.Derived = false
	}
}

// explain derives one command on the state before it.
func (e *Engine) explain(ctx context.Context, s *authority.State, l ledger.Leaf) (*Explanation, []remit.Event, error) {
	x := &Explanation{At: l.At, Event: l.Event}
	if l.Command.IsZero() {
		return x, nil, nil
	}
	c, err := e.Command(ctx, l.Command)
	if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNotFound) {
		return x, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	x.Command = c
	events, res, err := derive(ctx, s, l.At, c, e.cfg.Policies)
	if err != nil {
		return x, nil, nil // the log has what its command does not make: not derived
	}
	x.Result, x.Derived = res, true
	agent, instance, rules := "", remit.ID(""), []string{"control"}
	for _, ev := range events {
		switch ev := ev.(type) {
		case *remit.Decided:
			agent, instance, rules = ev.Agent, ev.Instance, ev.Rules
		case *remit.AccessOpened:
			x.Opened, x.Card = ev, s.CardOf(ev, agent, instance, rules)
		}
	}
	return x, events, nil
}

// derive decides a command on a state, as Derive does, and keeps what the caller was told.
func derive(ctx context.Context, s *authority.State, at time.Time, c authority.Command, policies Policies) ([]remit.Event, authority.Result, error) {
	for range 2 {
		events, res, err := authority.Decide(s, at, c)
		var stale *authority.Stale
		a, ok := c.(*authority.Authorize)
		if !errors.As(err, &stale) || !ok {
			return events, res, err
		}
		p, err := policies.Policy(ctx, s.Policy)
		if err != nil {
			return nil, authority.Result{}, err
		}
		a.Judged = authority.NewJudged(stale.Facts, s.Policy, p.Judge(stale.Facts))
	}
	return nil, authority.Result{}, errors.New("the facts change while they are judged")
}

// sameLeaf tells whether l with another event would be the leaf that the log has.
func sameLeaf(l ledger.Leaf, derived remit.Event, logged []byte) bool {
	l.Event = derived
	b, err := ledger.Encode(l)
	return err == nil && bytes.Equal(b, logged)
}

// Command gives the command that a commitment stands for; ledger.ErrErased and ledger.ErrNotFound where it is gone.
func (e *Engine) Command(ctx context.Context, commitment remit.Digest) (authority.Command, error) {
	return LoadCommand(ctx, e.cfg.Store, e.cfg.Blobs, commitment)
}
