package evidence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// valueOf is a figure of a control.
func valueOf(t *testing.T, c remit.EvidenceControl, name string) int64 {
	t.Helper()
	for _, x := range c.Figures {
		if x.Name == name {
			return x.Value
		}
	}
	t.Fatalf("control %s has no figure %s", c.Name, name)
	return 0
}

// TestTrials: a bundle counts as tried if the log has a trial of exactly that bundle before it came into force. A trial of
// another one, or afterwards, is none, and a rule that wants trials is said as long as it is declared.
func TestTrials(t *testing.T) {
	ours, theirs := remit.Hash([]byte("ours")), remit.Hash([]byte("theirs"))
	tried := func(d remit.Digest) *remit.PolicyTried {
		return &remit.PolicyTried{By: "p-1", Bundle: d, Judged: 40, Denied: 2, Held: 1, Report: remit.Hash([]byte("report"))}
	}
	install := func(d remit.Digest) *remit.PolicyInstalled { return &remit.PolicyInstalled{Bundle: d, By: "p-1"} }
	rule := &remit.ActivationDeclared{Of: "policy", Within: 24, Over: 168, Bound: true, More: 5}
	with := func(t *remit.PolicyTried, change func(*remit.PolicyTried)) *remit.PolicyTried { change(t); return t }
	for name, x := range map[string]struct {
		events []remit.Event
		want   remit.EvidenceState
		says   string
		counts map[string]int64
	}{
		"tried, and it had to be":      {[]remit.Event{rule, tried(ours), install(ours)}, remit.EvidenceInForce, "was tried 1s before it came into force: on 40 requests, of which it would have denied 2, held 1 and allowed 0 instead", map[string]int64{"policies.tried": 1, "policies.untried": 0, "policy.tried": 1, "trials.differed": 1, "trials.allowed": 0}},
		"and what is wanted is said":   {[]remit.Event{rule, tried(ours), install(ours)}, remit.EvidenceInForce, "in the last 24 hours, on 168 hours of the past, and ask people at most 5 times more than before", nil},
		"tried, and nothing wanted it": {[]remit.Event{tried(ours), install(ours)}, remit.EvidencePartly, "nothing that is declared wants a trial", nil},
		"never tried":                  {[]remit.Event{install(ours)}, remit.EvidenceNotInForce, "came into force without a recorded trial of it", map[string]int64{"policies.tried": 0, "policies.untried": 1}},
		"tried afterwards":             {[]remit.Event{rule, install(ours), tried(ours)}, remit.EvidencePartly, "came into force without a recorded trial of it", map[string]int64{"policies.untried": 1, "policy.tried": 1}},
		"another was tried":            {[]remit.Event{rule, tried(theirs), install(ours)}, remit.EvidencePartly, "came into force without a recorded trial of it", map[string]int64{"policies.untried": 1}},
		"an earlier one was not tried": {[]remit.Event{rule, install(theirs), tried(ours), install(ours)}, remit.EvidencePartly, "1 bundle came into force in this period without a recorded trial", map[string]int64{"policies.tried": 1, "policies.untried": 1}},
		"tried with declarations": {[]remit.Event{rule, with(tried(ours), func(e *remit.PolicyTried) { e.Set = remit.Hash([]byte("set")) }), install(ours)},
			remit.EvidenceInForce, "which it and the declarations that go with it would have denied 2", map[string]int64{"policies.tried": 1}},
		"only declarations were tried": {[]remit.Event{rule, with(tried(ours), func(e *remit.PolicyTried) { e.Set, e.Bundle = e.Bundle, remit.Digest{} }), install(ours)},
			remit.EvidencePartly, "without a recorded trial of it", map[string]int64{"policies.untried": 1}},
		"tried on nothing": {[]remit.Event{rule, with(tried(ours), func(e *remit.PolicyTried) { e.Judged, e.Denied, e.Held = 0, 0, 0 }), install(ours)},
			remit.EvidencePartly, "there was no request in the time of the trial", map[string]int64{"trials.differed": 0}},
		"tried on what is half erased": {[]remit.Event{rule, with(tried(ours), func(e *remit.PolicyTried) { e.Unjudged, e.Allowed = 7, 1 }), install(ours)},
			remit.EvidencePartly, "could not judge 7 more requests", map[string]int64{"trials.allowed": 1}},
		"the rule was taken away":   {[]remit.Event{rule, tried(ours), install(ours), &remit.Removed{What: "activation", Name: "policy"}}, remit.EvidencePartly, "nothing that is declared wants a trial", nil},
		"a rule for declarations":   {[]remit.Event{&remit.ActivationDeclared{Of: "declarations", Within: 1, Over: 2}, tried(ours), install(ours)}, remit.EvidencePartly, "before a change of declarations it must have been tried in the last 1 hour, on 2 hours", nil},
		"what Remit comes with":     {[]remit.Event{rule}, remit.EvidenceInForce, "is the one that Remit came with", map[string]int64{"policies.tried": 0, "policies.untried": 0}},
		"and no rule":               {nil, remit.EvidenceNotInForce, "nothing that is declared wants a trial", nil},
		"and back to what was once": {[]remit.Event{rule, tried(ours), install(ours), tried(theirs), install(theirs), install(ours)}, remit.EvidenceInForce, "was tried 4s before", map[string]int64{"policies.tried": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &book{}
			b.add(&remit.Genesis{Org: "acme", Origin: "remit.example/acme", Profile: remit.Team, Admins: []remit.ID{"p-1", "p-2"}})
			b.add(&remit.RulesActivated{Version: 2})
			b.add(&remit.PolicyInstalled{Bundle: remit.Hash([]byte("builtin"))})
			for _, e := range x.events {
				b.add(e)
			}
			c := control(t, b.report(t, "owasp-asi-2026", begin, end), "policy-trials")
			if c.State != x.want || !strings.Contains(fmt.Sprint(c.Why), x.says) {
				t.Errorf("%s: %+v", c.State, c.Why)
			}
			for name, want := range x.counts {
				if got := valueOf(t, c, name); got != want {
					t.Errorf("%s is %d, not %d", name, got, want)
				}
			}
		})
	}
}

// TestATrialOfBeforeThePeriod: the state is of the end of the period, whenever the policy came into force; figures are of
// the period alone.
func TestATrialOfBeforeThePeriod(t *testing.T) {
	b := &book{}
	b.add(&remit.Genesis{Org: "acme", Origin: "remit.example/acme", Profile: remit.Team, Admins: []remit.ID{"p-1"}})
	b.add(&remit.ActivationDeclared{Of: "policy", Within: 24, Over: 168})
	b.add(&remit.PolicyTried{By: "p-1", Bundle: remit.Hash([]byte("ours")), Judged: 1})
	in := b.add(&remit.PolicyInstalled{Bundle: remit.Hash([]byte("ours")), By: "p-1"})
	b.add(&remit.PolicyInstalled{Bundle: remit.Hash([]byte("theirs")), By: "p-1"})
	c := control(t, b.report(t, "owasp-asi-2026", begin.Add(time.Minute), end), "policy-trials")
	if c.State != remit.EvidencePartly || !c.Silent || !strings.Contains(fmt.Sprint(c.Why), "without a recorded trial") {
		t.Errorf("%s: %+v", c.State, c)
	}
	b.leaves = b.leaves[:in+1]
	c = control(t, b.report(t, "owasp-asi-2026", begin.Add(time.Minute), end), "policy-trials")
	if c.State != remit.EvidenceInForce || !c.Silent || fmt.Sprint(c.Why[0].Entries.Listed) != "[2 3]" {
		t.Errorf("%s: %+v", c.State, c)
	}
}
