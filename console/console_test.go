package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestPagesSayToBrowsersWhatIsForbidden(t *testing.T) {
	h := newHouse(t, remit.Team)
	_, id := h.hold(evilShown())
	cookie, _ := h.cookie("ben")
	for _, path := range []string{"/console/", "/console/approvals/" + string(id), "/console/sign-in", "/console/nowhere", "/console/log/1"} {
		resp, body := h.do("GET", path, "", "Cookie", "__Host-remit="+cookie)
		csp := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy does not say %s: %s", path, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
		if m := regexp.MustCompile(`(?i)<script>|<script defer>|<style|<[a-z][^>]*\s(?:on[a-z]+|style)\s*=|<[a-z][^>]*=["']?\s*javascript:`).FindString(body); m != "" {
			t.Errorf("%s has %q in its markup", path, m)
		}
	}
}

// Attack: a text of an agent's or its requester's choosing stands where people read it. It is a text everywhere.
func TestWhatAgentsWriteIsTextOnEveryPage(t *testing.T) {
	h := newHouse(t, remit.Team)
	task, err := h.SignIn("cleo").CreateTask(t.Context(), remit.TaskRequest{Agent: "coder", Intent: evil})
	if err != nil {
		t.Fatal(err)
	}
	i := h.Instance("cleo", task.ID)
	i.Branch += "/<img/src=x/onerror=alert(4)>\u202e" // a name that git takes
	d := h.Push(i, evilShown(), ".github/workflows/"+evil)
	cookie, _ := h.cookie("ben")
	seen := 0
	for _, path := range []string{"/", "/?show=all", "/approvals/" + string(d.Access), "/tasks", "/tasks/" + string(task.ID), "/agents/coder", "/log", "/log/" + strings.TrimPrefix(string(d.Access), "A-"),
		"/log?q=" + url.QueryEscape(evil), "/sign-in?fresh=1&return=" + url.QueryEscape(evil), "/tasks/" + url.PathEscape(evil)} {
		_, body := h.do("GET", "/console"+path, "", "Cookie", "__Host-remit="+cookie)
		for _, never := range []string{"<script>", "<img", "\u202e", "onerror=alert(2)>\u202e", "ZgotmplZ"} {
			if strings.Contains(body, never) {
				t.Errorf("%s has %q", path, never)
			}
		}
		if strings.Contains(html.UnescapeString(body), "<script>alert(1)</script>") {
			seen++
		}
	}
	if seen < 5 {
		t.Errorf("the texts are on %d pages only; this test looks at nothing", seen)
	}
}

// Attack: a page of another site has the browser of somebody who is signed in do something.
func TestAnotherSiteDoesNothingWithAPersonsCookie(t *testing.T) {
	h := newHouse(t, remit.Team)
	cookie, csrf := h.cookie("ada")
	_, bens := h.cookie("ben")
	form := "csrf=" + csrf
	for what, c := range map[string]struct {
		body   string
		header []string
	}{
		"a form of another site":      {form, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}},
		"one of a sibling":            {form, []string{"Origin", "https://evil.localhost", "Sec-Fetch-Site", "same-site"}},
		"an origin that says nothing": {form, []string{"Origin", "null", "Sec-Fetch-Site", ""}},
		"no sign of where it is from": {form, []string{"Origin", "", "Sec-Fetch-Site", ""}},
		"no token":                    {"", nil},
		"another person's token":      {"csrf=" + bens, nil},
		"a token of nobody":           {"csrf=AAAA", nil},
	} {
		resp, body := h.do("POST", "/console/agents/coder/suspend", c.body, append([]string{"Cookie", "__Host-remit=" + cookie}, c.header...)...)
		if resp.StatusCode < 400 {
			t.Errorf("%s: %d %s", what, resp.StatusCode, body)
		}
	}
	if v, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || v.Status != remit.AgentActive {
		t.Fatalf("%+v %v", v, err)
	}
	if resp, body := h.do("POST", "/console/agents/coder/suspend", form, "Cookie", "__Host-remit="+cookie); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if v, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || v.Status != remit.AgentSuspended {
		t.Fatalf("%+v %v", v, err)
	}
	for what, c := range map[string]struct{ path, body, says string }{
		"to retire without its name": {"retire", form, "write its name"},
		"to do what there is not":    {"promote", form, "suspended, resumed, revived and retired"},
	} {
		if resp, body := h.do("POST", "/console/agents/coder/"+c.path, c.body, "Cookie", "__Host-remit="+cookie); resp.StatusCode < 400 || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", what, resp.StatusCode, body)
		}
	}
	if resp, body := h.do("POST", "/console/agents/coder/retire", form+"&name=coder", "Cookie", "__Host-remit="+cookie); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	// Who may not, may not here either.
	cleos, token := h.cookie("cleo")
	if resp, _ := h.do("POST", "/console/policy/observe", "days=3&csrf="+token, "Cookie", "__Host-remit="+cleos); resp.StatusCode != http.StatusForbidden {
		t.Errorf("%d", resp.StatusCode)
	}
}

// Attack: an agent has found a person's cookie, and calls with what shows that it is an agent.
func TestTheConsoleIsForPeople(t *testing.T) {
	h := newHouse(t, remit.Team)
	cookie, _ := h.cookie("ben")
	task := h.Task("cleo")
	i := h.Instance("cleo", task.ID)
	for what, auth := range map[string]string{"its instance's secret": "Remit-Instance " + string(i.ID) + ":x", "a token": "Bearer remit_x", "a password": "Basic eDp4"} {
		if resp, _ := h.do("GET", "/console/", "", "Cookie", "__Host-remit="+cookie, "Authorization", auth); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", what, resp.StatusCode)
		}
	}
	for _, path := range []string{"/", "/approvals/A-1", "/tasks", "/events?from=0", "/log/1", "/policy"} {
		resp, _ := h.do("GET", "/console"+path, "")
		if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/console/sign-in?return=") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, to)
		}
	}
}

func TestALinkFromElsewhereFindsThePersonSignedIn(t *testing.T) {
	h := newHouse(t, remit.Team)
	// A browser sends no Strict cookie along: the page asks for itself once more, from here.
	resp, body := h.do("GET", "/console/approvals/A-7", "", "Sec-Fetch-Site", "cross-site")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `http-equiv="refresh" content="0; url=/console/approvals/A-7"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	// And only once.
	resp, _ = h.do("GET", "/console/approvals/A-7", "")
	if to := resp.Header.Get("Location"); to != "/console/sign-in?return=%2Fconsole%2Fapprovals%2FA-7" {
		t.Error(to)
	}
}

func TestSigningInLeadsToThisConsoleAndNowhereElse(t *testing.T) {
	h := newHouse(t, remit.Team)
	cookie, _ := h.cookie("ben")
	for to, want := range map[string]string{
		"/console/approvals/A-7":    "/console/approvals/A-7",
		"/console/?show=all":        "/console/?show=all",
		"https://evil.example/":     "/console/",
		"//evil.example/console/":   "/console/",
		"/\\evil.example/console/":  "/console/",
		"/console/../v1/orgs":       "/console/",
		"javascript:alert(1)":       "/console/",
		"/console/sign-in?return=x": "/console/",
		"":                          "/console/",
		"/v1/orgs/acme":             "/console/",
	} {
		resp, _ := h.do("GET", "/console/sign-in?return="+url.QueryEscape(to), "", "Cookie", "__Host-remit="+cookie)
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

func TestALogIsSearchedPageByPage(t *testing.T) {
	h := newHouse(t, remit.Team)
	cookie, _ := h.cookie("ben")
	get := func(path string) string {
		t.Helper()
		resp, body := h.do("GET", "/console"+path, "", "Cookie", "__Host-remit="+cookie)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
		}
		return body
	}
	for range 60 {
		h.Task("cleo")
	}
	if n := strings.Count(get("/log?q=task.created"), "<li>"+`<a href="/console/log/`); n != 60 {
		t.Errorf("%d tasks", n)
	}
	if body := get("/log?q=task.created+cleo"); strings.Count(body, `<strong>task.created</strong>`) != 60 {
		t.Errorf("a person's name does not find what they did, but %d", strings.Count(body, `<strong>task.created`))
	}
	if resp, _ := h.do("GET", "/console/log?q=12", "", "Cookie", "__Host-remit="+cookie); resp.Header.Get("Location") != "/console/log/12" {
		t.Error(resp.Header)
	}
	first := get("/log")
	next := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(first)
	if len(next) == 0 {
		if strings.Count(first, "<strong>") <= 100 {
			for range 60 {
				h.Task("cleo")
			}
			next = regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(get("/log"))
		}
	}
	if len(next) == 0 {
		t.Fatal("the log has no second page")
	}
	if body := get(strings.TrimPrefix(html.UnescapeString(next[1]), "/console")); !strings.Contains(body, "genesis") {
		t.Error("the second page does not go to the beginning")
	}
}

func TestEventsTellOfEntriesAndGoOn(t *testing.T) {
	h := newHouse(t, remit.Team)
	cookie, _ := h.cookie("ben")
	read := func(path, last string, n int) (out []string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+"/console/events"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", "__Host-remit="+cookie)
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		resp, err := h.http().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		for sc := bufio.NewScanner(resp.Body); len(out) < n && sc.Scan(); {
			if sc.Text() != "" {
				out = append(out, sc.Text())
			}
		}
		return out
	}
	if got := strings.Join(read("?from=0", "", 6), "\n"); got != "id: 0\nevent: entry\ndata: genesis\nid: 1\nevent: entry\ndata: rules.activated" {
		t.Error(got)
	}
	if got := read("?from=0", "4", 1); got[0] != "id: 5" {
		t.Error(got)
	}
	for _, path := range []string{"", "?from=x", "?from=-1", "?from=99999999999999999999"} {
		if resp, _ := h.do("GET", "/console/events"+path, "", "Cookie", "__Host-remit="+cookie); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestTheListsOfTheAPIAreForPeopleAndReadStrictly(t *testing.T) {
	h := newHouse(t, remit.Team)
	cookie, _ := h.cookie("ben")
	for path, want := range map[string]int{
		"/inbox": 200, "/inbox?show=all": 400, "/inbox?before=x": 400, "/inbox?before=-1": 400, "/inbox?show=mine&before=0": 200,
		"/log/search": 200, "/log/search?before=x": 400, "/log/search?q=" + strings.Repeat("x", 201): 400, "/log/search?before=4611686018427387904": 400,
		"/agents/coder/use": 200, "/agents/nobody/use": 404,
	} {
		if resp, body := h.do("GET", "/v1/orgs/acme"+path, "", "Cookie", "__Host-remit="+cookie); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		if resp, _ := h.do("GET", "/v1/orgs/acme"+path, ""); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s to a stranger: %d", path, resp.StatusCode)
		}
	}
	// What an agent did is counted under what it may do.
	h.hold(evilShown())
	var u remit.AgentUse
	_, body := h.do("GET", "/v1/orgs/acme/agents/coder/use", "", "Cookie", "__Host-remit="+cookie)
	if err := json.Unmarshal([]byte(body), &u); err != nil || len(u.Entitlements) != 1 || u.Entitlements[0].Held != 1 || u.Entitlements[0].Allowed != 0 || u.Denied != 0 ||
		len(u.Entitlements[0].Unused) != 1 || u.Entitlements[0].Unused[0] != "source.read" {
		t.Errorf("%s", body)
	}
}
