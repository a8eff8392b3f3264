package authority

import (
	"slices"

	"github.com/remit-dev/remit"
)

// Dropped says which part of what was asked for is in nothing of granted, so that nobody learns it only when a step is
// denied: whole pairs of an action and a resource, and of the others the refs and paths that were named and are not
// there. What was asked for wider than it was granted is not in it: the grant shows that.
func Dropped(asked, granted []remit.Scope, task remit.ID) []remit.Scope {
	var out []remit.Scope
	for _, a := range asked {
		for _, res := range a.Resources {
			for _, act := range a.Actions {
				over := slices.DeleteFunc(slices.Clone(granted), func(g remit.Scope) bool {
					return !slices.Contains(g.Actions, act) || len(patterns([]remit.Pattern{res}, g.Resources)) == 0
				})
				d := remit.Scope{Actions: []remit.Action{act}, Resources: []remit.Pattern{res}}
				if len(over) > 0 {
					d.Refs = ungranted(substitute(a.Refs, task), over, func(g remit.Scope) []remit.Pattern { return substitute(orBranches(g.Refs), task) })
					d.Paths = ungranted(a.Paths, over, func(g remit.Scope) []remit.Pattern { return g.Paths })
					if len(d.Refs)+len(d.Paths) == 0 {
						continue
					}
				}
				if n := len(out) - 1; n >= 0 && slices.Equal(out[n].Resources, d.Resources) && slices.Equal(out[n].Refs, d.Refs) && slices.Equal(out[n].Paths, d.Paths) {
					out[n].Actions = append(out[n].Actions, act)
					continue
				}
				out = append(out, d)
			}
		}
	}
	return out
}

// ungranted are the patterns that no scope has any part of; a scope without a list has all.
func ungranted(ps []remit.Pattern, scopes []remit.Scope, of func(remit.Scope) []remit.Pattern) []remit.Pattern {
	var out []remit.Pattern
	for _, p := range ps {
		if !slices.ContainsFunc(scopes, func(g remit.Scope) bool { return len(of(g)) == 0 || len(patterns([]remit.Pattern{p}, of(g))) > 0 }) {
			out = append(out, p)
		}
	}
	return out
}
