package declare

import (
	"bytes"
	"reflect"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// MaxWorkflow is the largest workflow, in bytes.
const MaxWorkflow = 64 << 10

// ReadWorkflow reads a workflow from the text of a file, whose name is for errors: as strictly as declarations. The error is
// of type Errors; Positions are never nil.
func ReadWorkflow(name string, text []byte) (*remit.Workflow, *Positions, error) {
	r := &reader{pos: &Positions{places: map[string]place{}, records: map[string]place{}}, first: map[string]string{}}
	w := &remit.Workflow{}
	switch {
	case len(text) > MaxWorkflow:
		r.fail("", place{file: name}, "it is larger than %d bytes", MaxWorkflow)
	case !utf8.Valid(text):
		r.fail("", place{name, 1 + bytes.Count(text[:invalid(text)], []byte("\n"))}, "not UTF-8 text")
	default:
		if body := r.document(name, string(text)); body != nil {
			d := decoder{reader: r, file: name}
			d.record("", body, reflect.ValueOf(w).Elem())
		} else if len(r.errs) == 0 {
			r.fail("", place{file: name}, "it is empty; a workflow has workflow: NAME and steps:")
		}
	}
	if len(r.errs) == 0 {
		for _, e := range w.Wrong() {
			r.wrong(e.Path, "%s", e.Sentence)
		}
	}
	if len(r.errs) > 0 {
		return nil, r.pos, r.sorted()
	}
	return w, r.pos, nil
}
