package notify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// message is what a channel hands over: a title of Remit's own words and of declared names, the lines of a card, and
// where to look.
type message struct {
	id    string
	what  string
	title string
	org   remit.Org
	entry remit.EntryIndex
	at    time.Time
	link  string
	lines []line
	data  details
	to    remit.Reached // the one whom it goes to; zero: to all whom the channel reaches
}

// line is one line of a card. claim says that somebody wrote so, and nothing else: it is not what Remit saw.
type line struct {
	name  string
	text  string // visible; of several lines where it has any
	claim string // who says so; empty: Remit does
}

// details are what programs read of a message.
type details struct {
	Request   remit.ID           `json:"request,omitempty"`
	Status    remit.AccessStatus `json:"status,omitempty"`
	Why       remit.Code         `json:"why,omitempty"`
	Task      remit.ID           `json:"task,omitempty"`
	Agent     string             `json:"agent,omitempty"`
	Requester string             `json:"requester,omitempty"`
	Steps     []remit.Step       `json:"steps,omitempty"`
	Zone      remit.Zone         `json:"zone,omitempty"`
	Needs     []remit.Need       `json:"needs,omitempty"`
	NotAfter  time.Time          `json:"not_after,omitzero"`
	Escalated string             `json:"escalated_to,omitempty"`
	Detection string             `json:"detection,omitempty"`
	Lease     remit.ID           `json:"lease,omitempty"`
	Glass     remit.ID           `json:"break_glass,omitempty"`
	Review    string             `json:"review,omitempty"` // of break-glass: due or overdue
	Entries   []remit.EntryIndex `json:"entries,omitempty"`
	Campaign  string             `json:"campaign,omitempty"`
	Items     []remit.ID         `json:"items,omitempty"` // of reviews
	To        *remit.Reached     `json:"to,omitempty"`    // the one person whom the message is for
}

func entry(i remit.EntryIndex) string { return strconv.FormatUint(uint64(i), 10) }

// message puts together what is said of an item, as it is now.
func (o *Outbox) message(ctx context.Context, c remit.Channel, it item) (message, error) {
	m := message{id: it.id(o.cfg.Org, c.Name), what: it.What, org: o.cfg.Org, entry: it.Entry, at: it.At}
	if it.Person != "" {
		to, ok := address(c, it.Person)
		if !ok {
			return m, errNotForIt
		}
		m.to = to
	}
	switch {
	case it.Access != "":
		v, err := o.cfg.House.Card(ctx, it.Access)
		if err != nil {
			return m, fmt.Errorf("the card of %s: %w", it.Access, err)
		}
		var groups []string
		for _, n := range v.Needs {
			groups = append(groups, n.Group)
		}
		if it.What == remit.TellEscalated {
			groups = []string{it.To}
		}
		if !meets(c.Groups, groups) {
			return m, errNotForIt
		}
		m.ofAccess(it, v, c.Diff)
		m.link = o.cfg.Link(it.Access)
	case it.Found != nil:
		m.ofFinding(it.Found)
	case it.Opened != nil:
		words, ok := o.cfg.Log.Text(ctx, it.Opened.Reason)
		if !ok {
			words = []byte("(erased)")
		}
		m.ofGlass(it.Opened, o.cfg.House.Name(ctx, it.Opened.By), string(words))
	case it.Looked != nil:
		m.ofReview(it.Looked, o.cfg.House.Name(ctx, it.Looked.By))
	case it.Glass != nil:
		if !slices.ContainsFunc(o.cfg.House.Waiting().Glasses, func(g Glass) bool { return g.ID == it.Glass.ID }) {
			return m, errNotForIt // it was reviewed meanwhile
		}
		m.ofMissing(it, o.cfg.House.Name(ctx, it.Glass.By))
	case it.Debt != nil:
		m.ofDebt(it.Debt)
	default:
		if err := m.ofReviews(ctx, it, o.cfg.Reviews, o.cfg.House); err != nil {
			return m, err
		}
		if it.Person != "" {
			m.data.To = &m.to
		}
	}
	return m, nil
}

func (m *message) add(name, text string) {
	if text != "" {
		m.lines = append(m.lines, line{name: name, text: text})
	}
}

func (m *message) claims(name, text, who string) {
	if text != "" {
		m.lines = append(m.lines, line{name, text, who})
	}
}

func (m *message) ofFinding(f *remit.Found) {
	m.title = "Remit found " + remit.Visible(f.Detection)
	if f.Agent != "" {
		m.title += " about agent " + remit.Visible(f.Agent)
	}
	m.data = details{Agent: f.Agent, Task: f.Task, Detection: f.Detection, Entries: f.Entries}
	m.add("detection", remit.Visible(f.Detection))
	m.add("agent", remit.Visible(f.Agent))
	m.add("task", remit.Visible(string(f.Task)))
	var entries []string
	for _, e := range f.Entries {
		entries = append(entries, entry(e))
	}
	m.add("seen", fmt.Sprintf("%d times, in entries %s", f.Count, strings.Join(entries, " ")))
	if f.Suspended {
		m.add("done", "the agent was suspended")
	}
	m.add("look", "remit findings")
}

func (m *message) ofGlass(e *remit.BreakGlassOpened, by, reason string) {
	m.title = "BREAK-GLASS " + remit.Visible(e.Name) + " was opened for task " + remit.Visible(string(e.Task))
	m.data = details{Task: e.Task, Glass: e.ID, NotAfter: time.Unix(0, e.Until).UTC()}
	m.add("by", fmt.Sprintf("%s (%s)", remit.Visible(by), remit.Visible(string(e.Assurance))))
	m.claims("reason", short(reason), "the words of who opened it")
	m.add("until", time.Unix(0, e.Until).UTC().Format(stamp))
	m.add("review by", time.Unix(0, e.Due).UTC().Format(stamp))
	m.add("look", "remit trace "+remit.Visible(string(e.Task)))
}

func (m *message) ofReview(e *remit.BreakGlassReviewed, by string) {
	verdict := "was not right"
	if e.Right {
		verdict = "was right"
	}
	m.title = "Break-glass " + remit.Visible(string(e.ID)) + " was reviewed: it " + verdict
	m.data = details{Glass: e.ID}
	m.add("by", fmt.Sprintf("%s (%s)", remit.Visible(by), remit.Visible(string(e.Assurance))))
}

// ofMissing is of break-glass that nobody has reviewed, as the time for that ends, and loud from then on.
func (m *message) ofMissing(it item, by string) {
	g := it.Glass
	m.data = details{Task: g.Task, Glass: g.ID, NotAfter: g.Due.UTC(), Review: "due", Entries: g.Under}
	m.title = "The review of break-glass " + remit.Visible(string(g.ID)) + " is due at " + g.Due.UTC().Format(stamp)
	if it.Rung != rungDue {
		m.data.Review = "overdue"
		m.title = "BREAK-GLASS " + remit.Visible(string(g.ID)) + ": its review is OVERDUE since " + g.Due.UTC().Format(stamp)
		m.add("until then", "nobody can open break-glass")
	}
	m.add("break-glass", fmt.Sprintf("%s for task %s", remit.Visible(g.Name), remit.Visible(string(g.Task))))
	m.add("opened by", remit.Visible(by))
	m.add("reviewed by", "one of "+remit.Visible(g.Reviewers)+", who has no part in the task")
	m.add("passed", fmt.Sprintf("%d decisions passed under it", len(g.Under)))
	m.add("look", "remit break-glass review "+remit.Visible(string(g.ID)))
}

// stamp is how times are written for people.
const stamp = "2 Jan 2006 15:04 UTC"

func (m *message) ofDebt(d *Debt) {
	m.title = "Credential " + remit.Visible(string(d.Lease)) + " should be dead, and was not seen dead"
	m.data = details{Task: d.Task, Lease: d.Lease}
	m.add("lease", remit.Visible(string(d.Lease)))
	m.add("upstream", remit.Visible(d.Upstream))
	m.add("target", remit.Visible(string(d.Target)))
	m.add("task", remit.Visible(string(d.Task)))
	m.add("look", "remit leases list")
}

// What of a change goes into a message; the rest is where the link leads.
const (
	shownRefs    = 8
	shownCommits = 8
	shownPaths   = 15
	shownDiff    = 40 // lines
	longestLine  = 300
)

func (m *message) ofAccess(it item, v remit.AccessView, diff bool) {
	m.data = details{Request: v.ID, Status: v.Status, Why: v.Why, Task: v.Task, Agent: v.Agent, Requester: v.Requester, Steps: v.Steps, Zone: v.Zone,
		Needs: v.Needs, NotAfter: v.NotAfter, Escalated: it.To}
	m.title = accessTitle(it, v)
	status := remit.Visible(string(v.Status))
	if v.Why != "" {
		status += ": " + v.Why.Info().Meaning
	}
	if v.Profile == remit.Demo {
		status += " (demo: a program could have voted)"
	}
	m.add("status", status)
	if v.Agent != "" {
		who := fmt.Sprintf("agent %s (%s)", remit.Visible(v.Agent), remit.Visible(string(v.Function)))
		if v.Owner != "" {
			who += ", owned by " + remit.Visible(v.Owner)
		}
		if v.Launcher != "" {
			who += ", launched by " + remit.Visible(v.Launcher)
		}
		m.add("who", who)
		m.add("confinement", remit.Visible(string(v.Confinement)))
		m.add("ungoverned", remit.Visible(strings.Join(v.Ungoverned, ", ")))
	}
	m.add("who", remit.Visible(v.By))
	if v.Requester != "" {
		m.add("for whom", fmt.Sprintf("%s, task %s", remit.Visible(v.Requester), remit.Visible(string(v.Task))))
	}
	m.claims("intent", short(v.Intent), "the requester's words")
	var lines []string
	for _, s := range v.Steps {
		lines = append(lines, remit.Visible(string(s.Action))+" on "+remit.Visible(string(s.Resource)))
	}
	m.add("what", first(lines, shownPaths))
	m.plan(v.Plan)
	m.refs(v.Refs)
	lines = nil
	for _, a := range v.Artifacts {
		lines = append(lines, remit.Visible(a.String()))
	}
	m.add("artifacts", strings.Join(lines, "\n")) // of a release nobody shall miss a digest
	m.shown(v.Shown, diff)
	lines = nil
	for _, ch := range v.Changes {
		l := fmt.Sprintf("%s %s %s", remit.Visible(ch.Op), remit.Visible(ch.Kind), short(ch.Name))
		if ch.Widens != "" {
			l += ", widens: " + short(ch.Widens)
		}
		lines = append(lines, l)
	}
	m.add("changes", first(lines, shownPaths))
	m.add("because", short(v.Sentence))
	m.add("rules", remit.Visible(strings.Join(v.Rules, ", ")))
	m.add("zone", remit.Visible(string(v.Zone)))
	lines = nil
	for _, r := range remit.Risks(v) {
		lines = append(lines, r.Action+": "+r.String())
	}
	m.add("if it is wrong", remit.Visible(strings.Join(lines, "\n")))
	m.add("needs", needs(v.Needs))
	lines = nil
	for _, x := range v.Votes {
		how := "approves"
		if !x.Approve {
			how = "refuses"
		}
		lines = append(lines, fmt.Sprintf("%s %s (%s)", remit.Visible(x.Person), how, remit.Visible(string(x.Assurance))))
	}
	m.add("votes", strings.Join(lines, "\n"))
	if v.Status == remit.AccessOpen {
		m.add("who may", remit.Visible(strings.Join(v.Eligible, ", ")))
		m.add("until", v.NotAfter.UTC().Format(stamp))
	}
	m.add("outcome", remit.Visible(string(v.Outcome)))
}

// accessTitle is made of Remit's own words, ids and declared names: it becomes the subject of a mail.
func accessTitle(it item, v remit.AccessView) string {
	id := remit.Visible(string(v.ID))
	groups := needs(v.Needs)
	who := ""
	if v.Agent != "" {
		who = ": agent " + remit.Visible(v.Agent)
		if len(v.Steps) > 0 {
			who += ", " + remit.Visible(string(v.Steps[0].Action))
		}
	}
	switch it.What {
	case remit.TellMet:
		return id + " is approved" + who
	case remit.TellDenied:
		return id + " was refused" + who
	case remit.TellExpired:
		return id + " has expired undecided" + who
	case remit.TellVoid:
		return id + " came to nothing" + who
	case remit.TellReminder:
		return id + " still waits for " + groups + " and ends at " + v.NotAfter.UTC().Format("15:04 UTC") + who
	case remit.TellEscalated:
		return id + " is escalated to " + remit.Visible(it.To) + ", nobody has voted" + who
	}
	return id + " waits for " + groups + who
}

func needs(list []remit.Need) string {
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprintf("%d of %s", n.N, remit.Visible(n.Group)))
	}
	return strings.Join(out, " and ")
}

// plan is what a plan that is filed would let pass without asking again.
func (m *message) plan(p *remit.PlanView) {
	if p == nil {
		return
	}
	var lines []string
	for _, s := range p.Steps {
		l := remit.Visible(string(s.Action)) + " on " + short(string(s.Resource))
		if s.Uses > 1 {
			l += fmt.Sprintf(", up to %d times", s.Uses)
		}
		if !s.Effect.IsZero() || !s.Args.IsZero() || s.New != "" {
			l += ", exactly as shown"
		}
		for _, list := range [][]remit.Pattern{s.Refs, s.Paths} {
			for _, x := range list {
				l += " " + short(string(x))
			}
		}
		lines = append(lines, l)
	}
	m.add("plan", first(lines, shownPaths))
}

func (m *message) refs(refs []remit.RefView) {
	var lines []string
	for _, r := range refs {
		l := short(r.Ref) + "  " + remit.Visible(string(r.Op))
		if r.Commits > 0 {
			l += fmt.Sprintf(", new commits: %d", r.Commits)
		}
		if r.Outside > 0 {
			l += fmt.Sprintf(" (%d brought outside Remit)", r.Outside)
		}
		for _, e := range r.Effects {
			l += "\n  causes " + short(e)
		}
		if len(r.Matched) > 0 {
			l += "\n  touches " + short(strings.Join(r.Matched, ", "))
		}
		lines = append(lines, l)
	}
	m.add("refs", first(lines, shownRefs))
}

func (m *message) shown(s *remit.Shown, diff bool) {
	if s == nil {
		return
	}
	var lines []string
	for _, c := range s.Commits {
		lines = append(lines, fmt.Sprintf("%s %s (by %s)", remit.Visible(c.ID[:min(len(c.ID), 12)]), short(c.Subject), short(c.Author)))
	}
	m.claims("commits", firstOf(lines, shownCommits, s.MoreCommits), "what the commits say of themselves")
	lines = nil
	for _, p := range s.Paths {
		l := remit.Visible(p.Kind) + " " + short(p.Path)
		if p.Note != "" {
			l += "  " + short(p.Note)
		}
		lines = append(lines, l)
	}
	m.add("paths", firstOf(lines, shownPaths, s.More))
	if !diff || s.Diff == "" {
		return
	}
	lines = strings.Split(strings.TrimRight(s.Diff, "\n"), "\n")
	for i := range lines[:min(len(lines), shownDiff)] {
		lines[i] = cut(strings.ReplaceAll(remit.Visible(lines[i]), `\t`, "\t"), longestLine)
	}
	more := 0
	if s.Cut {
		more = 1
	}
	m.claims("diff", firstOf(lines, shownDiff, more), "the change itself")
}

func first(lines []string, n int) string { return firstOf(lines, n, 0) }

// firstOf is the first n lines, and that there are more.
func firstOf(lines []string, n, more int) string {
	if rest := len(lines) - n; rest > 0 || more > 0 {
		lines = append(slices.Clone(lines[:min(len(lines), n)]), "… there is more; look at the card")
	}
	return strings.Join(lines, "\n")
}
