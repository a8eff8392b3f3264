package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
	"golang.org/x/crypto/ssh"
)

const origin = "https://remit.example:8443"

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newSessions(t testing.TB, c *clock, keys map[remit.ID]ssh.Signer) (*Sessions, people) {
	t.Helper()
	world := people{keys: make(map[string]remit.ID), identities: make(map[remit.ID]remit.Digest)}
	for id, s := range keys {
		world.keys[string(s.PublicKey().Marshal())] = id
	}
	s, err := NewSessions(origin, "acme", world, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s, world
}

func ask(t testing.TB, s *Sessions) []byte {
	t.Helper()
	return s.Challenge()
}

func armor(t testing.TB, k ssh.Signer, namespace string, text []byte) []byte {
	t.Helper()
	b, err := sshsig.Sign(k, namespace, text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signIn(t testing.TB, s *Sessions, k ssh.Signer) string {
	t.Helper()
	text := ask(t, s)
	token, _, err := s.SignIn(text, armor(t, k, SignInNamespace, text), false)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestSignIn(t *testing.T) {
	c, mia := newClock(), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	text := ask(t, s)
	got, err := ParseChallenge(text)
	if err != nil || got.Origin != origin || got.Org != "acme" || !got.NotAfter.Equal(c.Now().Add(ChallengeLife)) {
		t.Fatalf("%+v, %v", got, err)
	}
	armored := armor(t, mia, SignInNamespace, text)
	token, session, err := s.SignIn(text, armored, false)
	if err != nil || session.Person != "p1" || session.Touch || !session.NotAfter.Equal(c.Now().Add(SessionLife)) || !bytes.Equal(session.Key, mia.PublicKey().Marshal()) {
		t.Fatalf("%+v, %v", session, err)
	}
	if again, err := s.Authenticate(withBearer(token)); err != nil || again.Person != "p1" {
		t.Fatalf("%+v, %v", again, err)
	}
	_, _, err = s.SignIn(text, armored, false)
	wantUnauthenticated(t, err, "was used")
	for h := range s.sessions {
		if strings.Contains(token, fmt.Sprintf("%x", h[:4])) {
			t.Fatal("the token itself is kept")
		}
	}
}

func TestSignInRefuses(t *testing.T) {
	c, mia, eve := newClock(), newSigner(t), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	elsewhere, err := NewSessions("https://evil.example", "acme", s.people, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	const proof, table = "does not fit the challenge", "not given here"
	for name, test := range map[string]struct {
		do   func() (text, armored []byte)
		says string
	}{
		"a key that nobody declared": {func() ([]byte, []byte) {
			text := ask(t, s)
			return text, armor(t, eve, SignInNamespace, text)
		}, proof},
		"a signature for another namespace": {func() ([]byte, []byte) {
			text := ask(t, s)
			return text, armor(t, mia, remit.VoteNamespace, text)
		}, proof},
		"a signature of another challenge": {func() ([]byte, []byte) {
			return ask(t, s), armor(t, mia, SignInNamespace, ask(t, s))
		}, proof},
		"no signature": {func() ([]byte, []byte) { return ask(t, s), nil }, proof},
		"a challenge that is too old": {func() ([]byte, []byte) {
			text := ask(t, s)
			c.Advance(ChallengeLife)
			return text, armor(t, mia, SignInNamespace, text)
		}, table},
		"a challenge of another server": {func() ([]byte, []byte) {
			text := ask(t, elsewhere)
			return text, armor(t, mia, SignInNamespace, text)
		}, table},
		"a challenge that the caller wrote": {func() ([]byte, []byte) {
			text := Challenge{Origin: origin, Org: "acme", Nonce: [32]byte{1}, NotAfter: c.Now().Add(time.Minute)}.Bytes()
			return text, armor(t, mia, SignInNamespace, text)
		}, table},
		"a challenge with another end": {func() ([]byte, []byte) {
			text := append(ask(t, s), '\n')
			return text, armor(t, mia, SignInNamespace, text)
		}, table},
		"a challenge of this server with a later end": {func() ([]byte, []byte) {
			given, err := ParseChallenge(ask(t, s))
			if err != nil {
				t.Fatal(err)
			}
			given.NotAfter = given.NotAfter.Add(time.Hour)
			return given.Bytes(), armor(t, mia, SignInNamespace, given.Bytes())
		}, table},
		"a challenge without end": {func() ([]byte, []byte) { return make([]byte, 1<<20), nil }, table},
	} {
		t.Run(name, func(t *testing.T) {
			text, armored := test.do()
			token, session, err := s.SignIn(text, armored, false)
			wantUnauthenticated(t, err, test.says)
			if token != "" || session.Person != "" || len(s.sessions) != 0 {
				t.Fatalf("a session beside an error: %+v", session)
			}
		})
	}
}

func TestASessionEnds(t *testing.T) {
	for name, end := range map[string]func(c *clock, s *Sessions, world people, key ssh.Signer, token string){
		"when its time is over":     func(c *clock, _ *Sessions, _ people, _ ssh.Signer, _ string) { c.Advance(SessionLife) },
		"when the person signs out": func(_ *clock, s *Sessions, _ people, _ ssh.Signer, token string) { s.signOut(token) },
		"when the person is killed": func(_ *clock, s *Sessions, _ people, _ ssh.Signer, _ string) { s.EndPerson("p1") },
		"when the key is taken away": func(_ *clock, _ *Sessions, w people, k ssh.Signer, _ string) {
			delete(w.keys, string(k.PublicKey().Marshal()))
		},
		"when the key becomes another's": func(_ *clock, _ *Sessions, w people, k ssh.Signer, _ string) {
			w.keys[string(k.PublicKey().Marshal())] = "p2"
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, mia, bob := newClock(), newSigner(t), newSigner(t)
			s, world := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia, "p2": bob})
			token := signIn(t, s, mia)
			c.Advance(time.Minute)
			other := signIn(t, s, bob)
			c.Advance(-time.Minute)
			if _, err := s.Lookup(token); err != nil {
				t.Fatal(err)
			}
			end(c, s, world, mia, token)
			_, err := s.Lookup(token)
			wantUnauthenticated(t, err, "sign in again")
			if got, err := s.Lookup(other); err != nil || got.Person != "p2" {
				t.Fatalf("the other person's session ended too: %v", err)
			}
		})
	}
}

func TestLookupRefuses(t *testing.T) {
	c, mia := newClock(), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	token := signIn(t, s, mia)
	for name, r := range map[string]*http.Request{
		"nothing":                       request(func(*http.Request) {}),
		"an instance's token":           withBearer(tokenPrefix + token[len(sessionPrefix):]),
		"a token that was never issued": withBearer(sessionPrefix + strings.Repeat("A", 43)),
		"a token in Basic":              request(func(r *http.Request) { r.SetBasicAuth("x", token) }),
		"two tokens":                    request(func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token} }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Authenticate(r)
			wantUnauthenticated(t, err, "")
		})
	}
}

// Whoever asks for challenges and signs none, an agent on its person's host say, keeps nobody from signing in.
func TestStrangersKeepNobodyOut(t *testing.T) {
	c, mia := newClock(), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	text := ask(t, s)
	for range 10_000 {
		other := ask(t, s)
		if _, _, err := s.SignIn(other, nil, false); err == nil {
			t.Fatal("signed in without a signature")
		}
	}
	if _, _, err := s.SignIn(text, armor(t, mia, SignInNamespace, text), false); err != nil {
		t.Fatal(err)
	}
	if len(s.spent) != 1 {
		t.Fatalf("%d challenges are remembered", len(s.spent))
	}
}

// A challenge signs in once, also when its signature comes twice at a time.
func TestChallengeIsSpentOnce(t *testing.T) {
	mia := newSigner(t)
	s, _ := newSessions(t, newClock(), map[remit.ID]ssh.Signer{"p1": mia})
	text := ask(t, s)
	armored := armor(t, mia, SignInNamespace, text)
	in := make(chan bool)
	for range 8 {
		go func() { _, _, err := s.SignIn(text, armored, false); in <- err == nil }()
	}
	n := 0
	for range 8 {
		if <-in {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("one challenge signed in %d times", n)
	}
}

func TestSignInIsBounded(t *testing.T) {
	c, mia := newClock(), newSigner(t)
	s, _ := newSessions(t, c, map[remit.ID]ssh.Signer{"p1": mia})
	signIn(t, s, mia)
	c.Advance(ChallengeLife)
	token := signIn(t, s, mia)
	if len(s.spent) != 1 {
		t.Fatalf("%d old challenges are kept", len(s.spent)-1)
	}
	for range MaxSessions {
		signIn(t, s, mia)
	}
	if len(s.sessions) != MaxSessions || len(s.of["p1"]) != MaxSessions {
		t.Fatalf("a person has %d sessions", len(s.sessions))
	}
	if _, err := s.Lookup(token); err == nil {
		t.Fatal("the oldest session lives on")
	}
	c.Advance(SessionLife)
	signIn(t, s, mia)
	if len(s.sessions) != 1 || len(s.of["p1"]) != 1 {
		t.Fatalf("%d old sessions are kept", len(s.sessions)-1)
	}
}

func TestNewSessionsRefuses(t *testing.T) {
	for _, o := range []string{"", "https://a b", "https://a\norg: evil", strings.Repeat("a", 600)} {
		if _, err := NewSessions(o, "acme", people{}, time.Now); err == nil {
			t.Fatalf("the origin %q", o)
		}
	}
	if _, err := NewSessions(origin, "Acme\n", people{}, time.Now); err == nil {
		t.Fatal("an organisation with a line end")
	}
}

// A person signs in with nothing but OpenSSH.
func TestSignInWithOpenSSH(t *testing.T) {
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed, so OpenSSH cannot sign")
	}
	path := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command(bin, "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	line, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := sshsig.ParseAuthorizedKey(string(line))
	if err != nil {
		t.Fatal(err)
	}
	s, world := newSessions(t, newClock(), nil)
	world.keys[string(pub.Marshal())] = "p7"
	text := ask(t, s)
	cmd := exec.Command(bin, "-Y", "sign", "-n", SignInNamespace, "-f", path)
	cmd.Stdin = bytes.NewReader(text)
	armored, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, session, err := s.SignIn(text, armored, false); err != nil || session.Person != "p7" {
		t.Fatalf("%+v, %v", session, err)
	}
}

func FuzzParseChallenge(f *testing.F) {
	f.Add(Challenge{Origin: origin, Org: "acme", NotAfter: newClock().Now()}.Bytes())
	f.Add([]byte("remit sign-in v1\norigin: \norg: \nnonce: \nnot-after: \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChallenge(b)
		if err == nil && !bytes.Equal(c.Bytes(), b) {
			t.Fatalf("%q is read and comes back as %q", b, c.Bytes())
		}
	})
}
