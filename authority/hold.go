package authority

import (
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// decided turns a verdict into events: the decision, and for a hold the access request that people will see. Without a
// task the caller is not who they say, and the entry names nobody.
func (s *State) decided(now int64, c *Authorize, task *Task, steps []looked, d *verdict, facts remit.Digest) ([]remit.Event, Result, error) {
	r := c.Request
	e := &remit.Decided{Gateway: r.Gateway, Facts: facts, Policy: s.Policy, Bytes: r.Bytes}
	if d.malformed {
		e.Gateway, e.Bytes = "", 0
	}
	if task != nil {
		e.Instance, e.Task, e.Agent, e.Executor, e.Access = r.Caller.Instance, task.ID, r.Caller.Agent, r.Caller.Executor, r.Access
	}
	var known []remit.StepFacts
	for _, l := range steps {
		if l.bad == "" && !d.malformed { // R10: a leaf carries names that mean something here
			known = append(known, l.facts)
		}
	}
	e.Steps = known
	var in compared
	if d.v == remit.Hold {
		in = s.compare(task, now, r, steps)
	}
	if !d.malformed {
		s.stateChain(e, r)
	}
	for _, l := range steps {
		if l.child != nil && d.v != remit.Deny {
			e.Child = l.child.facts
		}
	}
	var then []remit.Event
	switch {
	case task == nil:
	case d.v == remit.Deny:
		then = s.refuseClaim(c, d)
	case r.Advice:
		e.Effect, e.Advice = s.effectDigest(r, steps), true
	default:
		e.Effect = s.effectDigest(r, steps)
		all, added := s.closure(task, known, d.needs, e.Deploy.Artifacts...)
		e.Closure = added
		e.Stood = s.evidence(d, now, task, r, known)
		e.Plan = s.pass(d, now, in, all)
		e.Glass = s.glass(d, now, task, r, steps)
		if r.Plan != nil {
			e.Plan = remit.PlanFacts{Filed: r.Plan.Steps, Until: s.lifeEnd(task.ID)}
			if r.Plan.For > 0 {
				e.Plan.Until = min(e.Plan.Until, now+r.Plan.For)
			}
		}
		switch {
		case r.Access != "":
			then = s.claim(now, c, d, e.Effect, all)
		case d.v == remit.Hold:
			then = s.hold(now, c, task, d, e.Effect, known, all)
		default:
			end := s.ending("")
			for _, id := range s.replaced(task, known) {
				end.hold(id, remit.Superseded)
			}
			then = end.events
		}
		if d.v == remit.Hold {
			e.Access = s.accessFor(then, r, e.Effect)
		}
		if d.v == remit.Deny {
			e.Stood, e.Plan, e.Glass = nil, remit.PlanFacts{}, ""
		}
	}
	for _, o := range d.observed {
		e.Observed = append(e.Observed, o.Name())
	}
	slices.Sort(e.Observed)
	e.Rules = d.rules
	if _, n, large := tooLarge(append([]remit.Event{e}, then...)); large {
		d.deny(remit.TooLargeToJudge, "R10", "the decision on it would take %d bytes and an entry of the log holds at most %d; do it in parts, or with shorter names", n, maxEvent)
		e.Steps, e.Closure, e.Effect, e.Access = nil, nil, remit.Digest{}, r.Access
		e.Artifacts, e.Deploy, e.Observed = nil, remit.Deploy{}, nil
		e.Child, e.Plan, e.Stood = remit.ChildFacts{}, remit.PlanFacts{}, nil
		then = s.refuseClaim(c, d)
	}
	e.Verdict, e.Code, e.Rules = d.v, d.code, d.rules
	res := Result{Decision: remit.Decision{Entry: s.Next, Verdict: d.v, Code: d.code, Rules: d.rules,
		Sentence: strings.Join(d.sentences, "; "), Access: e.Access}, Observed: d.observed}
	if d.v == remit.Allow {
		e.Code, res.Decision.Code = "", ""
	}
	if d.v == remit.Allow && !r.Advice {
		e.Permit, e.Hash = newID(s, "P", 0), c.Hash
		e.NotAfter = min(now+int64(PermitLife), s.lifeEnd(task.ID))
		if a := s.Accesses[r.Access]; a != nil {
			e.NotAfter = min(e.NotAfter, a.NotAfter)
		}
		if e.Plan.Used != nil {
			e.NotAfter = min(e.NotAfter, task.Plan.Until)
		}
		if o := s.Opened[e.Glass]; o != nil {
			e.NotAfter = min(e.NotAfter, o.Until)
		}
		res.Decision.Permit.ID = e.Permit
	}
	return append([]remit.Event{e}, then...), res, nil
}

// refuseClaim voids an approval of which the judgement at its redemption denies (R6). What another judgement would
// answer otherwise (a policy's time-out), or what is no claim of this approval, leaves it as it is.
func (s *State) refuseClaim(c *Authorize, d *verdict) []remit.Event {
	a := s.Accesses[c.Request.Access]
	if a == nil || a.Status != remit.AccessMet || d.limit || d.code == remit.AlreadyUsed {
		return nil
	}
	end := s.ending("")
	end.hold(a.ID, d.code)
	end.idle(a.Task, a.ID)
	return end.events
}

// replaced are the requests of a task that wait for the same thing to be done to the same ref: a new push takes the
// place of the one before (R6).
func (s *State) replaced(task *Task, steps []remit.StepFacts) []remit.ID {
	same := func(a, b remit.StepFacts) bool {
		return (a.Ref != "" || a.Step.Action == remit.ActionPlan) && !a.Step.Effect && !b.Step.Effect && a.Ref == b.Ref && a.Step.Action == b.Step.Action && a.Step.Resource == b.Step.Resource
	}
	var out []remit.ID
	for _, id := range s.HoldsOf(task.ID) {
		a := s.Accesses[id]
		if a.Status != remit.AccessReserved && slices.ContainsFunc(a.Steps, func(x remit.StepFacts) bool {
			return slices.ContainsFunc(steps, func(y remit.StepFacts) bool { return same(x, y) })
		}) {
			out = append(out, id)
		}
	}
	return out
}

// hold makes the access request of a held step, or denies where nobody could ever approve it.
func (s *State) hold(now int64, c *Authorize, task *Task, d *verdict, effect remit.Digest, steps []remit.StepFacts, closure []remit.ID) []remit.Event {
	r := c.Request
	if checkStored(d, r); d.v == remit.Deny {
		return nil
	}
	old := s.replaced(task, steps)
	for _, id := range s.HoldsOf(task.ID) {
		switch a := s.Accesses[id]; {
		case a.Effect != effect:
		case now < a.NotAfter && s.stands(a, now) || a.Status == remit.AccessReserved:
			return nil // git's plain retry: the same request, answered by the same access request
		case !slices.Contains(old, id):
			old = append(old, id)
		}
	}
	most := MaxHolds
	if task.Budget.Holds > 0 {
		most = task.Budget.Holds
	}
	if len(s.HoldsOf(task.ID))-len(old) >= most {
		d.deny(remit.TooManyHolds, "budget", "task %s has %d open holds; wait for one of them", task.ID, most)
		return nil
	}
	el := electorate{s: s, closure: closure, needs: d.needs, zone: d.zone, made: s.Next, madeAt: now, now: now}
	if refused, ok := el.fillable(); !ok {
		d.deny(remit.NoApprover, "R3", "it needs %s, and nobody who may is left: %s", ask(d.needs), strings.Join(refused, "; "))
		return nil
	}
	end := s.ending("")
	open := &remit.AccessOpened{Task: task.ID, Effect: effect, Change: s.changeDigest(r, steps), Shown: r.Card, Needs: d.needs,
		Closure: closure, NotAfter: min(now+int64(HoldLongest), s.lifeEnd(task.ID)), Zone: d.zone}
	for _, id := range old {
		end.hold(id, remit.Superseded)
		if open.Carried {
			continue
		}
		open.Replaces = id
		// The same change on another base: votes count by the change, below production (R6).
		a := s.Accesses[id]
		open.Carried = a.Change == open.Change && !open.Change.IsZero() && d.zone != remit.ZoneProduction && now < a.NotAfter
	}
	if !open.Carried {
		if s.asksTooOften(d, now); d.v == remit.Deny {
			return nil
		}
	}
	events := end.events
	open.ID = newID(s, "A", 1+len(events))
	open.Card = s.cardDigest(open, r.Caller, d)
	events = append(events, open)
	if open.Carried {
		was := s.Accesses[open.Replaces]
		if el.met(el.standing(was.Votes, was.SelfAt)) {
			events = append(events, &remit.AccessMoved{Access: open.ID, To: remit.AccessMet})
		}
	}
	return events
}

// accessFor is the access request that answers a hold: the one just made, or that of the same effect made before.
func (s *State) accessFor(made []remit.Event, r remit.Request, effect remit.Digest) remit.ID {
	for _, e := range made {
		if o, ok := e.(*remit.AccessOpened); ok {
			return o.ID
		}
	}
	for _, id := range s.HoldsOf(r.Caller.Task) {
		if s.Accesses[id].Effect == effect {
			return id
		}
	}
	return ""
}

// claim is redeeming an approval: judged again by the policy in force (R6). If that denies, the approval is void; if it
// asks for votes that are missing, it is open again; if it asks for none, those who agreed must still be who may.
func (s *State) claim(now int64, c *Authorize, d *verdict, effect remit.Digest, closure []remit.ID) []remit.Event {
	a := s.Accesses[c.Request.Access]
	end := s.ending("")
	if effect != a.Effect {
		d.deny(remit.Stale, "R6", "what would be done is not what was approved")
		end.hold(a.ID, remit.Stale)
		end.idle(a.Task, a.ID)
		return end.events
	}
	el := s.electorateOf(a, now)
	el.closure = mergeIDs(el.closure, closure)
	if d.v == remit.Hold {
		el.needs = d.needs
	}
	if el.met(s.standing(a, el)) {
		d.v = remit.Allow
		if !slices.EqualFunc(el.needs, a.Needs, remit.Need.Equal) {
			return []remit.Event{&remit.AccessMoved{Access: a.ID, To: remit.AccessMet, Needs: el.needs}}
		}
		return nil
	}
	if refused, ok := el.fillable(); !ok {
		d.deny(remit.NoApprover, "R3", "it now needs %s, and nobody who may is left: %s", ask(el.needs), strings.Join(refused, "; "))
		end.hold(a.ID, remit.NoApprover)
		end.idle(a.Task, a.ID)
		return end.events
	}
	d.deny(remit.PolicyHeld, "R6", "it now needs %s; the approval waits for the missing votes", ask(el.needs))
	return []remit.Event{&remit.AccessMoved{Access: a.ID, To: remit.AccessOpen, Why: remit.PolicyHeld, Needs: el.needs}}
}

// standing are the votes on a that still count: their voters were eligible at the vote and are now.
func (s *State) standing(a *Access, el electorate) []Vote { return el.standing(a.Votes, a.SelfAt) }

func (e electorate) standing(votes []Vote, selfAt int64) []Vote {
	var out []Vote
	for _, v := range votes {
		if e.counts(v, selfAt) {
			out = append(out, v)
		}
	}
	return out
}

func mergeIDs(a, b []remit.ID) []remit.ID { return add(slices.Clone(a), b...) }

// cardDigest is the digest of what a person is shown: every fixed line of the card, texts by their commitments. Whoever
// shows the card can show that it is this one.
func (s *State) cardDigest(o *remit.AccessOpened, c remit.Caller, d *verdict) remit.Digest {
	return s.CardOf(o, c.Agent, c.Instance, d.rules).Digest()
}

// Card is the fixed part of what an approver is shown. A vote signs its digest.
type Card struct {
	Origin      string
	Org         remit.Org
	Profile     remit.Profile
	Request     remit.ID
	Task        remit.ID
	By          remit.ID // who asked, for control steps
	Requester   remit.ID
	Intent      remit.Digest // commitment of the words
	Agent       string
	Function    remit.Function
	Owner       remit.ID
	Instance    remit.ID
	Launcher    remit.ID
	Confinement remit.Confinement
	Ungoverned  []string // credentials that the task was handed past Remit
	Effect      remit.Digest
	Change      remit.Digest
	Shown       remit.Digest // commitment of the change
	Needs       []remit.Need
	Rules       []string
	Zone        remit.Zone
	NotAfter    int64
}

// Digest is what a vote signs as the card.
func (c Card) Digest() remit.Digest { return digestJSON("card", c) }

// decideRedeem is R8: the linearisation point. What was revoked before this entry is never sent.
func decideRedeem(s *State, now int64, c *Redeem) ([]remit.Event, Result, error) {
	p := s.Permits[c.Permit]
	if p == nil || p.Hash != c.Proof || c.Proof.IsZero() {
		return nil, Result{}, remit.Errorf(remit.AlreadyUsed, "permit %s does not exist or was redeemed", c.Permit)
	}
	if now >= p.NotAfter {
		return nil, Result{}, remit.Errorf(remit.Expired, "permit %s has expired", c.Permit)
	}
	if !s.permitLive(p, now) {
		return nil, Result{}, remit.Errorf(remit.NotLive, "the authority of permit %s has ended", c.Permit)
	}
	for _, st := range p.Steps {
		if err := s.checkContained(s.upstreamOf(st.Resource)); err != nil {
			return nil, Result{}, err
		}
	}
	if err := s.checkUse(p, now); err != nil {
		return nil, Result{}, err
	}
	if a := s.Accesses[p.Access]; a != nil {
		if !s.stands(a, now) {
			return nil, Result{}, remit.Errorf(remit.NotLive, "the authority of permit %s has ended", c.Permit)
		}
		if a.Status != remit.AccessMet || now >= a.NotAfter {
			return nil, Result{}, remit.Errorf(remit.AlreadyUsed, "access request %s is %s; an approval is good once, in its time", a.ID, a.statusAt(now))
		}
		if el := s.electorateOf(a, now); !el.met(s.standing(a, el)) {
			return nil, Result{}, remit.Errorf(remit.NotEligible, "the votes on access request %s no longer stand; claim it again", a.ID)
		}
	}
	e := &remit.Redeemed{ID: newID(s, "X", 0), Permit: c.Permit, Hash: c.Hash, Taints: s.taint(p),
		NotAfter: min(now+int64(AttemptLife), s.lifeEnd(p.Task))}
	red := &Redemption{attempt: e.ID, task: p.Task, steps: p.Steps, notAfter: e.NotAfter, executor: p.Executor, artifacts: p.Artifacts, deploy: p.Deploy}
	red.zone = s.zoneOfSteps(p.Steps)
	res := Result{Redemption: red}
	res.Attempt.ID = e.ID
	return []remit.Event{e}, res, nil
}

func decideRecord(s *State, now int64, c *Record) ([]remit.Event, Result, error) {
	a := s.Attempts[c.Attempt]
	if a == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "attempt %s does not exist or has its outcome", c.Attempt)
	}
	if !c.Outcome.Valid() {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "an outcome is done, not_applied, ambiguous or after_revocation, not %q", c.Outcome)
	}
	if err := checkMade(a, c.Made); err != nil {
		return nil, Result{}, err
	}
	out := c.Outcome
	if out == remit.Done && (!s.TaskLive(a.Task, now) || !s.launcherLive(a.Launcher) || s.planGone(a)) {
		out = remit.AfterRevocation
	}
	events := []remit.Event{&remit.Recorded{Attempt: c.Attempt, Outcome: out, Code: c.Code, Receipt: c.Receipt, Made: c.Made}}
	access := s.Accesses[a.Access]
	if access == nil || access.Status != remit.AccessReserved {
		return events, Result{}, nil
	}
	end := s.ending("")
	switch {
	case out == remit.NotApplied && c.Code == remit.Stale:
		end.hold(a.Access, remit.Stale)
		end.idle(access.Task, a.Access)
	case out == remit.NotApplied:
		// Proven: the use is given back, to those votes that still stand.
		to := remit.AccessOpen
		if el := s.electorateOf(access, now); el.met(s.standing(access, el)) {
			to = remit.AccessMet
		}
		events = append(events, &remit.AccessMoved{Access: a.Access, To: to})
	default:
		events = append(events, &remit.AccessMoved{Access: a.Access, To: remit.AccessUsed})
		end.idle(access.Task, a.Access)
	}
	return append(events, end.events...), Result{}, nil
}
