package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// reviewItem is what an entry of a review is worth telling as.
func reviewItem(it item, e remit.Event) (item, bool) {
	switch x := e.(type) {
	case *remit.CampaignOpened:
		it.What, it.Run = remit.TellReviewOpened, x
	case *remit.ReviewOpened:
		it.What, it.Review = remit.TellReviewOpened, x
		return it, x.Run == "" // those of a campaign are told of with it
	case *remit.ReviewReminded:
		it.What, it.Reminded = remit.TellReviewReminder, x
	case *remit.ReviewRemoved:
		it.What, it.Removed = remit.TellReviewRemoved, x
	case *remit.AgentChanged:
		it.What, it.Idle = remit.TellAgentIdle, x
		return it, x.Cause == remit.CauseIdle
	default:
		return it, false
	}
	return it, true
}

// ofReviews puts together what is said of a review, as it is now. The message says where to answer; it cannot answer.
func (m *message) ofReviews(ctx context.Context, it item, reviews Reviews, house House) error {
	switch {
	case it.Run != nil && it.Person != "":
		return m.ofWaiting(ctx, it, it.Items, reviews)
	case it.Run != nil:
		m.ofRun(it.Run)
	case it.Review != nil:
		v, err := reviews.ReviewItem(ctx, it.Review.ID)
		if err != nil || !it.concerns(v) {
			return errNotForIt // it was answered meanwhile, long ago perhaps
		}
		m.title = "Agent " + remit.Visible(v.Agent) + ": what it may do is to be reviewed by " + v.Ends.UTC().Format(stamp)
		m.data = details{Agent: v.Agent, Items: []remit.ID{v.ID}, NotAfter: v.Ends.UTC()}
		m.ofItem(v)
		m.add("who may", remit.Visible(strings.Join(v.Reviewers, ", ")))
		m.add("look", "remit review show "+remit.Visible(string(v.ID)))
	case it.Reminded != nil:
		return m.ofWaiting(ctx, it, it.Reminded.Items, reviews)
	case it.Removed != nil:
		m.ofRemoved(ctx, it, reviews, house)
	case it.Idle != nil:
		m.title = fmt.Sprintf("Agent %s is %s: nobody used it", remit.Visible(it.Idle.Agent), remit.Visible(string(it.Idle.Status)))
		m.data = details{Agent: it.Idle.Agent}
		m.add("agent", remit.Visible(it.Idle.Agent))
		m.add("back", "remit agent revive "+remit.Visible(it.Idle.Agent))
	}
	return nil
}

func (m *message) ofRun(r *remit.CampaignOpened) {
	until := time.Unix(0, r.Deadline).UTC()
	m.title = fmt.Sprintf("Campaign %s reviews what %d agents may do, until %s", remit.Visible(r.Campaign), r.Agents, until.Format(stamp))
	m.data = details{NotAfter: until, Campaign: r.Campaign}
	m.add("campaign", remit.Visible(r.Campaign)+", run "+remit.Visible(string(r.ID)))
	m.add("until", until.Format(stamp))
	m.add("then", "what nobody has certified is removed")
	m.add("look", "remit review list")
}

// ofItem is the evidence of one item, in lines.
func (m *message) ofItem(v remit.ItemView) {
	m.add("agent", fmt.Sprintf("%s, owned by %s", remit.Visible(v.Agent), remit.Visible(v.Owner)))
	m.add("may", itemWords(v))
	used := "never"
	if v.Uses > 0 {
		used = fmt.Sprintf("%d times, the last in entry %d", v.Uses, v.LastEntry)
	}
	m.add("used", used)
	m.add("advice", remit.Visible(string(v.Advice))+": "+remit.Visible(v.Why))
}

// itemWords is what an item is about, on one line.
func itemWords(v remit.ItemView) string {
	if v.Entitlement == nil {
		return "may request work of " + remit.Visible(string(v.MayRequest))
	}
	var actions, resources []string
	for _, a := range v.Entitlement.Actions {
		actions = append(actions, string(a))
	}
	for _, p := range v.Entitlement.Resources {
		resources = append(resources, string(p))
	}
	return short(strings.Join(actions, ", ") + " on " + strings.Join(resources, ", "))
}

// ofWaiting names the items that still wait, the first of them by what they are about: those that people are reminded of, and
// to one person those of a campaign that they may answer.
func (m *message) ofWaiting(ctx context.Context, it item, ids []remit.ID, reviews Reviews) error {
	var lines []string
	var ends time.Time
	used := 0
	for _, id := range ids {
		v, err := reviews.ReviewItem(ctx, id)
		if err != nil || !it.concerns(v) {
			continue // it was answered meanwhile
		}
		if ends.IsZero() || v.Ends.Before(ends) {
			ends = v.Ends
		}
		if v.Uses > 0 {
			used++
		}
		m.data.Items = append(m.data.Items, v.ID)
		line := fmt.Sprintf("%s  %s (%s): %s; used %d times", remit.Visible(string(v.ID)), remit.Visible(v.Agent), remit.Visible(v.Owner), itemWords(v), v.Uses)
		if it.Person == "" {
			line += "; answered by " + short(strings.Join(v.Reviewers, ", "))
		}
		lines = append(lines, line)
	}
	n, whose := len(lines), "Reviews"
	if it.Person != "" {
		whose = "Reviews, for you"
	}
	last := it.Reminded != nil && it.Reminded.Last
	switch {
	case n == 0:
		return errNotForIt
	case it.Run != nil:
		m.title = fmt.Sprintf("Campaign %s: %d items for you to answer, ending from %s on", remit.Visible(it.Run.Campaign), n, ends.UTC().Format(stamp))
		m.data.Campaign = it.Run.Campaign
	case last:
		m.title = fmt.Sprintf("LAST REMINDER, %s: %d unanswered, removed from %s on", "r"+whose[1:], n, ends.UTC().Format(stamp))
		m.add("who may", "also the group that answers where the reviewers do not")
	default:
		m.title = fmt.Sprintf("%s: %d still to be answered, ending from %s on", whose, n, ends.UTC().Format(stamp))
	}
	m.data.NotAfter = ends.UTC()
	m.add("items", first(lines, shownPaths))
	if used > 0 {
		m.add("in use", fmt.Sprintf("%d of them; what uses them stops when they are removed", used))
	}
	if it.Person != "" {
		m.add("then", "what nobody has certified is removed")
		m.add("look", "remit review list --mine")
		return nil
	}
	m.add("look", "remit review list")
	return nil
}

func (m *message) ofRemoved(ctx context.Context, it item, reviews Reviews, house House) {
	r := it.Removed
	how := "was removed"
	switch {
	case r.Lapsed:
		how = "was removed, because nobody certified it"
	case len(r.Left) > 0:
		how = "was shrunk to what was used"
	}
	m.title = fmt.Sprintf("Agent %s: what item %s is about %s", remit.Visible(r.Agent), remit.Visible(string(r.Item)), how)
	m.data = details{Agent: r.Agent, Items: []remit.ID{r.Item}}
	if v, err := reviews.ReviewItem(ctx, r.Item); err == nil {
		m.ofItem(v)
	}
	if r.By != "" {
		m.add("by", remit.Visible(house.Name(ctx, r.By)))
	}
	m.add("receipt", "remit log receipt "+entry(it.Entry))
	m.add("back", "remit review regrant "+remit.Visible(string(r.Item))+", for 30 days")
}
