package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/authenticator"
	org "github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/passkey"
	"github.com/remit-dev/remit/sshsig"
)

// sure is what cannot fail here.
func sure(t *testing.T) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// TestAVoteFromTheLogIsVerifiedByOthers: votes by a passkey and by an SSH key are taken out of a bundle. OpenSSL, which knows
// nothing of SSH or of Remit, verifies the passkey's signature of authenticatorData and SHA-256(clientDataJSON), whose
// challenge is that of the statement; ssh-keygen verifies both. With any byte changed each of them refuses.
func TestAVoteFromTheLogIsVerifiedByOthers(t *testing.T) {
	for _, bin := range []string{"openssl", "ssh-keygen"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Skip(bin + " is not installed")
		}
	}
	w := org.New(t, org.Options{Host: "localhost", Profile: remit.Demo})
	site, err := passkey.NewSite(w.URL, "Remit acme")
	if err != nil {
		t.Fatal(err)
	}
	ben := authenticator.ES256()
	rp := virtualwebauthn.RelyingParty{Name: "Remit acme", ID: "localhost", Origin: w.URL}
	auth := virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte("p-0123456789ab")})
	challenge := bytes.Repeat([]byte{7}, 32)
	creation, err := site.Creation(challenge, passkey.User{Handle: []byte("p-0123456789ab"), Name: "ben"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := virtualwebauthn.ParseAttestationOptions(string(creation))
	if err != nil {
		t.Fatal(err)
	}
	made, err := site.Register(challenge, []byte(virtualwebauthn.CreateAttestationResponse(rp, auth, ben, *o)))
	if err != nil {
		t.Fatal(err)
	}
	team := w.Team()
	team.People[1].Keys = append(team.People[1].Keys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(made.Key))))
	team.Repositories[0].Approvers[0].N = 2
	team.People = append(team.People, w.Person("dan"))
	team.Groups[2].Members = append(team.Groups[2].Members, "dan")
	team.Agents[0].Requesters = []string{"developers"}
	w.Declare(team)
	held := w.Push(w.Instance("cleo", w.Task("cleo").ID), remit.Shown{}, ".envrc")
	v, err := w.SignIn("ben").Access(t.Context(), held.Access)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := w.Statement("ben", v, true)
	ask, err := virtualwebauthn.ParseAssertionOptions(string(sure(t)(site.Request(sshsig.Challenge(remit.VoteNamespace, text), [][]byte{ben.ID}))))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := site.Sign(made.Key, remit.VoteNamespace, text, []byte(virtualwebauthn.CreateAssertionResponse(rp, auth, ben, *ask)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.SignIn("ben").Vote(t.Context(), held.Access, remit.VoteRequest{Statement: text, Signature: sig}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Vote("dan", v, true); err != nil {
		t.Fatal(err)
	}

	// The log, exported.
	head, err := w.SignIn("ada").LogHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	policies := map[remit.Digest][]byte{}
	for e, err := range w.Store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := l.Event.(*remit.PolicyInstalled); ok {
			files, err := w.Bundles.Files(t.Context(), p.Bundle)
			if err != nil {
				t.Fatal(err)
			}
			policies[p.Bundle] = sure(t)(json.Marshal(files)) // as that world's policies are digested
		}
		if e.Index+1 == remit.EntryIndex(head.Size) {
			break
		}
	}
	dir := t.TempDir()
	var bundle bytes.Buffer
	if err := ledger.WriteBundle(t.Context(), &bundle, ledger.BundleSource{Store: w.Store, Blobs: w.Blobs, Org: org.Org, Verifier: head.Verifier, Checkpoint: []byte(head.Checkpoint), Policies: policies}); err != nil {
		t.Fatal(err)
	}
	trust, err := ledger.ParseTrust([]byte(head.Trust))
	if err != nil {
		t.Fatal(err)
	}
	votes, err := takeVotes(t.Context(), bytes.NewReader(bundle.Bytes()), trust, dir)
	if err != nil || len(votes) != 2 {
		t.Fatalf("%+v %v", votes, err)
	}
	at := func(v takenVote, end string) string {
		return filepath.Join(dir, strings.TrimSuffix(v.Statement, ".txt")+end)
	}
	openssl := func() ([]byte, error) {
		return exec.Command("openssl", "dgst", "-sha256", "-verify", at(votes[0], ".pem"), "-signature", at(votes[0], ".der"), at(votes[0], ".signed")).CombinedOutput()
	}
	keygen := func(v takenVote) func() ([]byte, error) {
		return func() ([]byte, error) {
			cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", filepath.Join(dir, "allowed_signers"), "-I", string(v.Person), "-n", remit.VoteNamespace, "-s", at(v, ".sig"))
			cmd.Stdin = bytes.NewReader(sure(t)(os.ReadFile(at(v, ".txt"))))
			return cmd.CombinedOutput()
		}
	}
	for what, c := range map[string]struct {
		verify func() ([]byte, error)
		files  []string
	}{
		"openssl of the passkey":       {openssl, []string{at(votes[0], ".signed"), at(votes[0], ".der"), at(votes[0], ".pem")}},
		"ssh-keygen of the passkey":    {keygen(votes[0]), []string{at(votes[0], ".txt"), at(votes[0], ".sig")}},
		"ssh-keygen of the plain key":  {keygen(votes[1]), []string{at(votes[1], ".txt"), at(votes[1], ".sig")}},
		"ssh-keygen, by their own key": {keygen(votes[1]), []string{filepath.Join(dir, "allowed_signers")}},
	} {
		if out, err := c.verify(); err != nil {
			t.Errorf("%s: %s", what, out)
		}
		for _, file := range c.files {
			whole := sure(t)(os.ReadFile(file))
			changed := slices.Clone(whole)
			i := len(changed) / 2
			if strings.HasSuffix(file, "allowed_signers") {
				changed = bytes.ReplaceAll(changed, []byte(votes[1].Person), []byte("p-000000000000"))
			} else if changed[i] ^= 1; changed[i] == '\n' || whole[i] == '\n' {
				changed[i], changed[i-1] = whole[i], whole[i-1]^1
			}
			if err := os.WriteFile(file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := c.verify(); err == nil {
				t.Errorf("%s with %s changed: %s", what, filepath.Base(file), out)
			}
			if err := os.WriteFile(file, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What the passkey signed is this statement and no other: the challenge is computed from it.
	var client struct{ Challenge, Origin string }
	if err := json.Unmarshal(sure(t)(os.ReadFile(at(votes[0], ".client.json"))), &client); err != nil {
		t.Fatal(err)
	}
	if want := base64.RawURLEncoding.EncodeToString(sshsig.Challenge(remit.VoteNamespace, sure(t)(os.ReadFile(at(votes[0], ".txt"))))); client.Challenge != want || client.Origin != w.URL {
		t.Errorf("%+v; want the challenge %s", client, want)
	}
	// A bundle with one byte of the vote changed gives nothing out.
	b := bytes.Replace(bundle.Bytes(), []byte("U1NIU0lH"), []byte("U1NIU0lI"), 1)
	if bytes.Equal(b, bundle.Bytes()) {
		b = slices.Clone(bundle.Bytes())
		b[len(b)/2] ^= 1
	}
	if _, err := takeVotes(t.Context(), bytes.NewReader(b), trust, t.TempDir()); err == nil {
		t.Error("votes are taken out of a bundle that was changed")
	}
}
