package console_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/browser"
)

// hostile is a node whose name wants to be markup, a script and another direction of writing.
const hostile = "tool:x\"><script>alert(1)</script><a href='javascript:alert(2)'>\u202egnp.exe"

func somePaths() map[string]any {
	edge := func(from, to, how string, verdict remit.Verdict, why string) remit.PathEdge {
		return remit.PathEdge{From: from, To: to, How: how, Verdict: verdict, Why: why}
	}
	read := edge("untrusted:issue-text/forge/payments", "agent:coder", "steers", remit.Allow, "agent coder reads it")
	deploy := edge("agent:coder", "environment:payments/production", "acts", remit.Hold, "it waits")
	deploy.Action, deploy.Needs, deploy.Crosses = "deploy.promote", []remit.Need{{Group: "release-managers", N: 2}}, "into production"
	trick := edge("agent:coder", hostile, "acts", remit.Allow, "</title><script>alert(3)</script>")
	nodes := []remit.PathNode{{ID: read.From, Kind: "untrusted"}, {ID: "agent:coder", Kind: "agent", Zone: "S", Entry: 12}, {ID: deploy.To, Kind: "environment", Zone: "P"}, {ID: hostile, Kind: "tool", Zone: "P"}}
	ways := []remit.PathWay{{Edges: []remit.PathEdge{read, trick}}, {Edges: []remit.PathEdge{read, deploy}, Approvals: 1, Crosses: []string{"into production"}}}
	return map[string]any{
		"/session": remit.Session{Person: "p-1", Name: "ada", Admin: true}, "/log/checkpoint": remit.LogHead{Size: 90},
		"/paths":       remit.PathsAnswer{From: []string{read.From}, To: []string{deploy.To, hostile}, Paths: ways, Nodes: nodes, Unseen: []string{"No scan looked at forge."}},
		"/paths/reach": remit.PathsReach{From: []string{read.From}, Free: []remit.PathReached{{Node: nodes[1], Steps: 1, Last: read}, {Node: nodes[3], Steps: 2, Last: trick}}, One: []remit.PathReached{{Node: nodes[2], Approvals: 1, Steps: 2, Last: deploy}}},
		"/paths/cut": remit.PathsCut{Edges: []remit.PathEdge{trick}, Uncut: []remit.PathUncut{{Node: hostile, Path: &ways[0]}}, Missing: []remit.PathPlace{{Edge: trick, Why: "nobody is asked", Path: &ways[0]}},
			Vacuous: []remit.PathPlace{{Edge: deploy, Why: "the same people"}}, Elsewhere: 2},
	}
}

// A name is never markup, nor an address, in the drawing or beside it.
func TestPathsAreDrawnWithWhateverTheyAreCalled(t *testing.T) {
	h := said(t, somePaths())
	for path, want := range map[string][]string{
		"/paths":       {`<polyline class="free"`, `<polyline class="asked"`, `class="box z-P"`, "on 1 of them nobody is asked", "2 of release-managers", "No scan looked at forge."},
		"/paths/reach": {"After one approval", `href="/console/log/12"`, "Agent coder reads it."},
		"/paths/cut":   {"The fewest approvals", "No approval keeps an attacker from", "The same people.", "2 approvals</a> elsewhere"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/console"+path, nil))
		body := w.Body.String()
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s does not say %q:\n%s", path, text, body)
			}
		}
		for _, never := range []string{"<script>alert", "href=\"javascript", "href='javascript", "\u202e", "style=", "onload"} {
			if strings.Contains(body, never) {
				t.Errorf("%s has %q", path, never)
			}
		}
	}
	none := somePaths()
	none["/paths"] = remit.PathsAnswer{Paths: []remit.PathWay{}}
	w := httptest.NewRecorder()
	said(t, none).ServeHTTP(w, httptest.NewRequest("GET", "/console/paths?from=agent:coder&to=secret", nil))
	if body := w.Body.String(); !strings.Contains(body, "There is no path from agent:coder to secret.") || strings.Contains(body, "<svg") {
		t.Errorf("%s", body)
	}
}

func TestPathsOnAPhone(t *testing.T) {
	front := httptest.NewTLSServer(said(t, somePaths()))
	defer front.Close()
	p := chromium.New(t).Open(browser.Phone)
	for path, says := range map[string]string{"/paths": "nobody is asked", "/paths/reach?node=untrusted": "After one approval", "/paths/cut": "Missing"} {
		p.Go(front.URL + "/console" + path)
		p.See(says)
		fine(t, p)
		p.Shot("paths"+strings.NewReplacer("/", "-", "?", "-", "=", "-", ":", "-").Replace(path)+"-phone", true)
	}
	p.Go(front.URL + "/console/paths")
	p.Click(`svg a rect`)
	p.See("Blast radius")
}
