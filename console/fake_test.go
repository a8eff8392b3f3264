package console_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console"
	"github.com/remit-dev/remit/internal/browser"
)

// said is a console whose API says what a test wants.
func said(t testing.TB, answers map[string]any) http.Handler {
	t.Helper()
	return console.New(console.Config{API: fake(t, answers), Org: "acme"})
}

// fake is an API that says what a test wants.
func fake(t testing.TB, answers map[string]any) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, ok := answers[strings.TrimPrefix(r.URL.Path, "/v1/orgs/acme")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			out = remit.Problem{Code: remit.NotFound, Detail: "there is none"}
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	})
}

func at(t time.Time) *time.Time { return &t }

func TestLeasesShowDebtFirstAndThenExposure(t *testing.T) {
	now := time.Now().UTC()
	h := said(t, map[string]any{
		"/session": remit.Session{Person: "p-1", Name: "ada", Admin: true}, "/log/checkpoint": remit.LogHead{Size: 90},
		"/leases": remit.LeaseList{Debt: 1, Exposure: 1, Until: at(now.Add(time.Hour)), Contained: []string{"forge"}, Leases: []remit.LeaseView{
			{ID: "L-80", Status: remit.LeaseActive, Upstream: "forge", Target: "repo:forge/payments", Task: "T-70", Agent: "coder", Opened: now, NotAfter: now.Add(time.Hour), Entry: 80},
			{ID: "L-60", Status: remit.LeaseRevoking, Upstream: "registry", Target: "artifact:app", Write: true, Task: "T-50", Agent: "builder", Opened: now, NotAfter: now, Until: at(now.Add(time.Hour)), Entry: 60},
			{ID: "L-40", Status: remit.LeaseQuarantined, Upstream: "cluster", Target: "environment:payments/production", Task: "T-30", Agent: "deployer", Opened: now, NotAfter: now, Due: at(now.Add(-time.Minute)), Code: remit.Expired, Entry: 40},
			{ID: "L-20", Status: remit.LeaseRevoked, Upstream: "forge", Target: "repo:forge/payments", Task: "T-10", Agent: "coder", Opened: now, NotAfter: now, Ended: at(now), Entry: 20, Last: 25},
		}},
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/console/leases?show=all", nil))
	body := w.Body.String()
	last := 0
	for _, want := range []string{"Contained", "forge", `scope="row">L-40`, "overdue since", `scope="row">L-60`, "exposure until", `scope="row">L-80`, `scope="row">L-20`, `href="/console/log/25"`, `href="/v1/orgs/acme/leases/L-20/receipt"`} {
		i := strings.Index(body[last:], want)
		if i < 0 {
			t.Fatalf("%q does not come where it should: %d\n%s", want, w.Code, body)
		}
		last += i
	}
	front := httptest.NewTLSServer(h)
	defer front.Close()
	p := chromium.New(t).Open(browser.Phone)
	p.Go(front.URL + "/console/leases?show=all")
	p.Shot("leases-debt-phone", true)
	if n := p.Overflows(); n > 0 {
		t.Errorf("%d pixels too wide", n)
	}
	for _, f := range p.Axe() {
		t.Error(f)
	}
}

// A card that shows one thing and binds another is shown with a warning, and nobody is asked to vote on it.
func TestACardThatDoesNotBindWhatItShowsHasNoBallot(t *testing.T) {
	v := remit.AccessView{ID: "A-7", Status: remit.AccessOpen, YouMay: true, Agent: "coder", NotAfter: time.Now().Add(time.Hour), Fixed: json.RawMessage(`{"Request":"A-8"}`)}
	h := said(t, map[string]any{"/session": remit.Session{Person: "p-1", Name: "ada"}, "/log/checkpoint": remit.LogHead{Size: 90}, "/approvals/A-7": v, "": remit.OrgInfo{Org: "acme"}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/console/approvals/A-7", nil))
	if body := w.Body.String(); !strings.Contains(body, "Do not vote on this") || strings.Contains(body, "data-vote") {
		t.Errorf("%d %s", w.Code, body)
	}
}

// The script is one file, and does nothing that the page's policy would not let it do.
func TestTheScriptWritesNoMarkup(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("console.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage", "sessionStorage"} {
		if strings.Contains(string(b), never) {
			t.Errorf("the script has %s", never)
		}
	}
	if n := len(b); n > 24<<10 {
		t.Errorf("the script has %d bytes", n)
	}
}

// Gates at which nobody looks, channels that fail, break-glass that waits for its review: what people have to hear of.
func TestPagesOfWhatGoesWrongSayWhatToDo(t *testing.T) {
	now := time.Now().UTC()
	step := []remit.Step{{Action: "source.push", Resource: "repo:forge/payments"}}
	answers := map[string]any{
		"/session": remit.Session{Person: "p-1", Name: "ada", Admin: true}, "/log/checkpoint": remit.LogHead{Size: 90}, "/policy": remit.PolicyView{}, "/policy/trials": []remit.TrialView{},
		"/inbox": remit.Inbox{Rows: []remit.InboxRow{}, Size: 90}, "/log/entries": remit.LogEntry{Entry: 90, Leaf: json.RawMessage(`{"kind":"genesis"}`)},
		"/gates": []remit.GateView{{Rules: []string{"protected"}, Action: "source.push", Resource: "repo:forge/payments", Requests: 41, Approved: 40, Denied: 1, Timed: 40, Quick: 39, Median: "3s",
			Rubber: "40 of 41 were approved, 39 within ten seconds", Routine: []remit.Repeat{{Agent: "coder", Steps: step, Refs: []string{"refs/heads/remit/TASK"}, Approved: 40, Requests: []remit.ID{"A-80", "A-70"}}}}},
		"/notify": []remit.ChannelView{{Name: "chat", Kind: "slack", Next: 88, Waiting: 2, Delivered: 17, Tries: 3, Why: "the endpoint answered 503"},
			{Name: "mail", Kind: "email", Next: 90, Delivered: 40, Parked: []remit.Parked{{ID: "m", What: "A-70 waits", At: now, Why: "550 no such mailbox"}}}},
		"/break-glass": []remit.GlassView{{ID: "B-60", Name: "database-down", Task: "T-50", By: "cleo", Reason: "payments are lost", Opened: now, Until: now.Add(time.Hour), Due: now.Add(48 * time.Hour), Entries: []remit.EntryIndex{61, 64}, YouMay: true},
			{ID: "B-40", Name: "database-down", Task: "T-30", By: "dora", Reason: "night", Opened: now.Add(-99 * time.Hour), Until: now.Add(-98 * time.Hour), Due: now.Add(-time.Hour), Overdue: true, Entries: []remit.EntryIndex{}, WhyNot: "you opened it"},
			{ID: "B-20", Name: "database-down", Task: "T-10", By: "ben", Reason: "drill", Opened: now, Until: now, Due: now, Entries: []remit.EntryIndex{21}, Reviewed: "ada", Right: true}},
	}
	h := console.New(console.Config{API: fake(t, answers), Org: "acme", Suggest: func(_ []remit.PolicyFile, gates []remit.GateView, least int, _ time.Time) console.Suggestion {
		if len(gates) != 1 || gates[0].Routine[0].Approved < least {
			t.Errorf("%+v", gates)
		}
		return console.Suggestion{Files: []remit.PolicyFile{{Name: "routine.rego", Text: "package remit.lib.routine\n"}},
			Lines: []console.Line{{File: "push.rego", Rule: "many", Text: "not data.remit.lib.routine.by_coder"}}, Elsewhere: []string{"protected is compiled in"}}
	}})
	front := httptest.NewTLSServer(h)
	defer front.Close()
	p := chromium.New(t).Open(browser.Phone)
	for _, c := range []struct {
		name, path string
		says       []string
	}{
		{"inbox-glass", "/", []string{"Break-glass database-down is open.", "Your review is due"}},
		{"gates-rubber", "/gates", []string{"nobody looks", "40 of 41 were approved", "39 came within ten seconds", "A rule that could ask instead of people"}},
		{"suggestion", "/gates/suggestion", []string{"package remit.lib.routine", "not data.remit.lib.routine.by_coder", "Judge the last week again", "protected is compiled in"}},
		{"channels-failing", "/channels", []string{"the endpoint answered 503", "2 waiting", "550 no such mailbox", "Try them once more"}},
		{"break-glass", "/break-glass", []string{"payments are lost", "61 64", "remit break-glass review B-60 --right", "review overdue", "You may not: you opened it", "ada looked and says that it was right"}},
	} {
		p.Go(front.URL + "/console" + c.path)
		for _, text := range c.says {
			p.See(text)
		}
		p.Shot(c.name+"-phone", true)
		fine(t, p)
	}
	nothing := maps.Clone(answers)
	nothing["/break-glass"], nothing["/gates"], nothing["/notify"] = []remit.GlassView{}, []remit.GateView{}, []remit.ChannelView{}
	quiet := httptest.NewTLSServer(said(t, nothing))
	defer quiet.Close()
	for path, says := range map[string]string{"/break-glass": "It was never used.", "/gates": "Nobody was asked for anything yet.", "/channels": "Nobody is told.", "/": "Nothing waits for you."} {
		p.Go(quiet.URL + "/console" + path)
		p.See(says)
	}
}
