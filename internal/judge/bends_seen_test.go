package judge_test

import (
	"slices"

	"github.com/remit-dev/remit"
)

// seenBends are the ways in which a log can be wrong about who has seen what, and about who decides because a provider
// says so.
var seenBends = []bend{
	{"somebody sees who was not asked", "R3", on(func(l []line, i int, e *remit.AccessSeen) []line { e.Person = "p-nobody"; return l })},
	{"somebody sees for the first time twice", "log", on(func(l []line, i int, e *remit.AccessSeen) []line { return with(l, i+1, e)[:i+2] })},
	{"somebody sees what was never asked", "log", on(func(l []line, i int, e *remit.AccessSeen) []line { e.Access = "A-9999"; return l })},
	{"somebody sees what is over", "R6", on(func(l []line, i int, e *remit.AccessSeen) []line {
		return with(l, i, &remit.AccessMoved{Access: e.Access, To: remit.AccessVoid, Why: remit.Expired})[:i+2]
	})},
	{"a member by a sign-in that is over votes", "R3", bySignIn(func(l []line, i int, e *remit.VoteCast, at int) []line {
		for _, x := range l[:i] {
			if g, ok := x.e.(*remit.GroupsShown); ok && g.Person == e.Person {
				g.NotAfter = l[i].at.UnixNano()
			}
		}
		return l
	})},
	{"a member votes who signed in after it was asked", "R3", bySignIn(func(l []line, i int, e *remit.VoteCast, at int) []line {
		late := *l[at].e.(*remit.GroupsShown)
		for _, x := range l[:i] {
			if g, ok := x.e.(*remit.GroupsShown); ok && g.Person == e.Person {
				g.Groups = nil
			}
		}
		return with(l, i, &late)[:i+2]
	})},
	{"a member votes who is in no group of the provider any more", "R3", bySignIn(func(l []line, i int, e *remit.VoteCast, at int) []line {
		gone := *l[at].e.(*remit.GroupsShown)
		gone.Groups = nil
		return with(l, i, &gone)[:i+2]
	})},
	{"a provider is not the group's", "R3", bySignIn(func(l []line, i int, e *remit.VoteCast, at int) []line {
		for _, x := range l[:i] {
			if g, ok := x.e.(*remit.GroupDeclared); ok {
				g.From = nil
			}
		}
		return l
	})},
}

// bySignIn bends a vote of somebody who was never declared in the group that is asked; at is where a sign-in shows them.
func bySignIn(bend func(l []line, i int, e *remit.VoteCast, at int) []line) kind {
	return on(func(l []line, i int, e *remit.VoteCast) []line {
		a := accessOf(l, e.Access)
		if a == nil || slices.ContainsFunc(l[:i], func(x line) bool {
			g, ok := x.e.(*remit.GroupDeclared)
			return ok && slices.Contains(g.Members, e.Person) && slices.ContainsFunc(a.Needs, func(n remit.Need) bool { return n.Group == g.Name })
		}) {
			return nil
		}
		at := slices.IndexFunc(l[:i], func(x line) bool {
			g, ok := x.e.(*remit.GroupsShown)
			return ok && g.Person == e.Person && len(g.Groups) > 0
		})
		if at < 0 {
			return nil
		}
		return bend(l, i, e, at)
	})
}
