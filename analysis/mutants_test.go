package analysis

import (
	"testing"

	"github.com/remit-dev/remit/internal/mutant"
)

// mutants are what the analysis of attack paths says, broken one thing at a time.
var mutants = []mutant.Mutant{
	{"walk.go", "R3: who asks does not vote", "if i != 0 {\n\t\t\t\tfree = slices.DeleteFunc", "if false {\n\t\t\t\tfree = slices.DeleteFunc"},
	{"walk.go", "R3: who has the author write does not vote", "if w.g.Edges[e].With[i].By == \"source.push\" {", "if w.g.Edges[e].With[i].By == \"none\" {"},
	{"walk.go", "who owns a reviewer votes", "if w.g.Edges[e].With[i].By == \"source.push\" {", "if w.g.Edges[e].With[i].By != \"none\" {"},
	{"walk.go", "what a way needs is held", "if len(use) < need {", "if false {"},
	{"walk.go", "an author's push counts with who is asked for it", "x.asked++", "x.asked += 0"},
	{"walk.go", "a hold asks somebody", "!met {\n\t\t\tasked++", "!met {\n\t\t\tasked += 0"},
	{"walk.go", "who starts a task has asked for it", "return i + 1\n\t\t}\n\tcase HowRequests, HowDelegates:", "return 0 * i\n\t\t}\n\tcase HowRequests, HowDelegates:"},
	{"walk.go", "a way opens once all is held", "for _, e := range g.watch[n] {", "for _, e := range g.watch[n][:0] {"},
	{"walk.go", "reviewers of one owner are one", "if o != \"\" && slices.Contains(owners, o) {", "if false {"},
	{"walk.go", "R3: who asked an author does not vote on the push", "!w.meets(edge.Approval, []int{at % w.apart})", "!w.meets(edge.Approval, nil)"},
	{"walk.go", "R3: who asked for the work does not vote on it", "append(others, own)", "others"},
	{"walk.go", "who could sit elsewhere makes room", "if sits[i] < 0 || seat(sits[i], tried) {", "if sits[i] < 0 {"},
	{"walk.go", "nobody sits twice", "tried[i] || !may", "!may"},
	{"graph.go", "an author has pushed there", "x.Action == action && x.On == on &&", "x.Action == action &&"},
	{"graph.go", "what says what a pipeline runs is no author's work", " && x.To.Kind() != KindPipeline", ""},
	{"graph.go", "who cannot do it is of no support", "len(h.by) == 0 {", "len(h.by) < 0 {"},
	{"build.go", "two files that wait for others are two ways", "if e.Approval != nil { // of two", "if false { // of two"},
	{"build.go", "labels that change an answer count", "&& sameWays(c.ways, plain.ways)", ""},
	{"build.go", "labels that change what is asked of others count", "if w.to != nil && w.to.labels != \"\" && !b.asked[*w.to].same {", "if w.to != nil && w.to == nil {"},
	{"build.go", "a policy that may read labels is asked about each", "return len(read.Task.History.Taints) == 0", "return len(read.Task.History.Taints) >= 0"},
	{"ways.go", "break-glass is opened by who asks", "Glass: name, Self: true}", "Glass: name, Self: false}"},
	{"ways.go", "what is read labels who reads it", "to.labels = strings.Join(labels, \"+\")", "to.labels = \"\""},
	{"ways.go", "a proposal steers who reviews it", "words(\"review-text\", m.on.Name()), words(\"pull-request\", m.on.Name()), NodeID", "words(\"review-text\", m.on.Name()), NodeID"},
	{"moves.go", "a merge needs an author", "with := append([]Support{wrote}, way...)", "with := append([]Support{wrote}, way...)[1:]"},
	{"moves.go", "what a pipeline runs is asked for as that", "change.Pinned = change.Paths", "change.Pinned = nil"},
	{"moves.go", "verdicts count by owners", "if slices.Contains(owners, o) {", "if false {"},
	{"moves.go", "a merge sets off what its ref causes", "any = true\n\t\t\t\tb.follows(to, a)", "any = len(a.Steps) >= 0"},
	{"moves.go", "a deployment takes an artifact", "b.deploy(c, m, caller, d, through, with...)", "b.deploy(c, m, caller, d, through)"},
	{"cut.go", "an approval stands on requests only", "if gate(&g.Edges[e]) {", "if true {"},
	{"cut.go", "an edge that asks is not free", "f.open[e] = ok && asked == 0", "f.open[e] = ok && asked >= 0"},
	{"cut.go", "the cut is between what reaches and what does not", "e >= 0 && !reaches[n.to[a+1]] && reaches[n.to[a]]", "e >= 0 && reaches[n.to[a]]"},
	{"compare.go", "a looser push widens the merge", "looser = looser || fresh[by]", "looser = looser && fresh[by]"},
	{"compare.go", "as many approvals as before are no widening", "if now >= then ||", "if now > then ||"},
	{"scan.go", "which refs a credential is kept from", "return p.Contains(remit.Pattern(ref)) })", "return false && p.Contains(remit.Pattern(ref)) })"},
	{"scan.go", "what a credential reads is not held", "info.Impact == remit.Read && info.Stage != remit.StageSecret", "false"},
	{"scan.go", "what a credential is kept from altogether", "return p.Contains(remit.Pattern(r)) })", "return false && p.Contains(remit.Pattern(r)) })"},
	{"workflow.go", "R4: a step is played by whom it fits", "if !p.fits(a.Function, info, out.Zone) {", "if false {"},
	{"workflow.go", "an entitlement covers the refs of a step", "return has.Contains(want) })", "return true || has.Contains(want) })"},
	{"workflow.go", "a person chooses between two", "case len(all) == 1:", "case len(all) > 0:"},
	{"denied.go", "of denials the one within the scope counts", "!had || beyond(first) && !beyond(d)", "!had || beyond(first) && beyond(d)"},
}

func TestMutantsFit(t *testing.T) { mutant.Fit(t, mutants) }

// TestMutants shows that what the analysis says of paths is tested: with a rule broken, a test fails.
func TestMutants(t *testing.T) { mutant.Judge(t, mutants) }
