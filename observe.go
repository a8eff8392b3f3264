package remit

import "strings"

// MaxObserved is how many rules on trial one decision records.
const MaxObserved = 16

// Observation is what a rule of the policy that is on trial (observe) would have said. It changes no verdict.
type Observation struct {
	Rule    string  `json:"rule"`
	Verdict Verdict `json:"verdict"`        // Deny or Hold
	Text    string  `json:"text,omitempty"` // for people; not in the log
}

// Name is o as a leaf has it: deny:RULE or hold:RULE.
func (o Observation) Name() string { return o.Verdict.String() + ":" + o.Rule }

// ObservationOf reads what Name writes.
func ObservationOf(name string) Observation {
	verdict, rule, _ := strings.Cut(name, ":")
	o := Observation{Rule: rule, Verdict: Deny}
	if verdict == Hold.String() {
		o.Verdict = Hold
	}
	return o
}

// String is o for people.
func (o Observation) String() string {
	s := "would " + o.Verdict.String() + " (observed): " + o.Rule
	if o.Text != "" {
		s += ": " + o.Text
	}
	return s
}
