package authority

import (
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// maxLabel is the longest name of a gateway or an executor, in bytes.
const maxLabel = 64

// checkShape denies what no gateway should have sent, and what is too large to be judged whole.
func (s *State) checkShape(d *verdict, r remit.Request) {
	bad := func(format string, args ...any) { d.deny(remit.BadRequest, "R1", format, args...) }
	if !plain(r.Gateway, maxLabel) || r.Caller.Executor != "" && !plain(r.Caller.Executor, maxLabel) || r.Bytes < 0 {
		d.malformed = true
		bad("the gateway names itself in at most %d bytes of text, and counts bytes from 0", maxLabel)
	}
	if len(r.Steps) == 0 {
		d.deny(remit.UnknownAction, "R1", "the request names no step")
	}
	if len(r.Steps) > MaxSteps {
		d.malformed = true
		d.deny(remit.TooLargeToJudge, "R1", "a request has at most %d steps, not %d", MaxSteps, len(r.Steps))
	}
	if len(r.Refs) > MaxRefs {
		d.malformed = true
		d.deny(remit.TooLargeToJudge, "R1", "a push moves at most %d refs at once, not %d; push them in parts", MaxRefs, len(r.Refs))
	}
	if len(r.Order) > MaxOrder {
		d.deny(remit.TooLargeToJudge, "R1", "the work order is larger than %d bytes", MaxOrder)
	}
	if (r.Preview || r.Advice) && r.Access != "" {
		bad("an approval is claimed or not; there is no preview of it")
	}
	var on []remit.Resource // repositories
	zone := remit.ZoneNone
	for _, st := range r.Steps {
		needs := st.Action == "source.push" || st.Action == "source.merge" || st.Action == "review.submit"
		if needs && len(r.Refs) == 0 {
			bad("%s names the refs that it is about", st.Action)
		}
		if needs && !slices.Contains(on, st.Resource) {
			on = append(on, st.Resource)
		}
		info, known := remit.Lookup(st.Action)
		if !known {
			continue // denied as such
		}
		z := s.zoneOf(info, st.Resource)
		if readBesides(r.Tool != nil, info) {
			continue
		}
		if zone != remit.ZoneNone && z != remit.ZoneNone && z != zone {
			d.deny(remit.CrossesBoundary, "R4", "one request has steps in zones %s and %s; a credential serves one", zone, z)
		}
		zone = stricter(zone, z)
	}
	if len(r.Refs) > 0 && len(on) != 1 {
		bad("refs are of the one repository that is pushed to, merged or reviewed")
	}
	s.checkRefs(d, r, bad)
	checkChain(d, r)
	checkTool(d, r)
	checkPlan(d, r)
	checkChild(r, bad)
}

// checkRefs looks at what a gateway says of refs, before any rule reads it.
func (s *State) checkRefs(d *verdict, r remit.Request, bad func(string, ...any)) {
	seen := map[string]bool{}
	commits, outside, dependencies, workflows := 0, 0, 0, 0
	var pushers []remit.EntryIndex
	for _, c := range r.Refs {
		if !plain(c.Ref, remit.MaxName) || !strings.HasPrefix(c.Ref, "refs/") || seen[c.Ref] {
			d.malformed = true
			d.deny(remit.BadRef, "R1", "each ref is named once, in full, in at most %d bytes", remit.MaxName)
		}
		seen[c.Ref] = true
		if !objectID(c.Old) || !objectID(c.New) || !objectID(c.Tree) {
			bad("an object id is 40 or 64 lower-case hex digits")
		}
		if c.Op != remit.RefCreate && c.Op != remit.RefUpdate && c.Op != remit.RefForce && c.Op != remit.RefDelete {
			d.malformed = true
			bad("a ref is created, updated, forced or deleted")
		}
		if c.Commits < 0 || c.Outside < 0 {
			d.malformed = true
			bad("commits are counted from 0")
		}
		commits, outside = commits+min(max(c.Commits, 0), MaxCommits+1), outside+min(max(c.Outside, 0), MaxCommits+1)
		dependencies, workflows = dependencies+len(c.Dependencies), workflows+len(c.Workflows)
		if len(c.Owners) > remit.MaxOwnerships {
			bad("the owners of paths are listed in at most %d groups, and the rest is said to be cut", remit.MaxOwnerships)
		}
		for _, p := range c.Pushers {
			if _, ok := s.Pushes[p]; !ok {
				bad("entry %d is no push", p)
			}
			if !slices.Contains(pushers, p) {
				pushers = append(pushers, p)
			}
		}
		for _, p := range c.Signers {
			if s.People[p] == nil {
				d.malformed = true
				bad("a signer is a declared person")
			}
		}
	}
	if dependencies > remit.MaxDependencies || workflows > remit.MaxWorkflows {
		bad("a request lists at most %d changes of dependencies and %d findings about workflows, and says that the rest is cut", remit.MaxDependencies, remit.MaxWorkflows)
	}
	if commits > MaxCommits {
		d.deny(remit.TooLargeToJudge, "R1", "a push has at most %d new commits; push them in parts", MaxCommits)
	}
	if len(pushers) > MaxPushers {
		d.malformed = true
		d.deny(remit.TooLargeToJudge, "R3", "the new commits come from %d pushes; at most %d are looked at", len(pushers), MaxPushers)
	}
}

// objectID tells whether s is a git object id, or empty where there is none.
func objectID(s string) bool {
	return s == "" || (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
