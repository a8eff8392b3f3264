package authzen_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/authzen"
)

// certified is the fixture of AuthZEN's certification scenario (c-1).
func certified() data {
	return data{
		subjects: map[string][]authzen.Entity{"user": {{Type: "user", ID: "alice"}, {Type: "user", ID: "bob", Properties: property("role", "admin")}}},
		resources: map[string][]authzen.Entity{"record": {{Type: "record", ID: "record-1", Properties: property("status", "active")},
			{Type: "record", ID: "record-2", Properties: property("status", "archived")}}},
		actions: []string{"delete", "read", "write"},
		may: func(q authzen.Question) bool {
			switch q.Action.Name {
			case "read":
				return true
			case "write":
				if text(q.Resource, "status") == "archived" {
					return text(q.Subject, "role") == "admin"
				}
				return q.Subject.ID == "alice"
			case "delete":
				return q.Subject.ID == "alice" && string(q.Action.Properties["soft"]) == "true"
			}
			return false
		},
	}
}

const (
	alice   = `"subject":{"type":"user","id":"alice"}`
	bob     = `"subject":{"type":"user","id":"bob"}`
	admin   = `"subject":{"type":"user","id":"bob","properties":{"role":"admin"}}`
	reads   = `"action":{"name":"read"}`
	writes  = `"action":{"name":"write"}`
	record1 = `"resource":{"type":"record","id":"record-1"}`
	record2 = `"resource":{"type":"record","id":"record-2"}`
	archive = `"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}`
	active  = `"resource":{"type":"record","id":"record-1","properties":{"status":"active"}}`
)

func object(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

// TestCertificationBasic is c-2 of the scenario: its tests by their ids.
func TestCertificationBasic(t *testing.T) {
	c := point(t, certified(), nil)
	for _, x := range []struct {
		id, body string
		want     bool
	}{
		{"c-2-2-1 permit", object(alice, reads, record1), true},
		{"c-2-2-2 deny", object(bob, writes, record1), false},
		{"c-2-2-3 context", object(alice, reads, record1, `"context":{"time":"2025-06-27T18:03-07:00","ip":"192.0.2.1"}`), true},
		{"c-2-2-4 deny by a property of the resource", object(alice, writes, archive), false},
		{"c-2-2-5 permit by a property of the subject", object(admin, writes, archive), true},
		{"c-2-2-6 permit by a property of the action", object(alice, `"action":{"name":"delete","properties":{"soft":true}}`, record1), true},
		{"c-2-2-7 deny by a property of the action", object(alice, `"action":{"name":"delete","properties":{"soft":false}}`, record1), false},
		{"c-2-2-8 further properties", object(`"subject":{"type":"user","id":"alice","properties":{"department":"Sales","role":"manager"}}`,
			`"action":{"name":"read","properties":{"method":"GET"}}`, `"resource":{"type":"record","id":"record-1","properties":{"status":"active","owner":"bob"}}`), true},
		{"c-2-2-9 unknown members", object(alice, reads, record1, `"foo":"bar"`, `"futureField":{"nested":true}`), true},
		{"c-1-4 rule 2", object(alice, writes, record1), true},
		{"c-1-4 rule 3", object(bob, reads, record1), true},
	} {
		t.Run(x.id, func(t *testing.T) {
			for range 3 { // c-2-6: the same again
				var d decision
				w := c.post(evaluation, x.body, http.StatusOK, &d, func(r *http.Request) { r.Header.Set("X-Request-ID", "abc") })
				if d.Decision == nil || *d.Decision != x.want || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Request-ID") != "abc" {
					t.Fatalf("%s %v", w.Body, w.Header())
				}
			}
		})
	}
	for _, x := range []struct{ id, body string }{
		{"c-2-4-1 no subject", object(reads, record1)}, {"c-2-4-1 no action", object(alice, record1)}, {"c-2-4-1 no resource", object(alice, reads)},
		{"c-2-4-2 no subject.type", object(`"subject":{"id":"alice"}`, reads, record1)}, {"c-2-4-2 no subject.id", object(`"subject":{"type":"user"}`, reads, record1)},
		{"c-2-4-2 no action.name", object(alice, `"action":{}`, record1)}, {"c-2-4-2 no resource.type", object(alice, reads, `"resource":{"id":"record-1"}`)},
		{"c-2-4-2 no resource.id", object(alice, reads, `"resource":{"type":"record"}`)}, {"c-2-4-4 malformed", `{"subject":`}, {"c-2-4-5 empty", ``},
		{"c-2-4-6 subject is a string", object(`"subject":"alice"`, reads, record1)}, {"c-2-4-6 action.name is a number", object(alice, `"action":{"name":123}`, record1)},
		{"null", `null`}, {"a list", `[]`}, {"a subject that is null", object(`"subject":null`, reads, record1)}, {"properties that are a list", object(`"subject":{"type":"user","id":"alice","properties":[]}`, reads, record1)},
		{"a member in another case", object(`"Subject":{"type":"user","id":"alice"}`, reads, record1)}, {"a member twice", object(alice, alice, reads, record1)},
		{"a property twice", object(`"subject":{"type":"user","id":"alice","properties":{"role":"x","role":"admin"}}`, reads, record1)}, {"more after it", object(alice, reads, record1) + "{}"},
	} {
		t.Run(x.id, func(t *testing.T) {
			var p struct {
				Type, Title, Detail string
				Status              int
			}
			w := c.post(evaluation, x.body, http.StatusBadRequest, &p)
			if w.Header().Get("Content-Type") != "application/problem+json" || p.Type == "" || p.Title == "" || p.Status != http.StatusBadRequest {
				t.Errorf("%s %v", w.Body, w.Header())
			}
		})
	}
	if w := c.do(http.MethodPost, evaluation, object(alice, reads, record1), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }); w.Code != http.StatusBadRequest {
		t.Errorf("c-2-4-3: %d", w.Code)
	}
	if w := c.do(http.MethodPost, evaluation, object(alice, reads, record1)); w.Code != http.StatusOK || w.Header().Get("X-Request-ID") != "" {
		t.Errorf("c-2-5-2: %d %v", w.Code, w.Header())
	}
	if w := c.do(http.MethodPost, evaluation, object(alice, reads, record1), func(r *http.Request) { r.Header.Del("Authorization") }); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("nobody: %d %v", w.Code, w.Header())
	}
	if w := c.do(http.MethodPost, evaluation, object(alice, reads, record1, `"x":"`+strings.Repeat("x", 70<<10)+`"`)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too long: %d", w.Code)
	}
}

// TestCertificationBatch is c-3.
func TestCertificationBatch(t *testing.T) {
	c := point(t, certified(), nil)
	list := func(items ...string) string { return `"evaluations":[` + strings.Join(items, ",") + `]` }
	semantic := func(s string) string { return `"options":{"evaluations_semantic":"` + s + `"}` }
	all := list(object(record1), object(record2), object(record1))
	for _, x := range []struct {
		id, body, want string
	}{
		{"c-3-2-1 a list", object(alice, reads, list(object(record1), object(record2))), "yes yes"},
		{"c-3-2-2 the order", object(bob, record1, list(object(reads), object(writes))), "yes no"},
		{"c-3-2-3 properties of resources", object(alice, writes, list(object(active), object(archive))), "yes no"},
		{"c-3-2-4 properties of subjects", object(writes, archive, list(object(alice), object(admin))), "no yes"},
		{"c-3-2-5 no defaults", object(list(object(alice, reads, record1), object(bob, writes, record1))), "yes no"},
		{"c-3-2-6 contexts", object(alice, reads, `"context":{"time":"2025-06-27T18:03-07:00"}`, list(object(record1), object(record2, `"context":{"time":"x","source":"batch-override"}`))), "yes yes"},
		{"c-3-2-7 a default's type", object(alice, writes, `"resource":{"type":"record"}`, list(object(`"resource":{"id":"record-1","properties":{"status":"active"}}`), object(archive))), "yes no"},
		{"c-3-2-7 a default's properties are replaced", object(alice, writes, archive, list(object(`"resource":{"id":"record-1"}`))), "yes"},
		{"c-3-4-1 an item that is none", object(alice, reads, list(object(record1), `{}`)), "yes no"},
		{"an item that is no object", object(alice, reads, record1, list(`7`, `null`, object())), "no no yes"},
		{"an item of another type", object(alice, reads, list(object(`"resource":"record-1"`))), "no"},
		{"execute_all", object(bob, writes, semantic("execute_all"), all), "no no no"},
		{"deny_on_first_deny", object(alice, writes, semantic("deny_on_first_deny"), list(object(active), object(archive), object(active))), "yes no"},
		{"permit_on_first_permit", object(alice, writes, semantic("permit_on_first_permit"), list(object(archive), object(active), object(archive))), "no yes"},
	} {
		t.Run(x.id, func(t *testing.T) {
			var out struct {
				Evaluations []decision `json:"evaluations"`
				Decision    *bool      `json:"decision"`
			}
			w := c.post(evaluations, x.body, http.StatusOK, &out)
			var got []string
			for _, d := range out.Evaluations {
				if d.Decision == nil {
					t.Fatalf("no decision: %s", w.Body)
				}
				got = append(got, map[bool]string{true: "yes", false: "no"}[*d.Decision])
			}
			if strings.Join(got, " ") != x.want || out.Decision != nil {
				t.Errorf("%s", w.Body)
			}
		})
	}
	for _, x := range []struct{ id, body string }{
		{"c-3-4-2 no list", object(alice, reads, record1)}, {"c-3-4-3 an empty list", object(alice, reads, record1, list())},
	} {
		var d decision
		if w := c.post(evaluations, x.body, http.StatusOK, &d); d.Decision == nil || !*d.Decision || strings.Contains(w.Body.String(), "evaluations") {
			t.Errorf("%s: %s", x.id, w.Body)
		}
	}
	for name, body := range map[string]string{"an unknown semantic": object(alice, reads, semantic("best_of_three"), all), "a list that is none": object(alice, reads, `"evaluations":{}`),
		"defaults of another type": object(`"subject":7`, reads, all)} {
		if w := c.do(http.MethodPost, evaluations, body); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := c.do(http.MethodPost, evaluations, object(alice, reads, list(strings.Split(strings.Repeat(object(record1)+"\n", 101), "\n")[:101]...))); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("101 questions: %d", w.Code)
	}
}

type results struct {
	Results []map[string]string `json:"results"`
	Page    *struct {
		Next  *string `json:"next_token"`
		Count int     `json:"count"`
		Total int     `json:"total"`
	} `json:"page"`
}

// in is the results in one line.
func (r results) in() string {
	var out []string
	for _, x := range r.Results {
		out = append(out, x["type"]+x["id"]+x["name"])
	}
	return strings.Join(out, " ")
}

// TestCertificationSearch is c-4, with the conditions of its fixture S1 to S6 (c-1-5).
func TestCertificationSearch(t *testing.T) {
	c := point(t, certified(), nil)
	users, records := `"subject":{"type":"user"}`, `"resource":{"type":"record"}`
	for _, x := range []struct{ id, find, body, want string }{
		{"S1 c-4-2-1 who may read", "subject", object(users, reads, record1), "useralice userbob"},
		{"c-4-2-2 with a context", "subject", object(users, reads, record1, `"context":{"time":"now"}`), "useralice userbob"},
		{"c-4-2-3 the id is ignored", "subject", object(alice, reads, record1), "useralice userbob"},
		{"S2 c-4-3-1 what may be read", "resource", object(alice, reads, records), "recordrecord-1 recordrecord-2"},
		{"c-4-3-2 the id is ignored", "resource", object(alice, reads, record2), "recordrecord-1 recordrecord-2"},
		{"S3 c-4-4-1 what may be done", "action", object(alice, record1), "read write"},
		{"c-4-4-2 with a context", "action", object(alice, record1, `"context":{"time":"now"}`), "read write"},
		{"S4 c-4-2-4 by a property of the resource", "subject", object(users, writes, archive), "userbob"},
		{"S5 c-4-3-3 by a property of the subject", "resource", object(admin, writes, records), "recordrecord-2"},
		{"S6 c-4-4-3 by both", "action", object(admin, archive), "read write"},
		{"c-4-6-1 an unknown id", "action", object(`"subject":{"type":"user","id":"nonexistent-user"}`, record1), ""},
		{"c-4-6-2 an unknown type", "subject", object(`"subject":{"type":"spaceship"}`, reads, record1), ""},
	} {
		t.Run(x.id, func(t *testing.T) {
			var out results
			w := c.post(search+x.find, x.body, http.StatusOK, &out)
			if out.in() != x.want || out.Results == nil || out.Page != nil {
				t.Errorf("%s", w.Body)
			}
		})
	}
	for _, x := range []struct{ id, find, body string }{
		{"c-4-7-1 no action", "subject", object(users, record1)}, {"c-4-7-1 no subject", "resource", object(reads, records)}, {"c-4-7-1 no resource", "action", object(alice)},
		{"c-4-7-2 no resource.id", "subject", object(users, reads, records)}, {"c-4-7-2 no subject.id", "resource", object(users, reads, records)},
		{"no subject.type", "subject", object(`"subject":{}`, reads, record1)}, {"page is a number", "subject", object(users, reads, record1, `"page":7`)},
		{"page.limit is 0", "subject", object(users, reads, record1, `"page":{"limit":0}`)}, {"page.token is none of ours", "subject", object(users, reads, record1, `"page":{"token":"abc"}`)},
	} {
		if w := c.do(http.MethodPost, search+x.find, x.body); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", x.id, w.Code, w.Body)
		}
	}
}

// TestCertificationPages is c-4-5.
func TestCertificationPages(t *testing.T) {
	c := point(t, certified(), nil)
	body := func(page string) string { return object(`"subject":{"type":"user"}`, reads, record1, `"page":`+page) }
	var first, second results
	c.post(search+"subject", body(`{"limit":1}`), http.StatusOK, &first)
	if first.in() != "useralice" || first.Page == nil || *first.Page.Next == "" || first.Page.Count != 1 || first.Page.Total != 2 {
		t.Fatalf("%+v", first)
	}
	c.post(search+"subject", body(`{"token":"`+*first.Page.Next+`"}`), http.StatusOK, &second)
	if second.in() != "userbob" || second.Page == nil || *second.Page.Next != "" {
		t.Fatalf("%+v", second)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"of another search": c.do(http.MethodPost, search+"subject", object(`"subject":{"type":"user"}`, writes, record1, `"page":{"token":"`+*first.Page.Next+`"}`)),
		"of another caller": c.do(http.MethodPost, search+"subject", body(`{"token":"`+*first.Page.Next+`"}`), func(r *http.Request) { r.Header.Set("Authorization", "Bearer other") }),
		"changed":           c.do(http.MethodPost, search+"subject", body(`{"token":"`+strings.Replace(*first.Page.Next, "A", "B", 1)+`"}`)),
	} {
		if w.Code != http.StatusBadRequest {
			t.Errorf("a token %s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestCertificationDiscovery is c-6.
func TestCertificationDiscovery(t *testing.T) {
	for name, desk := range map[string]authzen.Desk{"without requests": nil, "with": &desk{}} {
		c := point(t, certified(), desk)
		for _, path := range []string{"/.well-known/authzen-configuration" + prefix, prefix + "/.well-known/authzen-configuration"} {
			w := httptest.NewRecorder()
			c.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			var m map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" || m["policy_decision_point"] != base {
				t.Fatalf("%s %s: %d %s", name, path, w.Code, w.Body)
			}
			for member, tail := range map[string]string{"access_evaluation_endpoint": evaluation, "access_evaluations_endpoint": evaluations, "search_subject_endpoint": search + "subject",
				"search_resource_endpoint": search + "resource", "search_action_endpoint": search + "action"} {
				if m[member] != base+tail {
					t.Errorf("%s: %v", member, m[member])
				}
			}
			if (m["access_request_endpoint"] == base+requests) != (desk != nil) || (m["jwks_uri"] != nil) != (desk != nil) || (m["capabilities"] != nil) != (desk != nil) {
				t.Errorf("%s: %s", name, w.Body)
			}
		}
	}
}
