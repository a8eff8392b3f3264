package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Trial is what is tried on the past: another policy, other declarations, or both.
type Trial struct {
	// Policy judges in the place of the one that was in force; nil: that one does.
	Policy authority.Policy
	// Set is declared in the place of what was; nil: what was. Its Policy, unless zero, is that of Policy.
	Set   *authority.Set
	Since time.Time // of the first decision that is judged again
	// Samples is how many differences are given in full; all are counted. 0: 200.
	Samples int
}

const (
	trySamples  = 200
	tryBatch    = 256
	tryLongest  = 10 * time.Minute // of one trial
	tryTimeouts = 8                // requests for which a policy may take too long, until it is given up
	tryMemo     = 1 << 17          // findings that are remembered
)

// Past is one entry of the log to be tried on. Command is what was asked, where the entry is a decision within the
// trial's time; nil with Gone set where it cannot be had: erased, or missing.
type Past struct {
	Index   remit.EntryIndex
	Leaf    ledger.Leaf
	Command authority.Command
	Gone    string
}

// Narrower is a policy that knows what of facts it can see. Narrow gives facts without the rest: of two facts that are
// then the same, it finds the same.
type Narrower interface {
	Narrow(authority.Facts) authority.Facts
}

// Chooser is a policy that knows of which actions it judges steps at all.
type Chooser interface {
	Judges(actions ...remit.Action) bool
}

// Try judges the requests since a time again. It reads the committed log, beside the writer, and changes nothing.
//
// What would have been is said of each decision by itself: it is decided on the state of the log before it, with the
// policy of the trial over the facts of that state, and with the declarations of the trial, if any, in the place of those
// of that state. So up to the first request that would have been decided otherwise, the decisions are those that the same
// commands had made under the trial from the beginning; what follows from a difference (work that was not done, an answer
// that people gave) is not supposed to have gone otherwise too. Claims of approved orders are judged with the request that
// was held, and previews never. With declarations, a task's grant is cut to what its agent would be entitled to and does
// not grow. What cannot be judged is counted with the reason, and never as the same.
func (e *Engine) Try(ctx context.Context, t Trial) (remit.TryAnswer, error) {
	return Try(ctx, t, e.cfg.Policies, func(ctx context.Context, yield func([]*Past) error) error {
		return inOrder(ctx, func(ctx context.Context, send func([]*Past) bool) error {
			return readPast(ctx, e.cfg.Store, send)
		}, func(ctx context.Context, batch []*Past) {
			for _, p := range batch {
				p.load(ctx, e, t)
			}
		}, func(batch []*Past) error {
			for _, p := range batch {
				if p.err() != nil {
					return p.err()
				}
			}
			return yield(batch)
		})
	})
}

// readPast sends the committed log in batches, as bytes in the place of entries: load decodes them.
func readPast(ctx context.Context, s ledger.Store, send func([]*Past) bool) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	var batch []*Past
	for entry, err := range s.Read(ctx, 0) {
		if err != nil {
			return err
		}
		if uint64(entry.Index) >= head.Size {
			break
		}
		if batch = append(batch, &Past{Index: entry.Index, Leaf: ledger.Leaf{Event: unread(entry.Leaf)}}); len(batch) == tryBatch {
			if !send(batch) {
				return ctx.Err()
			}
			batch = nil
		}
	}
	if len(batch) > 0 {
		send(batch)
	}
	return ctx.Err()
}

// unread is an entry that nobody has decoded yet, and sick one that cannot be read.
type (
	unread []byte
	sick   struct{ error }
)

func (unread) Kind() string { return "" }
func (sick) Kind() string   { return "" }

func (p *Past) err() error {
	if x, ok := p.Leaf.Event.(sick); ok {
		return fmt.Errorf("entry %d: %w", p.Index, x.error)
	}
	return nil
}

func (p *Past) load(ctx context.Context, e *Engine, t Trial) {
	l, err := ledger.Decode(p.Leaf.Event.(unread))
	if err != nil {
		p.Leaf.Event = sick{err}
		return
	}
	if p.Leaf = l; !t.Wants(l) {
		return
	}
	if err := p.Load(func(d remit.Digest) ([]byte, error) {
		body, err := e.cfg.Store.Payload(ctx, d)
		return body.Body, err
	}, func(d remit.Digest) ([]byte, error) { return readBlob(ctx, e.cfg.Blobs, d) }); err != nil {
		p.Leaf.Event = sick{err}
	}
}

// Load reads the command of p, or says why it is gone.
func (p *Past) Load(payload, blob func(remit.Digest) ([]byte, error)) error {
	body, err := payload(p.Leaf.Command)
	if err == nil {
		p.Command, err = decodeCommand(body, blob)
	}
	switch {
	case errors.Is(err, ledger.ErrErased):
		p.Gone = "erased"
	case errors.Is(err, ledger.ErrNotFound):
		p.Gone = "missing"
	default:
		return err
	}
	return nil
}

// Wants tells whether an entry is a decision of which the command is needed to try it.
func (t Trial) Wants(l ledger.Leaf) bool {
	return t.judges(l) && !t.untouched(l.Event.(*remit.Decided))
}

func (t Trial) judges(l ledger.Leaf) bool {
	_, ok := l.Event.(*remit.Decided)
	return ok && !l.Command.IsZero() && !l.At.Before(t.Since)
}

// untouched tells by the entry alone that a request was allowed of which the policy of the trial judges no step: it has
// nothing to add to what allowed it.
func (t Trial) untouched(d *remit.Decided) bool {
	p, ok := t.Policy.(Chooser)
	if !ok || t.Set != nil || d.Verdict != remit.Allow || d.Plan.Filed != nil || len(d.Steps) == 0 {
		return false
	}
	actions := make([]remit.Action, len(d.Steps))
	for i, s := range d.Steps {
		actions[i] = s.Step.Action
	}
	return !p.Judges(actions...)
}

// Try is Engine.Try over a log that is read elsewhere: entries gives it from its first entry on, in order and in batches.
// policies gives those that were in force.
func Try(ctx context.Context, t Trial, policies Policies, entries func(ctx context.Context, yield func([]*Past) error) error) (remit.TryAnswer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tryLongest, remit.Errorf(remit.TooLarge, "the trial took longer than %v; try a shorter time, or make the policy cheaper", tryLongest))
	defer cancel()
	r := &trying{Trial: t, policies: policies, before: authority.New(), after: authority.New(), known: map[remit.Digest]authority.Policy{}}
	r.count.answer = remit.TryAnswer{Since: t.Since, Samples: cmp.Or(t.Samples, trySamples)}
	if t.Policy != nil {
		r.count.answer.Digest = t.Policy.Digest()
	}
	err := inOrder(ctx, func(ctx context.Context, send func([]*request) bool) error {
		return entries(ctx, func(batch []*Past) error {
			asked, err := r.facts(batch)
			if err == nil && !send(asked) {
				err = ctx.Err()
			}
			return err
		})
	}, r.judge, r.decide)
	if cause := context.Cause(ctx); err != nil && cause != nil && errors.Is(err, ctx.Err()) {
		err = cause
	}
	if err != nil {
		return remit.TryAnswer{}, err
	}
	return r.count.finish(), nil
}

// request is one entry on its way: what is judged of it, if anything.
type request struct {
	*Past
	ask     *authority.Authorize // nil: nothing to judge
	facts   authority.Facts
	policy  remit.Digest // in force, of the state
	finding *authority.Finding
	err     error
}

// trying folds the log twice, one a little behind the other: before computes facts, the cores judge them, and after
// decides. Each has its own state.
type trying struct {
	Trial
	policies      Policies
	before, after *authority.State
	hindsight     [2]*authority.Hindsight
	count         tally

	mu    sync.Mutex // of known
	known map[remit.Digest]authority.Policy

	memo     sync.Map // of findings, by policy and what it sees
	memos    atomic.Int64
	timeouts atomic.Int64
}

// stepped applies an entry to one of the states, and tells what is supposed over it.
func (r *trying) stepped(i int, s *authority.State, p *Past) error {
	if err := authority.Apply(s, p.Leaf.At.UnixNano(), p.Leaf.Event); err != nil {
		return fmt.Errorf("entry %d: %w", p.Index, err)
	}
	if x := r.hindsight[i]; x != nil {
		x.Saw(p.Leaf.Event)
	}
	return nil
}

// on calls f with the state that a request is decided on.
func (r *trying) on(i int, s *authority.State, ask remit.Request, f func(*authority.State)) error {
	if r.Set == nil {
		f(s)
		return nil
	}
	if r.hindsight[i] == nil {
		var err error
		if r.hindsight[i], err = authority.NewHindsight(s, r.Set); err != nil {
			return err
		}
	}
	r.hindsight[i].With(s, ask, f)
	return nil
}

// facts is the first fold.
func (r *trying) facts(batch []*Past) ([]*request, error) {
	out := make([]*request, len(batch))
	for i, p := range batch {
		q := &request{Past: p}
		out[i] = q
		if ask, ok := p.Command.(*authority.Authorize); ok && r.Wants(p.Leaf) && ask.Request.Access == "" && !ask.Request.Preview {
			q.ask = ask
			if d := p.Leaf.Event.(*remit.Decided); r.Set != nil || !d.Facts.IsZero() {
				if err := r.on(0, r.before, ask.Request, func(s *authority.State) {
					q.facts, q.policy = authority.FactsOf(s, ask.Request, p.Leaf.At.UnixNano()), s.Policy
				}); err != nil {
					return nil, err
				}
			}
		}
		if err := r.stepped(0, r.before, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// judge is done on all cores: a finding for each request that has facts.
func (r *trying) judge(ctx context.Context, batch []*request) {
	for _, q := range batch {
		if ctx.Err() != nil {
			return
		}
		if q.ask == nil || q.policy.IsZero() {
			continue
		}
		if d := q.Leaf.Event.(*remit.Decided); r.Set == nil && d.Facts != q.facts.Digest() {
			q.ask, q.Gone = nil, "facts" // what it was judged on cannot be made again: the log is not what its commands made
			continue
		}
		f, err := r.find(ctx, q)
		q.finding, q.err = f, err
	}
}

func (r *trying) find(ctx context.Context, q *request) (*authority.Finding, error) {
	p, err := r.policyFor(ctx, q.policy)
	if err != nil {
		return nil, err
	}
	type seen struct{ policy, facts remit.Digest }
	key := seen{policy: p.Digest()}
	if n, ok := p.(Narrower); ok {
		key.facts = n.Narrow(q.facts).Digest()
	} else {
		key.facts = q.facts.Digest()
	}
	if f, ok := r.memo.Load(key); ok {
		return f.(*authority.Finding), nil
	}
	f := p.Judge(q.facts)
	if f.Limit {
		if r.timeouts.Add(1) > tryTimeouts {
			return nil, remit.Errorf(remit.PolicyTimeout, "the policy did not answer in time for more than %d requests, the last at entry %d; make it cheaper", tryTimeouts, q.Index)
		}
		return &f, nil
	}
	if r.memos.Add(1) <= tryMemo {
		r.memo.Store(key, &f)
	}
	return &f, nil
}

// policyFor is the policy that judges in the place of the one of digest.
func (r *trying) policyFor(ctx context.Context, digest remit.Digest) (authority.Policy, error) {
	if r.Policy != nil {
		return r.Policy, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.known[digest]; p != nil {
		return p, nil
	}
	p, err := r.policies.Policy(ctx, digest)
	if err == nil {
		r.known[digest] = p
	}
	return p, err
}

// decide is the second fold.
func (r *trying) decide(batch []*request) error {
	for _, q := range batch {
		if q.err != nil {
			return q.err
		}
		if was, ok := q.Leaf.Event.(*remit.Decided); ok && r.judges(q.Leaf) {
			if err := r.compare(q, was); err != nil {
				return err
			}
		} else {
			r.count.entry(q.Past)
		}
		if err := r.stepped(1, r.after, q.Past); err != nil {
			return err
		}
	}
	return nil
}

func (r *trying) compare(q *request, was *remit.Decided) error {
	switch {
	case q.Gone != "":
		r.count.unjudged(q.Past, q.Gone)
		return nil
	case q.ask == nil && (!r.untouched(was) || was.Access != ""): // an allowed request with an approval is a claim
		r.count.passed(q.Past)
		return nil
	case q.ask == nil:
		r.count.same(q.Past)
		return nil
	case limited(was) || was.Code == remit.NoPolicy:
		// What it would have been without the overload, nobody has said.
		r.count.unjudged(q.Past, "limit")
		return nil
	}
	if q.finding != nil {
		if q.finding.Limit {
			r.count.unjudged(q.Past, "time-out")
			return nil
		}
		r.count.observe(q.finding.Observed)
	}
	// The compiled rules denied it, before any policy: or they allowed it, and the policy of the trial adds nothing.
	if r.Set == nil && (q.finding == nil || was.Verdict == remit.Allow && q.finding.Verdict == remit.Allow) {
		r.count.same(q.Past)
		return nil
	}
	var events []remit.Event
	var res authority.Result
	var err error
	if e := r.on(1, r.after, q.ask.Request, func(s *authority.State) {
		if cmd := *q.ask; q.finding != nil {
			cmd.Judged = authority.NewJudged(q.facts, s.Policy, *q.finding)
			events, res, err = authority.Decide(s, q.Leaf.At, &cmd)
		} else {
			events, res, err = authority.Decide(s, q.Leaf.At, &cmd)
		}
	}); e != nil {
		return e
	}
	if err != nil {
		r.count.unjudged(q.Past, "refused") // it would be no decision at all
		return nil
	}
	r.count.decided(q, was, res, events)
	return nil
}

// sameNeeds tells whether two decisions ask the same people.
func sameNeeds(a, b []remit.Need) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}
