package remit

import (
	"fmt"
	"strings"
)

// Resource is a typed name, TYPE:SEGMENT(/SEGMENT)*, such as repo:forge/acme/payments. A segment is one or more of
// A-Z a-z 0-9 . _ ~ -, other bytes %XX in upper case. Names are compared byte for byte.
type Resource string

// Pattern is a Resource, or one that ends in /* (exactly one more segment) or /** (one or more segments). Refs and
// paths are matched by the same three forms, without a type: refs/heads/remit/T-12/**, src/**. As the star stands
// only at the end, containment and intersection are decidable.
type Pattern string

// MaxName is the longest resource name or pattern, in bytes.
const MaxName = 512

// ParseResource checks s; the error says what is wrong and what would be right.
func ParseResource(s string) (Resource, error) {
	if err := checkName(s, false); err != nil {
		return "", err
	}
	return Resource(s), nil
}

// ParsePattern checks s as ParseResource does, and allows a last segment * or **.
func ParsePattern(s string) (Pattern, error) {
	if err := checkName(s, true); err != nil {
		return "", err
	}
	return Pattern(s), nil
}

// Type is the part before the colon.
func (r Resource) Type() string {
	typ, _, _ := strings.Cut(string(r), ":")
	return typ
}

// Name is the part after the colon.
func (r Resource) Name() string {
	_, name, _ := strings.Cut(string(r), ":")
	return name
}

func checkName(s string, pattern bool) error {
	if len(s) > MaxName {
		return fmt.Errorf("name of %d bytes; at most %d", len(s), MaxName)
	}
	typ, rest, ok := strings.Cut(s, ":")
	if !ok || typ == "" {
		return fmt.Errorf("%q has no type; write TYPE:NAME, for instance repo:forge/acme/payments", s)
	}
	for i := range len(typ) {
		if c := typ[i]; (c < 'a' || c > 'z') && c != '_' {
			return fmt.Errorf("%q: a type is lower-case letters", s)
		}
	}
	segs := strings.Split(rest, "/")
	for i, seg := range segs {
		if pattern && i == len(segs)-1 && (seg == "*" || seg == "**") && i > 0 {
			continue
		}
		if err := checkSegment(seg); err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
	}
	return nil
}

func checkSegment(seg string) error {
	if seg == "" || seg == "." || seg == ".." {
		return fmt.Errorf("segment %q is not a name", seg)
	}
	for i := 0; i < len(seg); i++ {
		c := seg[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '~', c == '-':
		case c == '%':
			if i+2 >= len(seg) || !upperHex(seg[i+1]) || !upperHex(seg[i+2]) {
				return fmt.Errorf("segment %q: %% is followed by two upper-case hex digits", seg)
			}
			i += 2
		case c == '*':
			return fmt.Errorf("segment %q: * and ** stand alone, as the last segment of a pattern", seg)
		default:
			return fmt.Errorf("segment %q: write byte %q as %%%02X", seg, c, c)
		}
	}
	return nil
}

func upperHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// split gives the literal prefix of p and how it ends: "" (exact), "*" or "**".
func (p Pattern) split() (prefix, tail string) {
	s := string(p)
	if rest, ok := strings.CutSuffix(s, "/**"); ok {
		return rest, "**"
	}
	if rest, ok := strings.CutSuffix(s, "/*"); ok {
		return rest, "*"
	}
	return s, ""
}

// Match tells whether p covers r. A star in r is a byte like any other: paths may have some.
func (p Pattern) Match(r Resource) bool {
	prefix, tail := p.split()
	if tail == "" {
		return string(p) == string(r)
	}
	rest, ok := strings.CutPrefix(string(r), prefix+"/")
	return ok && rest != "" && (tail == "**" || !strings.Contains(rest, "/"))
}

// Contains tells whether p covers everything that q covers (R5).
func (p Pattern) Contains(q Pattern) bool {
	pp, pt := p.split()
	qp, qt := q.split()
	switch pt {
	case "":
		return qt == "" && pp == qp
	case "*":
		if qt == "*" {
			return pp == qp
		}
		rest, ok := strings.CutPrefix(qp, pp+"/")
		return qt == "" && ok && rest != "" && !strings.Contains(rest, "/")
	default:
		if qt == "" {
			rest, ok := strings.CutPrefix(qp, pp+"/")
			return ok && rest != ""
		}
		return qp == pp || strings.HasPrefix(qp, pp+"/")
	}
}

// Intersect is the pattern of what both cover; ok is false if that is nothing. Because * and ** stand only at the end,
// of two patterns that overlap one contains the other.
func (p Pattern) Intersect(q Pattern) (_ Pattern, ok bool) {
	if p.Contains(q) {
		return q, true
	}
	if q.Contains(p) {
		return p, true
	}
	return "", false
}

// ParseRefPattern checks a pattern over full ref names: it begins with refs/heads/ or refs/tags/ and is literal but for
// a last /* or /**.
func ParseRefPattern(s string) (Pattern, error) {
	prefix, _ := Pattern(s).split()
	if !strings.HasPrefix(s, "refs/heads/") && !strings.HasPrefix(s, "refs/tags/") {
		return "", fmt.Errorf("%q: a ref pattern is a full name, for instance refs/heads/main or refs/heads/release/**", s)
	}
	return parsePlain(s, prefix)
}

// ParsePathPattern checks a pattern over the paths of a repository: segments parted by /, literal but for a last /* or
// /**. A pattern that begins with **/ matches the rest at any depth; such a pattern protects, it never grants.
func ParsePathPattern(s string) (Pattern, error) {
	prefix, _ := Pattern(strings.TrimPrefix(s, "**/")).split()
	return parsePlain(s, prefix)
}

func parsePlain(s, prefix string) (Pattern, error) {
	if len(s) > MaxName {
		return "", fmt.Errorf("pattern of %d bytes; at most %d", len(s), MaxName)
	}
	for seg := range strings.SplitSeq(prefix, "/") {
		if seg == "" || seg == "." || seg == ".." || strings.ContainsAny(seg, "*?[]\\\x00") {
			return "", fmt.Errorf("%q: * and ** stand alone, as the last segment; other segments are literal and not empty", s)
		}
	}
	return Pattern(s), nil
}

// MatchPath tells whether p covers path: as Match does, and for a pattern that begins with **/ at any depth.
func (p Pattern) MatchPath(path string) bool {
	deep, ok := strings.CutPrefix(string(p), "**/")
	if !ok {
		return p.Match(Resource(path))
	}
	for {
		if Pattern(deep).Match(Resource(path)) {
			return true
		}
		_, rest, more := strings.Cut(path, "/")
		if !more {
			return false
		}
		path = rest
	}
}
