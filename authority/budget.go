package authority

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// asksTooOften denies a hold whose people were asked as often as they may be: a gate that is asked all day long is one
// that nobody looks at.
func (s *State) asksTooOften(d *verdict, now int64) {
	for _, n := range d.needs {
		g := s.Groups[n.Group]
		if g == nil || g.Asks.Most == 0 {
			continue
		}
		if asked := g.within(now); len(asked) >= g.Asks.Most {
			again := time.Unix(0, asked[len(asked)-g.Asks.Most]+window(g.Asks)).UTC().Truncate(time.Second)
			d.deny(remit.HoldBudget, "budget", "%s was asked %d times within %d hours, which is its limit; put what is left into one plan (remit plan file) and ask for that after %s",
				n.Group, len(asked), g.Asks.Hours, again.Format(time.RFC3339))
			return
		}
	}
}

func (g *Group) within(now int64) []int64 {
	asked := g.Asked
	for len(asked) > 0 && asked[0]+window(g.Asks) <= now {
		asked = asked[1:]
	}
	return asked
}

func window(a remit.Asks) int64 { return int64(a.Hours) * int64(time.Hour) }

// applyAsked counts an access request of a task. One whose votes came with it asks nobody again.
func (s *State) applyAsked(at int64, e *remit.AccessOpened) {
	if e.Task == "" || e.Carried {
		return
	}
	for _, n := range e.Needs {
		if g := s.Groups[n.Group]; g != nil && g.Asks.Most > 0 {
			g.Asked = append(g.within(at), at)
		}
	}
}

// Asked is how often somebody was asked.
type Asked struct{ Asked, Voted, Waits int }

// AskedSince counts the access requests of tasks that were made since a time by the people whom they ask: each in a group
// that decides, without a part in it. They are counted as the limit of a group counts them.
func (s *State) AskedSince(since, now int64) map[remit.ID]Asked {
	out := map[remit.ID]Asked{}
	people := sorted(s.People)
	for _, id := range sorted(s.Accesses) {
		a := s.Accesses[id]
		if a.At < since || a.Task == "" || a.Carried {
			continue
		}
		el := s.electorateOf(a, now)
		for _, p := range people {
			if !s.personLive(p) || !el.named(p) || slices.Contains(el.closure, p) {
				continue
			}
			n := out[p]
			n.Asked++
			if a.Status == remit.AccessOpen {
				n.Waits++
			}
			if slices.ContainsFunc(a.Votes, func(v Vote) bool { return v.Person == p }) {
				n.Voted++
			}
			out[p] = n
		}
	}
	return out
}
