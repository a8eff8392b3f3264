package authority_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// job is what a CI job of commit a says, with a token of its own.
func job(token string) *authority.StartJob {
	return &authority.StartJob{Issuer: "ci", Repository: "77", Workflow: ".github/workflows/build.yml", Environment: "build", Commit: oid("a"),
		Claims: words, Token: remit.Hash([]byte(token)), Secret: secret, Host: host}
}

func TestStartJob(t *testing.T) {
	other := func(change func(*authority.StartJob)) *authority.StartJob {
		j := job("t")
		change(j)
		return j
	}
	type given struct {
		*world
		root caller
		k    *authority.Task
	}
	for _, r := range []struct {
		name string
		run  func(t *testing.T, g given)
	}{
		{"becomes an instance without launcher, on the task that asked for its commit", func(t *testing.T, g given) {
			i := g.s.Instances[g.must(job("t")).ID]
			if i.Task != g.k.ID || i.Agent != "builder" || i.Launcher != "" || i.Issuer != "ci" || i.Claims != words || i.Confinement != remit.ConfineHost || i.Secret != secret || i.Host != host {
				t.Fatalf("%+v", i)
			}
			b := caller{Instance: i.ID, Agent: "builder", Task: g.k.ID}
			g.carryOut(g.allow(publish(b, built("x"))).Permit.ID, remit.Done, "")
			if p := g.s.Artifacts[built("x").String()]; p == nil || p.Inputs[0] != commit("a") {
				t.Fatalf("%+v", g.s.Artifacts)
			}
			if cl := g.s.Tasks[g.k.ID].Closure; slices.Contains(cl, "") {
				t.Fatal("nobody is a person")
			}
		}},
		{"what it asks people for is theirs to decide", func(t *testing.T, g given) {
			b := caller{Instance: g.must(job("t")).ID, Agent: "builder", Task: g.k.ID}
			w := publish(b, remit.Artifact{Resource: image, Digest: built("x").Digest})
			g.apply(func(s *authority.Set) { s.Repositories[0].Artifacts = nil })
			id := g.hold(w, remit.ImpactHeld)
			if a := g.s.Accesses[id]; a.Launcher != "" || a.Instance != b.Instance || a.Zone != remit.ZoneBuild {
				t.Fatalf("%+v", a)
			}
			g.must(&authority.EndInstance{Instance: b.Instance})
			if g.s.Tasks[g.k.ID].Status != remit.TaskWaiting {
				t.Fatal("it waits for nothing")
			}
			g.refuse(job("t2"), remit.NotLive, "no task asks for a build of "+oid("a"))
			g.vote(id, "bob", touch("bob"), true)
			bad := g.claim(id, w)
			g.deny(bad, remit.UnknownPrincipal, "executor/build")
			g.carryOut(g.allow(g.order(id, w)).Permit.ID, remit.Done, "")
			if g.s.Artifacts[built("x").String()] == nil || g.s.LiveTasks[g.k.ID] {
				t.Fatal("it is not done, or not the end of it")
			}
		}},
		{"another issuer", func(t *testing.T, g given) {
			g.refuse(other(func(j *authority.StartJob) { j.Issuer = "forge" }), remit.UnknownPrincipal, `issuer "forge"`)
		}},
		{"a fork", func(t *testing.T, g given) {
			g.refuse(other(func(j *authority.StartJob) { j.Repository = "78" }), remit.UnknownPrincipal, `repository id "78"`)
		}},
		{"another workflow", func(t *testing.T, g given) {
			g.refuse(other(func(j *authority.StartJob) { j.Workflow = "x.yml" }), remit.UnknownPrincipal, `workflow "x.yml"`)
		}},
		{"another environment, or none", func(t *testing.T, g given) {
			g.refuse(other(func(j *authority.StartJob) { j.Environment = "prod" }), remit.UnknownPrincipal, `environment "prod"`)
			g.refuse(other(func(j *authority.StartJob) { j.Environment = "" }), remit.UnknownPrincipal, `environment ""`)
		}},
		{"a commit that nobody asked for", func(t *testing.T, g given) {
			g.refuse(other(func(j *authority.StartJob) { j.Commit = oid("b") }), remit.NotLive, "no task asks for a build of "+oid("b"))
		}},
		{"a token is good once", func(t *testing.T, g given) {
			i := g.must(job("t")).ID
			g.refuse(job("t"), remit.AlreadyUsed, "has started an instance")
			g.must(&authority.EndInstance{Instance: i})
			g.refuse(job("t"), remit.AlreadyUsed, "has started an instance")
			if err := authority.Apply(g.s, g.now.UnixNano(), &remit.InstanceStarted{ID: "I-x", Task: g.k.ID, Agent: "builder", Issuer: "ci", Token: job("t").Token}); err == nil {
				t.Fatal("a log in which a token starts two")
			}
			g.must(job("t2"))
			if len(g.s.Jobs) != 2 {
				t.Fatal(g.s.Jobs)
			}
			g.later(authority.TokenLife).tick()
			if len(g.s.Jobs)+len(g.s.JobAge) != 0 {
				t.Fatal("tokens are kept for ever")
			}
		}},
		{"a job at a time, the oldest task first", func(t *testing.T, g given) {
			child := publishing("a", "b")
			k2 := g.made(request(g.root, child))
			first := g.must(job("t")).ID
			if i := g.s.Instances[first]; i.Task != g.k.ID {
				t.Fatalf("%+v", i)
			}
			if i := g.s.Instances[g.must(job("t2")).ID]; i.Task != k2.ID {
				t.Fatalf("%+v", i)
			}
			g.refuse(job("t3"), remit.NotLive, "no task asks for a build")
			g.must(&authority.EndInstance{Instance: first})
			if i := g.s.Instances[g.must(job("t3")).ID]; i.Task != g.k.ID {
				t.Fatalf("%+v", i)
			}
		}},
		{"not after the task, its root, its agent", func(t *testing.T, g given) {
			g.must(&authority.ChangeAgent{By: "p-tom", Agent: "builder", To: remit.AgentSuspended})
			g.refuse(job("t"), remit.NotLive, "suspended")
			g.must(&authority.ChangeAgent{By: "p-tom", Agent: "builder", To: remit.AgentActive})
			g.refuse(job("t"), remit.NotLive, "no task asks")
			g.k = g.made(request(g.root, publishing("a")))
			i := g.must(job("t")).ID
			g.must(&authority.Kill{By: "p-mia", What: "task", ID: g.root.Task})
			if g.s.InstanceLive(i, g.now.UnixNano()) {
				t.Fatal("it runs")
			}
			g.refuse(job("t2"), remit.NotLive, "no task asks")
		}},
		{"not past the end of its task", func(t *testing.T, g given) {
			g.later(authority.TaskDefault)
			g.refuse(job("t"), remit.NotLive, "no task asks")
		}},
		{"not for a task of another agent", func(t *testing.T, g given) {
			g.must(&authority.EndTask{By: "p-mia", Task: g.k.ID, Status: remit.TaskCancelled})
			child := wants("helper", "source.read", "repo:forge/acme/payments")
			child.Inputs = []remit.Input{commit("a")}
			g.made(request(g.root, child))
			g.refuse(job("t"), remit.NotLive, "no task asks")
		}},
		{"a retired agent has no jobs", func(t *testing.T, g given) {
			g.must(&authority.ChangeAgent{By: "p-tom", Agent: "builder", To: remit.AgentRetired})
			g.refuse(job("t"), remit.UnknownPrincipal, "issuer")
		}},
		{"with nothing missing", func(t *testing.T, g given) {
			for _, change := range []func(*authority.StartJob){func(j *authority.StartJob) { j.Issuer = "" }, func(j *authority.StartJob) { j.Claims = remit.Digest{} },
				func(j *authority.StartJob) { j.Token = remit.Digest{} }, func(j *authority.StartJob) { j.Secret = remit.Digest{} }} {
				g.refuse(other(change), remit.BadRequest, "a job names")
			}
		}},
		{"its work ends after the revocation of its root, and is recorded so", func(t *testing.T, g given) {
			b := caller{Instance: g.must(job("t")).ID, Agent: "builder", Task: g.k.ID}
			one, two := g.allow(publish(b, built("x"))).Permit.ID, g.allow(publish(b, built("y"))).Permit.ID
			x, y := g.redeem(one).Attempt.ID, g.redeem(two).Attempt.ID
			g.must(&authority.EndInstance{Instance: b.Instance})
			g.must(&authority.Record{Attempt: x, Outcome: remit.Done})
			g.must(&authority.Kill{By: "p-mia", What: "task", ID: g.root.Task})
			g.must(&authority.Record{Attempt: y, Outcome: remit.Done})
			if got := []remit.Outcome{g.log[len(g.log)-1].event.(*remit.Recorded).Outcome}; got[0] != remit.AfterRevocation || g.s.Artifacts[built("x").String()] == nil {
				t.Fatal(got)
			}
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := related(t)
			root := w.task("planner", "p-mia")
			g := given{w, root, w.made(request(root, publishing("a")))}
			r.run(t, g)
			g.replay()
		})
	}
}

func TestSecrets(t *testing.T) {
	secretive := func(w *world) caller {
		return w.launch(w.made(request(w.task("planner", "p-mia"), remit.Child{Agent: "helper", Intent: words})).ID, "helper", "p-noa")
	}
	for _, r := range []row{
		{"in the agent's zone it is used after a vote of its approvers", func(t *testing.T, w *world) {
			h := secretive(w)
			r := step(h, "secret.use", "secret:lint/token")
			id := w.hold(r, remit.ImpactHeld, remit.Need{Group: "reviewers", N: 1})
			if z := w.s.Accesses[id].Zone; z != remit.ZoneSource {
				t.Fatal(z)
			}
			w.vote(id, "rio", soft("rio"), true)
			if z := w.redeem(w.allow(w.claim(id, r)).Permit.ID).Redemption.Zone(); z != remit.ZoneSource {
				t.Fatal(z)
			}
		}},
		{"in production two things are asked: its approvers, with a touch", func(t *testing.T, w *world) {
			p := w.task("pilot", "p-mia")
			id := w.hold(step(p, "secret.read", "secret:vault/db"), remit.ImpactHeld, remit.Need{Group: "release", N: 1})
			if z := w.s.Accesses[id].Zone; z != remit.ZoneProduction {
				t.Fatal(z)
			}
		}},
		{"an undeclared one is unknown", func(t *testing.T, w *world) {
			w.deny(step(w.task("pilot", "p-mia"), "secret.read", "secret:vault/x"), remit.UnknownResource, "no secret")
		}},
		{"one that moves to another zone is out of reach", func(t *testing.T, w *world) {
			h := secretive(w)
			w.apply(func(s *authority.Set) {
				s.Secrets = slicesOf(s.Secrets)
				s.Secrets[0].Zone = remit.ZoneProduction
				for i := range s.Agents {
					if s.Agents[i].Name == "helper" {
						s.Agents[i].Entitlements = s.Agents[i].Entitlements[:1]
					}
				}
			})
			w.deny(step(h, "secret.use", "secret:lint/token"), remit.CrossesBoundary, "zone P")
		}},
		{"a pattern that covers none that is declared reaches production, beside one that covers some", func(t *testing.T, w *world) {
			set := clone(w.set)
			for i := range set.Agents {
				if a := &set.Agents[i]; a.Name == "helper" {
					a.Entitlements[1].Resources = []remit.Pattern{"secret:lint/token", "secret:later/*"}
				}
			}
			if _, err := authority.Diff(w.s, &set); err == nil || !strings.Contains(err.Error(), "P") {
				t.Fatalf("an agent for code is entitled to what may come: %v", err)
			}
		}},
		{"administrators decide where nobody is named", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.Agents[4].Entitlements = append(slicesOf(s.Agents[4].Entitlements), remit.Scope{Actions: []remit.Action{"secret.use"}, Resources: []remit.Pattern{"secret:oci/*"}})
			})
			b := w.task("builder", "p-mia")
			w.hold(step(b, "secret.use", "secret:oci/push"), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
		}},
		{"two zones in one request are refused", func(t *testing.T, w *world) {
			p := w.task("pilot", "p-mia")
			r := step(p, "secret.read", "secret:vault/db")
			r.Steps = append(r.Steps, remit.Step{Action: "secret.use", Resource: "secret:oci/push"})
			w.deny(r, remit.CrossesBoundary, "zones P and B")
		}},
		{"whoever changed it, or took it away and put it back, does not decide on it", func(t *testing.T, w *world) {
			p := w.task("pilot", "p-mia")
			was := slicesOf(w.set.Secrets)
			w.apply(func(s *authority.Set) { s.Secrets = was[:2] })
			w.deny(step(p, "secret.read", "secret:vault/db"), remit.UnknownResource, "")
			w.apply(func(s *authority.Set) {
				s.Secrets = slicesOf(was)
				s.Secrets[2].Approvers = nil
			})
			id := w.hold(step(p, "secret.read", "secret:vault/db"), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
			if why := w.s.MayVote(id, "p-ada", w.now.UnixNano()); why == "" {
				t.Fatal("ada changed it and decides")
			}
			w.vote(id, "bob", touch("bob"), true)
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := related(t, func(s *authority.Set) { s.Agents[3].Owner = "p-tom" })
			r.run(t, w)
			w.later(time.Second)
			w.replay()
		})
	}
}
