package authority_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// TestContain: from the entry on nothing is decided, redeemed or made at the upstream, what lives there ends, and other
// upstreams go on; until it is lifted, and whatever is declared meanwhile.
func TestContain(t *testing.T) {
	w := supplied(t)
	l, c := w.lease(nil, remit.LeaseMinted, remit.LeaseActive)
	early := w.allow(publish(c, built("b"))).Permit.ID
	x := w.redeem(w.allow(publish(c, built("c"))).Permit.ID).Attempt.ID
	contain := &authority.ContainUpstream{By: "p-ada", Upstream: "oci"}
	lift := &authority.ContainUpstream{By: "p-bob", Upstream: "oci", Lift: true}

	w.refuse(&authority.ContainUpstream{By: "p-mia", Upstream: "oci"}, remit.Forbidden, "only an administrator")
	w.refuse(&authority.ContainUpstream{By: "p-ada", Upstream: "none"}, remit.NotFound, "no upstream")
	w.refuse(lift, remit.Conflict, "is not contained")
	if n := len(w.s.LeasesToEnd(w.s.Now)); n != 0 {
		t.Fatalf("%d leases end", n)
	}
	w.must(contain)
	w.refuse(contain, remit.Conflict, "is contained since entry")
	if ids := w.s.LeasesToEnd(w.s.Now); len(ids) != 1 || ids[0] != l {
		t.Fatalf("to end are %v, not %s", ids, l)
	}
	stopped := func() {
		t.Helper()
		w.deny(publish(c, built("d")), remit.Contained, "upstream oci is contained since entry")
		w.refuse(opened(x), remit.Contained, "upstream oci is contained")
		w.allow(step(w.task("coder", "p-mia"), "source.read", payments))
	}
	w.refuse(&authority.Redeem{Permit: early, Proof: remit.Hash(secret[:]), Hash: proof}, remit.Contained, "upstream oci is contained")
	stopped()
	w.apply(func(s *authority.Set) { s.Upstreams[1].Spec = remit.Hash([]byte("moved")) })
	stopped()
	w.refuse(&authority.ContainUpstream{By: "p-mia", Upstream: "oci", Lift: true}, remit.Forbidden, "only an administrator")
	w.must(lift)
	w.must(opened(x))
	w.allow(publish(c, built("d")))
	if ids := w.s.LeasesToEnd(w.s.Now); len(ids) != 1 || ids[0] != l {
		t.Fatalf("what was to end is %v, not %s", ids, l)
	}
	w.replay()
}
