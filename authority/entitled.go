package authority

import (
	"strings"

	"github.com/remit-dev/remit"
)

// Use is a step that was let through, as entitlements see it.
type Use struct {
	Step    remit.Step
	Ref     string // empty: it moves none; {task} stands for the task whose own branch it is
	Op      remit.RefOp
	Commits int
	Bytes   int64
	Paths   []string // that it changes
}

// noTask is an id that no task has: entry 0 is genesis.
const noTask = remit.ID("T-0")

// Entitled gives what tells whether entitlements cover a use. It is decided by the code that decides on the requests of a
// task that asked for all that its agent is entitled to.
func Entitled(entitlements []remit.Scope) func(Use) bool {
	grant, _ := intersect(nil, entitlements, noTask) // it fails only on what is asked for, and nothing is
	return func(u Use) bool {
		r := remit.Request{Bytes: u.Bytes, Caller: remit.Caller{Task: noTask}}
		var ref *remit.RefChange
		if u.Ref != "" {
			ref = &remit.RefChange{Ref: strings.ReplaceAll(u.Ref, taskPlaceholder, string(noTask)), Op: u.Op, Commits: u.Commits}
			for _, p := range u.Paths {
				ref.Paths = append(ref.Paths, remit.PathChange{Path: p})
			}
		}
		code, _ := inScope(grant, u.Step, ref, r)
		return code == ""
	}
}

// MayAsk tells whether all that a child task asks for is in the entitlements of its agent. own is the task whose branches
// it works on.
func MayAsk(scope, entitlements []remit.Scope, own remit.ID) bool {
	return uncovered(scope, entitlements, own) == ""
}

// Narrows tells whether all of a is in b (R5): who is entitled to a instead of b may nothing more.
func Narrows(a, b []remit.Scope) bool { return within(a, b) }

// Cut is what of asked lies in entitlements: the grant of a task that asks for it, with {task} in the place of its id.
func Cut(asked, entitlements []remit.Scope) []remit.Scope {
	out, err := intersect(asked, entitlements, remit.ID(taskPlaceholder))
	if err != nil {
		return nil // an action that the catalogue does not have is in nobody's entitlements
	}
	return out
}
