package authority_test

import (
	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// looks is somebody at the card of a request; they may look at anything.
func (h *history) looks() {
	if open := ids(h.s.Accesses); len(open) > 0 {
		h.try(&authority.SeeAccess{Access: pick(h.r, "request", open), Person: h.person()})
	}
}

// tells declares other channels.
func (h *history) tells() {
	s := clone(h.set)
	s.Notify = pick(h.r, "channels", []remit.Digest{{}, {1}, {2}})
	h.putInForce(h.admin(), s, "")
}
