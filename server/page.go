package server

import (
	"crypto/hmac"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// cardPage shows one card to whoever has its link. The page can do nothing but show.
func cardPage(s *Server, c *call) error {
	var notAfter int64
	s.view(func(st *authority.State) {
		if a := st.Accesses[c.id()]; a != nil {
			notAfter = a.NotAfter
		}
	})
	want := s.viewToken(s.org(), c.id(), notAfter)
	if !hmac.Equal([]byte(want), []byte(c.r.URL.Query().Get("view"))) || notAfter == 0 {
		return remit.Errorf(remit.Forbidden, "this is not the link to a card; `remit approvals show` prints it")
	}
	if s.now().UnixNano() >= notAfter {
		return remit.Errorf(remit.Expired, "the time of this request is over")
	}
	v, err := s.accesses(c, func(a *authority.Access) bool { return a.ID == c.id() })
	if err != nil {
		return err
	}
	if len(v) != 1 {
		return remit.Errorf(remit.NotFound, "there is no access request %.64s", c.id())
	}
	if s.cfg.Card == nil {
		return remit.Errorf(remit.NotFound, "this server has no pages; `remit approvals show` shows the card")
	}
	page, policy, err := s.cfg.Card(s.org(), v[0])
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Security-Policy", policy)
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if _, err := c.w.Write(page); err != nil {
		return errGone
	}
	return nil
}
