package console_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// Attack: another server under the same host name, where passkeys of this one work, has a person touch theirs for a vote.
func TestAPasskeyThatSignedOnAnotherPageDoesNotVote(t *testing.T) {
	h := newHouse(t, remit.Team)
	_, id := h.hold(evilShown())
	v := h.status(id)
	statement := remit.Statement{Origin: "acme.example/log", Request: id, Approve: true, Effect: v.Effect, Change: v.Change, Card: v.Card, NotAfter: v.NotAfter}.Bytes()
	cookie, csrf := h.cookie("ben")
	for _, origin := range []string{"https://localhost:1", strings.Replace(h.URL, "https", "http", 1), h.URL} { // its own page last: that vote counts
		counts := origin == h.URL
		a, armored := h.touched("ben", remit.VoteNamespace, statement, origin)
		b64 := base64.RawURLEncoding.EncodeToString
		for how, in := range map[string]remit.VoteRequest{
			"as a browser gives it": {Statement: statement, Credential: &remit.Assertion{ID: b64([]byte("x")), ClientData: b64(a.ClientData), Authenticator: b64(a.Authenticator), Signature: b64(a.Signature)}},
			"as an SSH signature":   {Statement: statement, Signature: armored},
			"as both":               {Statement: statement, Signature: armored, Credential: &remit.Assertion{}},
		} {
			if counts && how != "as an SSH signature" {
				continue // the vote is cast once
			}
			body, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			resp, said := h.do("POST", "/v1/orgs/acme/approvals/"+string(id)+"/votes", string(body), "Content-Type", "application/json", "Cookie", "__Host-remit="+cookie, "X-Remit-CSRF", csrf)
			if (resp.StatusCode == http.StatusOK) != counts {
				t.Errorf("%s, %s: %d %s", origin, how, resp.StatusCode, said)
			}
			if v := h.status(id); !counts && len(v.Votes) > 0 {
				t.Fatalf("%s, %s: it counts", origin, how)
			}
		}
	}
}

// touched is what ben's or dora's passkey signs on a page of an origin: as a browser gives it, and as an SSH signature.
func (h *house) touched(name, namespace string, statement []byte, origin string) (a sshsig.Assertion, armored []byte) {
	h.T.Helper()
	a.ClientData = fmt.Appendf(nil, `{"type":"webauthn.get","challenge":%q,"origin":%q,"crossOrigin":false}`,
		base64.RawURLEncoding.EncodeToString(sshsig.Challenge(namespace, statement)), origin)
	host, client := sha256.Sum256([]byte("localhost")), sha256.Sum256(a.ClientData)
	a.Authenticator = append(host[:], 0x05, 0, 0, 0, 9) // user present and verified; a counter
	digest := sha256.Sum256(append(append([]byte{}, a.Authenticator...), client[:]...))
	var err error
	if a.Signature, err = ecdsa.SignASN1(rand.Reader, h.keys[name], digest[:]); err != nil {
		h.T.Fatal(err)
	}
	pub, err := sshsig.NewPasskey(&h.keys[name].PublicKey, "localhost")
	if err != nil {
		h.T.Fatal(err)
	}
	if armored, err = sshsig.FromAssertion(pub, namespace, statement, a); err != nil {
		h.T.Fatal(err)
	}
	return a, armored
}

// Attack: the same, for break-glass: it lets a task go on without anybody's vote, and the review looks away.
func TestAPasskeyThatSignedOnAnotherPageOpensNoBreakGlass(t *testing.T) {
	h := newHouse(t, remit.Team)
	d, err := h.SignIn("ada").Declarations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Groups = append(d.Groups, remit.Group{Name: "oncall", Members: []string{"ben"}})
	d.BreakGlass = []remit.BreakGlass{{Name: "fire", Who: []string{"oncall"}, Scope: d.Agents[0].Entitlements, Minutes: 10, Reviewers: "reviewers", ReviewHours: 24}}
	a, err := h.SignIn("ada").Apply(t.Context(), remit.ApplyRequest{Declarations: d})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Vote("ben", h.status(a.Decision.Access), true); err != nil { // it widens, so another administrator decides
		t.Fatal(err)
	}
	task := h.Task("cleo")
	statement := remit.Opening{Origin: "acme.example/log", Name: "fire", Task: task.ID, Reason: remit.Hash([]byte("it burns")), At: h.Clock.Now()}.Bytes()
	cookie, csrf := h.cookie("ben")
	open := func(origin string) (int, string) {
		_, armored := h.touched("ben", remit.BreakGlassNamespace, statement, origin)
		body, err := json.Marshal(remit.OpenGlassRequest{Statement: statement, Reason: "it burns", Signature: armored})
		if err != nil {
			t.Fatal(err)
		}
		resp, said := h.do("POST", "/v1/orgs/acme/break-glass", string(body), "Content-Type", "application/json", "Cookie", "__Host-remit="+cookie, "X-Remit-CSRF", csrf)
		return resp.StatusCode, said
	}
	if status, said := open("https://localhost:1"); status == http.StatusOK || !strings.Contains(said, "BAD_VOTE") {
		t.Errorf("%d %s", status, said)
	}
	status, text := open(h.URL)
	var v remit.GlassView
	if err := json.Unmarshal([]byte(text), &v); err != nil || status != http.StatusOK || v.ID == "" {
		t.Fatalf("its own page does not open it: %d %s", status, text)
	}
	// The review: dora's passkey, asked by another page.
	h.Clock.Advance(11 * time.Minute)
	dora, token := h.cookie("dora")
	opened, err := h.SignIn("dora").BreakGlass(t.Context())
	if err != nil || len(opened) != 1 {
		t.Fatalf("%+v %v", opened, err)
	}
	looked := remit.Looking{Origin: "acme.example/log", ID: v.ID, Right: true, Steps: opened[0].Steps}.Bytes()
	_, armored := h.touched("dora", remit.BreakGlassNamespace, looked, "https://localhost:1")
	body, err := json.Marshal(remit.ReviewGlassRequest{Statement: looked, Signature: armored})
	if err != nil {
		t.Fatal(err)
	}
	resp, said := h.do("POST", "/v1/orgs/acme/break-glass/"+string(v.ID)+"/review", string(body), "Content-Type", "application/json", "Cookie", "__Host-remit="+dora, "X-Remit-CSRF", token)
	if resp.StatusCode == http.StatusOK || !strings.Contains(said, "had the passkey sign this") {
		t.Errorf("%d %s", resp.StatusCode, said)
	}
}
