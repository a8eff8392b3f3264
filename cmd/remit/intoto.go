package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/attest"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/server"
)

// statements says votes and outcomes as signed in-toto statements, and nothing of other entries.
func (h *House) statements(a *attestor) server.Format {
	return func(i remit.EntryIndex, at time.Time, e remit.Event, _ []byte) ([]byte, error) {
		ctx := context.Background() // of an entry that is being sent: it ends with the connection
		where := attest.Where{Origin: h.heads.origin, Entry: i, At: at}
		switch e := e.(type) {
		case *remit.VoteCast:
			v := attest.Voted{Access: e.Access, Person: e.Person, Approve: e.Approve, Assurance: e.Assurance, Key: e.Key, Statement: e.Statement, Signed: e.Signed, Where: where}
			h.Engine.View(func(s *authority.State) {
				if x := s.Accesses[e.Access]; x != nil {
					v.Effect, v.Change, v.Card = x.Effect, x.Change, x.Card
				}
			})
			return a.sign(ctx)(attest.Vote(v))
		case *remit.Recorded:
			o, err := h.concluded(ctx, e)
			if err != nil {
				return nil, err
			}
			o.Where = where
			return a.sign(ctx)(attest.Outcome(o))
		}
		return nil, nil
	}
}

// concluded reads what an outcome is of: the attempt and the permit name their entries.
func (h *House) concluded(ctx context.Context, e *remit.Recorded) (attest.Concluded, error) {
	o := attest.Concluded{Attempt: e.Attempt, Outcome: e.Outcome, Code: e.Code, Made: e.Made}
	h.Engine.View(func(s *authority.State) { o.Rules = s.Rules })
	l, _, err := h.Engine.Entry(ctx, numbered(e.Attempt))
	if err != nil {
		return o, err
	}
	redeemed, ok := l.Event.(*remit.Redeemed)
	if !ok {
		return o, remit.Errorf(remit.Internal, "attempt %s is not where its name says", e.Attempt)
	}
	if l, _, err = h.Engine.Entry(ctx, numbered(redeemed.Permit)); err != nil {
		return o, err
	}
	decided, ok := l.Event.(*remit.Decided)
	if !ok {
		return o, remit.Errorf(remit.Internal, "permit %s is not where its name says", redeemed.Permit)
	}
	o.Effect, o.Task, o.Access, o.Executor = decided.Effect, decided.Task, decided.Access, decided.Executor
	return o, nil
}

// numbered is the entry that made what an id names.
func numbered(id remit.ID) remit.EntryIndex {
	_, number, _ := strings.Cut(string(id), "-")
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0 // genesis: what is read there is none of it
	}
	return remit.EntryIndex(n)
}
