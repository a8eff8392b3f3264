package console_test

import (
	"crypto/ecdsa"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/browser"
	"github.com/remit-dev/remit/internal/world"
)

// reviewed is a house in which a campaign has opened: coder, of ben's, has used its first entitlement for pushes to one of
// its repositories, and its second for nothing.
func reviewed(t *testing.T, canaries int) *house {
	t.Helper()
	h := &house{world.New(t, world.Options{Host: "localhost", Certificates: time.Now}), map[string]*ecdsa.PrivateKey{}}
	d := h.people()
	d.Agents[0].Owner = "ben"
	d.Agents[0].Entitlements = []remit.Scope{{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/*"}},
		{Actions: []remit.Action{"build.read"}, Resources: []remit.Pattern{"pipeline:payments/ci"}}}
	d.Campaigns = []remit.Campaign{{Name: "weekly", Cadence: "0 9 * * 1", Due: "5d", Fallback: "reviewers", Canaries: canaries}}
	d.Reviews = &remit.Reviews{Micro: []string{"none"}}
	h.Declare(d)
	i := h.Instance("cleo", h.Task("cleo").ID)
	h.Finish(h.ask(push(i, "1", "src/a"), remit.Allow).Permit, remit.Done, "")
	h.pass(8 * 24 * time.Hour)
	return h
}

// pass lets time pass, and what it does be done.
func (h *house) pass(d time.Duration) {
	h.T.Helper()
	h.Clock.Advance(d)
	for range 3 {
		h.Clock.Advance(2 * time.Minute) // reviews are looked at every minute
		if err := h.Engine.Tick(h.T.Context()); err != nil {
			h.T.Fatal(err)
		}
	}
}

func (h *house) items(all bool) remit.ReviewList {
	h.T.Helper()
	l, err := h.SignIn("ben").ReviewItems(h.T.Context(), all)
	if err != nil {
		h.T.Fatal(err)
	}
	return l
}

// itemOn is the item about a resource.
func (h *house) itemOn(l remit.ReviewList, p remit.Pattern) remit.ItemView {
	h.T.Helper()
	for _, v := range l.Items {
		if v.Entitlement != nil && v.Entitlement.Resources[0] == p {
			return v
		}
	}
	h.T.Fatalf("no item is about %s: %+v", p, l)
	return remit.ItemView{}
}

// Each item shows its evidence, and one touch keeps, shrinks or removes it; the rest goes as it is recommended.
func TestReviewsAreAnsweredWithOneTouch(t *testing.T) {
	h := reviewed(t, 0)
	b := chromium.New(t)
	p := b.Open(browser.Phone)
	h.device(p, "ben")
	h.enter(p, "ben")
	p.Go(h.URL + "/console/")
	p.See("No request waits for you.")
	p.See("2 review items wait for your answer, the first by")
	p.Shot("inbox-reviews-phone", true)
	fine(t, p)
	p.Click(`#live a[href="/console/reviews"]`)
	p.See("0 of 2 ended")
	p.See("used 1 time")
	p.See("Never for source.read.")
	p.See("never used")
	dark := browser.Desktop
	dark.Dark = true
	for name, s := range map[string]browser.Screen{"phone": browser.Phone, "desktop": browser.Desktop, "dark": dark} {
		q := b.Open(s)
		h.enter(q, "ben")
		for page, path := range map[string]string{"reviews": "/reviews", "reviews-terminal": "/reviews?show=all", "campaigns": "/reviews?show=campaigns", "run": "/reviews/runs/" + string(h.items(false).Runs[0].ID)} {
			q.Go(h.URL + "/console" + path)
			q.Until(`document.querySelector("#live")`)
			q.Shot(page+"-"+name, true)
			fine(t, q)
		}
	}
	l := h.items(false)
	push, build := h.itemOn(l, "repo:forge/*"), h.itemOn(l, "pipeline:payments/ci")
	p.Click(fmt.Sprintf(`#%s [data-answer="shrink"]`, push.ID))
	p.See(fmt.Sprintf("%s is shrunk.", push.ID))
	p.Until(fmt.Sprintf(`!document.querySelector("#%s")`, push.ID))
	p.See("1 of 2 ended")
	p.Run(`document.querySelector("[data-recommended]").focus()`)
	p.Key("\r") // and without a mouse
	p.See(fmt.Sprintf("%s is removed.", build.ID))
	p.See("Nothing waits for your answer.")
	if a, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || len(a.Entitlements) != 1 || a.Entitlements[0].Resources[0] != remit.Pattern(world.Repo) || len(a.Entitlements[0].Actions) != 1 {
		t.Errorf("%+v %v", a, err)
	}
	p.Go(h.URL + "/console/reviews?show=ended")
	p.See("ben said shrink in entry")
	p.Shot("reviews-ended-phone", true)
	fine(t, p)
	// What was removed comes back by one press, and where somebody else administers too, with their agreement.
	p.Click(fmt.Sprintf(`#%s form button`, build.ID))
	p.See("agent coder gets back what a review took away")
	p.See("gets back build.read on pipeline:payments/ci")
	p.Shot("regrant-phone", true)
	fine(t, p)
	if a, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || len(a.Entitlements) != 1 {
		t.Errorf("%+v %v", a, err)
	}
	at := p.Address()
	h.pass(time.Second) // each signs in at another moment
	if v, err := h.Vote("ada", h.status(remit.ID(at[strings.LastIndex(at, "/")+1:])), true); err != nil || v.Status != remit.AccessUsed {
		t.Fatalf("%+v %v", v, err)
	}
	if a, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || len(a.Entitlements) != 2 {
		t.Errorf("%+v %v", a, err)
	}
	p.Go(h.URL + "/console/reviews?show=ended")
	p.See("regranted")
}

// An item that shows one thing and binds another is not signed, and a press by somebody else's script signs nothing else.
func TestAnItemThatWasTamperedWithIsNotSigned(t *testing.T) {
	h := reviewed(t, 0)
	p := chromium.New(t).Open(browser.Desktop)
	h.device(p, "ben")
	h.enter(p, "ben")
	l := h.items(false)
	push, build := h.itemOn(l, "repo:forge/*"), h.itemOn(l, "pipeline:payments/ci")
	for what, script := range map[string]string{
		"uses":         `document.querySelector("#%[1]s [data-bind=Uses]").textContent = "77"`,
		"resources":    `document.querySelector("#%[1]s [data-bind=Resources]").textContent = "repo:forge/docs"`,
		"advice":       `document.querySelector("#%[1]s [data-bind=Advice]").textContent = "keep"`,
		"fixed":        `{ const d = document.querySelector("#%[1]s article").dataset; d.fixed = d.fixed.replace("source.push", "source.pull") }`,
		"other":        `{ const d = document.querySelector("#%[1]s article").dataset; d.item = "%[2]s" }`,
		"of the other": `{ const d = document.querySelector("#%[1]s article").dataset, o = document.querySelector("#%[2]s article").dataset; d.item = o.item; d.shown = o.shown; d.fixed = o.fixed }`,
	} {
		p.Go(h.URL + "/console/reviews")
		p.See("Never for source.read.")
		p.Run(fmt.Sprintf(script, push.ID, build.ID))
		p.Click(fmt.Sprintf(`#%s [data-answer="keep"]`, push.ID))
		p.See("nothing was signed")
		t.Log(what)
	}
	for _, v := range h.items(true).Items {
		if v.Status != remit.ItemOpen {
			t.Errorf("%+v", v)
		}
	}
}

// Nothing that the API or a page says of an item that waits tells a canary from another; once it is answered, both do.
func TestCanariesAreNotKnownByLooking(t *testing.T) {
	h := reviewed(t, 3)
	l := h.items(false)
	fakes := map[remit.ID]bool{}
	h.Engine.View(func(s *authority.State) {
		for id, x := range s.Items {
			fakes[id] = x.Canary
		}
	})
	real := h.itemOn(l, "pipeline:payments/ci")
	n := 0
	for _, v := range l.Items {
		if !fakes[v.ID] {
			continue
		}
		n++
		// An item of the same agent that was never used, save for what it is about.
		v.ID, v.Entry, v.Entitlement, v.Unused, v.Reach, v.MoreReach, v.Shown, v.Fixed = real.ID, real.Entry, real.Entitlement, real.Unused, real.Reach, real.MoreReach, real.Shown, real.Fixed
		if got, want := fmt.Sprintf("%+v", v), fmt.Sprintf("%+v", real); strings.ReplaceAll(got, fmt.Sprintf("Entitlement:%p", v.Entitlement), "") != strings.ReplaceAll(want, fmt.Sprintf("Entitlement:%p", real.Entitlement), "") {
			t.Errorf("a canary is\n%s\nand another item is\n%s", got, want)
		}
	}
	if n == 0 || l.Open != len(l.Items) || l.Runs[0].Counts.Items != l.Open || l.Runs[0].Counts.Canaries != 0 {
		t.Fatalf("%d canaries of %d items: %+v", n, l.Open, l.Runs)
	}
	p := chromium.New(t).Open(browser.Desktop)
	h.device(p, "ben")
	h.enter(p, "ben")
	p.Go(h.URL + "/console/reviews")
	p.See("Never for source.read.")
	if strings.Contains(strings.ToLower(browser.Eval[string](p, `document.documentElement.outerHTML`)), "canary") {
		t.Error("the page says which item is a canary")
	}
	for id, fake := range fakes {
		if fake {
			p.Click(fmt.Sprintf(`#%s [data-answer="keep"]`, id))
			p.See(string(id) + ": the agent never had this.")
			break
		}
	}
	p.See(fmt.Sprintf("1 of %d ended", l.Open)) // the page is drawn anew; a click before that is lost
	p.Click("[data-recommended]")
	p.See("Nothing waits for your answer.")
	h.pass(time.Minute)
	h.enter(p, "ben")
	p.Go(h.URL + "/console/reviews/runs/" + string(l.Runs[0].ID))
	p.See("of the canary items that were answered were not kept")
	p.Shot("run-closed-desktop", true)
	fine(t, p)
}

// An agent that nobody uses suspends itself, and its owner brings it back from its page.
func TestAnIdleAgentIsBroughtBackFromItsPage(t *testing.T) {
	h := reviewed(t, 0)
	h.pass(10 * 24 * time.Hour)
	p := chromium.New(t).Open(browser.Phone)
	h.enter(p, "ben")
	p.Go(h.URL + "/console/agents/coder")
	p.See("nobody used it")
	p.Shot("agent-idle-phone", true)
	fine(t, p)
	p.Click(`form[action$="/revive"] button`)
	p.Until(`document.querySelector('form[action$="/suspend"]')`)
	if a, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || a.Status != remit.AgentActive || a.Idle != nil {
		t.Errorf("%+v %v", a, err)
	}
}
