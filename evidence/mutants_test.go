package evidence_test

import (
	"testing"

	"github.com/remit-dev/remit/internal/mutant"
)

// mutants are the rules of evidence, broken one at a time: what is counted, what a state rests on, what a pack must show.
var mutants = []mutant.Mutant{
	{"fold.go", "what comes after the period is not read", "if !l.At.Before(f.until) {\n\t\treturn nil\n\t}", ""},
	{"fold.go", "only entries of the period are counted", "c := count{f, i, l.At, !l.At.Before(f.since)}", "c := count{f, i, l.At, true}"},
	{"fold.go", "an entry is counted once in a figure", "len(g.entries) == 0 || g.entries[len(g.entries)-1] != c.i", "true"},
	{"fold.go", "a figure is of the entries that it counts", "out.Value = int64(len(g.entries))\n\t\treturn out", "out.Value = int64(len(g.entries)) + 1\n\t\treturn out"},
	{"fold.go", "entries come one after another", "if uint64(i) != f.size {", "if false {"},
	{"trial.go", "a trial is of exactly the bundle", "case c.f.world.policy.trial.there:", "case len(c.f.world.tried) > 0:"},
	{"world.go", "a trial comes before", "bundle{at[remit.PolicyInstalled]{i, *e, true}, t, w.tried[e.Bundle]}", "bundle{at[remit.PolicyInstalled]{i, *e, true}, t, trial{at[remit.PolicyTried]{i, remit.PolicyTried{Judged: 1}, true}, t}}"},
	{"trial.go", "an untried policy is not in force as tried", "case !t.there:\n\t\tout = append(out, absent(", "case !t.there:\n\t\tout = append(out, good("},
	{"trial.go", "a trial on nothing shows nothing", "if t.said.Judged == 0 {", "if false {"},
	{"trial.go", "to want no trial is said", "case of == \"policy\":", "case false:"},
	{"world.go", "a rule that is removed holds no more", "delete(w.wanted, e.Name)", ""},
	{"reviewed.go", "a canary is nothing that was certified", "case e.Canary:\n\t\tc.hit(\"reviews.fooled\")", "case e.Canary:\n\t\tc.hit(\"reviews.fooled\")\n\t\tc.hit(\"reviews.certified\")"},
	{"reviewed.go", "to see through a canary is not to be fooled", "case e.Answer != remit.Keep:\n", "case false:\n"},
	{"reviewed.go", "what was kept is not overdue", "if e.Canary || e.Answer == remit.Keep {", "if e.Canary {"},
	{"reviewed.go", "what a person wants removed is open until it is", "if e.Canary || e.Answer == remit.Keep {", "if true {"},
	{"reviewed.go", "past its deadline an item is overdue", "if x.deadline.Before(v.until) {", "if false {"},
	{"report.go", "what disagrees is partly", "if s != states[0] {", "if s != s {"},
	{"report.go", "nothing seen is not in force", "return remit.EvidenceNotSeen\n\t}\n\tfor", "return remit.EvidenceInForce\n\t}\n\tfor"},
	{"report.go", "a control that was not seen keeps its item from being in force", "if s == remit.EvidenceInForce && slices.Contains(states, remit.EvidenceNotSeen) {", "if false {"},
	{"pack.go", "a pack is signed by the log's key", "ledger.OpenDigest([]byte(p.Signature), PackKind, d, trust.Verifier); err != nil", "ledger.OpenDigest([]byte(p.Signature), PackKind, d, trust.Verifier); err != nil && false"},
	{"pack.go", "a pack has one encoding", "if !bytes.Equal(again, b) {", "if len(again) == 0 {"},
	{"pack.go", "the head is the one that the verifier saw", "if seen.Size == head.Size && seen.Root != head.Root {", "if seen.Size == head.Size && false {"},
	{"pack.go", "each listed entry has a receipt", "if len(want) != len(p.Receipts) {", "if len(want) < len(p.Receipts) {"},
	{"pack.go", "receipts are under the pack's own head", "if !strings.HasSuffix(text, \"\\n\\n\"+p.Checkpoint) {", "if !strings.HasSuffix(text, \"\") {"},
	{"pack.go", "a receipt is of the entry that is listed", "if proven.Index != want[n] {", "if false {"},
	{"pack.go", "the report is of the pack's own map", "about.Map != r.Framework.Map ||", ""},
	{"pack.go", "an item is as its controls make it", "if item.State != want {", "if false {"},
	{"pack.go", "a control is as its reasons make it", "if combine(states) != c.State {", "if false {"},
	{"pack.go", "a figure rests on as many entries as it says", "case s.how == number && x.Value != int64(x.Entries.Count), ", "case "},
	{"pack.go", "a figure rests on entries of its kind", "if len(s.kinds) > 0 && !slices.Contains(s.kinds, l.Event.Kind()) {", "if false {"},
	{"pack.go", "a figure rests on entries of its period", "if l.At.Before(r.Since) || !l.At.Before(r.Until) {", "if false {"},
	{"pack.go", "silence is what has no entry", "if silent != c.Silent {", "if false {"},
	{"pack.go", "the log is compared figure by figure", "if !same(p.Figures[k], x) {", "if false {"},
	{"source.go", "who caused a change does not approve it", "!slices.Contains(q.closure, id) && ", ""},
	{"source.go", "who has a part in what was decided does not approve it", "!slices.Contains(c.event.Closure, id) && ", ""},
	{"source.go", "in the profile demo nobody counts", "|| s.profile == remit.Demo {", "{"},
	{"source.go", "a ref that moved around Remit is no level 2", "moved := l.since != 0 && l.value != old", "moved := l.since != 0 && l.value != old && false"},
	{"source.go", "break-glass is no control", "case c.event.Glass != \"\":", "case false:"},
	{"source.go", "level 4 is two people", "case len(r.Persons) < 2:", "case len(r.Persons) < 1:"},
}

func TestMutantsFit(t *testing.T) { mutant.Fit(t, mutants) }

// TestMutants shows that every rule is tested: with the rule broken, a test fails.
func TestMutants(t *testing.T) { mutant.Judge(t, mutants) }
