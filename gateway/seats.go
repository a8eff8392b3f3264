package gateway

import (
	"sync"

	"github.com/remit-dev/remit"
)

// maxSeats is how many requests of one instance wait at a time.
const maxSeats = 16

// Seats bound how many requests of one instance wait for people at a time: each of them holds a connection, and is looked
// at with every change.
type Seats struct {
	mu    sync.Mutex
	taken map[remit.ID]int
}

// Take takes a place; leave gives it back. Where there is none, ok is false.
func (s *Seats) Take(instance remit.ID) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[instance] >= maxSeats {
		return nil, false
	}
	if s.taken == nil {
		s.taken = map[remit.ID]int{}
	}
	s.taken[instance]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken[instance]--; s.taken[instance] == 0 {
			delete(s.taken, instance)
		}
	}, true
}
