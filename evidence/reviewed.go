package evidence

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// item is an item of a review that has not ended: nobody has certified it, and nothing was taken away.
type item struct {
	entry    remit.EntryIndex
	deadline time.Time
}

// review keeps which items have not ended. An answer that keeps ends an item, and so does every answer to a canary; of
// others the removal does.
func (w *world) review(i remit.EntryIndex, e remit.Event) {
	switch e := e.(type) {
	case *remit.ReviewOpened:
		w.items[e.ID] = &item{i, time.Unix(0, e.Deadline)}
	case *remit.ReviewAnswered:
		if e.Canary || e.Answer == remit.Keep {
			delete(w.items, e.Item)
		}
	case *remit.ReviewRemoved:
		delete(w.items, e.Item)
	case *remit.ReviewVoid:
		delete(w.items, e.Item)
	}
}

// review counts what came of reviews. Canaries are in none of the figures of what was certified.
func (c count) review(e remit.Event) {
	switch e := e.(type) {
	case *remit.CampaignOpened:
		c.hit("reviews.campaigns")
	case *remit.CampaignClosed:
		c.hit("reviews.closed")
	case *remit.ReviewOpened:
		c.hit("reviews.items")
		if e.Run == "" {
			c.hit("reviews.caused")
		}
		if e.Cause == remit.CauseUnused {
			c.hit("reviews.unused")
		}
	case *remit.ReviewAnswered:
		c.answered(e)
	case *remit.ReviewRemoved:
		c.hit("reviews.removed")
		if e.Lapsed {
			c.hit("reviews.lapsed")
		}
		if len(e.Left) > 0 {
			c.hit("reviews.shrunk")
		}
	case *remit.ReviewRegranted:
		c.hit("reviews.regranted")
	}
}

func (c count) answered(e *remit.ReviewAnswered) {
	c.hit("reviews.answered")
	if e.Assurance == remit.AssuranceSelf {
		c.hit("reviews.self")
	}
	if e.Canary {
		c.hit("reviews.canaries")
	}
	switch {
	case e.Answer != remit.Keep:
	case e.Canary:
		c.hit("reviews.fooled")
	default:
		c.hit("reviews.certified")
	}
}

// reviews says whether entitlements are certified on a cadence, whether somebody answers and looks, and what is overdue.
func reviews(v view) (out []said) {
	var declared []remit.EntryIndex
	each(v.world.camps, func(_ string, c at[remit.CampaignDeclared]) { declared = append(declared, c.entry) })
	if len(declared) == 0 {
		out = append(out, absent(nil, "no campaign of reviews is declared"))
	} else {
		out = append(out, good(declared, "%s declared, and what nobody certifies is removed", some(len(declared), "campaign of reviews is", "campaigns of reviews are")))
	}
	answered, items, lapsed := v.entriesOf("reviews.answered"), v.entriesOf("reviews.items"), v.entriesOf("reviews.lapsed")
	switch {
	case len(lapsed) > len(answered):
		out = append(out, weak(lapsed, "%s removed because nobody certified them, and there were %s: mostly nobody answers", some(len(lapsed), "entitlement was", "entitlements were"), some(len(answered), "answer", "answers")))
	case len(answered) > 0:
		out = append(out, good(answered, "people answered %s: %s, and %s removed or shrunk", some(len(answered), "time", "times"),
			some(len(v.entriesOf("reviews.certified")), "item was kept", "items were kept"), some(len(v.entriesOf("reviews.removed")), "entitlement", "entitlements")))
	case len(items) > 0:
		out = append(out, absent(items, "there were items, and nobody has answered one in this period"))
	case len(declared) > 0:
		out = append(out, weak(nil, "no campaign began in this period"))
	}
	if fooled := v.entriesOf("reviews.fooled"); len(fooled) > 0 {
		out = append(out, weak(fooled, "%s kept what the agent never had, of %s to canaries: somebody does not look", some(len(fooled), "answer", "answers"), some(len(v.entriesOf("reviews.canaries")), "answer", "answers")))
	}
	if self := v.entriesOf("reviews.self"); len(self) > 0 {
		out = append(out, weak(self, "%s by whoever gave it to their own agent", some(len(self), "answer was", "answers were")))
	}
	var waiting, overdue []remit.EntryIndex
	each(v.world.items, func(_ remit.ID, x *item) {
		if x.deadline.Before(v.until) {
			overdue = append(overdue, x.entry)
		} else {
			waiting = append(waiting, x.entry)
		}
	})
	if len(overdue) > 0 {
		out = append(out, weak(overdue, "%s overdue, neither certified nor taken away yet", some(len(overdue), "item is", "items are")))
	}
	if len(waiting) > 0 && len(declared) > 0 {
		out = append(out, good(waiting, "%s for an answer, and not overdue", some(len(waiting), "item waits", "items wait")))
	}
	return out
}

// unused says whether what nobody uses ends: agents by themselves, and entitlements by way of their owners.
func unused(v view) []said {
	var out []said
	r := v.world.reviews
	on := []remit.EntryIndex{r.entry}
	switch {
	case !r.there || r.said.SuspendAfter == 0 && r.said.RetireAfter == 0:
		out = append(out, absent(nil, "nothing is declared that ends unused agents"))
	case r.said.SuspendAfter == 0 || r.said.RetireAfter == 0:
		out = append(out, weak(on, "unused agents are suspended or retired, and not both"))
	default:
		out = append(out, good(on, "unused agents are suspended after %s and retired after %s", days(r.said.SuspendAfter), days(r.said.RetireAfter)))
	}
	if slices.Contains(r.said.Micro, remit.CauseUnused) {
		out = append(out, good(on, "an entitlement that nobody used for %s is put to the owner of its agent", days(r.said.UnusedAfter)))
	}
	var idle []remit.EntryIndex
	var who []string
	active := v.world.active()
	for _, a := range active {
		if !a.used.After(v.since) && a.since.Before(v.since) {
			idle, who = append(idle, a.entry), append(who, a.said.Name)
		}
	}
	if len(active) == 0 {
		return []said{unseen("no agent is declared")}
	}
	if len(idle) > 0 {
		out = append(out, absent(idle, "%s: active, and not started in this period", names(who)))
	} else {
		out = append(out, good(nil, "every active agent was started in this period, or is new in it"))
	}
	return out
}
