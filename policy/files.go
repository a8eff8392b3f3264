package policy

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

const (
	// MaxModules is the most modules of a bundle, tests included.
	MaxModules = 64
	// MaxBytes is the most text of a bundle, names and tests included.
	MaxBytes = 1 << 20

	maxModuleName = 128
	// magic separates the digest of a bundle from every other digest.
	magic = "remit policy bundle v1\n"
)

//go:embed builtin/*.rego
var builtin embed.FS

// Builtin is the bundle that a new organisation starts with, tests included, sorted by name. It repeats nothing that the
// compiled rules do.
func Builtin() []remit.PolicyFile {
	names, err := fs.Glob(builtin, "builtin/*.rego")
	if err != nil {
		panic("policy: the pattern is constant: " + err.Error())
	}
	files := make([]remit.PolicyFile, 0, len(names))
	for _, name := range names {
		text, err := builtin.ReadFile(name)
		if err != nil {
			panic("policy: the file is embedded: " + err.Error())
		}
		files = append(files, remit.PolicyFile{Name: strings.TrimPrefix(name, "builtin/"), Text: string(text)})
	}
	return files
}

// Encode is the one encoding of a bundle, independent of the order of files: a line that names the format, then, sorted
// by name, for each module a line "NAME BYTES", its text and a line end. It is kept for replay.
func Encode(files []remit.PolicyFile) ([]byte, error) {
	sorted, err := arrange(files)
	if err != nil {
		return nil, err
	}
	return encode(sorted), nil
}

func encode(sorted []remit.PolicyFile) []byte {
	b := []byte(magic)
	for _, f := range sorted {
		b = fmt.Appendf(b, "%s %d\n%s\n", f.Name, len(f.Text), f.Text)
	}
	return b
}

// Decode reads what Encode writes and nothing else.
func Decode(b []byte) ([]remit.PolicyFile, error) {
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, remit.Errorf(remit.BadRequest, "not a policy bundle: it begins with the line %q", strings.TrimSpace(magic))
	}
	var files []remit.PolicyFile
	for len(rest) > 0 {
		if len(files) == MaxModules {
			return nil, remit.Errorf(remit.TooLarge, "a policy bundle has at most %d modules", MaxModules)
		}
		head, _, _ := bytes.Cut(rest[:min(len(rest), maxModuleName+16)], []byte("\n"))
		name, size, _ := strings.Cut(string(head), " ")
		n, err := strconv.ParseUint(size, 10, 32)
		body := rest[min(len(rest), len(head)+1):]
		if err != nil || n >= uint64(len(body)) || body[n] != '\n' {
			return nil, remit.Errorf(remit.BadRequest, "module %d of the policy bundle is cut off or malformed", len(files)+1)
		}
		files = append(files, remit.PolicyFile{Name: name, Text: string(body[:n])})
		rest = body[n+1:]
	}
	sorted, err := arrange(files)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(encode(sorted), b) {
		return nil, remit.Errorf(remit.BadRequest, "the policy bundle is not in its one encoding")
	}
	return sorted, nil
}

// arrange is files sorted by name, checked for everything that needs no parser.
func arrange(files []remit.PolicyFile) ([]remit.PolicyFile, error) {
	if len(files) > MaxModules {
		return nil, remit.Errorf(remit.TooLarge, "a policy bundle has at most %d modules, not %d", MaxModules, len(files))
	}
	sorted := slices.Clone(files)
	slices.SortStableFunc(sorted, func(a, b remit.PolicyFile) int { return strings.Compare(a.Name, b.Name) })
	total := 0
	for i, f := range sorted {
		if err := checkName(f.Name); err != nil {
			return nil, remit.Errorf(remit.BadRequest, "policy module %q: %w", f.Name, err)
		}
		if i > 0 && sorted[i-1].Name == f.Name {
			return nil, remit.Errorf(remit.BadRequest, "policy module %q stands twice; a name is one module", f.Name)
		}
		if !utf8.ValidString(f.Text) {
			return nil, remit.Errorf(remit.BadRequest, "policy module %q is not UTF-8 text", f.Name)
		}
		if total += len(f.Name) + len(f.Text); total > MaxBytes {
			return nil, remit.Errorf(remit.TooLarge, "a policy bundle has at most %d bytes; module %q goes beyond", MaxBytes, f.Name)
		}
	}
	return sorted, nil
}

func checkName(name string) error {
	if len(name) > maxModuleName {
		return fmt.Errorf("a name has at most %d bytes", maxModuleName)
	}
	if !strings.HasSuffix(name, ".rego") {
		return fmt.Errorf("a name ends in .rego")
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg == "" || seg[0] == '.' {
			return fmt.Errorf("a name is a relative path; no segment is empty or begins with a dot")
		}
		for i := range len(seg) {
			c := seg[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
				return fmt.Errorf("a name has letters, digits, '-', '_', '.' and '/' only")
			}
		}
	}
	return nil
}
