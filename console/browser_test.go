package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/browser"
)

// evil is a text that would do something wherever it were taken for markup, a script or a template.
const evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e'\"]]>{{.}}&lt;b&gt;javascript:alert(3)"

func evilShown() remit.Shown {
	return remit.Shown{
		Commits: []remit.ShownCommit{{ID: strings.Repeat("ab", 20), Author: evil, Subject: evil}},
		Paths:   []remit.ShownPath{{Path: ".github/workflows/" + evil, Kind: "modify", Note: "runs by itself"}, {Path: "refund.go", Kind: "modify"}, {Path: evil, Kind: "add"}},
		Diff:    "--- a/refund.go\n+++ b/refund.go\n@@ -1,2 +1,2 @@\n package refund\n-var half = 0.5\n+var half = 5.0 // " + evil + "\n",
	}
}

// Each page is looked at by a machine as well: it fits a phone, breaks no rule of its own policy, and axe-core finds
// nothing serious on it.
func TestEveryPageIsFitToBeSeen(t *testing.T) {
	h := newHouse(t, remit.Demo)
	task, id := h.hold(evilShown())
	done, used := h.hold(evilShown())
	h.Cast("ben", h.status(used), true)
	_, vetoed := h.hold(evilShown())
	h.Cast("dora", h.status(vetoed), false)
	b := chromium.New(t)
	dark := browser.Desktop
	dark.Dark = true
	for name, s := range map[string]browser.Screen{"desktop": browser.Desktop, "phone": browser.Phone, "dark": dark} {
		p := b.Open(s)
		p.Go(h.URL + "/console/")
		p.See("Sign in")
		p.Shot("signin-"+name, true)
		check := func(page string, ok ...string) {
			p.Shot(page+"-"+name, true)
			if n := p.Overflows(); n > 0 {
				t.Errorf("%s at %s is %d pixels too wide", page, name, n)
			}
			for _, x := range p.Wrong() {
				if len(ok) == 0 || !strings.Contains(x, ok[0]) {
					t.Errorf("%s at %s: %s", page, name, x)
				}
			}
			for _, f := range p.Axe() {
				t.Errorf("%s at %s: %s", page, name, f)
			}
			if name != "desktop" { // the text is the same
				return
			}
			for _, n := range p.Numbers() {
				t.Errorf("%s: a figure that leads nowhere: %s", page, n)
			}
			for _, n := range p.Unnamed() {
				t.Errorf("%s: a screen reader has no name for a %s", page, n)
			}
		}
		check("signin")
		h.enter(p, "ben")
		for page, path := range map[string]string{"inbox": "/", "all": "/?show=all", "settled": "/?show=settled", "card": "/approvals/" + string(id), "met": "/approvals/" + string(used),
			"tasks": "/tasks", "task": "/tasks/" + string(task.ID), "task-met": "/tasks/" + string(done.ID), "agents": "/agents", "agent": "/agents/coder", "inventory": "/inventory", "rightsize": "/agents/coder/rightsize", "unused": "/inventory?unused=30&owner=-",
			"leases": "/leases", "log": "/log", "search": "/log?q=access.opened+" + string(task.ID), "entry": "/log/5", "decision": "/log/" + fmt.Sprint(h.status(id).Decision), "policy": "/policy",
			"gates": "/gates", "glass": "/break-glass", "channels": "/channels", "evidence": "/evidence", "evidence-nhi": "/evidence?framework=owasp-nhi-2025&days=7", "paths": "/paths?to=repo", "reach": "/paths/reach?node=agent:coder", "cut": "/paths/cut?to=repo", "reviews-none": "/reviews", "campaigns-none": "/reviews?show=campaigns", "reviews-ended-none": "/reviews?show=ended"} {
			p.Go(h.URL + "/console" + path)
			if page == "card" {
				p.Shot("card-"+name+"-top", false)
			}
			check(page)
		}
		p.Go(h.URL + "/console/policy")
		p.Click(`form[action$="/observe"] button`)
		p.See("would have been decided as they were")
		check("observed")
		p.Go(h.URL + "/console/tasks/T-999")
		p.See("Not possible")
		check("none", "404")
	}
}

func TestAnAgentIsSuspendedFromItsPage(t *testing.T) {
	h := newHouse(t, remit.Team)
	p := chromium.New(t).Open(browser.Phone)
	h.enter(p, "ada")
	p.Go(h.URL + "/console/agents/coder")
	p.Click(`form[action$="/suspend"] button`)
	p.See("suspended")
	if v, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || v.Status != remit.AgentSuspended {
		t.Errorf("%+v %v", v, err)
	}
	p.Click(`form[action$="/resume"] button`)
	p.Until(`document.querySelector('form[action$="/suspend"]')`)
	if v, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || v.Status != remit.AgentActive {
		t.Errorf("%+v %v", v, err)
	}
	for _, x := range p.Wrong() {
		t.Error(x)
	}
}

// The browser verifies by itself, and what is forged is not proven.
func TestAnEntryIsVerifiedInThePage(t *testing.T) {
	h := newHouse(t, remit.Team)
	p := chromium.New(t).Open(browser.Desktop)
	h.enter(p, "ben")
	for _, entry := range []string{"0", "1", "5", "7"} {
		p.Go(h.URL + "/console/log/" + entry)
		p.Click("#verify")
		p.Until(`document.getElementById("verified").textContent`)
		p.See("Entry " + entry + " is in the log of")
	}
	p.Shot("verified-desktop", true)
	for what, js := range map[string]string{
		"another entry's receipt":     `document.getElementById("verify").dataset.receipt = document.getElementById("verify").dataset.receipt.replace(/\d+$/, "3")`,
		"another number":              `document.getElementById("verify").dataset.entry = "3"`,
		"another key":                 `{ const k = document.getElementById("verifier"); k.textContent = k.textContent.replace(/\+([0-9a-f])/, (_, x) => "+" + (x === "0" ? "1" : "0")) }`,
		"a leaf with another byte":    `{ const f = fetch; window.fetch = async (u) => { const t = await (await f(u)).text(); return new Response(t.replace(/^extra (.)/m, (_, x) => "extra " + (x === "A" ? "B" : "A"))) } }`,
		"a root with another byte":    `{ const f = fetch; window.fetch = async (u) => { const t = await (await f(u)).text(); const i = t.indexOf("\n\n") + 2; const l = t.slice(i).split("\n"); l[2] = (l[2][0] === "A" ? "B" : "A") + l[2].slice(1); return new Response(t.slice(0, i) + l.join("\n")) } }`,
		"a path that is shorter":      `{ const f = fetch; window.fetch = async (u) => { const t = await (await f(u)).text(); return new Response(t.replace(/^(index \d+\n)[^\n]*\n/m, "$1")) } }`,
		"a signature of another byte": `{ const f = fetch; window.fetch = async (u) => { const t = await (await f(u)).text(); return new Response(t.replace(/(.)(.{8})\n$/, (_, x, y) => (x === "A" ? "B" : "A") + y + "\n")) } }`,
	} {
		p.Go(h.URL + "/console/log/5")
		p.Run(js)
		p.Click("#verify")
		p.Until(`document.getElementById("verified").textContent`)
		if said := browser.Eval[string](p, `document.getElementById("verified").textContent`); !strings.HasPrefix(said, "✗ Not proven") {
			t.Errorf("%s: %s", what, said)
		}
	}
}

// Attack: a page of another site lays the console under its own buttons.
func TestNobodyFramesTheConsole(t *testing.T) {
	h := newHouse(t, remit.Team)
	_, id := h.hold(evilShown())
	evil := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><title>evil</title><iframe id="f" src="%s/console/approvals/%s" onload="document.title='loaded'"></iframe>`, h.URL, id)
	}))
	defer evil.Close()
	p := chromium.New(t).Open(browser.Desktop)
	h.enter(p, "ben")
	p.Go(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)) // the same site, so that the cookie goes along
	p.Until(`document.title === "loaded"`)
	wrong := strings.Join(p.Wrong(), "\n")
	if !strings.Contains(wrong, "frame") {
		t.Errorf("the browser shows it in a frame: %s", wrong)
	}
}

// The machine that looks at pages can see.
func TestAxeFindsWhatIsWrong(t *testing.T) {
	h := newHouse(t, remit.Team)
	p := chromium.New(t).Open(browser.Desktop)
	p.Go(h.URL + "/console/sign-in")
	p.Run(`document.documentElement.removeAttribute("lang"); document.getElementById("passkey").textContent = ""`)
	if found := p.Axe(); os.Getenv("REMIT_AXE") != "" && len(found) < 2 {
		t.Errorf("%v", found)
	}
}
