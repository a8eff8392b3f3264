package engine

import (
	"fmt"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// maxClock is how far the wall clock may move against the time since boot before it is doubted.
const maxClock = time.Minute

// clockGuard notices a wall clock that jumps against the time since boot, and one that is behind the log at start. While
// it is in doubt, time goes on from the last reading that was believed: an entry stamped with a wrong future could not
// be taken back, and no later entry may lie before it.
type clockGuard struct {
	clock Clock

	mu    sync.Mutex
	wall  time.Time // believed
	boot  time.Duration
	doubt error
}

// now is the wall clock without Go's monotonic reading, by which two times would be compared otherwise: it does not see
// that the wall clock was set, and it stops while the machine sleeps.
func (g *clockGuard) now() time.Time { return g.clock.Now().Round(0) }

func (g *clockGuard) init(c Clock, last int64) {
	g.clock = c
	g.wall, g.boot = g.now(), c.Boot()
	if behind := time.Unix(0, last).Sub(g.wall); last != 0 && behind > maxClock {
		g.doubt = doubtful("the clock is %s behind the last entry of the log", behind)
	}
}

func doubtful(format string, by time.Duration) error {
	return remit.Errorf(remit.ClockInDoubt, "%s; an administrator looks at it and says: remit clock confirm", fmt.Sprintf(format, by.Round(time.Second)))
}

// read gives the time, and the error with which everything but taking away is denied while it is in doubt.
func (g *clockGuard) read() (time.Time, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, boot := g.now(), g.clock.Boot()
	carried := g.wall.Add(boot - g.boot)
	if jump := wall.Sub(carried); g.doubt == nil && jump.Abs() > maxClock {
		g.doubt = doubtful("the clock jumped by %s", jump)
	}
	if g.doubt != nil {
		return carried, g.doubt
	}
	g.wall, g.boot = wall, boot
	return wall, nil
}

func (g *clockGuard) confirm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wall, g.boot, g.doubt = g.now(), g.clock.Boot(), nil
}

// ConfirmClock ends the doubt, on an administrator's word: from here on the wall clock is believed as it is.
func (e *Engine) ConfirmClock(by remit.ID) error {
	if _, err := e.Do(e.background(), &authority.ConfirmClock{By: by}); err != nil {
		return err
	}
	e.clock.confirm()
	return nil
}
