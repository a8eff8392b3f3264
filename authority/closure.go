package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// closure is R3: the humans who caused or steered a step. It is the task's closure, which never shrinks, and what this
// step adds: pushers and signers of the new commits, and whoever changed what this decision reads since the root task
// was requested.
// The artifacts are those that it would deploy: their evidence is read in declarations of repositories.
func (s *State) closure(task *Task, steps []remit.StepFacts, needs []remit.Need, deployed ...remit.Artifact) (all, added []remit.ID) {
	var people []remit.ID
	root := task
	for root.Parent != "" && s.Tasks[root.Parent] != nil {
		root = s.Tasks[root.Parent]
		people = append(people, root.Closure...)
	}
	changed := func(cs []Change) {
		for _, c := range cs {
			if c.Entry > root.Entry {
				people = append(people, c.By)
			}
		}
	}
	owners := func(a *Agent) {
		if a == nil {
			return
		}
		people = append(people, a.Owner)
		for i, o := range a.Owners {
			// An owner counts if they owned the agent at any time since the root task was requested.
			if i == len(a.Owners)-1 || a.Owners[i+1].Entry > root.Entry {
				people = append(people, o.By)
			}
		}
	}
	for t := task; t != nil; t = s.Tasks[t.Parent] {
		if a := s.Agents[t.Agent]; a != nil {
			owners(a)
			changed(a.Changes)
		}
	}
	for _, f := range steps {
		for _, p := range f.Pushers {
			push := s.Pushes[p]
			people = append(people, push.Launcher)
			owners(s.Agents[push.Agent])
		}
		people = append(people, f.Signers...)
		switch name := f.Step.Resource.Name(); f.Step.Resource.Type() {
		case "repo":
			if r := s.Repositories[name]; r != nil {
				changed(r.Changes)
			}
		case "environment":
			if e := s.Environments[name]; e != nil {
				changed(e.Changes)
			}
		case "secret":
			if x := s.Secrets[name]; x != nil {
				changed(x.Changes)
			}
		case "tool":
			if t := s.ToolOf(f.Step.Resource); t != nil {
				changed(t.Changes)
			}
			changed(s.Gone["tool/"+name])
		case "task": // whom it asks for work is of the chain from here on, and who decides hangs on what that work reaches
			if f.Step.Action == remit.ActionPlan {
				s.eachGranted(task.Grant, changed)
			}
			if a := s.Agents[name]; a != nil {
				owners(a)
				changed(a.Changes)
				for _, r := range s.reached(a.Entitlements) {
					changed(s.changesOf(r))
				}
			}
		}
	}
	for _, a := range deployed {
		if p := s.Artifacts[a.String()]; p != nil {
			for _, in := range p.Inputs {
				if r := s.Repositories[in.Resource.Name()]; r != nil {
					changed(r.Changes)
				}
			}
		}
	}
	for _, n := range needs {
		g := s.Groups[n.Group]
		if g == nil {
			continue
		}
		changed(g.Changes)
		for _, m := range s.everyone(g) {
			if p := s.People[m]; p != nil {
				changed(p.Changes)
			}
		}
	}
	changed(s.PolicyChanges)
	all = slices.Clone(task.Closure)
	for _, p := range people {
		if s.People[p] == nil {
			continue
		}
		if _, had := slices.BinarySearch(task.Closure, p); !had {
			added = add(added, p)
		}
		all = add(all, p)
	}
	return all, added
}

// electorate is everything that decides who may vote on one request.
type electorate struct {
	s       *State
	closure []remit.ID
	needs   []remit.Need
	zone    remit.Zone
	made    remit.EntryIndex // entry that made the request; a key must be older
	madeAt  int64
	now     int64
	lapsed  bool // memberships that a sign-in showed too long ago count: another sign-in brings them back
}

// whyNot tells why p may not vote; empty: they may.
func (e electorate) whyNot(p remit.ID) string {
	if !e.s.personLive(p) {
		return "has left"
	}
	if !e.named(p) {
		if e.lapsed = true; e.named(p) {
			return "was last seen at their provider, in a group that decides, too long ago: they sign in there again"
		}
		return "is in none of the groups that decide"
	}
	own := slices.Contains(e.closure, p)
	if own && !e.soloMay() {
		return "caused or steered this: requester, owner, launcher, pusher or signer of it, or changed what it is judged by"
	}
	best := e.bestKey(p)
	if best == "" {
		return "has no key that was in force before the request was made"
	}
	if best != remit.AssuranceTouch && (own || e.touchOnly()) {
		return "has no hardware-backed key (sk-ssh-… or a passkey), which this needs"
	}
	return ""
}

func (e electorate) named(p remit.ID) bool {
	return slices.ContainsFunc(e.needs, func(n remit.Need) bool { return e.in(n.Group, p) })
}

// soloMay: in profile solo a quorum of one, outside production, is met by the requester's own touch and a delay. What
// widens authority waits for a second administrator where there is one, in every profile.
func (e electorate) soloMay() bool {
	total := 0
	for _, n := range e.needs {
		total += n.N
	}
	return e.s.Profile == remit.Solo && total == 1 && e.zone != remit.ZoneProduction && e.zone != remit.ZoneControl
}

// touchOnly: production asks for a touch, except in the demo.
func (e electorate) touchOnly() bool {
	return e.zone == remit.ZoneProduction && e.s.Profile != remit.Demo
}

// counts tells whether a vote that was cast still stands: its voter may vote now, with a key that they still have, and
// with the assurance that is asked for. selfAt is when the votes of the closure's own people begin to count.
func (e electorate) counts(v Vote, selfAt int64) bool {
	if !v.Approve || e.whyNot(v.Person) != "" || !e.signs(v) {
		return false
	}
	if slices.Contains(e.closure, v.Person) {
		return v.Assurance == remit.AssuranceSelf && selfAt != 0 && e.now >= selfAt
	}
	return v.Assurance == remit.AssuranceTouch || !e.touchOnly()
}

// signs tells whether the key of a vote is one of its voter's that counts.
func (e electorate) signs(v Vote) bool {
	return slices.ContainsFunc(e.s.People[v.Person].Keys, func(k remit.Key) bool { return remit.Hash(k.Public) == v.Key && e.keyCounts(k) })
}

// keyCounts tells whether k may sign a vote on this request.
func (e electorate) keyCounts(k remit.Key) bool {
	return k.Since < e.made && (k.Confirmed || k.Usable != 0 && e.madeAt >= k.Usable)
}

func (e electorate) bestKey(p remit.ID) remit.Assurance {
	best := remit.Assurance("")
	for _, k := range e.s.People[p].Keys {
		if !e.keyCounts(k) {
			continue
		}
		if a := assuranceOf(k.Public); a == remit.AssuranceTouch || best == "" {
			best = a
		}
	}
	return best
}

// assuranceOf is what a key of this type proves: sk-* keys are held by hardware that asks for a touch.
func assuranceOf(public []byte) remit.Assurance {
	if k, err := sshsig.ParseKey(public); err == nil && sshsig.Touch(k) {
		return remit.AssuranceTouch
	}
	return remit.AssuranceSoftware
}

// met tells whether votes fill the quorum: every line of needs, one person in one seat, for which one of their votes is
// enough.
func (e electorate) met(votes []Vote) bool {
	var seats []remit.Need
	for _, n := range e.needs {
		for range n.N {
			seats = append(seats, n)
		}
	}
	var voters []remit.ID
	for _, v := range votes {
		voters = add(voters, v.Person)
	}
	if len(seats) > len(voters) {
		return false
	}
	sitting := make([]int, len(voters)) // seat of each voter, -1 for none
	for i := range sitting {
		sitting[i] = -1
	}
	// Augmenting paths: with a handful of seats nothing cleverer is needed.
	var seat func(i int, tried []bool) bool
	seat = func(i int, tried []bool) bool {
		for v, p := range voters {
			if tried[v] || !slices.ContainsFunc(votes, func(x Vote) bool { return x.Person == p && e.fills(x, seats[i]) }) {
				continue
			}
			tried[v] = true
			if sitting[v] < 0 || seat(sitting[v], tried) {
				sitting[v] = i
				return true
			}
		}
		return false
	}
	for i := range seats {
		if !seat(i, make([]bool, len(voters))) {
			return false
		}
	}
	return true
}

// fills tells whether a vote is enough for a seat: of one of the group, who was signed in as is asked. Where it is asked
// who could vote at all, another sign-in could bring that.
func (e electorate) fills(v Vote, n remit.Need) bool {
	return e.in(n.Group, v.Person) && (e.lapsed || n.StepUp.Met(v.Signed))
}

func (g *Group) members() []remit.ID {
	if g == nil {
		return nil
	}
	return g.Members
}

// eligible lists everybody who may vote, in order; refused says why each of the other named people may not.
func (e electorate) eligible() (may []remit.ID, refused []string) {
	var members []remit.ID // who can be named at all: an organisation has many more people
	for _, n := range e.needs {
		members = append(members, e.s.everyone(e.s.Groups[n.Group])...)
	}
	slices.Sort(members)
	for _, p := range slices.Compact(members) {
		if e.s.People[p] == nil || !e.named(p) {
			continue
		}
		if why := e.whyNot(p); why != "" {
			refused = append(refused, fmt.Sprintf("%s %s", p, why))
			continue
		}
		may = append(may, p)
	}
	return may, refused
}

// ask describes needs in words.
func ask(needs []remit.Need) string {
	var parts []string
	for _, n := range needs {
		parts = append(parts, n.String())
	}
	return strings.Join(parts, " and ")
}
