package git

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// shown is a credential that remembers what it has shown to an upstream. An upstream says what it likes to whoever
// pushes, also the headers that it got: a hook that prints its environment is enough.
type shown struct {
	next  gateway.Credential
	forms [][]byte
}

// Apply is that of the credential.
func (s *shown) Apply(r *http.Request) error {
	before := r.Header.Clone()
	if err := s.next.Apply(r); err != nil {
		return err
	}
	for name, values := range r.Header {
		for _, v := range values {
			if !slices.Contains(before[name], v) {
				s.add(v)
			}
		}
	}
	return nil
}

// add takes a header apart: Basic USER:PASSWORD (RFC 7617), Bearer TOKEN (RFC 6750), or a header that is the secret.
func (s *shown) add(value string) {
	_, secret, scheme := strings.Cut(value, " ")
	if !scheme {
		secret = value
	}
	parts := []string{secret}
	if pair, err := base64.StdEncoding.DecodeString(secret); err == nil && scheme {
		_, password, _ := strings.Cut(string(pair), ":")
		parts = append(parts, password)
	}
	for _, p := range parts {
		if len(p) >= 4 { // less stands in every text
			s.forms = append(s.forms, gateway.Forms([]byte(p))...)
		}
	}
}

// clean takes it out of an upstream's report.
func (s *shown) clean(rep *pktline.Report) {
	rep.Unpack = s.hide(rep.Unpack)
	for i, ref := range rep.Refs {
		rep.Refs[i].Why = s.hide(ref.Why)
	}
}

// hide is a text of the upstream without the credential.
func (s *shown) hide(text string) string {
	b := []byte(text)
	for _, form := range s.forms {
		b = bytes.ReplaceAll(b, form, []byte("[a credential of Remit's]"))
	}
	return string(b)
}
