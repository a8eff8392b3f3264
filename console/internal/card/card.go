// Package card renders an access request so that it reads well on a phone, by keyboard and without colours: as a part of
// the console, and as a page of its own that loads nothing and can do nothing.
package card

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/remit-dev/remit"
)

// Body defines the template "card", which is given a *Model.
//
//go:embed card.html
var Body string

//go:embed page.html
var pageHTML string

// CSS is the style sheet of cards.
//
//go:embed card.css
var CSS string

// Policy is the Content-Security-Policy of a page. It lets the page have its one style sheet and nothing else: no script, no image, no request.
var Policy = func() string {
	sum := sha256.Sum256([]byte(CSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// Funcs are what the templates call.
func Funcs() template.FuncMap {
	return template.FuncMap{
		"visible": Visible,
		"time":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") },
		"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"zone":    ZoneName,
		"join":    strings.Join,
		"short":   func(s string) string { return s[:min(len(s), 12)] },
		"ref":     reference,
		"uses":    usesOf,
	}
}

var pageTemplate = template.Must(template.Must(template.New("page").Funcs(Funcs()).Parse(Body)).Parse(pageHTML))

// Model is what the template "card" is given.
type Model struct {
	remit.AccessView
	Org  remit.Org
	Base string // of the console's pages, to link to; empty: nothing is linked
	Diff []DiffLine
	Came []line // its receipt
	Risk []remit.Risk
	Late bool // its time is over
}

// NewModel makes the model of a card as it stands at now.
func NewModel(org remit.Org, v remit.AccessView, base string, now time.Time) *Model {
	m := &Model{AccessView: v, Org: org, Base: base, Came: receiptLines(v.Receipt), Risk: remit.Risks(v), Late: !now.Before(v.NotAfter)}
	if v.Shown != nil {
		m.Diff = diffLines(v.Shown.Diff)
	}
	return m
}

// Waits tells whether people can still vote.
func (m *Model) Waits() bool { return m.Status == remit.AccessOpen && !m.Late }

// Flagged are the paths that something was noted of, and Plain the others: what matters is read first.
func (m *Model) Flagged() []remit.ShownPath { return m.paths(true) }

// Plain are the paths that nothing was noted of.
func (m *Model) Plain() []remit.ShownPath { return m.paths(false) }

func (m *Model) paths(flagged bool) (out []remit.ShownPath) {
	if m.Shown == nil {
		return nil
	}
	for _, p := range m.Shown.Paths {
		if (p.Note != "" || p.Kind == "past") == flagged {
			out = append(out, p)
		}
	}
	return out
}

// Lines are how many lines of the difference are added and deleted.
func (m *Model) Lines() (n struct{ Added, Deleted int }) {
	for _, l := range m.Diff {
		switch l.Class {
		case "add":
			n.Added++
		case "del":
			n.Deleted++
		}
	}
	return n
}

// Differs is how the request deviates from a plan, as the decision says it, with its nearest step.
func (m *Model) Differs() string {
	if m.Deviates == nil {
		return ""
	}
	_, how, _ := strings.Cut(m.Sentence, "of the plan "+string(m.Deviates.Access)+", ")
	return how
}

// Nearest is the step of the plan that is nearest; -1: none is.
func (m *Model) Nearest() int {
	var n int
	if _, err := fmt.Sscanf(m.Differs(), "steps[%d] is nearest", &n); err != nil {
		return -1
	}
	return n
}

// uses is how often a step of a plan was used, and where the log says so.
type uses struct {
	N    int
	Link string
}

func usesOf(base string, access remit.ID, n int) uses {
	u := uses{N: n}
	if base != "" {
		u.Link = base + "/log?q=" + url.QueryEscape(`decision "in":"`+string(access)+`" "used"`)
	}
	return u
}

// Alarms are what an approver must not overlook: what the agent can do besides, and what votes are worth.
func (m *Model) Alarms() (out []string) {
	if len(m.Ungoverned) > 0 {
		out = append(out, "Ungoverned: the command was handed credentials past Remit, "+strings.Join(m.Ungoverned, ", ")+". What it does with them is not seen here.")
	}
	if m.Confinement == remit.ConfineNone {
		out = append(out, "The agent runs as its person's own user: it can read that person's keys.")
	}
	if m.Profile == remit.Demo {
		out = append(out, "A demonstration: votes may be a program's, and prove nothing.")
	}
	return out
}

// Over says what became of a request that nobody can vote on any more, and what comes next.
func (m *Model) Over() string {
	switch {
	case m.Status == remit.AccessOpen && m.Late:
		return "Its time is over. Whoever needs it still asks again."
	case m.Status == remit.AccessMet:
		return "People agreed. Remit carries it out next, once, if it is still the same and still allowed."
	case m.Status == remit.AccessReserved:
		return "People agreed, and it is being carried out."
	case m.Status == remit.AccessUsed && m.Outcome == remit.Done:
		return "It was approved and done."
	case m.Failed == remit.Stale:
		return "People agreed, and what it was made for has changed since: nothing was done. Whoever needs it asks again."
	case m.Status != remit.AccessVoid:
		return ""
	}
	switch m.Why {
	case remit.Superseded:
		return "A newer request of the same task took its place: this one binds a state that is gone. The newer one:"
	case remit.Stale:
		return "What it was made for has changed since, so that its votes bind something that is no more. Nothing was done; whoever needs it asks again."
	case remit.Vetoed:
		return "Somebody who may vote refused it. Nothing was done; the agent was told."
	case remit.Expired:
		return "Its time was over before enough people agreed. Nothing was done; whoever needs it asks again."
	}
	return ""
}

// Seats says how many votes are missing where some were cast.
func (m *Model) Seats() string {
	if !m.Waits() || m.Approvals() == 0 {
		return ""
	}
	need := 0
	for _, n := range m.Needs {
		need += n.N
	}
	if missing := need - m.Approvals(); missing > 0 {
		return fmt.Sprintf("%d of %d have approved; %d more must.", m.Approvals(), need, missing)
	}
	return ""
}

// Approvals is how many people have approved.
func (m *Model) Approvals() (n int) {
	for _, v := range m.Votes {
		if v.Approve {
			n++
		}
	}
	return n
}

// Page shows one card of an organisation on a page of its own.
func Page(org remit.Org, v remit.AccessView) ([]byte, error) {
	var b bytes.Buffer
	m := struct {
		*Model
		CSS template.CSS
	}{NewModel(org, v, "", v.Opened), template.CSS(CSS)}
	if err := pageTemplate.ExecuteTemplate(&b, "page", m); err != nil {
		return nil, remit.Errorf(remit.Internal, "rendering a card: %w", err)
	}
	return b.Bytes(), nil
}

// reference is a name that leads to a page of the console where there is one.
func reference(base, page string, name any) template.HTML {
	text := Visible(fmt.Sprint(name))
	escaped := template.HTMLEscapeString(text)
	if base == "" || text == "" {
		return template.HTML(escaped)
	}
	return template.HTML(`<a href="` + template.HTMLEscapeString(base+"/"+page+"/"+url.PathEscape(fmt.Sprint(name))) + `">` + escaped + `</a>`)
}

// DiffLine is a line of a unified diff with the class that colours it. The sign stands in the text as well: colour is
// not all that tells.
type DiffLine struct{ Class, Text string }

func diffLines(diff string) []DiffLine {
	if diff == "" {
		return nil
	}
	var out []DiffLine
	for line := range strings.SplitSeq(strings.TrimSuffix(diff, "\n"), "\n") {
		class := "same"
		switch {
		case strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "diff "):
			class = "file"
		case strings.HasPrefix(line, "@@"):
			class = "hunk"
		case strings.HasPrefix(line, "+"):
			class = "add"
		case strings.HasPrefix(line, "-"):
			class = "del"
		}
		out = append(out, DiffLine{class, Visible(line)})
	}
	return out
}

// hidden tells whether a reader would not see r, or would see other characters in another place because of it.
func hidden(r rune) bool {
	switch r {
	case 0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800, 0x034F, 0x17B4, 0x17B5, unicode.ReplacementChar: // blanks that count as letters
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Noncharacter_Code_Point)
}

// Visible writes what a reader would not see as ⟨U+202E⟩. Tabs and line ends stay.
func Visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return hidden(r) && r != '\t' && r != '\n' }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, "⟨0x%02X⟩", s[i]) // a byte that is no UTF-8
		case hidden(r) && r != '\t' && r != '\n':
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ZoneName is a zone in words.
func ZoneName(z remit.Zone) string {
	switch z {
	case remit.ZoneSource:
		return "source"
	case remit.ZoneBuild:
		return "build"
	case remit.ZoneProduction:
		return "production"
	case remit.ZoneControl:
		return "Remit's own controls"
	}
	return "none"
}
