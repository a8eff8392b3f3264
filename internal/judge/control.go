package judge

import (
	"slices"

	"github.com/remit-dev/remit"
)

// control is what the log says of Remit's own steps that declare nothing: erasure, a fork, findings, containment.
type control struct {
	erased    map[remit.Digest]bool
	detects   map[string]bool // detections that may suspend
	contained map[string]bool // upstreams
	found     *remit.Found
	tried     map[remit.Digest]bool // bundles that were tried on the past
	trials    map[string]bool       // what must have been tried before it changes, as the declarations before the set that is read say
	wanted    map[string]bool       // the same, of that set
	erasing   remit.ID              // approval of the erasure that goes on in the entries that follow
}

// read says what is wrong with an entry that no other rule knows.
func (j *Judge) others(n int, event remit.Event) string {
	c := &j.control
	switch e := event.(type) {
	case *remit.PayloadsErased:
		return j.erased(e)
	case *remit.LogForked:
		admins := 0
		for _, p := range j.groups[remit.Administrators] {
			if !j.dead[p] {
				admins++
			}
		}
		by := slices.Compact(slices.Sorted(slices.Values(e.By)))
		if len(by) < min(admins, 2) || len(by) == 0 || slices.ContainsFunc(by, func(p remit.ID) bool { return !j.admin(p) }) {
			return "control: the log was forked by others than its administrators, or by too few"
		}
		if e.Size != uint64(n) || e.Lost < e.Size {
			return "log: it goes on from somewhere else than it was forked"
		}
		j.forked = n
	case *remit.EntryLost:
		if j.forked == 0 {
			return "log: an entry is lost, and the log was never forked"
		}
	case *remit.Found:
		if e.Agent != "" && j.agents[e.Agent] == nil || len(e.Entries) == 0 || slices.ContainsFunc(e.Entries, func(i remit.EntryIndex) bool { return int(i) >= n }) {
			return "log: a finding about what is not in the log"
		}
		if e.Suspended {
			if !c.detects[e.Detection] {
				return "control: a detection suspends that may not"
			}
			c.found = e
		}
	case *remit.PolicyTried:
		if !j.admin(e.By) {
			return "control: a trial is recorded for somebody who is no administrator"
		}
		if e.Size > uint64(n) || e.Denied+e.Held+e.Allowed > e.Judged {
			return "control: a trial counts more than the log has"
		}
		c.tried[e.Bundle] = true
	case *remit.UpstreamContained:
		if !j.admin(e.By) {
			return "control: an upstream is contained, or let go, by somebody who is no administrator"
		}
		c.contained[e.Upstream] = !e.Lifted
	case *remit.UpstreamScanned:
		if !j.admin(e.By) {
			return "control: an upstream is scanned for somebody who is no administrator"
		}
		if len(e.Report) == 0 {
			return "log: a scan without a report"
		}
	default:
		return "log: nobody knows what such an entry means"
	}
	return ""
}

// erased: what nobody can look at later takes two people, where there are two, and goes once.
func (j *Judge) erased(e *remit.PayloadsErased) string {
	c := &j.control
	if !j.admin(e.By) {
		return "control: payloads are erased by somebody who is no administrator"
	}
	for _, d := range e.Payloads {
		if c.erased[d] {
			return "control: a payload is erased twice"
		}
		c.erased[d] = true
	}
	if e.Access == "" {
		if slices.ContainsFunc(j.groups[remit.Administrators], func(p remit.ID) bool { return p != e.By && !j.dead[p] }) {
			return "control: one person erases, and there is a second administrator"
		}
		return ""
	}
	if c.erasing == e.Access { // a further part of it
		return ""
	}
	a := j.access[e.Access]
	if a == nil || a.Task != "" || a.By != e.By || j.now >= a.NotAfter || a.status != remit.AccessMet || a.entry < j.forked || !j.met(a, j.now, a.Needs) {
		return "R6: payloads are erased without the votes that this needs"
	}
	c.erasing = e.Access
	return j.move(a, remit.AccessUsed)
}

// follow keeps what holds only until the next entry of another kind.
func (j *Judge) follow(event remit.Event) {
	if _, ok := event.(*remit.PayloadsErased); !ok {
		j.control.erasing = ""
	}
}
