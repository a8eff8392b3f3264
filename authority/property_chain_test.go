package authority_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// of is a caller that is an instance of an agent.
func (h *history) of(agent string) (caller, bool) {
	var cs []caller
	for _, c := range h.callers {
		if c.Agent == agent {
			cs = append(cs, c)
		}
	}
	if len(cs) == 0 {
		return caller{}, false
	}
	return pick(h.r, "caller", cs), true
}

func (h *history) artifact() remit.Artifact {
	return pick(h.r, "artifact", []remit.Artifact{built("a"), built("b"), {Resource: "artifact:oci/acme/tools", Digest: built("t").Digest}, {Resource: "artifact:oci/other/x", Digest: built("t").Digest}})
}

// build makes a task that rests on a commit, as a child task does, and publishes.
func (h *history) build() {
	a := h.s.Agents["builder"]
	if !rapid.Bool().Draw(h.r, "new task") || a.Status != remit.AgentActive || h.s.People["p-mia"].Killed || h.s.People["p-mia"].Removed || h.s.People[a.Owner].Killed || h.s.People[a.Owner].Removed {
		if c, ok := h.of("builder"); ok {
			h.ask(publish(c, h.artifact()))
		}
		return
	}
	if h.s.Groups["devs"] == nil || len(h.s.Groups["devs"].Members) == 0 || h.s.Groups["devs"].Members[0] != "p-mia" {
		return
	}
	e := &remit.TaskCreated{ID: remit.ID(fmt.Sprintf("T-%d", h.s.Next)), Requester: "p-mia", Agent: "builder", Grant: a.Entitlements, Deadline: h.now.Add(time.Hour).UnixNano(),
		Inputs: []remit.Input{{Resource: payments, ID: oid(pick(h.r, "commit", []string{"1", "2", "3"}))}}}
	h.happen(e)
	h.start(e.ID)
	if c, ok := h.of("builder"); ok {
		h.ask(publish(c, h.artifact()))
	}
}

func (h *history) deploys() {
	c, ok := h.of("pilot")
	if !ok {
		return
	}
	as := []remit.Artifact{h.artifact()}
	r := h.deployment(c, pick(h.r, "environment", []remit.Resource{staging, staging, production}), as...)
	switch rapid.IntRange(0, 5).Draw(h.r, "deployment") {
	case 0, 1:
		r = back(r)
	case 2:
		r.Deploy.From = remit.EntryIndex(rapid.IntRange(0, int(h.s.Next)).Draw(h.r, "from"))
		r = deploy(c, *r.Deploy)
	}
	h.ask(r)
}

// promote takes an artifact a good way towards an environment.
func (h *history) promote() {
	h.newTaskOf("pilot")
	h.build()
	h.spendAll()
	if c, ok := h.of("pilot"); ok {
		as := ids2(h.s.Artifacts)
		if len(as) == 0 {
			return
		}
		a := h.s.Artifacts[pick(h.r, "known", as)].Artifact
		h.ask(h.deployment(c, pick(h.r, "environment", []remit.Resource{staging, production}), a))
		for range 3 {
			h.carry()
		}
	}
}

func (h *history) newTaskOf(agent string) {
	if id := h.try(&authority.CreateTask{Agent: agent, By: "p-mia"}).ID; id != "" {
		h.start(id)
	}
}

func (h *history) spendAll() {
	for _, p := range ids(h.s.Permits) {
		h.try(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof})
	}
	for _, a := range ids(h.s.Attempts) {
		if rapid.IntRange(0, 3).Draw(h.r, "open lease") == 0 {
			h.openLease(a)
		}
		h.try(&authority.Record{Attempt: a, Outcome: remit.Done})
	}
}

func ids2[V any](m map[string]V) []string {
	in := map[remit.ID]V{}
	for k, v := range m {
		in[remit.ID(k)] = v
	}
	var out []string
	for _, id := range ids(in) {
		out = append(out, string(id))
	}
	return out
}

func (h *history) openLease(x remit.ID) {
	a := h.s.Attempts[x]
	o := &authority.OpenLease{Attempt: x, Target: pick(h.r, "step", a.Steps).Resource, Upstream: pick(h.r, "upstream", []string{"forge", "oci", "cluster"}),
		Write: rapid.Bool().Draw(h.r, "write"), For: int64(pick(h.r, "life", []time.Duration{0, time.Minute, time.Hour})),
		Revocation: pick(h.r, "revocation", []remit.Revocation{remit.RevokeImmediate, remit.RevokeExpiry, remit.RevokeBounded})}
	if o.Revocation == remit.RevokeBounded {
		o.Bound = int64(time.Minute)
	}
	switch o.Target.Type() {
	case "repo":
		o.Upstream = "forge"
	case "artifact":
		o.Upstream = "oci"
	}
	h.try(o)
}

func (h *history) lease() {
	if as := ids(h.s.Attempts); len(as) > 0 {
		h.openLease(pick(h.r, "attempt", as))
	}
	h.moves()
}

func (h *history) moves() {
	for range 6 {
		ls := ids(h.s.Leases)
		if len(ls) == 0 {
			return
		}
		l := pick(h.r, "lease", ls)
		m := &authority.MoveLease{Lease: l, Tries: rapid.IntRange(0, 3).Draw(h.r, "tries"), To: pick(h.r, "to", []remit.LeaseStatus{remit.LeaseAnchored, remit.LeaseMinted, remit.LeaseMinted,
			remit.LeaseActive, remit.LeaseActive, remit.LeaseRevoking, remit.LeaseRevoked, remit.LeaseRevoked, remit.LeaseExpired, remit.LeaseQuarantined, remit.LeaseAbandoned, remit.LeaseIntended})}
		if rapid.IntRange(0, 3).Draw(h.r, "stated") == 0 {
			m.NotAfter = h.s.Leases[l].NotAfter + int64(pick(h.r, "longer", []time.Duration{-time.Minute, 0, time.Minute, time.Hour}))
		}
		h.try(m)
	}
}

func (h *history) abandon() {
	ls := ids(h.s.Leases)
	if len(ls) == 0 {
		return
	}
	c := &authority.AbandonLease{By: pick(h.r, "admin", []remit.ID{"p-ada", "p-bob", "p-mia"}), Lease: pick(h.r, "lease", ls), Reason: remit.Hash([]byte("gone"))}
	h.try(&authority.MoveLease{Lease: c.Lease, To: remit.LeaseRevoking})
	c.Access = h.try(c).Decision.Access
	if c.Access == "" {
		return
	}
	voter := pick(h.r, "voter", []string{"ada", "bob", "mia"})
	if h.s.OpenHolds[c.Access] {
		h.try(h.ballot(c.Access, voter, touch(voter), true))
	}
	h.try(c)
}
