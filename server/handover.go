package server

import (
	"github.com/remit-dev/remit"
)

// How a person who has only an SSH key comes into the console: the terminal proves the key and gets a link, and the page
// behind the link says who is about to be signed in, and asks. So a link that somebody else made signs nobody in unseen.

// handOver makes the link.
func handOver(s *Server, c *call, in remit.SignIn) (remit.HandOver, error) {
	if in.Browser {
		return remit.HandOver{}, remit.Errorf(remit.BadRequest, "browser is for a session; a hand-over always is a browser's")
	}
	host, _ := s.host(c.r)
	secret, h, err := s.cfg.Sessions.HandOver(in.Text, in.Signature, address(c.r), host)
	if err != nil {
		return remit.HandOver{}, err
	}
	return remit.HandOver{Secret: secret, Link: s.cfg.Base + "/console/hand-over#" + secret, NotAfter: h.NotAfter}, nil
}

// lookHandOver says whom a link signs in, and as whom the browser is signed in already.
func lookHandOver(s *Server, c *call, in remit.HandedOver) (out remit.HandOverView, err error) {
	if err := s.cfg.Sessions.SameOrigin(c.r); err != nil {
		return out, err
	}
	h, err := s.cfg.Sessions.Handed(in.Secret)
	if err != nil {
		return out, err
	}
	here, _ := s.host(c.r)
	d := s.people(c.r.Context())
	out = remit.HandOverView{Name: d.Name(h.Person), Address: h.Address, Here: here == h.Host, Asked: h.Asked, NotAfter: h.NotAfter}
	if now, err := s.cfg.Sessions.Authenticate(c.r); err == nil && now.Person != h.Person {
		out.Other = d.Name(now.Person)
	}
	return out, nil
}

// takeHandOver signs the browser in, and out of what it was before.
func takeHandOver(s *Server, c *call, in remit.HandedOver) (remit.Session, error) {
	if err := s.cfg.Sessions.SameOrigin(c.r); err != nil {
		return remit.Session{}, err
	}
	token, session, err := s.cfg.Sessions.TakeOver(in.Secret)
	if err != nil {
		return remit.Session{}, err
	}
	s.cfg.Sessions.SignOut(c.r)
	return s.began(c, token, session), nil
}
