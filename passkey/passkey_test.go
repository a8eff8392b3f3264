package passkey

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"golang.org/x/crypto/ssh"

	keys "github.com/remit-dev/remit/internal/authenticator"
	"github.com/remit-dev/remit/sshsig"
)

const space = "vote@remit"

var (
	text      = []byte("remit vote v1\norigin: test\n")
	challenge = bytes.Repeat([]byte{7}, 32)
	mia       = User{Handle: []byte("p-0123456789abcdef"), Name: "mia"}
)

func site(t testing.TB) Site {
	t.Helper()
	s, err := NewSite("https://remit.example:8443", "Remit")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// authenticator is a software authenticator of another project, with one credential, before a browser at an origin.
type authenticator struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
}

func newAuthenticator(s Site) *authenticator {
	return &authenticator{virtualwebauthn.RelyingParty{Name: s.Name, ID: s.ID, Origin: s.Origin}, virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: mia.Handle}),
		keys.ES256()}
}

func (a *authenticator) create(t testing.TB, s Site) []byte {
	t.Helper()
	options, err := s.Creation(challenge, mia, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAttestationResponse(a.rp, a.auth, a.cred, *o))
}

func (a *authenticator) get(t testing.TB, s Site, namespace string, message []byte) []byte {
	t.Helper()
	options, err := s.Request(sshsig.Challenge(namespace, message), [][]byte{a.cred.ID})
	if err != nil {
		t.Fatal(err)
	}
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAssertionResponse(a.rp, a.auth, a.cred, *o))
}

func TestAPasskeyIsRegisteredAndSigns(t *testing.T) {
	s := site(t)
	a := newAuthenticator(s)
	made, err := s.Register(challenge, a.create(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if rpID, ok := sshsig.Passkey(made.Key); !ok || rpID != "remit.example" || !bytes.Equal(made.ID, a.cred.ID) || made.BackedUp {
		t.Fatalf("%+v", made)
	}
	body := a.get(t, s, space, text)
	said, err := s.Assertion(body)
	if err != nil || !bytes.Equal(said.Credential, made.ID) || !bytes.Equal(said.User, mia.Handle) {
		t.Fatalf("%+v, %v", said, err)
	}
	armored, err := s.Sign(made.Key, space, text, body)
	if err != nil {
		t.Fatal(err)
	}
	if touch, err := sshsig.Verify(made.Key, space, text, armored); err != nil || !touch {
		t.Fatalf("touch %v, %v", touch, err)
	}
	again, err := sshsig.FromAssertion(made.Key, space, text, said.Assertion)
	if err != nil || !bytes.Equal(again, armored) {
		t.Fatalf("the same assertion makes another signature: %v", err)
	}
	if o, err := sshsig.Origin(armored); err != nil || o != s.Origin {
		t.Fatalf("%q, %v", o, err)
	}
	opensshAccepts(t, made.Key, armored)
}

func opensshAccepts(t *testing.T, pub ssh.PublicKey, armored []byte) {
	t.Helper()
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Log("ssh-keygen is not installed, so OpenSSH was not asked")
		return
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"allowed": append([]byte("mia "), ssh.MarshalAuthorizedKey(pub)...), "sig": armored} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(bin, "-Y", "verify", "-f", filepath.Join(dir, "allowed"), "-I", "mia", "-n", space, "-s", filepath.Join(dir, "sig"))
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen refuses it: %s", out)
	}
}

// edit changes members of a credential's JSON, by path such as response.clientDataJSON.
func edit(t testing.TB, body []byte, path string, value any) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	at, names := m, strings.Split(path, ".")
	for _, n := range names[:len(names)-1] {
		at = at[n].(map[string]any)
	}
	at[names[len(names)-1]] = value
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRegisterRefuses(t *testing.T) {
	s := site(t)
	for name, c := range map[string]struct {
		bend func(*authenticator)
		body func([]byte) []byte
		with []byte
	}{
		"another challenge":                    {with: bytes.Repeat([]byte{8}, 32)},
		"no challenge":                         {with: []byte{}},
		"another origin":                       {bend: func(a *authenticator) { a.rp.Origin = "https://remit.example" }},
		"another site":                         {bend: func(a *authenticator) { a.rp.ID = "other.example" }},
		"a user that was not verified":         {bend: func(a *authenticator) { a.auth.Options.UserNotVerified = true }},
		"a user that was not there":            {bend: func(a *authenticator) { a.auth.Options.UserNotPresent = true }},
		"a backup of what cannot be backed up": {bend: func(a *authenticator) { a.auth.Options.BackupState = true }},
		"an RSA key":                           {bend: func(a *authenticator) { a.cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA) }},
		"an id that is another":                {body: func(b []byte) []byte { return edit(t, edit(t, b, "id", "AAAA"), "rawId", "AAAA") }},
		"an id that is too long":               {bend: func(a *authenticator) { a.cred.ID = make([]byte, MaxCredential+1) }},
		"another type of credential":           {body: func(b []byte) []byte { return edit(t, b, "type", "password") }},
		"an attestation that is none":          {body: func(b []byte) []byte { return edit(t, b, "response.attestationObject", "oA") }},
		"no client data":                       {body: func(b []byte) []byte { return edit(t, b, "response.clientDataJSON", "") }},
		"bytes after the JSON":                 {body: func(b []byte) []byte { return append(b, "{}"...) }},
		"nothing":                              {body: func([]byte) []byte { return nil }},
		"more than a browser sends":            {body: func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), MaxBody)...) }},
	} {
		t.Run(name, func(t *testing.T) {
			a, with := newAuthenticator(s), challenge
			if c.bend != nil {
				c.bend(a)
			}
			body := a.create(t, s)
			if c.body != nil {
				body = c.body(body)
			}
			if c.with != nil {
				with = c.with
			}
			if made, err := s.Register(with, body); err == nil {
				t.Fatalf("it is accepted: %+v", made)
			} else {
				t.Log(err)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	s := site(t)
	a := newAuthenticator(s)
	made, err := s.Register(challenge, a.create(t, s))
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Register(challenge, newAuthenticator(s).create(t, s))
	if err != nil {
		t.Fatal(err)
	}
	good := a.get(t, s, space, text)
	bent := func(bend func(*authenticator)) []byte {
		b := *a
		bend(&b)
		return b.get(t, s, space, text)
	}
	for name, c := range map[string]struct {
		key   ssh.PublicKey
		space string
		text  []byte
		body  []byte
	}{
		"another text":                 {made.Key, space, []byte("another"), good},
		"another namespace":            {made.Key, "signin@remit", text, good},
		"another passkey":              {other.Key, space, text, good},
		"another origin of the domain": {made.Key, space, text, bent(func(a *authenticator) { a.rp.Origin = "https://a.remit.example" })},
		"another site":                 {made.Key, space, text, bent(func(a *authenticator) { a.rp.ID = "other.example" })},
		"a user that was not verified": {made.Key, space, text, bent(func(a *authenticator) { a.auth.Options.UserNotVerified = true })},
		"a signature that is cut":      {made.Key, space, text, edit(t, good, "response.signature", "MEUC")},
		"no JSON":                      {made.Key, space, text, []byte("x")},
		"more than a browser sends":    {made.Key, space, text, append(bytes.Clone(good), bytes.Repeat([]byte(" "), MaxBody)...)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Sign(c.key, c.space, c.text, c.body); err == nil {
				t.Fatal("it is accepted")
			} else {
				t.Log(err)
			}
		})
	}
	elsewhere := s
	elsewhere.ID = "other.example"
	if _, err := elsewhere.Sign(made.Key, space, text, good); err == nil || !strings.Contains(err.Error(), "no passkey of other.example") {
		t.Fatal(err)
	}
}

func TestSites(t *testing.T) {
	for origin, id := range map[string]string{"https://remit.example": "remit.example", "https://a.remit.example:8443": "a.remit.example", "http://localhost:8080": "localhost", "https://localhost": "localhost",
		"http://remit.example": "", "https://127.0.0.1:8443": "", "https://[::1]:8443": "", "https://Remit.example": "", "https://remit.example/": "", "https://remit.example:443": "", "https://u@remit.example": "",
		"": "", "remit.example": "", "https://remit": "", "https://remit.example?x": "", "http://%zz": ""} {
		s, err := NewSite(origin, "")
		if (err == nil) != (id != "") || s.ID != id {
			t.Errorf("%q: %+v, %v", origin, s, err)
		}
	}
	s := site(t)
	for _, u := range []User{{}, {Handle: []byte("p")}, {Name: "mia"}, {Handle: make([]byte, MaxHandle+1), Name: "mia"}} {
		if _, err := s.Creation(challenge, u, nil); err == nil {
			t.Errorf("a passkey for %+v", u)
		}
	}
	options, err := s.Creation(challenge, mia, [][]byte{[]byte("had")})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"rp":{"name":"Remit","id":"remit.example"}`, `"id":"cC0wMTIzNDU2Nzg5YWJjZGVm"`, `"alg":-7`, `"userVerification":"required"`, `"residentKey":"required"`, `"attestation":"none"`, `"excludeCredentials":[{"type":"public-key","id":"aGFk"}]`} {
		if !strings.Contains(string(options), want) {
			t.Errorf("%s lacks %s", options, want)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	s := site(f)
	a := newAuthenticator(s)
	created := a.create(f, s)
	made, err := s.Register(challenge, created)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(created)
	f.Add(a.get(f, s, space, text))
	f.Add(a.get(f, s, space, []byte("another")))
	other := bytes.Repeat([]byte{9}, 32)
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := s.Register(other, body); err == nil {
			t.Fatal("a passkey is registered that was never asked for")
		}
		if armored, err := s.Sign(made.Key, space, text, body); err == nil {
			if _, err := sshsig.Verify(made.Key, space, text, armored); err != nil {
				t.Fatal(err)
			}
		}
	})
}
