package authority_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestDiffNamesWhatIsWrong(t *testing.T) {
	scope := func(s remit.Scope) func(*authority.Set) {
		return func(set *authority.Set) { set.Agents[0].Entitlements = []remit.Scope{s} }
	}
	act := func(a remit.Action, r remit.Pattern) func(*authority.Set) {
		return scope(remit.Scope{Actions: []remit.Action{a}, Resources: []remit.Pattern{r}})
	}
	effect := func(e remit.Effect) func(*authority.Set) {
		return func(s *authority.Set) { s.Repositories[0].Effects = []remit.Effect{e} }
	}
	for _, r := range []struct {
		path, words string
		change      func(*authority.Set)
	}{
		{"people[7]", "declared twice", func(s *authority.Set) { s.People = append(s.People, person("mia", touch("x"))) }},
		{"people[2].keys[0]", "not a type of key", func(s *authority.Set) { s.People[2].Keys = []remit.Key{{Public: []byte("x")}} }},
		{"people[2].keys[0]", "is also people[1]'s", func(s *authority.Set) { s.People[2].Keys = s.People[1].Keys }},
		{"people[2].keys[0]", "belongs to another person (p-bob)", func(s *authority.Set) {
			s.People[2].Keys, s.People[1].Keys = s.People[1].Keys, []remit.Key{key(touch("bob 2"))}
		}},
		{"people", "an administrator", without2("p-bob", false)},
		{"groups[1].members[0]", "no such person", func(s *authority.Set) { s.Groups[1].Members = []remit.ID{"p-eve"} }},
		{"groups[0].members", "living administrator", func(s *authority.Set) { s.Groups[0].Members = nil }},
		{"groups[4].name", "declared twice", func(s *authority.Set) { s.Groups = append(s.Groups, s.Groups[1]) }},
		{"upstreams[1].name", "declared twice", func(s *authority.Set) { s.Upstreams = append(s.Upstreams, s.Upstreams[0]) }},
		{"environments[0].approvers[0].n", "1 to 10", func(s *authority.Set) { s.Environments[0].Approvers = []remit.Need{{Group: "devs"}} }},
		{"environments[0].approvers[0].n", "1 to 10", func(s *authority.Set) { s.Environments[0].Approvers = []remit.Need{{Group: "devs", N: 11}} }},
		{"environments[0].approvers[0].group", "no group", func(s *authority.Set) { s.Environments[0].Approvers = []remit.Need{{Group: "x", N: 1}} }},
		{"environments[0].approvers[1].group", "stands twice", func(s *authority.Set) {
			s.Environments[0].Approvers = []remit.Need{{Group: "devs", N: 1}, {Group: "devs", N: 1}}
		}},
		{"environments[0].tier", "staging or production", func(s *authority.Set) { s.Environments[0].Tier = "prod" }},
		{"environments[2].name", "declared twice", func(s *authority.Set) { s.Environments = append(s.Environments, s.Environments[0]) }},
		{"repositories[0].name", "", func(s *authority.Set) { s.Repositories[0].Name = "a b" }},
		{"repositories[2].name", "declared twice", func(s *authority.Set) { s.Repositories = append(s.Repositories, s.Repositories[0]) }},
		{"repositories[0].approvers[0].group", "no group", func(s *authority.Set) { s.Repositories[0].Approvers = []remit.Need{{Group: "x", N: 1}} }},
		{"repositories[0].protected", "stand alone", func(s *authority.Set) { s.Repositories[0].Protected = []remit.Pattern{"a*"} }},
		{"repositories[0].effects[0].causes", "no action", effect(remit.Effect{Refs: "refs/heads/x", Causes: "x.y", On: production})},
		{"repositories[0].effects[0].refs", "full name", effect(remit.Effect{Refs: "main", Causes: "deploy.promote", On: production})},
		{"repositories[0].effects[0].runs", "stand alone", effect(remit.Effect{Refs: "refs/heads/x", Causes: "build.trigger", On: "pipeline:x", Secrets: "none", Runs: []remit.Pattern{"*x"}})},
		{"repositories[0].effects[0].on", "no type", effect(remit.Effect{Refs: "refs/heads/x", Causes: "deploy.promote", On: "x"})},
		{"repositories[0].effects[0].on", "type environment", effect(remit.Effect{Refs: "refs/heads/x", Causes: "deploy.promote", On: "pipeline:x"})},
		{"repositories[0].effects[0].on", "no environment", effect(remit.Effect{Refs: "refs/heads/x", Causes: "deploy.promote", On: "environment:x"})},
		{"repositories[0].effects[0].secrets", "secrets: none", effect(remit.Effect{Refs: "refs/heads/x", Causes: "build.trigger", On: "pipeline:x"})},
		{"boundaries[1].name", "declared twice", func(s *authority.Set) { s.Boundaries = []remit.BoundaryDeclared{{Name: "b"}, {Name: "b"}} }},
		{"boundaries[0].seal[0]", "no type", func(s *authority.Set) {
			s.Boundaries = []remit.BoundaryDeclared{{Name: "b", Seal: []remit.Pattern{"x"}}}
		}},
		{"agents[0].name", "a-z", func(s *authority.Set) { s.Agents[0].Name = "Coder" }},
		{"agents[4].name", "declared twice", func(s *authority.Set) { s.Agents = append(s.Agents, s.Agents[0]) }},
		{"agents[0].function", "no function", func(s *authority.Set) { s.Agents[0].Function = "hack" }},
		{"agents[0].function", "never changes", func(s *authority.Set) { s.Agents[0].Function, s.Agents[0].Entitlements = remit.FuncBuild, nil }},
		{"agents[0].owner", "not a declared person", func(s *authority.Set) { s.Agents[0].Owner = "p-eve" }},
		{"agents[0].requesters[0]", "no group", func(s *authority.Set) { s.Agents[0].Requesters = []string{"x"} }},
		{"agents[0].entitlements[0]", "no action", act("x.y", "repo:a/b")},
		{"agents[0].entitlements[0]", "no type", act("source.push", "x")},
		{"agents[0].entitlements[0]", "full name", scope(remit.Scope{Refs: []remit.Pattern{"main"}})},
		{"agents[0].entitlements[0]", "never grants", scope(remit.Scope{Paths: []remit.Pattern{"**/x"}})},
		{"agents[0].entitlements[0]", "or more", scope(remit.Scope{MaxBytes: -1})},
		{"agents[0].entitlements[0]", "or more", scope(remit.Scope{MaxCommits: -1})},
		{"agents[0].entitlements[0]", "lies in stage build", act("build.trigger", "pipeline:x")},
		{"agents[0].entitlements[0]", "lies in stage deploy", act("deploy.promote", "environment:x")},
		{"agents[0].entitlements[0]", "lies in stage secret", act("secret.read", "secret:x")},
		{"agents[0].entitlements[0]", "lies in stage tool", act("tool.call", "tool:x")},
		{"agents[0].entitlements[0]", "lies in stage review", act("review.submit", "repo:a/b")},
		{"agents[0].entitlements[0]", "people only", act("control.apply", "control:x")},
		{"agents[0].entitlements[0]", "sealed by boundary pci", func(s *authority.Set) {
			s.Boundaries = []remit.BoundaryDeclared{{Name: "pci", Seal: []remit.Pattern{"repo:forge/acme/payments"}, Functions: []remit.Function{remit.FuncCode}}}
		}},
		{"group devs", "takes", func(s *authority.Set) {
			for i := range 700 {
				n := fmt.Sprint("crowd-", i)
				s.People = append(s.People, person(n, soft(n)))
				s.Groups[1].Members = append(s.Groups[1].Members, remit.ID("p-"+n))
			}
		}},
	} {
		t.Run(r.path+" "+r.words, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			s := declarations()
			r.change(&s)
			_, err := w.do(&authority.ApplySet{By: "p-ada", Set: s})
			var e *remit.DeclarationError
			if !errors.As(err, &e) || e.Path != r.path || !strings.Contains(e.Sentence, r.words) {
				t.Fatalf("%v; want %s: …%s", err, r.path, r.words)
			}
		})
	}
	t.Run("the key of somebody who was killed does not come back", func(t *testing.T) {
		w := newWorld(t, remit.Team)
		w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-tom"})
		w.apply(without2("p-tom", true))
		s := clone(w.set)
		s.People = append(s.People, person("tim", touch("tom")))
		if _, err := authority.Diff(w.s, &s); err == nil || !strings.Contains(err.Error(), "another person (p-tom)") {
			t.Fatal(err)
		}
	})
	t.Run("stage and zone of a function are what the rules say", func(t *testing.T) {
		for f, actions := range map[remit.Function]string{
			remit.FuncPlan: "task.request issue.comment", remit.FuncCode: "source.push source.propose source.merge", remit.FuncReview: "review.submit",
			remit.FuncBuild: "build.trigger artifact.upload artifact.publish artifact.release", remit.FuncRelease: "artifact.upload artifact.publish artifact.release",
			remit.FuncDeploy:  "deploy.promote deploy.rollback secret.read secret.use tool.call tool.write tool.run",
			remit.FuncOperate: "operate.change secret.read secret.use tool.call tool.write tool.run",
		} {
			w := newWorld(t, remit.Team)
			for _, c := range remit.Catalogue() {
				s := clone(w.set)
				s.Agents = append(s.Agents, remit.AgentDeclared{Name: "x", Function: f, Owner: "p-mia",
					Entitlements: []remit.Scope{{Actions: []remit.Action{c.Action}, Resources: []remit.Pattern{remit.Pattern(c.Resource + ":x/y")}}}})
				_, err := authority.Diff(w.s, &s)
				may := c.Impact == remit.Read && c.Stage != remit.StageSecret || c.Stage == remit.StageProbe ||
					c.Stage == remit.StagePlan || strings.Contains(" "+actions+" ", " "+string(c.Action)+" ")
				if may != (err == nil) {
					t.Errorf("function %s, %s: %v", f, c.Action, err)
				}
			}
		}
	})
}

func without2(id remit.ID, groups bool) func(*authority.Set) {
	return func(s *authority.Set) {
		was := slices.Clone(s.Groups)
		without(id)(s)
		if !groups {
			s.Groups = was
			for i := range s.Groups {
				if s.Groups[i].Name == remit.Administrators {
					s.Groups = slices.Delete(s.Groups, i, i+1)
					break
				}
			}
		}
	}
}

func TestDiffSaysWhatWidens(t *testing.T) {
	base := func(s *authority.Set) {
		s.Boundaries = []remit.BoundaryDeclared{{Name: "pci", Seal: []remit.Pattern{"repo:vault/**"}, Functions: []remit.Function{remit.FuncCode, remit.FuncBuild}}}
		s.Agents[0].Expires = 2e9
	}
	ent := func(change func(*remit.Scope)) func(*authority.Set) {
		return func(s *authority.Set) {
			s.Agents[1].Entitlements = slicesOf(s.Agents[1].Entitlements)
			change(&s.Agents[1].Entitlements[0])
		}
	}
	limited := func(s *authority.Set) {
		ent(func(e *remit.Scope) {
			e.Paths, e.MaxBytes, e.MaxCommits = []remit.Pattern{"src/**"}, 10, 10
			e.Refs = []remit.Pattern{"refs/heads/a/**"}
		})(s)
	}
	for _, r := range []struct {
		name   string
		before func(*authority.Set)
		change func(*authority.Set)
		widens string // empty: it does not
	}{
		{"a person's new key", nil, func(s *authority.Set) { s.People[3].Keys = append(slicesOf(s.People[3].Keys), key(touch("n"))) }, "new key"},
		{"a key less", nil, func(s *authority.Set) { s.People[4].Keys = s.People[4].Keys[:1] }, ""},
		{"a new person", nil, func(s *authority.Set) { s.People = append(s.People, person("new", soft("new"))) }, ""},
		{"a member more", nil, func(s *authority.Set) { s.Groups[1].Members = append(slicesOf(s.Groups[1].Members), "p-sam") }, "gets a member"},
		{"a member less", nil, func(s *authority.Set) { s.Groups[1].Members = s.Groups[1].Members[:1] }, ""},
		{"a new group", nil, func(s *authority.Set) {
			s.Groups = append(s.Groups, remit.GroupDeclared{Name: "x", Members: []remit.ID{"p-mia"}})
		}, "is new"},
		{"a new group without members", nil, func(s *authority.Set) { s.Groups = append(s.Groups, remit.GroupDeclared{Name: "x"}) }, ""},
		{"an upstream moves", nil, func(s *authority.Set) { s.Upstreams[0].Spec = secret }, "moves"},
		{"fewer votes for an environment", nil, func(s *authority.Set) { s.Environments[0].Approvers = []remit.Need{{Group: "release", N: 1}} }, "asks for less"},
		{"other votes for an environment", nil, func(s *authority.Set) { s.Environments[0].Approvers = []remit.Need{{Group: "devs", N: 2}} }, "asks for less"},
		{"more votes for an environment", nil, func(s *authority.Set) {
			s.Environments[0].Approvers = []remit.Need{{Group: "release", N: 2}, {Group: "devs", N: 1}}
		}, ""},
		{"production becomes staging", nil, func(s *authority.Set) { s.Environments[0].Tier = "staging" }, "asks for less"},
		{"staging becomes production", nil, func(s *authority.Set) { s.Environments[1].Tier = "production" }, ""},
		{"a new repository that patterns reach", nil, func(s *authority.Set) {
			s.Repositories = append(slicesOf(s.Repositories), remit.RepositoryDeclared{Name: "forge/acme/new", Path: "acme/new.git", DefaultBranch: "main"})
		}, "already entitled"},
		{"a new repository that none reaches", nil, func(s *authority.Set) {
			s.Repositories = append(slicesOf(s.Repositories), remit.RepositoryDeclared{Name: "forge/other/new", Path: "other/new.git", DefaultBranch: "main"})
		}, ""},
		{"a repository elsewhere", nil, func(s *authority.Set) { s.Repositories[0].Path = "x" }, "another one"},
		{"another trusted branch", nil, func(s *authority.Set) { s.Repositories[0].DefaultBranch = "x" }, "another one"},
		{"fewer approvers of a repository", nil, func(s *authority.Set) { s.Repositories[0].Approvers = nil }, "fewer approvers"},
		{"fewer protected paths", nil, func(s *authority.Set) { s.Repositories[0].Protected = []remit.Pattern{"deploy/*"} }, "protects fewer"},
		{"more protected paths", nil, func(s *authority.Set) { s.Repositories[0].Protected = []remit.Pattern{"deploy/**", "x"} }, ""},
		{"an effect less", nil, func(s *authority.Set) { s.Repositories[0].Effects = s.Repositories[0].Effects[1:] }, "drops or changes an effect"},
		{"an effect changes", nil, func(s *authority.Set) {
			s.Repositories[0].Effects = slicesOf(s.Repositories[0].Effects)
			s.Repositories[0].Effects[1].Runs = []remit.Pattern{"x"}
		}, "drops or changes an effect"},
		{"an effect more", nil, func(s *authority.Set) {
			s.Repositories[0].Effects = append(slicesOf(s.Repositories[0].Effects), s.Repositories[0].Effects[0])
		}, ""},
		{"a boundary goes", nil, func(s *authority.Set) { s.Boundaries = nil }, "is removed"},
		{"a boundary seals less", nil, func(s *authority.Set) { s.Boundaries[0].Seal = []remit.Pattern{"repo:vault/*"} }, "seals less"},
		{"a boundary seals more", nil, func(s *authority.Set) { s.Boundaries[0].Seal = []remit.Pattern{"repo:vault/**", "repo:x/y"} }, ""},
		{"a boundary is for fewer", nil, func(s *authority.Set) { s.Boundaries[0].Functions = []remit.Function{remit.FuncCode} }, "seals less"},
		{"a boundary is for all", nil, func(s *authority.Set) { s.Boundaries[0].Functions = nil }, ""},
		{"a boundary is for more", nil, func(s *authority.Set) {
			s.Boundaries[0].Functions = append(slicesOf(s.Boundaries[0].Functions), remit.FuncPlan)
		}, ""},
		{"a boundary for all is for some", func(s *authority.Set) { s.Boundaries[0].Functions = nil }, func(s *authority.Set) { s.Boundaries[0].Functions = []remit.Function{remit.FuncCode} }, "seals less"},
		{"a new agent", nil, func(s *authority.Set) {
			s.Agents = append(s.Agents, remit.AgentDeclared{Name: "x", Function: remit.FuncPlan, Owner: "p-mia"})
		}, "new agent"},
		{"an agent less", nil, func(s *authority.Set) { s.Agents = s.Agents[:3] }, ""},
		{"another owner", nil, func(s *authority.Set) { s.Agents[0].Owner = "p-sam" }, "another owner"},
		{"another action", nil, ent(func(e *remit.Scope) { e.Actions = append(slicesOf(e.Actions), "source.push") }), "may do more"},
		{"another resource", nil, ent(func(e *remit.Scope) { e.Resources = []remit.Pattern{"repo:forge/**"} }), "may do more"},
		{"a resource within", nil, ent(func(e *remit.Scope) { e.Resources = []remit.Pattern{"repo:forge/acme/*"} }), ""},
		{"refs within", nil, ent(func(e *remit.Scope) { e.Refs = []remit.Pattern{"refs/heads/x/**"} }), ""},
		{"other refs", nil, ent(func(e *remit.Scope) { e.Refs = []remit.Pattern{"refs/tags/**"} }), "may do more"},
		{"the task's own branches lie within all", nil, ent(func(e *remit.Scope) { e.Refs = nil }), ""},
		{"all branches do not lie within the task's own", ent(func(e *remit.Scope) { e.Refs = nil }), ent(func(e *remit.Scope) { e.Refs = []remit.Pattern{"refs/heads/**"} }), "may do more"},
		{"a limit on paths", nil, ent(func(e *remit.Scope) { e.Paths = []remit.Pattern{"x/**"} }), ""},
		{"no limit on paths", limited, ent(func(e *remit.Scope) { e.Paths = nil }), "may do more"},
		{"other paths", limited, ent(func(e *remit.Scope) { e.Paths = []remit.Pattern{"src/**", "x"} }), "may do more"},
		{"paths within", limited, ent(func(e *remit.Scope) { e.Paths = []remit.Pattern{"src/x"} }), ""},
		{"no limit on bytes", limited, ent(func(e *remit.Scope) { e.MaxBytes = 0 }), "may do more"},
		{"more bytes", limited, ent(func(e *remit.Scope) { e.MaxBytes = 11 }), "may do more"},
		{"fewer bytes", limited, ent(func(e *remit.Scope) { e.MaxBytes = 9 }), ""},
		{"more commits", limited, ent(func(e *remit.Scope) { e.MaxCommits = 11 }), "may do more"},
		{"more requesters", nil, func(s *authority.Set) { s.Agents[0].Requesters = []string{"devs", "release"} }, "more people may request"},
		{"fewer requesters", nil, func(s *authority.Set) { s.Agents[0].Requesters = nil }, ""},
		{"work of another function", nil, func(s *authority.Set) { s.Agents[0].MayRequest = []remit.Function{remit.FuncBuild} }, "another function"},
		{"a longer life", nil, func(s *authority.Set) { s.Agents[0].Expires = 2e9 + 1 }, "lives longer"},
		{"a life without end", nil, func(s *authority.Set) { s.Agents[0].Expires = 0 }, "lives longer"},
		{"a shorter life", nil, func(s *authority.Set) { s.Agents[0].Expires = 2e9 - 1 }, ""},
		{"a policy that may allow more", nil, func(s *authority.Set) { s.Policy, s.PolicyWidens = secret, "a module goes" }, "a module goes"},
		{"a policy that only adds", nil, func(s *authority.Set) { s.Policy = secret }, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, remit.Team, base)
			if r.before != nil {
				w.apply(r.before)
			}
			w.set = clone(w.set)
			w.set.Boundaries = slices.Clone(w.set.Boundaries)
			r.change(&w.set)
			changes, err := authority.Diff(w.s, &w.set)
			if err != nil || len(changes) != 1 {
				t.Fatal(changes, err)
			}
			if c := changes[0]; (r.widens == "") != (c.Widens == "") || !strings.Contains(c.Widens, r.widens) {
				t.Fatalf("it widens: %q; want %q", c.Widens, r.widens)
			}
			if d := w.must(&authority.ApplySet{By: "p-ada", Set: w.set}).Decision; (r.widens != "") != (d.Verdict == remit.Hold) {
				t.Fatal(d)
			}
		})
	}
	for name, take := range map[string]func(*authority.Set){
		"a person":       without2("p-tom", true),
		"an upstream":    func(s *authority.Set) { s.Upstreams = nil },
		"an environment": func(s *authority.Set) { s.Environments = s.Environments[:1] },
		"a repository":   func(s *authority.Set) { s.Repositories = s.Repositories[1:] },
		"a boundary":     func(s *authority.Set) { s.Boundaries = nil },
		"a group": func(s *authority.Set) {
			s.Groups = s.Groups[:3]
			s.Environments[0].Approvers, s.Environments[1].Approvers = nil, nil
		},
	} {
		t.Run(name+" that was taken out and comes back", func(t *testing.T) {
			w := newWorld(t, remit.Team, base)
			was := clone(w.set)
			was.Environments = slices.Clone(was.Environments)
			w.apply(take)
			changes, err := authority.Diff(w.s, &was)
			if err != nil || !slices.ContainsFunc(changes, func(c remit.Change) bool { return c.Op != "remove" && c.Widens != "" }) {
				t.Fatal(changes, err)
			}
		})
	}
}
