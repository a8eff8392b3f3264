package object

import "strings"

// The modes that a tree entry can have.
const (
	ModeTree    uint32 = 0o040000
	ModeFile    uint32 = 0o100644
	ModeExec    uint32 = 0o100755
	ModeSymlink uint32 = 0o120000
	ModeGitlink uint32 = 0o160000
)

// Entry is one line of a tree. Name holds the bytes as they stand, which need
// not be UTF-8.
type Entry struct {
	Mode uint32
	OID  OID
	Name string
}

// ParseTree reads a tree that somebody wants to bring in: entries sorted as
// git sorts them, each name once (also not as both file and directory), modes
// written canonically, and no name that git itself must not check out.
func ParseTree(data []byte) ([]Entry, error) { return parseTree(data, true) }

// ParseKnownTree reads a tree that upstream already has. It differs in two
// mistakes of old git versions, which it repairs as git does: modes with a
// leading zero, and mode 100664, read as 100644. Names are not judged.
func ParseKnownTree(data []byte) ([]Entry, error) { return parseTree(data, false) }

func parseTree(data []byte, strict bool) ([]Entry, error) {
	if len(data) > MaxTree {
		return nil, Refuse(CodeBadObject, "", "the tree is %d bytes long, above the limit of %d", len(data), MaxTree)
	}
	// One string for all names: they then cost no allocation each.
	text := string(data)
	entries := make([]Entry, 0, len(data)/36)
	for pos := 0; pos < len(text); {
		space := strings.IndexByte(text[pos:], ' ')
		if space < 1 || space > 7 {
			return nil, Refuse(CodeBadObject, "", "entry %d of the tree does not begin with a mode", len(entries)+1)
		}
		mode, err := parseMode(text[pos:pos+space], strict)
		if err != nil {
			return nil, err
		}
		pos += space + 1
		end := strings.IndexByte(text[pos:], 0)
		if end < 0 || len(text)-pos-end-1 < len(OID{}) {
			return nil, Refuse(CodeBadObject, "", "entry %d of the tree is cut short", len(entries)+1)
		}
		e := Entry{Mode: mode, Name: text[pos : pos+end]}
		pos += end + 1
		copy(e.OID[:], data[pos:])
		pos += len(OID{})
		if err := checkEntry(entries, e, strict); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func parseMode(s string, strict bool) (uint32, error) {
	switch s {
	case "100644":
		return ModeFile, nil
	case "100755":
		return ModeExec, nil
	case "40000":
		return ModeTree, nil
	case "120000":
		return ModeSymlink, nil
	case "160000":
		return ModeGitlink, nil
	}
	if !strict {
		switch strings.TrimLeft(s, "0") {
		case "40000":
			return ModeTree, nil
		case "100664", "100644":
			return ModeFile, nil
		case "100755":
			return ModeExec, nil
		}
	}
	return 0, Refuse(CodeBadObject, "", "the tree has an entry of mode %q; the modes are 100644, 100755, 120000, 160000 and 40000", s)
}

func checkEntry(before []Entry, e Entry, strict bool) error {
	switch {
	case e.Name == "":
		return Refuse(CodeBadObject, "", "the tree has an entry without a name")
	case e.Name == "." || e.Name == "..":
		return Refuse(CodeBadObject, "", "the tree has an entry named %q", e.Name)
	case strings.IndexByte(e.Name, '/') >= 0:
		return Refuse(CodeBadObject, "", "the tree has an entry %q with a slash in its name", e.Name)
	case e.OID.IsZero():
		return Refuse(CodeBadObject, "", "the entry %q of the tree names no object", e.Name)
	}
	if len(before) > 0 {
		if last := before[len(before)-1]; compareEntries(last, e) >= 0 {
			return Refuse(CodeBadObject, "", "the entries %q and %q of the tree are not in git's order, or equal", last.Name, e.Name)
		}
	}
	// A file "a" sorts before "a.b", a directory "a" behind it: equal names
	// need not be neighbours. All between them begin with "a".
	for i := len(before) - 1; i >= 0 && strings.HasPrefix(before[i].Name, e.Name); i-- {
		if before[i].Name == e.Name {
			return Refuse(CodeBadObject, "", "the tree holds %q twice, as a file and as a directory", e.Name)
		}
	}
	if !strict {
		return nil
	}
	if isDotGit(e.Name) {
		return Refuse(CodeBadObject, "", "the tree has an entry %q, which some file systems take for .git", e.Name)
	}
	if e.Mode == ModeSymlink && IsDotGitmodules(e.Name) {
		return Refuse(CodeBadObject, "", "the tree has a symbolic link %q in the place of .gitmodules", e.Name)
	}
	return nil
}

// compareEntries is base_name_compare of git's read-cache.c: a directory
// sorts as if its name ended with a slash.
func compareEntries(a, b Entry) int {
	n := min(len(a.Name), len(b.Name))
	if c := strings.Compare(a.Name[:n], b.Name[:n]); c != 0 {
		return c
	}
	return int(after(a, n)) - int(after(b, n))
}

func after(e Entry, n int) byte {
	if n < len(e.Name) {
		return e.Name[n]
	}
	if e.Mode == ModeTree {
		return '/'
	}
	return 0
}

// AppendTree writes entries, already in git's order, in the format that
// ParseTree reads.
func AppendTree(dst []byte, entries []Entry) []byte {
	const digits = "01234567"
	for _, e := range entries {
		started := false
		for shift := 15; shift >= 0; shift -= 3 {
			d := e.Mode >> shift & 7
			if started = started || d != 0; started {
				dst = append(dst, digits[d])
			}
		}
		dst = append(append(append(append(dst, ' '), e.Name...), 0), e.OID[:]...)
	}
	return dst
}
