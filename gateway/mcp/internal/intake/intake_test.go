package intake

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

func TestARequestNamesThisServerAndComesFromNoOtherPage(t *testing.T) {
	p := At("https://remit.example:8443", []string{"other.example"}, []string{"https://console.example"})
	for _, c := range []struct {
		name, host string
		origins    []string
		ok         bool
	}{
		{"its own name", "remit.example:8443", nil, true},
		{"its own name, in another case", "Remit.Example", nil, true},
		{"a name that it was given", "other.example", nil, true},
		{"a name that leads here", "rebound.example", nil, false},
		{"this machine, from afar", "localhost", nil, false},
		{"its own page", "remit.example:8443", []string{"https://remit.example:8443"}, true},
		{"a page that may", "remit.example:8443", []string{"https://console.example"}, true},
		{"a page of somebody's", "remit.example:8443", []string{"https://evil.example"}, false},
		{"a page of nobody's", "remit.example:8443", []string{"null"}, false},
		{"two pages", "remit.example:8443", []string{"https://console.example", "https://evil.example"}, false},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Host = c.host
		r.Header["Origin"] = c.origins
		if e := p.Check(r); (e == nil) != c.ok || e != nil && e.Code != remit.Forbidden {
			t.Errorf("%s: %v", c.name, e)
		}
	}
}

func TestAMessageIsReadWithinItsLimit(t *testing.T) {
	for _, c := range []struct {
		kind, coding, body string
		code               remit.Code
	}{
		{"application/json; charset=utf-8", "", "12345", ""},
		{"application/json", "", "123456", remit.TooLarge},
		{"application/json", "gzip", "12345", remit.BadRequest},
		{"text/plain", "", "12345", remit.BadRequest},
		{"", "", "12345", remit.BadRequest},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		if c.coding != "" {
			r.Header.Set("Content-Encoding", c.coding)
		}
		got, err := Read(httptest.NewRecorder(), r, 5, time.Second)
		var e *remit.Error
		if c.code == "" && (err != nil || string(got) != c.body) || c.code != "" && (!errors.As(err, &e) || e.Code != c.code || got != nil) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}
