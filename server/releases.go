package server

import (
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// maxReleases is how many releases of an environment are shown.
const maxReleases = 100

// listEnvironments are the declared environments with what is there, what waits, and what was there before.
func listEnvironments(s *Server, c *call) ([]remit.EnvironmentView, error) {
	d := s.people(c.r.Context())
	only := c.r.URL.Query().Get("name")
	out := []remit.EnvironmentView{}
	s.view(func(st *authority.State) {
		for name, e := range st.Environments {
			if only != "" && only != name {
				continue
			}
			v := remit.EnvironmentView{Name: name, Tier: e.Tier, Upstream: e.Upstream, Approvers: some(e.Approvers), Evidence: some(e.Evidence)}
			current, there := st.CurrentRelease(name)
			good := st.GoodReleases(name)
			for _, r := range st.Releases[name] {
				view := releaseView(st, d.Name, r.Deploy, r.Task)
				view.Entry, view.Access, view.Outcome, view.At = r.Entry, r.Access, r.Outcome, time.Unix(0, r.At).UTC()
				switch {
				case there && r.Entry == current.Entry:
					view.Status = "current"
					now := view
					v.Current = &now
				case slices.ContainsFunc(good, func(g authority.Release) bool { return g.Entry == r.Entry }):
					view.Status = "good"
				case r.Outcome == remit.Done:
					view.Status = "rolled back"
				default:
					view.Status = string(r.Outcome)
				}
				v.History = append(v.History, view)
			}
			for id := range st.OpenHolds {
				a := st.Accesses[id]
				t := st.Tasks[a.Task]
				if t == nil || t.Deploy.Environment != name {
					continue
				}
				view := releaseView(st, d.Name, t.Deploy, t.ID)
				view.Access, view.At, view.Status = id, time.Unix(0, a.At).UTC(), "waiting"
				if a.Status != remit.AccessOpen {
					view.Status = "approved"
				}
				v.History = append(v.History, view)
			}
			slices.SortFunc(v.History, func(a, b remit.ReleaseView) int { return b.At.Compare(a.At) })
			v.History = v.History[:min(len(v.History), maxReleases)]
			out = append(out, v)
		}
	})
	if only != "" && len(out) == 0 {
		return nil, remit.Errorf(remit.NotFound, "no environment %q is declared", only)
	}
	slices.SortFunc(out, func(a, b remit.EnvironmentView) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func releaseView(st *authority.State, name func(remit.ID) string, d remit.Deploy, task remit.ID) remit.ReleaseView {
	v := remit.ReleaseView{Environment: d.Environment, Rollback: d.Rollback, Artifacts: slices.Clone(d.Artifacts), From: d.From, Task: task}
	if t := st.Tasks[task]; t != nil {
		v.Requester, v.Agent = name(t.Requester), t.Agent
		if p := st.Tasks[t.Parent]; p != nil {
			v.Agent = p.Agent // who asked for it
		}
	}
	return v
}
