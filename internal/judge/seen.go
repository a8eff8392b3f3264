package judge

import (
	"slices"

	"github.com/remit-dev/remit"
)

// seen: who is said to have looked is somebody who may vote, looked while there was something to vote on, and is said to
// once.
func (j *Judge) seen(at int64, e *remit.AccessSeen) string {
	a := j.access[e.Access]
	switch {
	case a == nil:
		return "log: somebody saw a request that was never made"
	case j.keys[e.Person] == nil || j.dead[e.Person] || !j.member(e.Person, a):
		return "R3: a request was seen by somebody who was not asked"
	case a.status != remit.AccessOpen || at >= a.NotAfter || j.asked(a, at) != "":
		return "R6: a request was seen that is not open"
	case slices.Contains(a.seen, e.Person):
		return "log: somebody saw a request for the first time, twice"
	case j.profile != remit.Solo && (slices.Contains(a.Closure, e.Person) || j.causes(a, e.Person)):
		return "R3: somebody in the closure saw a request as if they could approve it"
	}
	a.seen = append(a.seen, e.Person)
	return ""
}
