package judge_test

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// itemOf is the entry that opened an item.
func itemOf(l []line, id remit.ID) *remit.ReviewOpened {
	for _, x := range l {
		if o, ok := x.e.(*remit.ReviewOpened); ok && o.ID == id {
			return o
		}
	}
	return &remit.ReviewOpened{}
}

// silent bends a removal that nobody asked for.
func silent(bend func(l []line, i int, e *remit.ReviewRemoved) []line) kind {
	return on(func(l []line, i int, e *remit.ReviewRemoved) []line {
		if !e.Lapsed {
			return nil
		}
		return bend(l, i, e)
	})
}

// reviewBends are the ways in which a log can be wrong about reviews.
var reviewBends = []bend{
	{"an item that counts a use too few", "reviews", on(func(l []line, i int, e *remit.ReviewOpened) []line {
		if e.Evidence.Uses == 0 {
			return nil
		}
		e.Evidence.Uses--
		return l
	})},
	{"an item that counts a use too many", "reviews", on(func(l []line, i int, e *remit.ReviewOpened) []line {
		if e.Run != "" && e.Evidence.Uses == 0 { // it may be a canary
			return nil
		}
		e.Evidence.Uses++
		return l
	})},
	{"an item that is open for a year", "reviews", on(func(l []line, i int, e *remit.ReviewOpened) []line { e.Deadline += int64(8760 * time.Hour); return l })},
	{"a second item about the same", "reviews", on(func(l []line, i int, e *remit.ReviewOpened) []line {
		if e.Run != "" {
			return nil
		}
		again := *e
		again.ID = "R-999999"
		return with(l, i+1, &again)
	})},
	{"a removal by silence of which nobody was reminded", "reviews", silent(func(l []line, i int, e *remit.ReviewRemoved) []line {
		for _, x := range l[:i] {
			if r, ok := x.e.(*remit.ReviewReminded); ok && r.Last {
				r.Items = slices.DeleteFunc(r.Items, func(id remit.ID) bool { return id == e.Item })
			}
		}
		return l
	})},
	{"a removal by silence before its time", "reviews", silent(func(l []line, i int, e *remit.ReviewRemoved) []line {
		o := itemOf(l, e.Item)
		if o.Run != "" {
			return nil
		}
		at := slices.IndexFunc(l, func(x line) bool { return x.e == remit.Event(o) })
		return with(l, at+1, e)[:at+2]
	})},
	{"a removal that somebody is said to have asked for", "reviews", silent(func(l []line, i int, e *remit.ReviewRemoved) []line { e.By = "p-ada"; return l })},
	{"a removal that somebody asked for and nobody made", "reviews", on(func(l []line, i int, e *remit.ReviewAnswered) []line {
		if e.Answer == remit.Keep || e.Canary || i+2 >= len(l) {
			return nil
		}
		if _, review := l[i+2].e.(*remit.ReviewRemoved); review {
			return nil
		}
		return drop(l, i+1)
	})},
	{"a removal of what somebody kept", "reviews", on(func(l []line, i int, e *remit.ReviewAnswered) []line {
		if e.Answer != remit.Keep || e.Canary {
			return nil
		}
		return with(l, i+1, &remit.ReviewRemoved{Item: e.Item, Agent: itemOf(l, e.Item).Agent, Lapsed: true})
	})},
	{"an answer of somebody who is not asked", "R3", on(func(l []line, i int, e *remit.ReviewAnswered) []line { e.By = "p-eve"; return l })},
	{"an answer twice", "reviews", on(func(l []line, i int, e *remit.ReviewAnswered) []line {
		if e.Answer != remit.Keep {
			return nil
		}
		return with(l, i+1, e)
	})},
	{"an answer about a canary that is none", "reviews", on(func(l []line, i int, e *remit.ReviewAnswered) []line { e.Canary = !e.Canary; return l })},
	{"somebody keeps what they gave themselves", "R3", on(func(l []line, i int, e *remit.ReviewAnswered) []line {
		if e.Answer != remit.Keep || l[0].e.(*remit.Genesis).Profile == remit.Solo {
			return nil
		}
		o := itemOf(l, e.Item)
		o.Evidence.By, o.Evidence.Alone = e.By, true
		return l
	})},
	{"a shrink that leaves more", "R5", on(func(l []line, i int, e *remit.ReviewRemoved) []line {
		if len(e.Left) == 0 {
			return nil
		}
		e.Left[0].Resources = append(slices.Clone(e.Left[0].Resources), "repo:other/**")
		return l
	})},
	{"a run that flatters itself", "reviews", on(func(l []line, i int, e *remit.CampaignClosed) []line { e.Counts.Kept++; return l })},
	{"a run that ends with an item open", "reviews", on(func(l []line, i int, e *remit.CampaignOpened) []line {
		for k, x := range l {
			if o, ok := x.e.(*remit.ReviewOpened); ok && o.Run == e.ID {
				return with(l, k+1, &remit.CampaignClosed{ID: e.ID, Counts: remit.RunCount{Items: 1}})[:k+2]
			}
		}
		return nil
	})},
	{"a run that asks about nothing", "reviews", on(func(l []line, i int, e *remit.CampaignOpened) []line {
		if e.Agents == 0 {
			return nil
		}
		return with(l, i+1, &remit.CampaignClosed{ID: e.ID})[:i+2]
	})},
	{"a run of a campaign that has one", "reviews", on(func(l []line, i int, e *remit.CampaignOpened) []line {
		again := *e
		again.ID = "C-999999"
		return with(l, i+1, &again)
	})},
	{"something comes back that was not taken away", "reviews", on(func(l []line, i int, e *remit.ReviewOpened) []line {
		return with(l, i+1, &remit.ReviewRegranted{Item: e.ID, Agent: e.Agent, By: "p-ada"})
	})},
	{"something comes back without the votes", "R6", on(func(l []line, i int, e *remit.ReviewRegranted) []line {
		if e.Access == "" {
			return nil
		}
		e.Access = "A-1"
		return l
	})},
	{"an agent ends by itself that was used", "control", late(&remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended, Cause: remit.CauseIdle})},
	{"an agent comes back that had not ended", "R2", late(&remit.AgentChanged{Agent: "coder", Status: remit.AgentActive, By: "p-ada", Cause: remit.CauseRevived})},
	{"an agent ends by itself too soon", "control", on(func(l []line, i int, e *remit.AgentChanged) []line {
		if e.Cause != remit.CauseIdle {
			return nil
		}
		for _, x := range l[:i] {
			if r, ok := x.e.(*remit.ReviewsDeclared); ok {
				r.SuspendAfter = int64(8760 * time.Hour)
			}
		}
		return l
	})},
}
