package engine

import (
	"context"
	"maps"
	"slices"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Drain begins nothing new from here on, or, with false, goes on. It gives the attempts that are under way, in order:
// once there is none, the server can be stopped without cutting anybody off. It is soft state; a start forgets it.
func (e *Engine) Drain(ctx context.Context, on bool) (left []remit.ID, err error) {
	e.draining.Store(on)
	// What was decided before this command is committed once it is answered.
	if _, err := e.Do(ctx, &authority.Tick{}); err != nil {
		return nil, err
	}
	e.View(func(s *authority.State) { left = slices.Sorted(maps.Keys(s.Attempts)) })
	return left, nil
}

// Draining tells whether nothing new is begun.
func (e *Engine) Draining() bool { return e.draining.Load() }

// begins tells which commands start something: requests of gateways, permits, work, and steps that may hold. What ends,
// votes or records goes on.
func begins(c authority.Command) bool {
	switch c.(type) {
	case *authority.Authorize, *authority.Redeem, *authority.CreateTask, *authority.StartInstance, *authority.StartJob,
		*authority.ApplySet, *authority.AbandonLease, *authority.ErasePayloads, *authority.StoreSecret,
		*authority.OpenRun, *authority.Regrant, *authority.ReviveAgent:
		return true
	}
	return false
}
