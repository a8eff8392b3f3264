package authority_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestDefaultDeny(t *testing.T) {
	each(t, remit.Team, []row{
		{"a push to the task's own branch is allowed", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			d := w.allow(push(c, branch(c, "work"), "1", "src/a.go"))
			if w.s.Permits[d.Permit.ID].Steps[0].Action != "source.push" || w.s.Agents["coder"].LastUse == 0 {
				t.Fatal("the permit names its steps and the agent was used")
			}
		}},
		{"an action that the catalogue lacks is denied and not recorded", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			d := w.deny(step(c, "source.frobnicate", payments), remit.UnknownAction, `no action "source.frobnicate"`)
			if e := w.log[d.Entry].event.(*remit.Decided); len(e.Steps) != 0 {
				t.Fatalf("the leaf carries what somebody made up: %v", e.Steps)
			}
		}},
		{"a resource of another type is denied", func(t *testing.T, w *world) {
			w.deny(step(w.task("coder", "p-mia"), "source.read", "pipeline:payments/ci"), remit.UnknownResource, "type repo")
		}},
		{"a malformed resource is denied", func(t *testing.T, w *world) {
			w.deny(step(w.task("coder", "p-mia"), "source.read", "repo:a//b"), remit.UnknownResource, "type repo")
		}},
		{"an undeclared repository is denied", func(t *testing.T, w *world) {
			w.deny(step(w.task("coder", "p-mia"), "source.read", "repo:forge/acme/nothing"), remit.UnknownResource, "no repository")
		}},
		{"an undeclared environment is denied", func(t *testing.T, w *world) {
			w.deny(step(w.task("pilot", "p-mia"), "deploy.read", "environment:payments/nothing"), remit.UnknownResource, "no environment")
		}},
		{"a request without steps is denied", func(t *testing.T, w *world) {
			w.deny(remit.Request{Gateway: "git", Caller: w.task("coder", "p-mia")}, remit.UnknownAction, "no step")
		}},
		{"an instance that does not run is unknown, and its claimed task pays nothing", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			for _, lie := range []caller{{Instance: "I-9", Agent: "coder", Task: c.Task}, {Instance: c.Instance, Agent: "pilot", Task: c.Task},
				{Instance: c.Instance, Agent: "coder", Task: "T-0"}, {Instance: c.Instance, Agent: "coder", Task: c.Task, Executor: "executor/source"}, {}} {
				d := w.deny(push(lie, branch(c, "x"), "1"), remit.UnknownPrincipal, "no running instance")
				if e := w.log[d.Entry].event.(*remit.Decided); e.Task != "" || e.Agent != "" || e.Instance != "" || e.Executor != "" {
					t.Fatalf("the leaf names whom the caller only claims to be: %+v", e)
				}
			}
			if w.s.Tasks[c.Task].Used.Decisions != 0 {
				t.Fatal("a stranger used up the task's budget")
			}
		}},
		{"an ended instance is unknown", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			w.must(&authority.EndInstance{Instance: c.Instance, Lost: true})
			w.refuse(&authority.EndInstance{Instance: c.Instance}, remit.NotFound, "no instance")
			w.deny(push(c, branch(c, "x"), "1"), remit.UnknownPrincipal, "no running instance")
		}},
		{"no policy in force denies", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			s := w.s.Policy
			w.s.Policy = remit.Digest{}
			w.quick = true
			w.deny(push(c, branch(c, "x"), "1"), remit.NoPolicy, "no policy")
			w.s.Policy = s
		}},
		{"a policy's deny, hold and nonsense are taken as they are", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "1")
			say := func(f authority.Finding) { w.policy = func(authority.Facts) authority.Finding { return f } }
			say(authority.Finding{Verdict: remit.Deny, Code: remit.PolicyTimeout, Rules: []string{"a", "b"}, Sentence: "too slow", Limit: true})
			if d := w.deny(r, remit.PolicyTimeout, "too slow"); fmt.Sprint(d.Rules) != "[a b]" {
				t.Fatalf("rules %v", d.Rules)
			}
			say(authority.Finding{Verdict: remit.Deny, Sentence: "no"})
			if d := w.deny(r, remit.PolicyDenied, "no"); d.Rules[0] != "policy" {
				t.Fatalf("rules %v", d.Rules)
			}
			say(authority.Finding{Verdict: 7})
			w.deny(r, remit.PolicyResult, "does not exist")
			say(authority.Finding{Verdict: remit.Hold, Sentence: "ask", Votes: []remit.Need{{Group: "release", N: 0}}})
			w.hold(r, remit.PolicyHeld, remit.Need{Group: remit.Administrators, N: 1})
			say(authority.Finding{Verdict: remit.Hold, Code: "MADE_UP", Votes: []remit.Need{{Group: "release", N: 1}, {Group: "reviewers", N: 1}}})
			w.hold(push(c, branch(c, "y"), "1"), remit.PolicyHeld, remit.Need{Group: "release", N: 1}, remit.Need{Group: "reviewers", N: 1})
		}},
		{"a finding on other facts or another policy is stale", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "1")
			f := authority.FactsOf(w.s, r, w.now.UnixNano())
			if f.Agent.Function != remit.FuncCode || f.Task.Requester != "p-mia" || f.Instance.Confinement != remit.ConfineUID || len(f.Steps) != 3 {
				t.Fatalf("facts %+v", f)
			}
			other := authority.FactsOf(w.s, r, w.now.UnixNano())
			other.Steps[2].Effect = !other.Steps[2].Effect
			allow := authority.Finding{Verdict: remit.Allow}
			for _, j := range []*authority.Judged{authority.NewJudged(f, secret, allow), authority.NewJudged(other, w.s.Policy, allow)} {
				_, _, err := authority.Decide(w.s, w.now, &authority.Authorize{Request: r, Judged: j})
				if _, ok := err.(*authority.Stale); !ok {
					t.Fatalf("%v, want Stale", err)
				}
			}
			j := authority.NewJudged(f, w.s.Policy, allow)
			if _, res, err := authority.Decide(w.s, w.now, &authority.Authorize{Request: r, Judged: j}); err != nil || res.Decision.Verdict != remit.Allow {
				t.Fatal(res, err)
			}
		}},
		{"a preview denies by scope and leaves no entry otherwise", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "1", ".github/workflows/ci.yml")
			r.Preview = true
			n := len(w.log)
			w.allow(r)
			if len(w.log) != n {
				t.Fatal("a preview made an entry")
			}
			r.Refs[0].Ref = "refs/heads/main"
			d := w.deny(r, remit.RefOutOfScope, "for instance remit/"+string(c.Task)+"/work")
			if len(w.log) != n+1 || d.Entry != remit.EntryIndex(n) {
				t.Fatal("a denied preview is a denial like any other")
			}
			id := w.hold(push(c, branch(c, "x"), "1", ".github/workflows/ci.yml"), remit.PathProtected)
			w.vote(id, "rio", touch("rio"), true)
			r = w.claim(id, push(c, branch(c, "x"), "1", ".github/workflows/ci.yml"))
			r.Preview = true
			w.deny(r, remit.BadRequest, "no preview")
		}},
	})
}

func TestShape(t *testing.T) {
	sk := strings.Repeat("s", 300)
	rows := []struct {
		name   string
		change func(*remit.Request, *world)
		code   remit.Code
		words  string
	}{
		{"a push names refs", func(r *remit.Request, _ *world) { r.Refs = nil }, remit.BadRequest, "names the refs"},
		{"a merge names refs", func(r *remit.Request, _ *world) { r.Refs, r.Steps[0].Action = nil, "source.merge" }, remit.BadRequest, "names the refs"},
		{"a review names refs", func(r *remit.Request, _ *world) { r.Refs, r.Steps[0].Action = nil, "review.submit" }, remit.BadRequest, "names the refs"},
		{"refs belong to a push", func(r *remit.Request, _ *world) { r.Steps[0].Action = "source.read" }, remit.BadRequest, "one repository"},
		{"refs are of one repository", func(r *remit.Request, _ *world) {
			r.Steps = append(r.Steps, remit.Step{Action: "source.push", Resource: docs})
		}, remit.BadRequest, "one repository"},
		{"51 refs are too many", func(r *remit.Request, _ *world) {
			for i := range 50 {
				c := r.Refs[0]
				c.Ref = fmt.Sprint(c.Ref, i)
				r.Refs = append(r.Refs, c)
			}
		}, remit.TooLargeToJudge, "at most 50 refs"},
		{"51 steps are too many", func(r *remit.Request, _ *world) {
			for range 50 {
				r.Steps = append(r.Steps, r.Steps[0])
			}
		}, remit.TooLargeToJudge, "at most 50 steps"},
		{"a ref stands once", func(r *remit.Request, _ *world) { r.Refs = append(r.Refs, r.Refs[0]) }, remit.BadRef, "named once"},
		{"a ref is named in full", func(r *remit.Request, _ *world) { r.Refs[0].Ref = "main" }, remit.BadRef, "in full"},
		{"a ref has no control characters", func(r *remit.Request, _ *world) { r.Refs[0].Ref += "\n" }, remit.BadRef, "in full"},
		{"a ref is not long", func(r *remit.Request, _ *world) { r.Refs[0].Ref += sk + sk }, remit.BadRef, "in full"},
		{"old is an object id", func(r *remit.Request, _ *world) { r.Refs[0].Old = "HEAD" }, remit.BadRequest, "object id"},
		{"new is an object id", func(r *remit.Request, _ *world) { r.Refs[0].New = oid("x")[1:] + "g" }, remit.BadRequest, "object id"},
		{"tree is an object id", func(r *remit.Request, _ *world) { r.Refs[0].Tree = oid("x")[1:] }, remit.BadRequest, "object id"},
		{"the operation is one of four", func(r *remit.Request, _ *world) { r.Refs[0].Op = "rename" }, remit.BadRequest, "created, updated"},
		{"commits are counted from 0", func(r *remit.Request, _ *world) { r.Refs[0].Commits = -1 }, remit.BadRequest, "counted from 0"},
		{"outside commits are counted from 0", func(r *remit.Request, _ *world) { r.Refs[0].Outside = -1 }, remit.BadRequest, "counted from 0"},
		{"bytes are counted from 0", func(r *remit.Request, _ *world) { r.Bytes = -1 }, remit.BadRequest, "counts bytes"},
		{"the gateway has a name", func(r *remit.Request, _ *world) { r.Gateway = "" }, remit.BadRequest, "names itself"},
		{"the gateway's name is short", func(r *remit.Request, _ *world) { r.Gateway = sk }, remit.BadRequest, "names itself"},
		{"10,001 commits are too many", func(r *remit.Request, _ *world) { r.Refs[0].Commits = 10_001 }, remit.TooLargeToJudge, "10000 new commits"},
		{"10,001 commits are too many in two refs", func(r *remit.Request, _ *world) {
			c := r.Refs[0]
			c.Ref += "2"
			r.Refs = append(r.Refs, c)
			r.Refs[0].Commits, r.Refs[1].Commits = 10_000, 1
		}, remit.TooLargeToJudge, "10000 new commits"},
		{"the order is bounded", func(r *remit.Request, _ *world) { r.Order = make([]byte, 32<<10+1) }, remit.TooLargeToJudge, "work order"},
		{"pushers are pushes", func(r *remit.Request, _ *world) { r.Refs[0].Pushers = []remit.EntryIndex{1} }, remit.BadRequest, "no push"},
		{"signers are people", func(r *remit.Request, _ *world) { r.Refs[0].Signers = []remit.ID{"p-eve"} }, remit.BadRequest, "declared person"},
		{"65 pushers are too many", func(r *remit.Request, w *world) {
			c := r.Caller
			for i := range 65 {
				d := w.allow(push(c, branch(c, fmt.Sprint("p", i)), "1"))
				r.Refs[0].Pushers = append(r.Refs[0].Pushers, d.Entry)
			}
		}, remit.TooLargeToJudge, "from 65 pushes"},
		{"one request is in one zone", func(r *remit.Request, _ *world) {
			r.Steps = append(r.Steps, remit.Step{Action: "build.read", Resource: "pipeline:payments/ci"})
		}, remit.CrossesBoundary, "zones S and B"},
		{"a finding of the gateway denies", func(r *remit.Request, _ *world) {
			r.Refs[0].Findings = []remit.Finding{{Code: remit.UnseenObject, Sentence: "unseen blob"}}
		}, remit.UnseenObject, "unseen blob"},
		{"a finding that nobody knows denies", func(r *remit.Request, _ *world) {
			r.Refs[0].Findings = []remit.Finding{{Code: "ODD", Sentence: "odd"}}
		}, remit.BadObject, "odd"},
		{"what an entry cannot hold is denied", func(r *remit.Request, _ *world) {
			base := r.Refs[0]
			r.Refs = nil
			for i := range 50 {
				c := base
				c.Ref = fmt.Sprintf("%s/%s%d", c.Ref, sk, i)
				r.Refs = append(r.Refs, c)
			}
		}, remit.TooLargeToJudge, "bytes and an entry"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			c := w.task("coder", "p-mia")
			req := push(c, branch(c, "x"), "1", "a")
			r.change(&req, w)
			w.deny(req, r.code, r.words)
			w.replay()
		})
	}
	t.Run("50 refs, 10,000 commits and 64 pushers can be judged", func(t *testing.T) {
		w := newWorld(t, remit.Team)
		c := w.task("coder", "p-mia")
		req := push(c, branch(c, "x"), "1")
		for i := range 64 {
			req.Refs[0].Pushers = append(req.Refs[0].Pushers, w.allow(push(c, branch(c, fmt.Sprint("p", i)), "1")).Entry)
		}
		req.Refs[0].Commits = 10_000
		w.allow(req)
		w.apply(func(s *authority.Set) { s.Repositories[0].Effects = nil })
		req = push(c, branch(c, "x"), "1")
		for i := range 49 {
			more := req.Refs[0]
			more.Ref = fmt.Sprint(more.Ref, i)
			req.Refs = append(req.Refs, more)
		}
		w.allow(req)
	})
}

func TestScope(t *testing.T) {
	each(t, remit.Team, []row{
		{"another ref is out of scope, and the lesson names one that is in", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			w.deny(push(c, "refs/heads/main", "1"), remit.RefOutOfScope, "push to refs/heads/remit/"+string(c.Task)+"/**")
		}},
		{"the branch of another task is out of scope", func(t *testing.T, w *world) {
			a, b := w.task("coder", "p-mia"), w.task("coder", "p-mia")
			w.deny(push(a, branch(b, "x"), "1"), remit.RefOutOfScope, "may not push")
		}},
		{"an action that was not granted is out of scope", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) {
				c.Scope = []remit.Scope{{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/acme/payments"}}}
			})
			w.allow(step(c, "source.read", payments))
			w.deny(step(c, "source.read", docs), remit.OutOfScope, "its requester can ask")
			w.deny(push(c, branch(c, "x"), "1"), remit.OutOfScope, "source.push on "+string(payments))
		}},
		{"paths, bytes and commits are limits of one push", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) {
				c.Scope = []remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/acme/payments"},
					Paths: []remit.Pattern{"src/**"}, MaxBytes: 100, MaxCommits: 2}}
			})
			r := push(c, branch(c, "x"), "1", "src/a", "src/b/c")
			r.Refs[0].Commits = 2
			w.allow(r)
			r.Refs[0].Commits = 3
			w.deny(r, remit.OverLimit, "push it in parts")
			r = push(c, branch(c, "x"), "1", "src/a")
			r.Bytes = 101
			w.deny(r, remit.OverLimit, "push it in parts")
			w.deny(push(c, branch(c, "x"), "1", "src/a", "SRC/b"), remit.PathOutOfScope, "may not change SRC/b")
		}},
		{"the envelope holds and the reviewers decide", func(t *testing.T, w *world) {
			for i, env := range []remit.Envelope{{Refs: []remit.Pattern{"refs/heads/remit/{task}/fix"}}, {Paths: []remit.Pattern{"src/**"}}, {MaxBytes: 99}, {MaxCommits: 1}} {
				c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.Envelope = env })
				r := push(c, branch(c, "x"), "1", "docs/a")
				if i == 3 {
					w.allow(r)
					r.Refs[0].Commits = 2
				}
				w.hold(r, remit.OutOfEnvelope, remit.Need{Group: "reviewers", N: 1})
				r = push(c, branch(c, "fix"), "2", "src/a")
				r.Bytes = 99
				w.allow(r)
			}
		}},
		{"decisions and bytes are budgets of the whole task", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.Budget = remit.Budget{Decisions: 3, Bytes: 150} })
			w.allow(push(c, branch(c, "x"), "1"))
			w.deny(push(c, branch(c, "x"), "2"), remit.OverBudget, "100 of its 150 bytes")
			r := push(c, branch(c, "x"), "3")
			r.Bytes = 50
			w.allow(r)
			w.deny(step(c, "source.read", payments), remit.OverBudget, "its 3 decisions")
		}},
		{"a privileged step holds for an administrator", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			w.allow(step(c, "probe.write", "probe:canary"))
			w.hold(step(c, "probe.privileged", "probe:canary"), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
		}},
		{"what runs by itself holds, at any depth and in any case", func(t *testing.T, w *world) {
			for i, p := range []string{".github/workflows/ci.yml", "a/b/CLAUDE.md", "a/claude.MD", ".GitHub/Workflows/x.yml", "deploy/prod.yaml", ".gitmodules"} {
				c := w.task("coder", "p-mia")
				w.hold(push(c, branch(c, "x"), fmt.Sprint(i), p), remit.PathProtected, remit.Need{Group: "reviewers", N: 1})
			}
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "1", "x")
			r.Refs[0].Paths[0].Fold = ".github/workflows/x"
			if d := w.ask(r); d.Verdict != remit.Hold || !strings.Contains(d.Sentence, "changes x,") {
				t.Fatal(d)
			}
		}},
	})
}

func TestBoundary(t *testing.T) {
	each(t, remit.Team, []row{
		{"a read in another zone is allowed where it is entitled", func(t *testing.T, w *world) {
			w.allow(step(w.task("coder", "p-mia"), "build.read", "pipeline:payments/ci"))
		}},
		{"a boundary that comes later seals what was granted", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			w.apply(func(s *authority.Set) {
				s.Boundaries = []remit.BoundaryDeclared{{Name: "pci", Seal: []remit.Pattern{"repo:forge/acme/payments"}, Functions: []remit.Function{remit.FuncPlan}}}
			})
			w.allow(push(c, branch(c, "x"), "1"))
			w.set = clone(w.set)
			w.set.Boundaries[0].Functions = nil
			if _, err := w.do(&authority.ApplySet{By: "p-ada", Set: w.set}); err == nil || !strings.Contains(err.Error(), "sealed by boundary pci") {
				t.Fatalf("%v", err)
			}
			w.apply(func(s *authority.Set) {
				s.Agents[0].Entitlements = []remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/acme/docs"}}}
				s.Agents[1].Entitlements, s.Agents[2].Entitlements = nil, nil
				s.Boundaries = []remit.BoundaryDeclared{{Name: "pci", Seal: []remit.Pattern{"repo:forge/acme/payments"}, Functions: []remit.Function{remit.FuncCode}}}
			})
			w.deny(push(c, branch(c, "x"), "2"), remit.CrossesBoundary, "sealed by boundary pci")
		}},
		{"an effect in production holds for the environment's votes", func(t *testing.T, w *world) {
			c := w.task("merger", "p-mia")
			r := push(c, "refs/heads/main", "1")
			r.Steps[0].Action = "source.merge"
			id := w.hold(r, remit.ImpactHeld, remit.Need{Group: "release", N: 2}, remit.Need{Group: "reviewers", N: 1})
			if w.s.Accesses[id].Zone != remit.ZoneProduction {
				t.Fatal("production is the strictest zone of the set")
			}
			steps := w.log[w.s.Accesses[id].Decision].event.(*remit.Decided).Steps
			if len(steps) != 3 || !steps[1].Step.Effect || steps[1].Step.Action != "deploy.promote" || steps[2].Step.Action != "build.trigger" {
				t.Fatalf("steps %+v", steps)
			}
		}},
		{"a build with secrets holds where what it runs differs from the trusted branch", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "1", "src/a")
			w.allow(r)
			r.Refs[0].Pinned = paths("README")
			w.allow(r)
			r.Refs[0].Pinned = paths(".github/workflows/ci.yml")
			w.hold(r, remit.EffectHeld, remit.Need{Group: "reviewers", N: 1})
			w.apply(func(s *authority.Set) {
				s.Repositories[0].Effects = slicesOf(s.Repositories[0].Effects)
				s.Repositories[0].Effects[1].Runs = []remit.Pattern{"ci/**"}
			})
			r.Refs[0].Ref, r.Refs[0].Pinned = branch(c, "y"), paths("README")
			w.allow(r)
			r.Refs[0].Pinned = paths("ci/run.sh")
			w.hold(r, remit.EffectHeld)
			r.Refs[0].Ref, r.Refs[0].Pinned = branch(c, "z"), paths(".github/workflows/old.yml")
			w.hold(r, remit.EffectHeld) // an old workflow that runs by itself, though it was not declared
			w.apply(func(s *authority.Set) {
				s.Repositories[0].Effects = slicesOf(s.Repositories[0].Effects)
				s.Repositories[0].Effects[1].Secrets = "none"
			})
			r.Refs[0].Ref = branch(c, "z")
			w.allow(r)
		}},
		{"any other effect that changes something holds, and one that reads does not", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.Repositories[1].Effects = []remit.Effect{{Refs: "refs/heads/remit/**", Causes: "issue.comment", On: docs}, {Refs: "refs/heads/**", Causes: "issue.read", On: docs}}
			})
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "1")
			r.Steps[0].Resource = docs
			w.hold(r, remit.EffectHeld, remit.Need{Group: remit.Administrators, N: 1})
			w.apply(func(s *authority.Set) { s.Repositories[1].Effects = s.Repositories[1].Effects[1:] })
			w.allow(r)
		}},
		{"deleting a ref has its effects too", func(t *testing.T, w *world) {
			c := w.task("merger", "p-mia")
			r := push(c, "refs/heads/main", "1")
			r.Steps[0].Action, r.Refs[0].Op = "source.merge", remit.RefDelete
			id := w.hold(r, remit.ImpactHeld)
			if w.s.Accesses[id].Zone != remit.ZoneProduction {
				t.Fatal("no effect")
			}
		}},
		{"a caller cannot pass a step off as an effect", func(t *testing.T, w *world) {
			r := w.deployment(w.task("coder", "p-mia"), production, built("a"))
			r.Steps[0].Effect = true
			w.deny(r, remit.OutOfScope, "may not take deploy.promote")
			r = step(w.task("coder", "p-mia"), "source.read", payments)
			r.Steps[0].Effect = true
			if p := w.s.Permits[w.allow(r).Permit.ID]; len(p.Steps) != 1 || p.Steps[0].Effect {
				t.Fatalf("%+v", p)
			}
		}},
		{"an environment without approvers asks administrators, two for production", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				supply(s)
				s.Environments[0].Approvers, s.Environments[1].Approvers = nil, nil
				s.Agents[3].Owner = "p-sam"
			})
			c := w.task("pilot", "p-mia")
			w.hold(w.deployment(c, staging, built("a")), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
			w.hold(w.deployment(c, production, w.published("a", "1")), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 2})
		}},
		{"of two demands on a group the larger one counts", func(t *testing.T, w *world) {
			w.policy = func(authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Votes: []remit.Need{{Group: "reviewers", N: 2}}}
			}
			c := w.task("coder", "p-mia")
			w.hold(push(c, branch(c, "x"), "1", ".gitmodules"), remit.PathProtected, remit.Need{Group: "reviewers", N: 2})
		}},
	})
}

func slicesOf[T any](s []T) []T { return append([]T(nil), s...) }

func TestAuthorship(t *testing.T) {
	merge := func(w *world, agent string, action remit.Action, p []remit.EntryIndex, signers ...remit.ID) remit.Decision {
		c := w.task(agent, "p-mia")
		r := push(c, "refs/heads/topic", "1")
		r.Steps[0].Action, r.Refs[0].Pushers, r.Refs[0].Signers = action, p, signers
		if action == "review.submit" {
			r.Review = remit.ReviewApprove
		}
		return w.ask(r)
	}
	rows := []struct {
		name   string
		change func(*authority.Set)
		agent  string
		action remit.Action
		signer remit.ID
		want   remit.Verdict
	}{
		{"somebody else's agent merges with a person's vote", nil, "merger", "source.merge", "", remit.Hold},
		{"an agent of the pusher's owner does not merge", func(s *authority.Set) { s.Agents[1].Owner = "p-mia" }, "merger", "source.merge", "", remit.Deny},
		{"an agent whose owner signed does not merge", nil, "merger", "source.merge", "p-ada", remit.Deny},
		{"somebody else's agent reviews", nil, "critic", "review.submit", "", remit.Allow},
		{"an agent of the pusher's owner does not review", func(s *authority.Set) { s.Agents[2].Owner = "p-mia" }, "critic", "review.submit", "", remit.Deny},
		{"an agent whose owner signed does not review", nil, "critic", "review.submit", "p-noa", remit.Deny},
		{"an agent that may push and merge does not merge its own", func(s *authority.Set) {
			s.Agents[0].Entitlements = append(slicesOf(s.Agents[0].Entitlements), s.Agents[1].Entitlements...)
		}, "coder", "source.merge", "", remit.Deny},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			c := w.task("coder", "p-mia")
			pushed := w.allow(push(c, branch(c, "x"), "1")).Entry
			if r.change != nil {
				w.apply(r.change)
			}
			var signers []remit.ID
			if r.signer != "" {
				signers = append(signers, r.signer)
			}
			d := merge(w, r.agent, r.action, []remit.EntryIndex{pushed}, signers...)
			if d.Verdict != r.want || r.want == remit.Deny && d.Code != remit.Separation {
				t.Fatalf("%s %s: %s", d.Verdict, d.Code, d.Sentence)
			}
		})
	}
	t.Run("an agent whose owner owns what pushed does not merge, whoever launched it", func(t *testing.T) {
		w := newWorld(t, remit.Team, func(s *authority.Set) { s.Agents[1].Owner = "p-mia" })
		id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
		c := w.launch(id, "coder", "p-noa")
		pushed := w.allow(push(c, branch(c, "x"), "1")).Entry
		if d := merge(w, "merger", "source.merge", []remit.EntryIndex{pushed}); d.Code != remit.Separation {
			t.Fatal(d)
		}
	})
	t.Run("an agent whose owner launched the push does not merge", func(t *testing.T) {
		w := newWorld(t, remit.Team)
		id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
		c := w.launch(id, "coder", "p-noa")
		pushed := w.allow(push(c, branch(c, "x"), "1")).Entry
		w.apply(func(s *authority.Set) { s.Agents[1].Owner = "p-noa" })
		if d := merge(w, "merger", "source.merge", []remit.EntryIndex{pushed}); d.Code != remit.Separation {
			t.Fatal(d)
		}
	})
}
