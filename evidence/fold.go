package evidence

import (
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// Fold reads a log, entry by entry, and keeps what a report needs: what is in force at the end of a period, and for each
// figure the entries of the period that it rests on. It has no clock: the same entries and period give the same.
type Fold struct {
	since, until time.Time
	world        *world
	size         uint64
	entries      int // of the period
	figures      map[string]*figure

	accesses map[remit.ID]asked
	permits  map[remit.ID]act // of an allow, until it is redeemed or its time is over
	attempts map[remit.ID]act // until an outcome is recorded
	revoking map[remit.ID]time.Time
	tasks    map[remit.ID]time.Time // open ones, when they were made
	expect   int                    // permits after which those whose time is over are dropped
}

// figure is a number in the making.
type figure struct {
	entries []remit.EntryIndex
	values  []int64 // seconds, where it measures
}

// asked is a request that waits for people.
type asked struct {
	at   time.Time
	zone remit.Zone
}

// act is what an allow would do.
type act struct {
	source, merge, deploy, rollback bool
	notAfter                        int64
}

// New is a fold before the first entry. since must lie before until.
func New(since, until time.Time) (*Fold, error) {
	if !since.Before(until) {
		return nil, remit.Errorf(remit.BadRequest, "a period begins before it ends, and %s is not before %s", since.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	return &Fold{since: since.UTC(), until: until.UTC(), world: newWorld(), figures: map[string]*figure{}, accesses: map[remit.ID]asked{},
		permits: map[remit.ID]act{}, attempts: map[remit.ID]act{}, revoking: map[remit.ID]time.Time{}, tasks: map[remit.ID]time.Time{}, expect: 4096}, nil
}

// Entry takes the next entry of the log, from the first one on.
func (f *Fold) Entry(i remit.EntryIndex, l ledger.Leaf) error {
	if uint64(i) != f.size {
		return remit.Errorf(remit.Internal, "entry %d was given where entry %d is the next", i, f.size)
	}
	f.size++
	if !l.At.Before(f.until) {
		return nil
	}
	f.world.fold(i, l.At, l.Event)
	c := count{f, i, l.At, !l.At.Before(f.since)}
	if c.in {
		f.entries++
		c.hit("log.entries")
	}
	c.event(l.Event)
	return nil
}

// count counts one entry. Entries before the period only tell what later ones are about.
type count struct {
	f  *Fold
	i  remit.EntryIndex
	at time.Time
	in bool
}

func (c count) of(name string) *figure {
	g := c.f.figures[name]
	if g == nil {
		g = &figure{}
		c.f.figures[name] = g
	}
	return g
}

// hit counts the entry in a figure, once.
func (c count) hit(name string) {
	if !c.in {
		return
	}
	if g := c.of(name); len(g.entries) == 0 || g.entries[len(g.entries)-1] != c.i {
		g.entries = append(g.entries, c.i)
	}
}

// measure adds a time to a figure.
func (c count) measure(name string, d time.Duration) {
	if !c.in {
		return
	}
	g := c.of(name)
	g.entries, g.values = append(g.entries, c.i), append(g.values, int64(max(d, 0)/time.Second))
}

// event counts what an entry says.
func (c count) event(e remit.Event) {
	f := c.f
	switch e := e.(type) {
	case *remit.AgentDeclared:
		c.hit("agents.declared")
	case *remit.AgentChanged:
		switch e.Status {
		case remit.AgentSuspended:
			c.hit("agents.suspended")
		case remit.AgentRetired:
			c.hit("agents.retired")
		case remit.AgentActive:
			c.hit("agents.resumed")
		}
		switch {
		case e.Cause == remit.CauseIdle && e.Status == remit.AgentSuspended:
			c.hit("agents.idle-suspended")
		case e.Cause == remit.CauseIdle && e.Status == remit.AgentRetired:
			c.hit("agents.idle-retired")
		case e.Cause == remit.CauseRevived:
			c.hit("agents.revived")
		}
	case *remit.TaskCreated:
		c.hit("tasks.created")
		if e.Parent != "" {
			c.hit("tasks.delegated")
		}
		if e.Budget != (remit.Budget{}) {
			c.hit("tasks.budgeted")
		}
		f.tasks[e.ID] = c.at
		c.measure("tasks.allowed", time.Unix(0, e.Deadline).Sub(c.at))
	case *remit.TaskEnded:
		c.hit("tasks.ended")
		if e.Status == remit.TaskKilled {
			c.hit("tasks.killed")
		}
		if made, ok := f.tasks[e.Task]; ok {
			c.measure("tasks.lived", c.at.Sub(made))
			delete(f.tasks, e.Task)
		}
	case *remit.PersonKilled:
		c.hit("people.killed")
	case *remit.UpstreamContained:
		if !e.Lifted {
			c.hit("upstreams.contained")
		}
	case *remit.InstanceStarted:
		c.instance(e)
	case *remit.InstanceEnded:
		c.hit("instances.ended")
		if e.Lost {
			c.hit("instances.lost")
		}
	case *remit.Decided:
		c.decided(e)
	case *remit.DenialRepeated:
		c.hit("denials.repeated")
	case *remit.AccessOpened:
		c.hit("approvals.asked")
		f.accesses[e.ID] = asked{c.at, e.Zone}
	case *remit.VoteCast:
		c.vote(e)
	case *remit.AccessSeen:
		c.hit("approvals.seen")
	case *remit.AccessMoved:
		c.moved(e)
	case *remit.Redeemed:
		f.attempts[e.ID] = f.permits[e.Permit]
		delete(f.permits, e.Permit)
		if len(e.Taints) > 0 {
			c.hit("inputs.tainted")
		}
	case *remit.Recorded:
		c.recorded(e)
	case *remit.LeaseOpened:
		c.hit("leases.opened")
		c.measure("leases.asked", time.Unix(0, e.NotAfter).Sub(c.at))
	case *remit.LeaseMoved:
		c.lease(e)
	case *remit.PolicyInstalled:
		c.installed(e)
	case *remit.PolicyTried:
		c.tried(e)
	case *remit.Applied:
		c.hit("declarations.applied")
		if e.Access != "" {
			c.hit("declarations.approved")
		}
	case *remit.Found:
		c.hit("findings")
		switch e.Detection {
		case remit.RefMoved:
			c.hit("findings.refs")
		case remit.InstanceTwice:
			c.hit("findings.twice")
		case remit.OutsideHours:
			c.hit("findings.hours")
		case remit.UnusedGrant:
			c.hit("findings.unused")
		}
		if e.Suspended {
			c.hit("findings.suspended")
		}
	case *remit.BreakGlassOpened:
		c.hit("glass.opened")
	case *remit.BreakGlassReviewed:
		c.hit("glass.reviewed")
		if !e.Right {
			c.hit("glass.wrong")
		}
	case *remit.PayloadsErased:
		c.hit("log.erasures")
	case *remit.LogForked:
		c.hit("log.forks")
	case *remit.EntryLost:
		c.hit("log.lost")
	case *remit.ClockConfirmed:
		c.hit("log.clock")
	case *remit.KeyEnrolled:
		c.hit("keys.enrolled")
	case *remit.KeyRemoved:
		c.hit("keys.removed")
	case *remit.ToolDeclared:
		c.hit("tools.declared")
	case *remit.UpstreamScanned:
		c.hit("scans.done")
		if e.Errors+e.Warnings > 0 {
			c.hit("scans.found")
		}
		if e.Unseen > 0 {
			c.hit("scans.blind")
		}
	case *remit.CampaignOpened, *remit.CampaignClosed, *remit.ReviewOpened, *remit.ReviewAnswered, *remit.ReviewRemoved, *remit.ReviewRegranted:
		c.review(e)
	}
}

func (c count) instance(e *remit.InstanceStarted) {
	c.hit("instances.started")
	if e.Issuer != "" {
		c.hit("instances.jobs")
	}
	switch {
	case e.Issuer != "" && e.Confinement == remit.ConfineNone:
		// A job of a CI runs on its runner: nobody's keys are there.
	case e.Confinement == remit.ConfineNone:
		c.hit("instances.unconfined")
	case e.Confinement == remit.ConfineHome:
		c.hit("instances.home")
	case e.Confinement == remit.ConfineUID, e.Confinement == remit.ConfineSandbox, e.Confinement == remit.ConfineHost:
		c.hit("instances.confined")
	}
	if len(e.Ungoverned) > 0 {
		c.hit("instances.ungoverned")
	}
}

// codes are the figures that a decision with a code counts in, besides that of its verdict.
var codes = map[remit.Code]string{
	remit.OutOfScope: "denials.scope", remit.RefOutOfScope: "denials.scope", remit.PathOutOfScope: "denials.scope", remit.OverLimit: "denials.budget",
	remit.OutOfEnvelope: "intent.outside", remit.OverBudget: "denials.budget", remit.TooManyHolds: "denials.budget", remit.HoldBudget: "denials.budget",
	remit.CrossesBoundary: "denials.boundary", remit.Separation: "denials.separation", remit.PathProtected: "holds.paths", remit.EffectHeld: "holds.effects",
	remit.PolicyDenied: "policy.denied", remit.PolicyHeld: "policy.held", remit.NoPolicy: "policy.failed", remit.PolicyError: "policy.failed",
	remit.PolicyResult: "policy.failed", remit.PolicyTimeout: "policy.failed", remit.NotLive: "denials.ended", remit.NoApprover: "denials.nobody",
	remit.EvidenceMissing: "releases.lacking", remit.RollbackUnknown: "releases.lacking", remit.ReviewMissing: "source.unreviewed", remit.Contained: "denials.contained",
	remit.ToolDrift: "tools.drifted", remit.ToolMisjudged: "tools.misjudged", remit.UnknownAction: "denials.unknown", remit.UnknownResource: "denials.unknown",
	remit.UnknownPrincipal: "denials.unknown", remit.GlassOverdue: "glass.refused", remit.UnseenObject: "source.refused", remit.BadObject: "source.refused",
	remit.BadPack: "source.refused", remit.BadRef: "source.refused",
}

func (c count) decided(e *remit.Decided) {
	switch e.Verdict {
	case remit.Allow:
		c.hit("decisions.allowed")
	case remit.Hold:
		c.hit("decisions.held")
	default:
		c.hit("decisions.denied")
	}
	if name := codes[e.Code]; name != "" {
		c.hit(name)
	}
	if len(e.Observed) > 0 {
		c.hit("policy.observed")
	}
	if e.Glass != "" {
		c.hit("glass.passed")
	}
	if len(e.Stood) > 0 {
		c.hit("approvals.stood")
	}
	a := act{rollback: e.Deploy.Rollback, notAfter: e.NotAfter}
	production := false
	for _, s := range e.Steps {
		switch s.Step.Action {
		case "source.push":
			a.source = a.source || !s.Step.Effect
		case "source.merge":
			a.source, a.merge = true, true
		case "deploy.promote", "deploy.rollback":
			a.deploy = a.deploy || !s.Step.Effect
		}
		if info, ok := remit.Lookup(s.Step.Action); ok && info.Impact != remit.Read && c.f.world.inProduction(s.Step.Resource) {
			production = true
		}
		switch s.Step.Resource.Type() {
		case "tool":
			c.hit("tools.called")
		case "secret":
			c.hit("secrets.used")
		}
		if s.Op == remit.RefForce || s.Op == remit.RefDelete {
			if e.Verdict == remit.Allow && !s.Step.Effect {
				c.hit("source.rewritten")
			}
		}
	}
	if production && !e.Advice {
		switch {
		case e.Verdict == remit.Deny:
			c.hit("production.denied")
		case e.Verdict == remit.Hold:
			c.hit("production.held")
		case e.Access != "":
			c.hit("production.approved")
		default:
			c.hit("production.unasked")
		}
	}
	if e.Verdict == remit.Allow && e.Permit != "" {
		c.f.keep(e.Permit, a, c.at)
	}
}

// keep remembers what a permit would do. Those whose time is over are dropped now and then.
func (f *Fold) keep(id remit.ID, a act, now time.Time) {
	f.permits[id] = a
	if len(f.permits) < f.expect {
		return
	}
	for id, a := range f.permits {
		if a.notAfter < now.UnixNano() {
			delete(f.permits, id)
		}
	}
	f.expect = max(4096, 2*len(f.permits))
}

func (c count) vote(e *remit.VoteCast) {
	if e.Approve {
		c.hit("votes.approve")
	} else {
		c.hit("votes.refuse")
	}
	switch e.Assurance {
	case remit.AssuranceTouch:
		c.hit("votes.touch")
	case remit.AssuranceSoftware:
		c.hit("votes.software")
	case remit.AssuranceSelf:
		c.hit("votes.self")
	default:
		c.hit("votes.none")
	}
	if !e.Signed.IsZero() {
		c.hit("votes.signed-in")
	}
}

func (c count) moved(e *remit.AccessMoved) {
	switch {
	case e.To == remit.AccessMet:
		c.hit("approvals.met")
		if a, ok := c.f.accesses[e.Access]; ok {
			c.measure("approvals.time", c.at.Sub(a.at))
		}
	case e.To == remit.AccessVoid && e.Why == remit.Expired:
		c.hit("approvals.expired")
	case e.To == remit.AccessVoid && e.Why == remit.Stale:
		c.hit("approvals.stale")
	case e.To == remit.AccessVoid && e.Why == remit.Vetoed:
		c.hit("approvals.vetoed")
	}
	if e.To == remit.AccessVoid || e.To == remit.AccessUsed {
		delete(c.f.accesses, e.Access)
	}
}

func (c count) recorded(e *remit.Recorded) {
	a := c.f.attempts[e.Attempt]
	delete(c.f.attempts, e.Attempt)
	switch e.Outcome {
	case remit.Done:
		c.hit("outcomes.done")
	case remit.Ambiguous:
		c.hit("outcomes.ambiguous")
	case remit.AfterRevocation:
		c.hit("outcomes.late")
	}
	if e.Outcome != remit.Done {
		return
	}
	switch {
	case a.merge:
		c.hit("source.merged")
	case a.source:
		c.hit("source.pushed")
	}
	if a.deploy {
		c.hit("releases.done")
	}
	if a.rollback {
		c.hit("releases.returned")
	}
}

func (c count) lease(e *remit.LeaseMoved) {
	began, revoking := c.f.revoking[e.Lease]
	switch e.To {
	case remit.LeaseRevoking, remit.LeaseQuarantined:
		if !revoking {
			c.f.revoking[e.Lease] = c.at
		}
		if e.To == remit.LeaseQuarantined {
			c.hit("leases.quarantined")
		}
	case remit.LeaseRevoked:
		c.hit("leases.revoked")
	case remit.LeaseExpired:
		c.hit("leases.expired")
	case remit.LeaseAbandoned:
		c.hit("leases.abandoned")
	}
	if e.To.Ended() {
		if revoking && e.To == remit.LeaseRevoked {
			c.measure("leases.time", c.at.Sub(began))
		}
		delete(c.f.revoking, e.Lease)
	}
}

// spec is a figure that a control shows.
type spec struct {
	name string
	text string
	how  measure
	// kinds are those of the entries that it may rest on, so that a pack alone can be checked; none: any.
	kinds []string
}

// measure is how a figure is made of what was counted.
type measure uint8

const (
	number  measure = iota // of entries
	longest                // seconds
	median                 // seconds
)

// value is what a figure of a spec comes to.
func (f *Fold) value(s spec) remit.EvidenceFigure {
	out := remit.EvidenceFigure{Name: s.name, Text: s.text, Unit: remit.EvidenceCount}
	base, _, _ := strings.Cut(s.name, "/") // two measures may be made of the same
	g := f.figures[base]
	if g == nil {
		g = &figure{}
	}
	out.Entries = remit.NewEvidenceEntries(g.entries)
	switch s.how {
	case number:
		out.Value = int64(len(g.entries))
		return out
	case longest:
		if len(g.values) > 0 {
			out.Value = slices.Max(g.values)
		}
	case median:
		if n := len(g.values); n > 0 {
			out.Value = slices.Sorted(slices.Values(g.values))[(n-1)/2]
		}
	}
	out.Unit = remit.EvidenceSeconds
	return out
}

// entriesOf are the entries of the period that a figure rests on.
func (f *Fold) entriesOf(name string) []remit.EntryIndex {
	if g := f.figures[name]; g != nil {
		return g.entries
	}
	return nil
}
