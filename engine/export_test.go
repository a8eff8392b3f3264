package engine

import (
	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// CopyState is copyState.
var CopyState = copyState

// KillSlots is how many pending kills the file takes.
const KillSlots = killSlots

// Faulty has the writer's Apply fail where fails says so. It is called before anything is decided.
func (e *Engine) Faulty(fails func(remit.Event) error) {
	e.apply = func(s *authority.State, at int64, ev remit.Event) error {
		if err := authority.Apply(s, at, ev); err != nil {
			return err
		}
		return fails(ev)
	}
}

// Waiting tells how many commands wait for the writer.
func (e *Engine) Waiting() int { return len(e.queue) }
