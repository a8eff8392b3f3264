package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/remit-dev/remit"
)

// print gives v as JSON, or lets text write to a.stdout.
func (a *app) print(v any, text func()) error {
	if a.output != "json" {
		text()
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", visibleJSON(b))
	return err
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// notef says something beside the answer, to the person.
func (a *app) notef(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// visible is one line of text from outside, safe on a terminal.
func visible(s string) string { return remit.Visible(s) }

// visibleText is visible for text of several lines: line ends and tabs stay.
func visibleText(s string) string { return remit.VisibleText(s) }

// visibleJSON escapes in JSON text what hides; the value stays the same (RFC 8259 §7).
func visibleJSON(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r >= 0x7f && remit.Hidden(r) && r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		case r >= 0x7f && remit.Hidden(r):
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = append(out, b[i:i+n]...)
		}
		i += n
	}
	return out
}

// short is a line of text from outside, at most n characters of it.
func short(s string, n int) string {
	s = visible(strings.Join(strings.Fields(s), " "))
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// colour is an SGR parameter.
type colour string

const (
	plain  colour = ""
	bold   colour = "1"
	faint  colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

// paint colours s where stdout is a terminal of a person who wants that (no-color.org).
func (a *app) paint(c colour, s string) string {
	if c == plain || s == "" || !a.color() {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

func (a *app) color() bool {
	f := file(a.stdout)
	return f != nil && term.IsTerminal(int(f.Fd())) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// tone is the colour of a word that says how something stands.
func tone(word string) colour {
	switch word {
	case "allow", "done", "used", "active", "completed", "derived":
		return green
	case "hold", "open", "met", "reserved", "waiting", "suspended":
		return yellow
	case "deny", "void", "killed", "wrong", "retired", "ambiguous", "after_revocation":
		return red
	}
	return plain
}

// table prints rows in columns; words that say how something stands are coloured.
func (a *app) table(head []string, rows [][]string) {
	widths := make([]int, len(head))
	for _, r := range append([][]string{head}, rows...) {
		for i, cell := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(r []string, paint func(string) colour) {
		var b strings.Builder
		for i, cell := range r {
			b.WriteString(a.paint(paint(cell), cell))
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		a.printf("%s\n", strings.TrimRight(b.String(), " "))
	}
	line(head, func(string) colour { return faint })
	for _, r := range rows {
		line(r, tone)
	}
}

// field prints one line of a card: a name and what it says; further lines are aligned below.
func (a *app) field(name, text string) {
	if text == "" {
		return
	}
	for i, l := range strings.Split(text, "\n") {
		if i > 0 {
			name = ""
		}
		a.printf("%s %s\n", a.paint(faint, fmt.Sprintf("%-11s", name)), l)
	}
}

// stamp is a time for people, in their zone.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// when is a time seen from now: 5m ago, in 3h20m.
func (a *app) when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := t.Sub(a.now())
	if d < 0 {
		return spanText(-d) + " ago"
	}
	return "in " + spanText(d)
}

// spanText is a duration in its two largest units.
func spanText(d time.Duration) string {
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		s := fmt.Sprintf("%d%s", d/u.of, u.name)
		if i+1 < len(units) {
			if rest := d % u.of / units[i+1].of; rest > 0 {
				s += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return s
	}
	return "0s"
}

// span is a duration on the command line: 90s, 4h, 7d, 1d12h.
type span time.Duration

func (s *span) Type() string { return "DURATION" }

func (s *span) String() string {
	if *s == 0 {
		return ""
	}
	return spanText(time.Duration(*s))
}

func (s *span) Set(text string) error {
	rest, days := text, time.Duration(0)
	if n, after, ok := strings.Cut(text, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 90s, 4h, 7d or 1d12h", text)
		}
		days, rest = time.Duration(v)*24*time.Hour, after
	}
	d := time.Duration(0)
	if rest != "" || days == 0 {
		var err error
		if d, err = time.ParseDuration(rest); err != nil || d < 0 || rest[0] == '+' {
			return fmt.Errorf("%q is not a duration such as 90s, 4h, 7d or 1d12h", text)
		}
	}
	*s = span(days + d)
	return nil
}

// stepLines says what would be done, effects indented under what sets them off.
func stepLines(steps []remit.Step) string {
	var lines []string
	for _, s := range steps {
		line := visible(string(s.Action)) + " on " + visible(string(s.Resource))
		if s.Effect {
			line = "→ " + line + " (follows by itself)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// scopeLines says what a list of scopes covers, a line each.
func scopeLines(scopes []remit.Scope) string {
	var lines []string
	for _, s := range scopes {
		line := list(s.Actions) + " on " + list(s.Resources)
		hasRefs := func(p remit.Pattern) bool { return strings.HasPrefix(string(p), "repo:") } // nothing else does
		if len(s.Refs) > 0 && slices.ContainsFunc(s.Resources, hasRefs) {
			line += ", refs " + list(s.Refs)
		}
		if len(s.Paths) > 0 {
			line += ", paths " + list(s.Paths)
		}
		if s.MaxCommits > 0 {
			line += fmt.Sprintf(", %d commits a push", s.MaxCommits)
		}
		if s.MaxBytes > 0 {
			line += fmt.Sprintf(", %d bytes a push", s.MaxBytes)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// list joins words from outside.
func list[T ~string](words []T) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = visible(string(w))
	}
	return strings.Join(out, ", ")
}

// needLine says a quorum: 1 of reviewers, 2 of release-managers.
func needLine(needs []remit.Need) string {
	parts := make([]string, len(needs))
	for i, n := range needs {
		parts[i] = visible(n.String())
	}
	return strings.Join(parts, ", ")
}

// terminal tells whether a person can be asked: questions go to stderr, answers come from stdin.
func (a *app) terminal() bool {
	in, out := file(a.stdin), file(a.stderr)
	return in != nil && out != nil && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// confirm asks a yes-or-no question. Without a terminal nobody can answer, and --yes is what is missing.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !a.terminal() {
		return usagef("there is no terminal to ask on; to go on without being asked, give --yes")
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, err := a.readLine()
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	a.notef("nothing was done")
	return exitCode(remit.ExitError)
}

// readLine reads one line, unless the person interrupts.
func (a *app) readLine() (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(a.stdin).ReadString('\n')
		if err == io.EOF {
			err = nil
		}
		got <- answer{line, err}
	}()
	select {
	case r := <-got:
		return r.line, r.err
	case <-a.ctx.Done():
		fmt.Fprintln(a.stderr)
		return "", a.ctx.Err()
	}
}
