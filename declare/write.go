package declare

import (
	"bytes"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
)

// files is which members Write puts where.
var files = []struct {
	name    string
	members []string
}{
	{"people.yaml", []string{"people", "groups"}},
	{"agents.yaml", []string{"agents"}},
	{"repositories.yaml", []string{"upstreams", "repositories"}},
	{"environments.yaml", []string{"environments"}},
	{"secrets.yaml", []string{"secrets"}},
	{"tools.yaml", []string{"tools"}},
	{"boundaries.yaml", []string{"boundaries"}},
	{"detections.yaml", []string{"detections"}},
	{"activation.yaml", []string{"activation"}},
	{"break-glass.yaml", []string{"break_glass"}},
	{"notify.yaml", []string{"notify", "escalations"}},
	{"reviews.yaml", []string{"campaigns", "reviews"}},
}

// Write is the files, by name, that Read reads back as an equal set. An empty set is a file that says so.
func Write(set *remit.Declarations) map[string][]byte {
	out := map[string][]byte{}
	v := reflect.ValueOf(set).Elem()
	for _, f := range files {
		var b bytes.Buffer
		for _, m := range members(v.Type()) {
			for _, name := range f.members {
				if f := v.Field(m.index); m.name == name && !f.IsZero() {
					if b.Len() > 0 {
						b.WriteByte('\n')
					}
					b.WriteString(name + ":")
					writeTop(&b, f)
				}
			}
		}
		if b.Len() > 0 {
			out[f.name] = b.Bytes()
		}
	}
	if len(out) == 0 {
		out[files[0].name] = []byte("people: []\n")
	}
	for _, p := range set.Policy {
		out[path.Join("policy", p.Name)] = []byte(p.Text)
	}
	return out
}

// writeTop writes a list of records, or the one record of its kind.
func writeTop(b *bytes.Buffer, f reflect.Value) {
	switch {
	case f.Kind() == reflect.Slice:
		b.WriteByte('\n')
		writeRecords(b, f, "  ")
	case f.Elem().IsZero():
		b.WriteString(" {}\n")
	default:
		b.WriteByte('\n')
		writeMembers(b, f.Elem(), "  ")
	}
}

// writeRecords writes a list of structs, each with its first member after the dash.
func writeRecords(b *bytes.Buffer, list reflect.Value, indent string) {
	for i := range list.Len() {
		var item bytes.Buffer
		writeMembers(&item, list.Index(i), indent+"  ")
		b.WriteString(indent + "- ")
		b.Write(bytes.TrimPrefix(item.Bytes(), []byte(indent+"  ")))
	}
}

func writeMembers(b *bytes.Buffer, v reflect.Value, indent string) {
	for _, m := range members(v.Type()) {
		f := v.Field(m.index)
		if f.IsZero() || (f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.Len() == 0 {
			continue
		}
		b.WriteString(indent + m.name + ":")
		if f.Kind() == reflect.Pointer {
			if f = f.Elem(); f.Kind() == reflect.Slice && f.Len() == 0 {
				b.WriteString(" none\n")
				continue
			}
		}
		switch {
		case f.Kind() == reflect.Struct:
			b.WriteByte('\n')
			writeMembers(b, f, indent+"  ")
		case f.Kind() == reflect.Map:
			b.WriteByte('\n')
			names := f.MapKeys()
			slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			for _, name := range names {
				b.WriteString(indent + "  " + scalar(name) + ":")
				if v := f.MapIndex(name); v.Kind() == reflect.Struct {
					b.WriteByte('\n')
					writeMembers(b, v, indent+"    ")
				} else {
					b.WriteString(" " + scalar(v) + "\n")
				}
			}
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			b.WriteByte('\n')
			writeRecords(b, f, indent+"  ")
		case f.Kind() == reflect.Slice:
			writeList(b, f, indent)
		default:
			b.WriteString(" " + scalar(f) + "\n")
		}
	}
}

// writeList writes short lists in brackets, others a line each.
func writeList(b *bytes.Buffer, list reflect.Value, indent string) {
	items := make([]string, list.Len())
	for i := range items {
		items[i] = scalar(list.Index(i))
	}
	if line := " [" + strings.Join(items, ", ") + "]\n"; len(indent)+len(line) < 100 {
		b.WriteString(line)
		return
	}
	b.WriteByte('\n')
	for _, item := range items {
		b.WriteString(indent + "  - " + item + "\n")
	}
}

// bare is text that every reader of YAML takes for the same text, also in brackets.
var bare = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._@+=*-]*(:[A-Za-z0-9/][A-Za-z0-9/._@+=*-]*)?( [A-Za-z0-9/(][A-Za-z0-9/._@+=*()-]*)*$`)

// reserved is text that some readers of YAML take for something else.
var reserved = regexp.MustCompile(`(?i)^(true|false|null|yes|no|on|off|y|n)$`)

func scalar(v reflect.Value) string {
	if m, ok := v.Interface().(fmt.Stringer); ok { // a digest
		return plainOrQuoted(m.String())
	}
	switch v.Kind() {
	case reflect.String:
		return plainOrQuoted(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	default:
		return strconv.FormatInt(v.Int(), 10)
	}
}

func plainOrQuoted(s string) string {
	if bare.MatchString(s) && !reserved.MatchString(s) {
		return s
	}
	return quote(s)
}

// quote is s in double quotes, with the escapes that YAML 1.2 §5.7 has.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c >= 0x7f && c < 0xa0:
			fmt.Fprintf(&b, `\x%02X`, c)
		case c == 0x2028 || c == 0x2029 || c == 0xfeff:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
