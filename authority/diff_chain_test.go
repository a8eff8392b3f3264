package authority_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// fresh is a set that shares no list with the one it comes from.
func fresh(s authority.Set) authority.Set {
	s = clone(s)
	s.Secrets = slicesOf(s.Secrets)
	for i := range s.Agents {
		s.Agents[i].Jobs, s.Agents[i].MayRequest = slicesOf(s.Agents[i].Jobs), slicesOf(s.Agents[i].MayRequest)
	}
	for i := range s.Environments {
		s.Environments[i].Artifacts, s.Environments[i].Evidence = slicesOf(s.Environments[i].Artifacts), slicesOf(s.Environments[i].Evidence)
	}
	for i := range s.Repositories {
		s.Repositories[i].Effects = slicesOf(s.Repositories[i].Effects)
	}
	return s
}

func TestDiffNamesWhatIsWrongOnTheWayToProduction(t *testing.T) {
	env := func(change func(*remit.EnvironmentDeclared)) func(*authority.Set) {
		return func(s *authority.Set) { change(&s.Environments[0]) }
	}
	jobOf := func(change func(*remit.Job)) func(*authority.Set) {
		return func(s *authority.Set) { change(&s.Agents[4].Jobs[0]) }
	}
	long := strings.Repeat("x", authority.MaxClaim+1)
	for _, r := range []struct {
		path, words string
		change      func(*authority.Set)
	}{
		{"environments[0].rollback[0].group", "no group", env(func(e *remit.EnvironmentDeclared) { e.Rollback = []remit.Need{{Group: "x", N: 1}} })},
		{"environments[0].artifacts", "no type", env(func(e *remit.EnvironmentDeclared) { e.Artifacts = []remit.Pattern{"x"} })},
		{"environments[0].artifacts", "is no artifact", env(func(e *remit.EnvironmentDeclared) { e.Artifacts = []remit.Pattern{"repo:a/b"} })},
		{"environments[0].evidence[1]", "stands twice", env(func(e *remit.EnvironmentDeclared) { e.Evidence = []string{"built", "built"} })},
		{"environments[0].evidence[0]", "could never be", env(func(e *remit.EnvironmentDeclared) { e.Evidence = []string{"deployed:payments/production"} })},
		{"environments[0].evidence[0]", "no environment", env(func(e *remit.EnvironmentDeclared) { e.Evidence = []string{"deployed:x"} })},
		{"environments[0].evidence[1]", "evidence is built, merged", env(func(e *remit.EnvironmentDeclared) { e.Evidence = []string{"merged", "signed"} })},
		{"environments[0].target", "at which upstream, and how", env(func(e *remit.EnvironmentDeclared) { e.Upstream = "" })},
		{"environments[0].target", "at which upstream, and how", env(func(e *remit.EnvironmentDeclared) { e.Spec = remit.Digest{} })},
		{"environments[0].target.upstream", "of kind kubernetes or command", env(func(e *remit.EnvironmentDeclared) { e.Upstream = "oci" })},
		{"environments[0].target.upstream", "of kind kubernetes or command", env(func(e *remit.EnvironmentDeclared) { e.Upstream = "x" })},
		{"repositories[0].artifacts", "is no artifact", func(s *authority.Set) { s.Repositories[0].Artifacts = []remit.Pattern{"environment:x"} }},
		{"repositories[0].artifacts", "no type", func(s *authority.Set) { s.Repositories[0].Artifacts = []remit.Pattern{"x"} }},
		{"repositories[0].reviews", "0 to 8", func(s *authority.Set) { s.Repositories[0].Reviews = 9 }},
		{"repositories[0].reviews", "0 to 8", func(s *authority.Set) { s.Repositories[0].Reviews = -1 }},
		{"repositories[0].effects[0].on", "no secret", func(s *authority.Set) {
			s.Repositories[0].Effects[0] = remit.Effect{Refs: "refs/heads/x", Causes: "secret.use", On: "secret:x"}
		}},
		{"secrets[0].zone", "zone S, B or P", func(s *authority.Set) { s.Secrets[0].Zone = remit.ZoneControl }},
		{"secrets[0].zone", "zone S, B or P", func(s *authority.Set) { s.Secrets[0].Zone = "" }},
		{"secrets[0].name", "not a name", func(s *authority.Set) { s.Secrets[0].Name = "" }},
		{"secrets[1].name", "declared twice", func(s *authority.Set) { s.Secrets[1].Name = s.Secrets[0].Name }},
		{"secrets[0].approvers[0].group", "no group", func(s *authority.Set) { s.Secrets[0].Approvers = []remit.Need{{Group: "x", N: 1}} }},
		{"agents[0].may_request[1]", "no function", func(s *authority.Set) { s.Agents[0].MayRequest[1] = "hack" }},
		{"agents[0].jobs[0]", "function build", func(s *authority.Set) { s.Agents[0].Jobs = s.Agents[4].Jobs }},
		{"agents[4].jobs[0].issuer", "of kind oidc", jobOf(func(j *remit.Job) { j.Issuer = "forge" })},
		{"agents[4].jobs[0].issuer", "of kind oidc", jobOf(func(j *remit.Job) { j.Issuer = "x" })},
		{"agents[4].jobs[0].repository", "immutable id", jobOf(func(j *remit.Job) { j.Repository = "" })},
		{"agents[4].jobs[0].workflow", "workflow file", jobOf(func(j *remit.Job) { j.Workflow = long })},
		{"agents[4].jobs[0].environment", "at most", jobOf(func(j *remit.Job) { j.Environment = long })},
		{"agents[4].jobs[0].source", "no repository", jobOf(func(j *remit.Job) { j.Source = "x" })},
		{"agents[4].jobs[1]", "stands twice", func(s *authority.Set) {
			j := s.Agents[4].Jobs[0]
			j.Source = docs.Name()
			s.Agents[4].Jobs = append(s.Agents[4].Jobs, j)
		}},
		{"agents[4].jobs[0]", "is also agents[10]'s", func(s *authority.Set) {
			s.Agents = append(s.Agents, remit.AgentDeclared{Name: "builder2", Function: remit.FuncBuild, Owner: "p-mia", Jobs: s.Agents[4].Jobs})
		}},
		{"agents[7].entitlements[1]", "here in zone B", func(s *authority.Set) { s.Secrets[0].Zone = remit.ZoneBuild }},
		{"agents[0].entitlements[0]", "here in zone P", func(s *authority.Set) {
			s.Agents[0].Entitlements = []remit.Scope{{Actions: []remit.Action{"secret.use"}, Resources: []remit.Pattern{"repo:forge/acme/*"}}}
		}},
		{"agents[7].entitlements[1]", "here in zone P", func(s *authority.Set) { s.Secrets = s.Secrets[1:] }},
		{"agents[3].entitlements[0]", "here in zone S", func(s *authority.Set) {
			s.Secrets = append(s.Secrets, remit.SecretDeclared{Name: "vault/git", Zone: remit.ZoneSource})
		}},
	} {
		t.Run(r.path+" "+r.words, func(t *testing.T) {
			w := related(t)
			s := fresh(w.set)
			r.change(&s)
			_, err := w.do(&authority.ApplySet{By: "p-ada", Set: s})
			var e *remit.DeclarationError
			if !errors.As(err, &e) || e.Path != r.path || !strings.Contains(e.Sentence, r.words) {
				t.Fatalf("%v; want %s: …%s", err, r.path, r.words)
			}
		})
	}
}

func TestDiffSaysWhatWidensOnTheWayToProduction(t *testing.T) {
	env := func(change func(*remit.EnvironmentDeclared)) func(*authority.Set) {
		return func(s *authority.Set) { change(&s.Environments[0]) }
	}
	for _, r := range []struct {
		name   string
		change func(*authority.Set)
		widens string // empty: it does not
	}{
		{"other artifacts in an environment", env(func(e *remit.EnvironmentDeclared) { e.Artifacts = []remit.Pattern{"artifact:oci/**"} }), "other artifacts"},
		{"fewer artifacts in an environment", env(func(e *remit.EnvironmentDeclared) { e.Artifacts = []remit.Pattern{"artifact:oci/acme/payments"} }), ""},
		{"no artifacts in an environment", env(func(e *remit.EnvironmentDeclared) { e.Artifacts = nil }), ""},
		{"more evidence", env(func(e *remit.EnvironmentDeclared) {
			e.Evidence = []string{"built", "merged", "deployed:payments/staging", "deployed:payments/test"}
		}), ""},
		{"less evidence", env(func(e *remit.EnvironmentDeclared) { e.Evidence = []string{"merged"} }), "less evidence"},
		{"what production asks for unless it says otherwise", env(func(e *remit.EnvironmentDeclared) { e.Evidence = nil }), "less evidence"},
		{"other evidence than production asks for unless it says otherwise", func(s *authority.Set) { s.Environments[3].Evidence = []string{"merged"} }, "less evidence"},
		{"saying what production asks for anyway", func(s *authority.Set) { s.Environments[3].Evidence = []string{"built"} }, ""},
		{"another target", env(func(e *remit.EnvironmentDeclared) { e.Spec = words }), "another target"},
		{"a target elsewhere", env(func(e *remit.EnvironmentDeclared) { e.Upstream = "shell" }), "another target"},
		{"fewer votes for the way back", env(func(e *remit.EnvironmentDeclared) { e.Rollback = []remit.Need{{Group: "release", N: 1}} }), "asks for less"},
		{"other votes for the way back", env(func(e *remit.EnvironmentDeclared) { e.Rollback = []remit.Need{{Group: "devs", N: 2}} }), "asks for less"},
		{"more votes for the way back", env(func(e *remit.EnvironmentDeclared) {
			e.Rollback = []remit.Need{{Group: "release", N: 2}, {Group: "devs", N: 1}}
		}), ""},
		{"builds that publish", func(s *authority.Set) { s.Repositories[1].Artifacts = []remit.Pattern{"artifact:oci/docs"} }, "without a vote"},
		{"builds that publish more", func(s *authority.Set) {
			s.Repositories[0].Artifacts = []remit.Pattern{"artifact:oci/acme/*", "artifact:oci/x"}
		}, "without a vote"},
		{"builds that publish less", func(s *authority.Set) { s.Repositories[0].Artifacts = []remit.Pattern{"artifact:oci/acme/payments"} }, ""},
		{"builds that publish nothing any more", func(s *authority.Set) { s.Repositories[0].Artifacts = nil }, ""},
		{"a new repository whose builds publish", func(s *authority.Set) {
			s.Repositories = append(s.Repositories, remit.RepositoryDeclared{Name: "forge/far/x", Path: "far/x.git", DefaultBranch: "main", Artifacts: []remit.Pattern{"artifact:oci/x"}})
		}, "without a vote"},
		{"fewer reviews", func(s *authority.Set) { s.Repositories[0].Reviews = 1 }, "fewer reviews"},
		{"more reviews", func(s *authority.Set) { s.Repositories[0].Reviews = 3 }, ""},
		{"a job", func(s *authority.Set) {
			j := s.Agents[4].Jobs[0]
			j.Workflow = "release.yml"
			s.Agents[4].Jobs = append(s.Agents[4].Jobs, j)
		}, "other CI jobs"},
		{"another job", func(s *authority.Set) { s.Agents[4].Jobs[0].Environment = "" }, "other CI jobs"},
		{"a job that builds something else", func(s *authority.Set) { s.Agents[4].Jobs[0].Source = docs.Name() }, "other CI jobs"},
		{"a job less", func(s *authority.Set) { s.Agents[4].Jobs = nil }, ""},
		{"work of another function", func(s *authority.Set) { s.Agents[0].MayRequest = append(s.Agents[0].MayRequest, remit.FuncDeploy) }, "another function"},
		{"work of fewer functions", func(s *authority.Set) { s.Agents[0].MayRequest = nil }, ""},
		{"a secret in another zone", func(s *authority.Set) { s.Secrets[1].Zone = remit.ZoneSource }, "moves from zone B to S"},
		{"a secret that goes elsewhere", func(s *authority.Set) { s.Secrets[1].Spec = words }, "sent elsewhere"},
		{"other approvers of a secret", func(s *authority.Set) { s.Secrets[0].Approvers = []remit.Need{{Group: "devs", N: 1}} }, "or for others"},
		{"approvers of a secret that had administrators", func(s *authority.Set) { s.Secrets[1].Approvers = []remit.Need{{Group: "devs", N: 1}} }, "or for others"},
		{"more approvers of a secret", func(s *authority.Set) { s.Secrets[0].Approvers = []remit.Need{{Group: "reviewers", N: 2}} }, ""},
		{"a new secret that nobody is entitled to", func(s *authority.Set) {
			s.Secrets = append(s.Secrets, remit.SecretDeclared{Name: "far/x", Zone: remit.ZoneProduction})
		}, ""},
		{"a new secret that entitlements reach", func(s *authority.Set) {
			s.Secrets = append(s.Secrets, remit.SecretDeclared{Name: "vault/x", Zone: remit.ZoneProduction})
		}, "already entitled"},
		{"a secret less", func(s *authority.Set) { s.Secrets = s.Secrets[:2] }, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := related(t, func(s *authority.Set) {
				s.Upstreams = append(s.Upstreams, remit.UpstreamDeclared{Name: "shell", Type: remit.KindCommand, Spec: words})
				s.Environments = append(s.Environments, remit.EnvironmentDeclared{Name: "payments/test", Tier: "staging"},
					remit.EnvironmentDeclared{Name: "payments/blue", Tier: "production"})
				s.Environments[0].Evidence = []string{"built", "merged", "deployed:payments/staging"}
				s.Environments[0].Rollback = []remit.Need{{Group: "release", N: 2}}
				s.Repositories[0].Reviews = 2
			})
			s := fresh(w.set)
			r.change(&s)
			changes, err := authority.Diff(w.s, &s)
			if err != nil || len(changes) != 1 {
				t.Fatal(changes, err)
			}
			if c := changes[0]; (r.widens == "") != (c.Widens == "") || !strings.Contains(c.Widens, r.widens) {
				t.Fatalf("it widens: %q; want %q", c.Widens, r.widens)
			}
			if d := w.must(&authority.ApplySet{By: "p-ada", Set: s}).Decision; (r.widens != "") != (d.Verdict == remit.Hold) {
				t.Fatal(d)
			}
		})
	}
	t.Run("a secret that was taken away and comes back", func(t *testing.T) {
		w := related(t)
		was := fresh(w.set)
		w.apply(func(s *authority.Set) { s.Secrets = was.Secrets[:2] })
		changes, err := authority.Diff(w.s, &was)
		if err != nil || len(changes) != 1 || !strings.Contains(changes[0].Widens, "comes back") {
			t.Fatal(changes, err)
		}
	})
}
