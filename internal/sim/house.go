package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
)

// The company of every history: ada and bob administer; mia and noa request work; noa, rio and tom review; rio and sam
// release. noa has no key in hardware.
const (
	app        = remit.Resource("repo:forge/acme/app")
	docs       = remit.Resource("repo:forge/acme/docs")
	image      = remit.Resource("artifact:oci/acme/app")
	production = remit.Resource("environment:app/production")
	staging    = remit.Resource("environment:app/staging")
)

var people = []string{"ada", "bob", "mia", "noa", "rio", "sam", "tom", newcomer}

// soft is a person's key in a file; the same name has the same key.
func soft(name string) ssh.Signer {
	seed := sha256.Sum256([]byte("soft " + name))
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		panic(err)
	}
	return s
}

var keys = func() map[string][2]ssh.Signer {
	m := map[string][2]ssh.Signer{}
	for _, p := range people {
		m[p] = [2]ssh.Signer{soft(p), world.Touch(p)}
	}
	return m
}()

func person(name string, both bool) remit.PersonDeclared {
	p := remit.PersonDeclared{ID: remit.ID("p-" + name), Name: remit.Hash([]byte(name))}
	if name == newcomer {
		return p
	}
	if name != "noa" {
		p.Keys = append(p.Keys, remit.Key{Public: keys[name][1].PublicKey().Marshal()})
	}
	if both {
		p.Keys = append(p.Keys, remit.Key{Public: keys[name][0].PublicKey().Marshal()})
	}
	return p
}

func digest(s string) remit.Digest { return remit.Hash([]byte(s)) }

func company() authority.Set {
	may := func(on string, actions ...remit.Action) remit.Scope {
		return remit.Scope{Actions: actions, Resources: []remit.Pattern{remit.Pattern(on)}}
	}
	wide := may("repo:forge/acme/**", "source.merge")
	wide.Refs = []remit.Pattern{"refs/heads/**"}
	devs := []string{"devs"}
	env := func(name, tier string, n int) remit.EnvironmentDeclared {
		return remit.EnvironmentDeclared{Name: name, Tier: tier, Approvers: []remit.Need{{Group: "release", N: n}}, Upstream: "cluster", Spec: digest(name), Artifacts: []remit.Pattern{"artifact:oci/acme/**"}}
	}
	s := authority.Set{
		Groups: []remit.GroupDeclared{{Name: remit.Administrators, Members: []remit.ID{"p-ada", "p-bob"}}, {Name: "devs", Members: []remit.ID{"p-mia", "p-noa"}},
			{Name: "reviewers", Members: []remit.ID{"p-noa", "p-rio", "p-tom", "p-zoe"}, From: []remit.GroupSource{{Issuer: provider, Group: "engineers"}}}, {Name: "release", Members: []remit.ID{"p-rio", "p-sam"}}},
		Upstreams: []remit.UpstreamDeclared{{Name: "forge", Type: remit.KindHTTP, Spec: digest("forge")}, {Name: "oci", Type: remit.KindRegistry, Spec: digest("oci")},
			{Name: "cluster", Type: remit.KindKubernetes, Spec: digest("cluster")}, {Name: "ci", Type: remit.KindOIDC, Spec: digest("ci")},
			{Name: "hub", Type: remit.KindMCP, Spec: digest("hub")}},
		Tools: []remit.ToolDeclared{
			{Name: "hub/get", Zone: remit.ZoneSource, Impact: remit.Read, Pin: digest("hub/get"), Taints: []string{"page"}, Steps: []remit.ToolRule{{Action: "source.read", Resource: "repo:forge/acme/{repo}"}}},
			{Name: "hub/put", Zone: remit.ZoneSource, Impact: remit.Write, Pin: digest("hub/put")},
			{Name: "hub/wipe", Zone: remit.ZoneSource, Pin: digest("hub/wipe"), Approvers: []remit.Need{{Group: "reviewers", N: 1}}},
			{Name: "local/web", Taints: []string{"web-page"}}},
		Environments: []remit.EnvironmentDeclared{env("app/production", "production", 2), env("app/staging", "staging", 1)},
		Repositories: []remit.RepositoryDeclared{
			{Name: "forge/acme/app", Path: "acme/app.git", DefaultBranch: "main", Approvers: []remit.Need{{Group: "reviewers", N: 1}}, Protected: []remit.Pattern{"deploy/**"},
				Artifacts: []remit.Pattern{"artifact:oci/acme/*"}, Effects: []remit.Effect{
					{Refs: "refs/heads/main", Causes: "deploy.promote", On: production}, {Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:app/ci", Secrets: "exposed"},
					{Refs: "refs/heads/remit/**", Causes: "build.trigger", On: "pipeline:app/lint", Secrets: "none"}}},
			{Name: "forge/acme/docs", Path: "acme/docs.git", DefaultBranch: "main", Approvers: []remit.Need{{Group: "reviewers", N: 1, Evidence: "verdict"}}}},
		BreakGlass: []remit.BreakGlassDeclared{fire()},
		Agents: []remit.AgentDeclared{
			{Name: "coder", Function: remit.FuncCode, Owner: "p-mia", Requesters: devs, MayRequest: []remit.Function{remit.FuncBuild, remit.FuncReview},
				Entitlements: []remit.Scope{may("repo:forge/acme/*", "source.push", "source.read"), may("probe:canary", "probe.read", "probe.write", "probe.privileged"),
					{Actions: []remit.Action{"tool.read", "tool.write", "tool.run", "tool.call"}, Resources: []remit.Pattern{"tool:hub/**", "tool:local/**"}}}},
			{Name: "merger", Function: remit.FuncCode, Owner: "p-ada", Requesters: devs, Entitlements: []remit.Scope{wide}},
			{Name: "critic", Function: remit.FuncReview, Owner: "p-noa", Requesters: devs, Entitlements: []remit.Scope{may("repo:forge/acme/**", "review.submit", "review.read")}},
			{Name: "second", Function: remit.FuncReview, Owner: "p-tom", Requesters: devs, Entitlements: []remit.Scope{may("repo:forge/acme/**", "review.submit", "review.read")}},
			{Name: "builder", Function: remit.FuncBuild, Owner: "p-tom", Requesters: devs, Entitlements: []remit.Scope{may("artifact:oci/**", "artifact.publish", "artifact.read")},
				Jobs: []remit.Job{{Issuer: "ci", Repository: "77", Workflow: "build.yml", Source: app.Name()}}},
			{Name: "pilot", Function: remit.FuncDeploy, Owner: "p-ada", Requesters: devs, Entitlements: []remit.Scope{may("environment:app/**", "deploy.promote", "deploy.rollback", "deploy.read")}},
			{Name: "planner", Function: remit.FuncPlan, Owner: "p-tom", Requesters: devs, MayRequest: []remit.Function{remit.FuncCode, remit.FuncReview, remit.FuncBuild, remit.FuncRelease, remit.FuncDeploy},
				Entitlements: []remit.Scope{may("repo:forge/acme/*", "issue.read", "issue.comment")}},
			{Name: "helper", Function: remit.FuncCode, Owner: "p-noa", Entitlements: []remit.Scope{may("repo:forge/acme/**", "source.push", "source.read")}},
		},
	}
	for _, p := range people {
		s.People = append(s.People, person(p, p == "mia" || p == "noa" || p == "rio"))
	}
	return s
}

// clone lets a change replace members without touching those in force.
func clone(s authority.Set) authority.Set {
	s.People, s.Groups, s.Agents, s.Repositories, s.Environments = slices.Clone(s.People), slices.Clone(s.Groups), slices.Clone(s.Agents), slices.Clone(s.Repositories), slices.Clone(s.Environments)
	return s
}

func oid(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:40] }

func built(name string) remit.Artifact {
	return remit.Artifact{Resource: image, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))}
}

// policies are what administrators put in force, one after another.
func policies() *world.Rules {
	r := world.NewRules()
	r.Add(strict)
	r.Add(closed)
	return r
}

var (
	// strict holds what is large, and changes its mind by the hour.
	strict = world.Rule{Name: "strict", Says: func(f authority.Facts) authority.Finding {
		if f.Bytes >= 1000 && f.Minute/60%2 == 0 {
			return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Sentence: "it is large", Votes: []remit.Need{{Group: "release", N: 1}}}
		}
		return authority.Finding{Verdict: remit.Allow}
	}}
	// closed lets nothing be merged, deployed or published.
	closed = world.Rule{Name: "closed", Says: func(f authority.Facts) authority.Finding {
		if slices.ContainsFunc(f.Steps, func(s authority.StepView) bool { return s.Zone != remit.ZoneNone && s.Impact == remit.Privileged }) {
			return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Sentence: "the house is closed"}
		}
		return authority.Finding{Verdict: remit.Allow}
	}}
)
