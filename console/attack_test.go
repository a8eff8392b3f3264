package console_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/browser"
	"github.com/remit-dev/remit/sshsig"
)

// Attack: an agent writes what a browser would run into all that people read: its intent, the names of its branch and its
// files, a commit's message and author, what it changes. In a real browser nothing of it runs, or is loaded, or is even
// tried: the page's own policy has nothing to refuse.
func TestNothingThatAnAgentWritesRuns(t *testing.T) {
	h := newHouse(t, remit.Team)
	task, err := h.SignIn("cleo").CreateTask(t.Context(), remit.TaskRequest{Agent: "coder", Intent: evil})
	if err != nil {
		t.Fatal(err)
	}
	i := h.Instance("cleo", task.ID)
	i.Branch += "/<img/src=x/onerror=alert(4)>\u202e" // a name that git takes
	d := h.Push(i, evilShown(), ".github/workflows/"+evil)
	b := chromium.New(t)
	p := b.Open(browser.Desktop)
	h.enter(p, "ben")
	for _, path := range []string{"/", "/?show=all", "/approvals/" + string(d.Access), "/tasks", "/tasks/" + string(task.ID), "/agents/coder", "/log", "/log?q=" + url.QueryEscape(evil),
		"/tasks/" + url.PathEscape(evil), "/device?code=" + url.QueryEscape(evil), "/sign-in?fresh=1&return=" + url.QueryEscape("javascript:alert(5)")} {
		p.Go(h.URL + "/console" + path)
		if n := browser.Eval[int](p, `document.querySelectorAll("main script, main img, main svg, main style, main iframe, [onerror], [onload], a[href^='javascript:']").length`); n != 0 {
			t.Errorf("%s has %d elements of somebody else", path, n)
		}
		for _, x := range p.Wrong() {
			if !strings.Contains(x, "the server responded with a status of 404") {
				t.Errorf("%s: %s", path, x)
			}
		}
	}
	// The page says it all, as text.
	p.Go(h.URL + "/console/approvals/" + string(d.Access))
	p.Run(`document.querySelectorAll("details").forEach(d => d.open = true)`)
	if text := p.Text(); strings.Count(text, "<script>alert(1)</script>") < 5 || strings.Contains(text, "\u202e") {
		t.Errorf("%.4000s", text)
	}
	// And this would have found it.
	p.Run(`document.querySelector("main").append(Object.assign(document.createElement("img"), {src: "https://evil.example/x"}))`)
	p.Until(`document.querySelector("main img").complete`)
	if len(p.Wrong()) == 0 {
		t.Error("the browser does not tell of what it refuses")
	}
}

// Attack: a page of another site, and one that an agent serves at another port of this very host, where the browser does
// send the cookie along, have the browser of an administrator act: by forms, by fetch in every disguise, by images; read
// what it would show them; listen to its events; and sign it in as somebody else.
func TestOtherPagesGetNothingOutOfABrowser(t *testing.T) {
	h := newHouse(t, remit.Team)
	_, id := h.hold(evilShown())
	strange := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>strange</title><body></body>`)
	}))
	defer strange.Close()
	api := h.URL + "/v1/orgs/acme"
	b := chromium.New(t)
	for _, origin := range []string{strange.URL, strings.Replace(strange.URL, "127.0.0.1", "localhost", 1)} {
		// cleo's own sign-in, for the browser of somebody else.
		_, said := h.do("POST", "/v1/orgs/acme/sign-in/challenge", "{}", "Content-Type", "application/json")
		var c remit.Challenge
		if err := json.Unmarshal([]byte(said), &c); err != nil {
			t.Fatal(err)
		}
		sig, err := sshsig.Sign(h.Key("cleo"), identity.SignInNamespace, c.Text)
		if err != nil {
			t.Fatal(err)
		}
		signIn, err := json.Marshal(remit.SignIn{Text: c.Text, Signature: sig, Browser: true})
		if err != nil {
			t.Fatal(err)
		}
		p := b.Open(browser.Desktop)
		h.enter(p, "ada")
		for what, try := range map[string]struct{ to, kind, body string }{
			"a form of the console":       {h.URL + "/console/agents/coder/suspend", "application/x-www-form-urlencoded", "csrf="},
			"the API's JSON, as text":     {api + "/kill", "text/plain", `{"what":"agent","id":"coder"}`},
			"the API's JSON, as a form":   {api + "/kill", "application/x-www-form-urlencoded", `{"what":"agent","id":"coder"}`},
			"the API, suspending":         {api + "/agents/coder/suspend", "text/plain", `{}`},
			"signing out":                 {api + "/session/end", "text/plain", `{}`},
			"signing out, by the console": {h.URL + "/console/sign-out", "application/x-www-form-urlencoded", "csrf="},
			"saying that a card was seen": {api + "/approvals/" + string(id) + "/seen", "text/plain", `{}`},
			"signing in as cleo":          {api + "/sign-in/session", "text/plain", string(signIn)},
		} {
			p.Go(origin)
			p.Run(fmt.Sprintf(`fetch(%q, {method: "POST", mode: "no-cors", credentials: "include", headers: {"Content-Type": %q}, body: %q}).catch(() => 0)`, try.to, try.kind, try.body))
			// And as bytes of no type: a browser sends them without asking, and without a Content-Type.
			p.Run(fmt.Sprintf(`fetch(%q, {method: "POST", mode: "no-cors", credentials: "include", body: new Blob([%q])}).catch(() => 0)`, try.to, try.body))
			// The same as a form that fills the window: a top-level navigation.
			name, value, ok := strings.Cut(try.body, "=")
			if !ok {
				name, value = try.body, ""
			}
			enc := map[string]string{"text/plain": "text/plain"}[try.kind]
			p.Run(fmt.Sprintf(`{ const f = document.createElement("form"); f.method = "post"; f.action = %q; f.enctype = %q; const i = document.createElement("input"); i.name = %q; i.value = %q; f.append(i); document.body.append(f); f.submit() }`,
				try.to, enc, name, value))
			p.Until(fmt.Sprintf(`location.href === %q || location.href.startsWith(%q)`, try.to, h.URL+"/console/"))
			p.Go(h.URL + "/console/")
			p.See("administrator")
			if text := p.Text(); !strings.Contains(text, "ada") || strings.Contains(text, "cleo\nadministrator") {
				t.Errorf("%s from %s: the browser is somebody else's: %.300s", what, origin, text)
			}
			if v, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || v.Status != remit.AgentActive {
				t.Fatalf("%s from %s: %+v %v", what, origin, v, err)
			}
		}
		p.Go(origin)
		for _, path := range []string{"/v1/orgs/acme/session", "/console/keys", "/v1/orgs/acme/log/entries"} {
			read := browser.Eval[string](p, fmt.Sprintf(`fetch(%q, {credentials: "include"}).then(r => r.text(), e => "refused")`, h.URL+path))
			if read != "refused" {
				t.Errorf("%s reads %s: %.200s", origin, path, html.UnescapeString(read))
			}
		}
		if heard := browser.Eval[string](p, fmt.Sprintf(`new Promise(done => { const s = new EventSource(%q, {withCredentials: true}); s.onmessage = s.onopen = () => done("heard"); s.addEventListener("entry", () => done("heard")); s.onerror = () => done("refused") })`,
			h.URL+"/console/events?from=0")); heard != "refused" {
			t.Errorf("%s hears the log", origin)
		}
	}
}

// Attack: an id, a name or a code in an address of the console that makes another address of the API's of it. It names
// something that there is not, whatever is written in it.
func TestAnIdIsNoPath(t *testing.T) {
	h := newHouse(t, remit.Team)
	cookie, csrf := h.cookie("ada")
	task := h.Task("cleo")
	for n, id := range []string{"%2e%2e", "%2e", "..%2fkill", "%2e%2e%2fagents%2fcoder", "coder%2f..%2f..%2fkill", "coder%3fx=1", "coder%23x", "coder%00", "coder%0d%0aX-Remit-CSRF:%20x", "coder%252f..", "%ff", ";", "coder;x=1"} {
		tries := map[string]string{"/approvals/" + id: "", "/tasks/" + id: "", "/agents/" + id: "", "/log/" + id: "",
			"/agents/" + id + "/suspend": "x", "/agents/coder/" + id: "x", "/keys/remove": "&key=" + id}
		if n < 4 { // whoever guesses more codes waits
			tries["/device?code="+id], tries["/device"] = "", "&answer=confirm&code="+id
		}
		for path, form := range tries {
			method := http.MethodGet
			if form != "" {
				method, form = http.MethodPost, "csrf="+csrf+strings.TrimPrefix(form, "x")
			}
			resp, body := h.do(method, "/console"+path, form, "Cookie", "__Host-remit="+cookie)
			if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusBadRequest || strings.Contains(body, "INTERNAL") {
				t.Errorf("%s %s %s: %d %.300s", method, path, form, resp.StatusCode, body)
			}
		}
	}
	if v, err := h.SignIn("ada").Agent(t.Context(), "coder"); err != nil || v.Status != remit.AgentActive {
		t.Errorf("%+v %v", v, err)
	}
	if v, err := h.SignIn("ada").Task(t.Context(), task.ID); err != nil || v.Status == remit.TaskCancelled {
		t.Errorf("%+v %v", v, err)
	}
}

// Attack: a request for a page brings headers along that mean something to the API, which is asked in the same process: a
// launcher's process, another address, a token, a key of idempotency. Only what says who it is and where it is from goes on.
func TestWhatTheConsolePassesOn(t *testing.T) {
	var seen []http.Header
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		if r.RemoteAddr != "192.0.2.7:1234" || r.Host != "remit.example" {
			t.Errorf("it comes from %s to %s", r.RemoteAddr, r.Host)
		}
		w.Header().Set("Location", "https://evil.example/")
		w.Header().Add("Set-Cookie", "__Host-remit=gone; Path=/; Secure")
		fmt.Fprint(w, `{"person":"p-1","name":"ada","csrf":"token"}`)
	})
	k := console.New(console.Config{API: api, Org: "acme"})
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		path := map[string]string{http.MethodGet: "/console/tasks/T-1", http.MethodPost: "/console/agents/coder/suspend"}[method]
		r := httptest.NewRequest(method, "https://remit.example"+path, strings.NewReader("csrf=token"))
		r.RemoteAddr = "192.0.2.7:1234"
		r.Header = http.Header{"Cookie": {"__Host-remit=x"}, "Origin": {"https://remit.example"}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/x-www-form-urlencoded"},
			"Remit-Launcher": {"1"}, "X-Forwarded-For": {"127.0.0.1"}, "Forwarded": {"for=127.0.0.1"}, "X-Remit-Csrf": {"stolen"}, "Dpop": {"x"}, "Idempotency-Key": {"x"},
			"Last-Event-Id": {"7"}, "X-Http-Method-Override": {"DELETE"}, "Transfer-Encoding": {"chunked"}, "Content-Length": {"0"}, "Connection": {"Cookie"}}
		w := httptest.NewRecorder()
		k.ServeHTTP(w, r)
		if w.Header().Get("Location") == "https://evil.example/" {
			t.Errorf("%s: %v", method, w.Header())
		}
	}
	if len(seen) < 4 {
		t.Fatalf("the API was asked %d times", len(seen))
	}
	for _, h := range seen {
		for name, lines := range h {
			switch name {
			case "Cookie", "Origin", "Sec-Fetch-Site":
			case "Content-Type", "X-Remit-Csrf":
				if lines[0] != "application/json" && lines[0] != "token" {
					t.Errorf("%s: %q", name, lines)
				}
			default:
				t.Errorf("%s is passed on: %q", name, lines)
			}
		}
	}
}
