package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

const (
	// SignInNamespace is the SSHSIG namespace of a sign-in: no vote is a sign-in, and no sign-in is a vote.
	SignInNamespace = "signin@remit"
	// ChallengeLife is how long a challenge waits for its signature.
	ChallengeLife = 2 * time.Minute
	// SessionLife is how long a session is good; then its person signs again.
	SessionLife = 10 * time.Minute
	// MaxSessions is how many sessions a person has; one more ends the oldest.
	MaxSessions = 16

	maxChallenge = 1024
)

// People is what the authority knows of people.
type People interface {
	// ByKey finds the live person who declared pub (SSH wire format, RFC 4253 §6.6), if the key is in force.
	ByKey(pub []byte) (person remit.ID, ok bool)
}

// Challenge is the text that a person signs to sign in.
type Challenge struct {
	Origin   string // of the server, as its clients name it: https://remit.example:8443
	Org      remit.Org
	Nonce    [32]byte
	NotAfter time.Time
}

// Bytes is the one encoding of c: a line each, in this order, every line ended by LF.
func (c Challenge) Bytes() []byte {
	return fmt.Appendf(nil, "remit sign-in v1\norigin: %s\norg: %s\nnonce: %x\nnot-after: %s\n", c.Origin, c.Org, c.Nonce, stamp(c.NotAfter))
}

// ParseChallenge reads what Bytes writes and nothing else. A client signs only when Origin is the server that it meant
// to reach: otherwise a server could have its challenge by another one signed.
func ParseChallenge(b []byte) (Challenge, error) {
	var c Challenge
	if len(b) > maxChallenge {
		return c, remit.Errorf(remit.BadRequest, "a sign-in challenge has at most %d bytes, not %d", maxChallenge, len(b))
	}
	lines := strings.Split(string(b), "\n")
	names := []string{"origin", "org", "nonce", "not-after"}
	if len(lines) != len(names)+2 || lines[0] != "remit sign-in v1" {
		return c, remit.Errorf(remit.BadRequest, "not a sign-in challenge: it begins with the line %q and has %d more", "remit sign-in v1", len(names))
	}
	values := make([]string, len(names))
	for i, n := range names {
		v, ok := strings.CutPrefix(lines[i+1], n+": ")
		if !ok {
			return c, remit.Errorf(remit.BadRequest, "line %d of the challenge is %q; it begins with %q", i+2, lines[i+1], n+": ")
		}
		values[i] = v
	}
	nonce, err := hex.DecodeString(values[2])
	if err != nil || len(nonce) != len(c.Nonce) {
		return c, remit.Errorf(remit.BadRequest, "line 4 of the challenge is not a nonce of 32 bytes")
	}
	t, err := time.Parse(time.RFC3339, values[3])
	if err != nil {
		return c, remit.Errorf(remit.BadRequest, "line 5 of the challenge: %w", err)
	}
	c = Challenge{Origin: values[0], Org: remit.Org(values[1]), Nonce: [32]byte(nonce), NotAfter: t}
	if !bytes.Equal(c.Bytes(), b) {
		return Challenge{}, remit.Errorf(remit.BadRequest, "the challenge is not in its one encoding")
	}
	return c, nil
}

// Session is a person who signed in.
type Session struct {
	Person   remit.ID
	Key      []byte // that they signed in with, SSH wire format
	Touch    bool   // the key proved a touch
	NotAfter time.Time
}

// Sessions signs people in. All of it is in memory: after a restart people sign in again.
type Sessions struct {
	origin string
	org    remit.Org
	people People
	now    func() time.Time

	key [32]byte // of the nonces of challenges

	mu       sync.Mutex
	spent    map[remit.Digest]time.Time // challenges that signed somebody in, by the SHA-256 of the text, until they expire
	sessions map[remit.Digest]Session   // by the SHA-256 of the token
	of       map[remit.ID][]remit.Digest
}

// NewSessions makes an empty table for one organisation behind one origin.
func NewSessions(origin string, org remit.Org, people People, now func() time.Time) (*Sessions, error) {
	if _, err := TrustDomain(org); err != nil {
		return nil, err
	}
	if origin == "" || len(origin) > 512 || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("%q is not an origin such as https://remit.example:8443", origin)
	}
	t := &Sessions{origin: origin, org: org, people: people, now: now,
		spent: make(map[remit.Digest]time.Time), sessions: make(map[remit.Digest]Session), of: make(map[remit.ID][]remit.Digest)}
	_, _ = rand.Read(t.key[:]) // never fails
	return t, nil
}

// Challenge gives a stranger something to sign. Nothing is remembered of it: half of the nonce is random, the other
// half says that it was given here. So no stranger can use up anything that a person needs to sign in, such as an agent
// on its person's own host, whom that person signs in to kill.
func (s *Sessions) Challenge() []byte {
	c := Challenge{Origin: s.origin, Org: s.org, NotAfter: s.now().Add(ChallengeLife).Truncate(time.Second)}
	_, _ = rand.Read(c.Nonce[:16]) // never fails
	copy(c.Nonce[16:], s.mark(c))
	return c.Bytes()
}

// mark is the second half of the nonce of a challenge that was given here: a keyed digest of all the rest of it.
func (s *Sessions) mark(c Challenge) []byte {
	clear(c.Nonce[16:])
	m := hmac.New(sha256.New, s.key[:])
	m.Write(c.Bytes())
	return m.Sum(nil)[:16]
}

// given tells whether a challenge was given here and is not over.
func (s *Sessions) given(text []byte, now time.Time) (notAfter time.Time, ok bool) {
	c, err := ParseChallenge(text)
	if err != nil || c.Origin != s.origin || c.Org != s.org || !hmac.Equal(c.Nonce[16:], s.mark(c)) {
		return time.Time{}, false
	}
	return c.NotAfter, now.Before(c.NotAfter)
}

// SignIn turns a challenge and its armored signature into a session token, once. All failures of proof have one
// sentence: it does not tell which keys are declared.
func (s *Sessions) SignIn(text, armored []byte) (token string, session Session, err error) {
	now := s.now()
	refused := remit.Errorf(remit.Unauthenticated, "this challenge was not given here, was used, or is older than %s; ask for a new one", ChallengeLife)
	notAfter, ok := s.given(text, now)
	if !ok {
		return "", Session{}, refused
	}
	person, session, err := s.prove(text, armored)
	if err != nil {
		return "", Session{}, &remit.Error{Code: remit.Unauthenticated, Err: err,
			Sentence: "the signature does not fit the challenge, or its key is not that of a person in force here; sign with a declared key for the namespace " + SignInNamespace}
	}
	session.Person, session.NotAfter = person, now.Add(SessionLife)
	token, hash := newSecret(sessionPrefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.spent, func(_ remit.Digest, end time.Time) bool { return !now.Before(end) })
	this := remit.Hash(text)
	if _, used := s.spent[this]; used {
		return "", Session{}, refused
	}
	s.spent[this] = notAfter
	for h, old := range s.sessions {
		if !now.Before(old.NotAfter) {
			s.end(h, old.Person)
		}
	}
	for len(s.of[person]) >= MaxSessions {
		s.end(s.of[person][0], person)
	}
	s.sessions[hash] = session
	s.of[person] = append(s.of[person], hash)
	return token, session, nil
}

func (s *Sessions) prove(text, armored []byte) (remit.ID, Session, error) {
	pub, err := sshsig.Signer(armored)
	if err != nil {
		return "", Session{}, err
	}
	key := pub.Marshal()
	// The person is looked up first: what strangers send costs no public-key operation.
	person, ok := s.people.ByKey(key)
	if !ok || person == "" {
		return "", Session{}, errors.New("nobody in force has this key")
	}
	touch, err := sshsig.Verify(pub, SignInNamespace, text, armored)
	if err != nil {
		return "", Session{}, err
	}
	return person, Session{Key: key, Touch: touch}, nil
}

// Lookup is the session of a token. It lives as long as its person has its key: a key that is taken away takes its
// sessions with it.
func (s *Sessions) Lookup(token string) (Session, error) {
	hash, ok := parseSecret(sessionPrefix, token)
	if !ok {
		return Session{}, notSignedIn()
	}
	s.mu.Lock()
	session, ok := s.sessions[hash]
	s.mu.Unlock()
	if !ok || !s.now().Before(session.NotAfter) {
		return Session{}, notSignedIn()
	}
	if person, ok := s.people.ByKey(session.Key); !ok || person != session.Person {
		return Session{}, notSignedIn()
	}
	session.Key = slices.Clone(session.Key)
	return session, nil
}

// Authenticate is the session of a request, by its Bearer token.
func (s *Sessions) Authenticate(r *http.Request) (Session, error) {
	token, found, err := bearer(r, false)
	if err != nil {
		return Session{}, err
	}
	if !found {
		return Session{}, notSignedIn()
	}
	return s.Lookup(token)
}

func notSignedIn() *remit.Error {
	return remit.Errorf(remit.Unauthenticated, "nobody is signed in with this, or the %s of the session are over; sign in again", SessionLife)
}

// SignOut ends one session.
func (s *Sessions) SignOut(token string) {
	hash, ok := parseSecret(sessionPrefix, token)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.sessions[hash]; ok {
		s.end(hash, old.Person)
	}
}

// EndPerson ends every session of a person, as kill does.
func (s *Sessions) EndPerson(person remit.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.of[person] {
		delete(s.sessions, h)
	}
	delete(s.of, person)
}

func (s *Sessions) end(h remit.Digest, person remit.ID) {
	delete(s.sessions, h)
	left := slices.DeleteFunc(s.of[person], func(x remit.Digest) bool { return x == h })
	if len(left) == 0 {
		delete(s.of, person)
		return
	}
	s.of[person] = left
}
