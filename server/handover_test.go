package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
)

// handOver is what remit login --browser asks for.
func handOver(t *testing.T, w *world.World, name string) remit.HandOver {
	t.Helper()
	key := w.Key(name)
	h, err := w.Client().HandOver(t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) { return sign(t, key, text), nil })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A terminal's key signs a browser in, which says first as whom, once, and only at a page of this server.
func TestATerminalSignsItsBrowserIn(t *testing.T) {
	w, ada := newcomer(t)
	h := handOver(t, w, "ben")
	if h.Link != w.URL+"/console/hand-over#"+h.Secret || !h.NotAfter.Equal(w.Clock.Now().Add(identity.HandOverLife)) {
		t.Fatalf("%+v", h)
	}
	in := remit.HandedOver{Secret: h.Secret}
	var v remit.HandOverView
	b := newTab(t, w)
	b.must("POST", orgPath+"/sign-in/hand-over/look", in, &v)
	if v.Name != "ben" || !v.Here || v.Other != "" || v.Address == "" {
		t.Fatalf("%+v", v)
	}
	ada.must("POST", orgPath+"/sign-in/hand-over/look", in, &v)
	if v.Other != "ada" {
		t.Fatalf("a browser that is ada's is told of %q", v.Other)
	}
	elsewhere := func(r *http.Request) {
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	inst := w.Instance("cleo", w.Task("cleo").ID)
	for _, path := range []string{"/look", "/accept"} {
		b.refuses(remit.Forbidden, "POST", orgPath+"/sign-in/hand-over"+path, in, elsewhere)
		b.refuses(remit.Forbidden, "POST", orgPath+"/sign-in/hand-over"+path, in, func(r *http.Request) { r.Header.Del("Origin"); r.Header.Del("Sec-Fetch-Site") })
		b.refuses(remit.Forbidden, "POST", orgPath+"/sign-in/hand-over"+path, in, func(r *http.Request) { r.Header.Set("Authorization", instanceAuth(inst)) })
		b.refuses(remit.Unauthenticated, "POST", orgPath+"/sign-in/hand-over"+path, remit.HandedOver{Secret: h.Secret + "A"})
	}
	var s remit.Session
	ada.must("POST", orgPath+"/sign-in/hand-over/accept", in, &s)
	if s.Name != "ben" || s.Method != "key" || s.CSRF == "" || s.Token != "" {
		t.Fatalf("%+v", s)
	}
	ada.csrf = s.CSRF
	ada.must("GET", orgPath+"/session", nil, &s)
	if s.Name != "ben" {
		t.Fatalf("the browser is %s's", s.Name)
	}
	b.refuses(remit.Unauthenticated, "POST", orgPath+"/sign-in/hand-over/accept", in)
	late := handOver(t, w, "ben")
	w.Clock.Advance(identity.HandOverLife)
	b.refuses(remit.Unauthenticated, "POST", orgPath+"/sign-in/hand-over/accept", remit.HandedOver{Secret: late.Secret})
	// The proof is as old as the signature.
	w.Clock.Advance(identity.FreshFor)
	status, head, _ := ada.send("POST", orgPath+"/agents/coder/resume", struct{}{})
	if status != http.StatusUnauthorized || !strings.Contains(head.Get("WWW-Authenticate"), "insufficient_user_authentication") {
		t.Fatal(status, head)
	}
	ada.must("POST", orgPath+"/agents/coder/suspend", struct{}{}, nil) // taking away never waits
}

// To keep everything from an upstream never waits; to lift that wants a fresh proof.
func TestLiftingWantsAFreshProof(t *testing.T) {
	w, ada := newcomer(t)
	w.Clock.Advance(identity.FreshFor)
	name := w.Team().Upstreams[0].Name
	ada.must("POST", orgPath+"/upstreams/"+name+"/contain", remit.ContainRequest{}, nil)
	ada.refuses(remit.Unauthenticated, "POST", orgPath+"/upstreams/"+name+"/contain", remit.ContainRequest{Lift: true})
	ada.signIn("ada")
	ada.must("POST", orgPath+"/upstreams/"+name+"/contain", remit.ContainRequest{Lift: true}, nil)
}

// A command outlives its session: its client proves its person again, once, also where two requests find out at a time.
func TestATerminalProvesItsPersonAgain(t *testing.T) {
	w := world.New(t, world.Options{})
	proofs := 0
	again := func() string {
		proofs++
		key := w.Key("ada")
		_, s, err := w.Client().SignIn(t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) { return sign(t, key, text), nil })
		if err != nil {
			t.Fatal(err)
		}
		return s.Token
	}
	c := w.Client().WithToken(again()).Renewing(func(context.Context) (string, error) { return again(), nil })
	if _, err := c.WhoAmI(t.Context()); err != nil || proofs != 1 {
		t.Fatal(proofs, err)
	}
	w.Clock.Advance(identity.SessionLife - time.Second)
	if _, err := c.Apply(t.Context(), remit.ApplyRequest{Declarations: w.Team()}); err != nil || proofs != 1 {
		t.Fatal(proofs, err) // a moment before the end
	}
	w.Clock.Advance(time.Second)
	if _, err := c.Apply(t.Context(), remit.ApplyRequest{Declarations: w.Team()}); err != nil || proofs != 2 {
		t.Fatal(proofs, err)
	}
	if _, err := c.WhoAmI(t.Context()); err != nil || proofs != 2 {
		t.Fatal(proofs, err)
	}
	w.Clock.Advance(identity.SessionLife)
	done := make(chan error)
	for range 8 {
		go func() { _, err := c.WhoAmI(t.Context()); done <- err }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if proofs != 3 {
		t.Fatalf("%d proofs", proofs)
	}
	_, err := c.WithToken("remits_x").WhoAmI(t.Context())
	if code(err) != remit.Unauthenticated || proofs != 3 {
		t.Fatal(proofs, err)
	}
}

// What is asked of a voter's sign-in reaches them as RFC 9470 has it, and a sign-in that is enough votes.
func TestAVoteWantsAStepUp(t *testing.T) {
	w := world.New(t, world.Options{Host: "localhost"})
	d := w.Team()
	d.Repositories[0].Approvers[0].StepUp = remit.StepUp{MaxAge: "5m", ACR: nil}
	w.Declare(d)
	inst, err := w.SignIn("cleo").Session().StartInstance(t.Context(), client.InstanceStart{Task: w.Task("cleo").ID, Confinement: remit.ConfineSandbox})
	if err != nil {
		t.Fatal(err)
	}
	hold := w.Push(inst, shown(), ".github/workflows/ci.yml").Access
	ben := newTab(t, w)
	ben.signIn("ben")
	w.Clock.Advance(5*time.Minute + time.Second)
	card, err := w.SignIn("ben").Access(t.Context(), hold)
	if err != nil || card.Needs[0].StepUp.MaxAge != "5m" {
		t.Fatalf("%+v, %v", card.Needs, err)
	}
	st, sig := w.Statement("ben", card, true)
	in := remit.VoteRequest{Statement: st, Signature: sig}
	status, head, body := ben.send("POST", orgPath+"/approvals/"+string(hold)+"/votes", in)
	if status != http.StatusUnauthorized || head.Get("WWW-Authenticate") != `Bearer error="insufficient_user_authentication", max_age="300"` || !strings.Contains(string(body), `"STEP_UP"`) || !strings.Contains(string(body), "proved within 5m") {
		t.Fatal(status, head, string(body))
	}
	ben.signIn("ben")
	ben.must("POST", orgPath+"/approvals/"+string(hold)+"/votes", in, &card)
	if len(card.Votes) != 1 || card.Votes[0].Signed.Method != "key" || card.Votes[0].Signed.Age != 1 {
		t.Fatalf("%+v", card.Votes)
	}
}

// A provider that goes away in the middle leaves its person with a page that says so, not with a session.
func TestAProviderThatGoesAway(t *testing.T) {
	w, site := corporate(t)
	b := newTab(t, w)
	back := through(t, site, b.begin("false"), "test-user@127.0.0.1")
	site.CloseClientConnections()
	site.Close()
	status, head, page := b.send("GET", back, nil)
	if status != remit.UpstreamDown.Info().HTTP || !strings.HasPrefix(head.Get("Content-Type"), "text/html") || !strings.Contains(string(page), "You are not signed in") ||
		!strings.Contains(string(page), "corp") || !strings.Contains(string(page), "/console/sign-in") || len(page) > 1024 {
		t.Fatal(status, head, string(page))
	}
	b.refuses(remit.Unauthenticated, "GET", orgPath+"/session", nil)
	if status, _, page := b.send("GET", back, nil); status != http.StatusForbidden { // the flow is spent
		t.Fatal(status, string(page))
	}
}
