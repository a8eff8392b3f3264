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

const day = 24 * time.Hour

// quarterly is a campaign over everything at nine on the first day of each quarter, for 14 days.
func quarterly(changes ...func(*remit.CampaignDeclared)) func(*authority.Set) {
	return func(s *authority.Set) {
		c := remit.CampaignDeclared{Name: "quarterly", Cadence: "0 9 1 */3 *", Due: int64(14 * day), Fallback: "reviewers"}
		for _, change := range changes {
			change(&c)
		}
		s.Campaigns = append(slices.Clone(s.Campaigns), c)
	}
}

// settings puts reviews in force that open nothing by themselves, and suspend nobody, unless they are changed.
func settings(changes ...func(*remit.ReviewsDeclared)) func(*authority.Set) {
	return func(s *authority.Set) {
		r := &remit.ReviewsDeclared{UnusedAfter: int64(30 * day), Due: int64(7 * day), Fallback: "reviewers"}
		for _, change := range changes {
			change(r)
		}
		s.Reviews = r
	}
}

// agreed is a world whose declarations were put in force with bob's consent: ada granted nothing alone.
func agreed(t tb, profile remit.Profile, changes ...func(*authority.Set)) *world {
	w := newWorld(t, profile)
	w.apply(func(s *authority.Set) { // what was granted before bob was an administrator is granted once more
		for i := range s.Agents {
			for j := range s.Agents[i].Entitlements {
				s.Agents[i].Entitlements = slices.Clone(s.Agents[i].Entitlements)
				e := &s.Agents[i].Entitlements[j]
				e.Resources = append(slices.Clone(e.Resources), wider(e.Resources[0]))
			}
		}
		for _, c := range changes {
			c(s)
		}
	})
	return w
}

// wider is a pattern of a type under another name.
func wider(p remit.Pattern) remit.Pattern {
	return remit.Pattern(remit.Resource(p).Type() + ":other/thing")
}

// steps does all that time has made true of reviews.
func (w *world) steps() {
	w.t.Helper()
	for i := 0; w.s.ReviewsDue(w.now.UnixNano()); i++ {
		if i > 1000 {
			w.t.Fatalf("reviews are never done")
		}
		w.must(&authority.StepReviews{Seed: remit.Hash([]byte{byte(i)}, []byte(w.now.String()))})
	}
}

// until goes to a time in steps, at each of which reviews are done.
func (w *world) until(t time.Time, every time.Duration) {
	w.t.Helper()
	for w.now.Before(t) {
		w.now = w.now.Add(min(every, t.Sub(w.now)))
		w.tick()
		w.steps()
	}
}

// open are the items that wait, in order.
func (w *world) open() (out []*authority.Item) {
	for _, id := range w.s.OpenItems.IDs {
		if x := w.s.Items[id]; x.Status == remit.ItemOpen {
			out = append(out, x)
		}
	}
	return out
}

// about finds the open item of an agent whose entitlement has an action.
func (w *world) about(agent string, act remit.Action) *authority.Item {
	w.t.Helper()
	for _, x := range w.open() {
		if x.Agent == agent && slices.Contains(x.Scope.Actions, act) && !x.Canary {
			return x
		}
	}
	w.t.Fatalf("no open item of %s is about %s", agent, act)
	return nil
}

// answer is what somebody would send.
func (w *world) answer(who string, k ssh.Signer, answer remit.Answer, items ...*authority.Item) *authority.Answers {
	w.t.Helper()
	c := remit.Certification{Origin: w.s.Origin}
	for _, x := range items {
		c.Answers = append(c.Answers, remit.Certified{Item: x.ID, Answer: answer, Shown: x.Shown})
	}
	sig, err := sshsig.Sign(k, remit.ReviewNamespace, c.Bytes())
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return &authority.Answers{By: remit.ID("p-" + who), Statement: c.Bytes(), Signature: sig}
}

// has tells whether an agent is entitled to an action.
func (w *world) has(agent string, act remit.Action) bool {
	return slices.ContainsFunc(w.s.Agents[agent].Entitlements, func(sc remit.Scope) bool { return slices.Contains(sc.Actions, act) })
}

var april = time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)

func reviewed(t *testing.T, changes ...func(*authority.Set)) *world {
	w := agreed(t, remit.Team, append([]func(*authority.Set){quarterly()}, changes...)...)
	w.now = april
	w.steps()
	return w
}

func (w *world) kinds(kind string) (n int) {
	for _, e := range w.log {
		if e.event.Kind() == kind {
			n++
		}
	}
	return n
}

func TestACampaignAsksForEverythingAndSilenceRemoves(t *testing.T) {
	w := agreed(t, remit.Team, quarterly())
	w.now = april.Add(-time.Second)
	w.steps()
	if n := len(w.open()); n != 0 {
		t.Fatalf("%d items are open before the time of the campaign", n)
	}
	w.now = april
	w.steps()
	if n, want := len(w.open()), 5; n != want { // coder has two entitlements; merger, critic and pilot one each
		t.Fatalf("%d items are open, not %d", n, want)
	}
	x := w.about("coder", "source.push")
	if x.Deadline != april.Add(14*day).UnixNano() || x.Cause != remit.CauseCampaign || x.Evidence.Uses != 0 || x.Advice != remit.Remove {
		t.Fatalf("the item says %+v", x.ReviewOpened)
	}
	w.must(w.answer("mia", soft("mia"), remit.Keep, x))
	w.until(april.Add(13*day-time.Hour), day)
	w.until(april.Add(14*day-time.Second), day)
	if !w.has("pilot", "deploy.promote") {
		t.Fatalf("something was removed before the deadline")
	}
	if n := w.kinds("review.reminded"); n != 2 {
		t.Fatalf("people were reminded %d times, not twice", n)
	}
	w.until(april.Add(14*day), day)
	for _, gone := range []struct {
		agent string
		act   remit.Action
	}{{"pilot", "deploy.promote"}, {"coder", "probe.write"}, {"merger", "source.merge"}, {"critic", "review.submit"}} {
		if w.has(gone.agent, gone.act) {
			t.Fatalf("%s still has %s, which nobody certified", gone.agent, gone.act)
		}
	}
	if !w.has("coder", "source.push") {
		t.Fatalf("what was certified is gone")
	}
	if n := w.kinds("review.removed"); n != 4 {
		t.Fatalf("%d receipts for 4 removals", n)
	}
	r := w.s.Runs[x.Run]
	if want := (remit.RunCount{Items: 5, Kept: 1, Lapsed: 4}); r.Closed == 0 || r.Counts != want || w.s.Campaigns["quarterly"].Open != "" {
		t.Fatalf("the run came to %+v (closed %d), not to %+v", r.Counts, r.Closed, want)
	}
	w.now = time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	w.steps()
	if n := len(w.open()); n != 1 {
		t.Fatalf("the next run asks for %d items, not for the one that is left", n)
	}
	w.replay()
}

func TestNobodyIsSurprised(t *testing.T) {
	// Nobody looked at reviews until long after the deadline: people hear of it before anything is removed.
	w := reviewed(t)
	w.now = april.Add(100 * day)
	w.steps()
	if !w.has("pilot", "deploy.promote") || w.kinds("review.removed") != 0 {
		t.Fatalf("something was removed of which nobody was reminded")
	}
	x := w.about("pilot", "deploy.promote")
	if x.Last != w.now.UnixNano() || x.Ends() != w.now.Add(day).UnixNano() {
		t.Fatalf("the last reminder was at %d, and it ends at %d", x.Last, x.Ends())
	}
	w.later(day - time.Nanosecond).steps()
	if !w.has("pilot", "deploy.promote") {
		t.Fatalf("it was removed within a day of the last reminder")
	}
	w.must(w.answer("mia", soft("mia"), remit.Keep, w.about("coder", "source.push")))
	w.later(time.Nanosecond).steps()
	if w.has("pilot", "deploy.promote") {
		t.Fatalf("it was not removed a day after the last reminder")
	}
	w.replay()
}

func TestWhoAnswers(t *testing.T) {
	alone := func(w *world) *authority.Item { // ada owns merger, and was the only administrator when she declared it
		w.apply(func(s *authority.Set) { quarterly()(s) })
		w.now = april
		w.steps()
		return w.about("merger", "source.merge")
	}
	each(t, remit.Team, []row{
		{"the owner keeps what others gave", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { quarterly()(s) })
			w.now = april
			w.steps()
			w.must(w.answer("mia", soft("mia"), remit.Keep, w.about("coder", "source.push")))
		}},
		{"nobody keeps what they gave themselves alone", func(t *testing.T, w *world) {
			w.refuse(w.answer("ada", touch("ada"), remit.Keep, alone(w)), remit.NotEligible, "put it there alone")
		}},
		{"nor shrinks it to what they then have", func(t *testing.T, w *world) {
			w.refuse(w.answer("ada", touch("ada"), remit.Shrink, alone(w)), remit.NotEligible, "put it there alone")
		}},
		{"but they may give it away", func(t *testing.T, w *world) {
			w.must(w.answer("ada", touch("ada"), remit.Remove, alone(w)))
			if w.has("merger", "source.merge") {
				t.Fatal("it is still there")
			}
		}},
		{"the fallback group answers instead", func(t *testing.T, w *world) {
			w.must(w.answer("rio", touch("rio"), remit.Keep, alone(w)))
		}},
		{"the fallback group does not answer while the owner can", func(t *testing.T, w *world) {
			alone(w)
			w.refuse(w.answer("rio", touch("rio"), remit.Keep, w.about("coder", "source.push")), remit.NotEligible, "they still can")
		}},
		{"after the last reminder the fallback group may", func(t *testing.T, w *world) {
			alone(w)
			w.until(april.Add(13*day), day)
			w.must(w.answer("rio", touch("rio"), remit.Keep, w.about("coder", "source.push")))
		}},
		{"others do not", func(t *testing.T, w *world) {
			w.refuse(w.answer("sam", touch("sam"), remit.Keep, alone(w)), remit.NotEligible, "not one of its reviewers")
		}},
		{"an administrator takes away, and does not keep", func(t *testing.T, w *world) {
			alone(w)
			x := w.about("coder", "source.push")
			w.refuse(w.answer("bob", touch("bob"), remit.Keep, x), remit.NotEligible, "not one of its reviewers")
			w.must(w.answer("bob", touch("bob"), remit.Remove, x))
		}},
		{"an agent answers nothing", func(t *testing.T, w *world) {
			c := w.answer("mia", soft("mia"), remit.Keep, alone(w))
			c.By = "coder"
			w.refuse(c, remit.UnknownPrincipal, "agents review nothing")
		}},
		{"who was killed answers nothing", func(t *testing.T, w *world) {
			alone(w)
			c := w.answer("mia", soft("mia"), remit.Remove, w.about("coder", "source.push"))
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"})
			w.refuse(c, remit.NotEligible, "has left")
		}},
		{"production takes a touch", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				quarterly(func(c *remit.CampaignDeclared) { c.Reviewers = []string{"devs"} })(s)
			})
			w.now = april
			w.steps()
			x := w.about("pilot", "deploy.promote")
			w.refuse(w.answer("mia", soft("mia"), remit.Keep, x), remit.BadVote, "needs a touch")
			w.refuse(w.answer("noa", soft("noa"), remit.Keep, x), remit.NotEligible, "hardware-backed")
			w.must(w.answer("mia", touch("mia"), remit.Keep, x))
		}},
		{"a key of after the item signs nothing", func(t *testing.T, w *world) {
			x := alone(w)
			w.apply(func(s *authority.Set) {
				for i := range s.People {
					if s.People[i].ID == "p-rio" {
						s.People[i].Keys = append(slices.Clone(s.People[i].Keys), key(touch("new")))
					}
				}
			})
			w.later(2 * day)
			w.refuse(w.answer("rio", touch("new"), remit.Keep, x), remit.BadVote, "no key of yours")
		}},
		{"a software key from where the agent runs unconfined keeps nothing", func(t *testing.T, w *world) {
			alone(w)
			x := w.about("coder", "source.push")
			id := w.must(&authority.CreateTask{By: "p-mia", Agent: "coder", Intent: remit.Hash([]byte("words"))}).ID
			w.must(&authority.StartInstance{By: "p-mia", Task: id, Confinement: remit.ConfineNone, Secret: secret, Host: host})
			c := w.answer("mia", soft("mia"), remit.Keep, x)
			c.Host = host
			w.refuse(c, remit.BadVote, "runs unconfined")
			c.Host, c.Loopback = remit.Digest{}, true
			w.refuse(c, remit.BadVote, "runs unconfined")
			c = w.answer("mia", touch("mia"), remit.Keep, x)
			c.Loopback = true
			w.must(c)
		}},
	})
}

func TestAStatementIsGoodForItsItemsOnce(t *testing.T) {
	each(t, remit.Team, []row{
		{"a second time", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			c := w.answer("mia", soft("mia"), remit.Keep, w.about("coder", "source.push"))
			w.must(c)
			w.refuse(c, remit.AlreadyUsed, "was ended by entry")
		}},
		{"long after", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			c := w.answer("mia", soft("mia"), remit.Keep, w.about("coder", "source.push"))
			w.must(c)
			w.until(april.Add(60*day), 7*day)
			w.refuse(c, remit.AlreadyUsed, "was ended by entry")
		}},
		{"too late", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			c := w.answer("mia", soft("mia"), remit.Keep, w.about("coder", "source.push"))
			w.until(april.Add(13*day), day)
			w.later(day)
			w.refuse(c, remit.Expired, "the time for item")
		}},
		{"of another log", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			w.s.Origin = "other.example"
			c := w.answer("mia", soft("mia"), remit.Keep, w.about("coder", "source.push"))
			w.s.Origin = "log.acme.example"
			w.refuse(c, remit.BadVote, "is for log")
		}},
		{"of what was not shown", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			x := *w.about("coder", "source.push")
			e := *x.ReviewOpened
			e.Shown = remit.Hash([]byte("another"))
			x.ReviewOpened = &e
			w.refuse(w.answer("mia", soft("mia"), remit.Keep, &x), remit.BadVote, "look at it again")
		}},
		{"signed by another", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			w.refuse(w.answer("mia", soft("noa"), remit.Keep, w.about("coder", "source.push")), remit.BadVote, "no key of yours")
		}},
		{"as a vote", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			c := w.answer("mia", soft("mia"), remit.Keep, w.about("coder", "source.push"))
			c.Signature, _ = sshsig.Sign(soft("mia"), remit.VoteNamespace, c.Statement)
			w.refuse(c, remit.BadVote, "no key of yours")
		}},
		{"many at once, or none of them", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			mine, other := w.about("coder", "source.push"), w.about("pilot", "deploy.promote")
			w.refuse(w.answer("mia", soft("mia"), remit.Keep, mine, other), remit.NotEligible, string(other.ID))
			w.must(w.answer("mia", soft("mia"), remit.Keep, mine, w.about("coder", "probe.write")))
			if n := w.kinds("review.answered"); n != 2 {
				t.Fatalf("%d answers stand in the log, not 2", n)
			}
		}},
		{"there is no such item", func(t *testing.T, w *world) {
			*w = *reviewed(t)
			x := *w.about("coder", "source.push")
			e := *x.ReviewOpened
			e.ID = "R-7"
			x.ReviewOpened = &e
			w.refuse(w.answer("mia", soft("mia"), remit.Keep, &x), remit.NotFound, "no item R-7")
		}},
	})
}

// pushed has the coder push once to payments.
func (w *world) pushed() caller {
	w.t.Helper()
	c := w.task("coder", "p-mia")
	d := w.allow(push(c, branch(c, "a"), "tip", "README.md"))
	w.redeem(d.Permit.ID)
	return c
}

func TestUseIsCountedExactly(t *testing.T) {
	w := agreed(t, remit.Team, quarterly())
	c := w.pushed()
	d := w.allow(step(c, "source.read", docs)) // decided, and never redeemed: that is no use
	_ = d
	w.redeem(w.allow(step(c, "build.read", "pipeline:payments/ci")).Permit.ID)
	w.deny(step(c, "source.merge", payments), remit.BadRequest, "")
	w.now = april
	w.tick()
	w.steps()
	x := w.about("coder", "source.push")
	e := x.Evidence
	if e.Uses != 2 || e.Tasks != 1 || !slices.Equal(e.Actions, []remit.Action{"build.read", "source.push"}) || e.Targets != 2 || e.LastAt == 0 || x.Advice != remit.Shrink {
		t.Fatalf("the evidence is %+v, the advice %s", e, x.Advice)
	}
	if un := w.about("coder", "probe.write"); un.Evidence.Uses != 0 || un.Advice != remit.Remove {
		t.Fatalf("what nobody used says %+v, %s", un.Evidence, un.Advice)
	}
	w.must(w.answer("mia", soft("mia"), remit.Shrink, x))
	var left []string
	for _, sc := range w.s.Agents["coder"].Entitlements {
		for _, a := range sc.Actions {
			for _, r := range sc.Resources {
				left = append(left, string(a)+" "+string(r))
			}
		}
	}
	slices.Sort(left)
	if got, want := strings.Join(left[:1], ","), "build.read pipeline:payments/ci"; got != want || !slices.Contains(left, "source.push repo:forge/acme/payments") || slices.ContainsFunc(left, func(s string) bool { return strings.HasPrefix(s, "source.read") }) {
		t.Fatalf("a shrink left %v", left)
	}
	if again := w.task("coder", "p-mia"); again.Task == "" || w.s.Items[x.ID].Status != remit.ItemShrunk {
		t.Fatalf("what was used is lost")
	}
	w.replay()
}

func TestWhatIsNotShrunk(t *testing.T) {
	w := reviewed(t)
	w.refuse(w.answer("mia", soft("mia"), remit.Shrink, w.about("coder", "source.push")), remit.BadRequest, "nothing of item")
	w = agreed(t, remit.Team, quarterly(), func(s *authority.Set) {
		s.Agents[2].Entitlements = []remit.Scope{{Actions: []remit.Action{"review.read"}, Resources: []remit.Pattern{remit.Pattern(payments)}}}
		s.Agents[2].MayRequest = []remit.Function{remit.FuncCode}
	})
	c := w.task("critic", "p-noa")
	w.redeem(w.allow(step(c, "review.read", payments)).Permit.ID)
	w.now = april
	w.tick()
	w.steps()
	x := w.about("critic", "review.read")
	if x.Advice != remit.Keep {
		t.Fatalf("the advice on what was used whole is %s", x.Advice)
	}
	w.refuse(w.answer("noa", soft("noa"), remit.Shrink, x), remit.BadRequest, "all of item")
	for _, x := range w.open() {
		if x.Function == remit.FuncCode {
			w.refuse(w.answer("noa", soft("noa"), remit.Shrink, x), remit.BadRequest, "about one function")
			w.must(w.answer("noa", soft("noa"), remit.Remove, x))
			if len(w.s.Agents["critic"].MayRequest) != 0 {
				t.Fatal("it may still request work")
			}
			return
		}
	}
	t.Fatal("nobody was asked about the function")
}

func TestARemovalEndsTheGrantsThatRestOnItAtOnce(t *testing.T) {
	w := reviewed(t)
	c := w.task("coder", "p-mia")
	other := w.task("coder", "p-mia", func(c *authority.CreateTask) {
		c.Scope = []remit.Scope{{Actions: []remit.Action{"probe.write"}, Resources: []remit.Pattern{"probe:canary"}}}
	})
	d := w.allow(push(c, branch(c, "a"), "tip", "README.md"))
	w.must(w.answer("mia", soft("mia"), remit.Remove, w.about("coder", "source.push")))
	if w.s.TaskLive(c.Task, w.now.UnixNano()) {
		t.Fatal("a grant outlives the entitlement that it rests on")
	}
	if !w.s.TaskLive(other.Task, w.now.UnixNano()) {
		t.Fatal("a grant ended that rests on something else")
	}
	if _, err := w.do(&authority.Redeem{Permit: d.Permit.ID, Proof: remit.Hash(secret[:]), Hash: proof}); err == nil {
		t.Fatal("a permit of it is redeemed")
	}
	w.deny(push(c, branch(c, "b"), "tip2", "README.md"), remit.NotLive, "")
	w.tick()
	if got := w.s.Tasks[c.Task].Status; got != remit.TaskKilled || len(w.s.Cut) != 0 {
		t.Fatalf("the task is %s, and %v wait for their end", got, w.s.Cut)
	}
	w.replay()
}

func TestARemovalEndsGrantsOfWhatWasWider(t *testing.T) {
	// An administrator narrows an entitlement; tasks that run keep their grants. What is left of it is removed: they end.
	w := reviewed(t)
	c := w.task("coder", "p-mia")
	w.apply(func(s *authority.Set) {
		s.Agents[0].Entitlements = slices.Clone(s.Agents[0].Entitlements)
		s.Agents[0].Entitlements[0].Actions = []remit.Action{"source.push"}
	})
	if !w.s.TaskLive(c.Task, w.now.UnixNano()) {
		t.Fatal("a narrowing ended a task that runs")
	}
	w.must(w.answer("mia", soft("mia"), remit.Remove, w.about("coder", "source.push")))
	if w.has("coder", "source.push") || w.s.TaskLive(c.Task, w.now.UnixNano()) {
		t.Fatal("a grant outlives the entitlement that a part of it rests on")
	}
	w.replay()
}

func TestNarrowerIsNotAWayAround(t *testing.T) {
	// An administrator writes the same entitlement a little narrower while it is reviewed: silence removes that as well.
	w := reviewed(t)
	w.apply(func(s *authority.Set) {
		s.Agents[0].Entitlements = slices.Clone(s.Agents[0].Entitlements)
		s.Agents[0].Entitlements[0].Actions = []remit.Action{"source.push"}
	})
	w.until(april.Add(15*day), day)
	if w.has("coder", "source.push") {
		t.Fatal("it is still there, because it is written otherwise")
	}
	w.replay()
}

func TestCanariesShowWhoDoesNotLook(t *testing.T) {
	w := agreed(t, remit.Team, quarterly(func(c *remit.CampaignDeclared) { c.Canaries = 3; c.Reviewers = []string{"release"} }))
	w.now = april
	w.steps()
	var fakes []*authority.Item
	for _, x := range w.open() {
		if x.Canary {
			fakes = append(fakes, x)
		}
	}
	if len(fakes) != 3 {
		t.Fatalf("%d canaries stand among %d items, not 3", len(fakes), len(w.open()))
	}
	for _, x := range fakes {
		for _, sc := range w.s.Agents[x.Agent].Entitlements {
			if authority.HoldingKey(sc, "") == authority.HoldingKey(x.Scope, "") {
				t.Fatalf("canary %s is about what agent %s has", x.ID, x.Agent)
			}
		}
		if x.Advice != remit.Remove || x.Evidence.Granted == 0 || x.Evidence.Uses != 0 {
			t.Fatalf("canary %s says %+v, which no other item that nobody used does", x.ID, x.ReviewOpened)
		}
	}
	before := len(w.s.Agents[fakes[0].Agent].Entitlements)
	w.must(w.answer("rio", touch("rio"), remit.Keep, fakes[0]))
	w.refuse(w.answer("rio", touch("rio"), remit.Shrink, fakes[1]), remit.BadRequest, "nothing of item")
	w.must(w.answer("rio", touch("rio"), remit.Remove, fakes[1]))
	if n := len(w.s.Agents[fakes[0].Agent].Entitlements); n != before {
		t.Fatalf("a canary granted or took something")
	}
	w.until(april.Add(15*day), day)
	r := w.s.Runs[fakes[0].Run]
	if c := r.Counts; c.Canaries != 2 || c.Fooled != 1 || c.Unseen != 1 || c.Items != 5 || c.Lapsed != 5 || r.Closed == 0 {
		t.Fatalf("the run came to %+v", c)
	}
	w.replay()
}

func TestRegrant(t *testing.T) {
	w := reviewed(t)
	x := w.about("coder", "source.push")
	w.refuse(&authority.Regrant{By: "p-mia", Item: x.ID}, remit.Conflict, "is open")
	w.must(w.answer("mia", soft("mia"), remit.Remove, x))
	w.refuse(&authority.Regrant{By: "p-sam", Item: x.ID}, remit.Forbidden, "owner or an administrator")
	w.refuse(&authority.Regrant{By: "p-mia", Item: "R-1"}, remit.NotFound, "no item")
	res := w.must(&authority.Regrant{By: "p-mia", Item: x.ID})
	if res.Decision.Verdict != remit.Hold || w.has("coder", "source.push") {
		t.Fatalf("%+v: it widens, and holds for an administrator", res.Decision)
	}
	w.refuse(&authority.Regrant{By: "p-mia", Item: x.ID, Access: res.Decision.Access}, remit.AlreadyUsed, "not an approval")
	w.vote(res.Decision.Access, "bob", touch("bob"), true)
	w.must(&authority.Regrant{By: "p-mia", Item: x.ID, Access: res.Decision.Access})
	if !w.has("coder", "source.push") || w.s.Accesses[res.Decision.Access].Status != remit.AccessUsed {
		t.Fatal("it did not come back, or its approval may be used again")
	}
	if h := w.s.HoldingOf(x); h == nil || h.Alone || h.By != "p-mia" || h.Uses != 0 {
		t.Fatalf("what came back says %+v", h)
	}
	w.refuse(&authority.Regrant{By: "p-mia", Item: x.ID}, remit.Conflict, "regranted")
	y := w.about("coder", "probe.write")
	w.must(w.answer("mia", soft("mia"), remit.Remove, y))
	w.later(authority.RegrantFor + 1)
	w.refuse(&authority.Regrant{By: "p-ada", Item: y.ID}, remit.Expired, "declared anew")
	w.replay()
}
