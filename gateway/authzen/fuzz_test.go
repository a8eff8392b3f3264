package authzen_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// FuzzBodies: whatever is sent, the answer is a decision, a list or a problem document, and what says something twice is
// none of the first two.
func FuzzBodies(f *testing.F) {
	for _, path := range []string{evaluation, evaluations, search + "subject", search + "resource", search + "action", requests} {
		for _, body := range []string{object(alice, writes, archive), object(alice, reads, `"evaluations":[{},{`+record1+`}]`, `"options":{"evaluations_semantic":"deny_on_first_deny"}`),
			object(alice, reads, record1, `"page":{"limit":1,"token":"AAAA"}`), object(alice, alice, reads, record1), `{`, `null`, `[]`, `{"subject":{"type":"user","id":"\u0000"}}`,
			object(alice, reads, record1, `"context":{"approval":{"id":"apr_AAAA"}}`), object(alice, reads, record1, `"denial":{"binding_token":"a.b.c","expires_at":"2026-04-30T20:25:00Z"}`)} {
			f.Add(path, body)
		}
	}
	c := point(f, certified(), &desk{end: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)})
	f.Fuzz(func(t *testing.T, path, body string) {
		switch path {
		case evaluation, evaluations, search + "subject", search + "resource", search + "action", requests:
		default:
			t.Skip()
		}
		w := c.do(http.MethodPost, path, body)
		var m map[string]json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		switch {
		case w.Code == http.StatusOK && (m["decision"] != nil || m["evaluations"] != nil || m["results"] != nil):
			if remit.DecodeKnown(strings.NewReader(body), 1<<20, new(map[string]json.RawMessage)) != nil {
				t.Errorf("%q is answered with %s", body, w.Body)
			}
		case w.Code >= 400 && w.Code < 500 && m["type"] != nil && m["status"] != nil:
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// FuzzTokens: what this point did not make opens nothing: no binding token, no approval, no handle, no place in a list.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "arq_AAAA", "apr_QS0x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		f.Add(s)
	}
	d := &desk{end: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), uses: remit.Decision{Verdict: remit.Allow}}
	c := point(f, &asking{}, d)
	f.Fuzz(func(t *testing.T, token string) {
		c := &client{t: t, h: c.h, now: c.now}
		if !json.Valid([]byte(`"`+token+`"`)) || strings.ContainsAny(token, "/?#% \x00") || token == "." || token == ".." {
			t.Skip()
		}
		m := question(nil)
		m["denial"] = map[string]any{"binding_token": token, "expires_at": "2026-04-30T20:25:00Z"}
		if w := c.do(http.MethodPost, requests, string(must(json.Marshal(m)))); w.Code != http.StatusBadRequest {
			t.Errorf("submission: %d %s", w.Code, w.Body)
		}
		for _, approval := range []map[string]any{{"id": token}, {"id": "apr_" + token}, {"id": token, "state": token}} {
			var no denial
			c.post(evaluation, question(approval), http.StatusOK, &no)
			if no.Decision || no.Context.Reason != "approval_unverifiable" {
				t.Errorf("%v: %+v", approval, no)
			}
		}
		if w := c.do(http.MethodPost, search+"action", object(alice, record1, `"page":{"token":`+string(must(json.Marshal(token)))+`}`)); w.Code != http.StatusBadRequest && token != "" {
			t.Errorf("page: %d %s", w.Code, w.Body)
		}
		if len(d.all) != 0 || d.used != 0 {
			t.Error("somebody was asked, or something was used")
		}
	})
}
