package identity

import (
	"time"

	"github.com/remit-dev/remit"
)

// HandOverLife is how long a link is good by which a terminal signs its person in to their browser.
const HandOverLife = time.Minute

const handOverPrefix = "remith_"

// HandOver is a browser's session that waits for its browser.
type HandOver struct {
	Person          remit.ID
	Address         string // from which the terminal asked, for people to read
	Host            remit.Digest
	Asked, NotAfter time.Time

	session Session
}

// HandOver proves a person as SignIn does, and gives the secret by which a browser takes the session over, once, within
// a minute. Nothing but the signature gets one: who has only the token of a terminal does not make hours of its minutes.
// A person has one at a time, so a newer one makes an older one good for nothing.
func (s *Sessions) HandOver(text, armored []byte, address string, host remit.Digest) (secret string, out HandOver, err error) {
	session, err := s.proved(text, armored)
	if err != nil {
		return "", HandOver{}, err
	}
	if session.Method != MethodKey {
		return "", HandOver{}, remit.Errorf(remit.BadRequest, "a passkey signs in where it is, in a browser; a terminal hands over with an SSH key")
	}
	secret, hash := newSecret(handOverPrefix)
	out = HandOver{Person: session.Person, Address: address, Host: host, Asked: session.AuthTime, NotAfter: session.AuthTime.Add(HandOverLife), session: session}
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, old := range s.handed {
		if old.Person == out.Person || !session.AuthTime.Before(old.NotAfter) {
			delete(s.handed, h)
		}
	}
	s.handed[hash] = out
	return secret, out, nil
}

// Handed is what a secret hands over, for its person to look at first; it stays good.
func (s *Sessions) Handed(secret string) (HandOver, error) {
	return s.handedOver(secret, false)
}

// TakeOver begins the session that a secret hands over. Its proof is as old as the signature.
func (s *Sessions) TakeOver(secret string) (token string, out Session, err error) {
	h, err := s.handedOver(secret, true)
	if err != nil {
		return "", Session{}, err
	}
	token, out = s.begin(h.session, true)
	return token, out, nil
}

func (s *Sessions) handedOver(secret string, take bool) (HandOver, error) {
	refused := remit.Errorf(remit.Unauthenticated, "this link was used, replaced by a newer one, or is older than %s; have your terminal make another", HandOverLife)
	hash, ok := parseSecret(handOverPrefix, secret)
	if !ok {
		return HandOver{}, refused
	}
	now := s.now()
	s.mu.Lock()
	h, ok := s.handed[hash]
	if ok && take {
		delete(s.handed, hash)
	}
	s.mu.Unlock()
	if !ok || !now.Before(h.NotAfter) || !s.stands(h.session) {
		return HandOver{}, refused
	}
	return h, nil
}
