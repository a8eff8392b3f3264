package declare

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/remit-dev/remit"
)

const (
	// MaxFile is the largest file, in bytes.
	MaxFile = 1 << 20
	// MaxTotal is the most bytes of all files together.
	MaxTotal = 4 << 20

	maxDepth = 24 // of brackets, and of indentation by two
)

// Error is one thing that is wrong, and where.
type Error struct {
	File     string
	Line     int    // from 1; 0: the file as a whole
	Path     string // of the member, such as agents[2].owner; empty: the file is not the YAML that is wanted
	Sentence string
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	return b.String() + e.Sentence
}

// Errors is all that is wrong, by file and line.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

type place struct {
	file string
	line int
}

// Positions knows where each member of a set of declarations was written.
type Positions struct {
	places  map[string]place
	records map[string]place // by list and name
}

// Locate finds the place of a path such as agents[2].owner, or, where the member was not written, of the nearest one
// that holds it. So an error that a server gives as remit.DeclarationError is shown with its file and line.
func (p *Positions) Locate(at string) (file string, line int, ok bool) {
	if p == nil {
		return "", 0, false
	}
	for at != "" {
		if pl, ok := p.places[at]; ok {
			return pl.file, pl.line, true
		}
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	return "", 0, false
}

// Find is where the record of a name stands in a list, such as agents.
func (p *Positions) Find(list, name string) (file string, line int, ok bool) {
	if p == nil || list == "" {
		return "", 0, false
	}
	pl, ok := p.records[list+"\x00"+name]
	return pl.file, pl.line, ok
}

// Read reads the declarations in the root of dir: every file *.yaml and *.yml, in the order of their names, as one set,
// and the Rego modules policy/*.rego. The error is of type Errors, except where dir itself cannot be read; Positions are
// never nil.
func Read(dir fs.FS) (*remit.Declarations, *Positions, error) {
	r := &reader{pos: &Positions{places: map[string]place{}, records: map[string]place{}}, first: map[string]string{}}
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, r.pos, fmt.Errorf("reading the declarations: %w", err)
	}
	found := false
	for _, e := range entries {
		ext := strings.ToLower(path.Ext(e.Name()))
		if strings.HasPrefix(e.Name(), ".") || ext != ".yaml" && ext != ".yml" {
			continue
		}
		found = true
		if text, ok := r.load(dir, e.Name()); ok {
			r.file(e.Name(), text)
		}
	}
	if !found {
		r.fail("", place{}, "there is no file *.yaml here; an empty set would remove everything. Write one, for instance with `people: []`")
	}
	r.policy(dir)
	if len(r.errs) == 0 {
		check(r)
	}
	if len(r.errs) > 0 {
		return nil, r.pos, r.sorted()
	}
	return &r.set, r.pos, nil
}

// sorted is all that is wrong, by file and line.
func (r *reader) sorted() Errors {
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return r.errs
}

type reader struct {
	set   remit.Declarations
	pos   *Positions
	errs  Errors
	total int
	first map[string]string // kind and name: path of the first record of that name
}

func (r *reader) fail(at string, where place, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: where.file, Line: where.line, Path: at, Sentence: fmt.Sprintf(format, args...)})
}

// wrong fails at a member that was read.
func (r *reader) wrong(at, format string, args ...any) {
	file, line, _ := r.pos.Locate(at)
	r.fail(at, place{file, line}, format, args...)
}

// load reads one file within the limits.
func (r *reader) load(dir fs.FS, name string) (string, bool) {
	f, err := dir.Open(name)
	if err != nil {
		r.fail("", place{file: name}, "it cannot be opened: %v", err)
		return "", false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		r.fail("", place{file: name}, "it cannot be read: %v", err)
		return "", false
	}
	r.total += len(b)
	switch {
	case len(b) > MaxFile:
		r.fail("", place{file: name}, "it is larger than %d bytes; split it", MaxFile)
		return "", false
	case r.total > MaxTotal:
		r.fail("", place{file: name}, "with it, the files are larger than %d bytes together", MaxTotal)
		return "", false
	case !utf8.Valid(b):
		r.fail("", place{file: name, line: 1 + bytes.Count(b[:invalid(b)], []byte("\n"))}, "not UTF-8 text")
		return "", false
	}
	return string(b), true
}

// invalid is where b stops being UTF-8.
func invalid(b []byte) int {
	for i := 0; i < len(b); {
		c, n := utf8.DecodeRune(b[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

func (r *reader) policy(dir fs.FS) {
	entries, err := fs.ReadDir(dir, "policy")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.fail("", place{file: "policy"}, "it cannot be read: %v", err)
		return
	}
	for _, e := range entries {
		name := path.Join("policy", e.Name())
		if e.IsDir() {
			r.fail("", place{file: name}, "a directory; modules lie directly in policy/")
			continue
		}
		if path.Ext(name) != ".rego" {
			continue
		}
		if text, ok := r.load(dir, name); ok {
			r.pos.places[fmt.Sprintf("policy[%d]", len(r.set.Policy))] = place{name, 1}
			r.set.Policy = append(r.set.Policy, remit.PolicyFile{Name: e.Name(), Text: text})
		}
	}
}

func (r *reader) file(name, text string) {
	if body := r.document(name, text); body != nil {
		d := decoder{reader: r, file: name}
		d.top(body)
	}
}

// document is what the one document of a file says; nil where it says nothing, or is not what is wanted.
func (r *reader) document(name, text string) ast.Node {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if line, sentence := plain(text); sentence != "" {
		r.fail("", place{name, line}, "%s", sentence)
		return nil
	}
	doc, err := parse(text)
	if err != nil {
		line, sentence := 0, "it is not YAML"
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			line, sentence = syntax.Token.Position.Line, "not YAML: "+syntax.Message
		}
		r.fail("", place{name, line}, "%s", sentence)
		return nil
	}
	switch {
	case len(doc.Docs) > 1:
		second := doc.Docs[1]
		line := 0
		if second.Start != nil {
			line = second.Start.Position.Line
		}
		r.fail("", place{name, line}, "one file is one document; remove %q and what stands before or after it, or write two files", "---")
		return nil
	case len(doc.Docs) == 0 || doc.Docs[0].Body == nil: // comments only
		return nil
	}
	return doc.Docs[0].Body
}

// parse is the parser with what it may not be asked: its faults are errors.
func parse(text string) (doc *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			doc, err = nil, errors.New("the parser failed")
		}
	}()
	return parser.ParseBytes([]byte(text), 0)
}

// plain refuses what no declaration needs, before the parser sees it: tabs and other control characters, and nesting
// that only an attack on the parser has.
func plain(text string) (line int, sentence string) {
	depth := 0
	for i, l := range strings.Split(text, "\n") {
		body := strings.TrimLeft(l, " ")
		if dashes := len(body) - len(strings.TrimLeft(body, "-? ")); len(l)-len(body) > 2*maxDepth || dashes > 2*maxDepth {
			return i + 1, fmt.Sprintf("indented by more than %d; declarations are not that deep", 2*maxDepth)
		}
		for _, c := range l {
			switch {
			case c == '\t':
				return i + 1, `a tab; YAML is indented with spaces (write \t within double quotes)`
			case c < ' ' || c >= 0x7f && c < 0xa0 || c == 0xfeff || c == 0x2028 || c == 0x2029:
				return i + 1, fmt.Sprintf("the character U+%04X; declarations are plain text", c)
			case c == '[' || c == '{':
				depth++
			case (c == ']' || c == '}') && depth > 0:
				depth--
			}
		}
		if depth > maxDepth {
			return i + 1, fmt.Sprintf("more than %d brackets are open", maxDepth)
		}
	}
	return 0, ""
}
