package authority_test

import "github.com/remit-dev/remit/internal/mutant"

// onceMutants are the rules of Idempotency-Keys, broken one at a time.
var onceMutants = []mutant.Mutant{
	{"once.go", "an answer lasts a day", "return k, ok && now < k.Until", "return k, ok && now <= k.Until"},
	{"once.go", "an answer ends", "return k, ok && now < k.Until", "return k, ok"},
	{"once.go", "a key for nothing", "c.Key.IsZero() || c.Body.IsZero()", "c.Key.IsZero()"},
	{"once.go", "no key", "c.Key.IsZero() || c.Body.IsZero()", "c.Body.IsZero()"},
	{"once.go", "one key has one answer", "if _, ok := s.Answered(c.Key, now); ok {", "if false {"},
	{"once.go", "a log has one answer under a key", "if _, ok := s.Answered(e.Key, at); ok || e.Key.IsZero() {", "if e.Key.IsZero() {"},
	{"once.go", "a log has no answer under no key", "; ok || e.Key.IsZero() {", "; ok {"},
	{"once.go", "where an answer stands", "Entry: n, ", ""},
	{"once.go", "answers are forgotten", "at >= s.Kept[s.KeptAge[0]].Until {", "false {"},
	{"once.go", "answers are not forgotten early", "at >= s.Kept[s.KeptAge[0]].Until {", "true {"},
	{"apply.go", "answers are forgotten in time", "\ts.forgetAnswers(at)\n", ""},
}
