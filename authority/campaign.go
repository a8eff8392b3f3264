package authority

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/cadence"
)

// covers tells whether an agent is in the scope of a campaign. Those that have retired are in none.
func (c *Campaign) covers(a *Agent) bool {
	return a.Status != remit.AgentRetired &&
		(len(c.Agents) == 0 || slices.ContainsFunc(c.Agents, func(p string) bool { return named(p, a.Name) })) &&
		(len(c.Functions) == 0 || slices.Contains(c.Functions, a.Function)) &&
		(len(c.Owners) == 0 || slices.Contains(c.Owners, a.Owner))
}

// named matches a name with itself, or with its beginning and a star.
func named(pattern, name string) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, begin)
	}
	return pattern == name
}

// group tells whether a set declares a group.
func (d *differ) group(name string) bool {
	return name == remit.Administrators || slices.ContainsFunc(d.set.Groups, func(g remit.GroupDeclared) bool { return g.Name == name })
}

// campaigns compares declared campaigns. A new one takes nothing from anybody; to change or to take away what reviews
// others widens.
func (d *differ) campaigns() error {
	for i, c := range d.set.Campaigns {
		path := fmt.Sprintf("campaigns[%d]", i)
		if twice(d.set.Campaigns, i, func(o remit.CampaignDeclared) string { return o.Name }) {
			return wrong(path+".name", "campaign %q is declared twice", c.Name)
		}
		if err := d.checkCampaign(path, c); err != nil {
			return err
		}
		c.By = d.by
		old := d.s.Campaigns[c.Name]
		if old == nil {
			d.add("campaign", c.Name, "add", d.back("campaign", c.Name), &c)
			continue
		}
		if c.By = old.By; equal(old.CampaignDeclared, c) {
			continue
		}
		c.By = d.by
		d.add("campaign", c.Name, "change", fmt.Sprintf("campaign %s reviews other things, at other times or by other people", c.Name), &c)
	}
	for _, name := range sorted(d.s.Campaigns) {
		if !slices.ContainsFunc(d.set.Campaigns, func(c remit.CampaignDeclared) bool { return c.Name == name }) {
			d.remove("campaign", name, fmt.Sprintf("campaign %s reviews nothing any more", name))
		}
	}
	return d.reviews()
}

func (d *differ) checkCampaign(path string, c remit.CampaignDeclared) error {
	if !detectionName(c.Name) {
		return wrong(path+".name", "the name of a campaign is 1 to 40 of a-z 0-9 -, not %q", c.Name)
	}
	for j, a := range c.Agents {
		if !plain(a, 65) || strings.Trim(strings.TrimSuffix(a, "*"), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return wrong(fmt.Sprintf("%s.agents[%d]", path, j), "%q is neither the name of an agent nor the beginning of one with a star", a)
		}
	}
	for j, f := range c.Functions {
		if !f.Valid() {
			return wrong(fmt.Sprintf("%s.functions[%d]", path, j), "%q is no function; one of plan, code, review, build, release, deploy, operate", f)
		}
	}
	for j, o := range c.Owners {
		if !slices.ContainsFunc(d.set.People, func(p remit.PersonDeclared) bool { return p.ID == o }) {
			return wrong(fmt.Sprintf("%s.owners[%d]", path, j), "no such person is declared")
		}
	}
	for j, g := range c.Reviewers {
		if !d.group(g) {
			return wrong(fmt.Sprintf("%s.reviewers[%d]", path, j), "no group %q is declared", g)
		}
	}
	if _, err := cadence.Parse(c.Cadence); err != nil {
		return wrong(path+".cadence", "%v", err)
	}
	switch {
	case !d.group(c.Fallback):
		return wrong(path+".fallback", "no group %q is declared", c.Fallback)
	case c.Due < int64(remit.LeastDue) || c.Due > int64(remit.LongestDue):
		return wrong(path+".due", "people have 1h to 90d for their answers, not %s", time.Duration(c.Due))
	case c.Canaries < 0 || c.Canaries > remit.MaxCanaries:
		return wrong(path+".canaries", "a run has 0 to %d canaries, not %d", remit.MaxCanaries, c.Canaries)
	}
	return nil
}

// reviews compares what holds for the whole organisation.
func (d *differ) reviews() error {
	r, old := d.set.Reviews, d.s.Settings
	if r == nil {
		if old != nil {
			d.remove("reviews", "reviews", "nothing is reviewed by itself any more, and agents that nobody uses stay as they are")
		}
		return nil
	}
	switch {
	case !d.group(r.Fallback):
		return wrong("reviews.fallback", "no group %q is declared", r.Fallback)
	case r.Due < int64(remit.LeastDue) || r.Due > int64(remit.LongestDue):
		return wrong("reviews.due", "people have 1h to 90d for their answers, not %s", time.Duration(r.Due))
	case r.UnusedAfter < int64(remit.LeastIdle):
		return wrong("reviews.unused_after", "what was not used for a day or more is reviewed, not for %s", time.Duration(r.UnusedAfter))
	case r.SuspendAfter != 0 && r.SuspendAfter < int64(remit.LeastIdle):
		return wrong("reviews.suspend_after", "an agent suspends itself after a day or more, not after %s", time.Duration(r.SuspendAfter))
	case r.RetireAfter != 0 && (r.SuspendAfter == 0 || r.RetireAfter <= r.SuspendAfter):
		return wrong("reviews.retire_after", "an agent retires itself some time after it suspended itself; say suspend_after, and more here")
	}
	for i, m := range r.Micro {
		if !slices.Contains(remit.Causes(), m) || i > 0 && r.Micro[i-1] >= m {
			return wrong(fmt.Sprintf("reviews.micro[%d]", i), "%q is not one of %v, each once and in order", m, remit.Causes())
		}
	}
	now := *r
	now.By = d.by
	if old == nil {
		d.add("reviews", "reviews", "add", "", &now)
		return nil
	}
	if now.By = old.By; equal(old.ReviewsDeclared, now) {
		return nil
	}
	now.By = d.by
	longer := func(o, n int64) bool { return o != 0 && (n == 0 || n > o) }
	widens := ""
	if longer(old.SuspendAfter, now.SuspendAfter) || longer(old.RetireAfter, now.RetireAfter) || longer(old.UnusedAfter, now.UnusedAfter) || longer(old.Due, now.Due) || old.Fallback != now.Fallback ||
		slices.ContainsFunc(old.Micro, func(m string) bool { return !slices.Contains(now.Micro, m) }) {
		widens = "less is reviewed by itself, later, or by other people"
	}
	d.add("reviews", "reviews", "change", widens, &now)
	return nil
}

// reviewable refuses an entitlement of which no item could stand in an entry, where reviews are declared.
func (d *differ) reviewable(path string, a remit.AgentDeclared, sc remit.Scope) error {
	if d.set.Reviews == nil && len(d.set.Campaigns) == 0 {
		return nil
	}
	var full [32]byte
	full[0] = 1
	item := remit.ReviewOpened{ID: "R-00000000000000000000", Run: "C-00000000000000000000", Cause: remit.CauseNewFunction, Agent: a.Name, Scope: sc, Deadline: -1 << 63, Advice: remit.Remove, Shown: full,
		Evidence: remit.Evidence{Granted: 1 << 62, By: a.Owner, Alone: true, Tasks: 1 << 30, Uses: 1 << 30, Last: 1 << 62, LastAt: 1 << 62, Kept: 1 << 62, Actions: sc.Actions, Targets: 1 << 30}}
	// Twice what a shrink could name at most lies below the same bound (shrinkLargest).
	if n := sizeOf(reflect.ValueOf(&item).Elem()); n > maxEvent {
		return wrong(path, "an item of a review that shows it takes %d bytes, and an entry holds at most %d; make two entitlements of it", n, maxEvent)
	}
	return nil
}

// takenAway is why a declared agent widens that still names what a review took away: whoever applies a set shall see what
// comes back with it.
func (s *State) takenAway(now remit.AgentDeclared) string {
	had := s.Agents[now.Name].Holds
	for _, id := range s.ItemAge {
		x := s.Items[id]
		if x.Agent != now.Name || had[x.Key] != nil || x.Status != remit.ItemRemoved && x.Status != remit.ItemLapsed && x.Status != remit.ItemShrunk || x.Canary {
			continue
		}
		if x.Function != "" && slices.Contains(now.MayRequest, x.Function) ||
			x.Function == "" && slices.ContainsFunc(now.Entitlements, func(sc remit.Scope) bool { return HoldingKey(sc, "") == x.Key }) {
			return fmt.Sprintf("agent %s gets back what review item %s took away in entry %d; take it out of the set, or give it back", now.Name, id, x.Ended)
		}
	}
	return ""
}

func (s *State) applyCampaign(n remit.EntryIndex, at int64, e *remit.CampaignDeclared) {
	c := s.Campaigns[e.Name]
	if c == nil {
		c = &Campaign{Last: at, Changes: s.Gone["campaign/"+e.Name]}
		if s.Campaigns == nil {
			s.Campaigns = map[string]*Campaign{}
		}
		s.Campaigns[e.Name] = c
		for _, id := range sorted(s.Runs) { // of the same name before
			if r := s.Runs[id]; r.Campaign == e.Name && r.Closed == 0 {
				c.Open = id
			}
		}
	}
	c.CampaignDeclared, c.Changes = *e, append(c.Changes, Change{e.By, n})
}

func (s *State) applySettings(n remit.EntryIndex, at int64, e *remit.ReviewsDeclared) {
	if s.Settings == nil {
		s.Settings = &Settings{Since: at, Changes: s.Gone["reviews/reviews"]}
	}
	s.Settings.ReviewsDeclared, s.Settings.Changes = *e, append(s.Settings.Changes, Change{e.By, n})
}

// removeReviews takes a campaign, or the settings of reviews, out of force. A run that is open goes on to its end.
func (s *State) removeReviews(n remit.EntryIndex, e *remit.Removed) {
	if e.What == "reviews" && s.Settings != nil {
		s.Gone["reviews/reviews"] = append(s.Settings.Changes, Change{e.By, n})
		s.Settings = nil
		return
	}
	if c := s.Campaigns[e.Name]; e.What == "campaign" && c != nil {
		s.Gone["campaign/"+e.Name] = append(c.Changes, Change{e.By, n})
		delete(s.Campaigns, e.Name)
	}
}
