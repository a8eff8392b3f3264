package evidence

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/remit-dev/remit"
)

//go:embed frameworks/*.yaml
var files embed.FS

// maxMap is the largest map, in bytes.
const maxMap = 256 << 10

// Framework is a reviewed map: what a published framework asks, which control of Remit answers it, and what none does.
type Framework struct {
	ID        string   `yaml:"id"`
	Title     string   `yaml:"title"`
	Publisher string   `yaml:"publisher"`
	Version   string   `yaml:"version"`
	Note      string   `yaml:"note"`
	Count     int      `yaml:"count"` // of items: one that was lost is noticed
	Sources   []Source `yaml:"sources"`
	Items     []Item   `yaml:"items"`

	Text []byte `yaml:"-"` // as it was read
}

// Source is a public text that a map rests on.
type Source struct {
	Title string `yaml:"title"`
	URL   string `yaml:"url"`
}

// Item is one item of a framework.
type Item struct {
	ID       string   `yaml:"id"`
	Title    string   `yaml:"title"`    // as published
	Controls []string `yaml:"controls"` // names of ours; none: nothing of Remit answers it
	Gaps     []string `yaml:"gaps"`     // what they do not cover, at least one: no control covers all
}

// Names lists the shipped maps.
func Names() []string {
	var names []string
	entries, err := fs.ReadDir(files, "frameworks")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Load reads a shipped map by its name.
func Load(name string) (Framework, error) {
	if !slices.Contains(Names(), name) {
		return Framework{}, remit.Errorf(remit.NotFound, "there is no framework %.64q; there are %s", name, strings.Join(Names(), ", "))
	}
	text, err := files.ReadFile("frameworks/" + name + ".yaml")
	if err != nil {
		return Framework{}, remit.Errorf(remit.Internal, "the map of %s cannot be read: %w", name, err)
	}
	f, err := Parse("frameworks/"+name+".yaml", text)
	if err == nil && f.ID != name {
		err = wrong("frameworks/"+name+".yaml", 1, "id: %q; it is that of the file, %q", f.ID, name)
	}
	return f, err
}

// itemID is what frameworks name their items by.
var itemID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 .:_-]{0,39}$`)

// Parse reads a map strictly. The error names file and line of the first thing that is wrong.
func Parse(file string, text []byte) (Framework, error) {
	var f Framework
	if len(text) > maxMap || !utf8.Valid(text) {
		return f, wrong(file, 1, "a map is UTF-8 text of at most %d bytes", maxMap)
	}
	if line := tooDeep(text); line > 0 {
		return f, wrong(file, line, "a map is a list of items, and nothing in it is nested deeper than that")
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		return f, wrong(file, lineOf(err), "it is not YAML: %s", firstLine(err))
	}
	if len(doc.Docs) != 1 || doc.Docs[0].Body == nil {
		return f, wrong(file, 1, "a map is one document with something in it")
	}
	var odd indirect
	if ast.Walk(&odd, doc.Docs[0]); odd.line > 0 {
		return f, wrong(file, odd.line, "a map has no anchors, aliases and tags, so that it is read as it is written")
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&f); err != nil {
		return f, wrong(file, lineOf(err), "it is not a map (id, title, publisher, version, note, count, sources, items): %s", firstLine(err))
	}
	f.Text = slices.Clone(text)
	return f, f.check(file, doc)
}

// indirect finds the first node that stands for something else than it says.
type indirect struct{ line int }

// Visit is part of ast.Visitor.
func (v *indirect) Visit(n ast.Node) ast.Visitor {
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType, ast.DirectiveType:
		if v.line == 0 {
			v.line = max(n.GetToken().Position.Line, 1)
		}
	}
	return v
}

// tooDeep is the first line that nests deeper than a map does; 0: none.
func tooDeep(text []byte) int {
	for i, line := range bytes.Split(text, []byte("\n")) {
		body := bytes.TrimLeft(line, " -?\t")
		if len(line)-len(body) > 16 || bytes.Count(line, []byte("[")) > 4 || bytes.Contains(line, []byte("{")) {
			return i + 1
		}
	}
	return 0
}

// check tells the first thing that is wrong with what was read.
func (f Framework) check(file string, doc *ast.File) error {
	fail := func(path, format string, args ...any) error {
		return wrong(file, place(doc, path), "%s: "+format, append([]any{strings.TrimPrefix(path, "$.")}, args...)...)
	}
	for _, m := range []struct{ name, value string }{{"id", f.ID}, {"title", f.Title}, {"publisher", f.Publisher}, {"version", f.Version}} {
		if !plain(m.value) {
			return fail("$."+m.name, "%.60q; it is one line of text", m.value)
		}
	}
	if len(f.Sources) == 0 {
		return fail("$.sources", "a map names the public texts that it rests on, and there is none")
	}
	for i, s := range f.Sources {
		at := fmt.Sprintf("$.sources[%d]", i)
		if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return fail(at+".url", "%.100q; it is an https address", s.URL)
		}
		if !plain(s.Title) {
			return fail(at+".title", "%.60q; it is one line of text", s.Title)
		}
	}
	if f.Count != len(f.Items) || f.Count == 0 {
		return fail("$.count", "it says %d, and there are %d items; was one lost?", f.Count, len(f.Items))
	}
	seen := map[string]bool{}
	for i, item := range f.Items {
		at := fmt.Sprintf("$.items[%d]", i)
		switch {
		case !itemID.MatchString(item.ID):
			return fail(at+".id", "%.60q; it is what the framework calls the item, such as ASI01", item.ID)
		case seen[item.ID]:
			return fail(at+".id", "%s is there twice", item.ID)
		case !plain(item.Title):
			return fail(at+".title", "%.60q; it is one line of text", item.Title)
		case len(item.Gaps) == 0:
			return fail(at, "%s says nothing of what is not covered (gaps); nothing is covered whole", item.ID)
		}
		seen[item.ID] = true
		for j, name := range item.Controls {
			path := fmt.Sprintf("%s.controls[%d]", at, j)
			if _, ok := find(name); !ok {
				return fail(path, "there is no control %.60q; there are %s", name, strings.Join(ControlNames(), ", "))
			}
			if slices.Index(item.Controls, name) != j {
				return fail(path, "%s is there twice", name)
			}
		}
		for j, gap := range item.Gaps {
			if !plain(gap) {
				return fail(fmt.Sprintf("%s.gaps[%d]", at, j), "%.60q; it is one line of text", gap)
			}
		}
	}
	return nil
}

// plain tells whether s is one line that shows as it is.
func plain(s string) bool {
	return s != "" && len(s) <= 500 && strings.TrimSpace(s) == s && remit.Visible(s) == s
}

// place is the line of a member, or of the nearest one that holds it.
func place(doc *ast.File, path string) int {
	for ; path != "$" && path != ""; path = path[:strings.LastIndexAny(path, ".[")] {
		p, err := yaml.PathString(path)
		if err != nil {
			continue
		}
		if n, err := p.FilterFile(doc); err == nil && n != nil && n.GetToken() != nil {
			return n.GetToken().Position.Line
		}
	}
	return 1
}

func wrong(file string, line int, format string, args ...any) error {
	return remit.Errorf(remit.BadRequest, "%s:%d: %s", file, line, fmt.Sprintf(format, args...))
}

var atLine = regexp.MustCompile(`\[(\d+):\d+\]`)

// lineOf is the line that the YAML reader complains of.
func lineOf(err error) int {
	line := 1
	if m := atLine.FindStringSubmatch(err.Error()); m != nil {
		_, _ = fmt.Sscan(m[1], &line)
	}
	return line
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	return atLine.ReplaceAllString(s, "")
}

// About is f without its items.
func (f Framework) About() remit.EvidenceFramework {
	out := remit.EvidenceFramework{ID: f.ID, Title: f.Title, Publisher: f.Publisher, Version: f.Version, Note: f.Note, Sources: []remit.EvidenceSource{}, Map: remit.Hash(f.Text)}
	for _, s := range f.Sources {
		out.Sources = append(out.Sources, remit.EvidenceSource(s))
	}
	return out
}
