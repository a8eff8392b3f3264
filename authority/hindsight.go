package authority

import (
	"maps"
	"slices"

	"github.com/remit-dev/remit"
)

// Hindsight is a set of declarations that was never in force, for questions about what it would have decided. A zero Set in
// it changes nothing. It is used by one goroutine.
type Hindsight struct {
	set   *Set
	at    State // declared things as the set has them, over the state that it was made of; nothing else of it is used
	fresh bool
}

// NewHindsight makes one of a set. A *remit.DeclarationError says what is wrong with the set on the state s, as at its
// activation.
func NewHindsight(s *State, set *Set) (*Hindsight, error) {
	if _, err := s.diff("", set); err != nil {
		return nil, err
	}
	return &Hindsight{set: set}, nil
}

// Saw is told of each event that was applied to the state. What is declared is put together anew after one that may have
// changed something of it.
func (x *Hindsight) Saw(e remit.Event) {
	switch e.(type) {
	case *remit.Decided, *remit.Redeemed, *remit.Recorded, *remit.AccessMoved, *remit.VoteCast, *remit.LeaseOpened, *remit.LeaseMoved,
		*remit.InstanceStarted, *remit.InstanceEnded, *remit.TaskCreated, *remit.TaskEnded, *remit.DenialRepeated, *remit.AnswerKept, *remit.AccessSeen:
	default:
		x.fresh = false
	}
}

// With calls f with the state as the set would have it, for the request: what is declared is that of the set, and what is
// not declared (who is suspended, killed or enrolled, what runs, what was stored) is as it was. The grant of the task is cut
// to what the set entitles its agent to; it does not grow, for what a person would have asked for is not known. s and what
// f is given are one as far as they are not declared: nobody uses s meanwhile, and f keeps nothing and applies nothing.
func (x *Hindsight) With(s *State, r remit.Request, f func(*State)) {
	if !x.fresh {
		x.declare(s)
		x.fresh = true
	}
	then := *s
	then.Policy, then.People, then.Groups, then.Agents, then.Upstreams = x.at.Policy, x.at.People, x.at.Groups, x.at.Agents, x.at.Upstreams
	then.Repositories, then.Environments, then.Secrets, then.Boundaries = x.at.Repositories, x.at.Environments, x.at.Secrets, x.at.Boundaries
	then.Tools, then.ToolZones, then.Glasses = x.at.Tools, x.at.ToolZones, x.at.Glasses
	if t := s.Tasks[r.Caller.Task]; t != nil {
		if a := then.Agents[t.Agent]; a != nil {
			if grant, err := intersect(t.Grant, a.Entitlements, s.branchesOf(t)); err == nil {
				created, cut := *t.TaskCreated, *t
				created.Grant, cut.TaskCreated = grant, &created
				s.Tasks[t.ID] = &cut
				defer func() { s.Tasks[t.ID] = t }()
			}
		}
	}
	f(&then)
}

func (x *Hindsight) declare(s *State) {
	set, at := x.set, &x.at
	if at.Policy = s.Policy; !set.Policy.IsZero() {
		at.Policy = set.Policy
	}
	at.People = maps.Clone(s.People)
	for _, id := range sorted(s.People) {
		p := s.People[id]
		if !p.Removed && !slices.ContainsFunc(set.People, func(q remit.PersonDeclared) bool { return q.ID == id }) {
			gone := *p
			gone.Removed, at.People[id] = true, &gone
		}
	}
	for _, q := range set.People {
		was := s.People[q.ID]
		if was != nil && !was.Removed && sameKeys(was.declared(), q.Keys) {
			continue
		}
		now := Person{ID: q.ID, Name: q.Name}
		if was != nil {
			now = *was
		}
		now.Removed, now.Identities = false, q.Identities
		now.Keys = nil
		for _, k := range q.Keys {
			now.Keys = append(now.Keys, remit.Key{Public: k.Public, Since: s.Next, Confirmed: true})
		}
		if was != nil { // a key that they have counts as it counts, declared or enrolled
			for _, k := range was.Keys {
				if i := slices.IndexFunc(now.Keys, func(o remit.Key) bool { return string(o.Public) == string(k.Public) }); i >= 0 {
					now.Keys[i] = k
				} else if !hasKey(was.declared(), k) {
					now.Keys = append(now.Keys, k)
				}
			}
		}
		at.People[q.ID] = &now
	}
	at.Groups = map[string]*Group{}
	for _, name := range sorted(s.Groups) {
		g := s.Groups[name]
		empty := *g
		empty.Members, empty.From, at.Groups[name] = nil, nil, &empty
		if name == remit.Administrators && !slices.ContainsFunc(set.Groups, func(g remit.GroupDeclared) bool { return g.Name == name }) {
			empty.Members, empty.From = g.Members, g.From // a set without them leaves them as they are
		}
	}
	for _, g := range set.Groups {
		now := Group{}
		if was := s.Groups[g.Name]; was != nil {
			now = *was
		}
		now.Members, now.From, now.Asks = add(nil, g.Members...), g.From, g.Asks
		if g.Asks.Most == 0 {
			now.Asked = nil
		}
		at.Groups[g.Name] = &now
	}
	at.Agents = map[string]*Agent{}
	for _, name := range sorted(s.Agents) {
		a := s.Agents[name]
		gone := *a
		gone.Status, at.Agents[name] = remit.AgentRetired, &gone
	}
	for _, a := range set.Agents {
		now := Agent{Status: remit.AgentActive, Owners: []Change{{a.Owner, s.Next}}}
		if was := s.Agents[a.Name]; was != nil {
			now = *was
		}
		now.AgentDeclared = a
		at.Agents[a.Name] = &now
	}
	at.Upstreams, at.Repositories, at.Environments, at.Boundaries = map[string]*Upstream{}, map[string]*Repository{}, map[string]*Environment{}, map[string]*Boundary{}
	for _, u := range set.Upstreams {
		now := Upstream{UpstreamDeclared: u}
		if was := s.Upstreams[u.Name]; was != nil {
			now.Changes = was.Changes
		}
		at.Upstreams[u.Name] = &now
	}
	for _, r := range set.Repositories {
		now := Repository{RepositoryDeclared: r}
		if was := s.Repositories[r.Name]; was != nil {
			now.Changes = was.Changes
		}
		at.Repositories[r.Name] = &now
	}
	for _, e := range set.Environments {
		now := Environment{EnvironmentDeclared: e}
		if was := s.Environments[e.Name]; was != nil {
			now.Changes = was.Changes
		}
		at.Environments[e.Name] = &now
	}
	for _, b := range set.Boundaries {
		now := Boundary{BoundaryDeclared: b}
		if was := s.Boundaries[b.Name]; was != nil {
			now.Changes = was.Changes
		}
		at.Boundaries[b.Name] = &now
	}
	at.Secrets = map[string]*Secret{}
	for _, e := range set.Secrets {
		now := Secret{}
		if was := s.Secrets[e.Name]; was != nil {
			now = *was
		}
		now.SecretDeclared = e
		at.Secrets[e.Name] = &now
	}
	at.Tools, at.ToolZones = map[string]*Tool{}, map[string]remit.Zone{}
	for _, t := range set.Tools {
		now := Tool{ToolDeclared: t}
		if was := s.Tools[t.Name]; was != nil {
			now.Changes = was.Changes
		}
		at.Tools[t.Name], at.ToolZones[t.Server()] = &now, t.Zone
	}
	at.Glasses = map[string]*Glass{}
	for _, g := range set.BreakGlass {
		now := Glass{BreakGlassDeclared: g}
		if was := s.Glasses[g.Name]; was != nil {
			now.Changes = was.Changes
		}
		at.Glasses[g.Name] = &now
	}
}
