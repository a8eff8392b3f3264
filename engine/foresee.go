package engine

import (
	"context"
	"errors"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Foresee says what would be decided on a request now, by the same rules and the policy in force. It is for lists of what
// a caller may do: nothing is recorded, nothing is opened, and only a decision decides.
func (e *Engine) Foresee(ctx context.Context, r remit.Request) (remit.Decision, error) {
	r.Advice, r.Preview = true, false
	cmd := &authority.Authorize{Request: r}
	now, err := e.ready(cmd)
	if err != nil {
		return remit.Decision{}, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return remit.Decision{}, remit.Errorf(remit.Overload, "nobody waits for what would be decided: %w", err)
		}
		var ended bool
		var res authority.Result
		var policy remit.Digest
		e.View(func(s *authority.State) {
			if ended = killed(s, e.kills.all(), cmd); ended {
				return
			}
			policy = s.Policy
			_, res, err = authority.Decide(s, now, cmd)
		})
		var stale *authority.Stale
		switch {
		case ended:
			return deniedByKill(), nil
		case errors.As(err, &stale):
			cmd.Judged = e.judged(stale.Facts, policy)
		default:
			return res.Decision, err
		}
	}
}
