package console_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity/signin"
	"github.com/remit-dev/remit/internal/browser"
	"github.com/remit-dev/remit/internal/world"
)

func oid(s string) string { return strings.Repeat(s, 40)[:40] }

// push is a push of an instance, from a commit that begins so.
func push(i client.Instance, tip string, paths ...string) remit.Request {
	ref := remit.RefChange{Ref: i.Branch + "/fix", Op: remit.RefCreate, New: oid(tip), Tree: oid(tip + "7"), Commits: 1, Brought: []string{oid(tip)}}
	for _, p := range paths {
		ref.Paths = append(ref.Paths, remit.PathChange{Path: p, NewMode: 0o100644, New: oid("e")})
	}
	return remit.Request{Gateway: "gateway/git", Caller: remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task}, Order: []byte("order"),
		Steps: []remit.Step{{Action: "source.push", Resource: world.Repo}}, Refs: []remit.RefChange{ref}, Bytes: 100}
}

func (h *house) ask(r remit.Request, want remit.Verdict) remit.Decision {
	h.T.Helper()
	d, err := h.Engine.Authorize(h.T.Context(), r)
	if err != nil || d.Verdict != want {
		h.T.Fatalf("%+v %v; want %s", d, err, want)
	}
	return d
}

// carry has the executor of zone S redeem what people agreed to, and say what came of it.
func (h *house) carry(access remit.ID, r remit.Request, o remit.Outcome, code remit.Code, receipt string) {
	h.T.Helper()
	d := h.ask(world.Claim(access, r), remit.Allow)
	a, err := h.Engine.Redeem(h.T.Context(), d.Permit)
	if err != nil {
		h.T.Fatal(err)
	}
	if err := h.Engine.Record(h.T.Context(), a, o, code, []byte(receipt), ""); err != nil {
		h.T.Fatal(err)
	}
}

// fine checks what holds of every page.
func fine(t *testing.T, p *browser.Page) {
	t.Helper()
	if n := p.Overflows(); n > 0 {
		t.Errorf("%d pixels too wide", n)
	}
	for _, x := range p.Wrong() {
		t.Error(x)
	}
	for _, f := range p.Axe() {
		t.Error(f)
	}
	for _, n := range p.Numbers() {
		t.Errorf("a figure that leads nowhere: %s", n)
	}
	for _, n := range p.Unnamed() {
		t.Errorf("a screen reader has no name for a %s", n)
	}
}

// An agent files a plan; people agree to it once; what lies inside passes, and what does not shows how it differs.
func TestAPlanIsApprovedAndADeviationShowsTheDifference(t *testing.T) {
	h := newHouse(t, remit.Team)
	task := h.Task("cleo")
	i := h.Instance("cleo", task.ID)
	plan := remit.Plan{Steps: []remit.PlanStep{{Action: "source.push", Resource: remit.Pattern(world.Repo), Paths: []remit.Pattern{".github/workflows/**"}, MaxPaths: 1, Uses: 2}}}
	filing := remit.Request{Gateway: "task", Caller: remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task}, Plan: &plan, Order: []byte("plan"),
		Steps: []remit.Step{{Action: remit.ActionPlan, Resource: remit.Resource("task:" + i.Agent), Args: plan.Digest()}}}
	filed := h.ask(filing, remit.Hold)
	p := chromium.New(t).Open(browser.Phone)
	h.device(p, "ben")
	h.enter(p, "ben")
	p.Go(h.URL + "/console/approvals/" + string(filed.Access))
	p.See("The plan")
	p.See(".github/workflows/**, at most 1 path; up to 2 times")
	p.Shot("plan-phone", true)
	fine(t, p)
	p.Click(`[data-vote="approve"]`)
	p.See("People agreed.")
	h.carry(filed.Access, filing, remit.Done, "", "")
	p.See("It was approved and done.")
	inside := h.ask(push(i, "1", ".github/workflows/ci.yml"), remit.Allow)
	h.Finish(inside.Permit, remit.Done, "")
	outside := h.ask(push(i, "2", ".github/workflows/ci.yml", ".envrc"), remit.Hold)
	p.Go(h.URL + "/console/approvals/" + string(outside.Access))
	p.See("How it differs from the plan")
	p.See("the nearest")
	if text := p.Text(); !strings.Contains(text, string(filed.Access)) || !strings.Contains(text, "paths; at most 1") && !strings.Contains(text, "outside of .github/workflows/**") || !strings.Contains(text, "used 1 time so far") {
		t.Error(text)
	}
	p.Shot("deviation-phone", true)
	fine(t, p)
	p.Run(`document.querySelector(".plan a").click()`) // the figure of its uses
	p.See("Those that say")
	p.Until(`document.querySelector(".entries li")`)
	p.Go(h.URL + "/console/tasks/" + string(task.ID))
	p.See("Its plan")
	p.Shot("task-plan-phone", true)
	fine(t, p)
}

// The same change on another base is asked about again, and votes count for both.
func TestAnEquivalentPushKeepsItsVotes(t *testing.T) {
	h := newHouse(t, remit.Team)
	d, err := h.SignIn("ada").Declarations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 2}}
	h.Declare(d)
	task := h.Task("cleo")
	i := h.Instance("cleo", task.ID)
	first := h.ask(push(i, "1", ".github/workflows/ci.yml"), remit.Hold)
	b := chromium.New(t)
	bens, doras := b.Open(browser.Desktop), b.Open(browser.Phone)
	h.device(bens, "ben")
	h.enter(bens, "ben")
	bens.Go(h.URL + "/console/approvals/" + string(first.Access))
	bens.Click(`[data-vote="approve"]`)
	bens.See("1 of 2 have approved; 1 more must.")
	second := h.ask(push(i, "2", ".github/workflows/ci.yml"), remit.Hold)
	bens.See("A newer request of the same task took its place") // by itself
	bens.Shot("equivalent-old-desktop", true)
	bens.Click(`.over a`)
	bens.See("the same change on another base")
	bens.See("You have approved " + string(second.Access))
	bens.Shot("equivalent-desktop", true)
	fine(t, bens)
	h.device(doras, "dora")
	h.enter(doras, "dora")
	doras.Go(h.URL + "/console/approvals/" + string(second.Access))
	doras.Click(`[data-vote="approve"]`)
	doras.See("People agreed.")
	bens.See("dora approves")
	if v := h.status(second.Access); v.Status != remit.AccessMet || !v.Carried || v.Replaces != first.Access {
		t.Errorf("%+v", v)
	}
}

// What it was made for changed between the vote and the act: nothing was done, and the card says what changed.
func TestAStaleApprovalSaysWhatChanged(t *testing.T) {
	h := newHouse(t, remit.Team)
	i := h.Instance("cleo", h.Task("cleo").ID)
	r := push(i, "1", ".github/workflows/ci.yml")
	d := h.ask(r, remit.Hold)
	p := chromium.New(t).Open(browser.Phone)
	h.device(p, "ben")
	h.enter(p, "ben")
	p.Go(h.URL + "/console/approvals/" + string(d.Access))
	p.Click(`[data-vote="approve"]`)
	p.See("People agreed.")
	h.carry(d.Access, r, remit.NotApplied, remit.Stale, "refs/heads/main is at 222222222222, not at 111111111111")
	p.See("has changed since: nothing was done")
	p.See("refs/heads/main is at 222222222222, not at 111111111111")
	p.Shot("stale-phone", true)
	fine(t, p)
}

// A person signs in where their organisation does, by a button, and comes back to the card that they were sent.
func TestAPersonSignsInAtTheirProvider(t *testing.T) {
	var handler http.Handler
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(site.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &house{World: world.New(t, world.Options{Host: "localhost", Providers: []signin.Provider{{Name: "corp", Title: "Corp", Issuer: site.URL, CA: ca, ClientID: "remit",
		Secret: func(context.Context) (string, error) { return "s3cret", nil }}}})}
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) }) // the example sets its own
	handler = exampleop.SetupServer(site.URL, storage.NewStorageWithClients(storage.NewUserStore(site.URL), map[string]*storage.Client{
		"remit": storage.WebClient("remit", "s3cret", h.URL+"/v1/orgs/acme/sign-in/providers/corp/callback")}), slog.New(slog.DiscardHandler), false)
	d := h.Team()
	d.People[1].Identities = []remit.Identity{{Issuer: site.URL, Subject: "id1"}}
	h.Declare(d)
	_, id := h.hold(evilShown())
	p := chromium.New(t).Open(browser.Phone)
	p.Go(h.URL + "/console/approvals/" + string(id))
	p.See("Sign in with Corp")
	p.Shot("signin-provider-phone", true)
	fine(t, p)
	p.Click(`.provider a`)
	p.Until(`document.querySelector("input[name=username]")`)
	p.Type(`input[name="username"]`, "test-user@127.0.0.1")
	p.Type(`input[name="password"]`, "verysecure")
	p.Click(`button[type="submit"]`)
	p.See("You have no passkey here") // to have signed in is no vote: that takes a key of theirs
	if at := p.Address(); at != fmt.Sprintf("%s/console/approvals/%s", h.URL, id) {
		t.Error(at)
	}
}
