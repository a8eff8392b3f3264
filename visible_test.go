package remit_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

func TestVisible(t *testing.T) {
	for _, row := range []struct{ name, in, line, text string }{
		{"nothing", "", "", ""},
		{"words", "fix the typo — größer 修正 🙂", "fix the typo — größer 修正 🙂", "fix the typo — größer 修正 🙂"},
		{"what stands for the unknown", "a\ufffdb", "a\ufffdb", "a\ufffdb"},
		{"lines", "a\n\tb\r\n", `a\n\tb\r\n`, "a\n\tb\\r\n"},
		{"a terminal's escape", "\x1b[2J\x00\x7f\u009b", `\u{001B}[2J\u{0000}\u{007F}\u{009B}`, `\u{001B}[2J\u{0000}\u{007F}\u{009B}`},
		{"an override of direction", "src/\u202egnp.go\u2066", `src/\u{202E}gnp.go\u{2066}`, `src/\u{202E}gnp.go\u{2066}`},
		{"of no width", "a\u200bb\ufeff\u2060\u00ad", `a\u{200B}b\u{FEFF}\u{2060}\u{00AD}`, `a\u{200B}b\u{FEFF}\u{2060}\u{00AD}`},
		{"separators of lines", "a\u2028b\u2029\u0085", `a\u{2028}b\u{2029}\u{0085}`, `a\u{2028}b\u{2029}\u{0085}`},
		{"other blanks", "a\u00a0b\u3000\u2003", `a\u{00A0}b\u{3000}\u{2003}`, `a\u{00A0}b\u{3000}\u{2003}`},
		{"letters that show nothing", "\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4", `\u{115F}\u{1160}\u{3164}\u{FFA0}\u{2800}\u{034F}\u{17B4}`, `\u{115F}\u{1160}\u{3164}\u{FFA0}\u{2800}\u{034F}\u{17B4}`},
		{"tags and variants", "a\U000e0041\ufe0f\U000e0100", `a\u{E0041}\u{FE0F}\u{E0100}`, `a\u{E0041}\u{FE0F}\u{E0100}`},
		{"private use, and no character", "\ue000\ufdd0\U0010ffff", `\u{E000}\u{FDD0}\u{10FFFF}`, `\u{E000}\u{FDD0}\u{10FFFF}`},
		{"bytes that are no UTF-8", "a\xff\xc0\xaf\xed\xa0\x80", `a\xFF\xC0\xAF\xED\xA0\x80`, `a\xFF\xC0\xAF\xED\xA0\x80`},
	} {
		if got := remit.Visible(row.in); got != row.line {
			t.Errorf("%s: %q; want %q", row.name, got, row.line)
		}
		if got := remit.VisibleText(row.in); got != row.text {
			t.Errorf("%s, as text: %q; want %q", row.name, got, row.text)
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "fix it", "a\n\tb", "\u202e\u2066\u200b\ufeff\x00\xff", "\U000e0041\u3164\x7f", "\ufffd\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line, text := remit.Visible(s), remit.VisibleText(s)
		if !utf8.ValidString(line) || strings.ContainsFunc(line, remit.Hidden) {
			t.Errorf("%q hides something", line)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return remit.Hidden(r) && r != '\n' && r != '\t' }) || strings.Count(text, "\n") != strings.Count(s, "\n") {
			t.Errorf("%q hides something, or has other lines", text)
		}
		if remit.Visible(line) != line || remit.VisibleText(text) != text {
			t.Errorf("%q is made visible twice", s)
		}
		if len(s) < 64 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) || remit.Hidden(r) }) && line != s {
			t.Errorf("%q: letters become %q", s, line)
		}
	})
}
