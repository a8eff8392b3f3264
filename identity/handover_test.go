package identity

import (
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/remit-dev/remit"
)

func handOver(t testing.TB, s *Sessions, k ssh.Signer) string {
	t.Helper()
	text := s.Challenge()
	secret, h, err := s.HandOver(text, armor(t, k, SignInNamespace, text), "192.0.2.7", remit.Hash([]byte("there")))
	if err != nil || h.NotAfter.Sub(h.Asked) != HandOverLife || h.Address != "192.0.2.7" {
		t.Fatalf("%+v, %v", h, err)
	}
	return secret
}

// A link is its person's, good once and for a minute, and its session is as fresh as the signature.
func TestHandOver(t *testing.T) {
	c, mia, noa := newClock(), newSigner(t), newSigner(t)
	s, world := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia, "p2": noa})
	secret := handOver(t, s, mia)
	if h, err := s.Handed(secret); err != nil || h.Person != "p1" {
		t.Fatalf("%+v, %v", h, err)
	}
	c.Advance(HandOverLife - time.Second)
	token, session, err := s.TakeOver(secret)
	if err != nil || session.Person != "p1" || session.Method != MethodKey || session.CSRF == "" || !session.NotAfter.Equal(c.Now().Add(BrowserLife)) {
		t.Fatalf("%+v, %v", session, err)
	}
	if _, err := s.Authenticate(from("GET", Cookie(token, session), nil)); err != nil {
		t.Fatal(err)
	}
	if got := c.Now().Sub(session.AuthTime); got != HandOverLife-time.Second {
		t.Fatalf("the proof is %s old", got)
	}
	gone := func(name, secret string) {
		t.Helper()
		_, err := s.Handed(secret)
		wantUnauthenticated(t, err, "older than 1m0s")
		if _, _, err = s.TakeOver(secret); err == nil {
			t.Fatalf("%s: taken over", name)
		}
	}
	gone("used", secret)
	gone("a session", token)
	gone("nothing", "")
	gone("another", "remith_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")

	old := handOver(t, s, mia)
	other := handOver(t, s, noa)
	newer := handOver(t, s, mia)
	gone("replaced", old)
	c.Advance(HandOverLife)
	gone("too old", newer)
	gone("too old", other)
	handOver(t, s, noa)
	if len(s.handed) != 1 {
		t.Fatalf("%d links are kept", len(s.handed))
	}
	killed := handOver(t, s, noa)
	s.EndPerson("p2")
	gone("its person was ended", killed)
	taken := handOver(t, s, mia)
	delete(world.keys, string(mia.PublicKey().Marshal()))
	gone("its key was taken away", taken)
}

// Only a signature over a challenge of this server gets a link, each challenge once, for a link or for a session.
func TestHandOverRefuses(t *testing.T) {
	c, mia, eve := newClock(), newSigner(t), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	text := s.Challenge()
	for name, armored := range map[string][]byte{
		"a stranger's key":      armor(t, eve, SignInNamespace, text),
		"another namespace":     armor(t, mia, "vote@remit", text),
		"another text":          armor(t, mia, SignInNamespace, s.Challenge()),
		"no signature":          nil,
		"a session's own token": []byte(signIn(t, s, mia)),
	} {
		if _, _, err := s.HandOver(text, armored, "", remit.Digest{}); err == nil {
			t.Errorf("%s gets a link", name)
		}
	}
	armored := armor(t, mia, SignInNamespace, text)
	if _, _, err := s.SignIn(text, armored, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.HandOver(text, armored, "", remit.Digest{}); err == nil {
		t.Error("a challenge that signed in gets a link as well")
	}
}
