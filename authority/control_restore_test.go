package authority_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

// restore is a statement about the world's log as a backup, signed by keys.
func (w *world) restore(change func(*remit.RestoreStatement), keys ...ssh.Signer) *authority.Restore {
	w.t.Helper()
	st := remit.RestoreStatement{Origin: w.s.Origin, Size: uint64(w.s.Next), Lost: uint64(w.s.Next) + 7, LostRoot: remit.Hash([]byte("lost")), At: w.now}
	if change != nil {
		change(&st)
	}
	c := &authority.Restore{Statement: st.Bytes()}
	for _, k := range keys {
		sig, err := sshsig.Sign(k, remit.RestoreNamespace, c.Statement)
		if err != nil {
			w.t.Fatalf("%v", err)
		}
		c.Signatures = append(c.Signatures, sig)
	}
	return c
}

func TestRestore(t *testing.T) {
	each(t, remit.Team, []row{
		{"two administrators sign one statement about this backup, today", func(t *testing.T, w *world) {
			ada, bob := touch("ada"), touch("bob")
			w.refuse(&authority.Restore{Statement: []byte("x")}, remit.BadRequest, "begins with the line")
			w.refuse(w.restore(nil), remit.NotEligible, "0 administrators signed, and it needs 2")
			w.refuse(w.restore(nil, ada), remit.NotEligible, "1 administrators signed")
			w.refuse(w.restore(nil, ada, ada), remit.NotEligible, "1 administrators signed")
			w.refuse(w.restore(nil, ada, touch("rio")), remit.NotEligible, "living administrator")
			w.refuse(w.restore(nil, ada, touch("mallory")), remit.NotEligible, "living administrator")
			bad := func(code remit.Code, words string, change func(*remit.RestoreStatement)) {
				t.Helper()
				w.refuse(w.restore(change, ada, bob), code, words)
			}
			bad(remit.BadRequest, "is for log", func(s *remit.RestoreStatement) { s.Origin = "elsewhere" })
			bad(remit.Stale, "is for a backup of", func(s *remit.RestoreStatement) { s.Size-- })
			bad(remit.BadRequest, "lost nothing", func(s *remit.RestoreStatement) { s.Lost = s.Size - 1 })
			bad(remit.Expired, "good for a day", func(s *remit.RestoreStatement) { s.At = w.now.Add(-25 * time.Hour) })
			bad(remit.Expired, "good for a day", func(s *remit.RestoreStatement) { s.At = w.now.Add(25 * time.Hour) })
			c := w.restore(nil, ada, bob)
			vote, err := sshsig.Sign(bob, remit.VoteNamespace, c.Statement)
			if err != nil {
				t.Fatal(err)
			}
			c.Signatures[1] = vote
			w.refuse(c, remit.NotEligible, "in namespace "+remit.RestoreNamespace)
			w.must(w.restore(nil, ada, bob))
			if f := w.log[w.s.Fork.Entry].event.(*remit.LogForked); fmt.Sprint(f.By) != "[p-ada p-bob]" {
				t.Fatal(f.By)
			}
		}},
		{"one signs where there is one; who left and keys that do not count yet do not", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.People[1].Keys = append(s.People[1].Keys, key(touch("bob 2"))) })
			w.refuse(w.restore(nil, touch("ada"), touch("bob 2")), remit.NotEligible, "living administrator")
			w.must(&authority.Kill{By: "p-bob", What: "person", ID: "p-bob"})
			w.refuse(w.restore(nil, touch("ada"), touch("bob")), remit.NotEligible, "living administrator")
			w.must(w.restore(nil, touch("ada")))
		}},
		{"everything that the backup says is alive ends, and no number is used again", func(t *testing.T, w *world) {
			c, other := w.task("coder", "p-noa"), w.task("pilot", "p-noa")
			held := w.hold(push(c, branch(c, "x"), "1", workflow), remit.PathProtected)
			s := clone(w.set)
			s.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			asked := w.must(&authority.ApplySet{By: "p-ada", Set: s}).Decision.Access
			x := w.redeem(w.allow(step(c, "source.read", payments)).Permit.ID).Attempt.ID
			l := w.must(&authority.OpenLease{Attempt: x, Upstream: "forge", Target: payments, Revocation: remit.RevokeImmediate}).ID
			permit := w.allow(step(c, "source.read", payments)).Permit.ID
			lost := uint64(w.s.Next) + 20_000
			w.must(w.restore(func(s *remit.RestoreStatement) { s.Lost = lost }, touch("ada"), touch("bob")))
			if len(w.s.LiveTasks)+len(w.s.Instances)+len(w.s.OpenHolds) != 0 || w.s.Tasks[other.Task].Status != remit.TaskKilled {
				t.Fatal("something lives on")
			}
			w.status(held, remit.AccessVoid, remit.Dropped)
			w.status(asked, remit.AccessVoid, remit.Dropped)
			if w.s.Leases[l].Status != remit.LeaseRevoking {
				t.Fatal(w.s.Leases[l])
			}
			w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotLive, "has ended")
			if w.s.Fork.Exposed < w.now.Add(24*time.Hour).UnixNano() {
				t.Fatal("a credential made since may live for a day")
			}
			until := w.s.Fork.Exposed
			exposed := func(at int64) bool {
				return slices.ContainsFunc(w.s.Debt(at), func(d authority.LeaseDebt) bool { return d.Lease == "" && d.Until == until && d.Since == 0 })
			}
			if !exposed(w.now.UnixNano()) || !exposed(until-1) || exposed(until) {
				t.Fatal("what was made since the backup is exposure until its time is over")
			}
			w.quick = true // thousands of entries
			for before := w.s.Next - 1; before != w.s.Next; w.must(&authority.FillLost{}) {
				before = w.s.Next
				w.must(&authority.FillLost{})
			}
			if uint64(w.s.Next) != lost+authority.LostMargin {
				t.Fatal(w.s.Next, lost)
			}
			if err := authority.Apply(w.s, w.now.UnixNano(), &remit.EntryLost{}); err == nil {
				t.Fatal("nothing was lost here")
			}
			for _, f := range []*remit.LogForked{{Size: uint64(w.s.Next) + 1, Lost: 1 << 40}, {Size: uint64(w.s.Next), Lost: 1}} {
				if err := authority.Apply(w.s, w.now.UnixNano(), f); err == nil {
					t.Fatal("a fork at another place than its own")
				}
			}
		}},
		{"nothing is lost in a log that never forked", func(t *testing.T, w *world) {
			n := len(w.log)
			if w.must(&authority.FillLost{}); len(w.log) != n {
				t.Fatal("entries for what was not lost")
			}
		}},
	})
}

func TestRestoreStatement(t *testing.T) {
	good := string(remit.RestoreStatement{Origin: "log.acme.example", Size: 5, Lost: 9, At: start}.Bytes())
	if st, err := remit.ParseRestoreStatement([]byte(good)); err != nil || string(st.Bytes()) != good {
		t.Fatal(st, err)
	}
	for _, bad := range []string{"", good + "\n", strings.Replace(good, "v1", "v2", 1), strings.Replace(good, "backup: 5", "backup: 05", 1),
		strings.Replace(good, "backup: 5", "backup: -5", 1), strings.Replace(good, "lost: 9", "lost: 99999999999999999999", 1),
		strings.Replace(good, "origin: ", "origin:", 1), strings.Replace(good, "at: 2026", "at: x", 1), strings.Replace(good, "Z\n", "+00:00\n", 1),
		strings.Replace(good, "lost-root: 0", "lost-root: F", 1), good + strings.Repeat("x", 1024)} {
		if _, err := remit.ParseRestoreStatement([]byte(bad)); err == nil {
			t.Errorf("accepted: %q", bad)
		}
	}
}

func FuzzRestoreStatement(f *testing.F) {
	f.Add(remit.RestoreStatement{Origin: "log.acme.example", Size: 5, Lost: 9, At: start}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := remit.ParseRestoreStatement(b); err == nil && string(st.Bytes()) != string(b) {
			t.Fatalf("%q is read and written otherwise", b)
		}
	})
}
