package naming

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// Limits of what templates make. A name of 255 bytes is what file systems and forges allow; more is an attempt.
const (
	maxSegment  = 255
	maxSegments = 32 // that one {NAME...} may become
	maxExact    = 1 << 53
)

// part is a piece of a template: text, or the argument that path leads to.
type part struct {
	text   string
	path   []string
	spread bool // {NAME...}: one segment or more
}

// template is a text with arguments in it, as remit.ToolStep describes.
type template []part

// parseTemplate reads the text of a template. Braces stand for arguments only.
func parseTemplate(s string) (template, error) {
	var out template
	for s != "" {
		text, rest, open := strings.Cut(s, "{")
		if strings.Contains(text, "}") {
			return nil, remit.Errorf(remit.BadRequest, "the template has a } without its {")
		}
		if text != "" {
			out = append(out, part{text: text})
		}
		if !open {
			break
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed || strings.Contains(name, "{") {
			return nil, remit.Errorf(remit.BadRequest, "the template has a { without its }")
		}
		name, spread := strings.CutSuffix(name, "...")
		path := strings.Split(name, ".")
		if slices.Contains(path, "") {
			return nil, remit.Errorf(remit.BadRequest, "the template has {%s}; write {NAME}, {NAME.MEMBER} or {NAME...}", name)
		}
		out = append(out, part{path: path, spread: spread})
		s = rest
	}
	return out, nil
}

// arguments are those of one call, by name.
type arguments map[string]json.RawMessage

// ParseArguments takes the arguments of a call apart; a call may have none.
func ParseArguments(raw json.RawMessage) (arguments, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	var a arguments
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the arguments are an object, with a member for each of them")
	}
	return a, nil
}

// find gives the JSON of the argument that path leads to. Names are compared byte for byte, as servers do.
func (a arguments) find(path []string) (json.RawMessage, bool) {
	v, ok := a[path[0]]
	for _, name := range path[1:] {
		var inner arguments
		if !ok || json.Unmarshal(v, &inner) != nil {
			return nil, false
		}
		v, ok = inner[name]
	}
	return v, ok
}

// value is the text of the argument at path: a string, or an integer that every reader takes for the same (RFC 7493
// §2.2).
func (a arguments) value(path []string) (string, error) {
	raw, ok := a.find(path)
	if !ok {
		return "", remit.Errorf(remit.BadRequest, "the argument %s is missing; what the call does is told by it", strings.Join(path, "."))
	}
	s, ok := scalar(raw)
	if !ok {
		return "", remit.Errorf(remit.BadRequest, "the argument %s tells what the call does, so it is a string or an integer within ±2^53", strings.Join(path, "."))
	}
	if s == "" {
		return "", remit.Errorf(remit.BadRequest, "the argument %s is empty; what the call does is told by it", strings.Join(path, "."))
	}
	return s, nil
}

// scalar is a JSON string or a plain integer as text. 1.0 and 1e3 are integers to some readers only, and what follows a
// lone surrogate or stands for bytes that are no UTF-8 is read in two ways.
func scalar(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "", false
	}
	if raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) != nil || strings.ContainsRune(s, utf8.RuneError) {
			return "", false
		}
		return s, true
	}
	var n int64
	if json.Unmarshal(raw, &n) != nil || n > maxExact || n < -maxExact || fmt.Sprint(n) != string(raw) {
		return "", false
	}
	return string(raw), true
}

// resource fills in a template that names a resource. The name has exactly the segments that the template shows, and more
// only where it says so: no argument adds a slash, climbs, or ends a name early.
func (t template) resource(a arguments) (remit.Resource, error) {
	var b strings.Builder
	for _, p := range t {
		if p.path == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := a.value(p.path)
		if err != nil {
			return "", err
		}
		values := []string{v}
		if p.spread {
			if values = strings.Split(v, "/"); len(values) > maxSegments {
				return "", remit.Errorf(remit.BadRequest, "the argument %s has %d parts; a name has at most %d here", strings.Join(p.path, "."), len(values), maxSegments)
			}
		}
		for i, v := range values {
			seg, err := segment(v)
			if err != nil {
				return "", remit.Errorf(remit.BadRequest, "the argument %s cannot be part of a name: %w", strings.Join(p.path, "."), err)
			}
			if i > 0 {
				b.WriteByte('/')
			}
			b.WriteString(seg)
		}
	}
	r, err := remit.ParseResource(b.String())
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, "what the call does it to cannot be named: %w", err)
	}
	return r, nil
}

// text fills in a template that is no name: nothing is quoted.
func (t template) text(a arguments) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.path == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := a.value(p.path)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// applies tells whether a step is one of this call: all arguments of its When have these very values. A value that differs
// only in case or in spaces around it is refused: a server may take it for the same, and then it would be another step.
func applies(when map[string]string, a arguments) (bool, error) {
	all := true
	for name, want := range when {
		raw, ok := a.find(strings.Split(name, "."))
		if !ok {
			all = false
			continue
		}
		got, ok := scalar(raw)
		if t := bytes.TrimSpace(raw); !ok && (string(t) == "true" || string(t) == "false") {
			got, ok = string(t), true
		}
		if !ok || got != want && strings.EqualFold(strings.TrimSpace(got), want) {
			return false, remit.Errorf(remit.BadRequest, "the argument %s tells what the call does; write it exactly, for instance %q", name, want)
		}
		all = all && got == want
	}
	return all, nil
}

// Steps are what a call does besides being a call, by the declaration of its tool. none tells that steps are declared, and
// none of them is of this call: then nobody has said what it does.
func Steps(t remit.Tool, a arguments) (out []remit.Step, none bool, err error) {
	for _, s := range t.Steps {
		ok, err := applies(s.When, a)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			continue
		}
		tmpl, err := parseTemplate(s.Resource)
		if err != nil {
			return nil, false, err
		}
		res, err := tmpl.resource(a)
		if err != nil {
			return nil, false, err
		}
		out = append(out, remit.Step{Action: s.Action, Resource: res})
	}
	return out, len(t.Steps) > 0 && len(out) == 0, nil
}

// ProbeCall makes the params of the tools/call that tells whether another one was carried out, and what its answer has to
// contain for that. An argument that is nothing but {NAME} keeps the type of what it stands for.
func ProbeCall(p remit.ToolProbe, args json.RawMessage) (params json.RawMessage, contains string, err error) {
	a, err := ParseArguments(args)
	if err != nil {
		return nil, "", err
	}
	made := make(map[string]any, len(p.Arguments))
	for name, text := range p.Arguments {
		t, err := parseTemplate(text)
		if err != nil {
			return nil, "", err
		}
		v, err := t.text(a)
		if err != nil {
			return nil, "", err
		}
		made[name] = v
		if len(t) == 1 && t[0].path != nil {
			made[name], _ = a.find(t[0].path)
		}
	}
	t, err := parseTemplate(p.Contains)
	if err != nil {
		return nil, "", err
	}
	if contains, err = t.text(a); err != nil {
		return nil, "", err
	}
	if contains == "" {
		return nil, "", remit.Errorf(remit.BadRequest, "the probe asks for an answer that contains nothing in particular, and every answer does")
	}
	params, err = json.Marshal(map[string]any{"name": p.Tool, "arguments": made})
	return params, contains, err
}
