package ticket

import (
	"sync"

	"github.com/remit-dev/remit"
)

// Shown remembers which clients were sent to look at a page: who comes back waits, and is not sent there in circles.
type Shown struct {
	mu sync.Mutex
	of map[string]bool
}

// First tells whether that client was not sent to look at that access request before, and remembers that it is now.
func (s *Shown) First(instance, access remit.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := string(instance) + " " + string(access)
	if s.of[key] {
		return false
	}
	if s.of == nil || len(s.of) >= maxPagesShown {
		s.of = map[string]bool{}
	}
	s.of[key] = true
	return true
}

// maxPagesShown bounds what is remembered. Whatever is forgotten is shown once more.
const maxPagesShown = 4096
