// Package plan compares what is done with what was planned for it. It knows neither state nor time: whether a plan is in
// force, and who agreed to it, is for the rules of authority.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// Limits of one step of a plan.
const (
	MaxUses     = 100
	MaxPatterns = 16 // in one list
)

// Check tells what is wrong with a step by itself; empty: nothing.
func Check(p remit.PlanStep) string {
	moves := Moves(p.Action)
	_, name := remit.ParseResource(string(p.Resource))
	_, pattern := remit.ParsePattern(string(p.Resource))
	limits := len(p.Refs)+len(p.Paths) > 0 || p.MaxPaths != 0 || p.MaxBytes != 0 || p.MaxCommits != 0
	switch {
	case pattern != nil:
		return pattern.Error()
	case name != nil && remit.Resource(p.Resource).Type() == "tool":
		return "a plan names each tool in full"
	case p.Exact() && name != nil:
		return "what is exact names one resource: " + name.Error()
	case p.New != "" && !moves:
		return fmt.Sprintf("%s brings no commit to a ref; name its arguments or its effect", p.Action)
	case p.New == "" && p.Old != "":
		return "old belongs to new, the commit that takes its place"
	case !objectID(p.New) || !objectID(p.Old):
		return "a commit is 40 or 64 lower-case hex digits; a branch or a tag moves"
	case p.New != "" && (len(p.Refs) != 1 || strings.HasSuffix(string(p.Refs[0]), "*")):
		return "a commit comes to one ref, named in full"
	case limits && !moves:
		return fmt.Sprintf("%s moves no ref, so refs, paths and limits say nothing of it", p.Action)
	case p.Uses < 0 || p.Uses > MaxUses || p.Exact() && p.Uses > 1:
		return fmt.Sprintf("an envelope is used 1 to %d times, and what is exact is done once", MaxUses)
	case max(len(p.Refs), len(p.Paths)) > MaxPatterns:
		return fmt.Sprintf("a list has at most %d patterns", MaxPatterns)
	case p.MaxPaths < 0 || p.MaxBytes < 0 || p.MaxCommits < 0:
		return "limits are 0, for none of its own, or more"
	}
	for _, r := range p.Refs {
		if _, err := remit.ParseRefPattern(string(r)); err != nil {
			return "refs: " + err.Error()
		}
	}
	for _, q := range p.Paths {
		if _, err := remit.ParsePathPattern(string(q)); err != nil {
			return "paths: " + err.Error()
		}
		if strings.HasPrefix(string(q), "**/") {
			return fmt.Sprintf("paths: %q: a pattern that begins with **/ protects, it plans nothing", q)
		}
	}
	return ""
}

// Moves tells whether an action moves refs.
func Moves(a remit.Action) bool { return a == "source.push" || a == "source.merge" }

func objectID(s string) bool {
	return s == "" || (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// Act is one step that is about to be done.
type Act struct {
	Step    remit.Step
	Effect  remit.Digest     // of the whole request
	Ref     *remit.RefChange // that it moves; nil: none
	Bytes   int64
	Own     []remit.Pattern // the task's own branches
	Guarded []string        // changed paths that are protected, or run by themselves
	Guards  []remit.Pattern // by which
	Runs    bool            // what a pipeline runs with secrets differs from the trusted ref
	Pinned  bool            // it reaches production, by itself or by what it sets off
}

// Differs tells how an act deviates from a step of a plan; empty: it lies inside. near tells how far the two agree, to
// find the step that was meant.
func Differs(p remit.PlanStep, a Act) (why string, near int) {
	if p.Action != a.Step.Action {
		return fmt.Sprintf("it is %s, not %s", a.Step.Action, p.Action), 0
	}
	if !p.Resource.Match(a.Step.Resource) {
		return fmt.Sprintf("it is on %s, not on %s", a.Step.Resource, p.Resource), 1
	}
	if !p.Effect.IsZero() && p.Effect != a.Effect {
		return "its effect is another one than was planned", 3
	}
	if !p.Args.IsZero() && p.Args != a.Step.Args {
		return "its arguments are others than were planned", 3
	}
	if a.Ref != nil && p.Effect.IsZero() {
		if why, near := moved(p, a); why != "" {
			return why, near
		}
	}
	if a.Pinned && !Pins(p) {
		return "it reaches production, and the plan does not name it by digest", 8
	}
	return "", 9
}

// moved compares a ref with what was planned of it.
func moved(p remit.PlanStep, a Act) (why string, near int) {
	refs := p.Refs
	if len(refs) == 0 {
		refs = a.Own
	}
	covers := func(q remit.Pattern) bool { return q.Match(remit.Resource(a.Ref.Ref)) }
	if !slices.ContainsFunc(refs, covers) {
		return fmt.Sprintf("it moves %s, not %s", a.Ref.Ref, words(refs)), 2
	}
	own := slices.ContainsFunc(a.Own, covers)
	if !own && (a.Ref.Op == remit.RefForce || a.Ref.Op == remit.RefDelete) {
		return fmt.Sprintf("it is a %s of %s; a plan names that by its effect", a.Ref.Op, a.Ref.Ref), 3
	}
	if p.New != "" && p.New != a.Ref.New {
		return fmt.Sprintf("it brings commit %.12s, not %.12s", a.Ref.New, p.New), 4
	}
	if p.Old != "" && p.Old != a.Ref.Old {
		return fmt.Sprintf("%s is at %.12s by now, not at %.12s", a.Ref.Ref, a.Ref.Old, p.Old), 4
	}
	if len(p.Paths) > 0 {
		for _, c := range a.Ref.Paths {
			if !slices.ContainsFunc(p.Paths, func(q remit.Pattern) bool { return q.MatchPath(c.Path) }) {
				return fmt.Sprintf("it changes %s, outside of %s", c.Path, words(p.Paths)), 5
			}
		}
	}
	switch {
	case p.MaxPaths != 0 && len(a.Ref.Paths) > p.MaxPaths:
		return fmt.Sprintf("it changes %d paths; at most %d were planned", len(a.Ref.Paths), p.MaxPaths), 6
	case p.MaxBytes != 0 && a.Bytes > p.MaxBytes:
		return fmt.Sprintf("it has %d bytes; at most %d were planned", a.Bytes, p.MaxBytes), 6
	case p.MaxCommits != 0 && a.Ref.Commits > p.MaxCommits:
		return fmt.Sprintf("it has %d commits; at most %d were planned", a.Ref.Commits, p.MaxCommits), 6
	}
	if p.New == "" {
		if a.Runs {
			return "what it changes runs with secrets, and the plan does not name the commit", 7
		}
		for _, path := range a.Guarded {
			if !slices.ContainsFunc(p.Paths, func(q remit.Pattern) bool { return q.MatchPath(path) && Names(q, a.Guards) }) {
				return fmt.Sprintf("it changes %s, which is protected and which the plan does not name", path), 7
			}
		}
	}
	return "", 9
}

// Names tells whether a pattern of paths lies whole within what is protected: whoever agrees to src/** has not said that
// src/AGENTS.md may change.
func Names(q remit.Pattern, guards []remit.Pattern) bool {
	return slices.ContainsFunc(guards, func(g remit.Pattern) bool {
		deep, anywhere := strings.CutPrefix(string(g), "**/")
		if !anywhere {
			return g.Contains(q)
		}
		for rest, more := string(q), true; more; _, rest, more = strings.Cut(rest, "/") {
			if remit.Pattern(deep).Contains(remit.Pattern(rest)) {
				return true
			}
		}
		return false
	})
}

// Pins tells whether a step says by digest all of what is done: the commit alone does not, because a merge, and a ref
// that has moved on, make something else of it.
func Pins(p remit.PlanStep) bool {
	return !p.Effect.IsZero() || !p.Args.IsZero() && !Moves(p.Action) || p.New != "" && p.Old != ""
}

func words(ps []remit.Pattern) string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = string(p)
	}
	return strings.Join(out, " or ")
}
