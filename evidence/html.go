package evidence

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/remit-dev/remit"
)

//go:embed page.html
var pageFile embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"mark":    mark,
	"entries": Entries,
	"control": func(r remit.EvidenceReport, name string) remit.EvidenceControl {
		for _, c := range r.Controls {
			if c.Name == name {
				return c
			}
		}
		return remit.EvidenceControl{}
	},
	"count": func(r remit.EvidenceReport, s string) (n int) {
		for _, item := range r.Items {
			if string(item.State) == s {
				n++
			}
		}
		return n
	},
}).ParseFS(pageFile, "page.html"))

// HTML writes a report as one page that needs nothing else, for a browser and for paper.
func HTML(w io.Writer, r remit.EvidenceReport) error {
	if err := page.Execute(w, r); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// mark is the class of a state.
func mark(s remit.EvidenceState) string { return strings.ReplaceAll(string(s), " ", "-") }

// Entries says on which entries something rests: all of them, or the first and the last.
func Entries(e remit.EvidenceEntries) string {
	if e.Count == 0 {
		return ""
	}
	var b strings.Builder
	for n, i := range e.Listed {
		switch {
		case n == len(e.Listed)/2 && e.Count > len(e.Listed):
			fmt.Fprintf(&b, " … %d more … ", e.Count-len(e.Listed))
		case n > 0:
			b.WriteString(" ")
		}
		fmt.Fprint(&b, i)
	}
	return b.String()
}
