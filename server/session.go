package server

import (
	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"

	"golang.org/x/crypto/ssh"
)

func health(s *Server, _ *call) (remit.Health, error) {
	h := remit.Health{OK: true, Version: s.cfg.Version}
	if err := s.cfg.Engine.Failed(); err != nil {
		h.OK, h.Reason = false, remit.LedgerDown.Info().Meaning
	}
	return h, nil
}

func orgInfo(s *Server, _ *call) (o remit.OrgInfo, _ error) {
	s.view(func(st *authority.State) {
		o = remit.OrgInfo{Org: st.Org, Origin: st.Origin, Verifier: st.Verifier, Profile: st.Profile}
	})
	return o, nil
}

// challenge gives the same answer for every well-formed key: it does not tell which keys are declared.
func challenge(s *Server, _ *call, in remit.ChallengeRequest) (remit.Challenge, error) {
	if _, err := sshsig.ParseKey(in.Key); err != nil {
		return remit.Challenge{}, remit.Errorf(remit.BadRequest, "the key to sign in with: %w", err)
	}
	return remit.Challenge{Text: s.cfg.Sessions.Challenge()}, nil
}

func signIn(s *Server, c *call, in remit.SignIn) (remit.Session, error) {
	token, session, err := s.cfg.Sessions.SignIn(in.Text, in.Signature)
	if err != nil {
		return remit.Session{}, err
	}
	out := s.session(c, session.Person)
	out.Token, out.NotAfter = token, session.NotAfter
	return out, nil
}

func whoAmI(s *Server, c *call) (remit.Session, error) {
	session, err := s.cfg.Sessions.Authenticate(c.r)
	if err != nil {
		return remit.Session{}, err
	}
	out := s.session(c, session.Person)
	out.NotAfter = session.NotAfter
	return out, nil
}

func (s *Server) session(c *call, who remit.ID) remit.Session {
	out := remit.Session{Person: who, Name: s.people(c.r.Context()).Name(who)}
	s.view(func(st *authority.State) { out.Admin = st.IsAdmin(who) })
	return out
}

// confirmKey lets an older key vouch for a new one.
func confirmKey(s *Server, c *call, in remit.ConfirmKeyRequest) (none, error) {
	_, err := s.cfg.Engine.Do(c.r.Context(), &authority.ConfirmKey{Person: c.person, Key: in.Key, Signature: in.Signature})
	return none{}, err
}

func confirmClock(s *Server, c *call, _ none) (none, error) {
	return none{}, s.cfg.Engine.ConfirmClock(c.person)
}

// keyLine is a public key as declarations write it.
func keyLine(wire []byte) (string, bool) {
	k, err := sshsig.ParseKey(wire)
	if err != nil {
		return "", false
	}
	b := ssh.MarshalAuthorizedKey(k)
	return string(b[:len(b)-1]), true
}
