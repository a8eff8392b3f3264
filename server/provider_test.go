package server_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"golang.org/x/oauth2"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/identity/signin"
	"github.com/remit-dev/remit/internal/world"
)

// corporate is the example provider of zitadel/oidc, and a world whose cleo is id1 there.
func corporate(t *testing.T) (*world.World, *httptest.Server) {
	t.Helper()
	var handler http.Handler
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(site.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	w := world.New(t, world.Options{Host: "localhost", Providers: []signin.Provider{{Name: "corp", Title: "Corp", Issuer: site.URL, CA: ca, ClientID: "remit",
		Secret: func(context.Context) (string, error) { return "s3cret", nil }}}})
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	handler = exampleop.SetupServer(site.URL, storage.NewStorageWithClients(storage.NewUserStore(site.URL), map[string]*storage.Client{
		"remit": storage.WebClient("remit", "s3cret", w.URL+orgPath+"/sign-in/providers/corp/callback")}), slog.New(slog.DiscardHandler), false)
	d := w.Team()
	d.People[2].Identities = []remit.Identity{{Issuer: site.URL, Subject: "id1"}}
	w.Declare(d)
	return w, site
}

var loginID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// through goes through the provider's login as user, and gives where it sends the browser back to.
func through(t *testing.T, site *httptest.Server, to, user string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	back := ""
	c := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: site.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if r.URL.Hostname() == "localhost" {
				back = r.URL.RequestURI()
				return http.ErrUseLastResponse
			}
			return nil
		}}
	page, err := c.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	id := loginID.FindStringSubmatch(string(text))
	if id == nil {
		t.Fatalf("no login: %s", text)
	}
	done, err := c.PostForm(site.URL+"/login/username", url.Values{"id": {id[1]}, "username": {user}, "password": {"verysecure"}})
	if err != nil {
		t.Fatal(err)
	}
	done.Body.Close()
	return back
}

func (b *tab) begin(fresh string) string {
	b.t.Helper()
	status, head, body := b.send("GET", orgPath+"/sign-in/providers/corp/begin?return=/console/approvals/A-1&fresh="+fresh, nil)
	if status != http.StatusSeeOther {
		b.t.Fatalf("%d %s", status, body)
	}
	return head.Get("Location")
}

func TestSignInAtAProvider(t *testing.T) {
	w, site := corporate(t)
	b := newTab(t, w)
	var list []remit.ProviderView
	b.must("GET", orgPath+"/sign-in/providers", nil, &list)
	if len(list) != 1 || list[0] != (remit.ProviderView{Name: "corp", Title: "Corp", Issuer: site.URL}) {
		t.Fatalf("%+v", list)
	}
	back := through(t, site, b.begin("true"), "test-user@127.0.0.1")
	status, head, page := b.send("GET", back, nil, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	if status != http.StatusOK || !strings.Contains(string(page), `content="0;url=/console/approvals/A-1"`) || head.Get("Location") != "" ||
		!strings.Contains(head.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(string(page), "<script") {
		t.Fatalf("%d %s", status, page)
	}
	var s remit.Session
	b.must("GET", orgPath+"/session", nil, &s)
	if s.Name != "cleo" || s.Method != "provider" || s.Provider != "corp" || s.AuthTime == nil || s.Touch || s.Key != nil {
		t.Fatalf("%+v", s)
	}
	at, _ := url.Parse(w.URL)
	for _, c := range b.http.Jar.Cookies(at) {
		if c.Name == signin.FlowCookie {
			t.Fatal("the browser keeps the cookie of a sign-in that is over")
		}
	}
	// The way back once more, by the same browser or another, signs nobody in.
	for _, x := range []*tab{b, newTab(t, w)} {
		if status, _, page := x.send("GET", back, nil); status != http.StatusForbidden || !strings.Contains(string(page), "You are not signed in") {
			t.Fatalf("%d %s", status, page)
		}
	}
	// The session rests on the declaration.
	w.Declare(w.Team())
	b.refuses(remit.Unauthenticated, "GET", orgPath+"/session", nil)
	back = through(t, site, b.begin("false"), "test-user@127.0.0.1")
	if status, _, page := b.send("GET", back, nil); status != http.StatusForbidden || !strings.Contains(string(page), "nobody in force here") {
		t.Fatalf("%d %s", status, page)
	}
	b.refuses(remit.Unauthenticated, "GET", orgPath+"/session", nil)
}

// A person whom the provider knows and nobody declared is nobody here; an instance does not begin a sign-in.
func TestStrangersAtAProvider(t *testing.T) {
	w, site := corporate(t)
	b := newTab(t, w)
	back := through(t, site, b.begin("false"), "test-user2")
	if status, _, page := b.send("GET", back, nil); status != http.StatusForbidden || !strings.Contains(string(page), "id2") {
		t.Fatalf("%d %s", status, page)
	}
	inst := w.Instance("cleo", w.Task("cleo").ID)
	b.refuses(remit.Forbidden, "GET", orgPath+"/sign-in/providers/corp/begin", nil, func(r *http.Request) { r.Header.Set("Authorization", instanceAuth(inst)) })
	if status, _, page := b.send("GET", orgPath+"/sign-in/providers/corp/begin?return=//evil.example", nil); status != http.StatusBadRequest {
		t.Fatalf("%d %s", status, page)
	}
	if status, _, page := b.send("GET", orgPath+"/sign-in/providers/corp/callback?error=%3Cscript%3E&state=x", nil); status != http.StatusForbidden || strings.Contains(string(page), "<script>") {
		t.Fatalf("%d %s", status, page)
	}
}

// The terminal is x/oauth2, which knows nothing of Remit but RFC 8628.
func TestDeviceSignIn(t *testing.T) {
	w := world.New(t, world.Options{Host: "localhost"})
	w.Declare(w.Team())
	terminal := &oauth2.Config{ClientID: signin.Client, Endpoint: oauth2.Endpoint{DeviceAuthURL: w.URL + orgPath + "/oauth/device", TokenURL: w.URL + orgPath + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams}}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, browser(w))
	begin := func() *oauth2.DeviceAuthResponse {
		t.Helper()
		d, err := terminal.DeviceAuth(ctx, oauth2.SetAuthURLParam("device_name", "laptop <b>"))
		if err != nil {
			t.Fatal(err)
		}
		d.Expiry, d.Interval = time.Time{}, 1 // the virtual clock does not move by itself
		return d
	}
	d := begin()
	if d.VerificationURI != w.URL+"/console/device" || d.VerificationURIComplete != d.VerificationURI+"?code="+d.UserCode {
		t.Fatalf("%+v", d)
	}
	b := newTab(t, w)
	b.refuses(remit.Unauthenticated, "GET", orgPath+"/device/"+d.UserCode, nil)
	b.refuses(remit.Unauthenticated, "POST", orgPath+"/device/"+d.UserCode+"/confirm", struct{}{})
	b.signIn("cleo")
	var v remit.DeviceView
	b.must("GET", orgPath+"/device/"+strings.ToLower(d.UserCode), nil, &v)
	if v.UserCode != d.UserCode || v.Name != "laptop <b>" || v.Address != "127.0.0.1" || !v.Here || len(v.Agents) != 0 {
		t.Fatalf("%+v", v)
	}
	// An agent of cleo's runs unconfined at that address: it could be who asks, and the card says so.
	task := w.Task("cleo")
	inst := w.Instance("cleo", task.ID)
	b.must("GET", orgPath+"/device/"+d.UserCode, nil, &v)
	if len(v.Agents) != 1 || v.Agents[0] != task.ID {
		t.Fatalf("%+v", v)
	}
	b.must("POST", orgPath+"/device/"+d.UserCode+"/confirm", struct{}{}, nil)
	token, err := terminal.DeviceAccessToken(ctx, d)
	if err != nil || token.Type() != "Bearer" {
		t.Fatal(token, err)
	}
	in := w.Client().WithToken(token.AccessToken)
	s, err := in.WhoAmI(t.Context())
	if err != nil || s.Name != "cleo" || s.Method != "device" || !s.NotAfter.Equal(w.Clock.Now().Add(identity.DeviceLife)) {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := in.CreateTask(t.Context(), remit.TaskRequest{Agent: "coder", Intent: "x"}); err != nil {
		t.Fatal(err)
	}
	// One use, also of what was confirmed.
	var refused *oauth2.RetrieveError
	if _, err := terminal.DeviceAccessToken(ctx, d); !errors.As(err, &refused) || refused.ErrorCode != "expired_token" {
		t.Fatal(err)
	}
	b.refuses(remit.NotFound, "POST", orgPath+"/device/"+d.UserCode+"/confirm", struct{}{})
	// A terminal that was let in lets in no other, and adds no keys.
	d = begin()
	for path, body := range map[string]string{"/device/" + d.UserCode + "/confirm": "{}", "/keys/options": "{}", "/keys": `{"key":"AAAA"}`} {
		if status, _, text := call(t, w, "POST", orgPath+path, "Bearer "+token.AccessToken, body); status != http.StatusForbidden || !strings.Contains(text, "let in from your browser") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	// An instance neither asks for a code, nor takes a token, nor confirms, whatever else it shows.
	form := url.Values{"client_id": {signin.Client}, "grant_type": {signin.GrantType}, "device_code": {d.DeviceCode}}
	for path, body := range map[string]string{"/oauth/device": form.Encode(), "/oauth/token": form.Encode(), "/device/" + d.UserCode + "/confirm": "{}"} {
		status, _, text := call(t, w, "POST", orgPath+path, instanceAuth(inst), body)
		if status != http.StatusForbidden && status != http.StatusBadRequest || !strings.Contains(text, "this is for people") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	b.must("POST", orgPath+"/device/"+d.UserCode+"/deny", struct{}{}, nil)
	if _, err := terminal.DeviceAccessToken(ctx, d); !errors.As(err, &refused) || refused.ErrorCode != "access_denied" {
		t.Fatal(err)
	}
	// What lets the terminal in is what it rests on.
	if err := w.SignIn("ada").Kill(t.Context(), remit.KillRequest{What: "person", ID: "cleo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := in.WhoAmI(t.Context()); code(err) != remit.Unauthenticated {
		t.Fatal(err)
	}
}

func TestDeviceFormsAreChecked(t *testing.T) {
	w := world.New(t, world.Options{})
	for name, body := range map[string]string{
		"another client":      "client_id=other",
		"no client":           "",
		"two clients":         "client_id=remit-cli&client_id=remit-cli",
		"a form without end":  "client_id=remit-cli&x=" + strings.Repeat("x", 5<<10),
		"a name without end":  "client_id=remit-cli&device_name=" + strings.Repeat("x", 65),
		"something else":      "%zz",
		"a token, two codes":  "client_id=remit-cli&grant_type=" + url.QueryEscape(signin.GrantType) + "&device_code=a&device_code=b",
		"a token, no client":  "grant_type=" + url.QueryEscape(signin.GrantType) + "&device_code=a",
		"a token, wrong code": "client_id=remit-cli&grant_type=" + url.QueryEscape(signin.GrantType) + "&device_code=a",
	} {
		path := "/oauth/device"
		if strings.HasPrefix(name, "a token") {
			path = "/oauth/token"
		}
		status, _, text := call(t, w, "POST", orgPath+path, "", body)
		var p struct{ Error string }
		if err := json.Unmarshal([]byte(text), &p); err != nil || status != http.StatusBadRequest || p.Error == "" {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

// One identity is one person's, whatever its salt; and what is declared comes back as it was.
func TestIdentitiesAreDeclaredOnce(t *testing.T) {
	w := world.New(t, world.Options{})
	d := w.Team()
	me := remit.Identity{Issuer: "https://id.example", Subject: "4711"}
	d.People[2].Identities = []remit.Identity{me}
	d.Groups = append(d.Groups, remit.Group{Name: "staff", From: []remit.GroupSource{{Issuer: me.Issuer, Group: "staff"}}})
	w.Declare(d)
	ada := w.SignIn("ada")
	got, err := ada.Declarations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got.People {
		if p.Name == "cleo" && (len(p.Identities) != 1 || p.Identities[0] != me) {
			t.Fatalf("%+v", p)
		}
	}
	again, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: got})
	if err != nil || len(again.Changes) != 0 {
		t.Fatalf("%+v, %v", again.Changes, err)
	}
	d.People[1].Identities = []remit.Identity{me}
	if _, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d}); err == nil || !strings.Contains(err.Error(), "identities") {
		t.Fatalf("one identity in two records: %v", err)
	}
	d.People[1].Identities, d.People[2].Identities = []remit.Identity{{Issuer: me.Issuer, Subject: "1"}}, []remit.Identity{{Issuer: me.Issuer, Subject: "1"}}
	if _, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d}); err == nil || !strings.Contains(err.Error(), "identities") {
		t.Fatalf("one new identity in two records: %v", err)
	}
}
