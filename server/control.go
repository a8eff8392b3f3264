package server

import (
	"context"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
)

// erase takes payloads away for good. Where there is a second administrator it waits for them.
func erase(s *Server, c *call, in remit.EraseRequest) (out remit.EraseAnswer, _ error) {
	ctx, reason := c.r.Context(), strings.TrimSpace(in.Reason)
	if reason == "" || len(reason) > maxReason {
		return out, remit.Errorf(remit.BadRequest, "an erasure needs a reason of at most %d bytes; it is kept, so it does not repeat what goes", maxReason)
	}
	what, entries, err := s.eraseWhat(ctx, in)
	if err != nil {
		return out, err
	}
	done, err := s.work(ctx)
	if err != nil {
		return out, err
	}
	defer done()
	text, err := s.cfg.Engine.NewPayload([]byte(reason))
	if err != nil {
		return out, err
	}
	what.By, what.Reason = c.person, text.Commitment()
	x := s.cfg.Engine.NewErasure(what)
	for _, i := range entries {
		if err := x.Entry(ctx, i, in.Entry != nil); err != nil {
			return out, err
		}
	}
	cmd := x.Command
	if cmd.Brought, err = s.cfg.Follow.StillBrought(ctx, cmd.Brought); err != nil {
		return out, err
	}
	res, err := s.cfg.Engine.Erase(ctx, c.once, &cmd, text)
	if err != nil {
		return out, s.inNames(c, err)
	}
	if res.Decision.Verdict == remit.Allow {
		s.forget(ctx, x)
	}
	return remit.EraseAnswer{Decision: res.Decision, Payloads: len(cmd.Payloads)}, nil
}

// eraseWhat is what a request is about, and the entries at which its payloads stand.
func (s *Server) eraseWhat(ctx context.Context, in remit.EraseRequest) (c authority.ErasePayloads, entries []remit.EntryIndex, err error) {
	switch {
	case in.Task != "" && in.Person == "" && in.Entry == nil:
		c.What, c.ID, c.Tasks = "task", in.Task, []remit.ID{in.Task}
		s.view(func(st *authority.State) {
			if st.Tasks[in.Task] == nil {
				err = remit.Errorf(remit.NotFound, "there is no task %.32q", in.Task)
			}
		})
		if err == nil {
			entries, err = s.cfg.Follow.Entries(ctx, in.Task)
		}
	case in.Person != "" && in.Task == "" && in.Entry == nil:
		id := remit.ID(in.Person)
		if known, ok := s.people(ctx).ID(in.Person); ok {
			id = known
		}
		c.What, c.ID = "person", id
		s.view(func(st *authority.State) {
			p := st.People[id]
			if p == nil {
				err = remit.Errorf(remit.NotFound, "there is no person %.64q", in.Person)
				return
			}
			for _, ch := range p.Changes {
				entries = append(entries, ch.Entry)
			}
		})
	case in.Entry != nil && in.Task == "" && in.Person == "":
		c.What, entries = "entry", []remit.EntryIndex{*in.Entry}
	default:
		err = remit.Errorf(remit.BadRequest, "say what is erased: a task, a person or an entry, one of them")
	}
	return c, entries, err
}

// forget drops what is remembered of what was erased.
func (s *Server) forget(ctx context.Context, x *engine.Erasure) {
	s.cards.Lock()
	clear(s.explained)
	s.cards.Unlock()
	if err := s.cfg.Follow.CatchUp(ctx); err != nil { // which forgets the names
		s.cfg.Slog.Error("following the log", "err", err)
	}
	if s.cfg.Erased != nil {
		s.cfg.Erased(ctx, x.Requests)
	}
}

// completeErase carries out an erasure that was approved.
func (s *Server) completeErase(ctx context.Context, c *authority.ErasePayloads) error {
	x := s.cfg.Engine.NewErasure(*c)
	for _, i := range c.Entries { // for the requests: what they name goes too
		if err := x.Entry(ctx, i, true); err != nil {
			return err
		}
	}
	x.Command = *c
	res, err := s.cfg.Engine.Erase(ctx, engine.Once{}, c)
	if err == nil && res.Decision.Verdict == remit.Allow {
		s.forget(ctx, x)
	}
	return err
}

// drain lets the server come to rest: it begins nothing new, and what is under way ends. Asked again it says how far it is.
func drain(s *Server, c *call, in remit.DrainRequest) (out remit.DrainAnswer, err error) {
	if s.cfg.Engine.Draining() == in.Undo {
		s.cfg.Slog.Info("drain", "by", c.person, "undo", in.Undo)
	}
	left, err := s.cfg.Engine.Drain(c.r.Context(), !in.Undo)
	if err != nil {
		return out, err
	}
	out.Attempts = append([]remit.ID{}, left[:min(len(left), maxLeft)]...)
	out.Draining = s.cfg.Engine.Draining()
	out.Head, err = s.cfg.Log.Head(c.r.Context())
	return out, err
}

// maxLeft is how many attempts under way an answer names.
const maxLeft = 100

// erasedBy is the entry that erased a payload; 0 where it is there.
func (s *Server) erasedBy(commitment remit.Digest) (by remit.EntryIndex) {
	s.view(func(st *authority.State) { by = st.Erased[commitment] })
	return by
}
