package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
)

// leased opens a lease for a read of a task of cleo's, and takes it as far as the statuses say.
func leased(t *testing.T, w *world.World, to ...remit.LeaseStatus) (lease, task remit.ID) {
	t.Helper()
	task = w.Task("cleo").ID
	i := w.Instance("cleo", task)
	d, err := w.Engine.Authorize(t.Context(), remit.Request{Gateway: "git", Caller: remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task},
		Steps: []remit.Step{{Action: "source.read", Resource: world.Repo}}})
	if err != nil || d.Verdict != remit.Allow {
		t.Fatalf("%+v %v", d, err)
	}
	a, err := w.Engine.Redeem(t.Context(), d.Permit)
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.Engine.Do(t.Context(), &authority.OpenLease{Attempt: a.ID, Upstream: "forge", Target: world.Repo, For: int64(time.Hour),
		Revocation: remit.RevokeImmediate})
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range to {
		if _, err := w.Engine.Do(t.Context(), &authority.MoveLease{Lease: res.ID, To: st}); err != nil {
			t.Fatal(err)
		}
	}
	return res.ID, task
}

func TestLeasesAreListedWithTheirDebtAndTheirReceipts(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	cleo := w.SignIn("cleo")
	id, task := leased(t, w, remit.LeaseAnchored, remit.LeaseMinted, remit.LeaseActive)
	list, err := cleo.Leases(t.Context(), false)
	if err != nil || len(list.Leases) != 1 || list.Debt != 0 || list.Exposure != 0 {
		t.Fatalf("%+v %v", list, err)
	}
	if l := list.Leases[0]; l.ID != id || l.Status != remit.LeaseActive || l.Upstream != "forge" || l.Zone != remit.ZoneSource || l.Target != world.Repo ||
		l.Task != task || l.Agent != "coder" || l.Write || l.NotAfter.Sub(l.Opened) != time.Hour || l.Revocation != remit.RevokeImmediate {
		t.Fatalf("%+v", l)
	}
	if _, err := cleo.LeaseReceipt(t.Context(), id); code(err) != remit.NotFound {
		t.Fatalf("a receipt of what lives: %v", err)
	}
	w.Clock.Advance(3 * time.Hour) // its time is over, and nobody has ended it
	if _, err := w.Engine.Do(t.Context(), &authority.MoveLease{Lease: id, To: remit.LeaseRevoking, Code: remit.Expired}); err != nil {
		t.Fatal(err)
	}
	cleo = w.SignIn("cleo")
	if list, err = cleo.Leases(t.Context(), false); err != nil || list.Debt != 1 || list.Leases[0].Due == nil || list.Leases[0].Ending == nil {
		t.Fatalf("%+v %v", list, err)
	}
	want := remit.LeaseReceipt{Lease: id, Name: "remit-acme-l-1", Upstream: "forge", Target: world.Repo, Status: remit.LeaseRevoked, Why: remit.Expired,
		Asked: w.Clock.Now(), How: remit.LeaseByRevoke, Dead: w.Clock.Now(), Probe: remit.ProbeAsCredential, Tries: 2}
	body, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Engine.NewPayload(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Engine.Do(t.Context(), &authority.MoveLease{Lease: id, To: remit.LeaseRevoked, Code: remit.Expired, Tries: 2, Receipt: p.Commitment()}, p); err != nil {
		t.Fatal(err)
	}
	if list, err = cleo.Leases(t.Context(), false); err != nil || len(list.Leases) != 0 || list.Debt != 0 {
		t.Fatalf("%+v %v", list, err)
	}
	if list, err = cleo.Leases(t.Context(), true); err != nil || len(list.Leases) != 1 || list.Leases[0].Ended == nil || list.Leases[0].Code != remit.Expired ||
		list.Leases[0].Status != remit.LeaseRevoked || list.Leases[0].Agent != "coder" {
		t.Fatalf("%+v %v", list, err)
	}
	proof, err := cleo.LeaseReceipt(t.Context(), id)
	if err != nil || proof.Receipt != want || proof.Commitment != p.Commitment() || string(proof.Body) != string(body) || proof.Entry != list.Leases[0].Last {
		t.Fatalf("%+v %v", proof, err)
	}
	for _, other := range []remit.ID{"L-0", "L-999999", "L-x", "T-1", task} {
		if _, err := cleo.LeaseReceipt(t.Context(), other); code(err) != remit.NotFound {
			t.Fatalf("%s: %v", other, err)
		}
	}
}

func TestALeaseIsAbandonedByTwoPeopleOnly(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	id, _ := leased(t, w, remit.LeaseRevoking)
	w.Clock.Advance(time.Minute)
	ada, ben, cleo := w.SignIn("ada"), w.SignIn("ben"), w.SignIn("cleo")
	if _, err := cleo.AbandonLease(t.Context(), id, remit.AbandonRequest{Reason: "gone"}); code(err) != remit.Forbidden {
		t.Fatalf("no administrator: %v", err)
	}
	if _, err := ada.AbandonLease(t.Context(), id, remit.AbandonRequest{Reason: "  "}); code(err) != remit.BadRequest {
		t.Fatalf("no reason: %v", err)
	}
	d, err := ada.AbandonLease(t.Context(), id, remit.AbandonRequest{Reason: "the cluster was dismantled"})
	if err != nil || d.Verdict != remit.Hold || d.Access == "" {
		t.Fatalf("%+v %v", d, err)
	}
	card, err := ben.Access(t.Context(), d.Access)
	if err != nil || !card.YouMay || card.By != "ada" || !strings.Contains(card.Sentence, string(id)) || !strings.Contains(card.Sentence, "dismantled") {
		t.Fatalf("%+v %v", card, err)
	}
	if mine, err := ada.Access(t.Context(), d.Access); err != nil || mine.YouMay {
		t.Fatalf("whoever asks may approve: %v", err)
	}
	if after, err := w.Vote("ben", card, true); err != nil || after.Status != remit.AccessUsed {
		t.Fatalf("%s, %v", after.Status, err)
	}
	list, err := cleo.Leases(t.Context(), true)
	if err != nil || len(list.Leases) != 1 || list.Leases[0].Status != remit.LeaseAbandoned {
		t.Fatalf("%+v %v", list, err)
	}
	proof, err := cleo.LeaseReceipt(t.Context(), id)
	if err != nil || proof.Receipt.Status != remit.LeaseAbandoned || string(proof.Body) != "the cluster was dismantled" {
		t.Fatalf("%+v %v", proof, err)
	}
}
