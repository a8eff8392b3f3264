package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// scanner reads JSON (RFC 8259) without decoding it.
type scanner struct {
	text     []byte
	at       int
	deepest  int
	strict   bool // names that differ in case at most are refused, and halves of surrogate pairs
	exact    bool // numbers beyond ±2^53 are refused
	smuggled bool // why it was refused: it is JSON, but not to be trusted
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf(format+" at byte %d", append(args, s.at)...)
}

// whole reads one value, and nothing after it.
func (s *scanner) whole() error {
	if err := s.value(1); err != nil {
		return err
	}
	if s.space(); s.at < len(s.text) {
		return s.errorf("something follows the value")
	}
	return nil
}

func (s *scanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t' || s.text[s.at] == '\n' || s.text[s.at] == '\r') {
		s.at++
	}
}

func (s *scanner) value(depth int) error {
	s.space()
	if s.at >= len(s.text) {
		return s.errorf("a value is missing")
	}
	switch c := s.text[s.at]; {
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return s.errorf("a value is missing")
}

// next reads past what separates two parts of an object or array, and tells whether it has ended.
func (s *scanner) next(first bool, end byte) (done bool, err error) {
	s.space()
	switch {
	case s.at >= len(s.text):
		return false, s.errorf("it ends too soon")
	case s.text[s.at] == end:
		s.at++
		return true, nil
	case first:
		return false, nil
	case s.text[s.at] != ',':
		return false, s.errorf("a comma is missing")
	}
	s.at++
	s.space()
	return false, nil
}

func (s *scanner) object(depth int, each func(name string, at, end int)) error {
	if depth > s.deepest {
		return s.errorf("it is nested more than %d deep", s.deepest)
	}
	s.at++ // {
	var seen map[string]bool
	for first := true; ; first = false {
		done, err := s.next(first, '}')
		if done || err != nil {
			return err
		}
		if s.at >= len(s.text) || s.text[s.at] != '"' {
			return s.errorf("a name is missing")
		}
		raw, err := s.str()
		if err != nil {
			return err
		}
		var name string
		if s.strict || each != nil {
			if name, err = unquote(raw); err != nil {
				return s.errorf("a name cannot be read")
			}
		}
		if s.strict {
			f := fold(name)
			if seen[f] {
				s.smuggled = true
				return s.errorf("the member %.64q stands there twice, or in another case,", name)
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[f] = true
		}
		if s.space(); s.at >= len(s.text) || s.text[s.at] != ':' {
			return s.errorf("a colon is missing")
		}
		s.at++
		s.space()
		begin := s.at
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if each != nil {
			each(name, begin, s.at)
		}
	}
}

func (s *scanner) array(depth int) error {
	if depth > s.deepest {
		return s.errorf("it is nested more than %d deep", s.deepest)
	}
	s.at++ // [
	for first := true; ; first = false {
		if done, err := s.next(first, ']'); done || err != nil {
			return err
		}
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
}

// str reads a string, and gives it with its quotes.
func (s *scanner) str() ([]byte, error) {
	begin := s.at
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[begin:s.at], nil
		case c < 0x20:
			return nil, s.errorf("a control character stands in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, s.errorf("a string does not end")
}

// escape reads what stands after a backslash, and leaves the scanner at its last byte.
func (s *scanner) escape() error {
	s.at++
	if s.at >= len(s.text) {
		return s.errorf("a string does not end")
	}
	if s.text[s.at] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s.text[s.at]) < 0 {
			return s.errorf("an unknown escape")
		}
		return nil
	}
	r, ok := s.hex(s.at + 1)
	if !ok {
		return s.errorf("an unknown escape")
	}
	s.at += 4
	if r < 0xD800 || r > 0xDFFF {
		return nil
	}
	if low, ok := s.hex(s.at + 3); ok && r < 0xDC00 && s.text[s.at+1] == '\\' && s.text[s.at+2] == 'u' && 0xDC00 <= low && low <= 0xDFFF {
		s.at += 6
		return nil
	}
	if s.strict {
		s.smuggled = true
		return s.errorf("half of a surrogate pair")
	}
	return nil
}

func (s *scanner) hex(at int) (rune, bool) {
	if at+4 > len(s.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.text[at:at+4]), 16, 16)
	return rune(n), err == nil
}

func (s *scanner) number() error {
	begin := s.at
	for s.at < len(s.text) && strings.IndexByte("+-.0123456789eE", s.text[s.at]) >= 0 {
		s.at++
	}
	lit := s.text[begin:s.at]
	if !json.Valid(lit) {
		return s.errorf("a number is malformed")
	}
	if !s.exact {
		return nil
	}
	if n, err := strconv.ParseInt(string(lit), 10, 64); err == nil && -1<<53 <= n && n <= 1<<53 {
		return nil
	}
	if f, err := strconv.ParseFloat(string(lit), 64); err != nil || math.Abs(f) >= 1<<53 {
		s.smuggled = true
		return s.errorf("a number beyond ±2^53, which is not the same number to everybody,")
	}
	return nil
}

func unquote(raw []byte) (string, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// fold is a name without its case, as Go's parser compares names: each rune is the least of those that fold alike.
func fold(name string) string {
	plain := true
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			plain = false
			break
		}
	}
	if plain {
		return strings.ToUpper(name)
	}
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}
