package world

import (
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Commit is the commit that Build asks to be built.
var Commit = strings.Repeat("5e", 20)

// BuildTeam is Team with a planner that may request builds, and a builder whose jobs are those that iss signs for
// repository 4711, .github/workflows/build.yml.
func (w *World) BuildTeam(iss *Issuer) remit.Declarations {
	d := w.Team()
	d.Upstreams = append(d.Upstreams, iss.Upstream("ci", "github", ""),
		remit.Upstream{Name: "oci", Kind: remit.KindRegistry, Location: "https://registry.example", Write: remit.Source{From: "env", Name: "REGISTRY_TOKEN"}})
	d.Agents = append(d.Agents,
		remit.Agent{Name: "planner", Function: remit.FuncPlan, Owner: "cleo", Purpose: "plans", Requesters: []string{"developers"}, Expires: "2030-01-31",
			MayRequest:   []remit.Function{remit.FuncBuild},
			Entitlements: []remit.Scope{{Actions: []remit.Action{"task.request"}, Resources: []remit.Pattern{"task:builder"}}}},
		remit.Agent{Name: "builder", Function: remit.FuncBuild, Owner: "ben", Purpose: "builds", Expires: "2030-01-31",
			Entitlements: []remit.Scope{{Actions: []remit.Action{"artifact.publish", "artifact.read"}, Resources: []remit.Pattern{"artifact:oci/payments"}}},
			Jobs:         []remit.Job{{Issuer: "ci", Repository: "4711", Workflow: ".github/workflows/build.yml", Source: "forge/payments"}}})
	return d
}

// Build has cleo's planner request a build of Commit, and gives the child task that waits for its job.
func (w *World) Build() remit.ID {
	w.T.Helper()
	ctx := w.T.Context()
	t, err := w.SignIn("cleo").CreateTask(ctx, remit.TaskRequest{Agent: "planner", Intent: "release the rounding of refunds"})
	if err != nil {
		w.T.Fatal(err)
	}
	i := w.Instance("cleo", t.ID)
	intent := must[remit.Payload](w.T)(w.Engine.NewPayload([]byte("build it")))
	child := remit.Child{Agent: "builder", Intent: intent.Commitment(), Inputs: []remit.Input{{Resource: Repo, ID: Commit}}}
	d, err := w.Engine.Authorize(ctx, remit.Request{Gateway: "gateway/task", Caller: remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task},
		Steps: []remit.Step{{Action: "task.request", Resource: "task:builder", Args: authority.ChildDigest(child)}}, Child: &child}, intent)
	if err != nil || d.Verdict != remit.Allow {
		w.T.Fatalf("asking for a build: %v, %+v", err, d)
	}
	a, err := w.Engine.Redeem(ctx, d.Permit)
	if err != nil {
		w.T.Fatal(err)
	}
	res, err := w.Engine.Do(ctx, &authority.CreateChild{Attempt: a.ID, Child: child})
	if err != nil {
		w.T.Fatal(err)
	}
	return res.ID
}
