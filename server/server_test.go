package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
)

func code(err error) remit.Code {
	var e *remit.Error
	if errors.As(err, &e) {
		return e.Code
	}
	var d *remit.DeclarationError
	if errors.As(err, &d) {
		return remit.BadRequest
	}
	return ""
}

// answer is what comes to a request, and its body.
func answer(t *testing.T, w *world.World, r *http.Request) (*http.Response, []byte) {
	t.Helper()
	resp, err := browser(w).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// call makes a raw request and gives status, header and body.
func call(t *testing.T, w *world.World, method, path, auth, body string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	resp, b := answer(t, w, r)
	return resp.StatusCode, resp.Header, string(b)
}

func TestAPersonSignsInWithTheirSSHKey(t *testing.T) {
	w := world.New(t, world.Options{})
	s, err := w.SignIn("ada").WhoAmI(t.Context())
	if err != nil || s.Name != "ada" || !s.Admin || s.Token != "" {
		t.Fatalf("%+v, %v", s, err)
	}
	key := w.Key("mallory")
	_, _, err = w.Client().SignIn(t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) { return sign(t, key, text), nil })
	if code(err) != remit.Unauthenticated {
		t.Fatalf("a stranger: %v", err)
	}
	if _, err := w.Client().WhoAmI(t.Context()); code(err) != remit.Unauthenticated {
		t.Fatalf("nobody: %v", err)
	}
}

func TestApplyingTheSameDeclarationsAgainChangesNothing(t *testing.T) {
	w := world.New(t, world.Options{})
	ada := w.SignIn("ada")
	d := w.Team()
	a, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d, DryRun: true})
	if err != nil || len(a.Changes) < 6 || a.Decision.Verdict != remit.Allow {
		t.Fatalf("%+v, %v", a, err)
	}
	if !slices.ContainsFunc(a.Changes, func(c remit.Change) bool { return c.Kind == "person" && c.Name == "cleo" && c.Op == "add" }) {
		t.Fatalf("the new person is not named: %+v", a.Changes)
	}
	w.Declare(d)
	for _, dry := range []bool{true, false} {
		if a, err = ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d, DryRun: dry}); err != nil || len(a.Changes) != 0 {
			t.Fatalf("again: %+v, %v", a.Changes, err)
		}
	}
	got, err := ada.Declarations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, err = ada.Apply(t.Context(), remit.ApplyRequest{Declarations: got, DryRun: true}); err != nil || len(a.Changes) != 0 {
		t.Fatalf("what is in force, applied again: %+v, %v", a.Changes, err)
	}
	if got.Agents[0].Purpose != "fixes bugs" || got.Agents[0].Expires != "2030-01-31" || got.Upstreams[0].Write.Name != "FORGE_TOKEN" ||
		got.People[2].Name != "cleo" || got.People[2].Keys[0] != d.People[2].Keys[0] || got.Repositories[0].Effects == nil {
		t.Fatalf("%+v", got)
	}
}

func TestWhatIsWrongInDeclarationsIsNamedByItsPlace(t *testing.T) {
	w := world.New(t, world.Options{})
	ada := w.SignIn("ada")
	for _, c := range []struct {
		path   string
		change func(*remit.Declarations)
	}{
		{"agents[0].owner", func(d *remit.Declarations) { d.Agents[0].Owner = "nobody" }},
		{"agents[0].name", func(d *remit.Declarations) { d.Agents[0].Name = "Coder!" }},
		{"detections[0].name", func(d *remit.Declarations) { d.Detections = []remit.Detection{{Name: "probin", Suspend: true}} }},
		{"detections[1].name", func(d *remit.Declarations) { d.Detections = []remit.Detection{{Name: "probing"}, {Name: "probing"}} }},
		{"agents[0].expires", func(d *remit.Declarations) { d.Agents[0].Expires = "soon" }},
		{"agents[0].entitlements[0].actions[0]", func(d *remit.Declarations) { d.Agents[0].Entitlements[0].Actions = []remit.Action{"source.steal"} }},
		{"agents[0].entitlements[0].resources[0]", func(d *remit.Declarations) { d.Agents[0].Entitlements[0].Resources = []remit.Pattern{"repo:*"} }},
		{"people[1].keys[0]", func(d *remit.Declarations) { d.People[1].Keys[0] = "ssh-dss AAAA" }},
		{"people[1].keys[0]", func(d *remit.Declarations) { d.People[1].Keys = d.People[0].Keys }},
		{"people[1].name", func(d *remit.Declarations) { d.People[1].Name = "be\u202en" }},
		{"people[1].name", func(d *remit.Declarations) { d.People[1].Name = "p-0123456789ab" }},
		{"groups[1].members[0]", func(d *remit.Declarations) { d.Groups[1].Members = []string{"zoe"} }},
		{"repositories[0].effects", func(d *remit.Declarations) { d.Repositories[0].Effects = nil }},
		{"repositories[0].name", func(d *remit.Declarations) { d.Repositories[0].Name = "elsewhere/payments" }},
		{"upstreams[0].kind", func(d *remit.Declarations) { d.Upstreams[0].Kind = "ftp" }},
	} {
		d := w.Team()
		c.change(&d)
		_, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d, DryRun: true})
		var wrong *remit.DeclarationError
		if !errors.As(err, &wrong) || wrong.Path != c.path || wrong.Sentence == "" {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	d := w.Team()
	d.Policy = []remit.PolicyFile{{Name: "a.rego", Text: "# broken"}}
	if _, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d}); code(err) != remit.BadRequest {
		t.Errorf("a policy that does not compile: %v", err)
	}
}

func TestAWideningChangeWaitsForASecondAdministratorAndIsThenPutInForceByTheServer(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	ada, ben := w.SignIn("ada"), w.SignIn("ben")
	d := w.Team()
	d.People = append(d.People, w.Person("dan"))
	d.Groups[0].Members = append(d.Groups[0].Members, "dan")
	a, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d})
	if err != nil || a.Decision.Verdict != remit.Hold || a.Decision.Access == "" {
		t.Fatalf("%+v, %v", a, err)
	}
	card, err := ben.Access(t.Context(), a.Decision.Access)
	if err != nil {
		t.Fatal(err)
	}
	if card.By != "ada" || !card.YouMay || !slices.Contains(card.Eligible, "ben") || len(card.Changes) != len(a.Changes) || card.Zone != remit.ZoneControl {
		t.Fatalf("%+v", card)
	}
	if !slices.ContainsFunc(card.Changes, func(c remit.Change) bool { return c.Kind == "person" && c.Name == "dan" }) {
		t.Fatalf("who would join is not named: %+v", card.Changes)
	}
	checkFixed(t, card)
	if _, err := w.Vote("ada", card, true); code(err) != remit.NotEligible {
		t.Fatalf("who asked approves: %v", err)
	}
	after, err := w.Vote("ben", card, true)
	if err != nil || after.Status != remit.AccessUsed {
		t.Fatalf("%s, %v", after.Status, err)
	}
	if s, err := w.SignIn("dan").WhoAmI(t.Context()); err != nil || !s.Admin {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := w.Server.CompleteControl(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnApprovalThatACrashLeftIsCompletedLater(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	d := w.Team()
	d.Groups[0].Members = append(d.Groups[0].Members, "cleo")
	a, err := w.SignIn("ada").Apply(t.Context(), remit.ApplyRequest{Declarations: d})
	if err != nil || a.Decision.Verdict != remit.Hold {
		t.Fatalf("%+v, %v", a, err)
	}
	card, err := w.SignIn("ben").Access(t.Context(), a.Decision.Access)
	if err != nil {
		t.Fatal(err)
	}
	w.Cast("ben", card, true) // and the server goes down before it does anything about it
	if s, err := w.SignIn("cleo").WhoAmI(t.Context()); err != nil || s.Admin {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := w.Server.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := w.SignIn("cleo").WhoAmI(t.Context()); err != nil || !s.Admin {
		t.Fatalf("%+v, %v", s, err)
	}
}

// checkFixed tells whether the fixed part of a card has the digest that a vote signs.
func checkFixed(t *testing.T, v remit.AccessView) {
	t.Helper()
	if got := remit.Hash([]byte("remit card v1\n"), compact(t, v.Fixed)); got != v.Card {
		t.Fatalf("the card's digest is %s, that of its fixed part %s:\n%s", v.Card, got, v.Fixed)
	}
}

func compact(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAHeldPushIsShownWholeAndApprovedBySomebodyElse(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	task := w.Task("cleo")
	inst := w.Instance("cleo", task.ID)
	d := w.Push(inst, shown(), ".github/workflows/ci.yml", "refund.go")
	if d.Verdict != remit.Hold {
		t.Fatalf("%+v", d)
	}
	card, err := w.SignIn("ben").Access(t.Context(), d.Access)
	if err != nil {
		t.Fatal(err)
	}
	if card.Agent != "coder" || card.Requester != "cleo" || card.Launcher != "cleo" || card.Owner != "cleo" || card.Confinement != remit.ConfineNone ||
		card.Intent != "fix the rounding of refunds" || card.Sentence == "" || len(card.Rules) == 0 || len(card.Refs) != 1 || len(card.Refs[0].Matched) == 0 ||
		card.Refs[0].Outside != 1 || card.Shown == nil || len(card.Shown.Commits) != 1 || !card.YouMay || len(card.Reach) == 0 {
		t.Fatalf("%+v", card)
	}
	checkFixed(t, card)
	cleos, err := w.SignIn("cleo").Access(t.Context(), d.Access)
	if err != nil || cleos.YouMay || cleos.WhyNot == "" {
		t.Fatalf("%+v, %v", cleos, err)
	}
	why, err := w.SignIn("cleo").Decision(t.Context(), d.Entry)
	if err != nil || !why.Derived || why.Verdict != remit.Hold || why.Sentence != d.Sentence || why.Access != d.Access {
		t.Fatalf("%+v, %v", why, err)
	}
	after, err := w.Vote("ben", card, true)
	if err != nil || after.Status != remit.AccessMet || len(after.Votes) != 1 || after.Votes[0].Person != "ben" || after.Votes[0].Assurance != remit.AssuranceNone {
		t.Fatalf("%+v, %v", after, err)
	}
	list, err := w.SignIn("ben").Accesses(t.Context(), false)
	if err != nil || len(list) != 1 || list[0].ID != d.Access {
		t.Fatalf("%+v, %v", list, err)
	}
}

func TestTheStoryOfATaskGoesFromIntentToOutcome(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	task := w.Task("cleo")
	inst := w.Instance("cleo", task.ID)
	d := w.Push(inst, shown(), "refund.go")
	if d.Verdict != remit.Allow {
		t.Fatalf("%+v", d)
	}
	w.Finish(d.Permit, remit.Done, "ok")
	cleo := w.SignIn("cleo")
	if err := cleo.EndTask(t.Context(), task.ID, "complete", remit.EndRequest{}); err != nil {
		t.Fatal(err)
	}
	tr, err := cleo.Trace(t.Context(), task.ID)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, s := range tr.Steps {
		kinds = append(kinds, s.Kind)
		if s.Sentence == "" || s.Actor == "" {
			t.Errorf("%+v", s)
		}
	}
	want := []string{"task.created", "instance.started", "decision", "permit.redeemed", "attempt.recorded", "instance.ended", "task.ended"}
	if !slices.Equal(kinds, want) || tr.Task.Intent != "fix the rounding of refunds" || tr.Task.Requester != "cleo" {
		t.Fatalf("%v\n%+v", kinds, tr.Task)
	}
	why, err := cleo.Decision(t.Context(), d.Entry)
	if err != nil || why.Outcome != remit.Done || !why.Derived {
		t.Fatalf("%+v, %v", why, err)
	}
	entries, outside, err := w.Follow.PushedBy(t.Context(), world.Repo, []string{strings.Repeat("ab", 20), strings.Repeat("00", 20)})
	if err != nil || !slices.Equal(entries, []remit.EntryIndex{d.Entry}) || outside != 1 {
		t.Fatalf("%v, %d, %v", entries, outside, err)
	}
}

func TestTheLogCanBeReadAndFollowed(t *testing.T) {
	w := world.New(t, world.Options{})
	ada := w.SignIn("ada")
	head, err := w.Client().LogHead(t.Context())
	if err != nil || head.Size == 0 || head.Trust == "" {
		t.Fatalf("%+v, %v", head, err)
	}
	n := uint64(0)
	for e, err := range ada.LogEntries(t.Context(), 0, false) {
		if err != nil || uint64(e.Entry) != n || e.Hash == "" {
			t.Fatalf("%+v, %v", e, err)
		}
		n++
	}
	if n != head.Size {
		t.Fatalf("%d entries of %d", n, head.Size)
	}
	declared := false
	for e, err := range ada.LogEntries(t.Context(), 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		if uint64(e.Entry) == head.Size-1 && !declared {
			declared = true
			w.Declare(w.Team()) // what comes now reaches whoever is already reading
		}
		if uint64(e.Entry) > head.Size {
			break
		}
	}
	var b bytes.Buffer
	if err := ada.ExportLog(t.Context(), &b); err != nil || b.String() != "bundle" {
		t.Fatalf("%q, %v", b.String(), err)
	}
}

func TestAPolicyIsTriedOnWhatWasAsked(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	d := w.Push(inst, shown(), "refund.go")
	a, err := w.SignIn("ada").TryPolicy(t.Context(), remit.TryRequest{Files: []remit.PolicyFile{{Name: "no.rego", Text: "# deny"}}})
	if err != nil || a.Judged != 1 || len(a.Differences) != 1 || a.Differences[0].Entry != d.Entry || a.Differences[0].Would != remit.Deny {
		t.Fatalf("%+v, %v", a, err)
	}
	p, err := w.SignIn("cleo").Policy(t.Context())
	if err != nil || len(p.Files) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestAKilledPersonIsSignedOut(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	cleo := w.SignIn("cleo")
	inst := w.Instance("cleo", w.Task("cleo").ID)
	if err := w.SignIn("ada").Kill(t.Context(), remit.KillRequest{What: "person", ID: "cleo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := cleo.WhoAmI(t.Context()); code(err) != remit.Unauthenticated {
		t.Fatal(err)
	}
	if _, err := cleo.WaitAccess(t.Context(), "A-1", inst.ID, []byte(inst.Secret)); code(err) != remit.Unauthenticated {
		t.Fatal(err)
	}
	if err := w.SignIn("ada").Kill(t.Context(), remit.KillRequest{What: "person", ID: "nobody"}); code(err) != remit.NotFound {
		t.Fatal(err)
	}
}
