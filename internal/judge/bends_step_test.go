package judge_test

import (
	"github.com/remit-dev/remit"
)

// stepBends are the ways in which a log can be wrong about how voters were signed in.
var stepBends = []bend{
	{"a vote by somebody who was not signed in as is asked", "R6", askedOf(remit.StepUp{ACR: []string{"phr"}}, remit.SignedIn{ACR: "pwd"})},
	{"a vote by somebody of whom nobody said how they were signed in", "R6", askedOf(remit.StepUp{ACR: []string{"phr"}}, remit.SignedIn{})},
	{"a vote on an old proof", "R6", askedOf(remit.StepUp{MaxAge: "1m"}, remit.SignedIn{Age: 61})},
	{"a vote on a proof of which nobody said when", "R6", askedOf(remit.StepUp{MaxAge: "1m"}, remit.SignedIn{})},
	{"a sign-in that is asked for afterwards is as good as there", "R6", on(func(l []line, i int, e *remit.AccessMoved) []line {
		a := accessOf(l, e.Access)
		if e.To != remit.AccessMet || a == nil || a.Carried {
			return nil
		}
		e.Needs = nil
		for _, n := range a.Needs {
			n.StepUp = remit.StepUp{ACR: []string{"never"}}
			e.Needs = append(e.Needs, n)
		}
		return l[:i+1]
	})},
	{"what a provider says stands in a leaf", "R10", on(func(l []line, i int, e *remit.VoteCast) []line {
		e.Signed.ACR = "noa@acme.example"
		return l
	})},
}

// askedOf bends an approving vote so that it was cast by somebody signed in so, where that was asked for.
func askedOf(u remit.StepUp, in remit.SignedIn) kind {
	return on(func(l []line, i int, e *remit.VoteCast) []line {
		a := accessOf(l, e.Access)
		if !e.Approve || a == nil {
			return nil
		}
		for k := range a.Needs {
			a.Needs[k].StepUp = u
		}
		for _, x := range l[:i] {
			if m, ok := x.e.(*remit.AccessMoved); ok && m.Access == e.Access {
				m.Needs = nil
			}
		}
		e.Signed = in
		return l[:i+1]
	})
}
