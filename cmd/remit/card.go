package main

import (
	"fmt"
	"strings"

	"github.com/remit-dev/remit"
)

// What of a card fits one screen; --diff shows all.
const (
	shownCommits = 8
	shownPaths   = 12
	shownDiff    = 20 // lines
)

// printCard shows an access request on one screen; with full, everything that the server sent of the change.
func (a *app) printCard(v remit.AccessView, full bool) {
	status := visible(string(v.Status))
	if v.Why != "" {
		status += ": " + visible(v.Why.Info().Meaning)
	}
	if v.Outcome != "" {
		status += ", " + visible(string(v.Outcome))
	}
	a.printf("%s  %s", a.paint(bold, visible(string(v.ID))), a.paint(tone(string(v.Status)), status))
	if v.Profile == remit.Demo {
		a.printf("  %s", a.paint(yellow, "demo: a program on this machine could have voted"))
	}
	a.printf("\n")
	a.printActors(v)
	a.field("what", stepLines(v.Steps))
	a.field("refs", refLines(v.Refs))
	var artifacts []string
	for _, x := range v.Artifacts {
		artifacts = append(artifacts, visible(x.String()))
	}
	a.field("artifacts", strings.Join(artifacts, "\n"))
	a.printShown(v.Shown, full || v.Zone == remit.ZoneProduction && len(v.Refs) == 0) // a release is short, and nobody shall miss a digest
	for i, ch := range v.Changes {
		name := ""
		if i == 0 {
			name = "changes"
		}
		line := fmt.Sprintf("%s %s %s %s", visible(ch.Op), visible(ch.Kind), visible(ch.Name), visible(ch.Details))
		if ch.Widens != "" {
			line += "  widens: " + visible(ch.Widens)
		}
		a.printf("%s %s\n", a.paint(faint, fmt.Sprintf("%-11s", name)), line)
	}
	if t := v.Tried; t != nil {
		a.field("tried", fmt.Sprintf("entry %d, %s: of %s %d would be denied, %d held, %d allowed instead; %d questions to people instead of %d; %d not judged",
			t.Entry, a.when(t.At), counted(t.Judged, "request"), t.Denied, t.Held, t.Allowed, t.WouldAsk, t.Asked, t.Unjudged))
	}
	a.field("because", strings.TrimSpace(visible(v.Sentence)+"  "+bracketed(v.Rules)))
	a.field("observed", observedLines(v.Observed))
	if v.Zone != remit.ZoneNone {
		a.field("zone", zoneName(v.Zone))
	}
	a.field("reach", scopeLines(v.Reach))
	a.field("if wrong", riskLines(remit.Risks(v)))
	a.printVotes(v)
	a.field("until", fmt.Sprintf("%s (%s)", stamp(v.NotAfter), a.when(v.NotAfter)))
	a.field("upstream", receiptLines(v.Receipt))
	a.field("replaces", visible(string(v.Replaces)))
	a.field("link", visible(v.Link))
}

// riskLines say what it costs if it is wrong, and the way back.
func riskLines(list []remit.Risk) string {
	var lines []string
	for _, r := range list {
		line := r.String()
		if len(list) > 1 {
			line = r.Action + ": " + line
		}
		lines = append(lines, visible(line))
	}
	return strings.Join(lines, "\n")
}

// observedLines is what rules on trial would have said.
func observedLines(list []remit.Observation) string {
	var lines []string
	for _, o := range list {
		lines = append(lines, visible(o.String()))
	}
	return strings.Join(lines, "\n")
}

func bracketed(rules []string) string {
	if len(rules) == 0 {
		return ""
	}
	return "(" + list(rules) + ")"
}

func zoneName(z remit.Zone) string {
	switch z {
	case remit.ZoneSource:
		return "source control"
	case remit.ZoneBuild:
		return "build"
	case remit.ZoneProduction:
		return "production"
	case remit.ZoneControl:
		return "Remit's own control"
	}
	return visible(string(z))
}

func (a *app) printActors(v remit.AccessView) {
	if v.Agent != "" {
		who := fmt.Sprintf("agent %s (%s)", visible(v.Agent), visible(string(v.Function)))
		if v.Owner != "" {
			who += ", owned by " + visible(v.Owner)
		}
		if v.Launcher != "" {
			who += ", launched by " + visible(v.Launcher)
		}
		a.field("who", who)
		if v.Confinement != "" {
			a.field("confinement", visible(string(v.Confinement)))
			if len(v.Ungoverned) > 0 {
				a.field("ungoverned", "was handed credentials past Remit: "+visible(list(v.Ungoverned)))
			}
		}
	}
	if v.By != "" {
		a.field("who", visible(v.By))
	}
	if v.Requester != "" {
		a.field("for whom", fmt.Sprintf("%s, task %s", visible(v.Requester), visible(string(v.Task))))
	}
	if v.Intent != "" {
		a.field("intent", quoted(v.Intent)+"\n"+a.paint(faint, "the requester's own words: a claim, not a fact"))
	}
}

func refLines(refs []remit.RefView) string {
	var lines []string
	for _, r := range refs {
		line := fmt.Sprintf("%s  %s", visible(r.Ref), visible(string(r.Op)))
		if r.Old != "" || r.New != "" {
			line += fmt.Sprintf(" %s..%s", abbrev(r.Old), abbrev(r.New))
		}
		if r.Commits > 0 {
			line += ", " + counted(r.Commits, "new commit")
		}
		if r.Outside > 0 {
			line += fmt.Sprintf(" (%d brought outside Remit)", r.Outside)
		}
		lines = append(lines, line)
		for _, e := range r.Effects {
			lines = append(lines, "  causes "+visible(e))
		}
		if len(r.Matched) > 0 {
			lines = append(lines, "  touches "+list(r.Matched))
		}
	}
	return strings.Join(lines, "\n")
}

// abbrev is enough of a commit's id for people to compare.
func abbrev(oid string) string {
	if oid == "" {
		return "(none)"
	}
	return visible(oid[:min(len(oid), 12)])
}

func (a *app) printShown(s *remit.Shown, full bool) {
	if s == nil {
		return
	}
	var lines []string
	for i, c := range s.Commits {
		if i == shownCommits && !full {
			lines = append(lines, fmt.Sprintf("… and %d more (--diff)", len(s.Commits)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("%s %s  (says it is by %s)", abbrev(c.ID), short(c.Subject, 72), short(c.Author, 40)))
	}
	a.field("commits", strings.Join(lines, "\n"))
	lines = nil
	marks := map[string]string{"add": "+", "modify": "~", "delete": "-", "type": "t", "past": "("}
	for i, p := range s.Paths {
		if i == shownPaths && !full {
			lines = append(lines, fmt.Sprintf("… and %d more (--diff)", len(s.Paths)-i+s.More))
			break
		}
		m, ok := marks[p.Kind]
		if !ok {
			m = visible(p.Kind)
		}
		line := m + " " + visible(p.Path)
		if p.Kind == "past" {
			line += "  changed and changed back)"
		}
		if p.Note != "" {
			line += "  " + a.paint(yellow, visible(p.Note))
		}
		lines = append(lines, line)
	}
	if s.More > 0 && (full || len(s.Paths) <= shownPaths) {
		lines = append(lines, fmt.Sprintf("… and %d more that the card does not list", s.More))
	}
	a.field("paths", strings.Join(lines, "\n"))
	if s.Diff == "" {
		return
	}
	diff := strings.Split(strings.TrimRight(s.Diff, "\n"), "\n")
	cut := 0
	if !full && len(diff) > shownDiff {
		cut, diff = len(diff)-shownDiff, diff[:shownDiff]
	}
	for i, l := range diff {
		diff[i] = a.diffLine(l)
	}
	if cut > 0 {
		diff = append(diff, fmt.Sprintf("… %d more lines (--diff)", cut))
	}
	if s.Cut && cut == 0 {
		diff = append(diff, "… the diff goes on; the card has no more of it")
	}
	a.field("diff", strings.Join(diff, "\n"))
}

func (a *app) diffLine(l string) string {
	text := remit.VisibleText(l)
	switch {
	case strings.HasPrefix(l, "+++"), strings.HasPrefix(l, "---"), strings.HasPrefix(l, "@@"), strings.HasPrefix(l, "diff "):
		return a.paint(faint, text)
	case strings.HasPrefix(l, "+"):
		return a.paint(green, text)
	case strings.HasPrefix(l, "-"):
		return a.paint(red, text)
	}
	return text
}

// signedInLine is how a voter was signed in, where that is known.
func signedInLine(s remit.SignedIn) string {
	if s.IsZero() {
		return ""
	}
	return ", signed in " + visible(s.String())
}

func (a *app) printVotes(v remit.AccessView) {
	a.field("needs", needLine(v.Needs))
	var lines []string
	for _, x := range v.Votes {
		how := "approves"
		if !x.Approve {
			how = "refuses"
		}
		lines = append(lines, fmt.Sprintf("%s %s, %s (%s)", visible(x.Person), how, a.when(x.At), visible(string(x.Assurance)))+signedInLine(x.Signed))
	}
	a.field("votes", strings.Join(lines, "\n"))
	if v.Status != remit.AccessOpen {
		return
	}
	a.field("who may", list(v.Eligible))
	a.field("who may not", list(v.Refused))
	switch {
	case v.YouMay:
		a.field("you", fmt.Sprintf("may vote: remit approvals approve %[1]s, or deny %[1]s", visible(string(v.ID))))
	case v.WhyNot != "":
		a.field("you", "may not vote: "+visible(v.WhyNot))
	}
}
