package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// What lines of use call a task that somebody requested, and a CI job that started.
const (
	useRequest remit.Action = "task.create"
	useJob     remit.Action = "instance.start"
)

// sizedWho is who may set an agent to work, and who did.
type sizedWho struct {
	owner      remit.ID
	requesters []string
	requests   *analysis.Requests
	starts     *analysis.Starts
	expires    time.Time
	kept       []string    // groups
	lost       []remit.Job // their claims
}

func newSizedWho(a *authority.Agent) *sizedWho {
	w := &sizedWho{owner: a.Owner, requesters: a.Requesters, requests: analysis.NewRequests(a.Requesters), starts: analysis.NewStarts(a.Jobs)}
	if a.Expires != 0 {
		w.expires = time.Unix(a.Expires, 0).UTC()
	}
	return w
}

// groups are those of an agent's requesters in which somebody was, as groups are now; none for its owner, who needs none.
func (x *sizing) groups(w *sizedWho, p remit.ID, at time.Time) (in []string) {
	if p == w.owner {
		return nil
	}
	x.s.view(func(st *authority.State) {
		for _, g := range w.requesters {
			if st.InGroup(g, p, at.UnixNano()) {
				in = append(in, g)
			}
		}
	})
	return in
}

// requested notes who asked for a task. What agents ask of each other stands in decisions.
func (x *sizing) requested(i remit.EntryIndex, at time.Time, e *remit.TaskCreated) {
	if a := x.agents[e.Agent]; a != nil && e.Parent == "" {
		a.who.requests.Add(x.groups(a.who, e.Requester, at), i, at)
	}
}

// claims are what a CI job proved when it became an instance. Unread: that was erased.
func (x *sizing) claims(ctx context.Context, l ledger.Leaf, e *remit.InstanceStarted) (job remit.Job, unread bool, err error) {
	c, err := x.s.cfg.Engine.Command(ctx, l.Command)
	if err != nil && !errors.Is(err, ledger.ErrErased) && !errors.Is(err, ledger.ErrNotFound) {
		return job, false, err
	}
	if cmd, ok := c.(*authority.StartJob); ok && err == nil {
		return remit.Job{Issuer: cmd.Issuer, Repository: cmd.Repository, Workflow: cmd.Workflow, Environment: cmd.Environment}, false, nil
	}
	return remit.Job{Issuer: e.Issuer}, true, nil
}

func (x *sizing) started(ctx context.Context, i remit.EntryIndex, l ledger.Leaf, e *remit.InstanceStarted) error {
	a := x.agents[e.Agent]
	if a == nil || e.Issuer == "" {
		return nil
	}
	job, unread, err := x.claims(ctx, l, e)
	if err == nil {
		a.who.starts.Add(job, unread, i, l.At)
	}
	return err
}

// finish makes the proposal.
func (w *sizedWho) finish(f *remit.AgentFit, now time.Time, within time.Duration) {
	for _, g := range w.requests.Fit() {
		x := remit.RequesterFit{Group: g.Group, Change: remit.FitRemove}
		if g.Count > 0 {
			x.UseLine = lineOf(remit.UseLine{Action: useRequest}, g.Evidence)
		}
		if g.Kept {
			x.Change, w.kept = remit.FitKeep, append(w.kept, g.Group)
		}
		f.Requesters = append(f.Requesters, x)
	}
	for _, j := range w.starts.Fit() {
		x := remit.JobFit{Job: j.Job, Change: remit.FitRemove}
		if j.Count > 0 {
			x.UseLine = lineOf(remit.UseLine{Action: useJob}, j.Evidence)
		}
		if j.Kept {
			x.Change = remit.FitKeep
		} else {
			w.lost = append(w.lost, analysis.Claims(j.Job))
		}
		f.Jobs = append(f.Jobs, x)
	}
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.DateOnly)
	}
	proposed := analysis.ProposeExpiry(w.expires, now, f.Allowed > 0, within)
	f.Expires = remit.ExpiryFit{Declared: day(w.expires), Proposed: day(proposed), Change: remit.FitKeep}
	if !proposed.Equal(w.expires) {
		f.Expires.Change = remit.FitShrink
	}
}

// requestedBefore notes a request that would have been refused: its requester might by the declared groups, and may not by
// those that would stay.
func (x *sizing) requestedBefore(i remit.EntryIndex, at time.Time, e *remit.TaskCreated) {
	a := x.agents[e.Agent]
	if a == nil || e.Parent != "" {
		return
	}
	in := x.groups(a.who, e.Requester, at)
	if len(in) > 0 && !slices.ContainsFunc(in, func(g string) bool { return slices.Contains(a.who.kept, g) }) {
		a.refused.add(remit.UseLine{Action: useRequest}, i, at, &a.fit.Cut)
	}
}

// startedBefore is the same of a CI job. One whose claims were erased counts if it could have been one that would go.
func (x *sizing) startedBefore(ctx context.Context, i remit.EntryIndex, l ledger.Leaf, e *remit.InstanceStarted) error {
	a := x.agents[e.Agent]
	if a == nil || e.Issuer == "" || len(a.who.lost) == 0 {
		return nil
	}
	job, unread, err := x.claims(ctx, l, e)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(a.who.lost, func(lost remit.Job) bool { return lost == job || unread && lost.Issuer == job.Issuer }) {
		a.refused.add(remit.UseLine{Action: useJob}, i, l.At, &a.fit.Cut)
	}
	return nil
}
