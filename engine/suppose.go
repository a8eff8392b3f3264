package engine

import (
	"context"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Supposed is a copy of the committed state: as it is, or, with a set, as it would be if by had put that in force and
// nobody had to agree. The copy is the caller's; nothing of it is recorded. A set that is wrong is a
// *remit.DeclarationError.
func (e *Engine) Supposed(by remit.ID, set *authority.Set) (*authority.State, error) {
	var s *authority.State
	e.View(func(committed *authority.State) { s = copyState(committed) })
	if set == nil {
		return s, nil
	}
	now := max(s.Now, e.Now().UnixNano())
	events, err := authority.Enacted(s, now, by, set)
	if err != nil {
		return nil, err
	}
	for _, ev := range events {
		if err := authority.Apply(s, now, ev); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Policy is the policy of a digest, as decisions are judged by it.
func (e *Engine) Policy(ctx context.Context, d remit.Digest) (authority.Policy, error) {
	return e.loadPolicy(ctx, d)
}
