package evidence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// TestReviews: a campaign that nobody answers is no review, a canary that somebody keeps is said, and a campaign that is
// taken away is missed.
func TestReviews(t *testing.T) {
	b := full()
	b.add(&remit.CampaignDeclared{Name: "quarterly"})
	b.add(&remit.ReviewsDeclared{SuspendAfter: int64(14 * 24 * time.Hour), RetireAfter: int64(60 * 24 * time.Hour)})
	state := func(name string) remit.EvidenceControl {
		return control(t, b.report(t, "owasp-nhi-2025", begin, end), name)
	}
	if c := state("unused-agents"); c.State != remit.EvidenceInForce || !strings.Contains(c.Why[0].Text, "suspended after 14 days") {
		t.Errorf("%+v", c.Why)
	}
	if c := state("entitlement-review"); c.State != remit.EvidencePartly {
		t.Errorf("no campaign began: %+v", c.Why)
	}
	b.add(&remit.CampaignOpened{ID: "C-1", Campaign: "quarterly"})
	b.add(&remit.ReviewOpened{ID: "R-1", Agent: "coder"})
	if c := state("entitlement-review"); c.State != remit.EvidencePartly || !strings.Contains(fmt.Sprint(c.Why), "nobody has answered") {
		t.Errorf("nobody answered: %+v", c.Why)
	}
	b.add(&remit.ReviewAnswered{Item: "R-1", By: "p-1", Answer: "keep"})
	b.add(&remit.ReviewRemoved{Item: "R-2", Agent: "coder", Lapsed: true})
	if c := state("entitlement-review"); c.State != remit.EvidenceInForce || valueOf(t, c, "reviews.lapsed") != 1 {
		t.Errorf("%+v", c)
	}
	b.add(&remit.ReviewAnswered{Item: "R-3", By: "p-1", Answer: "keep", Canary: true})
	if c := state("entitlement-review"); c.State != remit.EvidencePartly || !strings.Contains(fmt.Sprint(c.Why), "somebody does not look") {
		t.Errorf("a canary: %+v", c.Why)
	}
	b.add(&remit.Removed{What: "campaign", Name: "quarterly"})
	b.add(&remit.Removed{What: "reviews", Name: "reviews"})
	for _, name := range []string{"entitlement-review", "unused-agents"} {
		if c := state(name); c.State == remit.EvidenceInForce || c.State == remit.EvidenceNotSeen {
			t.Errorf("%s is %s: %+v", name, c.State, c.Why)
		}
	}
}

// TestScans: what was not scanned, not seen, or found wrong is said; only a scan that saw everything and found nothing is
// in force.
func TestScans(t *testing.T) {
	b := full()
	state := func() remit.EvidenceControl {
		return control(t, b.report(t, "owasp-nhi-2025", begin, end), "authority-scan")
	}
	for _, x := range []struct {
		scan *remit.UpstreamScanned
		want remit.EvidenceState
		says string
	}{
		{nil, remit.EvidenceNotInForce, "no upstream was scanned"},
		{&remit.UpstreamScanned{Upstream: "elsewhere"}, remit.EvidenceNotInForce, "forge: not scanned"},
		{&remit.UpstreamScanned{Upstream: "forge", Unseen: 1}, remit.EvidencePartly, "could not see everything"},
		{&remit.UpstreamScanned{Upstream: "forge", Warnings: 2}, remit.EvidencePartly, "found authority outside Remit"},
		{&remit.UpstreamScanned{Upstream: "forge", Notes: 2}, remit.EvidenceInForce, "found nothing wrong"},
	} {
		if x.scan != nil {
			b.add(x.scan)
		}
		if c := state(); c.State != x.want || !strings.Contains(fmt.Sprint(c.Why), x.says) {
			t.Errorf("%+v: %s, %+v", x.scan, c.State, c.Why)
		}
	}
}

// TestWhatCameOfReviews: what was certified, removed, lapsed and given back are figures of their own, canaries are in none
// of them, and an item is overdue from its deadline until it ends.
func TestWhatCameOfReviews(t *testing.T) {
	house := func() *book {
		b := &book{}
		b.add(&remit.Genesis{Org: "acme", Origin: "remit.example/acme", Profile: remit.Team, Admins: []remit.ID{"p-1"}})
		b.add(&remit.CampaignDeclared{Name: "quarterly"})
		b.add(&remit.CampaignOpened{ID: "C-2", Campaign: "quarterly"})
		return b
	}
	review := func(b *book, at time.Time) remit.EvidenceControl {
		return control(t, b.report(t, "owasp-nhi-2025", begin, at), "entitlement-review")
	}
	due := begin.Add(10 * time.Minute)
	item := func(b *book, id remit.ID) remit.EntryIndex {
		return b.add(&remit.ReviewOpened{ID: id, Run: "C-2", Agent: "coder", Deadline: due.UnixNano()})
	}
	b := house()
	for _, id := range []remit.ID{"R-keep", "R-shrink", "R-remove", "R-lapse", "R-void", "R-fool", "R-caught"} {
		item(b, id)
	}
	b.add(&remit.ReviewAnswered{Item: "R-keep", By: "p-1", Answer: remit.Keep, Assurance: remit.AssuranceTouch})
	b.add(&remit.ReviewAnswered{Item: "R-shrink", By: "p-1", Answer: remit.Shrink})
	b.add(&remit.ReviewRemoved{Item: "R-shrink", Agent: "coder", By: "p-1", Left: []remit.Scope{{Actions: []remit.Action{"source.read"}}}})
	b.add(&remit.ReviewAnswered{Item: "R-remove", By: "p-1", Answer: remit.Remove})
	if c := review(b, due.Add(time.Second)); !strings.Contains(fmt.Sprint(c.Why), "5 items are overdue") {
		t.Errorf("what is to be removed, and is not yet: %s %+v", c.State, c.Why)
	}
	b.add(&remit.ReviewRemoved{Item: "R-remove", Agent: "coder", By: "p-1"})
	b.add(&remit.ReviewVoid{Item: "R-void"})
	b.add(&remit.ReviewAnswered{Item: "R-caught", By: "p-1", Answer: remit.Remove, Canary: true})
	b.add(&remit.ReviewOpened{ID: "R-idle", Cause: remit.CauseUnused, Agent: "coder", Deadline: due.UnixNano()})
	b.add(&remit.ReviewRegranted{Item: "R-remove", Agent: "coder", By: "p-1"})
	if c := review(b, due); c.State != remit.EvidenceInForce || !strings.Contains(fmt.Sprint(c.Why), "3 items wait for an answer, and not overdue") {
		t.Errorf("in time: %s %+v", c.State, c.Why)
	}
	if c := review(b, due.Add(time.Second)); c.State != remit.EvidencePartly || !strings.Contains(fmt.Sprint(c.Why), "3 items are overdue") {
		t.Errorf("overdue: %s %+v", c.State, c.Why)
	}
	b.add(&remit.ReviewRemoved{Item: "R-lapse", Agent: "coder", Lapsed: true})
	b.add(&remit.ReviewRemoved{Item: "R-idle", Agent: "coder", Lapsed: true})
	if c := review(b, end); c.State != remit.EvidencePartly || !strings.Contains(fmt.Sprint(c.Why), "1 item is overdue") {
		t.Errorf("overdue: %s %+v", c.State, c.Why)
	}
	b.add(&remit.ReviewAnswered{Item: "R-fool", By: "p-1", Answer: remit.Keep, Canary: true})
	b.add(&remit.CampaignClosed{ID: "C-2"})
	c := review(b, end)
	if c.State != remit.EvidencePartly || strings.Contains(fmt.Sprint(c.Why), "overdue") || !strings.Contains(fmt.Sprint(c.Why), "1 answer kept what the agent never had, of 2 answers to canaries") {
		t.Errorf("fooled: %s %+v", c.State, c.Why)
	}
	for name, want := range map[string]int64{"reviews.campaigns": 1, "reviews.closed": 1, "reviews.items": 8, "reviews.caused": 1, "reviews.answered": 5, "reviews.certified": 1, "reviews.self": 0,
		"reviews.canaries": 2, "reviews.fooled": 1, "reviews.removed": 4, "reviews.shrunk": 1, "reviews.lapsed": 2, "reviews.regranted": 1} {
		if got := valueOf(t, c, name); got != want {
			t.Errorf("%s is %d, not %d", name, got, want)
		}
	}

	lazy := house()
	item(lazy, "R-1")
	item(lazy, "R-2")
	lazy.add(&remit.ReviewAnswered{Item: "R-1", By: "p-1", Answer: remit.Keep, Assurance: remit.AssuranceSelf})
	if c := review(lazy, due); c.State != remit.EvidencePartly || !strings.Contains(fmt.Sprint(c.Why), "1 answer was by whoever gave it to their own agent") {
		t.Errorf("self: %s %+v", c.State, c.Why)
	}
	for range 2 {
		lazy.add(&remit.ReviewRemoved{Item: "R-2", Agent: "coder", Lapsed: true})
	}
	if c := review(lazy, end); !strings.Contains(fmt.Sprint(c.Why), "mostly nobody answers") {
		t.Errorf("lapsed: %s %+v", c.State, c.Why)
	}
}

// TestUnusedEnds: who suspended or retired themselves because nobody used them is counted apart from whom a person ended,
// and so are the items about entitlements that nobody used.
func TestUnusedEnds(t *testing.T) {
	b := full()
	b.add(&remit.ReviewsDeclared{SuspendAfter: int64(14 * 24 * time.Hour), RetireAfter: int64(60 * 24 * time.Hour), UnusedAfter: int64(30 * 24 * time.Hour), Micro: []string{remit.CauseUnused}})
	b.add(&remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended, By: "p-1"})
	b.add(&remit.AgentChanged{Agent: "coder", Status: remit.AgentActive, By: "p-1"})
	b.add(&remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended, Cause: remit.CauseIdle})
	b.add(&remit.AgentChanged{Agent: "coder", Status: remit.AgentRetired, Cause: remit.CauseIdle})
	b.add(&remit.AgentChanged{Agent: "coder", Status: remit.AgentActive, By: "p-1", Cause: remit.CauseRevived})
	b.add(&remit.ReviewOpened{ID: "R-1", Cause: remit.CauseUnused, Agent: "coder"})
	b.add(&remit.ReviewOpened{ID: "R-2", Cause: remit.CauseWide, Agent: "coder"})
	c := control(t, b.report(t, "owasp-nhi-2025", begin, end), "unused-agents")
	for name, want := range map[string]int64{"agents.suspended": 2, "agents.idle-suspended": 1, "agents.retired": 1, "agents.idle-retired": 1, "agents.resumed": 2, "agents.revived": 1, "reviews.unused": 1} {
		if got := valueOf(t, c, name); got != want {
			t.Errorf("%s is %d, not %d", name, got, want)
		}
	}
	if c.State != remit.EvidenceInForce || !strings.Contains(fmt.Sprint(c.Why), "an entitlement that nobody used for 30 days is put to the owner of its agent") {
		t.Errorf("%s: %+v", c.State, c.Why)
	}
}
