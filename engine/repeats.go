package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// repeats answers the repeats of a denial within the minute with the entry of the first (R11), so that a loop does not
// fill the log. A crash may lose the count, nothing else.
type repeats struct {
	mu    sync.Mutex
	known map[remit.Digest]*repeat
	over  []*authority.CountDenials // of minutes that are over, not yet in the log
}

type repeat struct {
	decision remit.Decision
	until    time.Time
	count    int
}

const (
	// maxRepeats bounds the memory that denied requests can take.
	maxRepeats = 10_000
	repeatTime = time.Minute
)

// repeatable tells which denials the same request would get again within the minute. A policy that took too long or
// could not be read says "ask again"; a hold may be over, and what others do may bring what was missing: a review, a
// release elsewhere, an administrator who lifts a containment. Those are decided again, within the task's budget.
func repeatable(r remit.Request, d remit.Decision) bool {
	switch d.Code {
	case remit.TooManyHolds, remit.PolicyTimeout, remit.Overload, remit.NoPolicy, remit.OverBudget,
		remit.ReviewMissing, remit.EvidenceMissing, remit.RollbackUnknown, remit.Contained, remit.Stale, remit.Conflict:
		return false
	}
	return d.Verdict == remit.Deny && r.Access == ""
}

// terms are the declarations and the policy that a request is judged by.
type terms struct {
	set    remit.EntryIndex
	policy remit.Digest
}

func (e *Engine) terms() (t terms) {
	e.View(func(s *authority.State) { t = terms{s.SetEntry, s.Policy} })
	return t
}

// key is the same for the same request under the same terms; zero if it has none.
func (t terms) key(r remit.Request) remit.Digest {
	r.Order, r.Card = nil, remit.Digest{}
	b, err := json.Marshal(r)
	if err != nil {
		return remit.Digest{}
	}
	return remit.Hash(b, t.policy[:], fmt.Append(nil, t.set))
}

// some tells whether there is any denial that could be repeated. Mostly there is none, and nothing to look for.
func (p *repeats) some() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known) > 0
}

func (p *repeats) seen(key remit.Digest, now time.Time) (remit.Decision, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.known[key]
	if r == nil {
		return remit.Decision{}, false
	}
	if !now.Before(r.until) {
		p.close(key)
		return remit.Decision{}, false
	}
	r.count++
	return r.decision, true
}

func (p *repeats) first(key remit.Digest, d remit.Decision, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[remit.Digest]*repeat{}
	}
	if len(p.known) < maxRepeats && p.known[key] == nil && !key.IsZero() {
		p.known[key] = &repeat{decision: d, until: now.Add(repeatTime)}
	}
}

// close ends a minute.
func (p *repeats) close(key remit.Digest) {
	if r := p.known[key]; r.count > 0 {
		p.over = append(p.over, &authority.CountDenials{Entry: r.decision.Entry, Count: r.count})
	}
	delete(p.known, key)
}

// due takes out the counts whose minute is over.
func (p *repeats) due(now time.Time) []*authority.CountDenials {
	return p.take(func(r *repeat) bool { return !now.Before(r.until) })
}

// all takes out every count, whether or not its minute is over.
func (p *repeats) all() []*authority.CountDenials {
	return p.take(func(*repeat) bool { return true })
}

func (p *repeats) take(over func(*repeat) bool) []*authority.CountDenials {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, r := range p.known {
		if over(r) {
			p.close(key)
		}
	}
	out := p.over
	p.over = nil
	return out
}

// countAtOnce is how many counts wait for one commit together.
const countAtOnce = 128

// count records counts. What the log does not take is kept for the next time.
func (e *Engine) count(ctx context.Context, counts []*authority.CountDenials) error {
	for len(counts) > 0 {
		now := counts[:min(len(counts), countAtOnce)]
		errs := make([]error, len(now))
		var wait sync.WaitGroup
		for i, c := range now {
			wait.Go(func() { _, errs[i] = e.Do(ctx, c) })
		}
		wait.Wait()
		counts = counts[len(now):]
		for i, err := range errs {
			if err != nil {
				counts = append(counts, now[i])
			}
		}
		if err := errors.Join(errs...); err != nil {
			e.repeats.mu.Lock()
			e.repeats.over = append(e.repeats.over, counts...)
			e.repeats.mu.Unlock()
			return err
		}
	}
	return nil
}

// Tick makes true what time alone decides: deadlines, expiries, counts of repeated denials; and it tries again to record
// the outcomes that could not be. It is called about once a second.
func (e *Engine) Tick(ctx context.Context) error {
	now, doubt := e.clock.read()
	e.expire(now)
	if err := errors.Join(e.settle(ctx), doubt); err != nil {
		return err
	}
	err := e.count(ctx, e.repeats.due(now))
	for range ticksAtOnce {
		due := false
		if e.View(func(s *authority.State) { due = s.Due(now.UnixNano()) }); !due || err != nil || ctx.Err() != nil {
			break
		}
		_, err = e.Do(ctx, &authority.Tick{})
	}
	return errors.Join(err, e.review(ctx, now))
}

// ticksAtOnce is how many commands of its own a Tick gives at most. What a large kill ended is over already: that it is
// written down takes many small commands, between which others' are decided, and what else is done once a second is done.
const ticksAtOnce = 50
