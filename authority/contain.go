package authority

import (
	"fmt"

	"github.com/remit-dev/remit"
)

// ContainUpstream ends at once all that Remit made at an upstream, and keeps everything from it: when its credentials may
// be in the wrong hands. It takes away, so one administrator says so (R11); the same for Lift, which gives nobody more
// than the declarations do.
type ContainUpstream struct {
	By       remit.ID
	Upstream string
	Lift     bool
}

func (*ContainUpstream) name() string { return "upstream.contain" }

func decideContain(s *State, c *ContainUpstream) ([]remit.Event, Result, error) {
	if !s.IsAdmin(c.By) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "only an administrator contains an upstream, or lifts that")
	}
	if s.Upstreams[c.Upstream] == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "no upstream %q is declared", c.Upstream)
	}
	since, contained := s.Contained[c.Upstream]
	switch {
	case contained && !c.Lift:
		return nil, Result{}, remit.Errorf(remit.Conflict, "upstream %s is contained since entry %d", c.Upstream, since.Entry)
	case !contained && c.Lift:
		return nil, Result{}, remit.Errorf(remit.Conflict, "upstream %s is not contained", c.Upstream)
	}
	return []remit.Event{&remit.UpstreamContained{Upstream: c.Upstream, By: c.By, Lifted: c.Lift}}, Result{}, nil
}

// applyContained begins the end of every lease of an upstream; the broker sees to it.
func (s *State) applyContained(n remit.EntryIndex, at int64, e *remit.UpstreamContained) error {
	if s.Upstreams[e.Upstream] == nil {
		return fmt.Errorf("no upstream %q is declared", e.Upstream)
	}
	if e.Lifted {
		delete(s.Contained, e.Upstream)
		return nil
	}
	if s.Contained == nil {
		s.Contained = map[string]Change{}
	}
	s.Contained[e.Upstream] = Change{e.By, n}
	for _, id := range sorted(s.Leases) {
		if l := s.Leases[id]; l.Upstream == e.Upstream && l.Ending == 0 {
			l.Ending = at
		}
	}
	return nil
}

// checkContained refuses what would be done at an upstream that is contained.
func (s *State) checkContained(upstream string) error {
	since, contained := s.Contained[upstream]
	if !contained {
		return nil
	}
	return remit.Errorf(remit.Contained, "upstream %s is contained since entry %d: nothing is done there until an administrator lifts it (remit leases contain --lift %s)", upstream, since.Entry, upstream)
}
