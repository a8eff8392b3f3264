package console_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/browser"
	"github.com/remit-dev/remit/sshsig"
)

// api is a request of a person's browser to the API.
func (h *house) api(name, path string, in, out any) {
	h.T.Helper()
	cookie, csrf := h.cookie(name)
	b, err := json.Marshal(in)
	if err != nil {
		h.T.Fatal(err)
	}
	resp, body := h.do("POST", "/v1/orgs/acme"+path, string(b), "Content-Type", "application/json", "Cookie", "__Host-remit="+cookie, "X-Remit-CSRF", csrf)
	if resp.StatusCode != http.StatusOK {
		h.T.Fatalf("%s: %d %s", path, resp.StatusCode, body)
	}
	if err := json.Unmarshal([]byte(body), out); err != nil {
		h.T.Fatal(err)
	}
}

func TestAnInvitationBecomesAPasskeyThatSignsIn(t *testing.T) {
	h := newHouse(t, remit.Team)
	d, err := h.SignIn("ada").Declarations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.People = append(d.People, remit.Person{Name: "fay"})
	h.Declare(d)
	var in remit.Invitation
	h.api("ada", "/invitations", remit.PersonName{Person: "fay"}, &in)
	b := chromium.New(t)
	p := b.Open(browser.Phone)
	p.Authenticator()
	p.Go(in.Link)
	p.See("This is for fay.")
	p.Shot("invitation-phone", true)
	for _, f := range p.Axe() {
		t.Error(f)
	}
	p.Type("#label", "fay's phone")
	p.Click("#enrol")
	p.See("Made. Now it says that it is yours.")
	p.Click("#enrol")
	p.Until(`!document.getElementById("enrol")`)
	p.Shot("invited-phone", true)
	if strings.Contains(p.Address(), in.Secret) {
		t.Error("the secret stays in the address")
	}
	// The invitation is good once.
	q := b.Open(browser.Phone)
	q.Authenticator()
	q.Go(in.Link)
	q.See("there is no such invitation")
	for _, x := range p.Wrong() {
		t.Error(x)
	}
	t.Log(p.Text())
}

func TestAFurtherPasskeyIsConfirmedWithAnOlder(t *testing.T) {
	h := newHouse(t, remit.Team)
	p := chromium.New(t).Open(browser.Desktop)
	old := h.device(p, "ben")
	p.Go(h.URL + "/console/keys")
	p.Click("#passkey")
	p.See("Your keys")
	p.Shot("keys-desktop", true)
	for _, f := range p.Axe() {
		t.Error(f)
	}
	fresh := p.Authenticator() // one device keeps one passkey of a person, so the further one is made on another
	old.Absent(true)
	p.Type("#label", "the laptop")
	p.Click("#enrol")
	p.See("Made. Now it says that it is yours.")
	p.Click("#enrol")
	p.See("Now an older passkey of yours confirms it.")
	fresh.Absent(true)
	old.Absent(false)
	p.Click("#enrol")
	p.Until(`!document.getElementById("enrol")`)
	p.Go(h.URL + "/console/keys")
	p.See("the laptop")
	p.Shot("keys-two-desktop", true)
	for _, x := range p.Wrong() {
		t.Error(x)
	}
}

// Who has an SSH key only makes a passkey in the browser, and confirms it where the key is.
func TestAPasskeyIsConfirmedWithAnSSHKey(t *testing.T) {
	h := newHouse(t, remit.Team)
	p := chromium.New(t).Open(browser.Phone)
	p.Authenticator()
	h.enter(p, "ada")
	p.Go(h.URL + "/console/keys")
	p.Type("#label", "ada's phone")
	p.Click("#enrol")
	p.See("Made. Now it says that it is yours.")
	p.Click("#enrol")
	p.See("It counts once an SSH key of yours has confirmed it.")
	p.Shot("key-by-terminal-phone", true)
	for _, f := range p.Axe() {
		t.Error(f)
	}
	text, ok := strings.CutPrefix(browser.Eval[string](p, `document.getElementById("command").value`), "remit key add --passkey ")
	b, err := base64.RawURLEncoding.DecodeString(text)
	var k remit.EnrolKey
	if !ok || err != nil || json.Unmarshal(b, &k) != nil {
		t.Fatalf("%v %s", err, text)
	}
	c := h.SignIn("ada")
	if _, err := c.EnrolKey(t.Context(), k); err == nil || !strings.Contains(err.Error(), "older key of yours") {
		t.Fatalf("without the SSH key: %v", err)
	}
	st, err := c.EnrolStatement(t.Context(), remit.NewKey{Key: k.Key})
	if err != nil {
		t.Fatal(err)
	}
	if k.Confirmation, err = sshsig.Sign(h.Key("ada"), authority.ConfirmNamespace, st.ConfirmText); err != nil {
		t.Fatal(err)
	}
	if a, err := c.EnrolKey(t.Context(), k); err != nil || a.Decision.Verdict != remit.Allow {
		t.Fatalf("%v %+v", err, a)
	}
	p.Go(h.URL + "/console/keys")
	p.See("ada's phone")
	for _, x := range p.Wrong() {
		t.Error(x)
	}
}

func TestATerminalIsLetIn(t *testing.T) {
	h := newHouse(t, remit.Team)
	resp, body := h.do("POST", "/v1/orgs/acme/oauth/device", "client_id=remit-cli&device_name="+"ben%27s+laptop")
	var asked struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		Complete   string `json:"verification_uri_complete"`
	}
	if err := json.Unmarshal([]byte(body), &asked); err != nil || asked.Complete == "" {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	p := chromium.New(t).Open(browser.Phone)
	h.device(p, "ben")
	h.enter(p, "ben")
	p.Go(h.URL + "/console/device")
	p.Type("#code", strings.ToLower(asked.UserCode))
	p.Click("form[method=get] button")
	p.See("wants to act as ben")
	p.Shot("device-phone", true)
	for _, f := range p.Axe() {
		t.Error(f)
	}
	// Who signed in a while ago proves once more that they are there.
	h.Clock.Advance(11 * time.Minute)
	resp, body = h.do("POST", "/v1/orgs/acme/oauth/device", "client_id=remit-cli&device_name="+"ben%27s+laptop")
	if err := json.Unmarshal([]byte(body), &asked); err != nil {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	p.Go(asked.Complete)
	p.Click(`button[value="confirm"]`)
	p.See("Prove once more who you are")
	p.Click("#passkey")
	p.See("wants to act as ben")
	p.Click(`button[value="confirm"]`)
	p.See("The terminal is let in.")
	resp, body = h.do("POST", "/v1/orgs/acme/oauth/token", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=remit-cli&device_code="+asked.DeviceCode)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "access_token") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for _, x := range p.Wrong() {
		t.Error(x)
	}
}
