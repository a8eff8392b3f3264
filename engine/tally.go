package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// tally is the answer of a trial while it is counted.
type tally struct {
	answer    remit.TryAnswer
	changes   map[[2]remit.Verdict]int
	shares    map[remit.TryShare]*remit.TryShare // by themselves without numbers
	observed  map[string]int
	questions map[[2]string]*remit.TryQuestion // by day and group
	gone      map[string]*remit.TryUnjudged
	asked     map[remit.Digest]int64 // when a question that nobody was asked would have been asked last, by its effect
	now       pending
}

// pending is the decision whose further entries are read: they say whom it asked.
type pending struct {
	judged bool
	same   bool // it would have asked the same
	needs  []remit.Need
	opened bool // it would have asked
	differ *remit.TryDifference
}

func count[K comparable](m *map[K]int, k K) {
	if *m == nil {
		*m = map[K]int{}
	}
	(*m)[k]++
}

func (t *tally) at(p *Past) {
	t.answer.Until, t.answer.Size = p.Leaf.At, uint64(p.Index)+1
}

// entry takes an entry that is no decision to be judged.
func (t *tally) entry(p *Past) {
	t.at(p)
	if !p.Leaf.Command.IsZero() {
		t.close()
		t.now = pending{}
		return
	}
	o, ok := p.Leaf.Event.(*remit.AccessOpened)
	if !ok || !t.now.judged || o.Carried {
		return
	}
	day := p.Leaf.At
	t.ask(o.Needs, day, 1, 0)
	if t.now.same {
		t.ask(o.Needs, day, 0, 1)
	}
	if d := t.now.differ; d != nil && d.Was == remit.Hold && d.Would == remit.Hold && t.now.opened && sameNeeds(t.now.needs, o.Needs) {
		t.now.differ = nil // it asks whom it asked
	}
}

func (t *tally) ask(needs []remit.Need, at time.Time, was, would int) {
	if t.questions == nil {
		t.questions = map[[2]string]*remit.TryQuestion{}
	}
	seen := ""
	for _, n := range needs {
		if n.Group == seen { // once for each group, whatever it is asked for
			continue
		}
		seen = n.Group
		k := [2]string{at.UTC().Format(time.DateOnly), n.Group}
		if t.questions[k] == nil {
			t.questions[k] = &remit.TryQuestion{Day: k[0], Group: k[1]}
		}
		t.questions[k].Was += was
		t.questions[k].Would += would
		t.answer.Asked += was
		t.answer.WouldAsk += would
	}
}

func (t *tally) unjudged(p *Past, why string) {
	t.close()
	t.at(p)
	t.now = pending{}
	if t.gone == nil {
		t.gone = map[string]*remit.TryUnjudged{}
	}
	if t.gone[why] == nil {
		t.gone[why] = &remit.TryUnjudged{Why: why, Entry: p.Index}
	}
	t.gone[why].Requests++
	t.answer.Unjudged++
}

// passed takes a decision that is not judged by itself: a claim, or a preview.
func (t *tally) passed(p *Past) {
	t.close()
	t.at(p)
	t.now = pending{}
}

func (t *tally) same(p *Past) {
	t.close()
	t.at(p)
	t.answer.Judged++
	t.now = pending{judged: true, same: true}
}

func (t *tally) observe(list []remit.Observation) {
	for _, o := range list {
		count(&t.observed, o.Name())
	}
}

// decided takes what a decision would have been.
func (t *tally) decided(q *request, was *remit.Decided, res authority.Result, events []remit.Event) {
	t.close()
	t.at(q.Past)
	t.answer.Judged++
	t.now = pending{judged: true}
	would := res.Decision
	for _, ev := range events {
		o, ok := ev.(*remit.AccessOpened)
		if !ok || o.Carried {
			continue
		}
		t.now.opened, t.now.needs = true, o.Needs
		if t.asked == nil {
			t.asked = map[remit.Digest]int64{}
		}
		at := q.Leaf.At.UnixNano()
		if last, again := t.asked[o.Effect]; !again || was.Verdict == remit.Hold || at-last >= int64(authority.HoldLongest) {
			t.ask(o.Needs, q.Leaf.At, 0, 1) // the same is asked once
			t.asked[o.Effect] = at
		}
	}
	if was.Verdict == would.Verdict && was.Verdict != remit.Hold {
		return
	}
	r := q.ask.Request
	t.now.differ = &remit.TryDifference{Entry: q.Index, At: q.Leaf.At, Agent: r.Caller.Agent, Task: r.Caller.Task, Steps: r.Steps,
		Was: was.Verdict, Would: would.Verdict, Code: would.Code, Rules: would.Rules, Sentence: would.Sentence}
	if t.now.opened {
		t.now.differ.Needs = t.now.needs
	}
	if was.Verdict == remit.Hold && would.Verdict == remit.Hold && !t.now.opened {
		t.now.differ = nil // it waits with the one that was asked before
	}
	if d := t.now.differ; d != nil && d.Would == remit.Allow {
		d.Rules = was.Rules // that fall away
	}
}

// close counts the difference of the decision that was read last.
func (t *tally) close() {
	d := t.now.differ
	t.now.differ = nil
	if d == nil {
		return
	}
	if t.changes == nil {
		t.changes, t.shares = map[[2]remit.Verdict]int{}, map[remit.TryShare]*remit.TryShare{}
	}
	t.changes[[2]remit.Verdict{d.Was, d.Would}]++
	t.share("agent", d.Agent, d)
	t.share("task", string(d.Task), d)
	for _, rule := range d.Rules {
		t.share("rule", rule, d)
	}
	t.answer.Different++
	if len(t.answer.Differences) < t.answer.Samples {
		t.answer.Differences = append(t.answer.Differences, *d)
	}
}

func (t *tally) share(what, name string, d *remit.TryDifference) {
	k := remit.TryShare{What: what, Name: name, Was: d.Was, Would: d.Would}
	if t.shares[k] == nil {
		if what == "task" && len(t.shares) > tryShares {
			return
		}
		first := k
		first.Entry = d.Entry
		t.shares[k] = &first
	}
	t.shares[k].Requests++
}

// tryShares is how many agents, rules and tasks are counted apart, beyond which further tasks are not.
const tryShares = 2000

func (t *tally) finish() remit.TryAnswer {
	t.close()
	a := t.answer
	for k, n := range t.changes {
		a.Changes = append(a.Changes, remit.TryChange{Was: k[0], Would: k[1], Requests: n})
	}
	slices.SortFunc(a.Changes, func(x, y remit.TryChange) int {
		return cmp.Or(cmp.Compare(x.Was, y.Was), cmp.Compare(x.Would, y.Would))
	})
	for _, s := range t.shares {
		a.By = append(a.By, *s)
	}
	slices.SortFunc(a.By, func(x, y remit.TryShare) int {
		return cmp.Or(cmp.Compare(x.What, y.What), cmp.Compare(y.Requests, x.Requests), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Was, y.Was), cmp.Compare(x.Would, y.Would))
	})
	for name, n := range t.observed {
		o := remit.ObservationOf(name)
		a.Observed = append(a.Observed, remit.TryObserved{Rule: o.Rule, Verdict: o.Verdict, Requests: n})
	}
	slices.SortFunc(a.Observed, func(x, y remit.TryObserved) int {
		return cmp.Or(cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Verdict, y.Verdict))
	})
	for _, q := range t.questions {
		a.Questions = append(a.Questions, *q)
	}
	slices.SortFunc(a.Questions, func(x, y remit.TryQuestion) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Day, y.Day))
	})
	for _, u := range t.gone {
		a.NotJudged = append(a.NotJudged, *u)
	}
	slices.SortFunc(a.NotJudged, func(x, y remit.TryUnjudged) int { return cmp.Compare(x.Why, y.Why) })
	return a
}
