package console_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/browser"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/server"
	"github.com/remit-dev/remit/sshsig"
)

// chromium is the browser of all these tests.
var chromium browser.Process

func TestMain(m *testing.M) {
	code := m.Run()
	chromium.Close()
	os.Exit(code)
}

// house is an organisation whose people have passkeys.
type house struct {
	*world.World
	keys map[string]*ecdsa.PrivateKey
}

// newHouse is a team, or a demo, with passkeys for ben and dora, who both review.
func newHouse(t testing.TB, profile remit.Profile) *house {
	t.Helper()
	h := &house{world.New(t, world.Options{Profile: profile, Host: "localhost"}), map[string]*ecdsa.PrivateKey{}}
	h.Declare(h.people())
	return h
}

// people declares the team.
func (h *house) people() remit.Declarations {
	h.T.Helper()
	d := h.Team()
	d.People = append(d.People, h.Person("dora"))
	for i := range d.Groups {
		if d.Groups[i].Name == "reviewers" {
			d.Groups[i].Members = append(d.Groups[i].Members, "dora")
		}
	}
	for i := range d.People {
		if n := d.People[i].Name; n == "ben" || n == "dora" {
			d.People[i].Keys = append(d.People[i].Keys, h.passkey(n))
		}
	}
	return d
}

// passkey makes a passkey and gives it as declarations have it.
func (h *house) passkey(name string) string {
	h.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.T.Fatal(err)
	}
	pub, err := sshsig.NewPasskey(&key.PublicKey, "localhost")
	if err != nil {
		h.T.Fatal(err)
	}
	h.keys[name] = key
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(pub)), "\n")
}

func (h *house) id(name string) remit.ID {
	h.T.Helper()
	id, ok := server.Authority{Engine: h.Engine}.ByKey(h.Key(name).PublicKey().Marshal())
	if !ok {
		h.T.Fatalf("there is no %s", name)
	}
	return id
}

// device gives a window the passkey of a person.
func (h *house) device(p *browser.Page, name string) *browser.Passkey {
	h.T.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(h.keys[name])
	if err != nil {
		h.T.Fatal(err)
	}
	k := p.Authenticator()
	k.Add([]byte("passkey of "+name), "localhost", []byte(h.id(name)), private)
	return k
}

// http is a client that keeps no cookies and follows nothing.
func (h *house) http() *http.Client {
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: h.CA.Pool()}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do is a request of a browser of this server's own pages; header is name, value, …, and an empty value takes one away.
func (h *house) do(method, path, body string, header ...string) (*http.Response, string) {
	h.T.Helper()
	r, err := http.NewRequestWithContext(h.T.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		h.T.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if method != http.MethodGet {
		r.Header.Set("Origin", h.URL)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := h.http().Do(r)
	if err != nil {
		h.T.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.T.Fatal(err)
	}
	return resp, string(b)
}

// cookie signs a person in as a browser would be, with their SSH key, and gives the cookie and the token beside it.
func (h *house) cookie(name string) (cookie, csrf string) {
	h.T.Helper()
	post := func(path string, in, out any) *http.Response {
		b, err := json.Marshal(in)
		if err != nil {
			h.T.Fatal(err)
		}
		resp, body := h.do("POST", "/v1/orgs/acme"+path, string(b), "Content-Type", "application/json")
		if resp.StatusCode != http.StatusOK {
			h.T.Fatalf("%s: %d %s", path, resp.StatusCode, body)
		}
		if err := json.NewDecoder(bytes.NewReader([]byte(body))).Decode(out); err != nil {
			h.T.Fatal(err)
		}
		return resp
	}
	var c remit.Challenge
	post("/sign-in/challenge", remit.ChallengeRequest{Key: h.Key(name).PublicKey().Marshal()}, &c)
	sig, err := sshsig.Sign(h.Key(name), identity.SignInNamespace, c.Text)
	if err != nil {
		h.T.Fatal(err)
	}
	var s remit.Session
	resp := post("/sign-in/session", remit.SignIn{Text: c.Text, Signature: sig, Browser: true}, &s)
	for _, x := range resp.Cookies() {
		if x.Name == identity.SessionCookie && s.Token == "" && s.CSRF != "" {
			return x.Value, s.CSRF
		}
	}
	h.T.Fatalf("no cookie in %v", resp.Header)
	return "", ""
}

// enter opens a window in which a person is signed in.
func (h *house) enter(p *browser.Page, name string) {
	h.T.Helper()
	cookie, _ := h.cookie(name)
	p.Cookie(h.URL, identity.SessionCookie, cookie)
}

// hold has cleo's agent ask for something that people decide on.
func (h *house) hold(shown remit.Shown) (task remit.TaskView, access remit.ID) {
	h.T.Helper()
	task = h.Task("cleo")
	d := h.Push(h.Instance("cleo", task.ID), shown, ".github/workflows/ci.yml")
	if d.Verdict != remit.Hold {
		h.T.Fatalf("%+v", d)
	}
	return task, d.Access
}

func (h *house) status(id remit.ID) remit.AccessView {
	h.T.Helper()
	v, err := h.SignIn("ada").Access(h.T.Context(), id)
	if err != nil {
		h.T.Fatal(err)
	}
	return v
}
