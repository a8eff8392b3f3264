package authority

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// Activation is what must have been tried before a change comes into force.
type Activation struct {
	remit.ActivationDeclared
	Changes []Change
}

// Tried is the newest trial of one change.
type Tried struct {
	remit.PolicyTried
	Entry remit.EntryIndex
	At    int64
}

// maxTried is how many trials are remembered, the newest of them.
const maxTried = 64

// RecordTrial writes down what a trial on the past counted. Remit itself makes it of a trial that it ran; no route takes its
// numbers.
type RecordTrial struct {
	remit.PolicyTried // By is who asked for it
}

func (*RecordTrial) name() string { return "trial.record" }

func decideTrial(s *State, now int64, c *RecordTrial) ([]remit.Event, Result, error) {
	t := c.PolicyTried
	if !s.IsAdmin(t.By) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "trials are recorded for administrators")
	}
	if t.Bundle.IsZero() && t.Set.IsZero() {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "a trial is of a bundle, of declarations, or of both")
	}
	for _, n := range []int{t.Judged, t.Unjudged, t.Denied, t.Held, t.Allowed, t.Asked, t.WouldAsk} {
		if n < 0 {
			return nil, Result{}, remit.Errorf(remit.BadRequest, "a trial counts from 0")
		}
	}
	if t.Until > now || t.Since > now || t.Size > uint64(s.Next) || t.Report.IsZero() || t.Denied+t.Held+t.Allowed > t.Judged {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "a trial is of what the log has")
	}
	return []remit.Event{&t}, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}, nil
}

// keyOfTrial is by what a trial is found: the declarations or, where only a bundle was tried, that.
func keyOfTrial(t remit.PolicyTried) remit.Digest {
	if !t.Set.IsZero() {
		return t.Set
	}
	return t.Bundle
}

func (s *State) applyTried(n remit.EntryIndex, at int64, e *remit.PolicyTried) {
	if s.Tried == nil {
		s.Tried = map[remit.Digest]Tried{}
	}
	s.Tried[keyOfTrial(*e)] = Tried{*e, n, at}
	if len(s.Tried) > maxTried {
		oldest := slices.SortedFunc(maps.Values(s.Tried), func(a, b Tried) int { return cmp.Compare(a.Entry, b.Entry) })[0]
		delete(s.Tried, keyOfTrial(oldest.PolicyTried))
	}
}

func (s *State) applyActivation(n remit.EntryIndex, e *remit.ActivationDeclared) {
	if s.Activations == nil {
		s.Activations = map[string]*Activation{}
	}
	old := s.Gone["activation/"+e.Of]
	if a := s.Activations[e.Of]; a != nil {
		old = a.Changes
	}
	s.Activations[e.Of] = &Activation{*e, append(old, Change{e.By, n})}
}

// TrialDigest names a set for trials: the same declarations, made a set of twice, have the same. It leaves out what no
// decision reads: texts, and the specifications of upstreams and targets, which stand in a set as commitments, and the ids
// of people whom the state does not know.
func TrialDigest(s *State, set *Set) remit.Digest {
	x, fresh := *set, map[remit.ID]remit.ID{}
	x.Notify, x.PolicyWidens, x.ReachWidens = remit.Digest{}, "", ""
	if x.Policy.IsZero() {
		x.Policy = s.Policy // a set that leaves the policy as it is, and one that names it, are one
	}
	id := func(p remit.ID) remit.ID {
		if f, ok := fresh[p]; ok {
			return f
		}
		return p
	}
	x.People = slices.Clone(set.People)
	for i := range x.People {
		p := &x.People[i]
		if s.People[p.ID] == nil {
			fresh[p.ID] = remit.ID(fmt.Sprintf("new %d", i))
		}
		p.ID, p.Name, p.By = id(p.ID), remit.Digest{}, ""
		for j, d := range p.Identities { // a new commitment says nothing; one that is in force stays
			if j == 0 {
				p.Identities = slices.Clone(p.Identities)
			}
			if was := s.People[p.ID]; was == nil || !slices.Contains(was.Identities, d) {
				p.Identities[j] = remit.Digest{}
			}
		}
	}
	x.Groups = slices.Clone(set.Groups)
	for i := range x.Groups {
		g := &x.Groups[i]
		g.Members, g.By = slices.Clone(g.Members), ""
		for j := range g.Members {
			g.Members[j] = id(g.Members[j])
		}
		slices.Sort(g.Members)
	}
	x.Agents = slices.Clone(set.Agents)
	for i := range x.Agents {
		x.Agents[i].Owner, x.Agents[i].Text, x.Agents[i].By = id(x.Agents[i].Owner), remit.Digest{}, ""
	}
	x.Upstreams = slices.Clone(set.Upstreams)
	for i := range x.Upstreams {
		x.Upstreams[i].Spec, x.Upstreams[i].By = remit.Digest{}, ""
	}
	x.Environments = slices.Clone(set.Environments)
	for i := range x.Environments {
		x.Environments[i].Spec, x.Environments[i].By = remit.Digest{}, ""
	}
	x.Secrets = slices.Clone(set.Secrets)
	for i := range x.Secrets {
		x.Secrets[i].Spec, x.Secrets[i].By = remit.Digest{}, ""
	}
	x.Tools = slices.Clone(set.Tools)
	for i := range x.Tools {
		x.Tools[i].Spec, x.Tools[i].By = remit.Digest{}, ""
	}
	return digestJSON("trial", x)
}

// activate refuses changes that were not tried on the past as the declarations in force want it: exactly these, lately,
// over enough of the past, and with few enough more questions to people.
func (s *State) activate(now int64, set *Set, changes []change) error {
	if len(s.Activations) == 0 {
		return nil
	}
	of := map[string]bool{}
	for _, c := range changes {
		if c.Kind == "policy" {
			of["policy"] = true
		} else {
			of["declarations"] = true
		}
	}
	digest := TrialDigest(s, set)
	for _, what := range []string{"policy", "declarations"} {
		rule := s.Activations[what]
		if rule == nil || !of[what] {
			continue
		}
		t, tried := s.Tried[digest]
		if alone, ok := s.Tried[set.Policy]; what == "policy" && ok && (!tried || alone.At > t.At) {
			t, tried = alone, true
		}
		how := "run `remit policy try DIR --record`, with the policy that you apply"
		if what == "declarations" {
			how = "run `remit policy try --declarations DIR --record`, with the declarations that you apply"
		}
		hours := func(n int) int64 { return int64(n) * int64(time.Hour) }
		switch {
		case !tried:
			return remit.Errorf(remit.NotTried, "this change of %s was not tried on the past, and the declarations want that; %s", what, how)
		case now-t.At > hours(rule.Within):
			return remit.Errorf(remit.NotTried, "this change of %s was tried in entry %d, more than %d hours ago; %s once more", what, t.Entry, rule.Within, how)
		case t.At-t.Since < hours(rule.Over):
			return remit.Errorf(remit.NotTried, "this change of %s was tried on less than the last %d hours (entry %d); %s and --since %dh", what, rule.Over, t.Entry, how, rule.Over)
		case rule.Bound && t.WouldAsk-t.Asked > rule.More:
			return remit.Errorf(remit.NotTried, "by the trial in entry %d people would be asked %d times more, and the declarations let a change of %s bring %d more at most; make it ask less, or change the bound first",
				t.Entry, t.WouldAsk-t.Asked, what, rule.More)
		}
	}
	return nil
}

// activations is what must have been tried before a change comes into force. To want less widens.
func (d *differ) activations() error {
	for i, x := range d.set.Activations {
		path := fmt.Sprintf("activation[%d]", i)
		if twice(d.set.Activations, i, func(o remit.ActivationDeclared) string { return o.Of }) {
			return wrong(path+".name", "what must be tried before a change of %q stands twice", x.Of)
		}
		if x.Of != "policy" && x.Of != "declarations" {
			return wrong(path+".name", "a trial is wanted of policy or of declarations, not of %q", x.Of)
		}
		if x.Within < 1 || x.Within > 720 {
			return wrong(path+".tried_within_hours", "a trial is good for 1 to 720 hours")
		}
		if x.Over < 1 || x.Over > 24*366 {
			return wrong(path+".over_hours", "a trial goes back 1 to %d hours", 24*366)
		}
		if x.More < 0 || x.More > math.MaxInt32 || !x.Bound && x.More != 0 {
			return wrong(path+".max_more_questions", "a bound on questions is 0 or more")
		}
		x.By = d.by
		old := d.s.Activations[x.Of]
		if old == nil {
			d.add("activation", x.Of, "add", "", &x)
			continue
		}
		x.By = old.By
		if old.ActivationDeclared != x {
			widens := ""
			if x.Within > old.Within || x.Over < old.Over || old.Bound && (!x.Bound || x.More > old.More) {
				widens = fmt.Sprintf("less must have been tried before a change of %s", x.Of)
			}
			x.By = d.by
			d.add("activation", x.Of, "change", widens, &x)
		}
	}
	for _, of := range sorted(d.s.Activations) {
		if !slices.ContainsFunc(d.set.Activations, func(x remit.ActivationDeclared) bool { return x.Of == of }) {
			d.remove("activation", of, fmt.Sprintf("a change of %s need not have been tried any more", of))
		}
	}
	return nil
}
