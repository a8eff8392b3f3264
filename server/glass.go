package server

import (
	"cmp"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// openGlass opens break-glass by a signed act. Who may, and for what, the authority says alone.
func openGlass(s *Server, c *call, in remit.OpenGlassRequest) (remit.GlassView, error) {
	if len(in.Reason) == 0 || len(in.Reason) > maxIntent {
		return remit.GlassView{}, remit.Errorf(remit.BadRequest, "the reason is 1 to %d bytes, not %d", maxIntent, len(in.Reason))
	}
	if err := s.ownOrigin(in.Signature); err != nil {
		return remit.GlassView{}, err
	}
	reason, err := s.cfg.Engine.NewPayload([]byte(in.Reason))
	if err != nil {
		return remit.GlassView{}, err
	}
	res, err := s.do(c, &authority.OpenGlass{By: c.person, Reason: reason.Commitment(), Words: remit.Hash([]byte(in.Reason)),
		Statement: in.Statement, Signature: in.Signature}, reason)
	if err != nil {
		return remit.GlassView{}, s.inNames(c, err)
	}
	return s.oneGlass(c, res.ID)
}

func reviewGlass(s *Server, c *call, in remit.ReviewGlassRequest) (remit.GlassView, error) {
	l, err := remit.ParseLooking(in.Statement)
	if err != nil {
		return remit.GlassView{}, err
	}
	if l.ID != c.id() {
		return remit.GlassView{}, remit.Errorf(remit.BadVote, "the statement is about %.64s, not %.64s", l.ID, c.id())
	}
	if err := s.ownOrigin(in.Signature); err != nil {
		return remit.GlassView{}, err
	}
	if _, err := s.do(c, &authority.ReviewGlass{By: c.person, Statement: in.Statement, Signature: in.Signature}); err != nil {
		return remit.GlassView{}, s.inNames(c, err)
	}
	return s.oneGlass(c, c.id())
}

func (s *Server) oneGlass(c *call, id remit.ID) (remit.GlassView, error) {
	list, err := listGlass(s, c)
	if i := slices.IndexFunc(list, func(v remit.GlassView) bool { return v.ID == id }); err == nil && i >= 0 {
		return list[i], nil
	}
	return remit.GlassView{}, cmp.Or(err, error(remit.Errorf(remit.NotFound, "there is no break-glass %.64s", id)))
}

// listGlass lists break-glass that was opened, newest first; what is not reviewed is an open item of its reviewers.
func listGlass(s *Server, c *call) ([]remit.GlassView, error) {
	d := s.people(c.r.Context())
	now := s.now().UnixNano()
	out := []remit.GlassView{}
	var reasons []remit.Digest
	s.view(func(st *authority.State) {
		var found []*authority.Opened
		for _, o := range st.Opened {
			found = append(found, o)
		}
		slices.SortFunc(found, func(a, b *authority.Opened) int { return cmp.Compare(b.Entry, a.Entry) })
		for _, o := range found[:min(len(found), maxFindings)] {
			v := remit.GlassView{ID: o.ID, Name: o.Name, Task: o.Task, By: d.Name(o.By), Opened: time.Unix(0, o.At).UTC(), Until: time.Unix(0, o.Until).UTC(), Due: time.Unix(0, o.Due).UTC(),
				Overdue: o.Reviewed == "" && now >= o.Due, Entries: append([]remit.EntryIndex{}, o.Under...), Steps: remit.StepsDigest(o.Under), Right: o.Right,
				WhyNot: named(d, st.MayReviewGlass(o.ID, c.person, now))}
			if v.YouMay = v.WhyNot == ""; o.Reviewed != "" {
				v.Reviewed = d.Name(o.Reviewed)
			}
			out, reasons = append(out, v), append(reasons, o.Reason)
		}
	})
	for i := range out {
		out[i].Reason = s.text(c.r.Context(), reasons[i])
	}
	return out, nil
}
