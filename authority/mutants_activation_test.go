package authority_test

import "github.com/remit-dev/remit/internal/mutant"

// activationMutants are the rules of what must have been tried, broken one at a time.
var activationMutants = []mutant.Mutant{
	{"set.go", "trial: a change is tried before it is in force", "if c.Access == \"\" { // what was approved", "if false { // what was approved"},
	{"activation.go", "trial: of exactly this change", "t, tried := s.Tried[digest]", "t, tried := s.Tried[digest]\n\t\tfor _, any := range s.Tried {\n\t\t\tt, tried = any, true\n\t\t}"},
	{"activation.go", "trial: lately", "case now-t.At > hours(rule.Within):", "case false:"},
	{"activation.go", "trial: over enough of the past", "case t.At-t.Since < hours(rule.Over):", "case false:"},
	{"activation.go", "trial: with few enough questions", "case rule.Bound && t.WouldAsk-t.Asked > rule.More:", "case false:"},
	{"activation.go", "trial: a bundle alone stands for a change of policy only", "what == \"policy\" && ok", "ok"},
	{"activation.go", "trial: for an administrator", "if !s.IsAdmin(t.By) {", "if false {"},
	{"activation.go", "trial: of what the log has", "t.Size > uint64(s.Next)", "false"},
	{"activation.go", "trial: not of the future", "t.Until > now || t.Since > now ||", ""},
	{"activation.go", "trial: to want none widens", "d.remove(\"activation\", of, fmt.Sprintf(\"a change of %s need not have been tried any more\", of))", "d.remove(\"activation\", of, \"\")"},
	{"activation.go", "trial: an older one widens", "x.Within > old.Within || ", ""},
	{"activation.go", "trial: a shorter one widens", "x.Over < old.Over || ", ""},
	{"activation.go", "trial: more questions widen", "|| x.More > old.More", ""},
	{"set.go", "what reaches further holds", "widens = c.Set.ReachWidens", "widens = \"\""},
	{"activation.go", "trial: a person more is another set", "slices.Sort(g.Members)", "g.Members = nil"},
}
