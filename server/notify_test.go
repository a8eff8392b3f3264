package server_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	orgs "github.com/remit-dev/remit/internal/world"
)

func TestWhoIsToldOfWhat(t *testing.T) {
	w := orgs.New(t, orgs.Options{})
	d := w.Team()
	d.Notify = []remit.Channel{{Name: "chat", Kind: remit.ChannelSlack, Secret: remit.Source{From: "env", Name: "CHAT"}},
		{Name: "mail", Kind: remit.ChannelEmail, URL: "smtp://mail.example:587", From: "remit@acme.example", To: []string{"cleo@acme.example"}}}
	d.Escalations = []remit.Escalation{{Name: "lead", After: "30m", To: "reviewers"}}
	w.Declare(d)
	ada := w.SignIn("ada")
	got, err := ada.Declarations(t.Context())
	if err != nil || len(got.Notify) != 2 || got.Notify[1].To[0] != "cleo@acme.example" || got.Escalations[0].To != "reviewers" {
		t.Fatalf("%+v %v", got.Notify, err)
	}
	slices.Reverse(got.Notify)
	a, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: got})
	if err != nil || len(a.Changes) != 0 {
		t.Fatalf("another order is another declaration: %+v %v", a, err)
	}
	got.Notify = got.Notify[:1]
	a, err = ada.Apply(t.Context(), remit.ApplyRequest{Declarations: got})
	if err != nil || a.Decision.Verdict != remit.Hold || !strings.Contains(a.Decision.Sentence, "go elsewhere") {
		t.Fatalf("nobody is told any more, and no second administrator was asked: %+v %v", a, err)
	}
	v, err := w.SignIn("ben").Access(t.Context(), a.Decision.Access)
	if err != nil || len(v.Changes) != 1 || v.Changes[0].Details != "mail: email smtp://mail.example:587 cleo@acme.example" {
		t.Fatalf("who decides does not see where messages go: %+v %v", v.Changes, err)
	}
	got.Notify[0].Secret.From = "dns"
	if _, err = ada.Apply(t.Context(), remit.ApplyRequest{Declarations: got}); err == nil || !strings.Contains(err.Error(), "file, env, exec or store") {
		t.Fatal(err)
	}
	w.Engine.View(func(s *authority.State) {
		if b, err := json.Marshal(s); err != nil || strings.Contains(string(b), "cleo@") {
			t.Errorf("an address is in a leaf: %v", err)
		}
	})
}

func TestSeeing(t *testing.T) {
	w := orgs.New(t, orgs.Options{})
	w.Declare(w.Team())
	i := w.Instance("cleo", w.Task("cleo").ID)
	id := w.Push(i, remit.Shown{}, ".github/workflows/ci.yml").Access
	for _, who := range []string{"cleo", "ada", "ben", "ben"} { // who asked, who is not asked, who may vote, twice
		if err := w.SignIn(who).Seen(t.Context(), id); err != nil {
			t.Fatal(who, err)
		}
	}
	if err := w.SignIn("ben").Seen(t.Context(), "A-0"); err == nil {
		t.Fatal("there is no such request")
	}
	w.Engine.View(func(s *authority.State) {
		if seen := s.Accesses[id].Seen; len(seen) != 1 || seen[0].At == 0 {
			t.Errorf("%+v", seen)
		}
	})
	v, err := w.Server.CardOf(t.Context(), id)
	if err != nil || v.Link != "" || v.YouMay || v.WhyNot != "" || v.Requester != "cleo" || len(v.Eligible) != 1 {
		t.Fatalf("%+v %v", v, err)
	}
	if _, err := w.Server.CardOf(t.Context(), "A-0"); err == nil {
		t.Fatal("there is no such card")
	}
	ben := w.SignIn("ben")
	card, err := ben.Access(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w.Cast("ben", card, true)
	gates, err := ben.Gates(t.Context())
	if err != nil || len(gates) != 1 || gates[0].Timed != 1 || gates[0].Quick != 1 || gates[0].Action != "source.push" || len(gates[0].Routine) != 1 || gates[0].Routine[0].Approved != 1 {
		t.Fatalf("%+v %v", gates, err)
	}
	if asked, err := ben.Asked(t.Context()); err != nil || !slices.Contains(asked, remit.AskedView{Person: "ben", Asked: 1, Voted: 1}) || slices.ContainsFunc(asked, func(v remit.AskedView) bool { return v.Person == "cleo" }) {
		t.Fatalf("%+v %v", asked, err)
	}
	if all, err := ben.Channels(t.Context()); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	if _, err := w.SignIn("ada").RetryChannel(t.Context(), "chat", remit.RetryRequest{}); err == nil {
		t.Fatal("there is no channel")
	}
	if _, err := w.SignIn("cleo").RetryChannel(t.Context(), "chat", remit.RetryRequest{}); err == nil || !strings.Contains(err.Error(), "FORBIDDEN") {
		t.Fatal("somebody who is no administrator:", err)
	}
}
