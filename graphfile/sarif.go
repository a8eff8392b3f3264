package graphfile

import (
	"io"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sarif"
)

// Rules of what is written as SARIF.
const (
	FreePath   = "free-path"          // nobody is asked on it
	AskedPath  = "asked-path"         // somebody is
	NewPath    = "new-path"           // a change adds it, and nobody is asked on it
	NewAsked   = "new-asked-path"     // a change adds it
	Missing    = "missing-approval"   // free paths escalate here
	Vacuous    = "vacuous-approval"   // an approval that stops nobody
	Redundant  = "redundant-approval" // another one is asked for anyhow
	maxResults = 5000                 // that code hosts take of one run
)

var rules = []sarif.Rule{
	{ID: FreePath, Name: "FreePath", Short: text("An attacker gets there, and nobody is asked"), Help: text("Ask for an approval at one of the places that `remit paths cut` names, or take an entitlement away."), Default: sarif.Configuration{Level: sarif.Error}},
	{ID: AskedPath, Name: "AskedPath", Short: text("An attacker gets there if people approve it"), Help: text("Look whether those who approve would see what it is."), Default: sarif.Configuration{Level: sarif.Note}},
	{ID: NewPath, Name: "NewPath", Short: text("The change adds a way on which nobody is asked"), Help: text("Narrow the change, or ask for an approval on the way."), Default: sarif.Configuration{Level: sarif.Error}},
	{ID: NewAsked, Name: "NewAskedPath", Short: text("The change adds a way, or asks fewer people on one"), Help: text("Look whether those who approve it would see what it is."), Default: sarif.Configuration{Level: sarif.Warning}},
	{ID: Missing, Name: "MissingApproval", Short: text("A free path escalates here"), Help: text("An approval belongs here."), Default: sarif.Configuration{Level: sarif.Error}},
	{ID: Vacuous, Name: "VacuousApproval", Short: text("The approval stops nobody"), Help: text("Have people approve it who are outside of what they approve, or remove it."), Default: sarif.Configuration{Level: sarif.Warning}},
	{ID: Redundant, Name: "RedundantApproval", Short: text("Another approval is asked for on every path through it"), Help: text("It costs people time; look whether it is meant."), Default: sarif.Configuration{Level: sarif.Note}},
}

// Finding is a path or a place, by one of the rules.
type Finding struct {
	Rule string
	Text string // one sentence
	Way  *remit.PathWay
	Edge *remit.PathEdge // of a place
}

// Paths are the findings of an answer.
func Paths(list []remit.PathWay) []Finding {
	var out []Finding
	for _, w := range list {
		out = append(out, Finding{Rule: either(w.Approvals == 0, FreePath, AskedPath), Text: w.Sentence(), Way: &w})
	}
	return out
}

// Change is the findings of what a change adds.
func Change(c remit.PathsChange) []Finding {
	var out []Finding
	for _, p := range c.New {
		out = append(out, Finding{Rule: either(p.Approvals == 0, NewPath, NewAsked), Text: p.Sentence(), Way: &p.PathWay})
	}
	return out
}

// Cut is the findings of where approvals are, and are not.
func Cut(c remit.PathsCut) []Finding {
	var out []Finding
	add := func(rule string, list []remit.PathPlace) {
		for _, p := range list {
			out = append(out, Finding{Rule: rule, Text: p.Why, Way: p.Path, Edge: &p.Edge})
		}
	}
	add(Missing, c.Missing)
	add(Vacuous, c.Vacuous)
	add(Redundant, c.Redundant)
	return out
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// Place is where a node was declared.
type Place func(node string) (file string, line int, ok bool)

// SARIF writes findings for code hosts and editors, and what else was looked at for them.
func SARIF(w io.Writer, version string, found []Finding, unseen []string, place Place, more ...sarif.Run) error {
	return sarif.Write(w, sarif.Log{Runs: append([]sarif.Run{asRun(version, found, unseen, place)}, more...)})
}

// asRun are findings as a run of SARIF. More than code hosts take are left out, with a notification that says so.
func asRun(version string, found []Finding, unseen []string, place Place) sarif.Run {
	run := sarif.Run{ID: "remit/paths/", Tool: sarif.Tool{Driver: sarif.Driver{Name: "remit", Version: version, Rules: rules}}}
	call := sarif.Invocation{Successful: true}
	for _, u := range unseen {
		call.Notifications = append(call.Notifications, sarif.Notification{Level: sarif.Note, Message: text(u)})
	}
	if len(found) > maxResults {
		call.Notifications = append(call.Notifications, sarif.Notification{Level: sarif.Warning, Message: text("There are more findings than a code host takes; the first 5000 are here.")})
		found = found[:maxResults]
	}
	for _, f := range found {
		run.Results = append(run.Results, result(f, place))
	}
	run.Invocations = []sarif.Invocation{call}
	return run
}

func result(f Finding, place Place) sarif.Result {
	var edges []remit.PathEdge
	if f.Way != nil {
		edges = f.Way.Edges
	}
	if f.Edge != nil {
		edges = append([]remit.PathEdge{*f.Edge}, edges...)
	}
	r := sarif.Result{RuleID: f.Rule, Message: text(f.Text)}
	at := sarif.Location{}
	var key []byte
	met := map[string]bool{}
	node := func(id string) {
		if met[id] {
			return
		}
		met[id] = true
		at.Logical = append(at.Logical, sarif.Logical{Qualified: remit.Visible(id), Kind: "resource"})
		if file, line, ok := "", 0, false; place != nil && at.Physical == nil {
			if file, line, ok = place(id); ok {
				at.Physical = &sarif.Physical{Artifact: sarif.Artifact{URI: file}, Region: &sarif.Region{StartLine: line}}
			}
		}
	}
	steps := []string{}
	for _, e := range edges {
		key = append(key, e.From+"\x00"+e.To+"\x00"+e.How+"\x00"+string(e.Action)+"\x00"...)
		node(e.From)
		node(e.To)
		steps = append(steps, remit.Visible(e.Why))
	}
	r.Locations = []sarif.Location{at}
	r.Fingerprints = map[string]string{"path/v1": remit.Hash([]byte(f.Rule), []byte{0}, key).String()}
	r.More = map[string]any{"steps": steps}
	return r
}

func text(s string) sarif.Message { return sarif.Message{Text: remit.Visible(s)} }
