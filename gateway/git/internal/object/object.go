// Package object reads git's commits, trees and tags strictly.
//
// Every parser takes the bytes of one object without its "type size\0"
// header, refuses whatever "git fsck --strict" would refuse, and never
// panics. What git still accepts but a file system or a reviewer would take
// for something else (control characters, backslashes, NTFS streams, names
// that differ only in case) is reported by CheckName and made comparable by
// Fold. Only SHA-1 repositories are known.
package object

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// Codes of Error. They are stable: clients and policies match on them.
const (
	CodeBadPack       = "BAD_PACK"           // the pack's framing or its deltas are wrong
	CodeBadObject     = "BAD_OBJECT"         // git fsck --strict would refuse the object, or Remit does
	CodeCollision     = "COLLISION"          // the bytes carry the marks of a SHA-1 collision attack
	CodeObjectMissing = "OBJECT_MISSING"     // something pushed names an object that nobody has
	CodeTooLarge      = "TOO_LARGE"          // over a declared size limit
	CodeTooLargeJudge = "TOO_LARGE_TO_JUDGE" // within the limits of size, but too costly to examine
	CodeUnseenObject  = "UNSEEN_OBJECT"      // named by the push, yet neither in it nor reachable upstream
)

// Error is a refusal: a stable code, the object, offset or path it is about,
// and a sentence for people that says what would be right.
type Error struct {
	Code     string
	Object   string
	Sentence string
}

// Error gives code, place and sentence.
func (e *Error) Error() string {
	if e.Object == "" {
		return e.Code + ": " + e.Sentence
	}
	return e.Code + ": " + e.Object + ": " + e.Sentence
}

// Refuse makes an Error; format and args make its sentence.
func Refuse(code, place, format string, args ...any) *Error {
	return &Error{Code: code, Object: place, Sentence: fmt.Sprintf(format, args...)}
}

// OID is a SHA-1 object id. The zero value stands for "no object".
type OID [20]byte

// ParseOID reads exactly 40 lower-case hexadecimal digits. Upper case is
// refused, so that one object has one spelling in logs and approvals.
func ParseOID(s string) (OID, error) {
	var o OID
	if len(s) != 2*len(o) {
		return OID{}, Refuse(CodeBadObject, "", "an object id has 40 hexadecimal digits, not %d characters", len(s))
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return OID{}, Refuse(CodeBadObject, "", "the object id %q holds a character other than 0-9 and a-f", s)
		}
	}
	if _, err := hex.Decode(o[:], []byte(s)); err != nil {
		return OID{}, Refuse(CodeBadObject, "", "the object id %q is not hexadecimal", s)
	}
	return o, nil
}

// String gives 40 lower-case hexadecimal digits.
func (o OID) String() string { return hex.EncodeToString(o[:]) }

// IsZero reports whether o stands for "no object".
func (o OID) IsZero() bool { return o == OID{} }

// Compare orders ids by their bytes.
func (o OID) Compare(p OID) int { return bytes.Compare(o[:], p[:]) }

// MarshalText gives the same digits as String.
func (o OID) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText is ParseOID.
func (o *OID) UnmarshalText(text []byte) error {
	parsed, err := ParseOID(string(text))
	if err != nil {
		return err
	}
	*o = parsed
	return nil
}

// Type is the type of an object; the numbers are those of gitformat-pack(5).
type Type uint8

// The four types of objects.
const (
	Commit Type = 1
	Tree   Type = 2
	Blob   Type = 3
	Tag    Type = 4
)

// String gives git's name of the type, "" if it is none.
func (t Type) String() string {
	switch t {
	case Commit:
		return "commit"
	case Tree:
		return "tree"
	case Blob:
		return "blob"
	case Tag:
		return "tag"
	}
	return ""
}

// ParseType reads git's name of a type.
func ParseType(s string) (Type, bool) {
	for t := Commit; t <= Tag; t++ {
		if t.String() == s {
			return t, true
		}
	}
	return 0, false
}

// Sizes beyond which an object is not parsed at all, in bytes.
const (
	MaxCommit = 1 << 20
	MaxTag    = 1 << 20
	MaxTree   = 8 << 20

	maxHeader  = 256 << 10 // mergetag headers hold whole signed tags
	maxParents = 128       // the widest known octopus has 66
)

// MaxSize is the largest size at which an object of type t is parsed; 0 for
// blobs, which have no such limit.
func MaxSize(t Type) int64 {
	switch t {
	case Commit:
		return MaxCommit
	case Tree:
		return MaxTree
	case Tag:
		return MaxTag
	}
	return 0
}

// Validate parses body as an object of type t and gives the parser's refusal.
// Blobs are always valid.
func Validate(t Type, body []byte) error {
	var err error
	switch t {
	case Commit:
		_, err = ParseCommit(body)
	case Tree:
		_, err = ParseTree(body)
	case Tag:
		_, err = ParseTag(body)
	case Blob:
	default:
		err = Refuse(CodeBadObject, "", "there is no object type %d", t)
	}
	return err
}
