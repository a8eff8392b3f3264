package declare

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Narrowing is what an agent's entitlements become.
type Narrowing struct {
	Agent    string
	Declared []remit.Scope   // in force; the files must say the same
	Proposed [][]remit.Scope // for each of them, what stands in its place: none removes it
	// MayRequest is what it may still request.
	MayRequest []remit.Function
	// Without are groups of its requesters that may request its tasks no more.
	Without []string
}

// Narrow changes the files of a directory of declarations so that the agents have what is proposed. Comments, order and
// everything else stay as they are. It gives the files that change, by name, and has read them again: they declare exactly
// that. Where a record is written in a way that cannot be changed line by line, the error says where.
func Narrow(dir fs.FS, list []Narrowing) (map[string][]byte, error) {
	set, pos, err := Read(dir)
	if err != nil {
		return nil, err
	}
	set.Agents = slices.Clone(set.Agents)
	files := map[string]*text{}
	for _, n := range list {
		k := slices.IndexFunc(set.Agents, func(a remit.Agent) bool { return a.Name == n.Agent })
		if k < 0 {
			return nil, remit.Errorf(remit.NotFound, "the declarations have no agent %q; it is in force, so they are others than those that were applied", n.Agent)
		}
		at := fmt.Sprintf("agents[%d]", k)
		file, line, _ := pos.Locate(at)
		if !sameScopes(set.Agents[k].Entitlements, n.Declared) || len(n.Proposed) != len(n.Declared) {
			return nil, &Error{File: file, Line: line, Path: at + ".entitlements", Sentence: "they are not those in force; `remit diff` shows what differs. Apply them first, or take them from `remit declarations --dir`"}
		}
		f := files[file]
		if f == nil {
			if f, err = readText(dir, file); err != nil {
				return nil, err
			}
			files[file] = f
		}
		if sentence := f.narrow(line, set.Agents[k], n); sentence != "" {
			return nil, &Error{File: file, Line: line, Path: at, Sentence: sentence}
		}
		set.Agents[k].Entitlements, set.Agents[k].MayRequest = nil, n.MayRequest
		set.Agents[k].Requesters = n.requesters(set.Agents[k].Requesters)
		for _, p := range n.Proposed {
			set.Agents[k].Entitlements = append(set.Agents[k].Entitlements, p...)
		}
	}
	out := map[string][]byte{}
	for name, f := range files {
		if f.edited() {
			out[name] = f.bytes()
		}
	}
	return out, readBack(dir, out, set)
}

// requesters are those that stay.
func (n Narrowing) requesters(was []string) (out []string) {
	for _, g := range was {
		if !slices.Contains(n.Without, g) {
			out = append(out, g)
		}
	}
	return out
}

// readBack reads the files with their changes, and tells whether they declare a set.
func readBack(dir fs.FS, changed map[string][]byte, want *remit.Declarations) error {
	got, _, err := Read(overlay{dir, changed})
	if err != nil {
		return remit.Errorf(remit.Internal, "the changed declarations cannot be read, so they are not given out: %w", err)
	}
	for i := range got.Agents {
		if len(got.Agents) != len(want.Agents) || !sameScopes(got.Agents[i].Entitlements, want.Agents[i].Entitlements) ||
			!slices.Equal(got.Agents[i].MayRequest, want.Agents[i].MayRequest) || !slices.Equal(got.Agents[i].Requesters, want.Agents[i].Requesters) {
			return remit.Errorf(remit.Internal, "the changed declarations do not say what they should of agent %s, so they are not given out", got.Agents[i].Name)
		}
		got.Agents[i].Entitlements, got.Agents[i].MayRequest = want.Agents[i].Entitlements, want.Agents[i].MayRequest
		got.Agents[i].Requesters = want.Agents[i].Requesters
	}
	if !reflect.DeepEqual(got, want) {
		return errors.New("the changed declarations say something else than before besides the entitlements, so they are not given out")
	}
	return nil
}

// overlay is a directory with some of its files changed.
type overlay struct {
	fs.FS
	changed map[string][]byte
}

func (o overlay) Open(name string) (fs.File, error) {
	if b, ok := o.changed[name]; ok {
		return changedFile{bytes.NewReader(b), name}, nil
	}
	return o.FS.Open(name)
}

type changedFile struct {
	*bytes.Reader
	name string
}

func (f changedFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f changedFile) Close() error               { return nil }
func (f changedFile) Name() string               { return f.name }
func (f changedFile) Mode() fs.FileMode          { return 0o644 }
func (f changedFile) ModTime() time.Time         { return time.Time{} }
func (f changedFile) IsDir() bool                { return false }
func (f changedFile) Sys() any                   { return nil }

// sameScopes compares lists of scopes; no list and an empty one are the same.
func sameScopes(a, b []remit.Scope) bool {
	return slices.EqualFunc(a, b, func(x, y remit.Scope) bool {
		return slices.Equal(x.Actions, y.Actions) && slices.Equal(x.Resources, y.Resources) && slices.Equal(x.Refs, y.Refs) &&
			slices.Equal(x.Paths, y.Paths) && x.MaxBytes == y.MaxBytes && x.MaxCommits == y.MaxCommits
	})
}

// text is a file by lines, with what is to come in the place of some.
type text struct {
	lines []string
	end   string // of a line
	edits map[int][]string
	gone  map[int]bool
}

func readText(dir fs.FS, name string) (*text, error) {
	b, err := fs.ReadFile(dir, name)
	if err != nil {
		return nil, fmt.Errorf("reading the declarations: %w", err)
	}
	t := &text{end: "\n", edits: map[int][]string{}, gone: map[int]bool{}}
	if bytes.Contains(b, []byte("\r\n")) {
		t.end = "\r\n"
	}
	t.lines = strings.Split(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
	return t, nil
}

func (t *text) edited() bool { return len(t.edits)+len(t.gone) > 0 }

// replace puts lines in the place of those from one index up to another.
func (t *text) replace(from, to int, with []string) {
	for i := from; i < to; i++ {
		t.gone[i] = true
	}
	t.edits[from] = append(t.edits[from], with...)
}

func (t *text) bytes() []byte {
	var out []string
	for i, l := range t.lines {
		out = append(out, t.edits[i]...)
		if !t.gone[i] {
			out = append(out, l)
		}
	}
	return []byte(strings.Join(append(out, t.edits[len(t.lines)]...), t.end))
}

// span is lines of a record or of a member of one: from, up to to. Indent is that of the names of its members.
type span struct{ from, to, indent int }

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func blank(line string) bool {
	s := strings.TrimSpace(line)
	return s == "" || strings.HasPrefix(s, "#")
}

// record is the lines of a list's item that begins at a line with a dash.
func (t *text) record(from int) (span, bool) {
	if from < 0 || from >= len(t.lines) {
		return span{}, false
	}
	l := t.lines[from]
	dash := indentOf(l)
	rest := strings.TrimPrefix(l[dash:], "-")
	if rest == l[dash:] || strings.TrimSpace(rest) == "" || rest[0] != ' ' {
		return span{}, false
	}
	s := span{from, from + 1, dash + 1 + indentOf(rest)}
	for i := from + 1; i < len(t.lines); i++ {
		if blank(t.lines[i]) {
			continue
		}
		if indentOf(t.lines[i]) <= dash {
			break
		}
		s.to = i + 1
	}
	return s, true
}

// member is the lines of a member of a record, the dash of its first line left out of the count.
func (t *text) member(in span, name string) (span, bool) {
	for i := in.from; i < in.to; i++ {
		l := t.lines[i]
		if i == in.from {
			l = strings.Repeat(" ", in.indent) + l[in.indent:]
		}
		if blank(l) || indentOf(l) != in.indent || !strings.HasPrefix(l[in.indent:], name+":") {
			continue
		}
		s := span{i, i + 1, in.indent}
		for k := i + 1; k < in.to; k++ {
			if blank(t.lines[k]) {
				continue
			}
			if n := indentOf(t.lines[k]); n < in.indent || n == in.indent && !strings.HasPrefix(t.lines[k][n:], "- ") {
				break
			}
			s.to = k + 1
		}
		return s, true
	}
	return span{}, false
}

// narrow notes the edits of one agent's record. It gives a sentence where the record is written in a way that has no
// lines of its own for what changes.
func (t *text) narrow(line int, a remit.Agent, n Narrowing) string {
	const braces = "it is written in braces, or over lines that cannot be told apart; write it as remit declarations --dir does"
	rec, ok := t.record(line - 1)
	if !ok || strings.HasPrefix(t.lines[rec.from][rec.indent:], "{") {
		return braces
	}
	if stay := n.requesters(a.Requesters); !slices.Equal(a.Requesters, stay) && !t.names(rec, "requesters", reflect.ValueOf(stay)) ||
		!slices.Equal(a.MayRequest, n.MayRequest) && !t.names(rec, "may_request", reflect.ValueOf(n.MayRequest)) {
		return braces
	}
	if sameScopes(a.Entitlements, slices.Concat(n.Proposed...)) {
		return ""
	}
	m, ok := t.member(rec, "entitlements")
	if !ok {
		return braces
	}
	items := t.items(m)
	if len(items) != len(n.Declared) { // in brackets: there are no lines of their own
		t.replace(m.from, m.to, t.whole(m, rec, slices.Concat(n.Proposed...)))
		return ""
	}
	if len(slices.Concat(n.Proposed...)) == 0 {
		t.replace(m.from, m.to, t.whole(m, rec, nil))
		return ""
	}
	for i, item := range items {
		switch p := n.Proposed[i]; {
		case len(p) == 0:
			from := item.from
			for i > 0 && from > 0 && strings.HasPrefix(strings.TrimSpace(t.lines[from-1]), "#") { // what is said of it goes with it
				from--
			}
			t.replace(from, item.to, nil)
		case len(p) == 1 && sameScopes(p, n.Declared[i:i+1]):
		default:
			t.scope(item, n.Declared[i], p[0])
			var more []string
			for _, sc := range p[1:] {
				more = append(more, itemLines(item, sc)...)
			}
			t.edits[item.to] = append(t.edits[item.to], more...)
		}
	}
	return ""
}

// names notes the edit of a member that is a list of names; false: the record has no lines for it.
func (t *text) names(rec span, name string, list reflect.Value) bool {
	m, ok := t.member(rec, name)
	switch {
	case !ok:
		return false
	case list.Len() > 0:
		t.replace(m.from, m.to, t.member1(m, rec, name, list))
	case m.from == rec.from:
		t.replace(m.from, m.to, []string{t.lines[m.from][:rec.indent] + name + ": []"})
	default:
		t.replace(m.from, m.to, nil)
	}
	return true
}

// items are the lines of each item of a member that is a list with a dash for each.
func (t *text) items(m span) (out []span) {
	for i := m.from + 1; i < m.to; i++ {
		if blank(t.lines[i]) {
			continue
		}
		s, ok := t.record(i)
		if !ok || len(out) > 0 && indentOf(t.lines[s.from]) != indentOf(t.lines[out[0].from]) {
			return nil
		}
		s.to = min(s.to, m.to)
		out = append(out, s)
		i = s.to - 1
	}
	return out
}

// scope changes the members of an item that differ, each in its place.
func (t *text) scope(item span, was, now remit.Scope) {
	if strings.HasPrefix(t.lines[item.from][item.indent:], "{") {
		t.replace(item.from, item.to, itemLines(item, now))
		return
	}
	type edit struct {
		span
		lines []string
	}
	var edits []edit
	old, fresh := reflect.ValueOf(was), reflect.ValueOf(now)
	for _, m := range members(old.Type()) {
		a, b := old.Field(m.index), fresh.Field(m.index)
		if zero(a) && zero(b) || reflect.DeepEqual(a.Interface(), b.Interface()) {
			continue
		}
		s, ok := t.member(item, m.name)
		switch {
		case !ok: // it was not said
			edits = append(edits, edit{span{item.to, item.to, item.indent}, memberLines(item.indent, m.name, b)})
		case zero(b) && s.from == item.from:
			t.replace(item.from, item.to, itemLines(item, now))
			return
		case zero(b):
			edits = append(edits, edit{s, nil})
		default:
			edits = append(edits, edit{s, t.member1(s, item, m.name, b)})
		}
	}
	for _, e := range edits {
		t.replace(e.from, e.to, e.lines)
	}
}

func zero(v reflect.Value) bool { return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 }

// comment is what stands behind a line.
var comment = regexp.MustCompile(`\s+#[^"']*$`)

// member1 is a member anew, with the comment of its first line and the dash of its record.
func (t *text) member1(m, rec span, name string, v reflect.Value) []string {
	lines := memberLines(m.indent, name, v)
	lines[0] += comment.FindString(t.lines[m.from])
	if m.from == rec.from {
		lines[0] = t.lines[m.from][:rec.indent] + lines[0][rec.indent:]
	}
	return lines
}

func memberLines(indent int, name string, v reflect.Value) []string {
	var b bytes.Buffer
	space := strings.Repeat(" ", indent)
	b.WriteString(space + name + ":")
	if v.Kind() == reflect.Slice {
		writeList(&b, v, space)
	} else {
		b.WriteString(" " + scalar(v) + "\n")
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// itemLines is a scope as an item of the same list.
func itemLines(item span, sc remit.Scope) []string {
	var b bytes.Buffer
	dash := strings.Repeat(" ", max(item.indent-2, 0))
	writeRecords(&b, reflect.ValueOf([]remit.Scope{sc}), dash)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// whole is the member entitlements anew.
func (t *text) whole(m, rec span, list []remit.Scope) []string {
	head := strings.Repeat(" ", m.indent) + "entitlements:"
	if m.from == rec.from {
		head = t.lines[m.from][:rec.indent] + "entitlements:"
	}
	if len(list) == 0 {
		return []string{head + " []"}
	}
	out := []string{head}
	for _, sc := range list {
		out = append(out, itemLines(span{indent: m.indent + 4}, sc)...)
	}
	return out
}
