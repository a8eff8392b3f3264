package world

import (
	"sync"
	"time"
)

// Clock stands still until Advance moves it.
type Clock struct {
	mu      sync.Mutex
	now     time.Time
	boot    time.Duration
	waiting []waiter
}

type waiter struct {
	at time.Time
	c  chan time.Time
}

// NewClock is a clock that stands at the present: a TLS client goes by the machine's.
func NewClock() *Clock { return &Clock{now: time.Now().UTC().Truncate(time.Second)} }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Boot is the time since the machine of this world was started.
func (c *Clock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

// After gives a channel on which the time comes when the clock has gone on by d.
func (c *Clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := waiter{c.now.Add(d), make(chan time.Time, 1)}
	if d <= 0 {
		w.c <- c.now
		return w.c
	}
	c.waiting = append(c.waiting, w)
	return w.c
}

// Advance moves the clock on and wakes who waited for that.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.boot = c.now.Add(d), c.boot+d
	kept := c.waiting[:0]
	for _, w := range c.waiting {
		if c.now.Before(w.at) {
			kept = append(kept, w)
			continue
		}
		w.c <- c.now
	}
	c.waiting = kept
}

// Waiting tells how many wait for the clock.
func (c *Clock) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}
