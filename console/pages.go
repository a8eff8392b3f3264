package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console/internal/card"
)

// funcs are what the templates of pages call besides those of cards.
func (k *Console) funcs() template.FuncMap {
	return template.FuncMap{
		"base":      func() string { return Base },
		"in":        func(t time.Time) string { return until(t.Sub(k.cfg.Now())) },
		"ago":       func(t time.Time) string { return since(k.cfg.Now().Sub(t)) },
		"notjudged": notJudged,
		"steps": func(list []remit.Step) string {
			var out []string
			for _, s := range list {
				out = append(out, string(s.Action)+" on "+string(s.Resource))
			}
			return strings.Join(out, "; ")
		},
		"words":       words,
		"visibletext": remit.VisibleText,
		"scoped":      scoped,
		"gate":        gateWords,
		"sentence":    sentence,
		"clip":        clip,
		"clock":       func(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05") },
		"receipt": func(i remit.EntryIndex) string {
			return (&visit{Console: k}).api("/log/receipts/" + strconv.FormatUint(uint64(i), 10))
		},
		"leasereceipt": func(id remit.ID) string {
			return (&visit{Console: k}).api("/leases/" + url.PathEscape(string(id)) + "/receipt")
		},
		"lines":  lines,
		"usesOf": usesOf,
		"cause":  causeOf,
		"minus":  func(a, b int) int { return a - b },
		"item": func(noKey bool, csrf string, i remit.ItemView) itemCard {
			return itemCard{i, noKey, csrf}
		},
		"plus":  func(a, b int) int { return a + b },
		"times": func(a, b int) int { return a * b },
		"pathform": func(path, from, to string) struct{ Path, From, To string } {
			return struct{ Path, From, To string }{path, from, to}
		},
		"tab": func(v view, here, path, name string) tab { return tab{path, name, strings.HasPrefix(v.Here, here)} },
	}
}

// words finds entries of a kind that have a member with a value, as a search of the log takes it: an id alone would also be
// found in a longer one.
func words(kind, member string, value any) string {
	quoted, err := json.Marshal(fmt.Sprint(value))
	if err != nil {
		return kind
	}
	if member != "" {
		quoted = append([]byte(`"`+member+`":`), quoted...)
	}
	return strings.TrimSpace(kind + " " + string(quoted))
}

// scoped finds the decisions on an agent's steps inside an entitlement. Several actions or resources of one scope have no
// words in common: then it finds all of the agent.
func scoped(agent string, sc remit.Scope, verdict string) string {
	q := words("decision", "agent", agent) + " " + words("", "verdict", verdict)
	if len(sc.Actions) == 1 {
		q += " " + words("", "action", sc.Actions[0])
	}
	if len(sc.Resources) == 1 {
		whole, _, _ := strings.Cut(string(sc.Resources[0]), "*")
		q += ` "resource":"` + whole
	}
	return q
}

// gateWords finds the decisions by which a gate asked people.
func gateWords(g remit.GateView) string {
	q := words("decision", "verdict", remit.Hold) + " " + words("", "action", g.Action) + " " + words("", "resource", g.Resource)
	for _, r := range g.Rules {
		q += " " + words("", "", r)
	}
	return q
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	s = string(unicode.ToUpper(first)) + s[n:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// tab is a part of the console in its navigation.
type tab struct {
	Path, Name string
	Current    bool
}

// until and since are durations as people say them.
func until(d time.Duration) string {
	if d <= 0 {
		return "over"
	}
	return "in " + rough(d)
}

func since(d time.Duration) string {
	if d < time.Minute {
		return "just now"
	}
	return rough(d) + " ago"
}

func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days"
}

// clip is the beginning of a text that somebody else wrote, on one line.
func clip(n int, s string) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) > n {
		r = append(r[:n-1], '…')
	}
	return card.Visible(string(r))
}

// before is the cursor of the page that was asked for, as the API takes it.
func before(v *visit) string {
	if b := v.r.URL.Query().Get("before"); b != "" {
		return "&before=" + url.QueryEscape(b)
	}
	return ""
}

type inboxView struct {
	remit.Inbox
	Show string // mine, all, settled
	// Glass is what nobody may overlook: break-glass that is open, or that the person is to review.
	Glass []glass
	Next  string // address of the next page
	Past  bool   // it is not the first page
}

func (p inboxView) followed() remit.EntryIndex { return p.Size }

func inboxPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := inboxView{Show: v.r.URL.Query().Get("show"), Past: v.r.URL.Query().Get("before") != ""}
	ask := p.Show
	switch p.Show {
	case "all":
		ask = ""
	case "settled":
	default:
		p.Show, ask = "mine", "mine"
	}
	if err := v.get("/inbox?show="+ask+before(v), &p.Inbox); err != nil {
		return err
	}
	if p.Show != "settled" && !p.Past {
		opened, err := v.opened()
		if err != nil {
			return err
		}
		p.Glass = slices.DeleteFunc(opened, func(g glass) bool { return !g.Open && !g.YouMay })
	}
	if p.Show == "settled" || p.Past {
		p.Reviews = nil
	}
	if p.Before != 0 {
		p.Next = Base + "/?show=" + p.Show + "&before=" + strconv.FormatUint(uint64(p.Before), 10)
	}
	return v.show(http.StatusOK, "inbox", "Inbox", p)
}

type cardView struct {
	*card.Model
	Wrong string // why it must not be voted on: it shows one thing and binds another
	Voted bool   // the person has approved it already
	NoKey bool   // they have no passkey for this server: they vote in a terminal
	size  remit.EntryIndex
}

func (p cardView) followed() remit.EntryIndex { return p.size }

// CanVote tells whether the page offers to vote.
func (p cardView) CanVote() bool { return p.YouMay && p.Waits() && p.Wrong == "" }

func cardPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	id := url.PathEscape(v.r.PathValue("id"))
	var head remit.LogHead
	if err := v.get("/log/checkpoint", &head); err != nil { // before the card: what comes between is followed
		return err
	}
	var a remit.AccessView
	if err := v.get("/approvals/"+id, &a); err != nil {
		return err
	}
	var org remit.OrgInfo
	if err := v.get("", &org); err != nil {
		return err
	}
	p := cardView{Model: card.NewModel(v.cfg.Org, a, Base, v.cfg.Now()), size: remit.EntryIndex(head.Size)}
	if err := card.Bind(a, org); err != nil {
		p.Wrong = err.Error()
	}
	p.Voted = slices.ContainsFunc(a.Votes, func(x remit.VoteView) bool { return x.Approve && x.Person == v.session.Name })
	if p.CanVote() {
		var keys []remit.KeyView
		if err := v.get("/keys", &keys); err != nil {
			return err
		}
		p.NoKey = !slices.ContainsFunc(keys, func(k remit.KeyView) bool { return k.Passkey != "" && k.Passkey == org.RPID })
	}
	return v.show(http.StatusOK, "card", string(a.ID), p)
}

type tasksView struct {
	Tasks []remit.TaskView
	All   bool
	size  remit.EntryIndex
}

func (p tasksView) followed() remit.EntryIndex { return p.size }

func tasksPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := tasksView{All: v.r.URL.Query().Get("all") == "true"}
	var err error
	if p.size, err = v.size(); err != nil {
		return err
	}
	if err := v.get("/tasks?all="+strconv.FormatBool(p.All), &p.Tasks); err != nil {
		return err
	}
	return v.show(http.StatusOK, "tasks", "Tasks", p)
}

// size is the size of the log, from which a page goes on to follow it.
func (v *visit) size() (remit.EntryIndex, error) {
	var head remit.LogHead
	err := v.get("/log/checkpoint", &head)
	return remit.EntryIndex(head.Size), err
}

// story is a task's trace as a tree: what follows from a step lies below it.
type story struct {
	Task     remit.TaskView
	Steps    []branch
	Children []story
	Plan     *remit.PlanView // of the task whose page it is
	size     remit.EntryIndex
}

type branch struct {
	remit.TraceStep
	Then []remit.TraceStep
}

func (p story) followed() remit.EntryIndex { return p.size }

func tell(t remit.Trace) story {
	s := story{Task: t.Task}
	for _, step := range t.Steps {
		if step.Depth > 0 && len(s.Steps) > 0 {
			last := &s.Steps[len(s.Steps)-1]
			last.Then = append(last.Then, step)
			continue
		}
		s.Steps = append(s.Steps, branch{TraceStep: step})
	}
	for _, c := range t.Children {
		s.Children = append(s.Children, tell(c))
	}
	return s
}

func taskPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	size, err := v.size()
	if err != nil {
		return err
	}
	var t remit.Trace
	if err := v.get("/tasks/"+url.PathEscape(v.r.PathValue("id"))+"/trace", &t); err != nil {
		return err
	}
	p := tell(t)
	p.size, p.Plan = size, new(remit.PlanView)
	if err := v.get("/tasks/"+url.PathEscape(string(t.Task.ID))+"/plan", p.Plan); err != nil {
		return err
	}
	return v.show(http.StatusOK, "task", string(t.Task.ID), p)
}

type agentsView struct {
	Agents []remit.AgentView
	size   remit.EntryIndex
}

func (p agentsView) followed() remit.EntryIndex { return p.size }

func agentsPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p agentsView
	var err error
	if p.size, err = v.size(); err != nil {
		return err
	}
	if err := v.get("/agents", &p.Agents); err != nil {
		return err
	}
	return v.show(http.StatusOK, "agents", "Agents", p)
}

type agentView struct {
	Agent remit.AgentView
	Use   remit.AgentUse
}

func agentPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	var p agentView
	name := url.PathEscape(v.r.PathValue("name"))
	if err := v.get("/agents/"+name, &p.Agent); err != nil {
		return err
	}
	if err := v.get("/agents/"+name+"/use", &p.Use); err != nil {
		return err
	}
	return v.show(http.StatusOK, "agent", p.Agent.Name, p)
}

// changeAgent suspends, resumes or retires. To retire is for good, so its name has to be written.
func changeAgent(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	name, what := v.r.PathValue("name"), v.r.PathValue("what")
	if what != "suspend" && what != "resume" && what != "retire" && what != "revive" {
		return remit.Errorf(remit.NotFound, "an agent can be suspended, resumed, revived and retired here")
	}
	if what == "retire" && v.r.PostFormValue("name") != name {
		return remit.Errorf(remit.BadRequest, "to retire %s for good, write its name into the form", card.Visible(name))
	}
	v.back = Base + "/agents/" + url.PathEscape(name)
	if what == "revive" {
		return v.comesBack("/agents/"+url.PathEscape(name)+"/revive", v.back)
	}
	if err := v.post("/agents/"+url.PathEscape(name)+"/"+what, struct{}{}, nil); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, v.back, http.StatusSeeOther)
	return nil
}

type leasesView struct {
	remit.LeaseList
	Show string // "" those that live, debt, exposure, all
	size remit.EntryIndex
}

func (p leasesView) followed() remit.EntryIndex { return p.size }

func leasesPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := leasesView{Show: v.r.URL.Query().Get("show")}
	if p.Show != "debt" && p.Show != "exposure" && p.Show != "all" {
		p.Show = ""
	}
	var err error
	if p.size, err = v.size(); err != nil {
		return err
	}
	if err := v.get("/leases?all="+strconv.FormatBool(p.Show == "all"), &p.LeaseList); err != nil {
		return err
	}
	p.Leases = slices.DeleteFunc(p.Leases, func(l remit.LeaseView) bool {
		return p.Show == "debt" && l.Due == nil || p.Show == "exposure" && l.Until == nil
	})
	// What is overdue is read first, then what nobody can end.
	slices.SortStableFunc(p.Leases, func(a, b remit.LeaseView) int { return cmp.Compare(urgency(b), urgency(a)) })
	return v.show(http.StatusOK, "leases", "Leases", p)
}

func urgency(l remit.LeaseView) int {
	switch {
	case l.Due != nil:
		return 2
	case l.Until != nil:
		return 1
	}
	return 0
}

// logLine is an entry in a list.
type logLine struct {
	Entry remit.EntryIndex
	Kind  string
	At    time.Time
	Facts []fact
}

type logView struct {
	Query string
	Lines []logLine
	Size  remit.EntryIndex
	Next  string
	Past  bool
}

// followed is 0 where the page shows no news: a search, or a later page.
func (p logView) followed() remit.EntryIndex { return p.Size }

func logPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	p := logView{Query: strings.TrimSpace(v.r.URL.Query().Get("q")), Past: v.r.URL.Query().Get("before") != ""}
	if n, err := strconv.ParseUint(p.Query, 10, 62); err == nil { // a number is an entry
		http.Redirect(v.w, v.r, Base+"/log/"+strconv.FormatUint(n, 10), http.StatusSeeOther)
		return nil
	}
	var found remit.LogPage
	if err := v.get("/log/search?q="+url.QueryEscape(p.Query)+before(v), &found); err != nil {
		return err
	}
	p.Size = found.Size
	for _, e := range found.Entries {
		p.Lines = append(p.Lines, lineOf(e))
	}
	if found.Before != 0 {
		p.Next = Base + "/log?q=" + url.QueryEscape(p.Query) + "&before=" + strconv.FormatUint(uint64(found.Before), 10)
	}
	return v.show(http.StatusOK, "log", "Log", p)
}

type entryView struct {
	logLine
	Text string // the view of the leaf, indented
	Hash string
	Head remit.LogHead
	Why  *remit.DecisionView
}

// Prev and Next are the entries beside it.
func (p entryView) Prev() remit.EntryIndex { return p.Entry - 1 }

// Next is the entry after it; the log may not have it yet.
func (p entryView) Next() remit.EntryIndex { return p.Entry + 1 }

func entryPage(v *visit) error {
	if err := v.signedIn(); err != nil {
		return err
	}
	n, err := strconv.ParseUint(v.r.PathValue("entry"), 10, 62)
	if err != nil {
		return remit.Errorf(remit.BadRequest, "an entry is a number")
	}
	var p entryView
	if err := v.get("/log/checkpoint", &p.Head); err != nil {
		return err
	}
	none := remit.Errorf(remit.NotFound, "the log has no entry %d; it has %d entries", n, p.Head.Size)
	if n >= 1<<61 {
		return none
	}
	var found remit.LogPage
	if err := v.get("/log/search?before="+strconv.FormatUint(n+1, 10), &found); err != nil {
		return err
	}
	if len(found.Entries) == 0 || found.Entries[0].Entry != remit.EntryIndex(n) {
		return none
	}
	p.logLine, p.Hash = lineOf(found.Entries[0]), found.Entries[0].Hash
	var b bytes.Buffer
	if err := json.Indent(&b, found.Entries[0].Leaf, "", "  "); err != nil {
		return err
	}
	p.Text = card.Visible(b.String())
	if p.Kind == "decision" {
		p.Why = new(remit.DecisionView)
		if err := v.get("/decisions/"+strconv.FormatUint(n, 10), p.Why); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, "entry", "Entry "+strconv.FormatUint(n, 10), p)
}
