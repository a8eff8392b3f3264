package declare

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/remit-dev/remit"
)

// decoder reads the nodes of one file into the set, and remembers where each member stands.
type decoder struct {
	*reader
	file string
}

func (d *decoder) line(n ast.Node) int {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func (d *decoder) failAt(at string, n ast.Node, format string, args ...any) {
	d.fail(at, place{d.file, d.line(n)}, format, args...)
}

// members of a struct, by their JSON names. Policy is written as files of its own.
func members(t reflect.Type) []member {
	var list []member
	for i := range t.NumField() {
		name, opts, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if t == reflect.TypeFor[remit.Declarations]() && name == "policy" {
			continue
		}
		list = append(list, member{name, i, opts == ""})
	}
	return list
}

type member struct {
	name     string
	index    int
	required bool
}

func (d *decoder) top(n ast.Node) {
	values, ok := d.mapping("", n)
	if !ok {
		return
	}
	set := reflect.ValueOf(&d.set).Elem()
	known := members(set.Type())
	for _, kv := range values {
		name := kv.Key.String()
		i := slices.IndexFunc(known, func(m member) bool { return m.name == name })
		if i < 0 {
			if name == "policy" {
				d.failAt("", kv.Key, "policy is written as Rego, in files policy/*.rego")
				continue
			}
			d.failAt("", kv.Key, "unknown member %q; %s", name, wanted(name, known))
			continue
		}
		if _, seen := d.pos.places[name]; !seen {
			d.pos.places[name] = place{d.file, d.line(kv.Key)}
		}
		if f := set.Field(known[i].index); f.Kind() == reflect.Pointer { // a record, and there is one
			if first := d.pos.places[name]; !f.IsNil() {
				d.failAt(name, kv.Key, "%s is declared already, at %s:%d; it is declared once", name, first.file, first.line)
				continue
			}
			d.value(name, kv.Value, f)
			d.pos.places[name] = place{d.file, d.line(kv.Key)}
			continue
		}
		d.list(name, kv.Value, set.Field(known[i].index), true)
	}
}

// mapping is the members of n, each name a plain string, once.
func (d *decoder) mapping(at string, n ast.Node) ([]*ast.MappingValueNode, bool) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		d.failAt(at, n, "%s; members are wanted here, each a line `name: value`", describe(n))
		return nil, false
	}
	seen := map[string]bool{}
	for _, kv := range values {
		if _, ok := kv.Key.(*ast.StringNode); !ok {
			d.failAt(at, kv, "the name of a member is plain text, not %s", describe(kv.Key))
			return nil, false
		}
		name := kv.Key.String()
		if seen[name] {
			d.failAt(at, kv.Key, "member %q stands twice", name)
			return nil, false
		}
		seen[name] = true
	}
	return values, true
}

func (d *decoder) value(at string, n ast.Node, v reflect.Value) {
	d.pos.places[at] = place{d.file, d.line(n)}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if s, ok := d.text(at, n); ok {
			if err := t.UnmarshalText([]byte(s)); err != nil {
				d.failAt(at, n, "%v", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.record(at, n, v)
	case reflect.Slice:
		d.list(at, n, v, false)
	case reflect.Map:
		d.variables(at, n, v)
	case reflect.Pointer: // a record, a number that may be absent, or effects: absent, none, or a list
		list := reflect.New(v.Type().Elem())
		if list.Elem().Kind() == reflect.Struct {
			d.record(at, n, list.Elem())
			v.Set(list)
			return
		}
		if list.Elem().Kind() == reflect.Int {
			d.value(at, n, list.Elem())
			v.Set(list)
			return
		}
		if s, ok := n.(*ast.StringNode); ok && s.Value == "none" {
			list.Elem().Set(reflect.MakeSlice(v.Type().Elem(), 0, 0))
			v.Set(list)
			return
		}
		if seq, ok := n.(*ast.SequenceNode); !ok || len(seq.Values) == 0 {
			d.failAt(at, n, "%s; write a list of effects, or `none`", describe(n))
			return
		}
		d.list(at, n, list.Elem(), false)
		v.Set(list)
	case reflect.String:
		if s, ok := d.text(at, n); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.failAt(at, n, "%s; write true or false", describe(n))
			return
		}
		v.SetBool(b.Value)
	default:
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			d.failAt(at, n, "%s; a whole number is wanted", describe(n))
			return
		}
		digits := i.GetToken().Value
		number, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || strconv.FormatInt(number, 10) != digits {
			d.failAt(at, n, "write the number with decimal digits only, without a leading zero")
			return
		}
		if v.OverflowInt(number) {
			d.failAt(at, n, "the number is too large")
			return
		}
		v.SetInt(number)
	}
}

// variables reads a mapping of names to text, or to records.
func (d *decoder) variables(at string, n ast.Node, v reflect.Value) {
	values, ok := d.mapping(at, n)
	if !ok {
		return
	}
	m := reflect.MakeMap(v.Type())
	for _, kv := range values {
		name := kv.Key.String()
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(at+"."+name, kv.Value, value)
		m.SetMapIndex(reflect.ValueOf(name), value)
		d.pos.places[at+"."+name] = place{d.file, d.line(kv.Key)}
	}
	v.Set(m)
}

func (d *decoder) text(at string, n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		d.failAt(at, n, "%s; text is wanted: put it in double quotes", describe(n))
	case *ast.MappingNode, *ast.MappingValueNode:
		d.failAt(at, n, "%s; text is wanted: if it has a colon, put it in double quotes", describe(n))
	default:
		d.failAt(at, n, "%s; text is wanted", describe(n))
	}
	return "", false
}

// list appends to v. The items of a top list may continue those of another file.
func (d *decoder) list(at string, n ast.Node, v reflect.Value, top bool) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		hint := ""
		if _, scalar := n.(*ast.StringNode); scalar && v.Type().Elem().Kind() == reflect.String {
			hint = " in brackets, [a, b]"
		}
		d.failAt(at, n, "%s; a list is wanted%s", describe(n), hint)
		return
	}
	for _, item := range seq.Values {
		i := v.Len()
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		path := fmt.Sprintf("%s[%d]", at, i)
		d.value(path, item, v.Index(i))
		if top {
			d.unique(at, path, v.Index(i).FieldByName("Name").String())
		}
	}
}

// unique refuses a second record of the same name, also in another file.
func (d *decoder) unique(kind, at, name string) {
	first, taken := d.first[kind+"\x00"+name]
	if !taken {
		d.first[kind+"\x00"+name] = at
		d.pos.records[kind+"\x00"+name] = d.pos.places[at]
		return
	}
	if name != "" { // which is an error of its own
		file, line, _ := d.pos.Locate(first + ".name")
		d.wrong(at+".name", "%q is declared already, at %s:%d; a name is declared once", name, file, line)
	}
}

func (d *decoder) record(at string, n ast.Node, v reflect.Value) {
	isSource := v.Type() == reflect.TypeFor[remit.Source]()
	if _, scalar := n.(ast.ScalarNode); scalar && isSource {
		d.failAt(at, n, "a credential is never written in a declaration; say where it comes from: {from: file, name: /path}, {from: env, name: NAME} or {from: exec, argv: [command]}")
		return
	}
	values, ok := d.mapping(at, n)
	if !ok {
		return
	}
	known := members(v.Type())
	written := map[string]bool{}
	for _, kv := range values {
		name := kv.Key.String()
		i := slices.IndexFunc(known, func(m member) bool { return m.name == name })
		switch {
		case i >= 0:
			written[name] = true
			d.value(below(at, name), kv.Value, v.Field(known[i].index))
			// The line of a member is that of its name; a list or a text may begin below it.
			d.pos.places[below(at, name)] = place{d.file, d.line(kv.Key)}
		case isSource:
			d.failAt(at, kv.Key, "unknown member %q; a source has from, name, argv and user. A credential is never written in a declaration", name)
		default:
			d.failAt(at, kv.Key, "unknown member %q; %s", name, wanted(name, known))
		}
	}
	for _, m := range known {
		path := below(at, m.name)
		switch {
		case !m.required:
		case !written[m.name] && m.name == "effects":
			d.failAt(path, n, "missing; run `remit inspect REPO` to draft it, or write `effects: none` if a push or merge sets off nothing")
		case !written[m.name]:
			d.failAt(path, n, "missing")
		case empty(v.Field(m.index)) && !d.failed(path):
			d.wrong(path, "empty; it needs a value")
		}
	}
}

// below is the path of a member; at is empty for the document itself.
func below(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

func empty(v reflect.Value) bool {
	return (v.Kind() == reflect.String || v.Kind() == reflect.Slice) && v.Len() == 0
}

// failed tells whether an error of this very member is known.
func (d *decoder) failed(at string) bool {
	return slices.ContainsFunc(d.errs, func(e *Error) bool { return e.Path == at })
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.NullNode:
		return "nothing"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias, which declarations do not have; write it out"
	case *ast.TagNode:
		return "a tag, which declarations do not have"
	case *ast.MergeKeyNode:
		return "a merge key, which declarations do not have"
	case *ast.MappingKeyNode:
		return "a complex key"
	}
	return "something else"
}

// wanted says which member was likely meant, or which there are.
func wanted(name string, known []member) string {
	names := make([]string, len(known))
	for i, m := range known {
		names[i] = m.name
	}
	if s := nearest(name, names); s != "" {
		return fmt.Sprintf("%q is meant, perhaps", s)
	}
	return "there are " + strings.Join(names, ", ")
}

// nearest is the name that is at most two edits (a third of its length) away from s, or nothing.
func nearest(s string, names []string) string {
	best, found := 3, ""
	for _, n := range names {
		if d := distance(s, n); d < best && d*3 <= max(len(n), 3) {
			best, found = d, n
		}
	}
	return found
}

// distance is Levenshtein's.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
