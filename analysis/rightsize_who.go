package analysis

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Requests are those for tasks of one agent, by which of its declared groups the requester might ask. Make one with
// NewRequests.
type Requests struct {
	declared []string
	by       map[string]*requested // by the groups, joined
}

type requested struct {
	groups []string
	Evidence
}

// GroupFit is a group whose members may request tasks, and whether anything that was requested needs it.
type GroupFit struct {
	Group    string
	Kept     bool
	Evidence // of requests by its members, whoever else let them ask
}

// NewRequests is no request yet; declared are the groups that may.
func NewRequests(declared []string) *Requests {
	return &Requests{declared, map[string]*requested{}}
}

// Add notes a request of somebody who is in these of the declared groups. Who needs none of them (the owner) and who is in
// none any more is nobody's reason to keep one.
func (r *Requests) Add(groups []string, i remit.EntryIndex, at time.Time) {
	var in []string
	for _, g := range r.declared {
		if slices.Contains(groups, g) {
			in = append(in, g)
		}
	}
	if len(in) == 0 {
		return
	}
	key := strings.Join(in, "\x00")
	if r.by[key] == nil {
		r.by[key] = &requested{groups: in}
	}
	r.by[key].Evidence.Add(i, at)
}

// Fit keeps groups so that everybody who requested something still may, and none that can be left out: those by which the
// fewest asked are left out first.
func (r *Requests) Fit() []GroupFit {
	out := make([]GroupFit, len(r.declared))
	for n, g := range r.declared {
		out[n] = GroupFit{Group: g, Kept: true}
		for _, key := range slices.Sorted(maps.Keys(r.by)) {
			if x := r.by[key]; slices.Contains(x.groups, g) {
				out[n].Evidence = *x.Evidence.With(&out[n].Evidence)
			}
		}
	}
	order := make([]int, len(out))
	for n := range order {
		order[n] = len(out) - 1 - n // of those alike, the last that is declared
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(out[a].Count, out[b].Count) })
	for _, n := range order {
		out[n].Kept = false
		for _, x := range r.by {
			if !slices.ContainsFunc(out, func(g GroupFit) bool { return g.Kept && slices.Contains(x.groups, g.Group) }) {
				out[n].Kept = true
				break
			}
		}
	}
	return out
}

// Starts are those of CI jobs as one agent. Make one with NewStarts.
type Starts struct {
	fit []JobFit
}

// JobFit is a declared CI job, and whether one like it started.
type JobFit struct {
	Job  remit.Job
	Kept bool
	Evidence
}

// NewStarts is no start yet of the declared jobs.
func NewStarts(declared []remit.Job) *Starts {
	s := &Starts{}
	for _, j := range declared {
		s.fit = append(s.fit, JobFit{Job: j})
	}
	return s
}

// Claims are what a CI job's token says, as far as a declared job names it: without the repository that it builds.
func Claims(j remit.Job) remit.Job {
	j.Source = ""
	return j
}

// Add notes the start of a job with these claims. Of one whose claims are not known any more only the issuer is: it could
// have been any declared one of that.
func (s *Starts) Add(claims remit.Job, unread bool, i remit.EntryIndex, at time.Time) {
	for n := range s.fit {
		f := &s.fit[n]
		if unread && f.Job.Issuer == claims.Issuer || !unread && Claims(f.Job) == Claims(claims) {
			f.Kept = true
			f.Evidence.Add(i, at)
			if !unread {
				return // the first that fits is the one that decides
			}
		}
	}
}

// Fit says of each declared job whether it stays.
func (s *Starts) Fit() []JobFit { return s.fit }

// longestAhead is how far ahead an agent ends at most.
const longestAhead = 365 * 24 * time.Hour

// ProposeExpiry gives the day on which an agent ends: the declared one, or where that is none or further ahead, a year from
// now; for an agent that did nothing within a time, after that time once more. Days are of UTC; the day itself is later than
// now, and what is declared is never put off.
func ProposeExpiry(declared, now time.Time, used bool, within time.Duration) time.Time {
	ahead := longestAhead
	if !used && within < ahead {
		ahead = within
	}
	day := now.UTC().Add(ahead).Truncate(24 * time.Hour).Add(24 * time.Hour)
	if !declared.IsZero() && !declared.After(day) {
		return declared
	}
	return day
}
