package authority_test

import "github.com/remit-dev/remit/internal/mutant"

// stepMutants are the rules of how voters are signed in, broken one at a time.
var stepMutants = []mutant.Mutant{
	{"stepup.go", "no age is believed", "if out.Age = 0; c.Proved > 0 {", "if c.Proved > 0 {"},
	{"stepup.go", "an age that nobody said", "c.Proved > 0 {", "true {"},
	{"stepup.go", "an age counts up", "max(now-c.Proved-1, 0)", "max(now-c.Proved, 0)"},
	{"stepup.go", "a proof of the future", "max(now-c.Proved-1, 0)", "(now-c.Proved-1)"},
	{"stepup.go", "R10: codes only", "if err := out.Check(); err != nil {", "if err := out.Check(); err != nil && false {"},
	{"stepup.go", "R6: signed in as is asked", "if len(fills) == 0 && wanted != nil {", "if false {"},
	{"stepup.go", "R6: enough for one seat is enough", "if len(fills) == 0 && wanted != nil {", "if wanted != nil {"},
	{"stepup.go", "R6: the seats of one's own groups", "case e.in(n.Group, v.Person) && wanted == nil:", "case wanted == nil:"},
	{"stepup.go", "R6: again for another seat", "!slices.ContainsFunc(fills, func(n remit.Need) bool { return !e.fills(old, n) })", "true"},
	{"stepup.go", "R6: once for a seat", "return !e.fills(old, n) })", "return true })"},
	{"vote.go", "R6: a sign-in is judged at the vote", "if err := el.steppedUp(a, v); err != nil && st.Approve {", "if err := el.steppedUp(a, v); err != nil && false {"},
	{"vote.go", "R6: whoever may vote may refuse", "if err := el.steppedUp(a, v); err != nil && st.Approve {", "if err := el.steppedUp(a, v); err != nil {"},
	{"vote.go", "R6: a vote shows its sign-in", "Assurance: v.Assurance, Signed: v.Signed})", "Assurance: v.Assurance})"},
	{"apply.go", "R6: a sign-in is kept", "e.Assurance, n, e.Signed})", "e.Assurance, n, remit.SignedIn{}})"},
	{"closure.go", "R6: a seat asks for a sign-in", "(e.lapsed || n.StepUp.Met(v.Signed))", "true"},
	{"closure.go", "R3: another sign-in could bring it", "(e.lapsed || n.StepUp.Met(v.Signed))", "n.StepUp.Met(v.Signed)"},
	{"authorize.go", "R6: who ask of one group ask for both", "out[i].StepUp, _ = out[i].StepUp.And(n.StepUp)", "_ = i"},
	{"authorize.go", "R6: what no sign-in can be", "return o.Group == n.Group && ok", "return o.Group == n.Group && (ok || true)"},
	{"authorize.go", "R6: who is asked otherwise is asked", " || !out[i].StepUp.Equal(n.StepUp) {", " {"},
	{"diff.go", "a sign-in that can be asked for", "if err := n.StepUp.Check(); err != nil {", "if err := n.StepUp.Check(); err != nil && false {"},
	{"diff.go", "control: less of a sign-in", " && n.StepUp.AtLeast(o.StepUp)", ""},
	{"hold.go", "R6: what is asked for now", "slices.EqualFunc(el.needs, a.Needs, remit.Need.Equal)", "true"},
	{"match.go", "votes are facts", "if x := v.Signed; !x.IsZero() {", "if x := v.Signed; false {"},
	{"match.go", "votes of before are not", "if x := v.Signed; !x.IsZero() {", "if x := v.Signed; true {"},
}
