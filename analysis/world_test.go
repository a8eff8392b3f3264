package analysis

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// tb is what both testing.TB and rapid.T are.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// person has a key that stands for one in hardware.
func person(name string) remit.PersonDeclared {
	seed := sha256.Sum256([]byte(name))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	wire := ssh.Marshal(struct{ Type, Key, App string }{ssh.KeyAlgoSKED25519, string(public), "ssh:"})
	return remit.PersonDeclared{ID: remit.ID("p-" + name), Name: remit.Hash([]byte(name)), Keys: []remit.Key{{Public: wire}}}
}

// judge is a policy as a function.
type judge func(authority.Facts) authority.Finding

func (j judge) Judge(f authority.Facts) authority.Finding { return j(f) }

func allow(authority.Facts) authority.Finding { return authority.Finding{Verdict: remit.Allow} }

// company is a small one: a coder and a second one, a builder, a pilot, two reviewers and a merger, a tool that reads pages.
func company() authority.Set {
	need := func(group string, n int) []remit.Need { return []remit.Need{{Group: group, N: n}} }
	return authority.Set{
		People: []remit.PersonDeclared{person("ada"), person("bob"), person("mia"), person("noa"), person("rio"), person("sam")},
		Groups: []remit.GroupDeclared{{Name: remit.Administrators, Members: []remit.ID{"p-ada", "p-bob"}}, {Name: "devs", Members: []remit.ID{"p-mia", "p-noa"}},
			{Name: "reviewers", Members: []remit.ID{"p-noa", "p-rio"}}, {Name: "release", Members: []remit.ID{"p-rio", "p-sam"}}},
		Upstreams: []remit.UpstreamDeclared{{Name: "forge", Type: "gitea", Spec: remit.Hash([]byte("forge"))}, {Name: "oci", Type: remit.KindRegistry, Spec: remit.Hash([]byte("oci"))},
			{Name: "cluster", Type: remit.KindKubernetes, Spec: remit.Hash([]byte("cluster"))}, {Name: "web", Type: remit.KindMCP, Spec: remit.Hash([]byte("web"))}},
		Environments: []remit.EnvironmentDeclared{
			{Name: "payments/production", Tier: "production", Approvers: need("release", 2), Upstream: "cluster", Spec: remit.Hash([]byte("t")), Artifacts: []remit.Pattern{"artifact:oci/payments"}},
			{Name: "payments/staging", Tier: "staging", Approvers: need("release", 1), Upstream: "cluster", Spec: remit.Hash([]byte("u")), Artifacts: []remit.Pattern{"artifact:oci/**"}}},
		Repositories: []remit.RepositoryDeclared{{Name: "forge/acme/payments", Path: "acme/payments.git", DefaultBranch: "main", Approvers: need("reviewers", 1),
			Artifacts: []remit.Pattern{"artifact:oci/payments"}, Effects: []remit.Effect{
				{Refs: "refs/heads/main", Causes: "deploy.promote", On: "environment:payments/staging"},
				{Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:payments/ci", Secrets: "exposed", Runs: []remit.Pattern{"ci/**"}}}}},
		Secrets: []remit.SecretDeclared{{Name: "vault/prod", Zone: remit.ZoneProduction}},
		Tools: []remit.ToolDeclared{{Name: "web/fetch", Zone: remit.ZoneSource, Impact: remit.Read, Pin: remit.Hash([]byte("p")), Taints: []string{"web-page"}},
			{Name: "local/**", Taints: []string{"web-page"}}},
		Agents: []remit.AgentDeclared{
			{Name: "coder", Function: remit.FuncCode, Owner: "p-mia", Requesters: []string{"devs"}, MayRequest: []remit.Function{remit.FuncBuild, remit.FuncReview, remit.FuncDeploy}, Entitlements: []remit.Scope{
				{Actions: []remit.Action{"source.push", "source.read", "issue.read", "issue.comment"}, Resources: []remit.Pattern{"repo:forge/acme/*"}},
				{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:web/**"}}}},
			{Name: "merger", Function: remit.FuncCode, Owner: "p-ada", Entitlements: []remit.Scope{
				{Actions: []remit.Action{"source.merge", "review.read"}, Resources: []remit.Pattern{"repo:forge/acme/**"}, Refs: []remit.Pattern{"refs/heads/**"}}}},
			{Name: "critic", Function: remit.FuncReview, Owner: "p-noa", Entitlements: []remit.Scope{
				{Actions: []remit.Action{"review.submit", "review.read"}, Resources: []remit.Pattern{"repo:forge/acme/**"}}}},
			{Name: "builder", Function: remit.FuncBuild, Owner: "p-bob", Entitlements: []remit.Scope{
				{Actions: []remit.Action{"artifact.publish"}, Resources: []remit.Pattern{"artifact:oci/payments"}}}},
			{Name: "pilot", Function: remit.FuncDeploy, Owner: "p-ada", Entitlements: []remit.Scope{
				{Actions: []remit.Action{"deploy.promote", "deploy.rollback", "secret.read"}, Resources: []remit.Pattern{"environment:payments/**", "secret:vault/**"}}}}},
	}
}

// made is the state of an organisation with a set in force, made by the commands that make every one.
func made(t tb, profile remit.Profile, set authority.Set) *authority.State {
	t.Helper()
	s, now := authority.New(), start
	do := func(c authority.Command) {
		events, _, err := authority.Decide(s, now, c)
		var stale *authority.Stale
		if err != nil || errors.As(err, &stale) {
			t.Fatalf("%T: %v", c, err)
		}
		for _, e := range events {
			if err := authority.Apply(s, now.UnixNano(), e); err != nil {
				t.Fatalf("%s: %v", e.Kind(), err)
			}
		}
	}
	do(&authority.Init{Org: "acme", Origin: "log.acme.example", Verifier: "v", Profile: profile, OPA: "1.0", Admins: []remit.PersonDeclared{person("ada")}, Policy: remit.Hash([]byte("bundle"))})
	do(&authority.ApplySet{By: "p-ada", Set: set})
	return s
}

func build(t tb, s *authority.State, ask judge) *Graph {
	t.Helper()
	g, err := Build(s, ask, Options{At: start.Add(time.Hour).UnixNano()})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return g
}

func show(t *testing.T, g *Graph) {
	for _, n := range g.Nodes {
		t.Logf("%s zone %q %s", n.ID, n.Zone, n.Note)
	}
	for _, e := range g.Edges {
		line := ""
		for _, w := range e.With {
			line += " with " + w.Text + " " + string(slices.Concat(w.Of)[0])
		}
		if e.Approval != nil {
			line += " voters"
			for i, v := range e.Approval.Voters {
				line += " " + e.Approval.Needs[i].String()
				for _, p := range v {
					line += " " + string(p)
				}
			}
		}
		t.Logf("%s -> %s %s %s %s %s%s: %s [%s]", e.From, e.To, e.How, e.Action, e.Ref, e.Verdict, line, e.Why, e.Crosses)
	}
}
