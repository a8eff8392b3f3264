package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/authenticator"
	org "github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/passkey"
	"github.com/remit-dev/remit/sshsig"
)

// TestAPasskeyIsConfirmedByAnSSHKey: what the page "Your keys" makes, the command that it shows enrols, for whoever has the SSH
// key and signed in with it, and nobody else.
func TestAPasskeyIsConfirmedByAnSSHKey(t *testing.T) {
	w := org.New(t, org.Options{Host: "localhost", Profile: remit.Demo})
	w.Declare(w.Team())
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("ca.crt"), w.CA.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	as := func(name string) map[string]string {
		seed := remit.Hash([]byte("key of " + name)) // as the world makes it
		block, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(seed[:]), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(name+".pub"), ssh.MarshalAuthorizedKey(w.Key(name).PublicKey()), 0o600); err != nil {
			t.Fatal(err)
		}
		return map[string]string{"REMIT_SERVER": w.URL, "REMIT_ORG": "acme", "REMIT_CA": path("ca.crt"), "REMIT_KEY": path(name), "HOME": dir}
	}
	c := w.SignIn("cleo")
	device := authenticator.ES256()
	rp := virtualwebauthn.RelyingParty{Name: "Remit acme", ID: "localhost", Origin: w.URL}
	who, err := c.WhoAmI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	auth := virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(who.Person)})
	site, err := passkey.NewSite(w.URL, "Remit acme")
	if err != nil {
		t.Fatal(err)
	}
	challenge := make([]byte, 32)
	o, err := virtualwebauthn.ParseAttestationOptions(string(sure(t)(site.Creation(challenge, passkey.User{Handle: []byte(who.Person), Name: "cleo"}, nil))))
	if err != nil {
		t.Fatal(err)
	}
	made, err := site.Register(challenge, []byte(virtualwebauthn.CreateAttestationResponse(rp, auth, device, *o)))
	if err != nil {
		t.Fatal(err)
	}
	st, err := c.EnrolStatement(t.Context(), remit.NewKey{Key: made.Key.Marshal()})
	if err != nil {
		t.Fatal(err)
	}
	ask, err := virtualwebauthn.ParseAssertionOptions(string(sure(t)(site.Request(sshsig.Challenge(authority.ConfirmNamespace, st.Text), [][]byte{device.ID}))))
	if err != nil {
		t.Fatal(err)
	}
	var signed1 struct {
		Response struct {
			Client        string `json:"clientDataJSON"`
			Authenticator string `json:"authenticatorData"`
			Signature     string `json:"signature"`
		} `json:"response"`
	}
	if err := json.Unmarshal([]byte(virtualwebauthn.CreateAssertionResponse(rp, auth, device, *ask)), &signed1); err != nil {
		t.Fatal(err)
	}
	k := remit.EnrolKey{Key: made.Key.Marshal(), Label: "my phone", Credential: &remit.Assertion{ID: base64.RawURLEncoding.EncodeToString(device.ID),
		ClientData: signed1.Response.Client, Authenticator: signed1.Response.Authenticator, Signature: signed1.Response.Signature}}
	text := func(k remit.EnrolKey) string {
		b, err := json.Marshal(k)
		return base64.RawURLEncoding.EncodeToString(sure(t)(b, err))
	}
	forged := k
	forged.Credential = &remit.Assertion{ID: k.Credential.ID, ClientData: k.Credential.ClientData, Authenticator: k.Credential.Authenticator, Signature: base64.RawURLEncoding.EncodeToString([]byte("no"))}
	for _, bad := range []struct {
		who, text, words string
		more             []string
	}{
		{"cleo", "%", "copy the whole command", nil},
		{"cleo", text(k)[:100], "copy the whole command", nil},
		{"cleo", text(remit.EnrolKey{Key: k.Key}), "no passkey is in it", nil},
		{"cleo", text(remit.EnrolKey{Credential: k.Credential}), "cannot be read", nil},
		{"cleo", text(forged), "did not sign", nil},
		{"ben", text(k), "did not sign", nil}, // it says that it is cleo's
		{"cleo", text(k), "--passkey alone", []string{path("cleo")}},
		{"cleo", text(k), "--passkey alone", []string{"--label", "x"}},
	} {
		code, out, words := said(t, as(bad.who), append([]string{"key", "add", "--passkey", bad.text}, bad.more...)...)
		if code == 0 || !strings.Contains(words, bad.words) {
			t.Errorf("%s, %.40s: %d %s%s; want %q", bad.who, bad.text, code, out, words, bad.words)
		}
	}
	if code, out, words := said(t, as("cleo"), "key", "add", "--passkey", text(k)); code != 0 || !strings.Contains(out, "my phone (SHA256:") {
		t.Fatalf("%d %s%s", code, out, words)
	}
	if _, out, words := said(t, as("cleo"), "key", "list"); !strings.Contains(out, `passkey of localhost, "my phone", enrolled, counts`) {
		t.Fatal(out, words)
	}
}
