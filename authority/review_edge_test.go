package authority_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestWhatSomebodyAgreedToIsNotGivenAlone(t *testing.T) {
	w := reviewed(t) // ada granted, and bob agreed
	x := w.about("merger", "source.merge")
	if x.Evidence.By != "p-ada" || x.Evidence.Alone {
		t.Fatalf("%+v", x.Evidence)
	}
	w.must(w.answer("ada", touch("ada"), remit.Keep, x))
}

func TestSignsOfLife(t *testing.T) {
	idle := settings(func(r *remit.ReviewsDeclared) { r.SuspendAfter = int64(day) })
	each(t, remit.Team, []row{
		{"a task that has not ended", func(t *testing.T, w *world) {
			w.apply(idle)
			w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(day) })
			w.later(day).steps() // nobody has written its end down
			if got := w.s.Agents["coder"].Status; got != remit.AgentActive {
				t.Fatalf("coder is %s", got)
			}
			w.tick()
			w.steps()
			if got := w.s.Agents["coder"].Status; got != remit.AgentSuspended {
				t.Fatalf("coder is %s", got)
			}
		}},
		{"a decision", func(t *testing.T, w *world) {
			w.apply(idle)
			c := w.task("coder", "p-mia")
			w.later(5 * time.Hour).allow(step(c, "source.read", docs))
			w.must(&authority.EndTask{By: "p-mia", Task: c.Task, Status: remit.TaskCancelled})
			w.later(20 * time.Hour).steps()
			if got := w.s.Agents["coder"].Status; got != remit.AgentActive {
				t.Fatalf("coder is %s", got)
			}
		}},
		{"that somebody resumed it", func(t *testing.T, w *world) {
			w.apply(idle)
			w.later(2 * day).steps()
			w.must(&authority.ReviveAgent{By: "p-mia", Agent: "coder"})
			w.later(time.Hour).steps()
			if got := w.s.Agents["coder"].Status; got != remit.AgentActive {
				t.Fatalf("coder is %s", got)
			}
		}},
		{"that nobody asked for reviews", func(t *testing.T, w *world) {
			w.later(100 * day).apply(idle)
			w.later(time.Hour).steps()
			if got := w.s.Agents["coder"].Status; got != remit.AgentActive {
				t.Fatalf("coder is %s", got)
			}
		}},
		{"a person who kills what suspended itself", func(t *testing.T, w *world) {
			w.apply(idle)
			w.later(2 * day).steps()
			w.must(&authority.Kill{By: "p-ada", What: "agent", ID: "coder"})
			w.refuse(&authority.ReviveAgent{By: "p-mia", Agent: "coder"}, remit.Conflict, "not because nobody used it")
		}},
		{"a declared end is not idleness", func(t *testing.T, w *world) {
			w.apply(idle)
			w.later(2 * day).steps()
			w.apply(func(s *authority.Set) { s.Agents = s.Agents[1:] })
			w.refuse(&authority.ReviveAgent{By: "p-mia", Agent: "coder"}, remit.Conflict, "not because nobody used it")
		}},
	})
}

func TestACanaryIsNothingThatTheAgentHas(t *testing.T) {
	narrow := remit.Scope{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{remit.Pattern(payments)}}
	w := agreed(t, remit.Team, quarterly(func(c *remit.CampaignDeclared) { c.Canaries = 20; c.Agents = []string{"cod*"} }), func(s *authority.Set) {
		s.Agents = append(slices.Clone(s.Agents), remit.AgentDeclared{Name: "typist", Function: remit.FuncCode, Owner: "p-noa", Entitlements: []remit.Scope{narrow}})
	})
	w.now = april
	w.steps()
	fakes := 0
	for _, x := range w.open() {
		if x.Agent != "coder" {
			t.Fatalf("item %s is about %s, which is not in the scope", x.ID, x.Agent)
		}
		if !x.Canary {
			continue
		}
		fakes++
		if authority.HoldingKey(x.Scope, "") == authority.HoldingKey(narrow, "") {
			t.Fatalf("canary %s is about what agent coder has by a pattern", x.ID)
		}
	}
	if fakes == 0 {
		t.Fatal("no canary was found for it")
	}
}

func TestWhatIsNewIsKeptAndAskedAboutOnce(t *testing.T) {
	w := agreed(t, remit.Team, settings(func(r *remit.ReviewsDeclared) { r.Micro = []string{remit.CauseWide} }))
	w.steps()
	for _, x := range w.open() { // what agreed grants is new, and wide
		if x.Advice != remit.Keep {
			t.Fatalf("what was granted a moment ago is recommended to be %s", x.Advice)
		}
		if may, _, _ := w.s.ReviewersOf(x.ID, w.now.UnixNano()); len(may) == 0 {
			t.Fatalf("nobody may answer %s", x.ID)
		}
	}
	x := w.about("merger", "source.merge")
	w.must(w.answer("ada", touch("ada"), remit.Keep, x))
	w.later(time.Hour).steps()
	for _, y := range w.open() {
		if y.Agent == "merger" {
			t.Fatal("it is asked again after it was kept")
		}
	}
}

func TestTheFiguresOfARunAreItsOwn(t *testing.T) {
	w := reviewed(t)
	w.until(april.Add(14*day-time.Hour), day)
	x := w.open()[0]
	for _, y := range w.open() {
		w.must(w.answer("ada", touch("ada"), remit.Remove, y))
	}
	if err := authority.Apply(w.s, w.now.UnixNano(), &remit.CampaignClosed{ID: x.Run, Counts: remit.RunCount{Items: 5, Kept: 5}}); err == nil {
		t.Fatal("a run may say of itself what is not so")
	}
}

func TestWhatHasAnItemOfItsOwnIsDecidedByThat(t *testing.T) {
	narrow := remit.Scope{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{remit.Pattern(payments)}}
	w := reviewed(t, func(s *authority.Set) {
		s.Agents[0].Entitlements = append(slices.Clone(s.Agents[0].Entitlements), narrow)
	})
	var own, above *authority.Item
	for _, x := range w.open() {
		switch {
		case x.Agent == "coder" && x.Key == authority.HoldingKey(narrow, ""):
			own = x
		case x.Agent == "coder" && slices.Contains(x.Scope.Actions, "source.push"):
			above = x
		}
	}
	w.must(w.answer("mia", soft("mia"), remit.Keep, own))
	w.must(w.answer("mia", soft("mia"), remit.Remove, above))
	if got := w.s.Agents["coder"].Entitlements; !slices.ContainsFunc(got, func(sc remit.Scope) bool { return authority.HoldingKey(sc, "") == own.Key }) {
		t.Fatalf("what was kept went with what it lies within: %v", got)
	}
}

func TestAUseLiesWithinTheRefs(t *testing.T) {
	other := remit.Scope{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{remit.Pattern(payments)}, Refs: []remit.Pattern{"refs/heads/topic/**"}}
	w := agreed(t, remit.Team, quarterly(), func(s *authority.Set) {
		s.Agents[0].Entitlements = append(slices.Clone(s.Agents[0].Entitlements), other)
	})
	w.pushed()
	for key, h := range w.s.Agents["coder"].Holds {
		if want := 0; key == authority.HoldingKey(other, "") && h.Uses != want {
			t.Fatalf("a push to another ref counts %d times for %v", h.Uses, h.Scope)
		}
	}
}

func TestASetThatNamesWhatAReviewTookAway(t *testing.T) {
	w := reviewed(t)
	x := w.about("coder", "source.push")
	w.must(w.answer("mia", soft("mia"), remit.Remove, x))
	changes, err := authority.Diff(w.s, &w.set)
	if err != nil || len(changes) != 1 || !strings.Contains(changes[0].Widens, "gets back what review item "+string(x.ID)) {
		t.Fatalf("%+v, %v", changes, err)
	}
	if d := w.must(&authority.ApplySet{By: "p-ada", Set: w.set}).Decision; d.Verdict != remit.Hold {
		t.Fatalf("it is %s, and holds for a second administrator", d.Verdict)
	}
}

func TestOnePersonReviewsThemselvesInSoloOutsideProduction(t *testing.T) {
	w := newWorld(t, remit.Solo)
	w.apply(quarterly())
	w.now = april
	w.steps()
	x := w.about("merger", "source.merge")
	if !x.Evidence.Alone || x.Evidence.By != "p-ada" {
		t.Fatalf("%+v", x.Evidence)
	}
	w.must(w.answer("ada", touch("ada"), remit.Keep, x))
	for _, e := range w.log {
		if a, ok := e.event.(*remit.ReviewAnswered); ok && a.Assurance != remit.AssuranceSelf {
			t.Fatalf("it is recorded as %s", a.Assurance)
		}
	}
	w.refuse(w.answer("ada", touch("ada"), remit.Keep, w.about("pilot", "deploy.promote")), remit.NotEligible, "put it there alone")
}

func TestWhoHasRetiredIsAskedAboutByNobody(t *testing.T) {
	w := agreed(t, remit.Team, quarterly())
	w.must(&authority.ChangeAgent{By: "p-noa", Agent: "critic", To: remit.AgentRetired})
	w.now = april
	w.steps()
	for _, e := range w.log {
		if o, ok := e.event.(*remit.CampaignOpened); ok && o.Agents != 3 {
			t.Fatalf("the run is about %d agents, not 3", o.Agents)
		}
	}
	for _, x := range w.open() {
		if x.Agent == "critic" {
			t.Fatalf("item %s is about an agent that has retired", x.ID)
		}
	}
}
