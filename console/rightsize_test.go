package console_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console"
	"github.com/remit-dev/remit/internal/browser"
)

// The page of what is granted against what is used leads from each figure to its entries, and shows the patch as text.
func TestWhatIsGrantedAgainstWhatIsUsed(t *testing.T) {
	now := time.Now().UTC()
	evil := "<script>alert(1)</script>\u202e"
	long := remit.Scope{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/acme/a-name-that-is-as-long-as-names-of-repositories-get-at-times"}, MaxBytes: 1 << 20, MaxCommits: 16}
	fit := remit.AgentFit{Agent: "coder", Owner: evil, Function: remit.FuncCode, Allowed: 3, First: 20, Last: 40,
		Entitlements: []remit.EntitlementFit{{Declared: long, Proposed: []remit.Scope{long, long}, Change: remit.FitShrink, Granted: 12, GrantedAt: &now,
			Uses: []remit.UseLine{{Action: "source.push", Resource: "repo:forge/acme/payments", Ref: "refs/heads/remit/{task}/**", Count: 3, First: 20, Last: 40, At: &now}}}},
		MayRequest: []remit.FunctionFit{{Function: remit.FuncBuild, Change: remit.FitRemove}},
		Refused:    []remit.UseLine{{Action: "source.read", Resource: "repo:forge/acme/old", Count: 1, First: 7, Last: 7, At: &now}}}
	api := fake(t, map[string]any{"/session": remit.Session{Person: "p-1", Name: "ada", Admin: true}, "/log/checkpoint": remit.LogHead{Size: 90},
		"/declarations": remit.Declarations{}, "/rightsize": remit.Rightsizing{Since: now, From: 5, Size: 90, Older: 3, Agents: []remit.AgentFit{fit}}})
	patch := "--- a/agents.yaml\n+++ b/agents.yaml\n@@ -1 +1 @@\n-" + evil + "\n+" + strings.Repeat("long ", 60) + "\n"
	var failure error
	h := console.New(console.Config{API: api, Org: "acme", Narrower: func(_ remit.Declarations, list []remit.AgentFit) (string, error) {
		if len(list) != 1 || list[0].Agent != "coder" {
			t.Errorf("%+v", list)
		}
		return patch, failure
	}})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	code, body := get("/console/agents/coder/rightsize?days=90")
	for _, want := range []string{`href="/console/log/20"`, `href="/console/log/40"`, `href="/console/log/7"`, `href="/console/log/12"`, " b/agents.yaml", "nothing was read before entry", "never used"} {
		if !strings.Contains(body, want) {
			t.Errorf("%d: it does not have %q", code, want)
		}
	}
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "\u202e") {
		t.Error("a text of somebody's choosing is not a text")
	}
	for _, days := range []string{"0", "x", "3651"} {
		if code, body := get("/console/agents/coder/rightsize?days=" + days); code != 400 || !strings.Contains(body, "1 to 3650") {
			t.Errorf("%s days: %d", days, code)
		}
	}
	front := httptest.NewTLSServer(h)
	defer front.Close()
	p := chromium.New(t).Open(browser.Phone)
	p.Go(front.URL + "/console/agents/coder/rightsize")
	p.Shot("rightsize-patch-phone", true)
	if n := p.Overflows(); n > 0 {
		t.Errorf("%d pixels too wide", n)
	}
	for _, f := range p.Axe() {
		t.Error(f)
	}
	for _, x := range p.Wrong() {
		t.Error(x)
	}
	// Where there can be no patch, nothing is shown as one.
	failure = errors.New("it cannot be made")
	if code, body := get("/console/agents/coder/rightsize"); code != 500 || strings.Contains(body, "agents.yaml") {
		t.Errorf("%d %s", code, body)
	}
}

// What an agent has for less than the time that is looked at is not called useless because nobody used it yet.
func TestWhatIsYoungIsNotCalledUseless(t *testing.T) {
	since := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		granted time.Time
		says    string
	}{{since.Add(time.Hour), "that says little yet"}, {since.Add(-time.Hour), "remove it, unless it is kept"}} {
		fit := remit.AgentFit{Agent: "coder", Entitlements: []remit.EntitlementFit{{Change: remit.FitRemove, Granted: 12, GrantedAt: &x.granted}}}
		w := httptest.NewRecorder()
		said(t, map[string]any{"/session": remit.Session{Person: "p-1", Name: "ada"}, "/log/checkpoint": remit.LogHead{Size: 90},
			"/rightsize": remit.Rightsizing{Since: since, Agents: []remit.AgentFit{fit}}}).ServeHTTP(w, httptest.NewRequest("GET", "/console/agents/coder/rightsize", nil))
		young := x.granted.After(since)
		if body := w.Body.String(); !strings.Contains(body, x.says) || strings.Contains(body, ", <strong class=\"warn\">younger than the time looked at") != young {
			t.Errorf("granted %s:\n%s", x.granted, body)
		}
	}
}
