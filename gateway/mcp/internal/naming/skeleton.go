package naming

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Skeleton is the same for names that look alike: without case, compatibility forms (UAX 15), marks, what is not seen,
// what parts words, and with one letter for those that are drawn alike.
func Skeleton(name string) string {
	folded := cases.Fold().String(norm.NFKD.String(cases.Fold().String(norm.NFKC.String(name))))
	return strings.Map(func(r rune) rune {
		switch {
		case r == 'i' || r == '1' || r == '|' || r == 'ı':
			return 'l'
		case r == '0':
			return 'o'
		case twins[r] != 0:
			return twins[r]
		case r == '_' || r == '-' || r == '.' || unicode.IsSpace(r) || unicode.In(r, unicode.M, unicode.C, unicode.Dash, unicode.Other_Default_Ignorable_Code_Point):
			return -1
		}
		return r
	}, folded)
}

// twins are letters of other scripts that are drawn as a Latin small letter (UTS 39, confusables, after folding).
var twins = map[rune]rune{
	'а': 'a', 'в': 'b', 'с': 'c', 'ԁ': 'd', 'е': 'e', 'һ': 'h', 'і': 'l', 'ј': 'j', 'к': 'k', 'ӏ': 'l', 'м': 'm', 'п': 'n', 'о': 'o', 'р': 'p', 'ԛ': 'q',
	'ѕ': 's', 'т': 't', 'у': 'y', 'ԝ': 'w', 'х': 'x', 'ѵ': 'v',
	'α': 'a', 'β': 'b', 'ε': 'e', 'ι': 'l', 'κ': 'k', 'ν': 'v', 'ο': 'o', 'ρ': 'p', 'τ': 't', 'υ': 'u', 'χ': 'x', 'ɡ': 'g', 'ɑ': 'a',
}
