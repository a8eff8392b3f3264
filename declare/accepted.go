package declare

import (
	"bytes"
	"reflect"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// MaxAccepted is the largest file of what is accepted of a scan, in bytes.
const MaxAccepted = 1 << 20

// ReadAccepted reads what is accepted of a scan from the text of a file, whose name is for errors: as strictly as
// declarations. The error is of type Errors.
func ReadAccepted(name string, text []byte) (*remit.ScanAccepted, error) {
	r := &reader{pos: &Positions{places: map[string]place{}, records: map[string]place{}}, first: map[string]string{}}
	a := &remit.ScanAccepted{}
	switch {
	case len(text) > MaxAccepted:
		r.fail("", place{file: name}, "it is larger than %d bytes", MaxAccepted)
	case !utf8.Valid(text):
		r.fail("", place{name, 1 + bytes.Count(text[:invalid(text)], []byte("\n"))}, "not UTF-8 text")
	default:
		if body := r.document(name, string(text)); body != nil {
			d := decoder{reader: r, file: name}
			d.record("", body, reflect.ValueOf(a).Elem())
		} else if len(r.errs) == 0 {
			r.fail("", place{file: name}, "it is empty; it has upstream: NAME and accepted:")
		}
	}
	if len(r.errs) == 0 {
		for _, e := range a.Wrong() {
			r.wrong(e.Path, "%s", e.Sentence)
		}
	}
	if len(r.errs) > 0 {
		return nil, r.sorted()
	}
	return a, nil
}
