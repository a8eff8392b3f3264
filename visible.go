package remit

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden tells whether a reader would not see r as what it is: controls, what changes the direction of text (Unicode
// Standard Annex #9), blanks other than the space, letters that show nothing, private use, what no character is.
func Hidden(r rune) bool {
	return !unicode.IsPrint(r) || r == 0x2800 || unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// Visible is text from outside in one line, in which nothing hides: \u{202E} stands for what is Hidden, \xFF for a byte that
// is no UTF-8, and \n, \t and \r for themselves.
func Visible(s string) string { return visible(s, "") }

// VisibleText is Visible for text of several lines: line ends and tabs stay.
func VisibleText(s string) string { return visible(s, "\n\t") }

func visible(s, keep string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || Hidden(r) }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02X`, s[i])
		case strings.ContainsRune(keep, r) || !Hidden(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		default:
			fmt.Fprintf(&b, `\u{%04X}`, r)
		}
		i += n
	}
	return b.String()
}
