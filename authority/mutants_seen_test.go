package authority_test

import "github.com/remit-dev/remit/internal/mutant"

// seenMutants are the rules of seeing and of telling, broken one at a time.
var seenMutants = []mutant.Mutant{
	{"seen.go", "what is seen is there", "case a == nil:\n\t\treturn nil, Result{}, remit.Errorf(remit.NotFound", "case false:\n\t\treturn nil, Result{}, remit.Errorf(remit.NotFound"},
	{"seen.go", "what is seen waits", "a.Status != remit.AccessOpen || now >= a.NotAfter", "now >= a.NotAfter"},
	{"seen.go", "what is seen has not expired", "now >= a.NotAfter ||", "now > a.NotAfter ||"},
	{"seen.go", "what is seen stands", " || !s.stands(a, now)", ""},
	{"seen.go", "a person sees for the first time once", "return x.Person == c.Person", "return false"},
	{"seen.go", "each person for themselves", "return x.Person == c.Person", "return true"},
	{"seen.go", "R3: seen by who may vote", "case s.electorateOf(a, now).whyNot(c.Person) != \"\":", "case false:"},
	{"seen.go", "channels as they are change nothing", "if d.set.Notify == d.s.Notify {", "if false {"},
	{"seen.go", "the first channels widen nothing, others do", "if !d.s.Notify.IsZero() {", "if d.s.Notify.IsZero() {"},
	{"apply.go", "channels come into force", "s.Notify, s.NotifyAt = e.Spec, n", "s.NotifyAt = n"},
	{"apply.go", "from where channels tell", "s.Notify, s.NotifyAt = e.Spec, n", "s.Notify = e.Spec"},
	{"apply.go", "who has seen is kept", "a.Seen = append(a.Seen, Seen{e.Person, at})", ""},
	{"control_erase.go", "who is told", "if gone[s.Notify] {", "if false {"},
}
