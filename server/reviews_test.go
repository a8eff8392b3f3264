package server_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/sshsig"
)

// reviewing is a world in which ben's agent is reviewed by a campaign.
func reviewing(t *testing.T) (*world.World, remit.Declarations) {
	t.Helper()
	w := world.New(t, world.Options{Certificates: time.Now})
	d := w.Team()
	d.Agents[0].Owner = "ben"
	d.Campaigns = []remit.Campaign{{Name: "monthly", Cadence: "0 9 1 * *", Fallback: "reviewers", Owners: []string{"ben"}, Agents: []string{"co*"}, Canaries: 2}}
	d.Reviews = &remit.Reviews{SuspendAfter: "off", RetireAfter: "off", Micro: []string{"wide"}}
	w.Declare(d)
	return w, d
}

// passes lets time pass, and what it does be done.
func passes(w *world.World, d time.Duration) {
	w.T.Helper()
	w.Clock.Advance(d)
	for range 3 {
		w.Clock.Advance(2 * time.Minute) // reviews are looked at every minute
		if err := w.Engine.Tick(w.T.Context()); err != nil {
			w.T.Fatal(err)
		}
	}
}

// What is declared of reviews is given back as it was declared, and to apply it once more changes nothing.
func TestDeclaredReviewsComeBack(t *testing.T) {
	w, d := reviewing(t)
	ada := w.SignIn("ada")
	got, err := ada.Declarations(t.Context())
	if err != nil || !reflect.DeepEqual(got.Campaigns, d.Campaigns) || !reflect.DeepEqual(got.Reviews, d.Reviews) {
		t.Errorf("%+v %+v %v", got.Campaigns, got.Reviews, err)
	}
	a, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: got})
	if err != nil || len(a.Changes) != 0 {
		t.Errorf("%+v %v", a, err)
	}
	for change, want := range map[string]func(*remit.Declarations){
		"campaigns[0].cadence":   func(d *remit.Declarations) { d.Campaigns[0].Cadence = "*/5 * * * *" },
		"campaigns[0].owners[0]": func(d *remit.Declarations) { d.Campaigns[0].Owners = []string{"nobody"} },
		"campaigns[0].due":       func(d *remit.Declarations) { d.Campaigns[0].Due = "1m" },
		"reviews.suspend_after":  func(d *remit.Declarations) { d.Reviews.SuspendAfter = "soon" },
		"reviews.fallback":       func(d *remit.Declarations) { d.Reviews.Fallback = "nobody" },
	} {
		bad, err := ada.Declarations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want(&bad)
		if _, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: bad, DryRun: true}); err == nil || !strings.Contains(err.Error(), change) {
			t.Errorf("%s: %v", change, err)
		}
	}
	without, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: remit.Declarations{People: got.People, Groups: got.Groups, Agents: got.Agents, Upstreams: got.Upstreams, Repositories: got.Repositories}})
	if err != nil || without.Decision.Verdict != remit.Hold || without.Decision.Code != remit.ControlWidens {
		t.Errorf("to review nothing any more: %+v %v", without.Decision, err)
	}
}

// The inbox points those to reviews who may answer, and nobody else; what ends first is named.
func TestTheInboxPointsToReviews(t *testing.T) {
	w, _ := reviewing(t)
	passes(w, 32*24*time.Hour)
	inbox := func(who string) *remit.ReviewsWaiting {
		t.Helper()
		in, err := w.SignIn(who).Inbox(t.Context()) // sessions end meanwhile
		if err != nil {
			t.Fatal(err)
		}
		return in.Reviews
	}
	l, err := w.SignIn("ben").ReviewItems(t.Context(), false)
	if err != nil || l.Yours < 2 {
		t.Fatalf("%+v %v", l, err)
	}
	first := l.Items[0].Ends
	if got := inbox("ben"); got == nil || got.Items != l.Yours || !got.Ends.Equal(first) {
		t.Errorf("%+v; %d are ben's, the first ends %s", got, l.Yours, first)
	}
	if got := inbox("cleo"); got != nil {
		t.Errorf("cleo is pointed to what she may not answer: %+v", got)
	}
	passes(w, first.Sub(w.Clock.Now())-12*time.Hour) // after the last reminder
	if got := inbox("cleo"); got == nil || got.Items != l.Yours {
		t.Errorf("cleo, of the fallback group, may answer as well now: %+v", got)
	}
	passes(w, 30*24*time.Hour)
	if got := inbox("ben"); got != nil {
		t.Errorf("nothing waits any more: %+v", got)
	}
}

// A report says the same long after the state has forgotten the items: it is read from the log.
func TestAReportOutlivesItsItems(t *testing.T) {
	w, _ := reviewing(t)
	passes(w, 32*24*time.Hour)
	l, err := w.SignIn("ben").ReviewItems(t.Context(), false)
	if err != nil || len(l.Runs) != 1 || l.Yours == 0 {
		t.Fatalf("%+v %v", l, err)
	}
	run := l.Runs[0].ID
	v := l.Items[0] // of the rest, silence says what comes
	text := remit.Certification{Origin: "acme.example/log", Answers: []remit.Certified{{Item: v.ID, Answer: remit.Keep, Shown: v.Shown}}}.Bytes()
	sig, err := sshsig.Sign(w.Key("ben"), remit.ReviewNamespace, text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.SignIn("ben").Certify(t.Context(), remit.CertifyRequest{Statement: text, Signature: sig}); err != nil {
		t.Fatal(err)
	}
	passes(w, 14*24*time.Hour)
	passes(w, 25*time.Hour)
	before, err := w.SignIn("ben").CampaignRun(t.Context(), run)
	if err != nil || before.Closed == nil || len(before.Items) != len(l.Items) {
		t.Fatalf("%+v %v", before, err)
	}
	for _, i := range before.Items {
		if i.Status == remit.ItemOpen || i.Ended == 0 {
			t.Errorf("%+v", i)
		}
	}
	passes(w, 120*24*time.Hour)
	if _, err := w.SignIn("ben").ReviewItem(t.Context(), v.ID); err == nil {
		t.Fatal("the state has not forgotten it")
	}
	after, err := w.SignIn("ben").CampaignRun(t.Context(), run)
	if err != nil || len(after.Items) != len(before.Items) {
		t.Fatalf("%+v %v", after, err)
	}
	for i, b := range before.Items {
		a := after.Items[i]
		if a.ID != b.ID || a.Status != b.Status || a.Ended != b.Ended || a.Uses != b.Uses || a.Advice != b.Advice || a.Shown != b.Shown || a.Fixed != b.Fixed || !reflect.DeepEqual(a.Answered, b.Answered) || !reflect.DeepEqual(a.Entitlement, b.Entitlement) {
			t.Errorf("it was\n%+v\nand is\n%+v", b, a)
		}
	}
}

// Routes of reviews take what they are for, and say what would be right.
func TestReviewRoutesRefuse(t *testing.T) {
	w, _ := reviewing(t)
	ben := w.SignIn("ben")
	ctx := t.Context()
	for what, err := range map[string]error{
		"no such item": second(ben.ReviewItem(ctx, "R-1")), "no such run": second(ben.CampaignRun(ctx, "C-1")), "no such campaign": second(ben.OpenCampaign(ctx, "never")),
		"no statement": second(ben.Certify(ctx, remit.CertifyRequest{})), "an item that took nothing": second(ben.Regrant(ctx, "R-1")), "an active agent": second(ben.Revive(ctx, "coder")),
		"no such agent": second(ben.Revive(ctx, "never")), "no administrator": second(w.SignIn("cleo").OpenCampaign(ctx, "monthly")), "no owner": second(w.SignIn("cleo").Revive(ctx, "coder")),
	} {
		if err == nil {
			t.Errorf("%s: it is done", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }
