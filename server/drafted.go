package server

import (
	"context"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Declare puts declarations in force in the name of a person, in the way in which a request does. It is for a house that
// nobody else asks: one that was made to look at declarations. Where they would wait for a second administrator they are
// not in force, and that is an error. It gives the id of the person.
func (s *Server) Declare(ctx context.Context, by string, in remit.Declarations) (remit.ID, error) {
	id, ok := s.people(ctx).ID(by)
	if !ok {
		return "", remit.Errorf(remit.UnknownPrincipal, "there is no person %.64q", by)
	}
	d, err := s.declare(ctx, in, false)
	if err != nil {
		return "", err
	}
	res, err := s.cfg.Engine.Do(ctx, &authority.ApplySet{By: id, Set: d.set}, d.payloads...)
	if err != nil {
		return "", d.explain(err)
	}
	if res.Decision.Verdict != remit.Allow {
		return "", remit.Errorf(remit.ControlWidens, "the declarations are not in force: %s", res.Decision.Sentence)
	}
	return id, nil
}
