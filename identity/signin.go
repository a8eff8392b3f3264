package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

const (
	// SignInNamespace is the SSHSIG namespace of a sign-in: no vote is a sign-in, and no sign-in is a vote.
	SignInNamespace = "signin@remit"
	// ChallengeLife is how long a challenge waits for its signature.
	ChallengeLife = 2 * time.Minute

	maxChallenge = 1024
)

// People is what the authority knows of people.
type People interface {
	// ByKey finds the live person who has the key pub (SSH wire format, RFC 4253 §6.6), if the key is in force.
	ByKey(pub []byte) (person remit.ID, ok bool)
	// ByIdentity finds the live person who declared an identity at a provider, and as what it stands in the state. Has
	// tells whether it still does.
	ByIdentity(context.Context, remit.Identity) (person remit.ID, as remit.Digest, ok bool)
	Has(person remit.ID, as remit.Digest) bool
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

// SignIn turns a challenge and its armored signature into a session, once: one of a browser, which is shown as a
// cookie, or one whose token is a bearer's. All failures of proof have one sentence: it does not tell which keys are
// declared.
func (s *Sessions) SignIn(text, armored []byte, browser bool) (token string, session Session, err error) {
	if session, err = s.proved(text, armored); err != nil {
		return "", Session{}, err
	}
	token, session = s.begin(session, browser)
	return token, session, nil
}

// proved spends a challenge and says whom its signature proved.
func (s *Sessions) proved(text, armored []byte) (Session, error) {
	now := s.now()
	refused := remit.Errorf(remit.Unauthenticated, "this challenge was not given here, was used, or is older than %s; ask for a new one", ChallengeLife)
	notAfter, ok := s.given(text, now)
	if !ok {
		return Session{}, refused
	}
	person, session, err := s.prove(text, armored)
	if err != nil {
		return Session{}, &remit.Error{Code: remit.Unauthenticated, Err: err,
			Sentence: "the signature does not fit the challenge, or its key is not that of a person in force here; sign with a key of yours for the namespace " + SignInNamespace}
	}
	session.Person, session.AuthTime = person, now
	if !s.spend(remit.Hash(text), notAfter, now) {
		return Session{}, refused
	}
	return session, nil
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
	method := MethodKey
	if _, passkey := sshsig.Passkey(pub); passkey {
		// What a passkey signs names the page that asked; only our own page may ask.
		if origin, err := sshsig.Origin(armored); err != nil || origin != s.origin {
			return "", Session{}, fmt.Errorf("a page of %.200q asked for the signature, not one of %s: %w", origin, s.origin, err)
		}
		method = MethodPasskey
	}
	return person, Session{Key: key, Touch: touch, Method: method}, nil
}
