package authority_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// pathBound gives the coder a task that may push documentation to the branch staging, and nothing else of it.
func pathBound(s *authority.Set) {
	s.Agents[0].Entitlements = append(slicesOf(s.Agents[0].Entitlements), remit.Scope{
		Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/acme/docs"},
		Refs: []remit.Pattern{"refs/heads/staging", "refs/heads/remit/{task}/**"}, Paths: []remit.Pattern{"docs/**"}})
	s.Agents[0].Entitlements[0].Resources = []remit.Pattern{"repo:forge/acme/payments"}
}

func remove(c caller, repo remit.Resource, ref string) remit.Request {
	r := push(c, ref, "")
	r.Steps[0].Resource = repo
	r.Refs[0] = remit.RefChange{Ref: ref, Op: remit.RefDelete, Old: oid("what was there")}
	return r
}

// A deletion has no changed paths. Deleted and made anew, a shared branch would take any state of the trusted history,
// past every limit on paths.
func TestDeletionIsNotWithinALimitOnPaths(t *testing.T) {
	w := newWorld(t, remit.Team, pathBound)
	c := w.task("coder", "p-mia")
	w.deny(remove(c, docs, "refs/heads/staging"), remit.PathOutOfScope, "may not")
	w.allow(remove(c, docs, branch(c, "x")))
	change := push(c, "refs/heads/staging", "one", "docs/a")
	change.Steps[0].Resource = docs
	w.allow(change)
}

func TestDeletionIsBeyondAnEnvelopeOfPaths(t *testing.T) {
	w := newWorld(t, remit.Team, func(s *authority.Set) {
		s.Agents[0].Entitlements = slicesOf(s.Agents[0].Entitlements)
		s.Agents[0].Entitlements[0].Refs = []remit.Pattern{"refs/heads/**"}
	})
	c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.Envelope.Paths = []remit.Pattern{"docs/**"} })
	w.hold(remove(c, docs, "refs/heads/staging"), remit.OutOfEnvelope)
	w.allow(remove(c, docs, branch(c, "x")))
	c = w.task("coder", "p-mia", func(c *authority.CreateTask) { c.Envelope.Refs = []remit.Pattern{"refs/heads/**"} })
	w.allow(remove(c, docs, "refs/heads/staging")) // no limit on paths, none to go beyond
}

// Two pushes that change the same files the same way are equivalent only if what the pipelines run is the same too.
func TestVotesAreNotCarriedToAnotherWorkflow(t *testing.T) {
	w := newWorld(t, remit.Team)
	c := w.task("coder", "p-mia")
	r := push(c, branch(c, "x"), "one", "deploy/x")
	id := w.hold(r, remit.PathProtected)
	w.vote(id, "tom", touch("tom"), true)
	again := push(c, branch(c, "x"), "two", "deploy/x")
	again.Refs[0].Pinned = paths(".github/workflows/ci.yml") // on an old base, with the weaker workflow of then
	next := w.hold(again, remit.PathProtected)
	if a := w.s.Accesses[next]; a.Carried || a.Status != remit.AccessOpen || len(a.Votes) != 0 {
		t.Errorf("the vote was carried to what nobody has seen: %+v", a)
	}
}

// A vote is not carried to a push that sets off more than the one that was shown.
func TestVotesAreNotCarriedToAnotherEffect(t *testing.T) {
	w := newWorld(t, remit.Team)
	c := w.task("coder", "p-mia")
	id := w.hold(push(c, branch(c, "x"), "one", "deploy/x"), remit.PathProtected)
	w.vote(id, "tom", touch("tom"), true)
	w.apply(func(s *authority.Set) {
		s.Repositories[0].Effects = append(slicesOf(s.Repositories[0].Effects),
			remit.Effect{Refs: "refs/heads/**", Causes: "source.merge", On: docs})
	})
	next := w.hold(push(c, branch(c, "x"), "two", "deploy/x"), remit.PathProtected)
	if a := w.s.Accesses[next]; a.Carried || a.Status != remit.AccessOpen {
		t.Errorf("the vote was carried to what nobody has seen: %+v", a)
	}
}

// What is below a protected directory that does not exist yet is reached by a link in its place.
func TestLinkInTheWayToAProtectedPath(t *testing.T) {
	link := func(path string) []remit.PathChange {
		return []remit.PathChange{{Path: path, NewMode: 0o120000, New: oid("link")}}
	}
	for _, r := range []struct {
		pattern remit.Pattern
		changes []remit.PathChange
		want    bool
	}{
		{"deploy/**", link("deploy"), true},
		{"infra/prod/**", link("infra"), true},
		{"infra/prod/*", link("infra/prod"), true},
		{"infra/prod/main.tf", link("Infra"), true},
		{"deploy/**", link("deployed"), false},
		{"deploy/**", link("src/deploy"), false},
		{"**/.gitattributes", link("src"), false},
		{"**/.cargo/**", link(".cargo"), true},
		{"**/.cargo/**", link("a/b/.Cargo"), true},
		{"**/a/b/*", link("x/a"), true},
		{"**/a/b/*", link("a/x"), false},
		{"deploy/**", paths("deploy"), false},
		{"deploy/**", []remit.PathChange{{Path: "deploy", OldMode: 0o120000, Old: oid("link")}}, true},
	} {
		if got := len(authority.Match([]remit.Pattern{r.pattern}, r.changes)) > 0; got != r.want {
			t.Errorf("%s, %+v: %v; want %v", r.pattern, r.changes, got, r.want)
		}
	}
}

func TestControlSurfaceHoldsWhatRunsOrSteers(t *testing.T) {
	for _, p := range []string{".github/dependabot.yml", ".github/settings.yml", ".github/instructions/go.instructions.md", ".GitHub/hooks/x",
		".woodpecker.yaml", ".cirrus.yml", ".appveyor.yml", "appveyor.yml", ".semaphore/semaphore.yml", ".builds/x.yml", ".build.yml",
		".cursorrules", ".windsurfrules", ".clinerules", "pkg/.cursor/rules/x.mdc", "pkg/.claude/settings.json", "pkg/CLAUDE.local.md",
		".npmrc", "web/.yarnrc.yml", "web/.pnpmfile.cjs", ".cargo/config.toml", ".idea/runConfigurations/x.xml"} {
		if len(authority.Match(authority.ControlSurface, paths(p))) == 0 {
			t.Errorf("%s may be changed unseen", p)
		}
	}
	for _, p := range []string{"src/github/x.go", "docs/npmrc.md", "build.yml", "cmd/x/build.go"} {
		if m := authority.Match(authority.ControlSurface, paths(p)); len(m) > 0 {
			t.Errorf("%s is held by %v", p, m)
		}
	}
}

// Where nobody is declared, administrators decide; to declare somebody else is to ask for less of them.
func TestDiffSaysThatAnotherThanAdministratorsDecides(t *testing.T) {
	one := func(g string, n int) []remit.Need { return []remit.Need{{Group: g, N: n}} }
	for _, r := range []struct {
		name   string
		before func(*authority.Set)
		change func(*authority.Set)
		widens bool
	}{
		{"a repository", nil, func(s *authority.Set) { s.Repositories[1].Approvers = one("devs", 1) }, true},
		{"a repository, said in words", nil, func(s *authority.Set) { s.Repositories[1].Approvers = one(remit.Administrators, 1) }, false},
		{"production", func(s *authority.Set) { s.Environments[0].Approvers = nil }, func(s *authority.Set) { s.Environments[0].Approvers = one("devs", 1) }, true},
		{"production, by one administrator", func(s *authority.Set) { s.Environments[0].Approvers = nil },
			func(s *authority.Set) { s.Environments[0].Approvers = one(remit.Administrators, 1) }, true},
		{"production, by two", func(s *authority.Set) { s.Environments[0].Approvers = nil },
			func(s *authority.Set) { s.Environments[0].Approvers = one(remit.Administrators, 2) }, false},
		{"staging", func(s *authority.Set) { s.Environments[1].Approvers = nil }, func(s *authority.Set) { s.Environments[1].Approvers = one("devs", 1) }, true},
		{"administrators said in words before, not now", func(s *authority.Set) { s.Repositories[1].Approvers = one(remit.Administrators, 1) },
			func(s *authority.Set) { s.Repositories[1].Approvers = nil }, false},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			if r.before != nil {
				w.apply(r.before)
			}
			set := clone(w.set)
			r.change(&set)
			changes, err := authority.Diff(w.s, &set)
			if err != nil || len(changes) != 1 || (changes[0].Widens != "") != r.widens {
				t.Errorf("%+v, %v; want widens: %v", changes, err, r.widens)
			}
		})
	}
}
