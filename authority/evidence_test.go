package authority_test

import (
	"slices"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestEvidenceInsteadOfPeople(t *testing.T) {
	const topic, main = "refs/heads/topic", "refs/heads/main"
	reviewers := remit.Need{Group: "reviewers", N: 1}
	with := func(evidence string, production bool) func(*authority.Set) {
		return func(s *authority.Set) {
			s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: evidence, InProduction: production}}
		}
	}
	run := func(name, evidence string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			w.apply(with(evidence, false))
			f(t, w)
			w.replay()
		})
	}
	asked := func(w *world) remit.Request { return merge(w.task("merger", "p-mia"), topic, "1", "src/a") }
	review := func(w *world, agent string, by remit.ID, what string, change func(*remit.Request)) remit.EntryIndex {
		w.t.Helper()
		r := verdict(w.task(agent, by), topic, "1", what, "src/a")
		if change != nil {
			change(&r)
		}
		w.carryOut(w.allow(r).Permit.ID, remit.Done, "")
		return remit.EntryIndex(len(w.log) - 1)
	}
	passes := func(w *world, at ...remit.EntryIndex) {
		w.t.Helper()
		d := w.allow(asked(w))
		e := w.decision(d.Entry)
		if len(e.Stood) != 1 || e.Stood[0].Need.Group != "reviewers" || !slices.Equal(e.Stood[0].Entries, at) {
			w.t.Fatalf("what stood in for people is %+v; want entries %v", e.Stood, at)
		}
	}
	held := func(w *world, needs ...remit.Need) {
		w.t.Helper()
		w.hold(asked(w), remit.ImpactHeld, needs...)
	}

	run("a verdict of an agent whose people have no part in it", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		held(w)
		at := review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		passes(w, at)
		w.policy = func(authority.Facts) authority.Finding {
			return authority.Finding{Verdict: remit.Hold, Rules: []string{"x"}, Votes: []remit.Need{{Group: "release", N: 1}}}
		}
		held(w, remit.Need{Group: "release", N: 1})
		w.policy = func(authority.Facts) authority.Finding {
			return authority.Finding{Verdict: remit.Hold, Rules: []string{"x"}, Votes: []remit.Need{reviewers}}
		}
		held(w, reviewers) // who is asked for two reasons is asked
		phr := remit.StepUp{ACR: []string{"phr"}}
		w.policy = func(authority.Facts) authority.Finding {
			return authority.Finding{Verdict: remit.Hold, Rules: []string{"x"}, Votes: []remit.Need{{Group: "reviewers", N: 1, Evidence: remit.EvidenceVerdict, StepUp: phr}}}
		}
		held(w, remit.Need{Group: "reviewers", N: 1, StepUp: phr}) // and so is who is asked to be signed in otherwise
	})
	run("not where nothing is declared", "", func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		held(w, reviewers)
	})
	run("not of who is behind the change", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		r := asked(w)
		r.Refs[0].Signers = []remit.ID{"p-noa"}
		w.hold(r, remit.ImpactHeld)
		r = merge(w.task("merger", "p-noa"), topic, "1", "src/a")
		w.hold(r, remit.ImpactHeld)
	})
	run("nor of an agent whose owner is, whoever launched it", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-mia", remit.ReviewApprove, nil)
		w.hold(merge(w.task("merger", "p-noa"), topic, "1", "src/a"), remit.ImpactHeld)
	})
	run("not launched by who is behind the change", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-mia", remit.ReviewApprove, nil)
		held(w)
	})
	run("not of another change", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, func(r *remit.Request) { r.Refs[0].New = oid("2") })
		held(w)
	})
	run("not where one rejects", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		review(w, "critic2", "p-noa", remit.ReviewReject, nil)
		held(w)
	})
	run("not of an agent that has ended", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		w.must(&authority.ChangeAgent{By: "p-ada", Agent: "critic", To: remit.AgentSuspended})
		held(w)
	})
	run("as many owners as are asked for", "verdict:2", func(t *testing.T, w *world) {
		a := review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		held(w)
		b := review(w, "critic2", "p-noa", remit.ReviewApprove, nil)
		if w.s.Agents["critic2"].Owner == w.s.Agents["critic"].Owner {
			held(w)
			return
		}
		passes(w, a, b)
	})
	run("not of an agent whose owner by now wrote it", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		at := review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		w.apply(func(s *authority.Set) { s.Agents[2].Owner = "p-sam" })
		passes(w, at)
		r := asked(w)
		r.Refs[0].Signers = []remit.ID{"p-sam"}
		w.hold(r, remit.ImpactHeld)
	})
	run("nor where that one had it from another", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		task := w.made(delegate(w.task("critic", "p-noa"), wants("critic2", "review.submit", remit.Pattern(payments))))
		c := w.launch(task.ID, task.Agent, task.Requester)
		w.carryOut(w.allow(verdict(c, topic, "1", remit.ReviewApprove, "src/a")).Permit.ID, remit.Done, "")
		at := remit.EntryIndex(len(w.log) - 1)
		passes(w, at)
		r := asked(w)
		r.Refs[0].Signers = []remit.ID{w.s.Agents["critic2"].Owner}
		w.hold(r, remit.ImpactHeld)
		w.apply(func(s *authority.Set) { s.Agents[5].Owner = "p-rio" })
		passes(w, at)
		for _, behind := range []remit.ID{"p-sam", "p-rio"} { // who owned it when it said so, and who owns it by now
			r = asked(w)
			r.Refs[0].Signers = []remit.ID{behind}
			w.hold(r, remit.ImpactHeld)
		}
	})
	run("two agents of one owner are one", "verdict:2", func(t *testing.T, w *world) {
		w.apply(func(s *authority.Set) { s.Agents[5].Owner = "p-noa" })
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		review(w, "critic2", "p-noa", remit.ReviewApprove, nil)
		held(w)
	})
	run("what exactly that commit was built into, of a repository that declares it", remit.EvidenceBuilt, func(t *testing.T, w *world) {
		a := w.published("v1", "1")
		passes(w, w.s.Artifacts[a.String()].Entry)
		w.hold(merge(w.task("merger", "p-mia"), topic, "2", "src/a"), remit.ImpactHeld)
		w.apply(func(s *authority.Set) { s.Repositories[0].Artifacts = nil })
		held(w)
	})
	run("only of a merge", remit.EvidenceBuilt, func(t *testing.T, w *world) {
		w.published("v1", "1")
		c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.Envelope.Paths = []remit.Pattern{"src/**"} })
		w.hold(push(c, branch(c, "x"), "1", "doc/x"), remit.OutOfEnvelope)
	})
	run("not for what runs by itself", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, func(r *remit.Request) { r.Refs[0].Paths = paths(workflow) })
		r := asked(w)
		r.Refs[0].Paths = paths(workflow)
		w.hold(r, remit.PathProtected)
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		r = asked(w)
		r.Refs[0].Pinned = paths(workflow)
		w.hold(r, remit.ImpactHeld)
	})
	run("all kinds that are named", "verdict+built", func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		held(w)
	})
	run("only of what it is about", "merged", func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		held(w)
	})
	run("it does not agree to a plan", remit.EvidenceVerdict, func(t *testing.T, w *world) {
		review(w, "critic", "p-noa", remit.ReviewApprove, nil)
		c := w.task("merger", "p-mia")
		w.hold(filing(c, remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(payments), Refs: []remit.Pattern{topic}}), remit.ImpactHeld)
	})
	t.Run("in production only where that is said", func(t *testing.T) {
		for _, production := range []bool{false, true} {
			w := supplied(t)
			w.apply(with(remit.EvidenceVerdict, production))
			w.apply(func(s *authority.Set) {
				s.Environments[0].Approvers = []remit.Need{{Group: "release", N: 2}}
			})
			r := verdict(w.task("critic", "p-noa"), main, "1", remit.ReviewApprove, "src/a")
			w.carryOut(w.allow(r).Permit.ID, remit.Done, "")
			r = merge(w.task("merger", "p-mia"), main, "1", "src/a")
			id := w.hold(r, remit.ImpactHeld)
			if got := slices.ContainsFunc(w.s.Accesses[id].Needs, func(n remit.Need) bool { return n.Group == "reviewers" }); got == production {
				t.Errorf("in production %v: it asks for %v", production, w.s.Accesses[id].Needs)
			}
			w.replay()
		}
	})
}

// TestEvidenceForADeployment: what a need asks for is found of each artifact, whatever the environment itself requires.
func TestEvidenceForADeployment(t *testing.T) {
	t.Run("all that it names", func(t *testing.T) {
		w := supplied(t)
		a := w.published("v1", "1")
		at := w.s.Artifacts[a.String()].Entry
		w.apply(func(s *authority.Set) {
			s.Environments[1].Approvers = []remit.Need{{Group: "release", N: 1, Evidence: remit.EvidenceMerged, InProduction: true}, {Group: "reviewers", N: 1}}
		})
		asked := func() remit.Request { return w.deployment(w.task("pilot", "p-mia"), staging, a) }
		if got := w.s.Accesses[w.hold(asked(), remit.ImpactHeld)].Needs; len(got) != 2 {
			t.Fatalf("before it is merged it needs %v", got)
		}
		w.merged("1")
		d := w.ask(asked())
		if got := w.s.Accesses[d.Access].Needs; d.Verdict != remit.Hold || len(got) != 1 || got[0].Group != "reviewers" {
			t.Fatalf("once it is merged it needs %v", got)
		}
		e := w.decision(d.Entry)
		if len(e.Stood) != 1 || !slices.Equal(e.Stood[0].Entries, []remit.EntryIndex{at}) {
			t.Fatalf("what stood in for people is %+v; want entry %d", e.Stood, at)
		}
		w.replay()
	})
	t.Run("what is deployed has an approval, and so has what no instance asks for", func(t *testing.T) {
		w := related(t)
		a := w.published("v1", "one")
		w.apply(func(s *authority.Set) {
			s.Environments[0].Approvers = []remit.Need{{Group: "release", N: 2, Evidence: remit.EvidenceBuilt, InProduction: true}}
		})
		w.hold(w.deployment(w.task("pilot", "p-mia"), production, a), remit.ImpactHeld)
		ship := w.launch(w.made(request(w.task("planner", "p-mia"), wants("shipper", "artifact.read", remit.Pattern(image)))).ID, "shipper", "p-tom")
		k := w.made(request(ship, deploying(production, a)))
		w.hold(deploy(caller{Task: k.ID, Agent: k.Agent, Executor: "executor/production"}, k.Deploy), remit.ImpactHeld)
		w.replay()
	})
}

// TestWhatIsDeployedHasAnApproval: whatever else lets steps pass, a deployment is carried out by its executor, as people agreed.
func TestWhatIsDeployedHasAnApproval(t *testing.T) {
	for name, pass := range map[string]func(*world, caller, remit.Request){
		"by a plan": func(w *world, c caller, r remit.Request) {
			w.adopt(filing(c, remit.PlanStep{Action: "deploy.promote", Resource: remit.Pattern(staging), Args: r.Steps[0].Args}), "rio")
		},
		"under break-glass": func(w *world, c caller, _ remit.Request) {
			w.apply(fire)
			w.apply(func(s *authority.Set) {
				s.BreakGlass = slices.Clone(s.BreakGlass)
				s.BreakGlass[0].Scope = []remit.Scope{{Actions: []remit.Action{"deploy.promote"}, Resources: []remit.Pattern{"environment:payments/*"}}}
			})
			w.must(w.opening("sam", touch("sam"), c.Task, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			a := w.published("v1", "1")
			c := w.task("pilot", "p-mia")
			r := w.deployment(c, staging, a)
			pass(w, c, r)
			if d := w.ask(r); d.Verdict != remit.Hold {
				t.Errorf("%s %s: %s", d.Verdict, d.Code, d.Sentence)
			}
			w.replay()
		})
	}
}

func TestEvidenceThatIsDeclared(t *testing.T) {
	for _, row := range []struct {
		need remit.Need
		ok   bool
	}{
		{remit.Need{Group: "reviewers", N: 1, Evidence: "verdict"}, true},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "verdict:8+built", InProduction: true}, true},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "deployed:payments/staging+merged"}, true},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "verdict:9"}, false},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "verdict:0"}, false},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "verdict:02"}, false},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "verdict+"}, false},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "deployed:"}, false},
		{remit.Need{Group: "reviewers", N: 1, Evidence: "green"}, false},
		{remit.Need{Group: "reviewers", N: 1, InProduction: true}, false},
	} {
		w := supplied(t)
		s := clone(w.set)
		s.Repositories[0].Approvers = []remit.Need{row.need}
		changes, err := authority.Diff(w.s, &s)
		if (err == nil) != row.ok {
			t.Errorf("%+v: %v", row.need, err)
		}
		if err == nil && (len(changes) != 1 || changes[0].Widens == "") {
			t.Errorf("%+v does not widen: %+v", row.need, changes)
		}
	}
	w := supplied(t)
	w.apply(func(s *authority.Set) {
		s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: "verdict", InProduction: true}}
	})
	for _, narrower := range []remit.Need{{Group: "reviewers", N: 1}, {Group: "reviewers", N: 1, Evidence: "verdict"}, {Group: "reviewers", N: 2, Evidence: "verdict", InProduction: true}} {
		s := clone(w.set)
		s.Repositories[0].Approvers = []remit.Need{narrower}
		if changes, err := authority.Diff(w.s, &s); err != nil || len(changes) != 1 || changes[0].Widens != "" {
			t.Errorf("%+v: %+v %v", narrower, changes, err)
		}
	}
	w.apply(func(s *authority.Set) {
		s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: "verdict"}}
	})
	s := clone(w.set)
	s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: "verdict", InProduction: true}}
	if changes, err := authority.Diff(w.s, &s); err != nil || len(changes) != 1 || changes[0].Widens == "" {
		t.Errorf("in production as well: %+v %v", changes, err)
	}
}
