package authority

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

func (s *State) itemOpen(id remit.ID) bool {
	x := s.Items[id]
	return x != nil && x.Status == remit.ItemOpen
}

// applyReviews makes an event of a review true.
func (s *State) applyReviews(n remit.EntryIndex, at int64, e remit.Event) error {
	switch e := e.(type) {
	case *remit.CampaignDeclared:
		s.applyCampaign(n, at, e)
	case *remit.ReviewsDeclared:
		s.applySettings(n, at, e)
	case *remit.CampaignOpened:
		c := s.Campaigns[e.Campaign]
		if c == nil || c.Open != "" || s.Runs[e.ID] != nil {
			return fmt.Errorf("campaign %s is not declared, or has an open run", e.Campaign)
		}
		if s.Runs == nil {
			s.Runs = map[remit.ID]*Run{}
		}
		s.Runs[e.ID] = &Run{CampaignOpened: *e, At: at, Entry: n, Pending: s.inCampaign(c), Reviewers: slices.Clone(c.Reviewers), Fallback: c.Fallback, Canaries: c.Canaries}
		c.Open, c.Last = e.ID, max(e.Slot, at)
	case *remit.CampaignClosed:
		r := s.Runs[e.ID]
		if r == nil || r.Closed != 0 || r.Open != 0 {
			return fmt.Errorf("run %s is not open, or has open items", e.ID)
		}
		if r.Counts != e.Counts {
			return fmt.Errorf("run %s came to %+v, not to %+v", e.ID, r.Counts, e.Counts)
		}
		r.Closed, r.Pending = at, nil
		if c := s.Campaigns[r.Campaign]; c != nil && c.Open == e.ID {
			c.Open = ""
		}
	case *remit.ReviewOpened:
		return s.applyItem(n, at, e)
	case *remit.ReviewReminded:
		for _, id := range e.Items {
			x := s.Items[id]
			if x == nil || x.Status != remit.ItemOpen {
				return fmt.Errorf("item %s is not open", id)
			}
			if e.Last {
				x.Last = at
			} else {
				x.Half = at
			}
		}
	case *remit.ReviewAnswered:
		x := s.Items[e.Item]
		if x == nil || x.Status != remit.ItemOpen || x.Canary != e.Canary {
			return fmt.Errorf("item %s is not open, or not what it was", e.Item)
		}
		x.By, x.Answered = e.By, n
		switch {
		case e.Answer == remit.Keep:
			if h := s.HoldingOf(x); h != nil {
				h.Kept, h.KeptAt = n, at
			}
			s.endItem(x, n, at, remit.ItemKept)
		case x.Canary:
			s.endItem(x, n, at, remit.ItemRemoved)
		}
	case *remit.ReviewRemoved:
		x := s.Items[e.Item]
		if x == nil || x.Status != remit.ItemOpen || x.Canary || x.Agent != e.Agent || e.Lapsed != (x.Answered == 0) {
			return fmt.Errorf("item %s is not open, or takes nothing from agent %s", e.Item, e.Agent)
		}
		status := remit.ItemRemoved
		switch {
		case e.Lapsed:
			status = remit.ItemLapsed
		case len(e.Left) > 0:
			status = remit.ItemShrunk
		}
		a := s.Agents[x.Agent]
		x.Left = e.Left
		s.endItem(x, n, at, status)
		s.takeAway(a, n, at, x, e)
		a.Changes = append(a.Changes, Change{e.By, n})
	case *remit.ReviewVoid:
		x := s.Items[e.Item]
		if x == nil || x.Status != remit.ItemOpen || x.Canary != e.Canary {
			return fmt.Errorf("item %s is not open, or not what it was", e.Item)
		}
		s.endItem(x, n, at, remit.ItemVoid)
	case *remit.ReviewRegranted:
		x := s.Items[e.Item]
		if x == nil || x.Agent != e.Agent || x.Status != remit.ItemRemoved && x.Status != remit.ItemLapsed && x.Status != remit.ItemShrunk {
			return fmt.Errorf("item %s took nothing from agent %s", e.Item, e.Agent)
		}
		s.applyRegrant(n, at, x, e)
	}
	return nil
}

// applyItem takes up a new item. One about what the agent does not have is a canary.
func (s *State) applyItem(n remit.EntryIndex, at int64, e *remit.ReviewOpened) error {
	a, r := s.Agents[e.Agent], s.Runs[e.Run]
	if a == nil || s.Items[e.ID] != nil || e.Run != "" && (r == nil || r.Closed != 0) {
		return fmt.Errorf("item %s exists, or is of no agent or no open run", e.ID)
	}
	key := HoldingKey(e.Scope, e.Function)
	h := a.Holds[key]
	if h != nil && s.itemOpen(h.Item) {
		return fmt.Errorf("item %s is about the same", h.Item)
	}
	x := &Item{ReviewOpened: e, Key: key, At: at, Entry: n, Owner: a.Owner, Status: remit.ItemOpen, Canary: h == nil}
	if s.Items == nil {
		s.Items = map[remit.ID]*Item{}
	}
	s.Items[e.ID] = x
	s.OpenItems.join(e.ID)
	if h != nil {
		h.Item = e.ID
	}
	if r != nil {
		r.Open++
		if x.Canary {
			r.Canary++
		} else {
			r.Counts.Items++
		}
		for len(r.Pending) > 0 && r.Pending[0] <= e.Agent { // they are opened agent by agent
			r.Pending = r.Pending[1:]
		}
	}
	return nil
}

func (s *State) endItem(x *Item, n remit.EntryIndex, at int64, to remit.ItemStatus) {
	x.Status, x.Ended, x.EndedAt = to, n, at
	s.OpenItems.leave(s.itemOpen)
	s.ItemAge = append(s.ItemAge, x.ID)
	if r := s.Runs[x.Run]; r != nil {
		r.Open--
		count(&r.Counts, to, x.Canary)
	}
}

// applyRegrant puts back what an item took away, in the place of what it left.
func (s *State) applyRegrant(n remit.EntryIndex, at int64, x *Item, e *remit.ReviewRegranted) {
	a := s.Agents[x.Agent]
	if x.Function != "" {
		if !slices.Contains(a.MayRequest, x.Function) {
			a.MayRequest = append(slices.Clone(a.MayRequest), x.Function)
		}
	} else {
		a.Entitlements = slices.DeleteFunc(slices.Clone(a.Entitlements), func(sc remit.Scope) bool {
			return slices.ContainsFunc(x.Left, func(l remit.Scope) bool { return HoldingKey(l, "") == HoldingKey(sc, "") })
		})
		a.Entitlements = append(a.Entitlements, x.Scope)
	}
	s.fresh = nil
	s.holdings(a, n, at, e.By)
	s.agreed(e.Access != "")
	a.Changes = append(a.Changes, Change{e.By, n})
	x.Status = remit.ItemRegranted
}

// forgetItems lets items go that ended long ago. Their entries stay in the log.
func (s *State) forgetItems(at int64) {
	for len(s.ItemAge) > 0 && at-s.Items[s.ItemAge[0]].EndedAt > int64(ItemsKept) {
		delete(s.Items, s.ItemAge[0])
		s.ItemAge = s.ItemAge[1:]
	}
}
