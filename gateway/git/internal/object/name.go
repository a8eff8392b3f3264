package object

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// ignorable are the code points that HFS+ leaves out when it compares names
// (next_hfs_char in git's utf8.c), and further format characters that no
// reader sees: soft hyphen, word joiner, directional isolates, variation
// selectors, tags.
func ignorable(r rune) bool {
	return r == 0xfeff || r == 0xad || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) ||
		r == 0x034f || r == 0x115f || r == 0x1160 || r == 0x17b4 || r == 0x17b5 || r == 0x3164 || r == 0xffa0
}

// hfsIgnored is exactly the set of next_hfs_char.
func hfsIgnored(r rune) bool {
	return r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff
}

// Fold gives the form under which a path component is compared with policy:
// invisible code points removed, case folded, NFC, and without what NTFS drops
// (an alternate stream from ":" on, trailing dots and spaces). Components that
// any common file system takes for the same have the same Fold; the reverse
// does not hold, so Fold serves to protect and never to grant. "." and ".."
// and names of nothing but dots and spaces stay as they are.
func Fold(component string) string {
	ascii := true
	for i := range len(component) {
		ascii = ascii && component[i] < utf8.RuneSelf
	}
	if ascii {
		return trimNTFS(strings.ToLower(component))
	}
	s := component
	// Folding can uncover characters that fold again; three rounds suffice
	// for every code point, the fourth is a margin.
	for range 4 {
		next := strings.Map(func(r rune) rune {
			if ignorable(r) {
				return -1
			}
			return r
		}, norm.NFD.String(s))
		next = trimNTFS(norm.NFC.String(cases.Fold().String(next)))
		if next == s {
			break
		}
		s = next
	}
	return s
}

func trimNTFS(s string) string {
	if i := strings.IndexByte(s, ':'); i > 0 {
		s = s[:i]
	}
	if t := strings.TrimRight(s, ". "); t != "" {
		return t
	}
	return s
}

// FoldPath folds each component of a path. A backslash separates components
// too, as it does where a Windows client checks the tree out.
func FoldPath(path string) string {
	if strings.IndexByte(path, '\\') >= 0 {
		path = strings.ReplaceAll(path, "\\", "/")
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = Fold(p)
	}
	return strings.Join(parts, "/")
}

// Problem is something about a name that git accepts and people or file
// systems misread.
type Problem struct {
	Code     string
	Sentence string
}

// Codes of Problem.
const (
	NameControl   = "NAME_CONTROL"   // control characters, line feeds among them
	NameBackslash = "NAME_BACKSLASH" // a separator on Windows
	NameEncoding  = "NAME_ENCODING"  // not UTF-8, or not NFC
	NameInvisible = "NAME_INVISIBLE" // zero-width and directional characters
	NameTrailing  = "NAME_TRAILING"  // ends with a dot or space
	NameStream    = "NAME_STREAM"    // an NTFS alternate data stream
	NameShort     = "NAME_SHORT"     // has the form of an NTFS short name
	NameReserved  = "NAME_RESERVED"  // a device on Windows
	NameDotGit    = "NAME_DOT_GIT"   // taken for .git or a git-owned file somewhere
	NameTooLong   = "NAME_TOO_LONG"  // above 255 bytes
)

// CheckName lists what is wrong with a new name, in a fixed order; nil is the
// rule.
func CheckName(name string) []Problem {
	var out []Problem
	add := func(code, sentence string) { out = append(out, Problem{code, sentence}) }
	if isDotGit(name) || name == "." || name == ".." || strings.HasPrefix(strings.ToLower(name), "..git") {
		add(NameDotGit, "the name stands for .git or a parent directory on some file systems")
	}
	if len(name) > 255 {
		add(NameTooLong, "the name is longer than 255 bytes, which common file systems cannot hold")
	}
	var control, invisible bool
	for _, r := range name {
		control = control || unicode.IsControl(r)
		invisible = invisible || ignorable(r) || r == 0x2028 || r == 0x2029
	}
	if control {
		add(NameControl, "the name holds a control character")
	}
	if invisible {
		add(NameInvisible, "the name holds a character that cannot be seen")
	}
	if !utf8.ValidString(name) {
		add(NameEncoding, "the name is not UTF-8")
	} else if !norm.NFC.IsNormalString(name) {
		add(NameEncoding, "the name is not in Unicode's composed form (NFC), so that another file can look the same")
	}
	if strings.IndexByte(name, '\\') >= 0 {
		add(NameBackslash, "the name holds a backslash, which separates directories on Windows")
	}
	if strings.IndexByte(name, ':') >= 0 {
		add(NameStream, "the name holds a colon, which opens another stream of a file on NTFS")
	}
	if last := name[max(0, len(name)-1):]; last == "." || last == " " {
		add(NameTrailing, "the name ends with a dot or a space, which Windows drops")
	}
	if isShortName(name) {
		add(NameShort, "the name has the form of an NTFS short name, which can stand for another file")
	}
	if isReserved(name) {
		add(NameReserved, "the name is a device on Windows")
	}
	return out
}

// isShortName recognises 8.3 names such as GITHUB~1 for .github.
func isShortName(name string) bool {
	base, ext, _ := strings.Cut(name, ".")
	tilde := strings.LastIndexByte(base, '~')
	if tilde < 1 || len(base) > 8 || len(ext) > 3 || tilde == len(base)-1 {
		return false
	}
	return strings.Trim(base[tilde+1:], "0123456789") == ""
}

func isReserved(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToLower(strings.TrimRight(base, " "))
	switch base {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return true
	}
	if len(base) > 3 && (strings.HasPrefix(base, "com") || strings.HasPrefix(base, "lpt")) {
		switch base[3:] {
		case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
			return true
		}
	}
	return false
}

// isDotGit is has_dotgit of fsck_tree in git's fsck.c: the name, or what
// follows one of its backslashes, is .git on HFS+ or NTFS. Fold adds what only
// newer file systems ignore.
func isDotGit(name string) bool {
	if hfsIs(name, ".git") || Fold(name) == ".git" {
		return true
	}
	for {
		if ntfsDotGit(name) {
			return true
		}
		i := strings.IndexByte(name, '\\')
		if i < 0 {
			return false
		}
		name = name[i+1:]
	}
}

// hfsIs tells whether HFS+ takes name for plain, which is in lower case: without
// the code points that it ignores, and ASCII case folded. As for next_hfs_char
// of git's utf8.c, a name ends where its UTF-8 does: ".git\xff" is ".git".
func hfsIs(name, plain string) bool {
	for i, r := range name {
		if r == utf8.RuneError && !strings.HasPrefix(name[i:], "\ufffd") || r == 0xfffe || r == 0xffff {
			break
		}
		if hfsIgnored(r) {
			continue
		}
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		if plain == "" || r != rune(plain[0]) {
			return false
		}
		plain = plain[1:]
	}
	return plain == ""
}

// ntfsDotGit is is_ntfs_dotgit of git's path.c.
func ntfsDotGit(name string) bool {
	var rest string
	switch {
	case len(name) >= 4 && strings.EqualFold(name[:4], ".git"):
		rest = name[4:]
	case len(name) >= 5 && strings.EqualFold(name[:5], "git~1"):
		rest = name[5:]
	default:
		return false
	}
	return ntfsEnd(rest, "\\:")
}

// ntfsEnd tells whether nothing but dots and spaces comes before the end or
// one of the given characters.
func ntfsEnd(rest, stops string) bool {
	rest = strings.TrimLeft(rest, ". ")
	return rest == "" || strings.IndexByte(stops, rest[0]) >= 0
}

// IsDotGitmodules tells whether some file system takes a name for .gitmodules:
// is_hfs_dotgitmodules and is_ntfs_dotgitmodules of git's path.c.
func IsDotGitmodules(name string) bool {
	const dot, prefix = ".gitmodules", "gi7eba"
	if hfsIs(name, dot) {
		return true
	}
	for part := range strings.SplitSeq(name, "\\") {
		lower := strings.ToLower(part)
		if strings.HasPrefix(lower, dot) && ntfsEnd(lower[len(dot):], ":") {
			return true
		}
		if len(lower) >= 8 && lower[:7] == dot[1:7]+"~" && lower[7] >= '1' && lower[7] <= '4' && ntfsEnd(lower[8:], ":") {
			return true
		}
		if len(lower) >= 8 {
			base, digits, found := strings.Cut(lower[:8], "~")
			if found && strings.HasPrefix(prefix, base) && digits != "" && digits[0] != '0' &&
				strings.Trim(digits, "0123456789") == "" && ntfsEnd(lower[8:], ":") {
				return true
			}
		}
	}
	return false
}
