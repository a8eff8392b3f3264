package authority

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// taskPlaceholder in an entitlement's ref stands for the task's id.
const taskPlaceholder = "{task}"

// TaskBranches is where a task pushes unless its entitlement says otherwise.
const TaskBranches = "refs/heads/remit/" + taskPlaceholder + "/**"

// substitute puts the task's id into ref patterns.
func substitute(refs []remit.Pattern, task remit.ID) []remit.Pattern {
	out := make([]remit.Pattern, 0, len(refs))
	for _, r := range refs {
		out = append(out, remit.Pattern(strings.ReplaceAll(string(r), taskPlaceholder, string(task))))
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// intersect is the grant of a task: requested ∩ entitled, never more (R5). Nothing requested asks for all that the
// agent is entitled to.
func intersect(asked, entitled []remit.Scope, task remit.ID) ([]remit.Scope, error) {
	for _, a := range asked {
		for _, act := range a.Actions {
			if _, ok := remit.Lookup(act); !ok {
				return nil, remit.Errorf(remit.UnknownAction, "the catalogue has no action %q", act)
			}
		}
	}
	var grant []remit.Scope
	for _, e := range entitled {
		e.Refs = substitute(orBranches(e.Refs), task)
		if len(asked) == 0 {
			grant = append(grant, e)
		}
		for _, a := range asked {
			a.Refs = substitute(orBranches(a.Refs), task)
			g := remit.Scope{
				Actions:    common(a.Actions, e.Actions),
				Resources:  patterns(a.Resources, e.Resources),
				Refs:       patterns(a.Refs, e.Refs),
				Paths:      narrow(a.Paths, e.Paths),
				MaxBytes:   least(a.MaxBytes, e.MaxBytes),
				MaxCommits: least(a.MaxCommits, e.MaxCommits),
			}
			if len(g.Actions) == 0 || len(g.Resources) == 0 || len(g.Refs) == 0 || len(g.Paths) == 0 && len(a.Paths)+len(e.Paths) > 0 {
				continue
			}
			grant = append(grant, g)
		}
	}
	return grant, nil
}

func common(a, b []remit.Action) []remit.Action {
	var out []remit.Action
	for _, x := range a {
		if slices.Contains(b, x) && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	slices.Sort(out)
	return out
}

func patterns(a, b []remit.Pattern) []remit.Pattern {
	var out []remit.Pattern
	for _, x := range a {
		for _, y := range b {
			if z, ok := x.Intersect(y); ok && !slices.Contains(out, z) {
				out = append(out, z)
			}
		}
	}
	slices.Sort(out)
	return out
}

// narrow intersects two lists of which an empty one means no limit.
func narrow(a, b []remit.Pattern) []remit.Pattern {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	return patterns(a, b)
}

// least is the smaller of two limits of which 0 means none.
func least[N int | int64](a, b N) N {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// contained tells whether everything that a allows, one of b allows as well (R5). It is what makes a change of an
// entitlement a narrowing.
func contained(a remit.Scope, b []remit.Scope) bool {
	for _, act := range a.Actions {
		for _, res := range a.Resources {
			ok := slices.ContainsFunc(b, func(o remit.Scope) bool {
				return slices.Contains(o.Actions, act) &&
					covers(o.Resources, res) &&
					listWithin(orBranches(a.Refs), orBranches(o.Refs)) && listWithin(a.Paths, o.Paths) &&
					limitWithin(a.MaxBytes, o.MaxBytes) && limitWithin(int64(a.MaxCommits), int64(o.MaxCommits))
			})
			if !ok {
				return false
			}
		}
	}
	return true
}

func orBranches(refs []remit.Pattern) []remit.Pattern {
	if len(refs) == 0 {
		return []remit.Pattern{TaskBranches}
	}
	return refs
}

func covers(ps []remit.Pattern, q remit.Pattern) bool {
	return slices.ContainsFunc(ps, func(p remit.Pattern) bool { return p.Contains(q) })
}

// listWithin: every pattern of a lies in one of b; an empty list is no limit.
func listWithin(a, b []remit.Pattern) bool {
	if len(b) == 0 {
		return true
	}
	return len(a) > 0 && !slices.ContainsFunc(a, func(p remit.Pattern) bool { return !covers(b, p) })
}

func limitWithin(a, b int64) bool { return b == 0 || a != 0 && a <= b }

// stricter is the stricter of two zones: production before control, build, source and none.
func stricter(a, b remit.Zone) remit.Zone {
	for _, z := range []remit.Zone{remit.ZoneProduction, remit.ZoneControl, remit.ZoneBuild, remit.ZoneSource} {
		if a == z || b == z {
			return z
		}
	}
	return remit.ZoneNone
}

// checkScope refuses a scope whose patterns mean something else than they seem to.
func checkScope(sc remit.Scope) error {
	for _, r := range sc.Resources {
		if _, err := remit.ParsePattern(string(r)); err != nil {
			return fmt.Errorf("resources: %w", err)
		}
	}
	return checkLimits(sc.Refs, sc.Paths, sc.MaxBytes, sc.MaxCommits)
}

func checkEnvelope(e remit.Envelope) error {
	if err := checkLimits(e.Refs, e.Paths, e.MaxBytes, e.MaxCommits); err != nil {
		return remit.Errorf(remit.BadRequest, "envelope: %w", err)
	}
	return nil
}

func checkLimits(refs, paths []remit.Pattern, bytes int64, commits int) error {
	for _, r := range substitute(refs, "T-0") {
		if _, err := remit.ParseRefPattern(string(r)); err != nil {
			return fmt.Errorf("refs: %w", err)
		}
	}
	for _, p := range paths {
		if _, err := remit.ParsePathPattern(string(p)); err != nil {
			return fmt.Errorf("paths: %w", err)
		}
		if strings.HasPrefix(string(p), "**/") {
			return fmt.Errorf("paths: %q: a pattern that begins with **/ protects, it never grants", p)
		}
	}
	if bytes < 0 || commits < 0 {
		return errors.New("max_bytes and max_commits are 0, for no limit, or more")
	}
	return nil
}

// checkBoundary is R4a for a list of scopes, and the declared boundaries.
func (s *State) checkBoundary(f remit.Function, scopes []remit.Scope) error {
	return checkBoundary(f, scopes, s.sealsFor(f), s)
}

func (s *State) sealsFor(f remit.Function) map[string][]remit.Pattern {
	seals := map[string][]remit.Pattern{}
	for name, b := range s.Boundaries {
		if len(b.Functions) == 0 || slices.Contains(b.Functions, f) {
			seals[name] = b.Seal
		}
	}
	return seals
}

func checkBoundary(f remit.Function, scopes []remit.Scope, seals map[string][]remit.Pattern, declared zoned) error {
	zones, stages := remit.FunctionZones(f), remit.FunctionStages(f)
	for _, sc := range scopes {
		for _, act := range sc.Actions {
			info, ok := remit.Lookup(act)
			if !ok {
				return remit.Errorf(remit.UnknownAction, "the catalogue has no action %q", act)
			}
			if info.Stage == remit.StageControl {
				return remit.Errorf(remit.CrossesBoundary, "%s is for people only; no agent may be given it", act)
			}
			if info.Impact == remit.Read && info.Stage != remit.StageSecret {
				continue // reads in any stage that the entitlement names
			}
			byZone := info.Stage == remit.StageSecret || info.Stage == remit.StageTool
			if !byZone && !slices.Contains(stages, info.Stage) {
				return remit.Errorf(remit.CrossesBoundary, "%s lies in stage %s; an agent of function %s may not take it", act, info.Stage, f)
			}
			for _, zone := range zonesOfAction(info, sc.Resources, declared) {
				if zone != remit.ZoneNone && !slices.Contains(zones, zone) {
					return remit.Errorf(remit.CrossesBoundary, "%s lies in stage %s, here in zone %s; an agent of function %s may not take it", act, info.Stage, zone, f)
				}
			}
		}
		for _, res := range sc.Resources {
			for _, name := range sorted(seals) {
				for _, sealed := range seals[name] {
					if _, overlap := sealed.Intersect(res); overlap {
						return remit.Errorf(remit.CrossesBoundary, "%s is sealed by boundary %s", res, name)
					}
				}
			}
		}
	}
	return nil
}
