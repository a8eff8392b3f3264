package server_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
)

// reads has cleo's agent read a repository in a new task.
func reads(t *testing.T, w *world.World, repo remit.Resource) remit.EntryIndex {
	t.Helper()
	i := w.Instance("cleo", w.Task("cleo").ID)
	d, err := w.Engine.Authorize(t.Context(), remit.Request{Gateway: "git", Caller: remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task},
		Steps: []remit.Step{{Action: "source.read", Resource: repo}}})
	if err != nil || d.Verdict != remit.Allow {
		t.Fatalf("%+v %v", d, err)
	}
	return d.Entry
}

// wide is the team with an agent that may more than it needs, and paths that bound it.
func wide(w *world.World) remit.Declarations {
	d := w.Team()
	other := d.Repositories[0]
	other.Name = "forge/ledger"
	d.Repositories = append(d.Repositories, other)
	d.Agents[0].Entitlements = []remit.Scope{
		{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/**"}, Paths: []remit.Pattern{"src/**", "doc/**"}},
		{Actions: []remit.Action{"issue.read"}, Resources: []remit.Pattern{"repo:forge/payments"}},
	}
	d.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
	d.Agents = append(d.Agents, remit.Agent{Name: "idle", Function: remit.FuncCode, Owner: "cleo", Purpose: "waits", Entitlements: d.Agents[0].Entitlements[1:]})
	return d
}

// What is used within the time is kept, at its smallest; what was used before it is said to be refused; and use that stands
// in both is not.
func TestAnAgentIsSizedByWhatItDidSince(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(wide(w))
	before := reads(t, w, "repo:forge/ledger")
	reads(t, w, world.Repo)
	w.Clock.Advance(40 * 24 * time.Hour)
	read := reads(t, w, world.Repo)
	i := w.Instance("cleo", w.Task("cleo").ID)
	push := w.Push(i, shown(), "src/pay/a.go", "src/pay/deep/b.go", "doc/x.md")
	if push.Verdict != remit.Allow {
		t.Fatalf("%+v", push)
	}
	if denied := w.Push(i, shown(), "build/x"); denied.Verdict != remit.Deny {
		t.Fatalf("%+v", denied)
	}
	r, err := w.SignIn("cleo").Rightsize(t.Context(), "coder", 30*24*time.Hour)
	if err != nil || len(r.Agents) != 1 || !r.Whole || r.Older != 0 || r.From <= before || r.From > read {
		t.Fatalf("%+v %v", r, err)
	}
	f := r.Agents[0]
	want := remit.Scope{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/payments"},
		Paths: []remit.Pattern{"doc/*", "src/pay/**"}, MaxBytes: 1 << 20, MaxCommits: 16}
	if e := f.Entitlements[0]; e.Change != remit.FitShrink || len(e.Proposed) != 1 || e.Proposed[0].Line() != want.Line() || e.Granted == 0 || e.GrantedAt == nil {
		t.Errorf("%+v", e)
	}
	if e := f.Entitlements[1]; e.Change != remit.FitRemove || len(e.Proposed) != 0 || len(e.Uses) != 0 {
		t.Errorf("%+v", e)
	}
	uses := f.Entitlements[0].Uses
	if n := slices.IndexFunc(uses, func(u remit.UseLine) bool { return u.Action == "source.push" }); n < 0 || uses[n].Ref != "refs/heads/remit/{task}/**" || uses[n].First != push.Entry || uses[n].Last != push.Entry || uses[n].Count != 1 {
		t.Errorf("%+v", uses)
	}
	if len(f.Refused) != 1 || f.Refused[0].Resource != "repo:forge/ledger" || f.Refused[0].First != before || f.Refused[0].Count != 1 {
		t.Errorf("refused: %+v", f.Refused)
	}
	if len(f.Waited) != 1 || f.Waited[0].Code != remit.PathOutOfScope || f.Waited[0].Verdict != "deny" {
		t.Errorf("waited: %+v", f.Waited)
	}
	if len(f.MayRequest) != 1 || f.MayRequest[0].Change != remit.FitRemove || f.Allowed != 2 || f.First != read || f.Last != push.Entry {
		t.Errorf("%+v", f)
	}
	if f.Tasks.Tasks != 2 || f.Tasks.For != 15*time.Minute || f.Tasks.Budget.Decisions != 64 || !slices.Equal(f.Tasks.Envelope.Paths, []remit.Pattern{"doc/**", "src/**"}) {
		t.Errorf("%+v", f.Tasks)
	}

	// A longer time keeps what was used before.
	if r, err = w.SignIn("cleo").Rightsize(t.Context(), "", 60*24*time.Hour); err != nil || len(r.Agents) != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	if e := r.Agents[0].Entitlements[0]; len(e.Proposed) != 2 || len(r.Agents[0].Refused) != 0 {
		t.Errorf("%+v", r.Agents[0])
	}
	if idle := r.Agents[1]; idle.Allowed != 0 || idle.Entitlements[0].Change != remit.FitRemove {
		t.Errorf("%+v", idle)
	}

	for path, want := range map[string]remit.Code{"nobody": remit.NotFound} {
		if _, err := w.SignIn("cleo").Rightsize(t.Context(), path, time.Hour); code(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := w.SignIn("cleo").Rightsize(t.Context(), "coder", 11*366*24*time.Hour); code(err) != remit.BadRequest {
		t.Error(err)
	}
}

// The inventory says who answers for each thing, and first of all for what nobody does.
func TestWhatNobodyAnswersForComesFirst(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(wide(w))
	at := reads(t, w, world.Repo)
	ada := w.SignIn("ada")
	all, err := ada.Inventory(t.Context(), remit.InventoryQuery{Limit: 500})
	if err != nil || all.After != "" || all.Forgotten {
		t.Fatalf("%+v %v", all, err)
	}
	of := func(list []remit.Asset, kind, name string) remit.Asset {
		t.Helper()
		n := slices.IndexFunc(list, func(x remit.Asset) bool { return x.Kind == kind && x.Name == name })
		if n < 0 {
			t.Fatalf("there is no %s %s", kind, name)
		}
		return list[n]
	}
	for _, c := range []struct {
		kind, name, owner string
		used              bool
	}{
		{"agent", "coder", "cleo", true}, {"agent", "idle", "cleo", false}, {"entitlement", "coder/1", "cleo", true}, {"entitlement", "coder/2", "cleo", false},
		{"repository", "forge/payments", "group reviewers", true}, {"repository", "forge/ledger", "group reviewers", false},
		{"credential", "upstream forge write", "group administrators", false}, {"person", "cleo", "cleo", true}, {"person", "ben", "ben", false},
	} {
		x := of(all.Assets, c.kind, c.name)
		if x.Owner != c.owner || x.Unowned != "" || (x.Last != 0) != c.used || x.CreatedAt == nil {
			t.Errorf("%+v, want owner %s, used %t", x, c.owner, c.used)
		}
		if c.kind == "agent" && c.used && x.Last != at {
			t.Errorf("%+v was used last in entry %d", x, at)
		}
	}
	// The pages are the whole, each thing once.
	var paged []remit.Asset
	for q := (remit.InventoryQuery{Limit: 3}); ; {
		page, err := ada.Inventory(t.Context(), q)
		if err != nil || len(page.Assets) > 3 {
			t.Fatalf("%+v %v", page, err)
		}
		paged = append(paged, page.Assets...)
		if q.After = page.After; q.After == "" {
			break
		}
	}
	if len(paged) != len(all.Assets) {
		t.Errorf("%d in pages, %d at once", len(paged), len(all.Assets))
	}
	// Use is forgotten by nobody, and time goes on.
	w.Clock.Advance(40 * 24 * time.Hour)
	ada = w.SignIn("ada")
	if err := ada.Kill(t.Context(), remit.KillRequest{What: "person", ID: "cleo"}); err != nil {
		t.Fatal(err)
	}
	idle, err := ada.Inventory(t.Context(), remit.InventoryQuery{Unused: 30 * 24 * time.Hour, Owner: "-", Limit: 500})
	if err != nil || len(idle.Assets) == 0 || idle.Assets[0].Kind != "agent" {
		t.Fatalf("%+v %v", idle, err)
	}
	for _, x := range idle.Assets {
		if x.Owner != "" || x.Unowned == "" {
			t.Errorf("%+v", x)
		}
	}
	if x := of(idle.Assets, "agent", "coder"); x.Unowned != "the authority of its owner cleo was ended" {
		t.Errorf("%+v", x)
	}
	for _, q := range []remit.InventoryQuery{{Kind: "robot"}, {Limit: 501}, {After: "?"}} {
		if _, err := ada.Inventory(t.Context(), q); code(err) != remit.BadRequest {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// Who set an agent to work may go on, and a group by which nobody did is proposed to go. What that would have refused of
// what came before is said, each time with its entry; and an agent that ends late is proposed an earlier end.
func TestWhoMayRequestIsSizedToo(t *testing.T) {
	w := world.New(t, world.Options{})
	d := wide(w)
	d.Groups = append(d.Groups, remit.Group{Name: "leads", Members: []string{"ben"}}, remit.Group{Name: "others", Members: []string{"ada", "ben"}})
	d.Agents[0].Owner, d.Agents[0].Requesters = "ada", []string{"developers", "leads", "others"}
	w.Declare(d)
	early := w.Task("ben")
	w.Clock.Advance(40 * 24 * time.Hour)
	w.Task("ada") // as its owner, who needs no group
	late := w.Task("cleo")
	reads(t, w, world.Repo)
	sized := func(within time.Duration) remit.AgentFit {
		t.Helper()
		r, err := w.SignIn("cleo").Rightsize(t.Context(), "coder", within)
		if err != nil || len(r.Agents) != 1 || !r.Whole {
			t.Fatalf("%+v %v", r, err)
		}
		return r.Agents[0]
	}
	f := sized(30 * 24 * time.Hour)
	change := map[string]string{}
	for _, g := range f.Requesters {
		change[g.Group] = g.Change
	}
	if len(change) != 3 || change["developers"] != remit.FitKeep || change["leads"] != remit.FitRemove || change["others"] != remit.FitRemove || !f.Changed() {
		t.Errorf("%+v", f.Requesters)
	}
	if g := f.Requesters[0]; g.Count != 2 || g.First >= g.Last || g.First != late.Entry {
		t.Errorf("%+v, and the task is %+v", g, late)
	}
	n := slices.IndexFunc(f.Refused, func(u remit.UseLine) bool { return u.Action == "task.create" })
	if n < 0 || f.Refused[n].Count != 1 || f.Refused[n].First == 0 {
		t.Errorf("%s was requested by whom nobody lets any more: %+v", early.ID, f.Refused)
	}
	if end := w.Clock.Now().Add(366 * 24 * time.Hour).UTC().Format(time.DateOnly); f.Expires.Change != remit.FitShrink || f.Expires.Declared != "2030-01-31" || f.Expires.Proposed != end {
		t.Errorf("%+v, and a year from now is %s", f.Expires, end)
	}
	// Over a longer time ben asked as well: by the group in which the fewest are needed he still may, and nothing is refused.
	f = sized(60 * 24 * time.Hour)
	kept := 0
	for _, g := range f.Requesters {
		if g.Change == remit.FitKeep {
			kept++
		}
	}
	if kept != 2 || slices.ContainsFunc(f.Refused, func(u remit.UseLine) bool { return u.Action == "task.create" }) {
		t.Errorf("%+v %+v", f.Requesters, f.Refused)
	}
}

// A CI job that started is kept, and one that never did is named. Where what started before would be refused, its entry is
// said, and where what it proved was erased it could have been any job of its issuer.
func TestJobsAreSizedToo(t *testing.T) {
	w := world.New(t, world.Options{})
	d := w.BuildTeam(world.NewIssuer(t, w.Clock.Now, jose.ES256))
	n := slices.IndexFunc(d.Agents, func(a remit.Agent) bool { return a.Name == "builder" })
	other := d.Agents[n].Jobs[0]
	other.Workflow = ".github/workflows/other.yml"
	d.Agents[n].Jobs = append(slices.Clone(d.Agents[n].Jobs), other)
	for i := range d.Repositories {
		if "repo:"+d.Repositories[i].Name == string(world.Repo) {
			d.Repositories[i].Artifacts = []remit.Pattern{"artifact:oci/payments"}
		}
	}
	w.Declare(d)
	publish(t, w, w.Build(), "sha256:"+strings.Repeat("1a", 32))
	sized := func(within time.Duration) remit.AgentFit {
		t.Helper()
		r, err := w.SignIn("cleo").Rightsize(t.Context(), "builder", within)
		if err != nil || len(r.Agents) != 1 || !r.Whole || len(r.Agents[0].Jobs) != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		return r.Agents[0]
	}
	f := sized(time.Hour)
	if f.Jobs[0].Change != remit.FitKeep || f.Jobs[0].Count != 1 || f.Jobs[0].First == 0 || f.Jobs[1].Change != remit.FitRemove || f.Jobs[1].Count != 0 || !f.Changed() {
		t.Errorf("%+v", f.Jobs)
	}
	if len(f.Refused) != 0 {
		t.Errorf("refused: %+v", f.Refused)
	}
	w.Clock.Advance(2 * time.Hour)
	f = sized(time.Hour)
	k := slices.IndexFunc(f.Refused, func(u remit.UseLine) bool { return u.Action == "instance.start" })
	if f.Jobs[0].Change != remit.FitRemove || k < 0 || f.Refused[k].Count != 1 || f.Refused[k].First == 0 {
		t.Errorf("%+v, refused %+v", f.Jobs, f.Refused)
	}
}
