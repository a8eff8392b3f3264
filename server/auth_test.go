package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
)

func instanceAuth(i client.Instance) string {
	return "Remit-Instance " + string(i.ID) + ":" + base64.RawURLEncoding.EncodeToString([]byte(i.Secret))
}

// bearer signs a person in and gives the header that they call with.
func bearer(t *testing.T, w *world.World, name string) string {
	t.Helper()
	key := w.Key(name)
	_, s, err := w.Client().SignIn(t.Context(), key.PublicKey().Marshal(), func(text []byte) ([]byte, error) { return sign(t, key, text), nil })
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + s.Token
}

// TestWhoMayCallWhat goes through the routes with every kind of caller. UNAUTHENTICATED and FORBIDDEN are refusals at the
// door; anything else means that the caller was let in, whatever the authority then said.
func TestWhoMayCallWhat(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	task := w.Task("cleo")
	inst := w.Instance("cleo", task.ID)
	held := w.Push(inst, shown(), ".envrc")
	other := w.Task("cleo")
	stranger := w.Instance("cleo", other.ID)
	person, admin := bearer(t, w, "cleo"), bearer(t, w, "ada")
	const (
		in  = true
		out = false
	)
	org := "/v1/orgs/acme"
	for _, c := range []struct {
		method, path                     string
		nobody, person, admin, instance_ bool
		stranger                         bool // an instance of another task
	}{
		{"GET", "/v1/health", in, in, in, in, in},
		{"GET", "/v1/openapi.json", in, in, in, in, in},
		{"GET", org, in, in, in, in, in},
		{"POST", org + "/sign-in/challenge", in, in, in, out, out},
		{"POST", org + "/sign-in/session", out, out, out, out, out}, // the proof in it is none
		{"GET", org + "/session", out, in, in, out, out},
		{"POST", org + "/sign-in/passkey", out, out, out, out, out}, // none of them is a page
		{"GET", org + "/sign-in/providers", in, in, in, in, in},
		{"GET", org + "/sign-in/providers/corp/begin", in, in, in, out, out},
		{"POST", org + "/oauth/device", in, in, in, out, out},
		{"GET", org + "/device/BBBB-BBBB", out, in, in, out, out},
		{"POST", org + "/device/BBBB-BBBB/confirm", out, in, in, out, out},
		{"POST", org + "/device/BBBB-BBBB/deny", out, in, in, out, out},
		{"GET", org + "/keys", out, in, in, out, out},
		{"GET", org + "/keys?person=ada", out, out, in, out, out},
		{"POST", org + "/keys/options", out, in, in, out, out},
		{"POST", org + "/keys/statement", out, in, in, out, out},
		{"POST", org + "/keys", out, in, in, out, out},
		{"POST", org + "/keys/remove", out, in, in, out, out},
		{"POST", org + "/invitations", out, out, in, out, out},
		{"POST", org + "/invitations/withdraw", out, out, in, out, out},
		{"POST", org + "/invitations/open", out, out, out, out, out}, // the secret is the proof, and none is shown
		{"GET", org + "/declarations", out, in, in, out, out},
		{"POST", org + "/declarations", out, out, in, out, out},
		{"POST", org + "/keys/confirm", out, in, in, out, out},
		{"POST", org + "/clock/confirm", out, out, in, out, out},
		{"GET", org + "/tasks", out, in, in, out, out},
		{"POST", org + "/tasks", out, in, in, out, out},
		{"GET", org + "/tasks/" + string(task.ID), out, in, in, in, out},
		{"GET", org + "/tasks/" + string(task.ID) + "/trace", out, in, in, out, out},
		{"GET", org + "/agents", out, in, in, out, out},
		{"GET", org + "/agents/coder", out, in, in, out, out},
		{"GET", org + "/approvals", out, in, in, out, out},
		{"GET", org + "/approvals/" + string(held.Access), out, in, in, in, out},
		{"POST", org + "/approvals/" + string(held.Access) + "/votes", out, in, in, out, out},
		{"GET", org + "/approvals/" + string(held.Access) + "/card", out, out, out, out, out}, // the link is the key
		{"GET", org + "/decisions/" + itoa(held.Entry), out, in, in, in, out},
		{"GET", org + "/decisions/0", out, in, in, out, out}, // of no task: not even what kind of entry it is
		{"GET", org + "/log/checkpoint", in, in, in, in, in},
		{"GET", org + "/log/entries", out, in, in, out, out},
		{"GET", org + "/log/bundle", out, out, in, out, out},
		{"GET", org + "/log/tiles/checkpoint", in, in, in, in, in},
		{"GET", org + "/log/tiles/tile/0/000.p/1", in, in, in, in, in},
		{"GET", org + "/log/tiles/tile/entries/000.p/1", out, in, in, out, out},
		{"GET", org + "/log/receipts/" + itoa(held.Entry), out, in, in, in, out},
		{"GET", org + "/log/receipts/0", out, in, in, out, out},
		{"GET", org + "/policy", out, in, in, out, out},
		{"POST", org + "/policy/try", out, out, in, out, out},
		{"GET", org + "/policy/trials", out, in, in, out, out},
		{"GET", org + "/policy/trials/0", out, in, in, out, out},
		{"GET", org + "/paths", out, in, in, out, out},
		{"GET", org + "/paths/reach?node=agent", out, in, in, out, out},
		{"GET", org + "/paths/cut", out, in, in, out, out},
		{"GET", org + "/paths/graph", out, in, in, out, out},
		{"POST", org + "/paths/compare", out, in, in, out, out},
		{"POST", org + "/workflows/plan", out, in, in, out, out},
		{"POST", org + "/instances/" + string(inst.ID) + "/token", out, out, out, in, out},
		{"POST", org + "/instances/" + string(inst.ID) + "/svid", out, out, out, in, out},
		{"POST", org + "/agents/coder/resume", out, in, in, out, out},
		{"POST", org + "/instances", out, in, in, out, out},
		{"POST", org + "/kill", out, in, in, out, out},
		{"POST", org + "/tasks/" + string(task.ID) + "/cancel", out, in, in, out, out},
		{"POST", org + "/session/end", out, in, in, out, out}, // last: what they call with ends with it
	} {
		for _, who := range []struct {
			name, auth string
			want       bool
		}{
			{"nobody", "", c.nobody}, {"a person", person, c.person}, {"an administrator", admin, c.admin},
			{"an instance", instanceAuth(inst), c.instance_}, {"an instance of another task", instanceAuth(stranger), c.stranger},
		} {
			body := ""
			if c.method == "POST" {
				body = "{}"
			}
			status, _, text := call(t, w, c.method, c.path, who.auth, body)
			let := status != http.StatusUnauthorized && !strings.Contains(text, `"code":"FORBIDDEN"`)
			if let != who.want {
				t.Errorf("%s %s by %s: %d %s", c.method, c.path, who.name, status, text)
			}
		}
	}
}

func itoa(i remit.EntryIndex) string {
	b, _ := json.Marshal(i)
	return string(b)
}

func TestCredentialsThatAreNoneAreRefusedAlike(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	task := w.Task("cleo")
	inst := w.Instance("cleo", task.ID)
	path := "/v1/orgs/acme/tasks/" + string(task.ID)
	first := ""
	for _, auth := range []string{
		"Remit-Instance " + string(inst.ID) + ":" + base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
		"Remit-Instance I-999999:" + base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
		"Remit-Instance " + string(inst.ID),
		"Remit-Instance " + string(inst.ID) + ":",
		"Remit-Instance :",
		instanceAuth(inst) + "=",
		instanceAuth(inst)[:len(instanceAuth(inst))-2],
	} {
		status, _, body := call(t, w, "GET", path, auth, "")
		if first == "" {
			first = body
		}
		if status != http.StatusUnauthorized || body != first {
			t.Errorf("%q: %d %s", auth, status, body)
		}
	}
	if status, _, _ := call(t, w, "GET", path, instanceAuth(inst), ""); status != http.StatusOK {
		t.Errorf("the right secret: %d", status)
	}
	if err := w.SignIn("cleo").EndTask(t.Context(), task.ID, "cancel", remit.EndRequest{}); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := call(t, w, "GET", path, instanceAuth(inst), ""); status != http.StatusUnauthorized {
		t.Errorf("an instance that has ended: %d", status)
	}
}

func TestWhereInstancesMustNotActForTheirPersonACallThatShowsOneIsRefused(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	token, _, err := w.SignIn("cleo").Session().Token(t.Context(), inst.ID, inst.Secret, "git")
	if err != nil {
		t.Fatal(err)
	}
	cert := svid(t, w, inst)
	for _, path := range []string{"/sign-in/challenge", "/sign-in/session", "/declarations", "/approvals/A-1/votes", "/keys/confirm", "/instances"} {
		for name, set := range map[string]func(*http.Request) []tls.Certificate{
			"its secret": func(r *http.Request) []tls.Certificate { r.Header.Set("Authorization", instanceAuth(inst)); return nil },
			"its token":  func(r *http.Request) []tls.Certificate { r.Header.Set("Authorization", "Bearer "+token); return nil },
			"its token beside a session": func(r *http.Request) []tls.Certificate {
				r.Header.Add("Authorization", bearer(t, w, "ada"))
				r.Header.Add("Authorization", "Bearer "+token)
				return nil
			},
			"its certificate beside a session": func(r *http.Request) []tls.Certificate {
				r.Header.Set("Authorization", bearer(t, w, "ada"))
				return []tls.Certificate{cert}
			},
		} {
			r, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+"/v1/orgs/acme"+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := browser(w, set(r)...).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %s: %s", path, name, resp.Status)
			}
		}
	}
}

// svid asks for a certificate of an instance, and checks what came.
func svid(t *testing.T, w *world.World, inst client.Instance) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	chain, bundle, err := w.SignIn("cleo").Session().SVID(t.Context(), inst.ID, inst.Secret, csr)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain)
	if err != nil || len(leaf.URIs) != 1 || leaf.URIs[0].String() != inst.SPIFFEID || string(bundle) != string(w.CA.Root()) {
		t.Fatalf("%+v, %v", leaf, err)
	}
	if leaf.NotAfter.After(w.Clock.Now().Add(identity.SVIDLife + time.Second)) {
		t.Fatalf("it lives until %s", leaf.NotAfter)
	}
	return tls.Certificate{Certificate: [][]byte{chain}, PrivateKey: key}
}

func TestATokenIsGoodAtItsGatewayOnlyAndForItsInstanceOnly(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	s := w.SignIn("cleo").Session()
	token, _, err := s.Token(t.Context(), inst.ID, inst.Secret, inst.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := call(t, w, "GET", "/v1/orgs/acme/git/forge/payments.git/info/refs", "Bearer "+token, ""); status != 200 || !strings.Contains(body, string(inst.ID)) {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := call(t, w, "POST", "/v1/orgs/acme/probe/read", "Bearer "+token, ""); status != http.StatusUnauthorized {
		t.Errorf("at another gateway: %d", status)
	}
	if status, _, _ := call(t, w, "GET", "/v1/orgs/other/git/x", "Bearer "+token, ""); status != http.StatusNotFound {
		t.Errorf("at another organisation: %d", status)
	}
	if _, _, err := s.Token(t.Context(), inst.ID, inst.Secret, "nowhere"); code(err) != remit.BadRequest {
		t.Errorf("an unknown gateway: %v", err)
	}
	if _, _, err := s.Token(t.Context(), inst.ID, inst.Secret, "https://evil.example/v1/orgs/other/git"); code(err) != remit.BadRequest {
		t.Errorf("another server's gateway: %v", err)
	}
	if len(inst.Rewrites) != 1 || inst.Rewrites[0].To != inst.Gateway+"/forge/" || inst.Rewrites[0].From[0] != "https://forge.example/" ||
		inst.Rewrites[0].From[1] != "git@forge.example:" {
		t.Errorf("%+v", inst.Rewrites)
	}
}

func TestNoAnswerHoldsAPersonsSecret(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	inst := w.Instance("cleo", w.Task("cleo").ID)
	d := w.Push(inst, shown(), ".envrc")
	session := strings.TrimPrefix(bearer(t, w, "ben"), "Bearer ")
	for _, path := range []string{"", "/session", "/declarations", "/tasks?all=true", "/agents", "/approvals?all=true", "/log/entries", "/log/checkpoint",
		"/policy", "/tasks/" + string(inst.Task) + "/trace", "/decisions/" + itoa(d.Entry), "/approvals/" + string(d.Access)} {
		if status, _, body := call(t, w, "GET", "/v1/orgs/acme"+path, "Bearer "+session, ""); status != 200 {
			t.Fatalf("%s: %d %s", path, status, body)
		}
	}
	if n := w.Answers.Count(session); n != 1 {
		t.Errorf("a session's token was said %d times; it is said once, to its person", n)
	}
	for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte(inst.Secret)), base64.RawURLEncoding.EncodeToString([]byte(inst.Secret))} {
		if n := w.Answers.Count(secret); n > 1 {
			t.Errorf("an instance's secret was said %d times", n)
		}
	}
	seed := remit.Hash([]byte("key of ben"))
	for _, secret := range []string{base64.StdEncoding.EncodeToString(seed[:]), seed.String(), "PRIVATE KEY", string(seed[:])} {
		if w.Answers.Contain(secret) {
			t.Error("a private key was said")
		}
	}
	// What is personal stands in no leaf (R10).
	_, _, leaves := call(t, w, "GET", "/v1/orgs/acme/log/entries", "Bearer "+session, "")
	for _, personal := range []string{"cleo", "rounding", ".envrc", "fixes bugs", "FORGE_TOKEN"} {
		if strings.Contains(leaves, personal) && personal != ".envrc" {
			t.Errorf("the log's leaves say %q", personal)
		}
	}
}
