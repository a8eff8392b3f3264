package identity

import (
	"sync"
	"time"
)

// clock is a virtual clock: time passes when a test says so.
type clock struct {
	mu    sync.Mutex
	cond  *sync.Cond
	t     time.Time
	waits []wait
}

type wait struct {
	at time.Time
	ch chan time.Time
}

func newClock() *clock {
	c := &clock{t: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	c.cond = sync.NewCond(&c.mu)
	return c
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	c.waits = append(c.waits, wait{c.t.Add(d), ch})
	c.cond.Broadcast()
	return ch
}

// Advance lets time pass and wakes who waited for it.
func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	var left []wait
	for _, w := range c.waits {
		if w.at.After(c.t) {
			left = append(left, w)
			continue
		}
		w.ch <- c.t
	}
	c.waits = left
}

// Asleep returns when somebody waits for the clock.
func (c *clock) Asleep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waits) == 0 {
		c.cond.Wait()
	}
}
