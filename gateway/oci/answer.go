package oci

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/remit-dev/remit"
)

// detail is what a program finds in the detail of an error, beside the sentence for people.
type detail struct {
	Code   remit.Code       `json:"remit"`
	Rules  []string         `json:"rules,omitempty"`
	Entry  remit.EntryIndex `json:"entry,omitempty"`
	Access remit.ID         `json:"access,omitempty"`
	Do     string           `json:"do,omitempty"`
}

// writeErrors answers in the form of the specification ("Error Codes").
func writeErrors(w http.ResponseWriter, status int, code, message string, d any) {
	type oneError struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail,omitempty"`
	}
	writeJSON(w, status, struct {
		Errors []oneError `json:"errors"`
	}{[]oneError{{code, message, d}}})
}

// Refuse tells what was denied or held. A hold is a denial too, to a client that cannot wait: with 409 or 503 it would
// try again and again.
func (x *exchange) Refuse(w http.ResponseWriter, r *http.Request, d remit.Decision) {
	sentence := scrub(d.Sentence)
	if sentence == "" {
		sentence = d.Code.Info().Meaning
	}
	more := detail{Code: d.Code, Rules: d.Rules, Entry: d.Entry}
	if d.Verdict == remit.Hold {
		more.Access, more.Do = d.Access, "remit wait "+string(d.Access)
		sentence = fmt.Sprintf("held, waiting for people as access request %s; Remit completes it after their votes: %s", d.Access, sentence)
	}
	x.stream.drain(r)
	writeErrors(w, http.StatusForbidden, "DENIED", sentence, more)
}

// Fail tells an error.
func (x *exchange) Fail(w http.ResponseWriter, r *http.Request, e *remit.Error) {
	if x.begun {
		return // the client has the beginning of an answer; it sees that the end is missing
	}
	x.stream.drain(r)
	status, code := x.wire(e.Code)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", x.challenge(r))
	}
	writeErrors(w, status, code, scrub(e.Sentence), detail{Code: e.Code})
}

// wire is how a code shows in HTTP and in the specification's own codes.
func (x *exchange) wire(c remit.Code) (status int, code string) {
	status = c.Info().HTTP
	switch c {
	case remit.Unauthenticated:
		return status, "UNAUTHORIZED"
	case remit.UnknownResource:
		return status, "NAME_UNKNOWN"
	case remit.NotFound:
		if x.route.kind == session {
			return status, "BLOB_UPLOAD_UNKNOWN"
		}
		return status, "NAME_UNKNOWN"
	case remit.BadObject:
		return http.StatusBadRequest, "MANIFEST_INVALID"
	case remit.TooLarge, remit.TooLargeToJudge:
		return status, "SIZE_INVALID"
	case remit.Overload:
		return http.StatusTooManyRequests, "TOOMANYREQUESTS"
	case remit.BadRequest:
		switch x.route.kind {
		case manifest:
			return status, "MANIFEST_INVALID"
		case uploads, session:
			return status, "BLOB_UPLOAD_INVALID"
		case blob, referrers:
			return status, "DIGEST_INVALID"
		}
		return status, "NAME_INVALID"
	case remit.Forbidden:
		if x.err != nil { // the route itself is not served
			return http.StatusMethodNotAllowed, "UNSUPPORTED"
		}
	}
	if status == http.StatusForbidden {
		return status, "DENIED"
	}
	return status, "UNKNOWN"
}

// challenge says where a token is had (RFC 6750 §3, and distribution's "Token Authentication Specification").
func (x *exchange) challenge(r *http.Request) string {
	service := x.g.Service
	if service == "" {
		if u, err := url.Parse(x.g.Realm); err == nil {
			service = u.Host
		}
	}
	c := fmt.Sprintf("Bearer realm=%q,service=%q", x.g.Realm, service)
	if x.err != nil || x.route.kind == ping {
		return c
	}
	actions := "pull"
	if r.Method != http.MethodGet && r.Method != http.MethodHead || x.route.kind == session {
		actions = "pull,push"
	}
	return c + fmt.Sprintf(",scope=%q", "repository:"+x.route.upstream+"/"+x.route.name+":"+actions)
}

// Refuse is part of gateway.Protocol.
func (g *Gateway) Refuse(w http.ResponseWriter, r *http.Request, d remit.Decision) {
	g.begin(w, r).Refuse(w, r, d)
}

// Fail is part of gateway.Protocol.
func (g *Gateway) Fail(w http.ResponseWriter, r *http.Request, e *remit.Error) {
	g.begin(w, r).Fail(w, r, e)
}

// scrub takes out of a text from outside whatever a terminal would obey or not show.
func scrub(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
