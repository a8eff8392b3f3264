package git

import (
	"sync"

	"github.com/remit-dev/remit"
)

// unsettled follows the pushes whose outcome a crash left open: what later pushes find tells what became of them.
type unsettled struct {
	mu   sync.Mutex
	open map[opened]*since
}

// opened is one command of an open push.
type opened struct{ repo, ref, old, new string }

// since is what later pushes showed. A push that was done from the old value shows that the open one was not done before
// it, and that its compare-and-swap fails after it; one from the new value, that it was done.
type since struct {
	flying int           // later pushes of the ref that are under way
	told   remit.Outcome // by the first of them that tells
}

// look tells what is known of an open push, and has it followed from now on.
func (u *unsettled) look(o order) (now since) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open = map[opened]*since{}
	}
	for _, c := range o.Commands {
		k := opened{o.Repo, c.Ref, c.Old, c.New}
		if u.open[k] == nil {
			u.open[k] = &since{}
		}
		s := u.open[k]
		now.flying += s.flying
		if now.told == "" {
			now.told = s.told // they were to move together
		}
	}
	return now
}

// each visits the open commands on the refs of a push, with its own.
func (u *unsettled) each(o order, visit func(k opened, s *since, old string)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, s := range u.open {
		for _, c := range o.Commands {
			if k.repo == o.Repo && k.ref == c.Ref {
				visit(k, s, c.Old)
			}
		}
	}
}

// begin says that a push is under way, until end is called.
func (u *unsettled) begin(o order) (end func()) {
	var flying []*since
	u.each(o, func(_ opened, s *since, _ string) {
		s.flying++
		flying = append(flying, s)
	})
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, s := range flying {
			s.flying--
		}
	}
}

// done says that the upstream reported a push as done: its refs were at their old values.
func (u *unsettled) done(o order) {
	u.each(o, func(k opened, s *since, old string) {
		switch {
		case s.told != "":
		case old == k.old:
			s.told = remit.NotApplied
		case old == k.new:
			s.told = remit.Done
		}
	})
}
