package authority

import (
	"time"

	"github.com/remit-dev/remit"
)

// decideRegrant gives back what an item took away. It is a widening: where there is another administrator, one of them
// agrees.
func decideRegrant(s *State, now int64, c *Regrant) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	x := s.Items[c.Item]
	if x == nil {
		return fail(remit.NotFound, "there is no item %s, or it ended more than %d days ago", c.Item, ItemsKept/(24*time.Hour))
	}
	a := s.Agents[x.Agent]
	switch {
	case !s.governs(c.By, a):
		return fail(remit.Forbidden, "what agent %s had is given back by its owner or an administrator", x.Agent)
	case x.Canary || x.Status != remit.ItemRemoved && x.Status != remit.ItemLapsed && x.Status != remit.ItemShrunk:
		return fail(remit.Conflict, "item %s is %s; only what it removed or shrank is given back, once", c.Item, x.shows())
	case now-x.EndedAt > int64(RegrantFor):
		return fail(remit.Expired, "what item %s took away more than %d days ago is declared anew", c.Item, RegrantFor/(24*time.Hour))
	case a.Status == remit.AgentRetired:
		return fail(remit.NotLive, "agent %s is retired", x.Agent)
	case x.Function == "" && contained(x.Scope, a.Entitlements):
		return fail(remit.Conflict, "agent %s has this again already", x.Agent)
	}
	if x.Function == "" {
		if err := s.checkBoundary(a.Function, []remit.Scope{x.Scope}); err != nil {
			return nil, Result{}, err
		}
	}
	why := "agent " + x.Agent + " gets back what a review took away"
	return s.widened(now, c.By, c.Access, why, digestJSON("review.regrant", struct {
		Origin string
		Item   remit.ID
		Ended  remit.EntryIndex
	}{s.Origin, c.Item, x.Ended}), &remit.ReviewRegranted{Item: c.Item, Agent: x.Agent, By: c.By, Access: c.Access})
}

// shows is the status of an item as people may know it: an open canary is an open item.
func (x *Item) shows() remit.ItemStatus { return x.Status }

// widened makes an event true that widens authority: at once where the person who asks is the only administrator, else when
// another one agrees.
func (s *State) widened(now int64, by, access remit.ID, why string, effect remit.Digest, e remit.Event) ([]remit.Event, Result, error) {
	ask := control{by: by, effect: effect, code: remit.ControlWidens, why: why, stale: "it was taken away or given back again in between; ask again"}
	done := Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}
	switch {
	case access != "":
		_, events, res, err := s.claimControl(now, ask, access)
		if events != nil || err != nil {
			return events, res, err
		}
		return []remit.Event{e, &remit.AccessMoved{Access: access, To: remit.AccessUsed}}, done, nil
	case !s.IsAdmin(by) || s.otherAdmins(by) > 0:
		return s.holdControl(now, ask, Result{})
	}
	return []remit.Event{e}, done, nil
}

// decideRevive brings back an agent that suspended or retired itself.
func decideRevive(s *State, now int64, c *ReviveAgent) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	a := s.Agents[c.Agent]
	switch {
	case a == nil:
		return fail(remit.NotFound, "there is no agent %s", c.Agent)
	case !s.governs(c.By, a):
		return fail(remit.Forbidden, "agent %s is brought back by its owner or an administrator", c.Agent)
	case a.Status == remit.AgentActive:
		return fail(remit.Conflict, "agent %s is active", c.Agent)
	case a.Idle == 0:
		return fail(remit.Conflict, "agent %s is %s, and not because nobody used it", c.Agent, a.Status)
	case !s.personLive(a.Owner):
		return fail(remit.Conflict, "the owner of agent %s has left; declare another one first", c.Agent)
	case a.expired(now):
		return fail(remit.Conflict, "agent %s has expired; declare a later date first", c.Agent)
	}
	e := &remit.AgentChanged{Agent: c.Agent, Status: remit.AgentActive, By: c.By, Cause: remit.CauseRevived}
	if a.Status == remit.AgentSuspended {
		return []remit.Event{e}, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}, nil
	}
	if now-a.Idle > int64(ReviveFor) {
		return fail(remit.Expired, "agent %s retired itself more than %d days ago, for good; register a new one", c.Agent, ReviveFor/(24*time.Hour))
	}
	return s.widened(now, c.By, c.Access, "agent "+c.Agent+", which had retired itself, comes back", digestJSON("agent.revive", struct {
		Origin string
		Agent  string
		Ended  remit.EntryIndex
	}{s.Origin, c.Agent, a.Ended.Entry}), e)
}
