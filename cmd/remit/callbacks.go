package main

import (
	"context"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// How often an enforcement point is called, and how many at a time. It is told as a favour: who is not reached asks.
const (
	callTries = 4
	callAgain = 2 * time.Second // after the first try; then four times as long each
	maxCalls  = 8
)

// tell calls enforcement points back when what they asked for has come to an end, until ctx ends. What ended while the
// server was not running is not told.
func (f *foreign) tell(ctx context.Context) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	places := make(chan struct{}, maxCalls)
	waits := map[remit.ID]bool{} // of requests that have not ended: whether somebody is to be told
	for {
		changed := f.engine.Changed()
		fresh, decided := f.since(waits)
		for _, a := range fresh {
			h, ours := f.held(ctx, a)
			h.Status = remit.AccessUsed // as if it were over: would anybody be told?
			_, _, wanted := f.Told(h)
			waits[a.ID] = ours && wanted
			if waits[a.ID] && a.Status != remit.AccessOpen {
				decided = append(decided, a)
			}
		}
		for _, a := range decided {
			waits[a.ID] = false
			h, ours := f.held(ctx, a)
			if !ours {
				continue
			}
			endpoint, body, ok := f.Told(h)
			if !ok {
				continue
			}
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			calls.Go(func() {
				defer func() { <-places }()
				f.callBack(ctx, endpoint, "authzen-"+string(h.Access)+"-"+string(h.Status), body)
			})
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// since gives the requests that were not looked at yet, and those of waits that somebody is to be told of now. Those that
// nobody has to be told of any more leave waits.
func (f *foreign) since(waits map[remit.ID]bool) (fresh, decided []authority.Access) {
	f.engine.View(func(s *authority.State) {
		for id := range s.OpenHolds {
			if _, known := waits[id]; !known {
				fresh = append(fresh, *s.Accesses[id])
			}
		}
		for id, wanted := range waits {
			a := s.Accesses[id]
			if wanted && a != nil && a.Status != remit.AccessOpen {
				decided = append(decided, *a)
			}
			if !s.OpenHolds[id] {
				delete(waits, id)
			}
		}
	})
	return fresh, decided
}

// callBack hands a notification over, with a few tries.
func (f *foreign) callBack(ctx context.Context, endpoint, id string, body []byte) {
	wait := callAgain
	for n := range callTries {
		err := f.call(ctx, endpoint, id, body)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case n == callTries-1:
			f.log.Warn("an enforcement point was not told", "id", id, "err", err)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait *= 4
	}
}
