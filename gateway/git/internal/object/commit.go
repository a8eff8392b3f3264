package object

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// Ident is an author, committer or tagger line as claimed by whoever wrote
// the object. Nothing about it is verified.
type Ident struct {
	Name  string // may be empty or not UTF-8
	Email string // the bytes between < and >
	When  int64  // seconds since 1970
	Zone  string // "+0000"
}

// CommitInfo is a parsed commit.
type CommitInfo struct {
	Tree      OID
	Parents   []OID
	Author    Ident
	Committer Ident
	Signature string // the gpgsig header as it stands, "" when unsigned; not verified
	Message   string
}

// TagInfo is a parsed annotated tag.
type TagInfo struct {
	Target  OID
	Type    Type // of Target, as the tag claims it
	Name    string
	Tagger  Ident // zero in tags of before git 0.99
	Signed  bool  // a signature block ends the message; not verified
	Message string
}

// headers walks the lines before the first empty line of a commit or tag.
type headers struct {
	kind string
	rest []byte
	body []byte
}

// newHeaders cuts off the message. Like git fsck it wants every header line
// ended and no NUL anywhere.
func newHeaders(kind string, data []byte, limit int) (*headers, error) {
	if len(data) > limit {
		return nil, Refuse(CodeBadObject, "", "the %s is %d bytes long, above the limit of %d", kind, len(data), limit)
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, Refuse(CodeBadObject, "", "the %s holds a NUL byte", kind)
	}
	head, body, found := bytes.Cut(data, []byte("\n\n"))
	if found {
		head = data[:len(head)+1]
	}
	if len(head) == 0 || head[len(head)-1] != '\n' {
		return nil, Refuse(CodeBadObject, "", "the header of the %s does not end with a line feed", kind)
	}
	if len(head) > maxHeader {
		return nil, Refuse(CodeBadObject, "", "the header of the %s is %d bytes long, above the limit of %d", kind, len(head), maxHeader)
	}
	return &headers{kind: kind, rest: head, body: body}, nil
}

// peek tells whether the next line is a header of that name.
func (h *headers) peek(name string) bool {
	return len(h.rest) > len(name) && string(h.rest[:len(name)]) == name && h.rest[len(name)] == ' '
}

// next takes the value of the next line, which must be of that name.
func (h *headers) next(name string) (string, error) {
	if !h.peek(name) {
		line, _, _ := bytes.Cut(h.rest, []byte("\n"))
		return "", Refuse(CodeBadObject, "", "the %s should have a line %q where it has %q", h.kind, name, clip(line))
	}
	line, rest, _ := bytes.Cut(h.rest, []byte("\n"))
	h.rest = rest
	return string(line[len(name)+1:]), nil
}

func (h *headers) oid(name string) (OID, error) {
	text, err := h.next(name)
	if err != nil {
		return OID{}, err
	}
	o, err := ParseOID(text)
	if err != nil || o.IsZero() {
		return OID{}, Refuse(CodeBadObject, "", "the line %q of the %s does not hold an object id", name, h.kind)
	}
	return o, nil
}

func (h *headers) ident(name string) (Ident, error) {
	text, err := h.next(name)
	if err != nil {
		return Ident{}, err
	}
	id, why := parseIdent(text)
	if why != "" {
		return Ident{}, Refuse(CodeBadObject, "", "the line %q of the %s %s", name, h.kind, why)
	}
	return id, nil
}

// extra takes one further header with its continuation lines.
func (h *headers) extra() (name, value string, err error) {
	line, rest, _ := bytes.Cut(h.rest, []byte("\n"))
	key, val, found := bytes.Cut(line, []byte(" "))
	if !found || len(key) == 0 {
		return "", "", Refuse(CodeBadObject, "", "the %s has a header line %q that is not \"name value\"", h.kind, clip(line))
	}
	out := append([]byte(nil), val...)
	for len(rest) > 0 && rest[0] == ' ' {
		line, rest, _ = bytes.Cut(rest[1:], []byte("\n"))
		out = append(append(out, '\n'), line...)
	}
	h.rest = rest
	return string(key), string(out), nil
}

func clip(line []byte) string {
	if len(line) > 60 {
		line = line[:60]
	}
	return string(line)
}

// parseIdent follows fsck_ident of git's fsck.c. It returns what is wrong as
// the end of a sentence, or "".
func parseIdent(s string) (id Ident, why string) {
	open := strings.IndexAny(s, "<>")
	if open < 0 || s[open] == '>' {
		return id, "has no e-mail address between < and >"
	}
	if open == 0 || s[open-1] != ' ' {
		return id, "should have a space before <"
	}
	rest := s[open+1:]
	end := strings.IndexAny(rest, "<>")
	if end < 0 || rest[end] == '<' {
		return id, "has no e-mail address between < and >"
	}
	// "author  <a@b>" has an empty name and the one space before <.
	id.Name, id.Email = s[:open-1], rest[:end]
	stamp, found := strings.CutPrefix(rest[end+1:], " ")
	date, zone, two := strings.Cut(stamp, " ")
	if !found || !two {
		return id, "should end with \" seconds +zone\" after the e-mail address"
	}
	if date == "" || strings.Trim(date, "0123456789") != "" || len(date) > 1 && date[0] == '0' {
		return id, "has a date that is not a plain number of seconds"
	}
	when, err := strconv.ParseUint(date, 10, 64)
	if err != nil || when > math.MaxInt64 {
		return id, "has a date beyond what 63 bits hold"
	}
	if len(zone) != 5 || zone[0] != '+' && zone[0] != '-' || strings.Trim(zone[1:], "0123456789") != "" {
		return id, "has a time zone that is not of the form +hhmm"
	}
	id.When, id.Zone = int64(when), zone
	return id, ""
}

// ParseCommit reads a commit that somebody wants to bring in. Beyond git fsck
// it refuses a second tree, parent, author, committer, encoding or gpgsig line
// after the fixed ones, a parent named twice, NUL bytes, and headers above
// 256 KiB: two readers could understand such a commit differently.
func ParseCommit(data []byte) (*CommitInfo, error) {
	h, err := newHeaders("commit", data, MaxCommit)
	if err != nil {
		return nil, err
	}
	c := &CommitInfo{Message: string(h.body)}
	if c.Tree, err = h.oid("tree"); err != nil {
		return nil, err
	}
	for h.peek("parent") {
		p, err := h.oid("parent")
		if err != nil {
			return nil, err
		}
		if len(c.Parents) == maxParents {
			return nil, Refuse(CodeBadObject, "", "the commit has more than %d parents", maxParents)
		}
		for _, known := range c.Parents {
			if known == p {
				return nil, Refuse(CodeBadObject, "", "the commit names the parent %s twice", p)
			}
		}
		c.Parents = append(c.Parents, p)
	}
	if c.Author, err = h.ident("author"); err != nil {
		return nil, err
	}
	if c.Committer, err = h.ident("committer"); err != nil {
		return nil, err
	}
	once := map[string]bool{"tree": true, "parent": true, "author": true, "committer": true}
	for len(h.rest) > 0 {
		name, value, err := h.extra()
		if err != nil {
			return nil, err
		}
		if once[name] {
			return nil, Refuse(CodeBadObject, "", "the commit has a line %q too many", name)
		}
		switch name {
		case "encoding":
			once[name] = true
		case "gpgsig", "gpgsig-sha256":
			once[name] = true
			if name == "gpgsig" {
				c.Signature = value
			}
		}
	}
	return c, nil
}

// CommitLinks reads only what the graph needs from a commit that upstream
// already has: old histories hold author lines that git fsck would refuse
// today. When is the committer's claimed time, 0 if it cannot be read.
func CommitLinks(data []byte) (tree OID, parents []OID, when int64, err error) {
	head, _, _ := bytes.Cut(data, []byte("\n\n"))
	h := &headers{kind: "commit", rest: head}
	if tree, err = h.oid("tree"); err != nil {
		return OID{}, nil, 0, err
	}
	for h.peek("parent") {
		p, err := h.oid("parent")
		if err != nil {
			return OID{}, nil, 0, err
		}
		parents = append(parents, p)
	}
	for len(h.rest) > 0 && !h.peek("committer") {
		_, h.rest, _ = bytes.Cut(h.rest, []byte("\n"))
	}
	if h.peek("committer") {
		id, _ := h.ident("committer")
		when = id.When
	}
	return tree, parents, when, nil
}

// ParseTag reads an annotated tag. Beyond git fsck it refuses a second line of
// any kind and a name with control characters.
func ParseTag(data []byte) (*TagInfo, error) {
	h, err := newHeaders("tag", data, MaxTag)
	if err != nil {
		return nil, err
	}
	t := &TagInfo{Message: string(h.body)}
	if t.Target, err = h.oid("object"); err != nil {
		return nil, err
	}
	kind, err := h.next("type")
	if err != nil {
		return nil, err
	}
	var known bool
	if t.Type, known = ParseType(kind); !known {
		return nil, Refuse(CodeBadObject, "", "the tag claims a target of the unknown type %q", clip([]byte(kind)))
	}
	if t.Name, err = h.next("tag"); err != nil {
		return nil, err
	}
	if t.Name == "" || strings.ContainsFunc(t.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, Refuse(CodeBadObject, "", "the tag has an empty name or one with control characters")
	}
	if h.peek("tagger") {
		if t.Tagger, err = h.ident("tagger"); err != nil {
			return nil, err
		}
	}
	for len(h.rest) > 0 {
		name, _, err := h.extra()
		if err != nil {
			return nil, err
		}
		if name != "gpgsig" && name != "gpgsig-sha256" {
			return nil, Refuse(CodeBadObject, "", "the tag has a line %q that does not belong there", clip([]byte(name)))
		}
		t.Signed = true
	}
	t.Signed = t.Signed || strings.Contains("\n"+t.Message, "\n-----BEGIN ")
	return t, nil
}
