package authority_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestIdleAgentsSuspendAndRetireThemselves(t *testing.T) {
	idle := func(r *remit.ReviewsDeclared) { r.SuspendAfter, r.RetireAfter = int64(14*day), int64(60*day) }
	w := agreed(t, remit.Team, settings(idle))
	from := w.now
	w.now = from.Add(10 * day)
	c := w.pushed()
	_ = c
	w.until(from.Add(14*day-time.Minute), day)
	if got := w.s.Agents["pilot"].Status; got != remit.AgentActive {
		t.Fatalf("pilot is %s too soon", got)
	}
	w.until(from.Add(14*day+time.Minute), day)
	if p, k := w.s.Agents["pilot"].Status, w.s.Agents["coder"].Status; p != remit.AgentSuspended || k != remit.AgentActive {
		t.Fatalf("pilot, which nobody used, is %s; coder, which was, is %s", p, k)
	}
	w.refuse(&authority.ReviveAgent{By: "p-sam", Agent: "pilot"}, remit.Forbidden, "owner or an administrator")
	w.refuse(&authority.ReviveAgent{By: "p-mia", Agent: "coder"}, remit.Conflict, "is active")
	w.must(&authority.ReviveAgent{By: "p-ada", Agent: "pilot"})
	if got := w.s.Agents["pilot"].Status; got != remit.AgentActive {
		t.Fatalf("pilot was brought back and is %s", got)
	}
	w.must(&authority.ChangeAgent{By: "p-noa", Agent: "critic", To: remit.AgentSuspended}) // a person says so now
	w.refuse(&authority.ReviveAgent{By: "p-noa", Agent: "critic"}, remit.Conflict, "not because nobody used it")
	w.until(from.Add(100*day), day)
	if m, cr := w.s.Agents["merger"].Status, w.s.Agents["critic"].Status; m != remit.AgentRetired || cr != remit.AgentSuspended {
		t.Fatalf("merger is %s; critic, which a person suspended, %s", m, cr)
	}
	w.apply(func(s *authority.Set) {
		s.Upstreams = append(slices.Clone(s.Upstreams), remit.UpstreamDeclared{Name: "two", Type: "http", Spec: remit.Hash([]byte("two"))})
	})
	if got := w.s.Agents["merger"].Status; got != remit.AgentRetired {
		t.Fatalf("a set that still names it made merger %s", got)
	}
	w.replay()
}

func TestARetiredAgentComesBackOnlyAsAWidening(t *testing.T) {
	idle := func(r *remit.ReviewsDeclared) { r.SuspendAfter, r.RetireAfter = int64(14*day), int64(60*day) }
	w := agreed(t, remit.Team, settings(idle))
	w.until(w.now.Add(61*day), day)
	if got := w.s.Agents["coder"].Status; got != remit.AgentRetired {
		t.Fatalf("coder is %s", got)
	}
	w.refuse(&authority.ChangeAgent{By: "p-ada", Agent: "coder", To: remit.AgentActive}, remit.Conflict, "for good")
	res := w.must(&authority.ReviveAgent{By: "p-mia", Agent: "coder"})
	if res.Decision.Verdict != remit.Hold || w.s.Agents["coder"].Status != remit.AgentRetired {
		t.Fatalf("%+v: it holds for an administrator", res.Decision)
	}
	w.vote(res.Decision.Access, "bob", touch("bob"), true)
	w.must(&authority.ReviveAgent{By: "p-mia", Agent: "coder", Access: res.Decision.Access})
	if a := w.s.Agents["coder"]; a.Status != remit.AgentActive || a.Function != remit.FuncCode {
		t.Fatalf("coder is %s", a.Status)
	}
	w.until(w.now.Add(61*day), day)
	w.later(authority.ReviveFor + 1)
	w.refuse(&authority.ReviveAgent{By: "p-mia", Agent: "coder"}, remit.Expired, "for good")
	w.refuse(&authority.ReviveAgent{By: "p-mia", Agent: "nobody"}, remit.NotFound, "no agent")
	w.replay()
}

func TestATaskKeepsItsAgentFromIdling(t *testing.T) {
	w := agreed(t, remit.Team, settings(func(r *remit.ReviewsDeclared) { r.SuspendAfter = int64(day) }))
	w.now = w.now.Add(day - time.Hour)
	w.task("coder", "p-mia")
	w.now = w.now.Add(2 * time.Hour)
	w.steps()
	if c, p := w.s.Agents["coder"].Status, w.s.Agents["pilot"].Status; c != remit.AgentActive || p != remit.AgentSuspended {
		t.Fatalf("coder, with a task, is %s; pilot %s", c, p)
	}
}

func TestEventsOpenItems(t *testing.T) {
	only := func(causes ...string) func(*authority.Set) {
		return settings(func(r *remit.ReviewsDeclared) { r.Micro = causes })
	}
	each(t, remit.Team, []row{
		{"nothing without settings", func(t *testing.T, w *world) {
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"})
			w.later(400 * day).steps()
			if len(w.open()) != 0 || w.s.Agents["coder"].Status != remit.AgentActive {
				t.Fatal("a set that declares nothing of reviews is reviewed")
			}
		}},
		{"the owner left, and the fallback group answers", func(t *testing.T, w *world) {
			w.apply(only(remit.CauseOwnerLeft))
			w.steps()
			if len(w.open()) != 0 {
				t.Fatal("nobody has left")
			}
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"})
			w.steps()
			x := w.about("coder", "source.push")
			if x.Cause != remit.CauseOwnerLeft || x.Run != "" || x.Deadline != w.now.Add(7*day).UnixNano() || len(w.open()) != 2 {
				t.Fatalf("%+v", x.ReviewOpened)
			}
			w.later(time.Second).must(w.answer("rio", touch("rio"), remit.Keep, x))
			w.later(time.Second).steps()
			if len(w.open()) != 1 {
				t.Fatal("what was answered is asked again")
			}
			w.until(w.now.Add(7*day), day)
			if w.has("coder", "probe.write") || !w.has("coder", "source.push") {
				t.Fatal("what nobody certified is there, or what somebody did is not")
			}
		}},
		{"unused for a month", func(t *testing.T, w *world) {
			w.apply(only(remit.CauseUnused))
			w.now = w.now.Add(29 * day)
			w.pushed()
			w.now = w.now.Add(day)
			w.steps()
			if x := w.about("coder", "probe.write"); x.Cause != remit.CauseUnused || len(w.open()) != 4 {
				t.Fatalf("%d items are open, not 4; %+v", len(w.open()), x)
			}
		}},
		{"granted by a wide pattern", func(t *testing.T, w *world) {
			w.apply(only(remit.CauseWide))
			w.steps()
			if len(w.open()) != 0 {
				t.Fatal("what was granted before reviews were declared is not new")
			}
			w.apply(func(s *authority.Set) {
				s.Agents[0].Entitlements = append(slices.Clone(s.Agents[0].Entitlements), remit.Scope{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/**"}})
			})
			w.steps()
			if x := w.about("coder", "source.read"); x.Cause != remit.CauseWide || len(w.open()) != 1 {
				t.Fatalf("%d items are open, not 1: %+v", len(w.open()), x)
			}
		}},
	})
}

func TestDeclarationsOfReviews(t *testing.T) {
	each(t, remit.Team, []row{{"refused", func(t *testing.T, w *world) {
		for _, bad := range []struct {
			change func(*authority.Set)
			words  string
		}{
			{quarterly(func(c *remit.CampaignDeclared) { c.Name = "Q 1" }), "campaigns[0].name"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Cadence = "* * * * *" }), `"*" is no minute, which is one number`},
			{quarterly(func(c *remit.CampaignDeclared) { c.Cadence = "0 9 30 2 *" }), "no such day"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Cadence = "@daily" }), "five fields"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Cadence = "TZ=UTC 0 9 1 * *" }), "five fields"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Cadence = "0 99 1 * *" }), "campaigns[0].cadence"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Agents = []string{"co*er"} }), "campaigns[0].agents[0]"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Functions = []remit.Function{"x"} }), "campaigns[0].functions[0]"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Owners = []remit.ID{"p-nobody"} }), "campaigns[0].owners[0]"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Reviewers = []string{"nobody"} }), "campaigns[0].reviewers[0]"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Fallback = "nobody" }), "campaigns[0].fallback"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Due = int64(time.Minute) }), "campaigns[0].due"},
			{quarterly(func(c *remit.CampaignDeclared) { c.Canaries = 21 }), "0 to 20 canaries"},
			{func(s *authority.Set) { quarterly()(s); quarterly()(s) }, "declared twice"},
			{settings(func(r *remit.ReviewsDeclared) { r.Fallback = "nobody" }), "reviews.fallback"},
			{settings(func(r *remit.ReviewsDeclared) { r.Due = 1 }), "reviews.due"},
			{settings(func(r *remit.ReviewsDeclared) { r.UnusedAfter = 1 }), "reviews.unused_after"},
			{settings(func(r *remit.ReviewsDeclared) { r.SuspendAfter = 1 }), "reviews.suspend_after"},
			{settings(func(r *remit.ReviewsDeclared) { r.RetireAfter = int64(day) }), "reviews.retire_after"},
			{settings(func(r *remit.ReviewsDeclared) { r.Micro = []string{"boredom"} }), "reviews.micro[0]"},
		} {
			set := clone(w.set)
			bad.change(&set)
			if _, err := w.do(&authority.ApplySet{By: "p-ada", Set: set}); err == nil || !strings.Contains(err.Error(), bad.words) {
				t.Errorf("%v; want %q", err, bad.words)
			}
		}
	}}, {"what reviews less widens", func(t *testing.T, w *world) {
		w.apply(quarterly())
		w.apply(settings(func(r *remit.ReviewsDeclared) { r.SuspendAfter = int64(14 * day) }))
		for _, less := range []struct {
			change func(*authority.Set)
			widens string
		}{
			{func(s *authority.Set) { s.Campaigns = nil }, "reviews nothing any more"},
			{func(s *authority.Set) { s.Campaigns[0].Cadence = "0 9 1 1 *" }, "at other times"},
			{func(s *authority.Set) { s.Reviews = nil }, "nothing is reviewed by itself"},
			{settings(func(r *remit.ReviewsDeclared) { r.SuspendAfter = 0 }), "less is reviewed"},
			{settings(func(r *remit.ReviewsDeclared) { r.SuspendAfter = int64(15 * day) }), "less is reviewed"},
			{settings(func(r *remit.ReviewsDeclared) { r.SuspendAfter = int64(13 * day) }), ""},
		} {
			set := clone(w.set)
			set.Campaigns = slices.Clone(set.Campaigns)
			less.change(&set)
			changes, err := authority.Diff(w.s, &set)
			if err != nil || len(changes) != 1 || !strings.Contains(changes[0].Widens, less.widens) || less.widens == "" && changes[0].Widens != "" {
				t.Errorf("%+v, %v; want %q", changes, err, less.widens)
			}
		}
	}}, {"a run is opened early by an administrator", func(t *testing.T, w *world) {
		w.apply(quarterly())
		w.refuse(&authority.OpenRun{By: "p-mia", Campaign: "quarterly"}, remit.Forbidden, "by an administrator")
		w.refuse(&authority.OpenRun{By: "p-ada", Campaign: "yearly"}, remit.NotFound, "no campaign")
		w.must(&authority.OpenRun{By: "p-ada", Campaign: "quarterly"})
		w.refuse(&authority.OpenRun{By: "p-ada", Campaign: "quarterly"}, remit.Conflict, "is open")
		w.steps()
		if len(w.open()) != 5 {
			t.Fatalf("%d items are open", len(w.open()))
		}
	}}, {"a campaign that is removed finishes what it began", func(t *testing.T, w *world) {
		*w = *reviewed(t)
		w.apply(func(s *authority.Set) { s.Campaigns = nil })
		w.until(april.Add(15*day), day)
		if w.has("pilot", "deploy.promote") || len(w.open()) != 0 {
			t.Fatal("what nobody certified is still there")
		}
	}}})
}
