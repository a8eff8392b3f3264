package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/authenticator"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/sshsig"
)

const orgPath = "/v1/orgs/acme"

// tab is a browser that shows a page of the server: it has cookies, says where its requests come from, and knows the
// token of its session.
type tab struct {
	t    *testing.T
	w    *world.World
	http *http.Client
	csrf string
}

func newTab(t *testing.T, w *world.World) *tab {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := browser(w)
	c.Transport.(*http.Transport).TLSClientConfig.Time = w.Clock.Now // certificates are made by it
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &tab{t: t, w: w, http: c}
}

// send is a request of the page; change makes it another.
func (b *tab) send(method, path string, in any, change ...func(*http.Request)) (int, http.Header, []byte) {
	b.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodGet {
		body = nil
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.w.URL+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if method != http.MethodGet {
		r.Header.Set("Origin", b.w.URL)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(identity.CSRFHeader, b.csrf)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, f := range change {
		f(r)
	}
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, out
}

// must is send with an answer.
func (b *tab) must(method, path string, in, out any) {
	b.t.Helper()
	status, _, body := b.send(method, path, in)
	if status != http.StatusOK {
		b.t.Fatalf("%s %s: %d %s", method, path, status, body)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(body, out); err != nil {
		b.t.Fatal(err)
	}
}

// refuses is send that must be refused with a code.
func (b *tab) refuses(code remit.Code, method, path string, in any, change ...func(*http.Request)) {
	b.t.Helper()
	status, _, body := b.send(method, path, in, change...)
	var p remit.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code != code {
		b.t.Fatalf("%s %s: %d %s; wanted %s", method, path, status, body, code)
	}
}

// signIn signs in with an SSH key, as a browser's session.
func (b *tab) signIn(name string) remit.Session {
	b.t.Helper()
	key := b.w.Key(name)
	var ch remit.Challenge
	b.must("POST", orgPath+"/sign-in/challenge", remit.ChallengeRequest{}, &ch)
	var s remit.Session
	b.must("POST", orgPath+"/sign-in/session", remit.SignIn{Text: ch.Text, Signature: sign(b.t, key, ch.Text), Browser: true}, &s)
	if s.Token != "" || s.CSRF == "" {
		b.t.Fatalf("a browser got %+v", s)
	}
	b.csrf = s.CSRF
	return s
}

// passkey is a software authenticator of another project with one credential.
type passkey struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

func newPasskey(w *world.World, who remit.ID) *passkey {
	return &passkey{virtualwebauthn.RelyingParty{Name: "Remit acme", ID: "localhost", Origin: w.URL},
		virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(who)}), authenticator.ES256()}
}

func (p *passkey) create(t *testing.T, creation []byte) []byte {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(creation))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAttestationResponse(p.rp, p.auth, p.cred, *o))
}

func (p *passkey) get(t *testing.T, ask *remit.PasskeyAsk) remit.Assertion {
	t.Helper()
	challenge, err := base64.RawURLEncoding.DecodeString(ask.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		ID       string `json:"rawId"`
		Response struct {
			ClientData    string `json:"clientDataJSON"`
			Authenticator string `json:"authenticatorData"`
			Signature     string `json:"signature"`
			UserHandle    string `json:"userHandle"`
		} `json:"response"`
	}
	if err := json.Unmarshal([]byte(virtualwebauthn.CreateAssertionResponse(p.rp, p.auth, p.cred, virtualwebauthn.AssertionOptions{Challenge: challenge, RelyingPartyID: ask.RPID})), &out); err != nil {
		t.Fatal(err)
	}
	return remit.Assertion{ID: out.ID, ClientData: out.Response.ClientData, Authenticator: out.Response.Authenticator, Signature: out.Response.Signature, UserHandle: out.Response.UserHandle}
}

// enrol makes a passkey and enrols it by an invitation.
func (b *tab) enrol(secret, label string) (*passkey, remit.EnrolAnswer) {
	b.t.Helper()
	var o remit.EnrolOptions
	b.must("POST", orgPath+"/invitations/open", remit.Invited{Secret: secret}, &o)
	p := newPasskey(b.w, o.Person)
	var st remit.EnrolStatement
	b.must("POST", orgPath+"/invitations/statement", remit.NewKey{Secret: secret, Registration: p.create(b.t, o.Creation)}, &st)
	proof := p.get(b.t, st.Passkey)
	var out remit.EnrolAnswer
	b.must("POST", orgPath+"/invitations/enrol", remit.EnrolKey{Secret: secret, Key: st.Key, Label: label, Credential: &proof}, &out)
	return p, out
}

// passkeyIn signs in with a passkey.
func (b *tab) passkeyIn(p *passkey) (int, []byte) {
	b.t.Helper()
	var ch remit.Challenge
	b.must("POST", orgPath+"/sign-in/challenge", remit.ChallengeRequest{}, &ch)
	status, _, body := b.send("POST", orgPath+"/sign-in/passkey", remit.PasskeySignIn{Text: ch.Text, Credential: p.get(b.t, ch.Passkey)})
	var s remit.Session
	if status == http.StatusOK && json.Unmarshal(body, &s) == nil {
		b.csrf = s.CSRF
	}
	return status, body
}

// newcomer is a world with eve, who has no key, and ada in her browser.
func newcomer(t *testing.T) (*world.World, *tab) {
	t.Helper()
	w := world.New(t, world.Options{Host: "localhost"})
	d := w.Team()
	d.People = append(d.People, remit.Person{Name: "eve"})
	w.Declare(d)
	ada := newTab(t, w)
	ada.signIn("ada")
	return w, ada
}

// From an invitation to a session by passkey: where another administrator could object, the key waits for their word
// and a day.
func TestAPasskeyByInvitation(t *testing.T) {
	w, ada := newcomer(t)
	var inv remit.Invitation
	ada.must("POST", orgPath+"/invitations", remit.PersonName{Person: "eve"}, &inv)
	if inv.Link != w.URL+"/console/invitation#"+inv.Secret || !inv.NotAfter.Equal(w.Clock.Now().Add(authority.InviteLife)) {
		t.Fatalf("%+v", inv)
	}
	eve := newTab(t, w)
	key, answer := eve.enrol(inv.Secret, "my phone")
	if answer.Decision.Verdict != remit.Hold || answer.Decision.Access == "" {
		t.Fatalf("%+v", answer)
	}
	if status, body := eve.passkeyIn(key); status != http.StatusUnauthorized {
		t.Fatalf("a key that does not count yet: %d %s", status, body)
	}
	eve.refuses(remit.Forbidden, "POST", orgPath+"/invitations/open", remit.Invited{Secret: inv.Secret}) // one use
	card, err := w.SignIn("ben").Access(t.Context(), answer.Decision.Access)
	if err != nil {
		t.Fatal(err)
	}
	w.Cast("ben", card, true)
	w.Clock.Advance(authority.KeyDelay + time.Second)
	if status, body := eve.passkeyIn(key); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	var s remit.Session
	eve.must("GET", orgPath+"/session", nil, &s)
	if s.Name != "eve" || s.Method != "passkey" || !s.Touch || s.CSRF != eve.csrf || s.Key == nil || *s.Key != answer.Key || s.AuthTime == nil {
		t.Fatalf("%+v", s)
	}
	var keys []remit.KeyView
	eve.must("GET", orgPath+"/keys", nil, &keys)
	if len(keys) != 1 || keys[0].Label != "my phone" || keys[0].Passkey != "localhost" || keys[0].Declared || !keys[0].Counts || keys[0].InvitedBy != "ada" {
		t.Fatalf("%+v", keys)
	}
	// A further one, confirmed with the first.
	second := newPasskey(w, s.Person)
	var o remit.EnrolOptions
	eve.must("POST", orgPath+"/keys/options", struct{}{}, &o)
	if !strings.Contains(string(o.Creation), base64.RawURLEncoding.EncodeToString(key.cred.ID)) {
		t.Fatal("the authenticator that has a key already is not told so")
	}
	var st remit.EnrolStatement
	eve.must("POST", orgPath+"/keys/statement", remit.NewKey{Registration: second.create(t, o.Creation)}, &st)
	proof, confirm := second.get(t, st.Passkey), key.get(t, st.Confirm)
	eve.refuses(remit.BadVote, "POST", orgPath+"/keys", remit.EnrolKey{Key: st.Key, Credential: &proof})
	eve.refuses(remit.BadVote, "POST", orgPath+"/keys", remit.EnrolKey{Key: st.Key, Credential: &confirm, Confirm: &confirm})
	eve.must("POST", orgPath+"/keys", remit.EnrolKey{Key: st.Key, Credential: &proof, Confirm: &confirm}, &answer)
	if answer.Decision.Verdict != remit.Allow {
		t.Fatalf("%+v", answer)
	}
	other := newTab(t, w)
	if status, body := other.passkeyIn(second); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	// A key that is taken away takes its sessions with it.
	other.must("POST", orgPath+"/keys/remove", remit.KeyName{Key: *s.Key}, nil)
	eve.refuses(remit.Unauthenticated, "GET", orgPath+"/session", nil)
	other.must("GET", orgPath+"/session", nil, &s)
	var n remit.OrgInfo
	if other.must("GET", orgPath, nil, &n); n.RPID != "localhost" {
		t.Fatalf("%+v", n)
	}
}

// What is wrong with a passkey's sign-in has one sentence, whatever is wrong.
func TestPasskeySignInRefuses(t *testing.T) {
	w, ada := newcomer(t)
	var inv remit.Invitation
	ada.must("POST", orgPath+"/invitations", remit.PersonName{Person: "eve"}, &inv)
	b := newTab(t, w)
	key, answer := b.enrol(inv.Secret, "")
	card, err := w.SignIn("ben").Access(t.Context(), answer.Decision.Access)
	if err != nil {
		t.Fatal(err)
	}
	w.Cast("ben", card, true)
	w.Clock.Advance(authority.KeyDelay + time.Second)
	eve := remit.ID(key.auth.Options.UserHandle)
	for name, change := range map[string]func(p *passkey, in *remit.PasskeySignIn, ask *remit.PasskeyAsk){
		"another passkey":             func(p *passkey, _ *remit.PasskeySignIn, _ *remit.PasskeyAsk) { *p = *newPasskey(w, eve) },
		"no user verification":        func(p *passkey, _ *remit.PasskeySignIn, _ *remit.PasskeyAsk) { p.auth.Options.UserNotVerified = true },
		"no user presence":            func(p *passkey, _ *remit.PasskeySignIn, _ *remit.PasskeyAsk) { p.auth.Options.UserNotPresent = true },
		"another origin of this host": func(p *passkey, _ *remit.PasskeySignIn, _ *remit.PasskeyAsk) { p.rp.Origin = "https://localhost:3000" },
		"another site": func(p *passkey, _ *remit.PasskeySignIn, _ *remit.PasskeyAsk) {
			p.rp.ID, p.rp.Origin = "evil.example", "https://evil.example"
		},
		"another challenge": func(_ *passkey, _ *remit.PasskeySignIn, a *remit.PasskeyAsk) {
			a.Challenge = base64.RawURLEncoding.EncodeToString(sshsig.Challenge(identity.SignInNamespace, []byte("x")))
		},
		"a vote as a sign-in": func(_ *passkey, in *remit.PasskeySignIn, a *remit.PasskeyAsk) {
			a.Challenge = base64.RawURLEncoding.EncodeToString(sshsig.Challenge(remit.VoteNamespace, in.Text))
		},
		"another person": func(p *passkey, _ *remit.PasskeySignIn, _ *remit.PasskeyAsk) {
			p.auth.Options.UserHandle = []byte("p-000000000000")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTab(t, w)
			var ch remit.Challenge
			b.must("POST", orgPath+"/sign-in/challenge", remit.ChallengeRequest{}, &ch)
			p, in := *key, remit.PasskeySignIn{Text: ch.Text}
			change(&p, &in, ch.Passkey)
			in.Credential = p.get(t, ch.Passkey)
			b.refuses(remit.Unauthenticated, "POST", orgPath+"/sign-in/passkey", in)
			b.refuses(remit.Unauthenticated, "GET", orgPath+"/session", nil)
		})
	}
	var ch remit.Challenge
	b.must("POST", orgPath+"/sign-in/challenge", remit.ChallengeRequest{}, &ch)
	in := remit.PasskeySignIn{Text: ch.Text, Credential: key.get(t, ch.Passkey)}
	b.must("POST", orgPath+"/sign-in/passkey", in, nil)
	b.refuses(remit.Unauthenticated, "POST", orgPath+"/sign-in/passkey", in) // once
}

// An SSH key can be enrolled by invitation as well; whoever merely saw a public key cannot enrol it.
func TestAnSSHKeyByInvitation(t *testing.T) {
	w, ada := newcomer(t)
	var inv remit.Invitation
	ada.must("POST", orgPath+"/invitations", remit.PersonName{Person: "eve"}, &inv)
	b := newTab(t, w)
	key := w.Key("eve's first")
	var st remit.EnrolStatement
	b.must("POST", orgPath+"/invitations/statement", remit.NewKey{Secret: inv.Secret, Key: key.PublicKey().Marshal()}, &st)
	if st.Passkey != nil || len(st.ConfirmText) > 0 {
		t.Fatalf("%+v", st)
	}
	proof := func(k ssh.Signer) []byte {
		sig, err := sshsig.Sign(k, authority.ConfirmNamespace, st.Text)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	b.refuses(remit.BadVote, "POST", orgPath+"/invitations/enrol", remit.EnrolKey{Secret: inv.Secret, Key: st.Key, Proof: proof(w.Key("ada"))})
	b.refuses(remit.Conflict, "POST", orgPath+"/invitations/enrol", remit.EnrolKey{Secret: inv.Secret, Key: w.Key("ada").PublicKey().Marshal(), Proof: proof(w.Key("ada"))})
	b.refuses(remit.BadRequest, "POST", orgPath+"/invitations/enrol", remit.EnrolKey{Secret: inv.Secret, Key: st.Key, Proof: proof(key), Label: strings.Repeat("x", 65)})
	for _, secret := range []string{"", "x", strings.TrimPrefix(inv.Secret, "remiti_"), inv.Secret + "A", "remiti_" + strings.Repeat("A", 43)} {
		b.refuses(remit.Forbidden, "POST", orgPath+"/invitations/enrol", remit.EnrolKey{Secret: secret, Key: st.Key, Proof: proof(key)})
	}
	var answer remit.EnrolAnswer
	b.must("POST", orgPath+"/invitations/enrol", remit.EnrolKey{Secret: inv.Secret, Key: st.Key, Proof: proof(key)}, &answer)
	// A signed-in person shows an invitation that is another's: it is still for whom it was made.
	ada.refuses(remit.Forbidden, "POST", orgPath+"/keys", remit.EnrolKey{Secret: inv.Secret, Key: st.Key, Proof: proof(key)})
}

// What changes who may do what wants a person who is there now.
func TestOldProofsDoNotChangeWhoMayDoWhat(t *testing.T) {
	w, ada := newcomer(t)
	w.Clock.Advance(identity.FreshFor)
	ada.must("GET", orgPath+"/session", nil, nil)
	for path, in := range map[string]any{"/invitations": remit.PersonName{Person: "eve"}, "/keys/options": struct{}{}, "/keys/statement": remit.NewKey{}, "/keys": remit.EnrolKey{}, "/device/BBBB-BBBB/confirm": struct{}{}} {
		status, head, body := ada.send("POST", orgPath+path, in)
		if status != http.StatusUnauthorized || !strings.Contains(strings.Join(head.Values("WWW-Authenticate"), "\n"), `error="insufficient_user_authentication"`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	ada.signIn("ada")
	var inv remit.Invitation
	ada.must("POST", orgPath+"/invitations", remit.PersonName{Person: "eve"}, &inv)
	ada.must("POST", orgPath+"/invitations/withdraw", remit.PersonName{Person: "eve"}, nil)
	newTab(t, w).refuses(remit.Forbidden, "POST", orgPath+"/invitations/open", remit.Invited{Secret: inv.Secret})
}

// The cookie of a person opens nothing to a page of another origin, to an instance, or as a bearer's token.
func TestACookieIsForItsPagesOnly(t *testing.T) {
	w, ada := newcomer(t)
	at, _ := url.Parse(w.URL)
	cookie := ada.http.Jar.Cookies(at)[0]
	end := func(change func(*http.Request)) {
		t.Helper()
		ada.refuses(remit.Forbidden, "POST", orgPath+"/agents/coder/suspend", struct{}{}, change)
	}
	end(func(r *http.Request) { r.Header.Del(identity.CSRFHeader) })
	end(func(r *http.Request) {
		r.Header.Set("Origin", "https://localhost:3000")
		r.Header.Set("Sec-Fetch-Site", "same-site")
	})
	end(func(r *http.Request) { r.Header.Del("Origin"); r.Header.Del("Sec-Fetch-Site") })
	inst := w.Instance("cleo", w.Task("cleo").ID)
	end(func(r *http.Request) { r.Header.Set("Authorization", instanceAuth(inst)) })
	ada.refuses(remit.Unauthenticated, "POST", orgPath+"/agents/coder/suspend", struct{}{}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+cookie.Value) })
	ada.must("POST", orgPath+"/agents/coder/suspend", struct{}{}, nil)
	ada.must("POST", orgPath+"/session/end", struct{}{}, nil)
	if left := ada.http.Jar.Cookies(at); len(left) != 0 {
		t.Fatalf("the browser keeps %v", left)
	}
	// No page of another origin signs a browser in as somebody else.
	for _, path := range []string{"/sign-in/session", "/sign-in/passkey"} {
		other := map[string]any{"/sign-in/session": remit.SignIn{Browser: true}, "/sign-in/passkey": remit.PasskeySignIn{}}[path]
		ada.refuses(remit.Forbidden, "POST", orgPath+path, other, func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		})
		ada.refuses(remit.Forbidden, "POST", orgPath+path, other, func(r *http.Request) { r.Header.Del("Origin"); r.Header.Del("Sec-Fetch-Site") })
	}
	other := newTab(t, w)
	other.http.Jar.SetCookies(at, []*http.Cookie{cookie})
	other.refuses(remit.Unauthenticated, "GET", orgPath+"/session", nil)
}
