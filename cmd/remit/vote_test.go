package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/sshsig"
)

// cardOf is a card that is as it should be.
func cardOf(t testing.TB, change func(*authority.Card)) remit.AccessView {
	t.Helper()
	fixed := authority.Card{Origin: "acme/1", Org: "acme", Profile: remit.Team, Request: "A-41", Task: "T-12", Requester: "p-1", Agent: "coder",
		Function: remit.FuncCode, Confinement: remit.ConfineHome, Effect: remit.Hash([]byte("effect")), Change: remit.Hash([]byte("change")),
		Needs: []remit.Need{{Group: "reviewers", N: 1}}, Rules: []string{"protected"}, Zone: remit.ZoneSource,
		NotAfter: testNow.Add(time.Hour).UnixNano() + 7}
	if change != nil {
		change(&fixed)
	}
	body, err := json.Marshal(fixed)
	if err != nil {
		t.Fatal(err)
	}
	return remit.AccessView{ID: fixed.Request, Status: remit.AccessOpen, Profile: fixed.Profile, Task: fixed.Task, Requester: "ana", Agent: fixed.Agent,
		Function: fixed.Function, Confinement: fixed.Confinement, Steps: []remit.Step{{Action: "source.push", Resource: "repo:forge/a"}},
		Intent: "fix \u202eit", Needs: fixed.Needs, Rules: fixed.Rules, Zone: fixed.Zone, YouMay: true, Opened: testNow,
		NotAfter: time.Unix(0, fixed.NotAfter).UTC(), Effect: fixed.Effect, Change: fixed.Change, Card: fixed.Digest(), Fixed: body}
}

var testOrg = remit.OrgInfo{Org: "acme", Origin: "acme/1", Profile: remit.Team}

func TestAVoteBindsTheCard(t *testing.T) {
	v := cardOf(t, nil)
	st, err := bindVote(v, "A-41", testOrg, true)
	if err != nil {
		t.Fatal(err)
	}
	want := remit.Statement{Origin: "acme/1", Request: "A-41", Approve: true, Effect: v.Effect, Change: v.Change, Card: v.Card, NotAfter: v.NotAfter}
	if string(st.Bytes()) != string(want.Bytes()) {
		t.Errorf("it signs\n%s\nwant\n%s", st.Bytes(), want.Bytes())
	}
	if _, err := remit.ParseStatement(st.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestACardThatShowsOtherThanItBindsIsNotSigned(t *testing.T) {
	other := remit.Hash([]byte("other"))
	for name, c := range map[string]struct {
		fixed func(*authority.Card)
		shown func(*remit.AccessView)
	}{
		"another fixed part":               {shown: func(v *remit.AccessView) { v.Fixed = cardOf(t, func(c *authority.Card) { c.Task = "T-9" }).Fixed }},
		"another digest":                   {shown: func(v *remit.AccessView) { v.Card = other }},
		"no fixed part":                    {shown: func(v *remit.AccessView) { v.Fixed = json.RawMessage("null") }},
		"an empty answer":                  {shown: func(v *remit.AccessView) { v.Fixed = nil }},
		"a member that is unknown":         {shown: func(v *remit.AccessView) { v.Fixed = json.RawMessage(`{"Note":"x",` + string(v.Fixed[1:])) }},
		"a member that is twice":           {shown: func(v *remit.AccessView) { v.Fixed = json.RawMessage(`{"Task":"T-12",` + string(v.Fixed[1:])) }},
		"another request":                  {fixed: func(c *authority.Card) { c.Request = "A-9" }, shown: func(v *remit.AccessView) { v.ID = "A-41" }},
		"a request that was not asked for": {fixed: func(c *authority.Card) { c.Request = "A-9" }},
		"another log":                      {fixed: func(c *authority.Card) { c.Origin = "evil/1" }},
		"another organisation":             {fixed: func(c *authority.Card) { c.Org = "evil" }},
		"another effect":                   {shown: func(v *remit.AccessView) { v.Effect = other }},
		"another change":                   {shown: func(v *remit.AccessView) { v.Change = other }},
		"another end":                      {shown: func(v *remit.AccessView) { v.NotAfter = v.NotAfter.Add(time.Second) }},
		"another task":                     {shown: func(v *remit.AccessView) { v.Task = "T-9" }},
		"another agent":                    {shown: func(v *remit.AccessView) { v.Agent = "reviewer" }},
		"another function":                 {shown: func(v *remit.AccessView) { v.Function = remit.FuncReview }},
		"another confinement":              {shown: func(v *remit.AccessView) { v.Confinement = remit.ConfineSandbox }},
		"another zone":                     {fixed: func(c *authority.Card) { c.Zone = remit.ZoneProduction }, shown: func(v *remit.AccessView) { v.Zone = remit.ZoneSource }},
		"another profile":                  {fixed: func(c *authority.Card) { c.Profile = remit.Demo }, shown: func(v *remit.AccessView) { v.Profile = remit.Team }},
	} {
		t.Run(name, func(t *testing.T) {
			v := cardOf(t, c.fixed)
			if c.shown != nil {
				c.shown(&v)
			}
			if st, err := bindVote(v, "A-41", testOrg, true); !isCode(err, remit.BadVote) || !strings.Contains(err.Error(), "nothing was signed") {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}

// house is a server of a test: it speaks the API's own types, and keeps what it was asked.
type house struct {
	url, ca string // ca: file
	asked   string // the origin in its challenges; its own, unless a test says otherwise
	org     string // likewise

	mu      sync.Mutex
	card    remit.AccessView
	votes   []remit.VoteRequest
	signIns int
	token   string // of the newest session
	refuse  bool   // the sessions given before
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{org: "acme", card: cardOf(t, nil)}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	signedIn := func(handle http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.refuse || h.token == "" || r.Header.Get("Authorization") != "Bearer "+h.token {
				w.WriteHeader(http.StatusUnauthorized)
				answer(w, remit.Problem{Code: remit.Unauthenticated, Detail: "nobody is signed in with this"})
				return
			}
			handle(w, r)
		}
	}
	session := func() remit.Session {
		return remit.Session{Token: h.token, Person: "p-2", Name: "ben", NotAfter: testNow.Add(10 * time.Minute)}
	}
	mux.HandleFunc("GET /v1/orgs/acme", func(w http.ResponseWriter, _ *http.Request) { answer(w, testOrg) })
	mux.HandleFunc("POST /v1/orgs/acme/sign-in/challenge", func(w http.ResponseWriter, _ *http.Request) {
		c := identity.Challenge{Origin: h.asked, Org: remit.Org(h.org), NotAfter: testNow.Add(time.Minute)}
		answer(w, remit.Challenge{Text: c.Bytes()})
	})
	mux.HandleFunc("POST /v1/orgs/acme/sign-in/session", func(w http.ResponseWriter, r *http.Request) {
		var in remit.SignIn
		if err := remit.DecodeStrict(r.Body, 1<<16, &in); err != nil {
			t.Error(err)
		}
		pub, err := sshsig.Signer(in.Signature)
		if err == nil {
			_, err = sshsig.Verify(pub, identity.SignInNamespace, in.Text, in.Signature)
		}
		if err != nil {
			t.Errorf("the sign-in does not verify: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.signIns++
		h.refuse, h.token = false, "token-"+string(rune('0'+h.signIns))
		answer(w, session())
	})
	mux.HandleFunc("GET /v1/orgs/acme/session", signedIn(func(w http.ResponseWriter, _ *http.Request) { answer(w, session()) }))
	mux.HandleFunc("GET /v1/orgs/acme/approvals/A-41", signedIn(func(w http.ResponseWriter, _ *http.Request) { answer(w, h.card) }))
	mux.HandleFunc("GET /v1/orgs/acme/approvals/A-41/wait", signedIn(func(w http.ResponseWriter, _ *http.Request) { answer(w, h.card) }))
	mux.HandleFunc("POST /v1/orgs/acme/approvals/A-41/votes", signedIn(func(w http.ResponseWriter, r *http.Request) {
		var in remit.VoteRequest
		if err := remit.DecodeStrict(r.Body, 1<<16, &in); err != nil {
			t.Error(err)
		}
		h.votes = append(h.votes, in)
		after := h.card
		after.Status = remit.AccessMet
		answer(w, after)
	}))
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	h.url, h.asked = s.URL, s.URL
	h.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(h.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	return h
}

// env is the environment of a person with a key of their own.
func (h *house) env(t *testing.T) (map[string]string, ssh.PublicKey) {
	t.Helper()
	home := t.TempDir()
	key, pub := writeKey(t, home, "id")
	return map[string]string{"HOME": home, "XDG_RUNTIME_DIR": home, "REMIT_SERVER": h.url, "REMIT_ORG": "acme", "REMIT_CA": h.ca, "REMIT_KEY": key}, pub
}

func TestApproveShowsSignsAndSays(t *testing.T) {
	h := newHouse(t)
	env, pub := h.env(t)
	code, out, err := said(t, env, "approvals", "approve", "A-41", "--yes")
	if code != 0 || !strings.Contains(out, "A-41 is approved; Remit carries it out now") {
		t.Fatalf("%d\n%s\n%s", code, out, err)
	}
	if !strings.Contains(out, `“fix \u{202E}it”`) || !strings.Contains(out, "a claim, not a fact") {
		t.Errorf("the card does not mark the requester's words, or shows them as they are:\n%s", out)
	}
	if len(h.votes) != 1 {
		t.Fatalf("%d votes", len(h.votes))
	}
	if _, err := sshsig.Verify(pub, remit.VoteNamespace, h.votes[0].Statement, h.votes[0].Signature); err != nil {
		t.Error(err)
	}
	st, perr := remit.ParseStatement(h.votes[0].Statement)
	if perr != nil || !st.Approve || st.Card != h.card.Card {
		t.Errorf("%+v, %v", st, perr)
	}
}

func TestDenySignsARefusal(t *testing.T) {
	h := newHouse(t)
	env, _ := h.env(t)
	if code, out, err := said(t, env, "approvals", "deny", "A-41", "--yes"); code != 0 || !strings.Contains(out, "A-41 is refused") {
		t.Fatalf("%d\n%s\n%s", code, out, err)
	}
	if st, err := remit.ParseStatement(h.votes[0].Statement); err != nil || st.Approve {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestNothingIsSignedThatMayNotBe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*house)
		exit   int
		says   string
	}{
		"who may not vote": {func(h *house) { h.card.YouMay, h.card.WhyNot = false, "requested the task" }, remit.ExitDenied, "requested the task"},
		"what is over":     {func(h *house) { h.card.Status = remit.AccessVoid }, remit.ExitError, "nothing to vote on"},
		"a changed card":   {func(h *house) { h.card.Agent = "reviewer" }, remit.ExitError, "nothing was signed"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			c.change(h)
			env, _ := h.env(t)
			code, _, err := said(t, env, "approvals", "approve", "A-41", "--yes")
			if code != c.exit || !strings.Contains(err, c.says) || len(h.votes) > 0 {
				t.Errorf("%d, %d votes: %s", code, len(h.votes), err)
			}
		})
	}
}

func TestOnlyTheServerThatIsMeantIsSignedInto(t *testing.T) {
	for name, change := range map[string]func(*house){
		"another server":       func(h *house) { h.asked = "https://other.example" },
		"another organisation": func(h *house) { h.org = "evil" },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			change(h)
			env, _ := h.env(t)
			code, _, err := said(t, env, "whoami")
			if code != remit.ExitDenied || h.signIns > 0 || !strings.Contains(err, "nothing was signed") {
				t.Errorf("%d, %d sign-ins: %s", code, h.signIns, err)
			}
		})
	}
}

func TestASessionIsKeptForItsServerAndKey(t *testing.T) {
	h := newHouse(t)
	env, _ := h.env(t)
	whoami := func(signIns int) {
		t.Helper()
		code, out, err := said(t, env, "whoami")
		if code != 0 || !strings.Contains(out, "ben (p-2) of acme") {
			t.Fatalf("%d %s %s", code, out, err)
		}
		if h.signIns != signIns {
			t.Fatalf("%d sign-ins, want %d", h.signIns, signIns)
		}
	}
	whoami(1)
	whoami(1) // the session of the command before
	files, err := filepath.Glob(filepath.Join(env["XDG_RUNTIME_DIR"], "remit", "session-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if fi, err := os.Stat(files[0]); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the session's file: %v, %v", fi.Mode(), err)
	}
	h.refuse = true // the server was started anew
	whoami(2)
	if err := os.Chmod(files[0], 0o644); err != nil {
		t.Fatal(err)
	}
	whoami(3) // others could have read it
	env["REMIT_KEY"], _ = writeKey(t, env["HOME"], "second")
	whoami(4) // another key is another session
}

func TestTheSessionsTokenIsNotPrinted(t *testing.T) {
	h := newHouse(t)
	env, _ := h.env(t)
	if code, out, err := said(t, env, "whoami", "-o", "json"); code != 0 || strings.Contains(out, "token-") {
		t.Errorf("%d %s %s", code, out, err)
	}
}

func TestLoginKeepsTheProfile(t *testing.T) {
	h := newHouse(t)
	full, _ := h.env(t)
	bare := map[string]string{"HOME": full["HOME"], "XDG_RUNTIME_DIR": full["HOME"]}
	args := []string{"login", "--server", h.url, "--org", "acme", "--ca", h.ca, "--key", full["REMIT_KEY"]}
	if code, out, err := said(t, bare, args...); code != 0 || !strings.Contains(out, "as ben") {
		t.Fatalf("%d %s %s", code, out, err)
	}
	if code, out, err := said(t, bare, "whoami"); code != 0 || !strings.Contains(out, "ben") {
		t.Fatalf("%d %s %s", code, out, err)
	}
	file := filepath.Join(bare["HOME"], ".config", "remit", "config.yaml")
	for _, text := range []string{"server: x\nsever: y\n", "server: a\nserver: b\n", "- a\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, err := said(t, bare, "whoami"); code != remit.ExitUsage || !strings.Contains(err, "is not a profile") {
			t.Errorf("%q: %d %s", text, code, err)
		}
	}
	// What does not sign in is not kept.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	h.asked = "https://other.example"
	full["REMIT_KEY"], _ = writeKey(t, bare["HOME"], "other")
	if code, _, _ := said(t, bare, append(args[:7:7], "--key", full["REMIT_KEY"])...); code == 0 {
		t.Error("it signed in")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a profile that does not sign in was kept")
	}
}

func TestWaitSaysHowItStands(t *testing.T) {
	for name, c := range map[string]struct {
		status  remit.AccessStatus
		outcome remit.Outcome
		why     remit.Code
		exit    int
		says    string
	}{
		"done":      {remit.AccessUsed, remit.Done, "", 0, "approved and is done"},
		"ambiguous": {remit.AccessUsed, remit.Ambiguous, "", remit.ExitError, "somebody has to look"},
		"refused":   {remit.AccessVoid, "", remit.Vetoed, remit.ExitDenied, "refused it"},
		"expired":   {remit.AccessVoid, "", remit.Expired, remit.ExitDenied, "its time is over"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.card.Status, h.card.Outcome, h.card.Why = c.status, c.outcome, c.why
			env, _ := h.env(t)
			if code, out, err := said(t, env, "wait", "A-41"); code != c.exit || !strings.Contains(out, c.says) {
				t.Errorf("%d %s %s", code, out, err)
			}
		})
	}
}

func TestAnInstanceAsksItsOwnSocket(t *testing.T) {
	env := map[string]string{"REMIT_INSTANCE": "I-1", "REMIT_SOCKET": filepath.Join(t.TempDir(), "none.sock")}
	if code, _, err := said(t, env, "wait", "A-41"); code != remit.ExitDenied || !strings.Contains(err, "the instance does not answer") {
		t.Errorf("%d %s", code, err)
	}
}

func TestACardOnOneScreen(t *testing.T) {
	h := newHouse(t)
	s := &remit.Shown{More: 3, Diff: strings.Repeat("+line\n", 100), Cut: true}
	for range 30 {
		s.Commits = append(s.Commits, remit.ShownCommit{ID: strings.Repeat("a", 40), Author: "Eve <eve@x>", Subject: "subject"})
		s.Paths = append(s.Paths, remit.ShownPath{Path: "src/\x1bx.go", Kind: "modify"})
	}
	h.card.Shown = s
	h.card.Refs = []remit.RefView{{Ref: "refs/heads/main", Op: remit.RefForce, New: strings.Repeat("b", 40), Commits: 2, Outside: 1, Effects: []string{"deploy.promote on environment:p"}}}
	env, _ := h.env(t)
	_, out, _ := said(t, env, "approvals", "show", "A-41")
	if lines := strings.Count(out, "\n"); lines > 70 {
		t.Errorf("it has %d lines", lines)
	}
	for _, want := range []string{"… and 21 more (--diff)", "… and 22 more (--diff)", "… 80 more lines (--diff)", `src/\u{001B}x.go`, "says it is by Eve", "1 brought outside Remit", "causes deploy.promote"} {
		if !strings.Contains(out, want) {
			t.Errorf("the card lacks %q", want)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("an escape sequence came through")
	}
	_, full, _ := said(t, env, "approvals", "show", "A-41", "--diff")
	if strings.Count(full, "+line") != 100 || !strings.Contains(full, "the diff goes on") || !strings.Contains(full, "3 more that the card does not list") {
		t.Error("--diff does not show all")
	}
}

func TestPublicKeyOf(t *testing.T) {
	dir := t.TempDir()
	path, pub := writeKey(t, dir, "id")
	for _, p := range []string{path, path + ".pub"} {
		got, err := publicKey(p)
		if err != nil || base64.StdEncoding.EncodeToString(got.Marshal()) != base64.StdEncoding.EncodeToString(pub.Marshal()) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "note"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := publicKey(filepath.Join(dir, "note")); err == nil || !strings.Contains(err.Error(), "no SSH key") {
		t.Errorf("%v", err)
	}
}
