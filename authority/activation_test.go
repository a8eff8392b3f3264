package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"pgregory.net/rapid"
)

// wantsTried declares that a change must have been tried.
func wantsTried(of string, change ...func(*remit.ActivationDeclared)) func(*authority.Set) {
	return func(s *authority.Set) {
		a := remit.ActivationDeclared{Of: of, Within: 24, Over: 168}
		for _, c := range change {
			c(&a)
		}
		s.Activations = append([]remit.ActivationDeclared{}, a)
	}
}

func (w *world) trial(change ...func(*remit.PolicyTried)) *authority.RecordTrial {
	t := remit.PolicyTried{By: "p-ada", Since: w.now.Add(-200 * time.Hour).UnixNano(), Until: w.now.UnixNano(), Size: uint64(w.s.Next), Judged: 9, Report: remit.Hash([]byte("report"))}
	for _, c := range change {
		c(&t)
	}
	return &authority.RecordTrial{PolicyTried: t}
}

var another = remit.Hash([]byte("another bundle"))

func of(d remit.Digest) func(*remit.PolicyTried) { return func(t *remit.PolicyTried) { t.Bundle = d } }

func TestAChangeIsTriedBeforeItIsInForce(t *testing.T) {
	each(t, remit.Team, []row{
		{"a policy", func(t *testing.T, w *world) {
			w.apply(wantsTried("policy", func(a *remit.ActivationDeclared) { a.Bound, a.More = true, 2 }))
			set := clone(w.set)
			set.Policy = another
			apply := &authority.ApplySet{By: "p-ada", Set: set}
			w.refuse(apply, remit.NotTried, "was not tried")
			w.must(w.trial(of(remit.Hash([]byte("a third")))))
			w.refuse(apply, remit.NotTried, "was not tried")
			w.must(w.trial(of(another), func(t *remit.PolicyTried) { t.Since = w.now.Add(-167 * time.Hour).UnixNano() }))
			w.refuse(apply, remit.NotTried, "less than the last 168 hours")
			w.must(w.trial(of(another), func(t *remit.PolicyTried) { t.Asked, t.WouldAsk = 4, 7 }))
			w.refuse(apply, remit.NotTried, "3 times more")
			w.must(w.trial(of(another), func(t *remit.PolicyTried) { t.Asked, t.WouldAsk = 4, 6 }))
			w.later(24*time.Hour + time.Second)
			w.refuse(apply, remit.NotTried, "more than 24 hours ago")
			w.must(w.trial(of(another), func(t *remit.PolicyTried) { t.Asked, t.WouldAsk = 4, 6 }))
			w.must(apply)
			if w.s.Policy != another {
				t.Fatal("it is not in force")
			}
		}},
		{"declarations", func(t *testing.T, w *world) {
			w.apply(wantsTried("declarations"))
			set := clone(w.set)
			set.Repositories[0].Protected = []remit.Pattern{"deploy/**", "go.mod"}
			apply := &authority.ApplySet{By: "p-ada", Set: set}
			w.refuse(apply, remit.NotTried, "was not tried")
			w.must(w.trial(func(t *remit.PolicyTried) { t.Set = authority.TrialDigest(w.s, &w.set) })) // as they are
			w.refuse(apply, remit.NotTried, "was not tried")
			more := clone(set)
			more.Groups[1].Members = []remit.ID{"p-mia"}
			w.must(w.trial(func(t *remit.PolicyTried) { t.Set = authority.TrialDigest(w.s, &more) })) // with somebody less
			w.refuse(apply, remit.NotTried, "was not tried")
			// A bundle alone is no trial of declarations.
			both := clone(set)
			both.Policy = another
			w.must(w.trial(of(another)))
			w.refuse(&authority.ApplySet{By: "p-ada", Set: both}, remit.NotTried, "--declarations")
			w.must(w.trial(func(t *remit.PolicyTried) { t.Set = authority.TrialDigest(w.s, &set) }))
			w.must(apply)
		}},
		{"what was approved was tried when it was asked for", func(t *testing.T, w *world) {
			w.apply(wantsTried("declarations"))
			set := clone(w.set)
			set.Repositories[0].Protected = nil
			w.must(w.trial(func(t *remit.PolicyTried) { t.Set = authority.TrialDigest(w.s, &set) }))
			held := w.must(&authority.ApplySet{By: "p-ada", Set: set}).Decision
			if held.Verdict != remit.Hold {
				t.Fatal(held)
			}
			w.later(23 * time.Hour)
			w.vote(held.Access, "bob", touch("bob"), true)
			w.must(&authority.ApplySet{By: "p-ada", Set: set, Access: held.Access})
		}},
		{"a trial is of what the log has", func(t *testing.T, w *world) {
			for _, bad := range []func(*remit.PolicyTried){
				func(t *remit.PolicyTried) { t.Size = uint64(w.s.Next) + 1 },
				func(t *remit.PolicyTried) { t.Until = w.now.Add(time.Second).UnixNano() },
				func(t *remit.PolicyTried) { t.Since = w.now.Add(time.Second).UnixNano() },
				func(t *remit.PolicyTried) { t.Denied = 10 },
				func(t *remit.PolicyTried) { t.Held = -1 },
				func(t *remit.PolicyTried) { t.Report = remit.Digest{} },
				func(t *remit.PolicyTried) { t.Bundle = remit.Digest{} },
			} {
				w.refuse(w.trial(of(another), bad), remit.BadRequest, "trial")
			}
			w.refuse(w.trial(of(another), func(t *remit.PolicyTried) { t.By = "p-mia" }), remit.Forbidden, "administrators")
			for i := range 70 { // as many as there may be, and the newest of them
				w.must(w.trial(of(remit.Hash([]byte{byte(i)}))))
			}
			if _, old := w.s.Tried[remit.Hash([]byte{0})]; old || len(w.s.Tried) != 64 {
				t.Fatalf("%d trials", len(w.s.Tried))
			}
		}},
		{"to want less widens", func(t *testing.T, w *world) {
			w.apply(wantsTried("policy", func(a *remit.ActivationDeclared) { a.Bound, a.More = true, 2 }))
			hold := func(change func(*authority.Set), want remit.Verdict) {
				t.Helper()
				set := clone(w.set)
				change(&set)
				if _, res, err := w.decide(&authority.ApplySet{By: "p-ada", Set: set}); err != nil || res.Decision.Verdict != want {
					t.Fatalf("%+v %v", res.Decision, err)
				}
			}
			is := func(change func(*remit.ActivationDeclared)) func(*authority.Set) {
				return wantsTried("policy", func(a *remit.ActivationDeclared) { a.Bound, a.More = true, 2; change(a) })
			}
			hold(func(s *authority.Set) { s.Activations = nil }, remit.Hold)
			hold(is(func(a *remit.ActivationDeclared) { a.Within = 25 }), remit.Hold)
			hold(is(func(a *remit.ActivationDeclared) { a.Over = 167 }), remit.Hold)
			hold(is(func(a *remit.ActivationDeclared) { a.More = 3 }), remit.Hold)
			hold(is(func(a *remit.ActivationDeclared) { a.Bound, a.More = false, 0 }), remit.Hold)
			hold(is(func(a *remit.ActivationDeclared) { a.Within, a.Over, a.More = 23, 169, 1 }), remit.Allow)
		}},
		{"what reaches further holds, whatever it changes", func(t *testing.T, w *world) {
			set := clone(w.set)
			set.Repositories[0].Protected = []remit.Pattern{"deploy/**", "go.mod"}
			set.ReachWidens = "it opens a way"
			if d := w.must(&authority.ApplySet{By: "p-ada", Set: set}).Decision; d.Verdict != remit.Hold || d.Sentence != "it opens a way" {
				t.Fatal(d)
			}
		}},
	})
}

// TestASetHasOneDigestForTrials: made of the same declarations twice, with other commitments and other ids of new people.
func TestASetHasOneDigestForTrials(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, remit.Team)
		made := func(salt string) authority.Set {
			s := clone(declarations())
			fresh := person("zoe"+salt, touch("zoe"))
			s.People = append(s.People, fresh)
			s.Groups[1].Members = append([]remit.ID{fresh.ID}, s.Groups[1].Members...)
			for i := range s.Agents {
				s.Agents[i].Text = remit.Hash([]byte(salt), []byte{byte(i)})
			}
			s.Upstreams[0].Spec = remit.Hash([]byte(salt))
			return s
		}
		a, b := made("a"), made("b")
		if authority.TrialDigest(w.s, &a) != authority.TrialDigest(w.s, &b) {
			t.Fatal("the same declarations have two digests")
		}
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			b.Agents[rapid.IntRange(0, 3).Draw(t, "agent")].Expires = 5
		case 1:
			b.Environments[0].Approvers = nil
		case 2:
			b.Groups[2].Members = b.Groups[2].Members[1:]
		case 3:
			b.Policy = another
		case 4:
			b.People = b.People[:len(b.People)-1]
			b.Groups[1].Members = b.Groups[1].Members[1:]
		}
		if authority.TrialDigest(w.s, &a) == authority.TrialDigest(w.s, &b) {
			t.Fatal("other declarations have the same digest")
		}
	})
}
