package upstream

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
)

// ShortestSecret is the shortest value that is searched for: shorter ones stand in anything.
const ShortestSecret = 6

// Redactor finds values in what a server says.
type Redactor struct {
	mark  []byte
	forms [][]byte
}

// NewRedactor finds the forms of secrets in what a server says. Forms of less than 6 bytes are left alone.
func NewRedactor(server string, forms [][]byte) *Redactor {
	s := &Redactor{mark: []byte("[secret of " + server + "]")}
	for _, f := range forms {
		if len(f) >= ShortestSecret {
			s.forms = append(s.forms, f)
		}
	}
	return s
}

// Idle tells whether there is nothing to be found.
func (s *Redactor) Idle() bool { return s == nil || len(s.forms) == 0 }

// Clean puts a mark in the place of what is secret; what has none comes back as it is.
func (s *Redactor) Clean(b []byte) []byte {
	if s == nil {
		return b
	}
	for _, f := range s.forms {
		if bytes.Contains(b, f) {
			b = bytes.ReplaceAll(b, f, s.mark)
		}
	}
	return b
}

// Secrets are the values that apply puts on a request, and the parts of them that servers echo: what follows a scheme, and
// the password in it (RFC 7617). An error is that of apply.
func Secrets(apply func(*http.Request) error) ([]string, error) {
	r := &http.Request{Method: http.MethodPost, Header: http.Header{}}
	if err := apply(r); err != nil {
		return nil, err
	}
	var values []string
	for _, vs := range r.Header {
		for _, v := range vs {
			values = append(values, v)
			_, last, ok := strings.Cut(v, " ")
			if !ok {
				continue
			}
			values = append(values, last)
			if b, err := base64.StdEncoding.DecodeString(last); err == nil { // RFC 7617: user:password
				if _, password, ok := strings.Cut(string(b), ":"); ok {
					values = append(values, password)
				}
			}
		}
	}
	return values, nil
}
