package server

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/server/internal/openapi"
)

const (
	maxWindow                                = 10 * 366 * 24 * time.Hour
	readSince                                = 35 * time.Second // for what was asked about; it is read whole or not at all
	readOlder                                = 10 * time.Second // for what came before
	olderStep                                = 10_000           // entries that are read at a time, from the newest on
	leastDecisions, leastBytes, leastCommits = 64, 1 << 20, 16  // of what a task is asked for with
	maxEnvelope                              = 16               // paths; more say nothing
	maxLines                                 = 500              // of each list of an agent
)

var rightsizeParams = []openapi.Param{
	{Name: "agent", Meaning: "only this one"},
	{Name: "within", Meaning: "how far back use counts, such as 720h, which is the default"},
}

// rightsize gives the smallest entitlements that would have covered what agents did, and what they would have refused
// before.
func rightsize(s *Server, c *call) (out remit.Rightsizing, err error) {
	within := 30 * 24 * time.Hour
	if text := c.r.URL.Query().Get("within"); text != "" {
		if within, err = time.ParseDuration(text); err != nil || within <= 0 || within > maxWindow {
			return out, remit.Errorf(remit.BadRequest, "within is a time of more than 0 and at most ten years, such as 720h, not %.32q", text)
		}
	}
	agent := c.r.URL.Query().Get("agent")
	x := &sizing{s: s, ctx: c.r.Context(), since: s.now().Add(-within), agents: map[string]*sized{}, tasks: map[remit.ID]*sizedTask{}, open: map[remit.ID]*sizedTask{}}
	names := s.people(x.ctx)
	s.view(func(st *authority.State) {
		out.Size = st.Next
		for name, a := range st.Agents {
			if a.Status == remit.AgentRetired || agent != "" && name != agent {
				continue
			}
			x.agents[name] = &sized{fit: remit.AgentFit{Agent: name, Owner: names.Name(a.Owner), Function: a.Function}, declared: scopes(a.Entitlements), raw: a.Entitlements,
				functions: a.MayRequest, who: newSizedWho(a), usage: analysis.NewUsage(a.Entitlements), asked: map[remit.Function]*analysis.Evidence{},
				waited: lines{}, outside: lines{}, refused: lines{}, paths: map[string]bool{}}
		}
	})
	if agent != "" && len(x.agents) == 0 {
		return out, remit.Errorf(remit.NotFound, "there is no agent %.64q, or it is retired", agent)
	}
	done, err := s.work(x.ctx)
	if err != nil {
		return out, err
	}
	defer done()
	from, err := s.cfg.Follow.Since(x.ctx, x.since)
	if err != nil {
		return out, err
	}
	x.start = out.Size
	if err := x.read(from, out.Size); err != nil {
		return out, err
	}
	out.Since, out.From = x.since.UTC(), x.start
	for _, a := range x.agents {
		a.finish()
		a.who.finish(&a.fit, s.now(), within)
	}
	x.finishTasks()
	err = s.cfg.Follow.Inventory(x.ctx, func(v follow.Inventory) {
		for name, a := range x.agents {
			for i := range a.fit.Entitlements {
				seen := v.Entitlement(name, a.raw[i])
				a.fit.Entitlements[i].Granted, a.fit.Entitlements[i].GrantedAt = seen.Created, timeOf(seen.CreatedAt)
			}
		}
	})
	if err != nil {
		return out, err
	}
	if err := x.readOlder(&out); err != nil {
		return out, err
	}
	out.Agents = []remit.AgentFit{}
	for _, name := range slices.Sorted(maps.Keys(x.agents)) {
		out.Agents = append(out.Agents, x.agents[name].shown())
	}
	return out, nil
}

// sizing is the log while it is read for it.
type sizing struct {
	s      *Server
	ctx    context.Context
	since  time.Time
	agents map[string]*sized
	tasks  map[remit.ID]*sizedTask
	open   map[remit.ID]*sizedTask // access requests
	start  remit.EntryIndex        // the first entry since then
	begun  bool
}

type sizedTask struct {
	agent     string
	own       remit.ID // the task whose branches it works on
	began     time.Time
	decisions int
	bytes     int64
	last      time.Time // of its decisions
	holds     int       // open ones
	most      int       // of those, at one time
}

// sized is one agent while the log is read.
type sized struct {
	fit       remit.AgentFit
	declared  []remit.Scope
	raw       []remit.Scope // the same as it stands in the log
	functions []remit.Function
	usage     *analysis.Usage
	proposed  analysis.Fit
	asked     map[remit.Function]*analysis.Evidence
	who       *sizedWho

	waited, outside, refused lines

	paths          map[string]bool // first segments
	bytes, commits int64
	all            analysis.Evidence
}

// lines are ways of use, counted.
type lines map[remit.UseLine]*analysis.Evidence

func (l lines) add(key remit.UseLine, i remit.EntryIndex, at time.Time, cut *int) {
	e := l[key]
	if e == nil {
		if len(l) >= maxLines {
			*cut++
			return
		}
		e = &analysis.Evidence{}
		l[key] = e
	}
	e.Add(i, at)
}

func (l lines) shown() []remit.UseLine {
	var out []remit.UseLine
	for key, e := range l {
		out = append(out, lineOf(key, *e))
	}
	slices.SortFunc(out, func(a, b remit.UseLine) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.First, b.First), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Ref, b.Ref))
	})
	return out
}

func lineOf(key remit.UseLine, e analysis.Evidence) remit.UseLine {
	key.Count, key.First, key.Last, key.At = e.Count, e.First, e.Last, timeOf(e.LastAt)
	return key
}

// read folds what was done since then. It is read to its end: what is left out would be cut off.
func (x *sizing) read(from, size remit.EntryIndex) error {
	ctx, cancel := context.WithTimeout(x.ctx, readSince)
	defer cancel()
	err := x.entries(ctx, from, size, func(i remit.EntryIndex, l ledger.Leaf) error {
		if l.At.Before(x.since) {
			return nil
		}
		if !x.begun {
			x.begun, x.start = true, i
		}
		switch e := l.Event.(type) {
		case *remit.TaskCreated:
			x.began(i, l.At, e)
			x.requested(i, l.At, e)
		case *remit.InstanceStarted:
			return x.started(ctx, i, l, e)
		case *remit.AccessOpened:
			if t := x.task(e.Task); t != nil {
				x.open[e.ID] = t
				t.holds++
				t.most = max(t.most, t.holds)
			}
		case *remit.AccessMoved:
			if t := x.open[e.Access]; t != nil && (e.To == remit.AccessUsed || e.To == remit.AccessVoid) {
				t.holds--
				delete(x.open, e.Access)
			}
		case *remit.Decided:
			return x.decided(ctx, i, l, e)
		}
		return nil
	})
	if err != nil && x.ctx.Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return remit.Errorf(remit.TooLargeToJudge, "the log has more since %s than can be read in %s; ask about a shorter time, or about one agent", x.since.UTC().Format(time.DateOnly), readSince)
	}
	return err
}

// entries reads [from, size).
func (x *sizing) entries(ctx context.Context, from, size remit.EntryIndex, each func(remit.EntryIndex, ledger.Leaf) error) error {
	for e, err := range x.s.cfg.Engine.Read(ctx, from) {
		if err != nil {
			return err
		}
		if e.Index >= size {
			return nil
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			return err
		}
		if err := each(e.Index, l); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// task finds a task, also one that began before.
func (x *sizing) task(id remit.ID) (t *sizedTask) {
	if t = x.tasks[id]; t != nil || id == "" {
		return t
	}
	x.s.view(func(st *authority.State) {
		if known := st.Tasks[id]; known != nil && x.agents[known.Agent] != nil {
			t = &sizedTask{agent: known.Agent, own: st.BranchesOf(id)}
			x.tasks[id] = t
		}
	})
	return t
}

// of is the agent of a task; nil: nobody asked about it.
func (x *sizing) of(id remit.ID) *sized {
	if t := x.task(id); t != nil {
		return x.agents[t.agent]
	}
	return nil
}

func (x *sizing) began(i remit.EntryIndex, at time.Time, e *remit.TaskCreated) {
	a := x.of(e.ID)
	if a == nil {
		return
	}
	x.tasks[e.ID].began = at
	if a.fit.Tasks.Tasks++; a.fit.Tasks.First == 0 {
		a.fit.Tasks.First = i
	}
	a.fit.Tasks.Last = i
}

// decided notes what a decision let through, and what it did not.
func (x *sizing) decided(ctx context.Context, i remit.EntryIndex, l ledger.Leaf, e *remit.Decided) error {
	if e.Verdict == remit.Allow {
		if err := x.children(ctx, i, l, e); err != nil {
			return err
		}
	}
	t := x.task(e.Task)
	if t == nil {
		return nil
	}
	a := x.agents[t.agent]
	if t.decisions++; t.last.Before(l.At) {
		t.last = l.At
	}
	if e.Verdict != remit.Allow {
		for _, f := range e.Steps {
			if !f.Step.Effect {
				a.waited.add(remit.UseLine{Action: f.Step.Action, Resource: f.Step.Resource, Ref: shownRef(follow.OwnRef(f.Ref, t.own)), Verdict: e.Verdict.String(), Code: e.Code}, i, l.At, &a.fit.Cut)
			}
		}
		return nil
	}
	t.bytes += e.Bytes
	a.all.Add(i, l.At)
	uses, unread, err := x.uses(ctx, l, e, t.own, true)
	if err != nil {
		return err
	}
	if unread {
		a.fit.Unread++
	}
	for _, u := range uses {
		if u.Ref != "" {
			a.bytes, a.commits = max(a.bytes, u.Bytes), max(a.commits, int64(u.Commits))
			for _, p := range u.Paths {
				first, _, deep := strings.Cut(p, "/")
				if deep {
					first += "/**"
				}
				if len(a.paths) <= maxLines {
					a.paths[first] = true
				}
			}
		}
		if err := a.usage.Add(u, unread && u.Ref != "", i, l.At); errors.Is(err, analysis.ErrTooMany) {
			return remit.Errorf(remit.TooLargeToJudge, "agent %s did more different things since %s than can be weighed at once; ask about a shorter time", t.agent, x.since.UTC().Format(time.DateOnly))
		}
	}
	return nil
}

// shownRef is a ref in a line: branches of a task's own are as many as it likes.
func shownRef(ref string) string {
	if before, _, own := strings.Cut(ref, "/{task}/"); own {
		return before + "/{task}/**"
	}
	return ref
}

// uses are the steps of a decision that rest on entitlements. Paths stand in the command: unread tells that it is gone.
func (x *sizing) uses(ctx context.Context, l ledger.Leaf, e *remit.Decided, own remit.ID, paths bool) (out []authority.Use, unread bool, err error) {
	var request *remit.Request
	for _, f := range e.Steps {
		info, known := remit.Lookup(f.Step.Action)
		if f.Step.Effect || !known || info.Action == "task.request" || info.Action == "task.delegate" || info.Action == remit.ActionPlan {
			continue // these rest on no entitlement
		}
		u := authority.Use{Step: remit.Step{Action: f.Step.Action, Resource: f.Step.Resource}, Ref: follow.OwnRef(f.Ref, own), Op: f.Op, Commits: f.Commits}
		if f.Ref != "" {
			u.Bytes = e.Bytes
			if paths && request == nil && !unread {
				if request, err = x.request(ctx, l); err != nil {
					return nil, false, err
				}
				unread = request == nil
			}
			if request != nil {
				for _, r := range request.Refs {
					if r.Ref == f.Ref {
						for _, p := range r.Paths {
							u.Paths = append(u.Paths, p.Path)
						}
					}
				}
			}
		}
		out = append(out, u)
	}
	return out, unread, nil
}

// request is what a decision was asked; nil: it was erased.
func (x *sizing) request(ctx context.Context, l ledger.Leaf) (*remit.Request, error) {
	c, err := x.s.cfg.Engine.Command(ctx, l.Command)
	if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if cmd, ok := c.(*authority.Authorize); ok {
		return &cmd.Request, nil
	}
	return nil, nil
}

// children notes what an agent asked of others: the function that it asked, and of the other what it was asked for.
func (x *sizing) children(ctx context.Context, i remit.EntryIndex, l ledger.Leaf, e *remit.Decided) error {
	n := slices.IndexFunc(e.Steps, func(f remit.StepFacts) bool {
		return !f.Step.Effect && (f.Step.Action == "task.request" || f.Step.Action == "task.delegate")
	})
	if n < 0 {
		return nil
	}
	if a := x.of(e.Task); a != nil && e.Steps[n].Step.Action == "task.request" {
		if a.asked[e.Child.Function] == nil {
			a.asked[e.Child.Function] = &analysis.Evidence{}
		}
		a.asked[e.Child.Function].Add(i, l.At)
	}
	child := x.agents[e.Child.Agent]
	if child == nil {
		return nil
	}
	r, err := x.request(ctx, l)
	if err != nil || r == nil || r.Child == nil || len(r.Child.Scope) == 0 {
		return err
	}
	own := remit.ID("")
	if e.Steps[n].Step.Action == "task.delegate" {
		x.s.view(func(st *authority.State) { own = st.BranchesOf(e.Task) })
	}
	if err := child.usage.Ask(r.Child.Scope, own, i, l.At); err != nil {
		return remit.Errorf(remit.TooLargeToJudge, "agent %s was asked for more different things than can be weighed at once; ask about a shorter time", e.Child.Agent)
	}
	return nil
}

// readOlder reads what came before, from the newest on, for as long as there is time.
func (x *sizing) readOlder(out *remit.Rightsizing) error {
	ctx, cancel := context.WithTimeout(x.ctx, readOlder)
	defer cancel()
	out.Older = out.From
	for high := out.From; high > 0; {
		low, at := high-min(high, olderStep), time.Time{}
		err := x.entries(ctx, low, high, func(i remit.EntryIndex, l ledger.Leaf) error {
			if at.IsZero() {
				at = l.At
			}
			switch e := l.Event.(type) {
			case *remit.Decided:
				if e.Verdict == remit.Allow {
					return x.before(ctx, i, l, e)
				}
			case *remit.TaskCreated:
				x.requestedBefore(i, l.At, e)
			case *remit.InstanceStarted:
				return x.startedBefore(ctx, i, l, e)
			}
			return nil
		})
		if err != nil {
			if x.ctx.Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // what was read is said
			}
			return err
		}
		out.Older, out.OlderAt, high = low, timeOf(at), low
	}
	out.Whole = true
	return nil
}

// before notes what would have been refused.
func (x *sizing) before(ctx context.Context, i remit.EntryIndex, l ledger.Leaf, e *remit.Decided) error {
	t := x.task(e.Task)
	if t == nil {
		return nil
	}
	a := x.agents[t.agent]
	limited := slices.ContainsFunc(a.declared, func(sc remit.Scope) bool { return len(sc.Paths) > 0 })
	uses, _, err := x.uses(ctx, l, e, t.own, limited)
	if err != nil {
		return err
	}
	declared, proposed := authority.Entitled(a.declared), authority.Entitled(a.proposed.Scopes())
	for _, u := range uses {
		if declared(u) && !proposed(u) {
			a.refused.add(remit.UseLine{Action: u.Step.Action, Resource: u.Step.Resource, Ref: shownRef(u.Ref)}, i, l.At, &a.fit.Cut)
		}
	}
	return nil
}

// finish makes the proposal, once all that counts is read.
func (a *sized) finish() {
	a.proposed = a.usage.Fit()
	a.fit.Allowed, a.fit.First, a.fit.Last = a.all.Count, a.all.First, a.all.Last
	for _, e := range a.proposed.Entitlements {
		f := remit.EntitlementFit{Declared: one(e.Declared), Proposed: scopes(e.Proposed), Change: remit.FitShrink, Uses: []remit.UseLine{}}
		switch {
		case len(e.Proposed) == 0:
			f.Change, f.Proposed = remit.FitRemove, []remit.Scope{}
		case len(e.Proposed) == 1 && reflect.DeepEqual(f.Declared, f.Proposed[0]):
			f.Change = remit.FitKeep
		}
		seen := lines{}
		for _, u := range e.Used {
			key := remit.UseLine{Action: u.Step.Action, Resource: u.Step.Resource, Ref: u.Shown()}
			if seen[key] == nil && len(seen) >= maxLines {
				a.fit.Cut++
				continue
			}
			seen[key] = u.Evidence.With(seen[key])
		}
		f.Uses = append(f.Uses, seen.shown()...)
		a.fit.Entitlements = append(a.fit.Entitlements, f)
	}
	for _, u := range a.proposed.Outside {
		key := remit.UseLine{Action: u.Step.Action, Resource: u.Step.Resource, Ref: u.Shown()}
		a.outside[key] = u.Evidence.With(a.outside[key])
	}
	for _, f := range a.functions {
		x := remit.FunctionFit{Function: f, Change: remit.FitRemove}
		if e := a.asked[f]; e != nil {
			x.Change, x.UseLine = remit.FitKeep, lineOf(remit.UseLine{Action: "task.request"}, *e)
		}
		a.fit.MayRequest = append(a.fit.MayRequest, x)
	}
}

// finishTasks says what tasks took at most. Limits are powers of two, times are those that people would write.
func (x *sizing) finishTasks() {
	for _, t := range x.tasks {
		if t.began.IsZero() {
			continue // it began before: not all of it was read
		}
		f := &x.agents[t.agent].fit.Tasks
		f.Budget.Decisions = max(f.Budget.Decisions, power(max(t.decisions, leastDecisions)))
		f.Budget.Holds = max(f.Budget.Holds, t.most)
		f.Budget.Bytes = max(f.Budget.Bytes, power(max(t.bytes, leastBytes)))
		if !t.last.IsZero() {
			f.For = max(f.For, lasting(t.last.Sub(t.began)))
		}
	}
	for _, a := range x.agents {
		e := &a.fit.Tasks.Envelope
		for _, sc := range a.proposed.Scopes() {
			for _, r := range sc.Refs {
				if !slices.Contains(e.Refs, r) {
					e.Refs = append(e.Refs, r)
				}
			}
		}
		if len(a.paths) <= maxEnvelope && a.fit.Unread == 0 {
			for _, p := range slices.Sorted(maps.Keys(a.paths)) {
				if _, err := remit.ParsePathPattern(p); err == nil {
					e.Paths = append(e.Paths, remit.Pattern(p))
				}
			}
			if len(e.Paths) < len(a.paths) {
				e.Paths = nil // a name that no pattern can have
			}
		}
		if a.bytes+a.commits > 0 {
			e.MaxBytes, e.MaxCommits = power(max(a.bytes, leastBytes)), int(power(max(a.commits, leastCommits)))
		}
	}
}

// power is the power of two that is not less than n, which is at least 1.
func power[N int | int64](n N) N {
	return 1 << bits.Len64(uint64(n-1))
}

// lasting is a time that a task would be asked for with.
func lasting(d time.Duration) time.Duration {
	for _, n := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour} {
		if d < n {
			return n
		}
	}
	return authority.TaskLongest
}

func one(sc remit.Scope) remit.Scope { return scopes([]remit.Scope{sc})[0] }

// shown is the agent for people.
func (a *sized) shown() remit.AgentFit {
	f := a.fit
	f.Waited, f.Outside, f.Refused = a.waited.shown(), a.outside.shown(), a.refused.shown()
	if f.Entitlements == nil {
		f.Entitlements = []remit.EntitlementFit{}
	}
	return f
}
