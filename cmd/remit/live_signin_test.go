package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
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
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/sshsig"
)

var signInCommands = map[string]func(*testscript.TestScript, bool, []string){
	"tab": cmdTab, "page": cmdPage, "terminal": cmdTerminal, "provider": cmdProvider,
}

// signInParts are the browsers and terminals of a script, and its provider.
type signInParts struct {
	tabs     map[string]*browserTab
	terminal *process
	said     io.Closer
	provider *httptest.Server
}

func (p *signInParts) end() {
	if p.terminal != nil {
		p.terminal.kill()
	}
	if p.provider != nil {
		p.provider.Close()
	}
}

// browserTab is a browser that shows a page of the server.
type browserTab struct {
	http   *http.Client
	origin string
	csrf   string
	head   http.Header // of the last answer
}

func (b *browserTab) send(ts *testscript.TestScript, method, path, body string, change func(*http.Request)) (int, []byte) {
	r, err := http.NewRequest(method, b.origin+path, strings.NewReader(body))
	ts.Check(err)
	if method != http.MethodGet {
		r.Header.Set("Origin", b.origin)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(identity.CSRFHeader, b.csrf)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if change != nil {
		change(r)
	}
	resp, err := b.http.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	b.head = resp.Header
	return resp.StatusCode, text
}

func (b *browserTab) must(ts *testscript.TestScript, method, path string, in, out any) {
	body, err := json.Marshal(in)
	ts.Check(err)
	status, text := b.send(ts, method, path, string(body), nil)
	if status != http.StatusOK {
		ts.Fatalf("%s %s: status %d %s", method, path, status, text)
	}
	ts.Check(json.Unmarshal(text, out))
}

// cmdTab signs somebody in, in a browser of their own: tab PERSON, with their SSH key; tab PERSON at USER [anew], as USER at the
// provider, anew as whoever has to prove themselves now. $PERSON_COOKIE and $PERSON_CSRF are what its session is worth.
func cmdTab(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) != 1 && (len(args) < 3 || len(args) > 4 || args[1] != "at") {
		ts.Fatalf("usage: tab PERSON [at USER [anew]]")
	}
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	b := &browserTab{http: clientOf(ts), origin: w.url}
	b.http.Jar = jar
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	org := "/v1/orgs/" + ts.Getenv("REMIT_ORG")
	if len(args) > 1 {
		status, text := b.send(ts, "GET", w.throughProvider(ts, b, org, args[2], len(args) > 3), "", nil)
		fmt.Fprintf(ts.Stdout(), "status %d\n%s\n", status, text)
		if (status != http.StatusOK) != neg {
			ts.Fatalf("signing in at the provider: status %d", status)
		}
		if neg {
			return
		}
	} else {
		var ch remit.Challenge
		b.must(ts, "POST", org+"/sign-in/challenge", struct{}{}, &ch)
		sig, err := sshsig.SignFile(context.Background(), w.people[args[0]], identity.SignInNamespace, ch.Text, sshsig.Person{})
		ts.Check(err)
		b.must(ts, "POST", org+"/sign-in/session", remit.SignIn{Text: ch.Text, Signature: sig, Browser: true}, &remit.Session{})
	}
	var s remit.Session
	b.must(ts, "GET", org+"/session", nil, &s)
	b.csrf = s.CSRF
	at, err := url.Parse(w.url)
	ts.Check(err)
	for _, c := range jar.Cookies(at) {
		if c.Name == identity.SessionCookie {
			ts.Setenv(strings.ToUpper(args[0])+"_COOKIE", c.Name+"="+c.Value)
		}
	}
	ts.Setenv(strings.ToUpper(args[0])+"_CSRF", s.CSRF)
	if w.signIn.tabs == nil {
		w.signIn.tabs = map[string]*browserTab{}
	}
	w.signIn.tabs[args[0]] = b
	fmt.Fprintf(ts.Stdout(), "%s by %s %s\n", s.Name, s.Method, s.Provider)
}

// cmdPage is a request of the page in somebody's browser: page PERSON METHOD PATH [BODY [header=value …]]; PATH is one of
// the API, or of /console/; an empty value takes the header out. PERSON may be - for somebody who has only what the headers say.
func cmdPage(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if len(args) < 3 {
		ts.Fatalf("usage: page PERSON METHOD PATH [BODY [header=value …]]")
	}
	b := w.signIn.tabs[args[0]]
	if args[0] == "-" {
		b = &browserTab{http: clientOf(ts), origin: w.url}
	}
	if b == nil {
		ts.Fatalf("%s has no browser; say: tab %s", args[0], args[0])
	}
	body := ""
	if len(args) > 3 {
		body = args[3]
	}
	path := args[2]
	if !strings.HasPrefix(path, "/console/") {
		path = "/v1/orgs/" + ts.Getenv("REMIT_ORG") + path
	}
	status, text := b.send(ts, args[1], path, body, func(r *http.Request) {
		for _, h := range args[min(len(args), 4):] {
			name, value, _ := strings.Cut(h, "=")
			r.Header.Del(name)
			if value != "" {
				r.Header.Set(name, value)
			}
		}
	})
	fmt.Fprintf(ts.Stdout(), "status %d\n%s\n", status, text)
	if (status != http.StatusOK) != neg {
		ts.Fatalf("%s %s: status %d", args[1], args[2], status)
	}
}

// cmdTerminal is remit login --device beside the script: terminal begin [FLAG …] sets $CODE; terminal end waits for it.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	switch {
	case len(args) > 0 && args[0] == "begin" && !neg:
		cmd := command(ts, w, "", "remit", append([]string{"login", "--device"}, args[1:]...)...)
		out, in, err := os.Pipe()
		ts.Check(err)
		cmd.Stdout, cmd.Stderr = in, in
		w.signIn.terminal, err = startProcess(cmd)
		in.Close()
		ts.Check(err)
		w.signIn.said = out
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, code, ok := strings.Cut(lines.Text(), "the code: "); ok {
				ts.Setenv("CODE", code)
				return
			}
		}
		ts.Fatalf("the terminal shows no code")
	case len(args) == 1 && args[0] == "end" && w.signIn.terminal != nil:
		waitFor(ts, w.signIn.terminal.done, "the end of remit login --device")
		w.signIn.said.Close()
		if (w.signIn.terminal.err != nil) != neg {
			ts.Fatalf("remit login --device: %v", w.signIn.terminal.err)
		}
	default:
		ts.Fatalf("usage: terminal begin [FLAG …] | end")
	}
}

// cmdProvider starts an OpenID provider that knows nothing of Remit, and writes providers.yaml: provider, before house.
// $IDP is its issuer, and its users are id1 and id2.
func cmdProvider(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) != 0 {
		ts.Fatalf("usage: provider")
	}
	var site *httptest.Server
	handler := sync.OnceValue(func() http.Handler { // once the server's address is known
		callback := w.url + "/v1/orgs/acme/sign-in/providers/corp/callback"
		return exampleop.SetupServer(site.URL, &classes{Storage: storage.NewStorageWithClients(storage.NewUserStore(site.URL),
			map[string]*storage.Client{"remit": storage.WebClient("remit", "s3cret", callback)})}, slog.New(slog.DiscardHandler), false)
	})
	site = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { handler().ServeHTTP(rw, r) }))
	w.signIn.provider = site
	ca, secret := filepath.Join(w.dir, "idp.crt"), filepath.Join(w.dir, "idp.secret")
	ts.Check(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o600))
	ts.Check(os.WriteFile(secret, []byte("s3cret\n"), 0o600))
	ts.Check(os.WriteFile(filepath.Join(w.dir, "providers.yaml"), fmt.Appendf(nil,
		"providers:\n- {name: corp, title: Corp, issuer: %q, client_id: remit, secret: {from: file, name: %q}, ca: %q, acr: [phr]}\n", site.URL, secret, ca), 0o600))
	ts.Setenv("IDP", site.URL)
}

// classes has the provider say of a sign-in what it was asked for, where it was: the example itself has no classes.
type classes struct {
	*storage.Storage
	asked sync.Map // id of a request: its acr_values
}

// inClass is a request of a class.
type inClass struct {
	*storage.AuthRequest
	acr string
}

func (r inClass) GetACR() string { return r.acr }

func (c *classes) CreateAuthRequest(ctx context.Context, r *oidc.AuthRequest, user string) (op.AuthRequest, error) {
	made, err := c.Storage.CreateAuthRequest(ctx, r, user)
	if err == nil {
		c.asked.Store(made.GetID(), strings.Join(r.ACRValues, " "))
	}
	return made, err
}

func (c *classes) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	r, err := c.Storage.AuthRequestByCode(ctx, code)
	plain, ok := r.(*storage.AuthRequest)
	if err != nil || !ok {
		return r, err
	}
	acr, _ := c.asked.Load(plain.ID)
	said, _ := acr.(string)
	return inClass{plain, said}, nil
}

func (c *classes) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	if in, ok := r.(inClass); ok {
		r = in.AuthRequest
	}
	return c.Storage.CreateAccessToken(ctx, r)
}

var loginForm = regexp.MustCompile(`name="id" value="([^"]+)"`)

// throughProvider goes through the provider's login, and gives where it sends the browser back to.
func (w *world) throughProvider(ts *testscript.TestScript, b *browserTab, org, user string, anew bool) string {
	r, err := http.NewRequest("GET", fmt.Sprintf("%s%s/sign-in/providers/corp/begin?fresh=%t", b.origin, org, anew), nil)
	ts.Check(err)
	resp, err := b.http.Do(r)
	ts.Check(err)
	resp.Body.Close()
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	back := ""
	site := w.signIn.provider
	there := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: site.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), b.origin) {
				back = r.URL.RequestURI()
				return http.ErrUseLastResponse
			}
			return nil
		}}
	page, err := there.Get(resp.Header.Get("Location"))
	ts.Check(err)
	var text bytes.Buffer
	_, err = io.Copy(&text, page.Body)
	page.Body.Close()
	ts.Check(err)
	id := loginForm.FindStringSubmatch(text.String())
	if id == nil {
		ts.Fatalf("the provider shows no login: %s", text.String())
	}
	done, err := there.PostForm(site.URL+"/login/username", url.Values{"id": {id[1]}, "username": {map[string]string{"id1": "test-user@127.0.0.1", "id2": "test-user2"}[user]}, "password": {"verysecure"}})
	ts.Check(err)
	done.Body.Close()
	if back == "" {
		ts.Fatalf("the provider does not send back")
	}
	return back
}
