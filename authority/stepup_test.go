package authority_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// stepped has the reviewers of payments signed in in some way.
func stepped(w *world, u remit.StepUp, more ...remit.Need) {
	w.t.Helper()
	w.apply(func(s *authority.Set) {
		s.Repositories = slices.Clone(s.Repositories)
		s.Repositories[0].Approvers = append([]remit.Need{{Group: "reviewers", N: 1, StepUp: u}}, more...)
	})
}

// heldFor is held, whatever it needs.
func heldFor(w *world, c caller) (remit.ID, remit.Request) {
	w.t.Helper()
	r := push(c, branch(c, "x"), "1", workflow)
	return w.hold(r, remit.PathProtected), r
}

// signedIn is a ballot of somebody who was signed in so, and proved themselves ago before; no time: nobody said.
func (w *world) signedIn(access remit.ID, voter string, in remit.SignedIn, ago time.Duration) *authority.CastVote {
	w.t.Helper()
	c := w.ballot(access, voter, soft(voter), true)
	if c.Signed = in; ago >= 0 {
		c.Proved = w.now.Add(-ago).UnixNano()
	}
	return c
}

const unsaid = time.Duration(-1)

func TestStepUp(t *testing.T) {
	corp := remit.SignedIn{Method: "provider", Provider: "corp", ACR: "phr", AMR: []string{"hwk", "user"}}
	weak := remit.SignedIn{Method: "provider", Provider: "corp", ACR: "pwd"}
	wants := func(w *world, c *authority.CastVote, words string) {
		w.t.Helper()
		_, err := w.do(c)
		var more *remit.Insufficient
		var e *remit.Error
		if !errors.As(err, &more) || !errors.As(err, &e) || e.Code != remit.StepUpWanted || !strings.Contains(e.Sentence, words) {
			w.t.Fatalf("%v; want %s with %q", err, remit.StepUpWanted, words)
		}
		if len(w.s.Accesses[c.Access].Votes) != 0 {
			w.t.Fatalf("the vote is recorded")
		}
	}
	each(t, remit.Team, []row{
		{"a vote is recorded with how its voter was signed in, and how old their proof was", func(t *testing.T, w *world) {
			for i, r := range []struct {
				ago  time.Duration
				want int64
			}{{unsaid, 0}, {0, 1}, {time.Nanosecond, 1}, {time.Second, 1}, {time.Second + 1, 2}, {10 * time.Minute, 600}} {
				c := w.task("coder", "p-mia")
				id := w.hold(push(c, branch(c, "x"), fmt.Sprint(i), workflow), remit.PathProtected)
				w.must(w.signedIn(id, "noa", corp, r.ago))
				if got := w.s.Accesses[id].Votes[0].Signed; got.Age != r.want || got.ACR != "phr" || got.Provider != "corp" || len(got.AMR) != 2 {
					t.Errorf("%s before: %+v", r.ago, got)
				}
			}
		}},
		{"a proof of the future is of now, and an age that somebody claims is not read", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			b := w.signedIn(id, "noa", remit.SignedIn{Method: "key", Age: 7}, unsaid)
			b.Proved = w.now.Add(time.Hour).UnixNano()
			w.must(b)
			if got := w.s.Accesses[id].Votes[0].Signed.Age; got != 1 {
				t.Fatal(got)
			}
			c := w.task("coder", "p-mia")
			id = w.hold(push(c, branch(c, "x"), "2", workflow), remit.PathProtected)
			w.must(w.signedIn(id, "noa", remit.SignedIn{Method: "key", Age: 7}, unsaid))
			if got := w.s.Accesses[id].Votes[0].Signed.Age; got != 0 {
				t.Fatal(got)
			}
		}},
		{"what a provider says comes into a leaf as codes only", func(t *testing.T, w *world) {
			id, _ := held(w, w.task("coder", "p-mia"))
			for _, in := range []remit.SignedIn{{ACR: "noa@acme.example"}, {ACR: strings.Repeat("x", 129)}, {Provider: "Corp Inc"}, {AMR: []string{""}}, {AMR: []string{"a b"}},
				{AMR: slices.Repeat([]string{"pwd"}, 9)}, {AMR: []string{strings.Repeat("x", 33)}}, {Method: strings.Repeat("x", 33)}, {ACR: "ł"}} {
				w.refuse(w.signedIn(id, "noa", in, 0), remit.BadRequest, "at most")
			}
		}},
		{"a class that is asked for", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{ACR: []string{"phr", "phrh"}})
			id, r := heldFor(w, w.task("coder", "p-mia"))
			wants(w, w.signedIn(id, "noa", remit.SignedIn{Method: "key"}, 0), "signed in as phr or phrh, and you are signed in by key, 1s before")
			wants(w, w.signedIn(id, "noa", weak, 0), "acr pwd")
			w.must(w.signedIn(id, "noa", corp, unsaid))
			w.status(id, remit.AccessMet, "")
			w.redeem(w.allow(w.claim(id, r)).Permit.ID)
		}},
		{"an age that is asked for is that at the vote", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{MaxAge: "10m"})
			id, r := heldFor(w, w.task("coder", "p-mia"))
			wants(w, w.signedIn(id, "noa", corp, 10*time.Minute+1), "proved within 10m")
			wants(w, w.signedIn(id, "noa", corp, unsaid), "proved within 10m")
			w.must(w.signedIn(id, "noa", corp, 10*time.Minute))
			w.later(time.Hour)
			w.redeem(w.allow(w.claim(id, r)).Permit.ID)
		}},
		{"whoever may vote may always refuse", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{ACR: []string{"phr"}})
			id, _ := heldFor(w, w.task("coder", "p-mia"))
			w.vote(id, "noa", soft("noa"), false)
			w.status(id, remit.AccessVoid, remit.Vetoed)
		}},
		{"one may be asked otherwise for each seat, and votes again for the one that their first was not enough for", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{ACR: []string{"phr"}}, remit.Need{Group: "release", N: 1})
			id, _ := heldFor(w, w.task("coder", "p-mia"))
			rio := func(in remit.SignedIn) *authority.CastVote { return w.signedIn(id, "rio", in, 0) }
			w.must(rio(weak)) // enough for release
			w.status(id, remit.AccessOpen, "")
			w.refuse(rio(weak), remit.Conflict, "already voted")
			w.must(w.signedIn(id, "noa", corp, 0))
			w.status(id, remit.AccessMet, "")
		}},
		{"one is told what one's own group asks", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{ACR: []string{"phr"}}, remit.Need{Group: "release", N: 1, StepUp: remit.StepUp{ACR: []string{"never"}}})
			id, _ := heldFor(w, w.task("coder", "p-mia"))
			wants(w, w.signedIn(id, "noa", weak, 0), "somebody who is signed in as phr,")
		}},
		{"a second vote of one person is one person", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{ACR: []string{"phr"}}, remit.Need{Group: "release", N: 1})
			id, _ := heldFor(w, w.task("coder", "p-mia"))
			w.must(w.signedIn(id, "rio", weak, 0))
			w.must(w.signedIn(id, "rio", corp, 0))
			w.status(id, remit.AccessOpen, "")
			w.refuse(w.signedIn(id, "rio", corp, 0), remit.Conflict, "already voted")
			c := w.ballot(id, "sam", touch("sam"), true)
			w.must(c)
			w.status(id, remit.AccessMet, "")
		}},
		{"what is asked for more at the redemption is judged by what the votes showed", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{MaxAge: "10m"})
			id, r := heldFor(w, w.task("coder", "p-mia"))
			w.must(w.signedIn(id, "noa", weak, 0))
			stepped(w, remit.StepUp{MaxAge: "10m", ACR: []string{"phr"}})
			w.deny(w.claim(id, r), remit.PolicyHeld, "signed in as phr")
			w.status(id, remit.AccessOpen, "")
			wants2 := w.signedIn(id, "noa", weak, 0)
			w.refuse(wants2, remit.StepUpWanted, "signed in as phr")
			w.must(w.signedIn(id, "noa", corp, 0))
			w.redeem(w.allow(w.claim(id, r)).Permit.ID)
		}},
		{"two who ask of one group ask for both, and where no sign-in is both for two people", func(t *testing.T, w *world) {
			stepped(w, remit.StepUp{ACR: []string{"phr", "phrh"}, MaxAge: "1h"})
			ask := func(u remit.StepUp) []remit.Need {
				w.policy = func(f authority.Facts) authority.Finding {
					return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"x"}, Votes: []remit.Need{{Group: "reviewers", N: 1, StepUp: u}}}
				}
				defer func() { w.policy = nil }()
				c := w.task("coder", "p-mia")
				return w.s.Accesses[w.ask(push(c, branch(c, "x"), u.MaxAge+strings.Join(u.ACR, ""), workflow)).Access].Needs
			}
			for _, r := range []struct {
				more remit.StepUp
				want string
			}{
				{remit.StepUp{}, "[1 of reviewers (signed in as phr or phrh, proved within 1h)]"},
				{remit.StepUp{MaxAge: "5m"}, "[1 of reviewers (signed in as phr or phrh, proved within 5m)]"},
				{remit.StepUp{ACR: []string{"phrh", "x"}}, "[1 of reviewers (signed in as phrh, proved within 1h)]"},
				{remit.StepUp{ACR: []string{"x"}}, "[1 of reviewers (signed in as phr or phrh, proved within 1h) 1 of reviewers (signed in as x)]"},
			} {
				if got := fmt.Sprint(ask(r.more)); got != r.want {
					t.Errorf("%+v: %s; want %s", r.more, got, r.want)
				}
			}
		}},
		{"what a policy reads of the votes", func(t *testing.T, w *world) {
			id, r := held(w, w.task("coder", "p-mia"))
			w.vote(id, "noa", soft("noa"), true)
			if f := authority.FactsOf(w.s, w.claim(id, r), w.now.UnixNano()); len(f.Approval.Votes) != 0 {
				t.Fatalf("a vote of which nothing is known is a fact: %+v", f.Approval)
			}
			c := w.task("coder", "p-mia")
			id, r = held(w, c)
			w.must(w.signedIn(id, "noa", corp, time.Minute))
			if f := authority.FactsOf(w.s, w.claim(id, r), w.now.UnixNano()); fmt.Sprintf("%+v", f.Approval.Votes) !=
				"[{Person:p-noa Approve:true Assurance:software Method:provider Provider:corp ACR:phr AMR:[hwk user] Age:60}]" {
				t.Fatalf("%+v", f.Approval)
			}
		}},
	})
}

// To ask for less of a sign-in is to ask for less.
func TestStepUpLoosens(t *testing.T) {
	for _, r := range []struct {
		old, now remit.StepUp
		widens   bool
	}{
		{remit.StepUp{}, remit.StepUp{ACR: []string{"phr"}, MaxAge: "5m"}, false},
		{remit.StepUp{ACR: []string{"phr", "x"}}, remit.StepUp{ACR: []string{"x"}}, false},
		{remit.StepUp{ACR: []string{"phr"}}, remit.StepUp{ACR: []string{"phr", "x"}}, true},
		{remit.StepUp{ACR: []string{"phr"}}, remit.StepUp{}, true},
		{remit.StepUp{MaxAge: "5m"}, remit.StepUp{MaxAge: "300s"}, false},
		{remit.StepUp{MaxAge: "5m"}, remit.StepUp{MaxAge: "6m"}, true},
		{remit.StepUp{MaxAge: "5m"}, remit.StepUp{}, true},
	} {
		w := newWorld(t, remit.Team)
		stepped(w, r.old)
		set := clone(w.set)
		set.Repositories = slices.Clone(set.Repositories)
		set.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, StepUp: r.now}}
		res := w.must(&authority.ApplySet{By: "p-ada", Set: set})
		if got := res.Decision.Verdict == remit.Hold; got != r.widens {
			t.Errorf("%s, then %s: %s %s", r.old, r.now, res.Decision.Verdict, res.Decision.Sentence)
		}
	}
	w := newWorld(t, remit.Team)
	for _, u := range []remit.StepUp{{MaxAge: "x"}, {MaxAge: "10s"}, {MaxAge: "25h"}, {MaxAge: "90500ms"}, {ACR: []string{""}}, {ACR: []string{"a b"}}, {ACR: []string{"a", "a"}}, {ACR: []string{`a"`}}, {ACR: strings.Split("a b c d e f g h i", " ")}} {
		set := clone(w.set)
		set.Repositories = slices.Clone(set.Repositories)
		set.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, StepUp: u}}
		_, err := w.do(&authority.ApplySet{By: "p-ada", Set: set})
		var wrong *remit.DeclarationError
		if !errors.As(err, &wrong) || wrong.Path != "repositories[0].approvers[0].step_up" {
			t.Errorf("%+v: %v", u, err)
		}
	}
}
