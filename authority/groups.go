package authority

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// GroupsAge is how long a sign-in makes somebody a member of a group: who was taken out of it at the provider is out of
// it here a day later at the latest.
const GroupsAge = 24 * time.Hour

// shownAgain is how much of GroupsAge is left when another sign-in is worth an entry that says the same.
const shownAgain = GroupsAge - time.Hour

// MaxShown is how many groups of one provider count for one person.
const MaxShown = 64

// ShowGroups is which of the groups that declarations name a sign-in of a person showed. The identity room has verified
// the provider's token.
type ShowGroups struct {
	Person remit.ID
	Issuer string
	Groups []string // sorted
}

func (*ShowGroups) name() string { return "groups.show" }

// Shown is a group at a provider in which a sign-in showed a person.
type Shown struct {
	remit.GroupSource
	Since    remit.EntryIndex // that showed it first; no sign-in since showed the person outside of it
	NotAfter int64
}

// Sources are the groups of a provider that declarations name, sorted: of all that a sign-in shows, only these count.
func (s *State) Sources(issuer string) []string {
	var out []string
	for _, name := range sorted(s.Groups) {
		for _, f := range s.Groups[name].From {
			if f.Issuer == issuer {
				out = append(out, f.Group)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func decideShowGroups(s *State, now int64, c *ShowGroups) ([]remit.Event, Result, error) {
	p := s.People[c.Person]
	if p == nil || !s.personLive(c.Person) {
		return nil, Result{}, remit.Errorf(remit.UnknownPrincipal, "there is no such person")
	}
	sources := s.Sources(c.Issuer)
	if len(c.Groups) > MaxShown || !slices.IsSorted(c.Groups) || len(slices.Compact(slices.Clone(c.Groups))) != len(c.Groups) ||
		slices.ContainsFunc(c.Groups, func(g string) bool { _, named := slices.BinarySearch(sources, g); return !named }) {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "a sign-in shows at most %d groups that declarations name, sorted, each once", MaxShown)
	}
	var had []string
	fresh := true
	for _, x := range p.Shown {
		if x.Issuer == c.Issuer {
			had = append(had, x.Group)
			fresh = fresh && x.NotAfter-now > int64(shownAgain)
		}
	}
	if slices.Equal(had, c.Groups) && fresh {
		return nil, Result{}, nil
	}
	return []remit.Event{&remit.GroupsShown{Person: c.Person, Issuer: c.Issuer, Groups: c.Groups, NotAfter: now + int64(GroupsAge)}}, Result{}, nil
}

func (s *State) applyShown(n remit.EntryIndex, p *Person, e *remit.GroupsShown) {
	old := p.Shown
	p.Shown = slices.DeleteFunc(slices.Clone(old), func(x Shown) bool { return x.Issuer == e.Issuer })
	for _, g := range e.Groups {
		x := Shown{remit.GroupSource{Issuer: e.Issuer, Group: g}, n, e.NotAfter}
		if i := slices.IndexFunc(old, func(o Shown) bool { return o.GroupSource == x.GroupSource }); i >= 0 {
			x.Since = old[i].Since
		}
		p.Shown = append(p.Shown, x)
	}
}

// shows tells whether a sign-in showed a person in g in a way that counts.
func (g *Group) shows(p *Person, counts func(Shown) bool) bool {
	return g != nil && p != nil && slices.ContainsFunc(p.Shown, func(x Shown) bool { return slices.Contains(g.From, x.GroupSource) && counts(x) })
}

// InGroup tells whether somebody is a member of a group at now: declared, or shown by a sign-in that is not too old.
func (s *State) InGroup(group string, id remit.ID, now int64) bool {
	g := s.Groups[group]
	return slices.Contains(g.members(), id) || g.shows(s.People[id], func(x Shown) bool { return now < x.NotAfter })
}

// everyone lists who is a member of a group, whether or not a sign-in showed it too long ago.
func (s *State) everyone(g *Group) []remit.ID {
	all := add(nil, g.members()...)
	if g == nil || len(g.From) == 0 {
		return all
	}
	for _, id := range sorted(s.People) {
		if g.shows(s.People[id], func(Shown) bool { return true }) {
			all = add(all, id)
		}
	}
	return all
}

// in tells whether somebody decides with a group on this request. A membership that a sign-in showed counts like a key
// (R6): only where it was shown before the request was made, so that nobody is made a voter on what is already asked.
func (e electorate) in(group string, id remit.ID) bool {
	g := e.s.Groups[group]
	return slices.Contains(g.members(), id) || g.shows(e.s.People[id], func(x Shown) bool { return x.Since < e.made && (e.lapsed || e.now < x.NotAfter) })
}

// fillable tells whether those who may could fill the quorum, and why the others may not. A membership that has lapsed
// comes back with the next sign-in, so it is no reason to make no request.
func (e electorate) fillable() (refused []string, ok bool) {
	e.lapsed = true
	may, refused := e.eligible()
	votes := make([]Vote, len(may))
	for i, p := range may {
		votes[i].Person = p
	}
	return refused, e.met(votes)
}
