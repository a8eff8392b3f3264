package authority_test

import (
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func (h *history) admin() remit.ID {
	return pick(h.r, "admin", []remit.ID{"p-ada", "p-ada", "p-bob", "p-mia"})
}

func (h *history) entry() remit.EntryIndex {
	return remit.EntryIndex(rapid.IntRange(0, len(h.log)-1).Draw(h.r, "entry"))
}

// erases takes payloads away, mostly as it should be, and asks for what was approved.
func (h *history) erases() {
	c := &authority.ErasePayloads{By: h.admin(), What: "entry", Entries: []remit.EntryIndex{h.entry()}, Reason: why,
		Payloads: []remit.Digest{remit.Hash(fmt.Append(nil, len(h.log)))}}
	switch rapid.IntRange(0, 5).Draw(h.r, "what") {
	case 0:
		c.Payloads = append(c.Payloads, remit.Hash([]byte(pick(h.r, "text", names)))) // a name
	case 1:
		if t := ids(h.s.Tasks); len(t) > 0 {
			c.What, c.ID = "task", pick(h.r, "task", t)
			c.Tasks = []remit.ID{c.ID}
		}
	case 2:
		for i := range authority.ErasedPerEntry {
			c.Payloads = append(c.Payloads, remit.Hash(fmt.Append(nil, len(h.log), i)))
		}
	}
	c.Access = h.try(c).Decision.Access
	if c.Access == "" {
		return
	}
	if voter := pick(h.r, "voter", []string{"ada", "bob", "bob", "mia"}); h.s.OpenHolds[c.Access] {
		h.try(h.ballot(c.Access, voter, touch(voter), rapid.IntRange(0, 5).Draw(h.r, "approve") > 0))
	}
	if rapid.IntRange(0, 4).Draw(h.r, "more") == 0 {
		c.Payloads = append(c.Payloads, remit.Hash([]byte("more")))
	}
	h.try(c)
	h.try(c) // it was good once
}

// finds records a finding; what finds may find a thing again, and names what it likes.
func (h *history) finds() {
	if rapid.IntRange(0, 2).Draw(h.r, "declare") == 0 {
		s := clone(h.set)
		s.Detections = pick(h.r, "detections", [][]remit.DetectionDeclared{nil, {{Name: remit.DenialBurst}}, {{Name: remit.DenialBurst, Suspend: true}, {Name: remit.Probing}}})
		h.putInForce(h.admin(), s, "")
	}
	f := &authority.RecordFinding{Detection: pick(h.r, "detection", []string{remit.DenialBurst, remit.DenialBurst, remit.Probing}),
		Agent: pick(h.r, "agent", []string{"coder", "merger", ""}), Entries: []remit.EntryIndex{h.entry(), h.entry(), remit.EntryIndex(len(h.log) - 1)}}
	slices.Sort(f.Entries)
	f.Entries = slices.Compact(f.Entries)
	f.Count = len(f.Entries) + rapid.IntRange(-1, 2).Draw(h.r, "count")
	if first, again := h.try(f).ID, h.try(f).ID; first != "" && again != "" {
		h.t.Fatalf("%+v is recorded twice", f)
	}
	if f.Agent != "" && h.s.Agents[f.Agent].Status == remit.AgentSuspended && rapid.Bool().Draw(h.r, "resume") {
		h.try(&authority.ChangeAgent{By: "p-ada", Agent: f.Agent, To: remit.AgentActive})
	}
}

// contains takes an upstream away from everybody, or gives it back.
func (h *history) contains() {
	up := pick(h.r, "upstream", []string{"forge", "oci", "cluster"})
	_, contained := h.s.Contained[up]
	if rapid.IntRange(0, 9).Draw(h.r, "the other way") == 0 {
		contained = !contained
	}
	h.try(&authority.ContainUpstream{By: h.admin(), Upstream: up, Lift: contained})
	if rapid.IntRange(0, 3).Draw(h.r, "lift") > 0 { // soon: little happens at an upstream that is contained
		h.push()
		h.lease()
		h.try(&authority.ContainUpstream{By: "p-ada", Upstream: up, Lift: true})
	}
}

// scans records what was seen outside at an upstream.
func (h *history) scans() {
	up := pick(h.r, "upstream", []string{"forge", "oci", "cluster", "gone"})
	c := &authority.RecordScan{By: h.admin(), Upstream: up, Looked: "gitea", Errors: rapid.IntRange(-1, 2).Draw(h.r, "errors"), Unseen: rapid.IntRange(0, 1).Draw(h.r, "unseen")}
	if u := h.s.Upstreams[up]; u != nil && rapid.IntRange(0, 4).Draw(h.r, "declared otherwise") > 0 {
		c.Spec = u.Spec
	}
	for i := range rapid.SampledFrom([]int{1, 1, 2, 0, remit.MaxScanParts + 1}).Draw(h.r, "parts") {
		c.Report = append(c.Report, remit.Hash([]byte{byte(i)}))
	}
	before := len(h.log)
	h.try(c)
	if scan := h.s.Scans[up]; len(h.log) > before && (scan == nil || scan.Entry != remit.EntryIndex(len(h.log)-1) || scan.Errors != c.Errors || h.s.Stale(up)) {
		h.t.Fatalf("%+v is kept as %+v", c, scan)
	}
}

// restores lets the log go on from itself as from a backup. It is rare: thousands of entries stand for what was lost.
func (h *history) restores() {
	if h.s.Fork.Entry != 0 || rapid.IntRange(0, 3).Draw(h.r, "restore") > 0 {
		return
	}
	var by []ssh.Signer
	for _, name := range pick(h.r, "signers", [][]string{{"ada", "bob"}, {"ada", "bob"}, {"ada", "bob"}, {"ada"}, {"ada", "mia"}}) {
		by = append(by, touch(name))
	}
	h.try(h.restore(func(s *remit.RestoreStatement) { s.Lost -= uint64(rapid.IntRange(0, 8).Draw(h.r, "lost")) }, by...))
	defer func(quick bool) { h.quick = quick }(h.quick)
	for h.quick = true; h.s.Fork.Entry != 0 && uint64(h.s.Next) < h.s.Fork.Lost+authority.LostMargin; {
		h.try(&authority.FillLost{})
	}
}
