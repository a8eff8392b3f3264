package broker

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// workers is how many ends one upstream is asked for at a time.
const workers = 4

// Retries go on for ever, at growing distances.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Minute
)

// retrying gives the distances between tries, with jitter, so that a thousand leases do not come back at once.
func retrying() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = firstRetry, 2, lastRetry
	return b
}

// job is something to be ended at an upstream. It says whether it must be tried again, and that not before a time.
type job func(context.Context) (again bool, after time.Duration)

// queue is the ends that one upstream is asked for: first come, first served; what fails goes to the back after a
// while, so that one object that does not die keeps no other alive.
type queue struct {
	ctx   context.Context
	work  *sync.WaitGroup
	after func(time.Duration) <-chan time.Time

	mu      sync.Mutex
	ready   []job
	running int
}

// add puts j at the back.
func (q *queue) add(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ready = append(q.ready, j)
	if q.running < workers {
		q.running++
		q.work.Go(q.run)
	}
}

// run works until nothing is left that could be done now.
func (q *queue) run() {
	for {
		q.mu.Lock()
		if len(q.ready) == 0 || q.ctx.Err() != nil {
			q.running--
			q.mu.Unlock()
			return
		}
		j := q.ready[0]
		q.ready = q.ready[1:]
		q.mu.Unlock()
		if again, d := j(q.ctx); again {
			q.later(j, d)
		}
	}
}

// later adds j after a while.
func (q *queue) later(j job, d time.Duration) {
	q.work.Go(func() {
		select {
		case <-q.after(d):
			q.add(j)
		case <-q.ctx.Done():
		}
	})
}
