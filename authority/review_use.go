package authority

import (
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// HoldingKey names an entitlement of an agent, or one function of which it may request work. Two scopes that are written
// alike are one.
func HoldingKey(sc remit.Scope, f remit.Function) string {
	if f != "" {
		return "request " + string(f)
	}
	for _, p := range []*[]remit.Pattern{&sc.Refs, &sc.Paths} {
		if len(*p) == 0 {
			*p = nil
		}
	}
	return digestJSON("entitlement", sc).String()
}

// Rest is one step of a permit, with what decides which entitlements it rests on.
type Rest struct {
	remit.Step
	Ref string `json:",omitempty"`
}

// eachHolding visits what an agent holds, in the order in which it is declared, each once.
func (a *Agent) eachHolding(visit func(key string, sc remit.Scope, f remit.Function)) {
	seen := map[string]bool{}
	once := func(sc remit.Scope, f remit.Function) {
		if k := HoldingKey(sc, f); !seen[k] {
			seen[k] = true
			visit(k, sc, f)
		}
	}
	for _, sc := range a.Entitlements {
		once(sc, "")
	}
	for _, f := range a.MayRequest {
		once(remit.Scope{}, f)
	}
}

// holdings brings what is known of an agent's entitlements up to what it is entitled to now. What is new was put there by an
// entry and a person. A narrower form of what it had was not: whoever put the wider one there still did, but what was
// used of it is counted anew.
func (s *State) holdings(a *Agent, n remit.EntryIndex, at int64, by remit.ID) {
	old := a.Holds
	a.Holds = map[string]*Holding{}
	a.eachHolding(func(key string, sc remit.Scope, f remit.Function) {
		if h := old[key]; h != nil {
			a.Holds[key] = h
			return
		}
		h := &Holding{Scope: sc, Function: f, Granted: n, GrantedAt: at, By: by, Alone: true}
		inherited := false
		for _, k := range sorted(old) {
			if o := old[k]; f == "" && o.Function == "" && contained(sc, []remit.Scope{o.Scope}) && !inherited {
				h.By, h.Alone, inherited = o.By, o.Alone, true
			}
		}
		if !inherited {
			s.fresh = append(s.fresh, h)
		}
		a.Holds[key] = h
	})
	if len(a.Holds) == 0 {
		a.Holds = nil
	}
}

// agreed: a second administrator agreed to the set that was applied, and with it to all that it granted.
func (s *State) agreed(yes bool) {
	for _, h := range s.fresh {
		h.Alone = h.Alone && !yes
	}
	s.fresh = nil
}

// rests are the steps of a decision without its effects, which rest on nothing that the agent holds.
func rests(steps []remit.StepFacts) (out []Rest) {
	for _, f := range steps {
		if r := (Rest{remit.Step{Action: f.Step.Action, Resource: f.Step.Resource}, f.Ref}); !f.Step.Effect && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// use counts what a redemption, or a call that opens nothing, rests on: one use for each entitlement that covers a step of
// it, whatever it did. What lies in one and in another is needed as long as one of them is there, so it counts for both.
// Paths and sizes are in no leaf, so they are not looked at. asked is the function of which it requests work.
func (s *State) use(n remit.EntryIndex, at int64, task *Task, agent string, steps []Rest, asked remit.Function) {
	a := s.Agents[agent]
	if a == nil || task == nil || len(steps) == 0 {
		return
	}
	branches := s.branchesOf(task)
	for _, key := range sorted(a.Holds) {
		h, used := a.Holds[key], false
		for _, r := range steps {
			if h.covers(r, branches, asked) {
				used = true
				h.did(r.Step)
			}
		}
		if !used {
			continue
		}
		h.Uses++
		h.Last, h.LastAt = n, at
		if h.First == 0 {
			h.First = n
		}
	}
}

func (h *Holding) covers(r Rest, branches remit.ID, asked remit.Function) bool {
	if h.Function != "" {
		return r.Action == "task.request" && asked == h.Function
	}
	return slices.Contains(h.Scope.Actions, r.Action) && slices.ContainsFunc(h.Scope.Resources, func(p remit.Pattern) bool { return p.Match(r.Resource) }) &&
		(r.Ref == "" || slices.ContainsFunc(substitute(orBranches(h.Scope.Refs), branches), func(p remit.Pattern) bool { return p.Match(remit.Resource(r.Ref)) }))
}

func byStep(a, b remit.Step) int {
	if c := strings.Compare(string(a.Action), string(b.Action)); c != 0 {
		return c
	}
	return strings.Compare(string(a.Resource), string(b.Resource))
}

// did notes what a holding was used for. Where there is no room any more, that of its action there was more.
func (h *Holding) did(st remit.Step) {
	i, found := slices.BinarySearchFunc(h.Used, st, byStep)
	switch {
	case found:
	case len(h.Used) < MaxUsed:
		h.Used = slices.Insert(h.Used, i, st)
	case !slices.Contains(h.More, st.Action):
		h.More = append(h.More, st.Action)
		slices.Sort(h.More)
	}
}

// granted counts a new task for what its grant rests on, and is a sign of life of its agent.
func (s *State) granted(t *Task, at int64) {
	a := s.Agents[t.Agent]
	a.Seen = at
	branches := s.branchesOf(t)
	for _, key := range sorted(a.Holds) {
		h := a.Holds[key]
		sc := h.Scope
		if h.Function != "" {
			continue
		}
		sc.Refs = substitute(orBranches(sc.Refs), branches)
		if slices.ContainsFunc(t.Grant, func(g remit.Scope) bool { return contained(g, []remit.Scope{sc}) }) {
			h.Tasks++
		}
	}
}

// takeAway takes what a holding names from an agent, and what lies within it, unless that has an item of its own that is
// open or was kept since; left is what it has instead. The grants that rest on it end with this entry (R2, R11).
func (s *State) takeAway(a *Agent, n remit.EntryIndex, at int64, x *Item, e *remit.ReviewRemoved) {
	before := a.Holds[x.Key]
	if x.Function != "" {
		a.MayRequest = slices.DeleteFunc(slices.Clone(a.MayRequest), func(f remit.Function) bool { return f == x.Function })
		for _, id := range a.Tasks.IDs {
			if t := s.Tasks[id]; s.LiveTasks[id] {
				for _, child := range t.Children {
					if c := s.Tasks[child]; !c.Delegated && s.Agents[c.Agent].Function == x.Function {
						s.cut(c, Change{e.By, n})
					}
				}
			}
		}
		s.holdings(a, n, at, e.By)
		return
	}
	var gone, left []remit.Scope
	for _, sc := range a.Entitlements {
		k := HoldingKey(sc, "")
		if k == x.Key || contained(sc, []remit.Scope{x.Scope}) && !s.ownItem(a.Holds[k], x) {
			gone = append(gone, sc)
		} else {
			left = append(left, sc)
		}
	}
	for _, sc := range e.Left {
		if !slices.ContainsFunc(left, func(o remit.Scope) bool { return HoldingKey(o, "") == HoldingKey(sc, "") }) {
			left = append(left, sc)
		}
	}
	a.Entitlements = left
	s.holdings(a, n, at, e.By)
	for _, sc := range e.Left { // somebody certified what is left
		if h := a.Holds[HoldingKey(sc, "")]; h != nil && before != nil {
			h.Kept, h.KeptAt, h.Item = n, at, x.ID
			if len(e.Left) == 1 { // all that was used of the wider one was used of this
				h.Tasks, h.Uses, h.First, h.Last, h.LastAt, h.Used, h.More = before.Tasks, before.Uses, before.First, before.Last, before.LastAt, slices.Clone(before.Used), slices.Clone(before.More)
				h.Granted, h.GrantedAt = before.Granted, before.GrantedAt
			}
		}
	}
	if len(gone) == 0 {
		return
	}
	for _, id := range a.Tasks.IDs {
		t := s.Tasks[id]
		if !s.LiveTasks[id] {
			continue
		}
		branches := s.branchesOf(t)
		forTask := func(all []remit.Scope) []remit.Scope {
			out := slices.Clone(all)
			for i := range out {
				out[i].Refs = substitute(orBranches(out[i].Refs), branches)
			}
			return out
		}
		was, is := forTask(gone), forTask(left)
		if slices.ContainsFunc(singles(t.Grant), func(g remit.Scope) bool { return contained(g, was) && !contained(g, is) }) {
			s.cut(t, Change{e.By, n})
		}
	}
}

// singles splits scopes, so that each is of one action on one pattern: a scope of a grant may rest on several entitlements.
func singles(of []remit.Scope) []remit.Scope {
	var out []remit.Scope
	for _, sc := range of {
		for _, act := range sc.Actions {
			for _, res := range sc.Resources {
				one := sc
				one.Actions, one.Resources = []remit.Action{act}, []remit.Pattern{res}
				out = append(out, one)
			}
		}
	}
	return out
}

// ownItem tells whether a holding has an item of its own beside x, that is open or by which it was kept.
func (s *State) ownItem(h *Holding, x *Item) bool {
	if h == nil {
		return false
	}
	own := s.Items[h.Item]
	return own != nil && own.ID != x.ID && (own.Status == remit.ItemOpen || h.Kept != 0 && h.Kept > x.Entry)
}

// cut ends the grant of a task at once; that its task has ended is written down by Tick.
func (s *State) cut(t *Task, by Change) {
	if t.Cut.Entry == 0 && s.LiveTasks[t.ID] {
		t.Cut = by
		s.Cut = add(s.Cut, t.ID)
	}
}
