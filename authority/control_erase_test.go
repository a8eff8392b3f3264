package authority_test

import (
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

var why = remit.Hash([]byte("why"))

// gone is an erasure of payloads at entries.
func gone(entries []remit.EntryIndex, payloads ...remit.Digest) *authority.ErasePayloads {
	return &authority.ErasePayloads{By: "p-ada", What: "entry", Entries: entries, Payloads: payloads, Reason: why}
}

func TestErase(t *testing.T) {
	one := remit.Hash([]byte("one"))
	alone := func(w *world) *world { // ada is the only administrator
		w.must(&authority.Kill{By: "p-bob", What: "person", ID: "p-bob"})
		return w
	}
	each(t, remit.Team, []row{
		{"administrators, with a reason, each payload once", func(t *testing.T, w *world) {
			alone(w)
			bad := func(code remit.Code, words string, change func(*authority.ErasePayloads)) {
				t.Helper()
				c := gone([]remit.EntryIndex{5}, one)
				change(c)
				w.refuse(c, code, words)
			}
			bad(remit.Forbidden, "by administrators", func(c *authority.ErasePayloads) { c.By = "p-mia" })
			bad(remit.BadRequest, "a reason", func(c *authority.ErasePayloads) { c.Reason = remit.Digest{} })
			bad(remit.BadRequest, "in order", func(c *authority.ErasePayloads) { c.Entries = []remit.EntryIndex{5, 4} })
			bad(remit.BadRequest, "in order", func(c *authority.ErasePayloads) { c.Tasks = []remit.ID{"T-5", "T-4"} })
			bad(remit.NotFound, "nothing left", func(c *authority.ErasePayloads) { c.Payloads = nil })
			bad(remit.Conflict, "twice", func(c *authority.ErasePayloads) { c.Payloads = []remit.Digest{one, one} })
			bad(remit.Conflict, "the reason", func(c *authority.ErasePayloads) { c.Payloads = []remit.Digest{why} })
			bad(remit.Conflict, "entry 0 is the genesis", func(c *authority.ErasePayloads) { c.Entries = []remit.EntryIndex{0} })
			n := w.s.Next
			w.must(gone([]remit.EntryIndex{5}, one))
			if w.s.Erased[one] != n {
				t.Fatal(w.s.Erased)
			}
			bad(remit.Conflict, "was erased by entry", func(*authority.ErasePayloads) {})
			w.refuse(gone([]remit.EntryIndex{n}, remit.Hash([]byte("two"))), remit.Conflict, "says what was erased")
		}},
		{"many stand in as many entries as they need", func(t *testing.T, w *world) {
			alone(w)
			var all []remit.Digest
			for i := range 2*authority.ErasedPerEntry + 1 {
				all = append(all, remit.Hash([]byte{byte(i), byte(i >> 8)}))
			}
			n := len(w.log)
			w.must(gone([]remit.EntryIndex{5}, all...))
			if len(w.log) != n+3 || len(w.s.Erased) != len(all) {
				t.Fatal(len(w.log)-n, len(w.s.Erased))
			}
			var said []remit.Digest
			for _, e := range w.log[n:] {
				said = append(said, e.event.(*remit.PayloadsErased).Erases()...)
			}
			if !slices.Equal(said, all) {
				t.Fatal("others are erased than were asked for")
			}
			w.refuse(gone([]remit.EntryIndex{5}, make([]remit.Digest, authority.MaxErased+1)...), remit.TooLargeToJudge, "at most")
		}},
		{"it waits for a second administrator, for what was shown", func(t *testing.T, w *world) {
			c := gone([]remit.EntryIndex{5}, one)
			res := w.must(c)
			if res.Decision.Verdict != remit.Hold || len(w.s.Erased) != 0 || w.s.Accesses[res.Decision.Access].Shown != why {
				t.Fatal(res)
			}
			c.Access = res.Decision.Access
			w.refuse(c, remit.AlreadyUsed, "not an approval")
			w.refuse(w.ballot(c.Access, "ada", touch("ada"), true), remit.NotEligible, "caused or steered")
			w.vote(c.Access, "bob", touch("bob"), true)
			other := *c
			other.Payloads = []remit.Digest{remit.Hash([]byte("two"))}
			if res := w.must(&other); res.Decision.Code != remit.Stale || len(w.s.Erased) != 0 {
				t.Fatal(res)
			}
			c.Access = ""
			c.Access = w.must(c).Decision.Access
			w.vote(c.Access, "bob", touch("bob"), true)
			w.must(c)
			w.status(c.Access, remit.AccessUsed, "")
			if len(w.s.Erased) != 1 {
				t.Fatal("not erased")
			}
		}},
		{"what something live rests on stays", func(t *testing.T, w *world) {
			alone(w)
			words := remit.Hash([]byte("words"))
			c := w.task("coder", "p-noa")
			born := w.s.Tasks[c.Task].Entry
			w.refuse(gone([]remit.EntryIndex{born}, one), remit.Conflict, "task "+string(c.Task)+" is open")
			w.refuse(gone([]remit.EntryIndex{5}, words), remit.Conflict, "task "+string(c.Task))
			of := gone([]remit.EntryIndex{5}, one)
			of.Tasks = []remit.ID{c.Task}
			w.refuse(of, remit.Conflict, "task "+string(c.Task))

			r := push(c, branch(c, "x"), "1", workflow)
			r.Card = remit.Hash([]byte("card"))
			held := w.hold(r, remit.PathProtected)
			a := w.s.Accesses[held]
			for _, e := range []remit.EntryIndex{a.Decision, a.Entry} {
				w.refuse(gone([]remit.EntryIndex{e}, one), remit.Conflict, "access request "+string(held)+" is open")
			}
			w.refuse(gone([]remit.EntryIndex{5}, a.Shown), remit.Conflict, "access request "+string(held))
			w.vote(held, "rio", touch("rio"), true)
			w.refuse(gone([]remit.EntryIndex{w.s.Accesses[held].Votes[0].Entry}, one), remit.Conflict, "access request "+string(held)+" is met")

			d := w.allow(step(c, "source.read", payments))
			w.refuse(gone([]remit.EntryIndex{d.Entry}, one), remit.Conflict, "permit "+string(d.Permit.ID))
			x := w.redeem(d.Permit.ID).Attempt.ID
			w.refuse(gone([]remit.EntryIndex{d.Entry}, one), remit.Conflict, "attempt "+string(x))
			w.must(&authority.EndTask{By: "p-noa", Task: c.Task, Status: remit.TaskCancelled})
			w.refuse(of, remit.Conflict, "attempt "+string(x))
			w.must(&authority.Record{Attempt: x, Outcome: remit.Done})
			w.must(of)
			late := w.allow(step(w.task("coder", "p-noa"), "source.read", payments))
			w.later(authority.PermitLife)
			w.must(gone([]remit.EntryIndex{late.Entry}, remit.Hash([]byte("late"))))
		}},
		{"so does what is declared", func(t *testing.T, w *world) {
			w.set.Secrets = []remit.SecretDeclared{{Name: "own/x", Zone: remit.ZoneBuild, Spec: remit.Hash([]byte("send"))}}
			w.apply(func(s *authority.Set) {
				s.Agents[0].Text = remit.Hash([]byte("purpose"))
				s.People[6].Identities = []remit.Digest{remit.Hash([]byte("identity"))}
				s.Upstreams = append(s.Upstreams, remit.UpstreamDeclared{Name: "k", Type: remit.KindCommand, Spec: remit.Hash([]byte("k"))})
				s.Environments[1].Upstream, s.Environments[1].Spec = "k", remit.Hash([]byte("target"))
			})
			person := gone([]remit.EntryIndex{5}, one)
			person.What, person.ID = "person", "p-tom"
			w.refuse(person, remit.Conflict, "person p-tom is declared")
			for text, words := range map[string]string{"tom": "person p-tom is declared", "identity": "an identity of person p-tom", "purpose": "agent coder is declared", "k": "upstream k is declared",
				"target": "environment payments/staging is declared", "send": "secret own/x is declared"} {
				w.refuse(gone([]remit.EntryIndex{5}, remit.Hash([]byte(text))), remit.Conflict, words)
			}
			w.apply(func(s *authority.Set) {
				without("p-tom")(s)
				s.Agents, s.Upstreams, s.Environments, s.Repositories, s.Secrets = s.Agents[1:], nil, nil, nil, nil
			})
			alone(w)
			for _, text := range []string{"tom", "identity", "purpose", "k", "target", "send"} {
				w.must(gone([]remit.EntryIndex{5}, remit.Hash([]byte(text))))
			}
			w.must(person)
		}},
		{"and what a lease is ended by", func(t *testing.T, w *world) {
			alone(w)
			c := w.task("coder", "p-noa")
			d := w.allow(step(c, "source.read", payments))
			x := w.redeem(d.Permit.ID).Attempt.ID
			l := w.must(&authority.OpenLease{Attempt: x, Upstream: "forge", Target: payments, Revocation: remit.RevokeImmediate}).ID
			w.must(&authority.Record{Attempt: x, Outcome: remit.Done})
			w.must(&authority.EndTask{By: "p-noa", Task: c.Task, Status: remit.TaskCancelled})
			of := gone([]remit.EntryIndex{5}, one)
			of.Tasks = []remit.ID{c.Task}
			w.refuse(of, remit.Conflict, "lease "+string(l))
			w.refuse(gone([]remit.EntryIndex{w.s.Leases[l].Entry}, one), remit.Conflict, "lease "+string(l))
			w.later(time.Minute)
			w.must(&authority.MoveLease{Lease: l, To: remit.LeaseRevoking})
			w.must(&authority.MoveLease{Lease: l, To: remit.LeaseRevoked})
			w.must(of)
		}},
	})
}
