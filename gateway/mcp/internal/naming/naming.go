// Package naming is how what an agent calls is named, and what is declared of it: tools, what else a server has, and the
// resources that a tool's arguments name.
package naming

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
)

// maxURI bounds the name of a resource of a server's, in bytes.
const maxURI = 400

// Tool names a tool. The name - is the server's own place, so a tool of that name is written otherwise.
func Tool(server, tool string) (remit.Resource, error) {
	seg, err := segment(tool)
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, "the tool cannot be named: %w", err)
	}
	if seg == "-" {
		seg = Quote(tool)
	}
	r, err := remit.ParseResource("tool:" + server + "/" + seg)
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, "the tool cannot be named: %w", err)
	}
	return r, nil
}

// Below names what lies below SERVER/-/. A URI may be longer than the segment of an argument.
func Below(server, kind, name string) (remit.Resource, error) {
	if len(name) > maxURI {
		return "", remit.Errorf(remit.TooLargeToJudge, "a name of %d bytes in %s; at most %d can be declared and judged", len(name), kind, maxURI)
	}
	r, err := remit.ParseResource("tool:" + server + "/-/" + kind + "/" + Quote(name))
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, "it cannot be named in %s: %w", kind, err)
	}
	return r, nil
}

// Quote is a whole text as one segment, also one that would be a step up, or the server's own place.
func Quote(s string) string {
	switch s {
	case ".", "..", "-":
		return strings.NewReplacer(".", "%2E", "-", "%2D").Replace(s)
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~-", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// CheckURI refuses a URI that a server could read as another one than it says: it climbs, hides what parts it, or is
// written in one of several ways (RFC 3986 §6.2.2).
func CheckURI(uri string) error {
	bad := func(why string) error {
		return remit.Errorf(remit.BadRequest, "the URI %s %s; what it names has to be certain", remit.VisibleText(strconv.Quote(uri[:min(len(uri), 120)])), why)
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" || scheme[0] < 'a' {
		return bad("has no scheme in lower case")
	}
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		switch {
		case c <= ' ' || c >= 0x7f:
			return bad("has a byte that is no character of a URI; write it as %XX")
		case c == '\\':
			return bad("has a backslash")
		case c == '%':
			n, err := strconv.ParseUint(rest[i+1:min(i+3, len(rest))], 16, 8)
			if err != nil || i+2 >= len(rest) {
				return bad("has a % without two hex digits behind it")
			}
			if n < 0x20 || n == 0x7f || strings.IndexByte("./\\%", byte(n)) >= 0 {
				return bad("has a dot, a slash, a backslash, a % or a control character as %XX")
			}
		}
	}
	if slices.ContainsFunc(strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune("/?#;", r) }), func(s string) bool { return s == "." || s == ".." }) {
		return bad("has a relative part")
	}
	return nil
}

// Unquote is the text of a segment.
func Unquote(seg string) string {
	var b strings.Builder
	for i := 0; i < len(seg); i++ {
		var c byte
		if n, err := fmt.Sscanf(seg[i:min(i+3, len(seg))], "%%%02X", &c); err == nil && n == 1 {
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(seg[i])
	}
	return b.String()
}

// segment is s as one segment of a resource's name: other bytes as %XX. What a path takes for a step up, or for nothing,
// is refused and not quoted, because the server behind does not quote.
func segment(s string) (string, error) {
	if s == "" || s == "." || s == ".." {
		return "", fmt.Errorf("%q is no name", s)
	}
	if len(s) > maxSegment {
		return "", fmt.Errorf("it has %d bytes; at most %d", len(s), maxSegment)
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f {
			return "", fmt.Errorf("it has a control character, %#02x", c)
		}
	}
	return Quote(s), nil
}
