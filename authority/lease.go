package authority

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Leases: the upstream credentials that Remit has made, from before the first call upstream until one is seen dead.
// The broker makes and ends them; here is written down which, and what may follow on what (R7, R9).

// Limits of leases.
const (
	MaxLeases = 64          // of a task, that have not ended
	LeaseSkew = time.Minute // between an upstream's clock and ours
	DebtGrace = 10 * time.Minute
)

// next is what may follow on each status of a lease. What is not in it does not happen: a credential is never used
// before it was probed, none is forgotten on the way, and none that ended comes back.
var next = map[remit.LeaseStatus][]remit.LeaseStatus{
	remit.LeaseIntended:    {remit.LeaseAnchored, remit.LeaseMinted, remit.LeaseRevoking},
	remit.LeaseAnchored:    {remit.LeaseMinted, remit.LeaseRevoking},
	remit.LeaseMinted:      {remit.LeaseActive, remit.LeaseQuarantined, remit.LeaseRevoking},
	remit.LeaseActive:      {remit.LeaseRevoking, remit.LeaseQuarantined},
	remit.LeaseQuarantined: {remit.LeaseRevoking},
	remit.LeaseRevoking:    {remit.LeaseRevoking, remit.LeaseRevoked, remit.LeaseExpired, remit.LeaseAbandoned},
}

// upstreamZone is the one zone that a credential of an upstream of a kind serves (R4d); none for what gives no access.
func upstreamZone(kind string) remit.Zone {
	switch kind {
	case remit.KindLocal, remit.KindHTTP, remit.KindGitea:
		return remit.ZoneSource
	case remit.KindRegistry:
		return remit.ZoneBuild
	case remit.KindKubernetes, remit.KindCommand:
		return remit.ZoneProduction
	}
	return remit.ZoneNone
}

// decideOpenLease writes a credential down before anything exists of it upstream: for what an attempt does and no more,
// in its zone, and no longer than its task.
func decideOpenLease(s *State, now int64, c *OpenLease) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	x := s.Attempts[c.Attempt]
	if x == nil || now >= x.NotAfter || !s.permitLive(&x.Permit, now) {
		return fail(remit.NotLive, "attempt %s does not exist, or has ended", c.Attempt)
	}
	up := s.Upstreams[c.Upstream]
	if up == nil {
		return fail(remit.UnknownResource, "no upstream %q is declared", c.Upstream)
	}
	if err := s.checkContained(c.Upstream); err != nil {
		return nil, Result{}, err
	}
	zone := s.zoneOfSteps(x.Steps)
	serves := s.serves(up)
	if zone == remit.ZoneNone && c.Target.Type() == "repo" {
		zone = serves // a comment on an issue lies in no zone, and is made with a credential of its forge's
	}
	if zone == remit.ZoneNone || serves != zone {
		return fail(remit.CrossesBoundary, "attempt %s lies in zone %q, and a credential of upstream %s serves zone %q", c.Attempt, zone, c.Upstream, serves)
	}
	mine := 0
	for _, id := range sorted(s.Leases) {
		l := s.Leases[id]
		if l.Task == x.Task {
			mine++
		}
		if l.Upstream == c.Upstream && l.Zone != zone {
			return fail(remit.CrossesBoundary, "lease %s of upstream %s serves zone %s; it must have ended before one serves zone %s", id, c.Upstream, l.Zone, zone)
		}
	}
	if mine >= MaxLeases {
		return fail(remit.OverBudget, "task %s has %d leases that have not ended", x.Task, mine)
	}
	if call := slices.ContainsFunc(x.Steps, func(st remit.Step) bool { return st.Resource.Type() == "tool" }); call && (c.Target.Type() != "tool" || s.upstreamOf(c.Target) != c.Upstream) {
		return fail(remit.OutOfScope, "attempt %s is a call of a tool, and what that does besides it does with the credential of its server", c.Attempt)
	}
	on := slices.DeleteFunc(slices.Clone(x.Steps), func(st remit.Step) bool { return st.Resource != c.Target })
	if len(on) == 0 {
		return fail(remit.OutOfScope, "attempt %s does nothing on %s, so it needs no credential for it", c.Attempt, c.Target)
	}
	if c.Write && !slices.ContainsFunc(on, func(st remit.Step) bool { info, _ := remit.Lookup(st.Action); return info.Impact != remit.Read }) {
		return fail(remit.OutOfScope, "attempt %s only reads %s, so its credential does too", c.Attempt, c.Target)
	}
	if c.For < 0 || c.Bound < 0 || c.Bound > int64(TaskLongest) || (c.Revocation == remit.RevokeBounded) != (c.Bound > 0) ||
		c.Revocation != remit.RevokeImmediate && c.Revocation != remit.RevokeBounded && c.Revocation != remit.RevokeExpiry {
		return fail(remit.BadRequest, "a lease says how long, and how it is revoked: immediate, expiry-only, or bounded by a time")
	}
	life := int64(TaskLongest)
	if c.For > 0 {
		life = min(life, c.For)
	}
	e := &remit.LeaseOpened{ID: newID(s, "L", 0), Attempt: c.Attempt, Task: x.Task, Upstream: c.Upstream, Zone: zone, Target: c.Target, Write: c.Write,
		NotAfter: min(now+life, s.lifeEnd(x.Task)), Revocation: c.Revocation, Bound: c.Bound, Survive: c.Survive}
	return []remit.Event{e}, Result{ID: e.ID}, nil
}

// zoneOfSteps is the one zone that a credential for steps may serve.
func (s *State) zoneOfSteps(steps []remit.Step) remit.Zone {
	zone := remit.ZoneNone
	call := slices.ContainsFunc(steps, func(st remit.Step) bool { return st.Resource.Type() == "tool" })
	for _, st := range steps {
		info, _ := remit.Lookup(st.Action)
		if readBesides(call, info) {
			continue
		}
		zone = stricter(zone, s.zoneOf(info, st.Resource))
	}
	return zone
}

// misplaced says why no credential could carry a step out: its upstream's serve another zone (R4d). People are not asked
// for what would then be refused. Empty: one could, or it takes none.
func (s *State) misplaced(info remit.ActionInfo, st remit.Step) string {
	switch st.Resource.Type() {
	case "repo", "artifact", "pipeline":
	default:
		return ""
	}
	name, _, _ := strings.Cut(st.Resource.Name(), "/")
	up := s.Upstreams[name]
	if up == nil {
		return ""
	}
	zone, serves := s.zoneOf(info, st.Resource), s.serves(up)
	if zone == remit.ZoneNone || serves == remit.ZoneNone || zone == serves {
		return ""
	}
	right := "it is done at an upstream of that zone"
	switch st.Action {
	case "artifact.release":
		right = "publish what was built to a registry, by a child task of a build agent (remit task request), and have it deployed by its digest"
	case "build.trigger":
		right = "push to a ref whose declared effects start the pipeline, or ask for the build as a child task of a build agent (remit task request)"
	}
	return fmt.Sprintf("%s lies in zone %s, and credentials of upstream %s serve zone %s only; %s", st.Action, zone, name, serves, right)
}

// decideMoveLease writes down what the broker did to a lease, or saw of it.
func decideMoveLease(s *State, now int64, c *MoveLease) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	l := s.Leases[c.Lease]
	if l == nil {
		return fail(remit.NotFound, "lease %s does not exist, or has ended", c.Lease)
	}
	if c.Code != "" && c.Code.Info().Code != c.Code || c.NotAfter < 0 || c.Tries < 0 {
		return fail(remit.BadRequest, "a lease moves with a code of the registry, and counts from 0")
	}
	lives := c.To == remit.LeaseAnchored || c.To == remit.LeaseMinted || c.To == remit.LeaseActive
	switch {
	case !slices.Contains(next[l.Status], c.To), c.To == remit.LeaseAbandoned: // that takes two people
		return fail(remit.Conflict, "lease %s is %s; it does not become %q", c.Lease, l.Status, c.To)
	case lives && (!s.TaskLive(l.Task, now) || now >= l.end()):
		return fail(remit.NotLive, "lease %s has ended with its task or its time; it only moves towards its end", c.Lease)
	case c.To != remit.LeaseQuarantined && c.NotAfter > l.NotAfter+int64(LeaseSkew):
		return fail(remit.Conflict, "upstream %s gave lease %s longer than was asked for; it is quarantined", l.Upstream, c.Lease)
	case c.To == remit.LeaseExpired && !l.over(now, c.NotAfter):
		return fail(remit.Conflict, "lease %s has not expired by its upstream's own clock", c.Lease)
	case c.To == remit.LeaseRevoking && l.Status == remit.LeaseRevoking && c.Tries <= l.Tries:
		return fail(remit.Conflict, "lease %s is being revoked; say how often that was tried, more than %d", c.Lease, l.Tries)
	}
	return []remit.Event{&remit.LeaseMoved{Lease: c.Lease, To: c.To, Code: c.Code, NotAfter: c.NotAfter, Tries: max(c.Tries, l.Tries), Receipt: c.Receipt}}, Result{}, nil
}

// end is when a lease is over by arithmetic, on our clock.
func (l *Lease) end() int64 {
	if l.Stated != 0 {
		return min(l.NotAfter, l.Stated)
	}
	return l.NotAfter
}

// over tells whether the upstream's own end of a lease has passed, with the skew (R9). Where it stated none, only what
// was asked for is known; that counts for credentials that nothing but their end ends, because no probe will ever tell.
// stated is what the upstream says of it now.
func (l *Lease) over(now, stated int64) bool {
	end := max(l.Stated, stated)
	if end == 0 && l.Revocation == remit.RevokeExpiry {
		end = l.NotAfter
	}
	return end != 0 && now >= end+int64(LeaseSkew)
}

// decideAbandonLease gives up a lease that was asked to end and cannot be seen dead. That takes two people (R9).
func decideAbandonLease(s *State, now int64, c *AbandonLease) ([]remit.Event, Result, error) {
	if !s.IsAdmin(c.By) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "leases are abandoned by administrators")
	}
	l := s.Leases[c.Lease]
	if l == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "lease %s does not exist, or has ended", c.Lease)
	}
	if l.Status != remit.LeaseRevoking {
		return nil, Result{}, remit.Errorf(remit.Conflict, "lease %s is %s; only one that is being revoked in vain is abandoned", c.Lease, l.Status)
	}
	if c.Reason.IsZero() {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "abandoning a lease needs a reason")
	}
	if s.otherAdmins(c.By) == 0 {
		return nil, Result{}, remit.Errorf(remit.NoApprover, "abandoning a lease needs two people, and there is one administrator")
	}
	ask := control{by: c.By, shown: c.Reason, code: remit.ImpactHeld, why: "giving up a credential that nobody has seen dead",
		stale: "the lease or the reason is another one than was approved",
		effect: digestJSON("lease.abandon", struct {
			Origin string
			Lease  remit.ID
			Reason remit.Digest
		}{s.Origin, c.Lease, c.Reason})}
	if c.Access == "" {
		return s.holdControl(now, ask, Result{})
	}
	voters, events, res, err := s.claimControl(now, ask, c.Access)
	if events != nil || err != nil {
		return events, res, err
	}
	return []remit.Event{&remit.LeaseMoved{Lease: c.Lease, To: remit.LeaseAbandoned, Tries: l.Tries, Receipt: c.Reason, By: add(voters, c.By)},
		&remit.AccessMoved{Access: c.Access, To: remit.AccessUsed}}, Result{Decision: remit.Decision{Entry: s.Next, Verdict: remit.Allow}}, nil
}

func (s *State) applyLeaseMoved(at int64, e *remit.LeaseMoved) error {
	l := s.Leases[e.Lease]
	if l == nil || !slices.Contains(next[l.Status], e.To) {
		return fmt.Errorf("lease %s has ended, or does not become %s", e.Lease, e.To)
	}
	l.Status, l.Tries, l.Stated = e.To, e.Tries, max(l.Stated, e.NotAfter)
	if l.Ending == 0 && (e.To == remit.LeaseRevoking || e.To == remit.LeaseQuarantined) {
		l.Ending = at
	}
	if e.To.Ended() {
		delete(s.Leases, e.Lease)
		t := s.Tasks[l.Task]
		t.Leases = drop(t.Leases, e.Lease)
	}
	return nil
}

// endLeases begins the end of a task's leases: from here on debt counts, whenever the broker gets to it.
func (s *State) endLeases(t *Task, at int64) {
	for _, id := range t.Leases {
		if l := s.Leases[id]; l.Ending == 0 {
			l.Ending = at
		}
	}
}

// LeasesToEnd are the leases that must not live any longer, in order, those included that are being revoked already:
// their task has ended, their time is over, they gave more than was asked for, their upstream is no longer declared, or
// the attempt for which they were being made is gone.
func (s *State) LeasesToEnd(now int64) []remit.ID {
	var out []remit.ID
	for _, id := range sorted(s.Leases) {
		l := s.Leases[id]
		switch _, working := s.Attempts[l.Attempt]; {
		case l.Ending != 0, !s.TaskLive(l.Task, now), now >= l.end(), s.Upstreams[l.Upstream] == nil,
			l.Status != remit.LeaseActive && !working:
			out = append(out, id)
		}
	}
	return out
}

// LeaseDebt is a lease whose end was due and was not seen, or one that only its own end ends. Without a lease it is those
// that were made after the backup from which the log went on: nobody knows which there are, or at which upstreams.
type LeaseDebt struct {
	Lease    remit.ID       `json:"lease"`
	Task     remit.ID       `json:"task"`
	Upstream string         `json:"upstream"`
	Target   remit.Resource `json:"target"`
	// Since is when its end was due, Unix nanoseconds; 0 for a mere exposure.
	Since int64 `json:"since,omitempty"`
	// Until is when an expiry-only lease ends by itself: what holds it can act until then.
	Until int64 `json:"until,omitempty"`
	Tries int   `json:"tries,omitempty"`
}

// Debt lists, in order, the leases whose end began and was not seen within their declared bound, and as exposure the
// expiry-only ones that can be used by whoever has them until they end by themselves (R9); so can what was made after a
// backup, until a sweep finds it.
func (s *State) Debt(now int64) []LeaseDebt {
	var out []LeaseDebt
	if now < s.Fork.Exposed {
		out = append(out, LeaseDebt{Until: s.Fork.Exposed})
	}
	for _, id := range sorted(s.Leases) {
		l := s.Leases[id]
		d := LeaseDebt{Lease: id, Task: l.Task, Upstream: l.Upstream, Target: l.Target, Tries: l.Tries}
		switch due := l.due(); {
		case now >= due:
			d.Since = due
		case l.Ending != 0 && l.Revocation == remit.RevokeExpiry:
			d.Until = max(l.NotAfter, l.Stated)
		default:
			continue
		}
		out = append(out, d)
	}
	return out
}

// due is by when a lease must be seen dead: within its bound, from when its end began by a move towards it, with its
// task's end or with its own time; where only its own end ends it, from that.
func (l *Lease) due() int64 {
	if l.Revocation == remit.RevokeExpiry {
		return max(l.NotAfter, l.Stated) + int64(LeaseSkew)
	}
	began := l.end()
	if l.Ending != 0 {
		began = min(began, l.Ending)
	}
	return began + l.Bound
}

// inDebt tells whether a lease of an upstream should have been seen dead more than a grace ago.
func (s *State) inDebt(upstream string, now int64) bool {
	for _, l := range s.Leases {
		if l.Upstream == upstream && now > l.due()+int64(DebtGrace) {
			return true
		}
	}
	return false
}

// upstreamOf is the upstream that a resource lies at; empty where that is not declared.
func (s *State) upstreamOf(r remit.Resource) string {
	switch r.Type() {
	case "repo", "artifact":
		return firstSegment(r)
	case "tool":
		if !local(r) {
			return firstSegment(r)
		}
	case "environment":
		if e := s.Environments[r.Name()]; e != nil {
			return e.Upstream
		}
	}
	return ""
}
