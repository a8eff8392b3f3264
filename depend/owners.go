package depend

import (
	"regexp"
	"strings"
)

// maxRules is how many lines of a CODEOWNERS file count.
const maxRules = 5_000

// Owners are the rules of a CODEOWNERS file. The last rule that matches a path names its owners.
type Owners []ownerRule

type ownerRule struct {
	match  *regexp.Regexp
	owners []string
}

// ParseOwners reads a CODEOWNERS file. Patterns are those of .gitignore, as GitHub and Forgejo's documents have them; one
// that no .gitignore holds, such as .*\.go$, is a regular expression over the whole path, as Gitea reads it. Lines that
// cannot be read own nothing.
func ParseOwners(file []byte) Owners {
	var out Owners
	for line := range strings.Lines(string(file[:min(len(file), MaxFile)])) {
		if i := strings.Index(line, " #"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], "[") || len(f[0]) > 500 {
			continue
		}
		re, err := regexp.Compile(expression(f[0]))
		if err != nil {
			continue
		}
		if out = append(out, ownerRule{re, f[1:]}); len(out) == maxRules {
			break
		}
	}
	return out
}

// Of gives the owners of a path; none: nobody owns it.
func (o Owners) Of(path string) []string {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].match.MatchString(path) {
			return o[i].owners
		}
	}
	return nil
}

// expression is the regular expression of a pattern.
func expression(pattern string) string {
	if strings.Contains(pattern, ".*") || strings.ContainsAny(pattern, "^$()|+\\") {
		return "^(?:" + pattern + ")$"
	}
	rooted := strings.Contains(strings.TrimSuffix(pattern, "/"), "/")
	p := strings.TrimPrefix(pattern, "/")
	dir := strings.HasSuffix(p, "/")
	p = strings.TrimSuffix(p, "/")
	var b strings.Builder
	b.WriteString("^")
	if !rooted {
		b.WriteString("(?:.*/)?")
	}
	for len(p) > 0 {
		switch {
		case strings.HasPrefix(p, "**/"):
			b.WriteString("(?:.*/)?")
			p = p[3:]
		case strings.HasPrefix(p, "**"):
			b.WriteString(".*")
			p = p[2:]
		case p[0] == '*':
			b.WriteString("[^/]*")
			p = p[1:]
		case p[0] == '?':
			b.WriteString("[^/]")
			p = p[1:]
		default:
			n := strings.IndexAny(p, "*?")
			if n < 0 {
				n = len(p)
			}
			b.WriteString(regexp.QuoteMeta(p[:n]))
			p = p[n:]
		}
	}
	if dir {
		b.WriteString("/.*$")
	} else {
		// A pattern that names a directory owns what lies in it; one that ends in a lone star owns no deeper files.
		if strings.HasSuffix(pattern, "/*") {
			b.WriteString("$")
		} else {
			b.WriteString("(?:/.*)?$")
		}
	}
	return b.String()
}
