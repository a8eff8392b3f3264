package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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
	// MaxChallenges and MaxChallengesPerPeer bound what strangers make a server remember.
	MaxChallenges        = 4096
	MaxChallengesPerPeer = 16
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

	mu         sync.Mutex
	challenges map[remit.Digest]challenge // by the SHA-256 of the text
	perPeer    map[netip.Prefix]int
	sessions   map[remit.Digest]Session // by the SHA-256 of the token
	of         map[remit.ID][]remit.Digest
}

type challenge struct {
	peer     netip.Prefix
	notAfter time.Time
}

// NewSessions makes an empty table for one organisation behind one origin.
func NewSessions(origin string, org remit.Org, people People, now func() time.Time) (*Sessions, error) {
	if _, err := TrustDomain(org); err != nil {
		return nil, err
	}
	if origin == "" || len(origin) > 512 || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("%q is not an origin such as https://remit.example:8443", origin)
	}
	return &Sessions{origin: origin, org: org, people: people, now: now,
		challenges: make(map[remit.Digest]challenge), perPeer: make(map[netip.Prefix]int),
		sessions: make(map[remit.Digest]Session), of: make(map[remit.ID][]remit.Digest)}, nil
}

// Challenge gives a stranger something to sign. peer is the address that the request came from (host:port, as in
// http.Request.RemoteAddr): each has a bounded number of open challenges, an IPv6 network of 64 bits counting as one.
func (s *Sessions) Challenge(peer string) (text []byte, err error) {
	from := peerNet(peer)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if len(s.challenges) >= MaxChallenges || s.perPeer[from] >= MaxChallengesPerPeer {
		s.dropOld(now)
	}
	if len(s.challenges) >= MaxChallenges || s.perPeer[from] >= MaxChallengesPerPeer {
		return nil, remit.Errorf(remit.Overload, "too many sign-ins wait for their signature; try again in %s", ChallengeLife)
	}
	c := Challenge{Origin: s.origin, Org: s.org, NotAfter: now.Add(ChallengeLife).Truncate(time.Second)}
	_, _ = rand.Read(c.Nonce[:]) // never fails
	text = c.Bytes()
	s.challenges[remit.Hash(text)] = challenge{peer: from, notAfter: c.NotAfter}
	s.perPeer[from]++
	return text, nil
}

// peerNet is what strangers are counted by. What has no address, such as a unix socket, counts as one peer.
func peerNet(peer string) netip.Prefix {
	a, err := netip.ParseAddrPort(peer)
	if err != nil {
		return netip.Prefix{}
	}
	addr := a.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (s *Sessions) dropOld(now time.Time) {
	for h, c := range s.challenges {
		if !now.Before(c.notAfter) {
			s.drop(h, c)
		}
	}
}

func (s *Sessions) drop(h remit.Digest, c challenge) {
	delete(s.challenges, h)
	if s.perPeer[c.peer]--; s.perPeer[c.peer] <= 0 {
		delete(s.perPeer, c.peer)
	}
}

// SignIn turns a challenge and its armored signature into a session token. The challenge is spent by the attempt,
// whatever comes of it, so that each costs a stranger a new one. All failures of proof have one sentence: it does not
// tell which keys are declared.
func (s *Sessions) SignIn(text, armored []byte) (token string, session Session, err error) {
	now := s.now()
	if !s.spend(text, now) {
		return "", Session{}, remit.Errorf(remit.Unauthenticated, "this challenge was not given here, was used, or is older than %s; ask for a new one", ChallengeLife)
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

// spend takes the challenge out of the table; it is true once.
func (s *Sessions) spend(text []byte, now time.Time) bool {
	if len(text) > maxChallenge {
		return false
	}
	h := remit.Hash(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.challenges[h]
	if !ok {
		return false
	}
	s.drop(h, c)
	return now.Before(c.notAfter)
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
