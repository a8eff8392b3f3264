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
	if c := state("entitlement-review"); c.State != remit.EvidenceInForce || c.Figures[5].Value != 1 {
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
