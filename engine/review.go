package engine

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// reviewEvery is how often it is looked whether time has made anything true of reviews. They last for days, and to look is
// to go through all agents.
const reviewEvery = time.Minute

// reviews is when that is looked next; and at once after a set came into force.
type reviews struct {
	mu   sync.Mutex
	next time.Time
	set  remit.EntryIndex
}

// review opens, reminds of, and ends what of reviews is due. It gives as many commands as a Tick does at most, and goes on
// with the next one.
func (e *Engine) review(ctx context.Context, now time.Time) error {
	r := &e.reviews
	r.mu.Lock()
	defer r.mu.Unlock()
	set := remit.EntryIndex(0)
	e.View(func(s *authority.State) { set = s.SetEntry })
	if now.Before(r.next) && set == r.set && r.next.Sub(now) <= reviewEvery {
		return nil
	}
	for range ticksAtOnce {
		due := false
		e.View(func(s *authority.State) { due = s.ReviewsDue(now.UnixNano()) })
		if !due || ctx.Err() != nil {
			r.next, r.set = now.Add(reviewEvery), set
			return ctx.Err()
		}
		c := &authority.StepReviews{}
		if _, err := io.ReadFull(e.cfg.Random, c.Seed[:]); err != nil {
			return remit.Errorf(remit.Internal, "no random bytes for a review: %w", err)
		}
		if _, err := e.Do(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
