package analysis_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
)

// Of the groups that may request tasks, those are proposed that let everybody ask who did, and none that can be left out.
func TestWhoMayRequestIsWhoDid(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e"}
	left, shrunk := 0, 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		declared := some(r, all, 0)
		q := analysis.NewRequests(declared)
		var asked [][]string
		for i := range r.IntN(12) {
			in := some(r, all, 0) // also of groups that are not declared
			q.Add(in, remit.EntryIndex(i), time.Unix(int64(i), 0))
			if slices.ContainsFunc(in, func(g string) bool { return slices.Contains(declared, g) }) {
				asked = append(asked, in)
			}
		}
		fit := q.Fit()
		refused := func(without string) bool {
			for _, in := range asked {
				if !slices.ContainsFunc(fit, func(f analysis.GroupFit) bool { return f.Kept && f.Group != without && slices.Contains(in, f.Group) }) {
					return true
				}
			}
			return false
		}
		if len(fit) != len(declared) || refused("") {
			t.Fatalf("seed %d: somebody of %v is refused by %+v", seed, asked, fit)
		}
		for n, f := range fit {
			count := 0
			for _, in := range asked {
				if slices.Contains(in, f.Group) {
					count++
				}
			}
			if f.Group != declared[n] || f.Count != count || f.Kept && count == 0 {
				t.Fatalf("seed %d: %+v of %v, and %d asked by it", seed, f, declared, count)
			}
			if f.Kept {
				left++
				if !refused(f.Group) {
					t.Fatalf("seed %d: nobody needs %s: %+v, %v", seed, f.Group, fit, asked)
				}
			} else {
				shrunk++
			}
		}
	}
	if left < 500 || shrunk < 500 {
		t.Errorf("%d stayed and %d went", left, shrunk)
	}
}

// A declared job stays if a job with exactly its claims started; one whose claims were erased could have been any of its
// issuer.
func TestJobsThatStarted(t *testing.T) {
	job := func(issuer, repository, workflow, environment string) remit.Job {
		return remit.Job{Issuer: issuer, Repository: repository, Workflow: workflow, Environment: environment}
	}
	var all []remit.Job
	for i := range 16 {
		all = append(all, job(fmt.Sprint("ci", i&1), fmt.Sprint(i>>1&1), fmt.Sprint("w", i>>2&1), fmt.Sprint("e", i>>3&1)))
	}
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 5))
		declared := some(r, all, 1)
		for i := range declared {
			declared[i].Source = "forge/shop" // says what is built, and no token does
		}
		s := analysis.NewStarts(declared)
		want := map[remit.Job]int{}
		for i := range r.IntN(10) {
			claims, unread := pick(r, all), r.IntN(8) == 0
			if unread {
				claims = remit.Job{Issuer: claims.Issuer}
			}
			s.Add(claims, unread, remit.EntryIndex(i), time.Unix(int64(i), 0))
			for _, d := range declared {
				if unread && d.Issuer == claims.Issuer || !unread && analysis.Claims(d) == claims {
					want[d]++
				}
			}
		}
		for n, f := range s.Fit() {
			if f.Job != declared[n] || f.Kept != (want[f.Job] > 0) || f.Count != want[f.Job] {
				t.Fatalf("seed %d: %+v, and %d started", seed, f, want[f.Job])
			}
		}
	}
	twice := analysis.NewStarts([]remit.Job{all[0], all[0]})
	twice.Add(all[0], false, 1, time.Unix(1, 0))
	if f := twice.Fit(); !f[0].Kept || f[1].Kept {
		t.Errorf("the same job stands twice: %+v", f)
	}
}

// An end that is proposed is never later than the declared one, never in the past, and at most a year ahead.
func TestAProposedEnd(t *testing.T) {
	now := time.Date(2026, 5, 1, 13, 0, 0, 0, time.UTC)
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	month := 30 * 24 * time.Hour
	for name, c := range map[string]struct {
		declared time.Time
		used     bool
		within   time.Duration
		want     string
	}{
		"none is declared":                {time.Time{}, true, month, "2027-05-02"},
		"none, and nobody used it":        {time.Time{}, false, month, "2026-06-01"},
		"one that is soon":                {day("2026-05-20"), true, month, "2026-05-20"},
		"one that is over":                {day("2026-04-01"), true, month, "2026-04-01"},
		"one that is far":                 {day("2031-01-01"), true, month, "2027-05-02"},
		"one that is far, and unused":     {day("2027-01-01"), false, month, "2026-06-01"},
		"unused for longer than a year":   {time.Time{}, false, 1000 * 24 * time.Hour, "2027-05-02"},
		"the last instant of a day":       {time.Time{}, false, 11*time.Hour - 1, "2026-05-02"},
		"one that is exactly as proposed": {day("2027-05-02"), true, month, "2027-05-02"},
	} {
		if got := analysis.ProposeExpiry(c.declared, now, c.used, c.within); !got.Equal(day(c.want)) {
			t.Errorf("%s: %s, not %s", name, got.Format(time.DateOnly), c.want)
		}
	}
}
