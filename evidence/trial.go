package evidence

import (
	"time"

	"github.com/remit-dev/remit"
)

// trial is a recorded trial of a bundle on the past; it is there or not.
type trial struct {
	at[remit.PolicyTried]
	when time.Time
}

// bundle is a policy in force, with the newest trial of exactly that bundle which the log had before.
type bundle struct {
	at[remit.PolicyInstalled]
	when  time.Time
	trial trial
}

// installed counts a bundle that comes into force. The one that Remit comes with stands in an empty log: there is nothing
// on which it could have been tried.
func (c count) installed(e *remit.PolicyInstalled) {
	c.hit("policies.installed")
	switch {
	case e.By == "":
	case c.f.world.policy.trial.there:
		c.hit("policies.tried")
	default:
		c.hit("policies.untried")
	}
}

func (c count) tried(e *remit.PolicyTried) {
	c.hit("policy.tried")
	if e.Denied+e.Held+e.Allowed > 0 {
		c.hit("trials.differed")
	}
	if e.Allowed > 0 {
		c.hit("trials.allowed")
	}
}

// trials says whether the policy in force was tried before it came into force, whether it had to be, and what else came
// into force untried. A trial is of a bundle by its digest; one of declarations with that bundle counts too.
func trials(v view) (out []said) {
	p := v.world.policy
	if !p.there {
		return []said{absent(nil, "no policy is in force")}
	}
	on := []remit.EntryIndex{p.entry}
	switch t := p.trial; {
	case p.said.By == "":
		out = append(out, unseen("the bundle in force is the one that Remit came with, and there was nothing to try it on"))
	case !t.there:
		out = append(out, absent(on, "the bundle in force, %.12s, came into force without a recorded trial of it", p.said.Bundle))
	default:
		on = append(on, t.entry)
		of := "it"
		if !t.said.Set.IsZero() {
			of = "it and the declarations that go with it"
		}
		if t.said.Judged == 0 {
			out = append(out, weak(on, "the bundle in force, %.12s, was tried before, and there was no request in the time of the trial", p.said.Bundle))
			break
		}
		out = append(out, good(on, "the bundle in force, %.12s, was tried %s before it came into force: on %s, of which %s would have denied %d, held %d and allowed %d instead",
			p.said.Bundle, p.when.Sub(t.when).Truncate(time.Second), some(t.said.Judged, "request", "requests"), of, t.said.Denied, t.said.Held, t.said.Allowed))
		if t.said.Unjudged > 0 {
			out = append(out, weak(on, "that trial could not judge %s: what was asked has been erased", some(t.said.Unjudged, "more request", "more requests")))
		}
	}
	for _, of := range []string{"policy", "declarations"} {
		w := v.world.wanted[of]
		switch {
		case w.there && w.said.Bound:
			out = append(out, good([]remit.EntryIndex{w.entry}, "before a change of %s it must have been tried in the last %s, on %s of the past, and ask people at most %s more than before",
				of, some(w.said.Within, "hour", "hours"), some(w.said.Over, "hour", "hours"), some(w.said.More, "time", "times")))
		case w.there:
			out = append(out, good([]remit.EntryIndex{w.entry}, "before a change of %s it must have been tried in the last %s, on %s of the past",
				of, some(w.said.Within, "hour", "hours"), some(w.said.Over, "hour", "hours")))
		case of == "policy":
			out = append(out, absent(nil, "nothing that is declared wants a trial before a policy comes into force"))
		}
	}
	if untried := v.entriesOf("policies.untried"); len(untried) > 0 && (p.trial.there || len(untried) > 1) {
		out = append(out, weak(untried, "%s came into force in this period without a recorded trial", some(len(untried), "bundle", "bundles")))
	}
	return out
}
