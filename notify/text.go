package notify

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// short is one visible line of text from outside.
func short(s string) string { return cut(remit.Visible(s), longestLine) }

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// event is the body of a webhook: type, timestamp and data, as Standard Webhooks suggests.
func (m message) event() any {
	type member struct {
		Name  string `json:"name"`
		Text  string `json:"text"`
		Claim string `json:"claim,omitempty"` // who says so; Remit does not
	}
	var card []member
	for _, l := range m.lines {
		card = append(card, member{l.name, l.text, l.claim})
	}
	return struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      any       `json:"data"`
	}{m.what, m.at.UTC(), struct {
		ID    string `json:"id"`
		Org   string `json:"org"`
		Entry uint64 `json:"entry"`
		Title string `json:"title"`
		details
		Card []member `json:"card"`
		Text string   `json:"text"`
		Link string   `json:"link,omitempty"`
	}{m.id, string(m.org), uint64(m.entry), m.title, m.data, card, m.text(), m.link}}
}

const decide = "Nobody can decide by this message. Look at the card where you are signed in to Remit"

// text is the message for people, as plain text.
func (m message) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n%s", m.title, m.card(), m.foot())
	return b.String()
}

// card is its lines in two columns.
func (m message) card() string {
	var b strings.Builder
	for _, l := range m.lines {
		text := strings.ReplaceAll(l.text, "\n", "\n"+strings.Repeat(" ", 13))
		if l.claim != "" {
			text = "“" + text + "”  [" + l.claim + ": a claim, not a fact]"
		}
		fmt.Fprintf(&b, "%-12s %s\n", l.name, text)
	}
	return b.String()
}

func (m message) foot() string {
	if m.link == "" {
		return string(m.org) + ", entry " + entry(m.entry) + "\n"
	}
	return decide + ":\n" + m.link + "\n"
}

// maxSlack is how much one message of Slack may have, in characters; more is cut by Slack in the middle of anything.
const maxSlack = 3500

// mrkdwn is the message for Slack and what takes the same. Whatever comes from outside stands in a block of code, in which
// neither links nor mentions are made, and cannot end it.
func (m message) mrkdwn() string {
	card := escape(cut(strings.ReplaceAll(m.card(), "`", `\u{60}`), maxSlack))
	out := ""
	if m.to.Address != "" { // of letters and digits, as it was declared
		out = "<@" + m.to.Address + "> "
	}
	out += "*" + escape(m.title) + "*\n```\n" + strings.TrimRight(card, "\n") + "\n```\n"
	if m.link == "" {
		return out + escape(m.foot())
	}
	return out + decide + ": " + "<" + escape(m.link) + ">"
}

// escape is all that Slack's mrkdwn asks for ("Formatting text for app surfaces: escaping text").
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

var page = template.Must(template.New("mail").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body>
<h1 style="font-size:1.2em">{{.Title}}</h1>
<table>{{range .Lines}}
<tr><th scope="row" align="left" valign="top">{{.Name}}</th><td><pre style="margin:0;white-space:pre-wrap">{{.Text}}</pre>{{if .Claim}}<em>{{.Claim}}: a claim, not a fact</em>{{end}}</td></tr>{{end}}
</table>
{{if .Link}}<p>{{.Decide}}: <a href="{{.Link}}" rel="noreferrer">{{.Link}}</a></p>{{end}}
</body></html>
`))

// html is the message for people, as a page that loads nothing.
func (m message) html() (string, error) {
	type row struct{ Name, Text, Claim string }
	var rows []row
	for _, l := range m.lines {
		rows = append(rows, row{l.name, l.text, l.claim})
	}
	var b strings.Builder
	if err := page.Execute(&b, struct {
		Title, Link, Decide string
		Lines               []row
	}{m.title, m.link, decide, rows}); err != nil {
		return "", fmt.Errorf("rendering a message: %w", err)
	}
	return b.String(), nil
}
