package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
)

const tokenPath = "/v1/orgs/acme/oauth/token"

// job is a CI job that nobody's client stands in for.
type job struct {
	t     *testing.T
	w     *world.World
	key   identity.ProofKey
	nonce string
}

func newJob(t *testing.T, w *world.World) *job {
	t.Helper()
	k, err := identity.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	return &job{t, w, k, w.Tokens.Proofs().Nonce()}
}

func (j *job) proof(method, path, token string) string {
	j.t.Helper()
	p, err := j.key.Proof(method, j.w.URL+path, token, j.nonce, j.w.Clock.Now())
	if err != nil {
		j.t.Fatal(err)
	}
	return p
}

func (j *job) send(method, path, auth, proof, kind, body string) (int, http.Header, map[string]any) {
	j.t.Helper()
	r, err := http.NewRequestWithContext(j.t.Context(), method, j.w.URL+path, strings.NewReader(body))
	if err != nil {
		j.t.Fatal(err)
	}
	for name, v := range map[string]string{"Authorization": auth, "DPoP": proof, "Content-Type": kind} {
		if v != "" {
			r.Header.Set(name, v)
		}
	}
	resp, err := browser(j.w).Do(r)
	if err != nil {
		j.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	_ = json.NewDecoder(resp.Body).Decode(&out)
	return resp.StatusCode, resp.Header, out
}

func form(token string, more ...string) string {
	return url.Values{"grant_type": {identity.GrantExchange}, "subject_token": {token}, "subject_token_type": {identity.TypeIDToken}}.Encode() + strings.Join(more, "")
}

func (j *job) exchange(token string, more ...string) (int, http.Header, map[string]any) {
	j.t.Helper()
	return j.send("POST", tokenPath, "", j.proof("POST", tokenPath, ""), "application/x-www-form-urlencoded", form(token, more...))
}

func (j *job) call(method, path, token, body string) (int, http.Header, map[string]any) {
	j.t.Helper()
	return j.send(method, path, "DPoP "+token, j.proof(method, path, token), "application/json", body)
}

// building is a world in which a build of world.Commit was asked for.
func building(t *testing.T) (*world.World, *world.Issuer, remit.ID) {
	t.Helper()
	w := world.New(t, world.Options{})
	iss := world.NewIssuer(t, w.Clock.Now, jose.ES256)
	w.Declare(w.BuildTeam(iss))
	return w, iss, w.Build()
}

func TestACIJobBecomesAnInstanceOfTheTaskThatAskedForIt(t *testing.T) {
	w, iss, task := building(t)
	j := newJob(t, w)
	status, h, out := j.exchange(iss.Sign(iss.GitHub(w.URL, world.Commit, nil)), "&audience=git&scope=deploy.promote")
	if status != 200 || h.Get("Cache-Control") != "no-store" || out["token_type"] != "DPoP" || out["issued_token_type"] != identity.TypeAccessToken ||
		out["expires_in"] != 300.0 || out["scope"] != "artifact.publish artifact.read" {
		t.Fatalf("%d %v", status, out)
	}
	token := out["access_token"].(string)
	inst := out["remit_instance"].(map[string]any)
	if inst["task"] != string(task) || inst["agent"] != "builder" || inst["secret"] != nil {
		t.Fatalf("%v", inst)
	}
	id := inst["id"].(string)
	w.Engine.View(func(s *authority.State) {
		if i := s.Instances[remit.ID(id)]; i == nil || i.Issuer != "ci" || i.Launcher != "" || i.Confinement != remit.ConfineHost {
			t.Errorf("%+v", i)
		}
	})
	if status, _, who := j.call("GET", "/v1/orgs/acme/git/x", token, ""); status != 200 || who["instance"] != id {
		t.Errorf("at the gateway: %d %v", status, who)
	}
	if status, _, _ := j.call("GET", "/v1/orgs/acme/probe/x", token, ""); status != 401 {
		t.Errorf("at a gateway that it did not ask for: %d", status)
	}
	at := "/v1/orgs/acme/instances/" + id
	status, _, short := j.call("POST", at+"/token", token, `{"gateway":"git"}`)
	if status != 200 || short["not_after"] != w.Clock.Now().Add(2*time.Minute).Format(time.RFC3339) {
		t.Fatalf("a bearer token: %d %v", status, short)
	}
	if status, _, who := j.send("GET", "/v1/orgs/acme/git/x", "Bearer "+short["token"].(string), "", "", ""); status != 200 || who["instance"] != id {
		t.Errorf("git: %d %v", status, who)
	}
	if status, _, _ := j.call("POST", at+"/token", token, `{"gateway":"probe"}`); status != 403 {
		t.Errorf("a bearer for a gateway that it did not ask for: %d", status)
	}
	if status, _, _ := j.call("POST", "/v1/orgs/acme/instances/I-1/token", token, `{"gateway":"git"}`); status != 403 {
		t.Errorf("for another instance: %d", status)
	}
	if status, _, v := j.call("GET", "/v1/orgs/acme/tasks/"+string(task), token, ""); status != 200 || v["id"] != string(task) {
		t.Errorf("its own task: %d %v", status, v)
	}
	if status, _, _ := j.call("GET", "/v1/orgs/acme/agents", token, ""); status != 401 {
		t.Errorf("what is for people: %d", status)
	}
	if status, _, _ := j.call("POST", "/v1/orgs/acme/sign-in/challenge", token, `{"key":""}`); status != 403 {
		t.Errorf("what is for people at their own machine: %d", status)
	}

	// Whoever found the token has nothing: not with a key of their own, not as a bearer, not with a proof that was seen.
	thief := newJob(t, w)
	if status, _, _ := thief.call("POST", at+"/token", token, `{"gateway":"git"}`); status != 401 {
		t.Errorf("with another key: %d", status)
	}
	for _, auth := range []string{"Bearer " + token, "Remit-Instance " + id + ":" + token, "Basic " + token} {
		if status, _, _ := thief.send("POST", at+"/token", auth, "", "application/json", `{"gateway":"git"}`); status != 401 {
			t.Errorf("%.20s: %d", auth, status)
		}
	}
	seen := j.proof("POST", at+"/token", token)
	for i, want := range []int{200, 401} {
		if status, h, _ := thief.send("POST", at+"/token", "DPoP "+token, seen, "application/json", `{"gateway":"git"}`); status != want ||
			want == 401 && !strings.Contains(h.Get("WWW-Authenticate"), "invalid_dpop_proof") {
			t.Errorf("a proof for the %d. time: %d %v", i+1, status, h["Www-Authenticate"])
		}
	}
	for what, proof := range map[string]string{"another method": j.proof("GET", at+"/token", token), "another address": j.proof("POST", at+"/svid", token),
		"another token": j.proof("POST", at+"/token", token+"x"), "no proof": ""} {
		if status, _, _ := thief.send("POST", at+"/token", "DPoP "+token, proof, "application/json", `{"gateway":"git"}`); status != 401 {
			t.Errorf("a proof for %s: %d", what, status)
		}
	}
	j.nonce = "stale"
	if status, h, _ := j.call("POST", at+"/token", token, `{"gateway":"git"}`); status != 401 || !strings.Contains(h.Get("WWW-Authenticate"), "use_dpop_nonce") || h.Get("DPoP-Nonce") == "" {
		t.Errorf("an old nonce: %d %v", status, h)
	}
}

func TestAnExchangeIsRefusedInTheWordsOfOAuth(t *testing.T) {
	w, iss, _ := building(t)
	good := func(changes map[string]any) string { return iss.Sign(iss.GitHub(w.URL, world.Commit, changes)) }
	other := world.NewIssuer(t, w.Clock.Now, jose.ES256) // its key has the same id, and nobody declared it
	now := w.Clock.Now().Unix()
	for _, c := range []struct {
		what, token, more, reason string
		code                      remit.Code
	}{
		{"not a token", "abc", "", "invalid_request", remit.Unauthenticated},
		{"an issuer that nobody declared", other.Sign(other.GitHub(w.URL, world.Commit, nil)), "", "invalid_request", remit.Unauthenticated},
		{"one that says to be ours", other.Sign(other.GitHub(w.URL, world.Commit, map[string]any{"iss": iss.URL})), "", "invalid_request", remit.Unauthenticated},
		{"another audience", good(map[string]any{"aud": "https://other.example"}), "", "invalid_request", remit.Unauthenticated},
		{"expired", good(map[string]any{"iat": now - 600, "nbf": now - 600, "exp": now - 300}), "", "invalid_request", remit.Unauthenticated},
		{"a fork's job", good(map[string]any{"repository_id": "666"}), "", "invalid_request", remit.UnknownPrincipal},
		{"another environment", good(map[string]any{"environment": "production"}), "", "invalid_request", remit.UnknownPrincipal},
		{"another workflow", good(map[string]any{"job_workflow_ref": nil, "workflow_ref": "acme/payments/.github/workflows/other.yml@refs/heads/main"}), "", "invalid_request", remit.UnknownPrincipal},
		{"another commit", good(map[string]any{"sha": strings.Repeat("77", 20), "workflow_sha": nil, "job_workflow_sha": nil}), "", "invalid_request", remit.NotLive},
		{"a target that is none", good(nil), "&audience=ssh", "invalid_target", remit.BadRequest},
		{"an unknown grant", good(nil), "&grant_type=x", "invalid_request", remit.BadRequest},
	} {
		j := newJob(t, w)
		status, h, out := j.exchange(c.token, c.more)
		if status != 400 || out["error"] != c.reason || out["code"] != string(c.code) || out["error_description"] == "" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", c.what, status, out)
		}
		if s := out["error_description"].(string); strings.ContainsAny(s, "\"\\\n") {
			t.Errorf("%s: RFC 6749 §5.2 does not allow %q", c.what, s)
		}
	}
	j := newJob(t, w)
	j.nonce = ""
	status, h, out := j.exchange(good(nil))
	if status != 400 || out["error"] != "use_dpop_nonce" || h.Get("DPoP-Nonce") == "" {
		t.Errorf("without a nonce: %d %v", status, out)
	}
	j.nonce = h.Get("DPoP-Nonce")
	if status, _, out := j.send("POST", tokenPath, "", "", "application/x-www-form-urlencoded", form(good(nil))); status != 400 || out["error"] != "invalid_dpop_proof" {
		t.Errorf("without a proof: %d %v", status, out)
	}
	if status, _, out := j.send("POST", tokenPath, "", j.proof("POST", "/v1/orgs/acme/other", ""), "application/x-www-form-urlencoded", form(good(nil))); status != 400 || out["error"] != "invalid_dpop_proof" {
		t.Errorf("a proof for another address: %d %v", status, out)
	}
	// A token starts one instance, also when another key comes with it.
	once := good(nil)
	if status, _, out := j.exchange(once); status != 200 {
		t.Fatalf("%d %v", status, out)
	}
	if status, _, out := newJob(t, w).exchange(once); status != 400 || out["code"] != string(remit.AlreadyUsed) {
		t.Errorf("a second time: %d %v", status, out)
	}
	for _, secret := range []string{once, signatureOf(once)} {
		if w.Answers.Contain(secret) {
			t.Error("an answer repeats a token")
		}
	}
}

// signatureOf is the signature of a token: what makes it worth anything.
func signatureOf(token string) string { return token[strings.LastIndex(token, ".")+1:] }

func TestStrangersCannotTryWithoutEnd(t *testing.T) {
	w, iss, _ := building(t)
	j := newJob(t, w)
	last := 0
	for range 70 {
		last, _, _ = j.exchange("nonsense")
	}
	if last != 503 {
		t.Errorf("after 70 failures: %d", last)
	}
	if status, _, _ := j.exchange(iss.Sign(iss.GitHub(w.URL, world.Commit, nil))); status != 503 {
		t.Errorf("from the same address: %d", status)
	}
	w.Clock.Advance(time.Minute)
	j.nonce = w.Tokens.Proofs().Nonce()
	if status, _, out := j.exchange(iss.Sign(iss.GitHub(w.URL, world.Commit, nil))); status != 200 {
		t.Errorf("a minute later: %d %v", status, out)
	}
	if n := iss.Fetches.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

func TestAJobThatNobodyHoldsEndsWithItsToken(t *testing.T) {
	w, iss, task := building(t)
	start := func() remit.ID {
		status, _, out := newJob(t, w).exchange(iss.Sign(iss.GitHub(w.URL, world.Commit, nil)))
		if status != 200 {
			t.Fatalf("%d %v", status, out)
		}
		if v := out["remit_instance"].(map[string]any); v["task"] == string(task) {
			return remit.ID(v["id"].(string))
		}
		t.Fatalf("%v", out)
		return ""
	}
	lives := func(id remit.ID) (live bool) {
		if err := w.Server.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Engine.View(func(s *authority.State) { live = s.Instances[id] != nil })
		return live
	}
	i := start()
	w.Clock.Advance(4*time.Minute + 59*time.Second)
	if !lives(i) {
		t.Fatal("it ended before its token")
	}
	w.Clock.Advance(time.Second)
	if lives(i) {
		t.Fatal("it outlived its token")
	}
	if again := start(); again == i {
		t.Error("a new token, the same instance")
	}
}

func TestAJobThatIsHeldLivesByTheConnection(t *testing.T) {
	w, iss, _ := building(t)
	k, err := identity.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	s := w.Client().Job(k, func(context.Context) (string, error) { return iss.Sign(iss.GitHub(w.URL, world.Commit, nil)), nil })
	i, err := s.StartInstance(t.Context(), client.InstanceStart{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StartInstance(t.Context(), client.InstanceStart{Ungoverned: []string{"GITHUB_TOKEN"}}); code(err) != remit.BadRequest {
		t.Errorf("a credential past Remit: %v", err)
	}
	held, err := s.Hold(t.Context(), i.ID, i.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if tok, _, err := s.Token(t.Context(), i.ID, i.Secret, i.Gateway); err != nil || !strings.HasPrefix(tok, "remit_") {
		t.Errorf("%v", err)
	}
	if v, err := s.WaitAccess(t.Context(), "A-1", i.ID, []byte(i.Secret)); code(err) != remit.NotFound {
		t.Errorf("%+v, %v", v, err)
	}
	if err := s.End(t.Context(), i.ID, i.Secret); err != nil {
		t.Fatal(err)
	}
	if err := <-held; err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("%v", err)
	}
}

func TestWhoAsksWhereTheTokenEndpointIsIsTold(t *testing.T) {
	w := world.New(t, world.Options{})
	for _, path := range []string{"/v1/orgs/acme/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/v1/orgs/acme"} {
		status, _, body := call(t, w, "GET", path, "", "")
		if status != 200 || !strings.Contains(body, `"issuer":"`+w.URL+`/v1/orgs/acme"`) || !strings.Contains(body, `"token_endpoint":"`+w.URL+tokenPath+`"`) ||
			!strings.Contains(body, `"dpop_signing_alg_values_supported":["ES256","EdDSA"]`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, _ := call(t, w, "GET", "/.well-known/oauth-authorization-server/v1/orgs/other", "", ""); status != 404 {
		t.Errorf("of another organisation: %d", status)
	}
}
