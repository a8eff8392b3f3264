package server

import (
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/identity"
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
		o = remit.OrgInfo{Org: st.Org, Origin: st.Origin, Verifier: st.Verifier, Profile: st.Profile, RPID: s.site.ID}
	})
	return o, nil
}

// challenge gives the same answer for every well-formed key: it does not tell which keys are declared.
func challenge(s *Server, _ *call, in remit.ChallengeRequest) (remit.Challenge, error) {
	if _, err := sshsig.ParseKey(in.Key); len(in.Key) > 0 && err != nil {
		return remit.Challenge{}, remit.Errorf(remit.BadRequest, "the key to sign in with: %w", err)
	}
	text := s.cfg.Sessions.Challenge()
	return remit.Challenge{Text: text, Passkey: s.passkeyAsk(identity.SignInNamespace, text)}, nil
}

func signIn(s *Server, c *call, in remit.SignIn) (remit.Session, error) {
	if in.Browser {
		if err := s.cfg.Sessions.SameOrigin(c.r); err != nil {
			return remit.Session{}, err
		}
	}
	token, session, err := s.cfg.Sessions.SignIn(in.Text, in.Signature, in.Browser)
	if err != nil {
		return remit.Session{}, err
	}
	return s.began(c, token, session), nil
}

func whoAmI(s *Server, c *call) (remit.Session, error) {
	return s.session(c, c.session), nil
}

func (s *Server) session(c *call, of identity.Session) remit.Session {
	out := remit.Session{Person: of.Person, Name: s.people(c.r.Context()).Name(of.Person), NotAfter: of.NotAfter, SessionFacts: remit.SessionFacts{
		Method: string(of.Method), Touch: of.Touch, Provider: of.Provider, ACR: of.ACR, AMR: of.AMR, Since: &of.Since, CSRF: of.CSRF}}
	if !of.AuthTime.IsZero() {
		out.AuthTime = &of.AuthTime
	}
	if len(of.Key) > 0 {
		d := remit.Hash(of.Key)
		out.Key = &d
	}
	s.view(func(st *authority.State) { out.Admin = st.IsAdmin(of.Person) })
	return out
}

// began is a session that has just begun: a browser keeps it in a cookie, where no script reads it.
func (s *Server) began(c *call, token string, of identity.Session) remit.Session {
	out := s.session(c, of)
	if of.CSRF != "" {
		http.SetCookie(c.w, identity.Cookie(token, of))
		return out
	}
	out.Token = token
	return out
}

// confirmKey lets an older key vouch for a new one.
func confirmKey(s *Server, c *call, in remit.ConfirmKeyRequest) (none, error) {
	if err := s.ownOrigin(in.Signature); err != nil {
		return none{}, err
	}
	_, err := s.do(c, &authority.ConfirmKey{Person: c.person, Key: in.Key, Signature: in.Signature})
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
