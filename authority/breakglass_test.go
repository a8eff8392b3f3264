package authority_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

// fire is break-glass of the release people, for merges into main of payments and what they set off.
func fire(s *authority.Set) {
	s.BreakGlass = []remit.BreakGlassDeclared{{Name: "fire", Who: []string{"release"}, Minutes: 30, Reviewers: "reviewers", ReviewHours: 24, Scope: []remit.Scope{
		{Actions: []remit.Action{"source.merge"}, Resources: []remit.Pattern{remit.Pattern(payments)}, Refs: []remit.Pattern{"refs/heads/main"}},
		{Actions: []remit.Action{"deploy.promote"}, Resources: []remit.Pattern{remit.Pattern(production)}},
		{Actions: []remit.Action{"source.push", "build.trigger"}, Resources: []remit.Pattern{remit.Pattern(payments), "pipeline:payments/*"}}}}}
}

// opening is what somebody sends to open it.
func (w *world) opening(by string, k ssh.Signer, task remit.ID, change func(*remit.Opening)) *authority.OpenGlass {
	w.t.Helper()
	o := remit.Opening{Origin: w.s.Origin, Name: "fire", Task: task, Reason: remit.Hash([]byte("it burns")), At: w.now}
	if change != nil {
		change(&o)
	}
	sig, err := sshsig.Sign(k, remit.BreakGlassNamespace, o.Bytes())
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return &authority.OpenGlass{By: remit.ID("p-" + by), Reason: remit.Hash([]byte("salted")), Words: remit.Hash([]byte("it burns")), Statement: o.Bytes(), Signature: sig}
}

func (w *world) looking(by string, k ssh.Signer, id remit.ID, change func(*remit.Looking)) *authority.ReviewGlass {
	w.t.Helper()
	l := remit.Looking{Origin: w.s.Origin, ID: id, Steps: remit.StepsDigest(w.s.Opened[id].Under), Right: true}
	if change != nil {
		change(&l)
	}
	sig, err := sshsig.Sign(k, remit.BreakGlassNamespace, l.Bytes())
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return &authority.ReviewGlass{By: remit.ID("p-" + by), Statement: l.Bytes(), Signature: sig}
}

// stopped expects that a request does not pass: it waits, or is denied where those who decide have opened break-glass.
func (w *world) stopped(r remit.Request) {
	w.t.Helper()
	if d := w.ask(r); d.Verdict == remit.Allow {
		w.t.Fatalf("it passes: %s", d.Sentence)
	}
}

func TestBreakGlass(t *testing.T) {
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			w.apply(fire)
			w.later(time.Minute)
			f(t, w)
			w.replay()
		})
	}
	toMain := func(c caller) remit.Request { return merge(c, "refs/heads/main", "1", "src/a") }
	run("what it is declared for passes, marked, for its task and its time", func(t *testing.T, w *world) {
		c := w.task("merger", "p-mia")
		w.hold(toMain(c), remit.ImpactHeld)
		g := w.must(w.opening("sam", touch("sam"), c.Task, nil)).ID
		r := toMain(c)
		r.Refs[0].Pinned = paths(workflow)
		d := w.allow(r)
		if e := w.decision(d.Entry); e.Glass != g || len(w.s.Opened[g].Under) != 1 || w.s.Opened[g].Under[0] != d.Entry {
			t.Errorf("it passes under %q, which has %v", e.Glass, w.s.Opened[g].Under)
		}
		w.redeem(d.Permit.ID)
		w.hold(toMain(w.task("merger", "p-mia")), remit.ImpactHeld)
		w.later(30*time.Minute - time.Second)
		p := w.allow(toMain(c)).Permit.ID
		w.later(time.Second)
		w.refuse(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof}, remit.Expired, "")
		w.stopped(toMain(c))
	})
	run("nothing else passes", func(t *testing.T, w *world) {
		c := w.task("merger", "p-mia")
		w.must(w.opening("sam", touch("sam"), c.Task, nil))
		w.hold(merge(c, "refs/heads/release", "1", "src/a"), remit.ImpactHeld)
		r := toMain(c)
		r.Steps[0].Resource = docs
		w.hold(r, remit.ImpactHeld)
		w.apply(func(s *authority.Set) {
			s.Repositories[0].Effects = append(s.Repositories[0].Effects[:len(s.Repositories[0].Effects):len(s.Repositories[0].Effects)],
				remit.Effect{Refs: "refs/heads/main", Causes: "deploy.promote", On: staging})
		})
		w.stopped(toMain(c)) // it would set off something that is not in the scope
		w.policy = func(authority.Facts) authority.Finding {
			return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"freeze"}}
		}
		w.deny(toMain(c), remit.PolicyDenied, "")
	})
	run("it gives nothing that the grant does not", func(t *testing.T, w *world) {
		c := w.task("coder", "p-mia")
		w.must(w.opening("sam", touch("sam"), c.Task, nil))
		r := toMain(c)
		w.deny(r, remit.OutOfScope, "")
		w.allow(push(c, branch(c, "x"), "1", workflow))
		if g := w.decision(w.allow(push(c, branch(c, "y"), "1", "src/a")).Entry).Glass; g != "" {
			t.Errorf("what asks nobody passes under %s", g)
		}
	})
	run("what people agreed to is carried out on their votes, not under it", func(t *testing.T, w *world) {
		c := w.task("merger", "p-mia")
		r := toMain(c)
		a := w.hold(r, remit.ImpactHeld)
		for _, v := range []string{"rio", "sam", "tom"} {
			w.vote(a, v, touch(v), true)
		}
		w.apply(func(s *authority.Set) {
			s.BreakGlass = slices.Clone(s.BreakGlass)
			s.BreakGlass[0].Who = []string{remit.Administrators}
		})
		w.later(time.Minute)
		w.must(w.opening("ada", touch("ada"), c.Task, nil))
		w.policy = func(authority.Facts) authority.Finding {
			return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"calm"}, Votes: []remit.Need{{Group: remit.Administrators, N: 1}}}
		}
		w.deny(w.claim(a, r), remit.PolicyHeld, "it now needs")
	})
	run("neither a plan nor advice is under it", func(t *testing.T, w *world) {
		w.apply(func(s *authority.Set) {
			s.BreakGlass = slices.Clone(s.BreakGlass)
			s.BreakGlass[0].Scope = append(slices.Clone(s.BreakGlass[0].Scope), remit.Scope{Actions: []remit.Action{remit.ActionPlan}, Resources: []remit.Pattern{"task:merger"}})
		})
		c := w.task("merger", "p-mia")
		w.must(w.opening("sam", touch("sam"), c.Task, nil))
		w.hold(filing(c, planMerges(1)), remit.ImpactHeld)
		r := toMain(c)
		r.Advice = true
		if d := w.ask(r); d.Verdict != remit.Hold {
			t.Errorf("advice: %s", d.Verdict)
		}
	})
	run("who opens it, and how", func(t *testing.T, w *world) {
		over := w.task("merger", "p-mia", func(c *authority.CreateTask) { c.For = int64(time.Minute) })
		w.later(time.Minute)
		w.apply(func(s *authority.Set) {
			i := slices.IndexFunc(s.People, func(p remit.PersonDeclared) bool { return p.ID == "p-sam" })
			s.People[i].Keys = append(slices.Clone(s.People[i].Keys), key(touch("sam's next")))
		})
		c := w.task("merger", "p-mia")
		w.refuse(w.opening("tom", touch("tom"), c.Task, nil), remit.Forbidden, "members of [release]")
		w.refuse(w.opening("sam", touch("tom"), c.Task, nil), remit.BadVote, "no declared key")
		w.refuse(w.opening("rio", soft("rio"), c.Task, nil), remit.BadVote, "needs a touch")
		w.refuse(w.opening("sam", touch("sam"), "T-99", nil), remit.NotLive, "")
		w.refuse(w.opening("sam", touch("sam"), over.Task, nil), remit.NotLive, "has ended")
		w.refuse(w.opening("sam", touch("sam's next"), c.Task, nil), remit.BadVote, "no declared key of yours that counts")
		mute := w.opening("sam", touch("sam"), c.Task, nil)
		mute.Reason = remit.Digest{}
		w.refuse(mute, remit.BadVote, "other words")
		w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-rio"})
		w.refuse(w.opening("rio", soft("rio"), c.Task, nil), remit.Forbidden, "members of [release]")
		w.refuse(w.opening("sam", touch("sam"), c.Task, func(o *remit.Opening) { o.Name = "flood" }), remit.NotFound, "flood")
		w.refuse(w.opening("sam", touch("sam"), c.Task, func(o *remit.Opening) { o.Origin = "other" }), remit.BadVote, "for log other")
		w.refuse(w.opening("sam", touch("sam"), c.Task, func(o *remit.Opening) { o.Reason = remit.Hash([]byte("x")) }), remit.BadVote, "other words")
		w.refuse(w.opening("sam", touch("sam"), c.Task, func(o *remit.Opening) { o.At = w.now.Add(-6 * time.Minute) }), remit.Expired, "")
		w.refuse(w.opening("sam", touch("sam"), c.Task, func(o *remit.Opening) { o.At = w.now.Add(6 * time.Minute) }), remit.Expired, "")
		vote := w.opening("sam", touch("sam"), c.Task, nil)
		vote.Signature, _ = sshsig.Sign(touch("sam"), remit.VoteNamespace, vote.Statement)
		w.refuse(vote, remit.BadVote, "no declared key")
		again := w.opening("sam", touch("sam"), c.Task, nil)
		w.must(again)
		w.refuse(again, remit.AlreadyUsed, "")
		w.refuse(w.opening("sam", touch("sam"), c.Task, func(o *remit.Opening) { o.At = w.now.Add(time.Second) }), remit.Conflict, "is open")
	})
	run("not where nobody could review it", func(t *testing.T, w *world) {
		w.apply(func(s *authority.Set) { s.BreakGlass[0].Reviewers = "devs" }) // mia asks, and noa has no key that proves a touch
		w.later(time.Minute)
		w.refuse(w.opening("sam", touch("sam"), w.task("merger", "p-mia").Task, nil), remit.NoApprover, "nobody of devs")
	})
	run("nor where only who opens it could", func(t *testing.T, w *world) {
		w.apply(func(s *authority.Set) { // noa has no key that proves a touch
			s.Groups = append(s.Groups, remit.GroupDeclared{Name: "looks", Members: []remit.ID{"p-sam", "p-noa"}})
			s.BreakGlass = slices.Clone(s.BreakGlass)
			s.BreakGlass[0].Reviewers = "looks"
		})
		w.later(time.Minute)
		w.refuse(w.opening("sam", touch("sam"), w.task("merger", "p-mia").Task, nil), remit.NoApprover, "nobody of looks")
		w.must(w.opening("rio", touch("rio"), w.task("merger", "p-mia").Task, nil))
	})
	run("a review follows, by somebody who has no part in it", func(t *testing.T, w *world) {
		c := w.task("merger", "p-noa")
		g := w.must(w.opening("rio", touch("rio"), c.Task, nil)).ID
		w.redeem(w.allow(toMain(c)).Permit.ID)
		w.refuse(w.looking("tom", touch("tom"), g, nil), remit.NotEligible, "still open")
		w.later(31 * time.Minute)
		w.refuse(w.looking("rio", touch("rio"), g, nil), remit.NotEligible, "caused or steered")
		w.refuse(w.looking("noa", soft("noa"), g, nil), remit.NotEligible, "caused or steered")
		w.refuse(w.looking("sam", touch("sam"), g, nil), remit.NotEligible, "none of the groups")
		w.refuse(w.looking("tom", touch("sam"), g, nil), remit.BadVote, "no declared key")
		w.refuse(w.looking("tom", touch("tom"), g, func(l *remit.Looking) { l.Steps = remit.StepsDigest(nil) }), remit.BadVote, "1 entries")
		w.refuse(w.looking("tom", touch("tom"), g, func(l *remit.Looking) { l.Origin = "other" }), remit.BadVote, "another log")
		w.must(w.looking("tom", touch("tom"), g, func(l *remit.Looking) { l.Right = false }))
		if o := w.s.Opened[g]; o.Reviewed != "p-tom" || o.Right {
			t.Errorf("%+v", o)
		}
		w.refuse(w.looking("tom", touch("tom"), g, nil), remit.NotEligible, "is reviewed")
	})
	run("while a review is overdue, none is opened", func(t *testing.T, w *world) {
		g := w.must(w.opening("sam", touch("sam"), w.task("merger", "p-mia").Task, nil)).ID
		w.later(24*time.Hour + 30*time.Minute - time.Second)
		w.must(w.opening("sam", touch("sam"), w.task("merger", "p-mia").Task, nil))
		w.later(time.Second)
		w.refuse(w.opening("sam", touch("sam"), w.task("merger", "p-mia").Task, nil), remit.GlassOverdue, string(g))
		w.must(w.looking("tom", touch("tom"), g, nil))
		w.must(w.opening("sam", touch("sam"), w.task("merger", "p-mia").Task, nil))
	})
	run("whoever opens it has a part in it from then on", func(t *testing.T, w *world) {
		c := w.task("merger", "p-mia")
		w.must(w.opening("rio", touch("rio"), c.Task, nil))
		id := w.hold(merge(c, "refs/heads/release", "1", "src/a"), remit.ImpactHeld)
		if why := w.s.MayVote(id, "p-rio", w.now.UnixNano()); !strings.Contains(why, "caused or steered") {
			t.Errorf("rio: %q", why)
		}
	})
	run("it is over with its task", func(t *testing.T, w *world) {
		c := w.task("merger", "p-mia", func(c *authority.CreateTask) { c.For = int64(10 * time.Minute) })
		g := w.must(w.opening("sam", touch("sam"), c.Task, nil)).ID
		if w.s.Opened[g].Until > w.s.Tasks[c.Task].Deadline {
			t.Error("it outlives its task")
		}
	})
}

func TestBreakGlassThatIsDeclared(t *testing.T) {
	for name, bad := range map[string]func(*remit.BreakGlassDeclared){
		"a name":                             func(g *remit.BreakGlassDeclared) { g.Name = "Fire!" },
		"who":                                func(g *remit.BreakGlassDeclared) { g.Who = nil },
		"an unknown group":                   func(g *remit.BreakGlassDeclared) { g.Who = []string{"nobody"} },
		"unknown reviewers":                  func(g *remit.BreakGlassDeclared) { g.Reviewers = "nobody" },
		"no time":                            func(g *remit.BreakGlassDeclared) { g.Minutes = 0 },
		"too much time":                      func(g *remit.BreakGlassDeclared) { g.Minutes = 241 },
		"no review":                          func(g *remit.BreakGlassDeclared) { g.ReviewHours = 0 },
		"a late review":                      func(g *remit.BreakGlassDeclared) { g.ReviewHours = 169 },
		"no scope":                           func(g *remit.BreakGlassDeclared) { g.Scope = nil },
		"one who opens it and reviews alone": func(g *remit.BreakGlassDeclared) { g.Who, g.Reviewers = []string{"reviewers", "few"}, "few" },
		"nobody who reviews":                 func(g *remit.BreakGlassDeclared) { g.Reviewers = "none" },
		"a scope that is not":                func(g *remit.BreakGlassDeclared) { g.Scope = []remit.Scope{{Resources: []remit.Pattern{"x"}}} },
	} {
		w := newWorld(t, remit.Team)
		s := clone(w.set)
		s.Groups = append(s.Groups, remit.GroupDeclared{Name: "few", Members: []remit.ID{"p-tom"}}, remit.GroupDeclared{Name: "none"})
		fire(&s)
		if _, err := authority.Diff(w.s, &s); err != nil {
			t.Fatal(err)
		}
		bad(&s.BreakGlass[0])
		if _, err := authority.Diff(w.s, &s); err == nil {
			t.Errorf("%s: it is declared", name)
		}
	}
	w := newWorld(t, remit.Team)
	s := clone(w.set)
	fire(&s)
	s.BreakGlass = append(s.BreakGlass, s.BreakGlass[0])
	if _, err := authority.Diff(w.s, &s); err == nil {
		t.Error("it is declared twice")
	}
	widens := func(change func(*authority.Set)) string {
		t.Helper()
		s := clone(w.set)
		s.BreakGlass = append([]remit.BreakGlassDeclared{}, s.BreakGlass...)
		change(&s)
		changes, err := authority.Diff(w.s, &s)
		if err != nil || len(changes) != 1 {
			t.Fatalf("%v %v", changes, err)
		}
		return changes[0].Widens
	}
	if widens(fire) == "" {
		t.Error("a new one widens nothing")
	}
	w.apply(fire)
	if widens(func(s *authority.Set) { s.BreakGlass[0].Minutes = 20 }) == "" {
		t.Error("another one widens nothing")
	}
	if why := widens(func(s *authority.Set) { s.BreakGlass = nil }); why != "" {
		t.Errorf("without it: %s", why)
	}
	w.apply(func(s *authority.Set) { s.BreakGlass = nil })
	w.refuse(w.opening("sam", touch("sam"), w.task("merger", "p-mia").Task, nil), remit.NotFound, "")
	w.replay()
}

// TestWhoOpensBreakGlassLeavesSomebodyToLook: R3 keeps whoever opens it from everything of its task, so a declaration is
// refused where nobody would be left to review, and says so where nobody would be left to decide on the rest.
func TestWhoOpensBreakGlassLeavesSomebodyToLook(t *testing.T) {
	w := newWorld(t, remit.Team)
	declare := func(change func(*authority.Set)) (string, error) {
		s := clone(w.set)
		fire(&s)
		change(&s)
		changes, err := authority.Diff(w.s, &s)
		for _, c := range changes {
			if c.Kind == "break-glass" {
				return c.Widens, nil
			}
		}
		return "", err
	}
	source := []remit.GroupSource{{Issuer: "https://id.example", Group: "x"}}
	for _, row := range []struct {
		name    string
		change  func(*authority.Set)
		refused bool
		says    string // - is nothing of whose votes are missing
	}{
		{"a release group of two, both of whom decide", func(*authority.Set) {}, false, "nobody can decide for its task as 2 of release on payments/production"},
		{"a third who decides", func(s *authority.Set) { s.Groups[3].Members = []remit.ID{"p-rio", "p-sam", "p-tom"} }, false, "-"},
		{"others open it", func(s *authority.Set) { s.BreakGlass[0].Who = []string{"devs"} }, false, "-"},
		{"two places where nobody could", func(s *authority.Set) {
			s.Repositories[1].Approvers = []remit.Need{{Group: "release", N: 2}}
		}, false, "nor 1 others"},
		{"who decides is known at a provider only", func(s *authority.Set) { s.Groups[3].From = source }, false, "-"},
		{"two review, of whom one opens it", func(s *authority.Set) {
			s.BreakGlass[0].Reviewers, s.BreakGlass[0].Who = "release", []string{"release"}
		}, false, ""},
		{"one reviews, who does not open it", func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-tom"} }, false, ""},
		{"one reviews, who opens it", func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-sam"} }, true, ""},
		{"nobody reviews", func(s *authority.Set) { s.Groups[2].Members = nil }, true, ""},
		{"who reviews is known at a provider only", func(s *authority.Set) { s.Groups[2].Members, s.Groups[2].From = nil, source }, false, ""},
	} {
		says, err := declare(row.change)
		if (err != nil) != row.refused || row.says != "-" && !strings.Contains(says, row.says) || row.says == "-" && strings.Contains(says, "nobody can decide") {
			t.Errorf("%s: %q, %v", row.name, says, err)
		}
	}
	w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-tom"})
	if _, err := declare(func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-tom", "p-sam"} }); err == nil {
		t.Error("somebody who was killed counts as one who reviews")
	}
}
