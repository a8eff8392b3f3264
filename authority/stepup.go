package authority

import (
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// signedIn is how the voter was signed in at now: what is recorded of it holds codes only (R10).
func (c *CastVote) signedIn(now int64) (remit.SignedIn, error) {
	out := c.Signed
	if out.Age = 0; c.Proved > 0 {
		out.Age = 1 + max(now-c.Proved-1, 0)/int64(time.Second)
	}
	if err := out.Check(); err != nil {
		return remit.SignedIn{}, remit.Errorf(remit.BadRequest, "how the voter was signed in: %w", err)
	}
	return out, nil
}

// steppedUp refuses a vote that is enough for no seat of its voter's, because they are not signed in as the seat asks (RFC
// 9470), and one that is enough for no seat for which an earlier vote of theirs was not enough already.
func (e electorate) steppedUp(a *Access, cast *remit.VoteCast) error {
	v := Vote{Person: cast.Person, Approve: true, Signed: cast.Signed}
	var fills []remit.Need
	var wanted *remit.Insufficient
	for _, n := range e.needs {
		switch {
		case e.fills(v, n):
			fills = append(fills, n)
		case e.in(n.Group, v.Person) && wanted == nil:
			wanted = &remit.Insufficient{StepUp: n.StepUp}
		}
	}
	if len(fills) == 0 && wanted != nil {
		return &remit.Error{Code: remit.StepUpWanted, Err: wanted,
			Sentence: fmt.Sprintf("a vote on %s counts from somebody who is %s, and you are signed in %s", a.ID, wanted.StepUp, v.Signed)}
	}
	for _, old := range a.Votes {
		if old.Person == v.Person && old.Approve && e.signs(old) && !slices.ContainsFunc(fills, func(n remit.Need) bool { return !e.fills(old, n) }) {
			return remit.Errorf(remit.Conflict, "you have already voted so on %s", a.ID)
		}
	}
	return nil
}
