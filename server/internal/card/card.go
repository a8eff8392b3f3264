// Package card renders an access request as a page that reads well on a phone, by keyboard and without colours. The page
// loads nothing and can do nothing.
package card

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	"github.com/remit-dev/remit"
)

//go:embed card.html
var cardHTML string

//go:embed card.css
var cardCSS string

// Policy is the Content-Security-Policy of a page. It lets the page have its one style sheet and nothing else: no script, no image, no request.
var Policy = func() string {
	sum := sha256.Sum256([]byte(cardCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

var cardTemplate = template.Must(template.New("card").Funcs(template.FuncMap{
	"visible": visible,
	"time":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") },
	"zone":    zoneName,
	"join":    strings.Join,
	"short":   func(s string) string { return s[:min(len(s), 12)] },
}).Parse(cardHTML))

// page is what the template is given.
type page struct {
	remit.AccessView
	Org  remit.Org
	CSS  template.CSS
	Diff []diffLine
	Came []line // its receipt
}

// Page shows one card of an organisation.
func Page(org remit.Org, v remit.AccessView) ([]byte, error) {
	p := page{v, org, template.CSS(cardCSS), nil, receiptLines(v.Receipt)}
	if v.Shown != nil {
		p.Diff = diffLines(v.Shown.Diff)
	}
	var b bytes.Buffer
	if err := cardTemplate.Execute(&b, p); err != nil {
		return nil, remit.Errorf(remit.Internal, "rendering a card: %w", err)
	}
	return b.Bytes(), nil
}

// diffLine is a line of a unified diff with the class that colours it. The sign stands in the text as well: colour is
// not all that tells.
type diffLine struct{ Class, Text string }

func diffLines(diff string) []diffLine {
	if diff == "" {
		return nil
	}
	var out []diffLine
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
		out = append(out, diffLine{class, visible(line)})
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

// visible writes what a reader would not see as ⟨U+202E⟩. Tabs and line ends stay.
func visible(s string) string {
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

func zoneName(z remit.Zone) string {
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
