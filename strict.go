package remit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// DecodeStrict reads exactly one JSON value of at most limit bytes from r into v: unknown members, duplicate members
// at any depth and trailing bytes are errors that say where.
func DecodeStrict(r io.Reader, limit int64, v any) error { return decode(r, limit, v, true) }

// DecodeKnown is DecodeStrict for protocols that are not ours and grow: members that v does not know are passed over.
func DecodeKnown(r io.Reader, limit int64, v any) error { return decode(r, limit, v, false) }

func decode(r io.Reader, limit int64, v any, strict bool) error {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if int64(len(body)) > limit {
		return Errorf(TooLarge, "the body is larger than %d bytes", limit)
	}
	if err := checkMembers(body); err != nil {
		return Errorf(BadRequest, "%w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return Errorf(BadRequest, "not the JSON that is wanted here: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Errorf(BadRequest, "there is more after the JSON value, at byte %d", dec.InputOffset())
	}
	return nil
}

// maxNested is how deep values lie within each other; a walk that goes as deep as a stranger says ends the process.
const maxNested = 64

// checkMembers looks for a member that stands twice, where encoding/json itself lets the last one win. It stops without an
// error at what is no JSON: decoding refuses that, and says better what is wrong.
func checkMembers(body []byte) error {
	w := walk{text: string(body)}
	if err := w.value(0); !errors.Is(err, errNoJSON) {
		return err
	}
	return nil
}

var errNoJSON = errors.New("not JSON")

// walk goes over the values of a text without making anything of them.
type walk struct {
	text string
	at   int
}

// next gives the next byte that is no space (RFC 8259 §2), and zero at the end.
func (w *walk) next() byte {
	for ; w.at < len(w.text); w.at++ {
		if c := w.text[w.at]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

func (w *walk) value(depth int) error {
	if depth > maxNested {
		return fmt.Errorf("values are nested deeper than %d, at byte %d", maxNested, w.at)
	}
	switch w.next() {
	case '{':
		return w.object(depth)
	case '[':
		return w.array(depth)
	case '"':
		_, err := w.quoted()
		return err
	}
	return w.scalar()
}

func (w *walk) object(depth int) error {
	var seen names
	if w.at++; w.next() == '}' {
		w.at++
		return nil
	}
	for {
		name, err := w.name()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return fmt.Errorf("member %q stands twice, at byte %d", name, w.at)
		}
		if w.next() != ':' {
			return errNoJSON
		}
		w.at++
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if more, err := w.more('}'); !more {
			return err
		}
	}
}

func (w *walk) array(depth int) error {
	if w.at++; w.next() == ']' {
		w.at++
		return nil
	}
	for {
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if more, err := w.more(']'); !more {
			return err
		}
	}
}

// more passes what stands behind an element, and tells whether another one follows.
func (w *walk) more(end byte) (bool, error) {
	c := w.next()
	if c != ',' && c != end {
		return false, errNoJSON
	}
	w.at++
	return c == ',', nil
}

// name reads the name of a member as encoding/json does.
func (w *walk) name() (string, error) {
	if w.next() != '"' {
		return "", errNoJSON
	}
	q, err := w.quoted()
	if err != nil {
		return "", err
	}
	if !strings.Contains(q, `\`) {
		return q[1 : len(q)-1], nil
	}
	var name string
	if json.Unmarshal([]byte(q), &name) != nil {
		return "", errNoJSON
	}
	return name, nil
}

// quoted passes a string and gives it with its quotes.
func (w *walk) quoted() (string, error) {
	from := w.at
	for w.at++; w.at < len(w.text); w.at++ {
		switch w.text[w.at] {
		case '\\':
			w.at++
		case '"':
			w.at++
			return w.text[from:w.at], nil
		}
	}
	return "", errNoJSON
}

// scalar passes a number or a literal. A number that no float64 holds is refused wherever it stands: what it is read into
// may not look at it, and others would read something else.
func (w *walk) scalar() error {
	from := w.at
	for w.at < len(w.text) && !strings.ContainsRune(" \t\n\r,]}", rune(w.text[w.at])) {
		w.at++
	}
	text := w.text[from:w.at]
	if text == "" {
		return errNoJSON
	}
	if text[0] == '-' || '0' <= text[0] && text[0] <= '9' {
		if _, err := strconv.ParseFloat(text, 64); errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("the number before byte %d is too large", w.at)
		}
	}
	return nil
}

// names are those of one object. Most objects have few, which are compared; with many that would take for ever.
type names struct {
	few  [8]string
	n    int
	many map[string]bool // folded
}

// add tells whether a name is new.
func (s *names) add(name string) bool {
	if s.n < len(s.few) {
		for _, other := range s.few[:s.n] {
			if strings.EqualFold(name, other) {
				return false
			}
		}
		s.few[s.n] = name
		s.n++
		return true
	}
	if s.many == nil {
		s.many = map[string]bool{}
		for _, other := range s.few {
			s.many[folded(other)] = true
		}
	}
	f := folded(name)
	if s.many[f] {
		return false
	}
	s.many[f] = true
	return true
}

// folded is the same for all names that encoding/json takes for one member.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}
