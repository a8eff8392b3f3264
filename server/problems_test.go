package server_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/server"
)

// problem makes a request and holds the answer to RFC 9457 with a stable code and a sentence.
func problem(t *testing.T, w *world.World, method, path, auth, content, body string) (p remit.Problem, refused bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", auth)
	if content != "" {
		r.Header.Set("Content-Type", content)
	}
	resp, b := answer(t, w, r)
	if resp.StatusCode < 300 {
		return p, false
	}
	if err := json.Unmarshal(b, &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != resp.StatusCode || p.Title == "" || p.Detail == "" {
		t.Errorf("%s %s: %s %s: not a problem of RFC 9457: %.300s", method, path, resp.Status, resp.Header.Get("Content-Type"), b)
	}
	if i := slices.IndexFunc(remit.Codes(), func(c remit.CodeInfo) bool { return c.Code == p.Code }); i < 0 || remit.Codes()[i].HTTP != p.Status {
		t.Errorf("%s %s: code %s with status %d is not in the registry", method, path, p.Code, p.Status)
	}
	return p, true
}

// forms take no JSON: they answer as RFC 6749 and RFC 8628 have it; and a held connection is no document.
var forms = []string{"/oauth/device", "/oauth/token", "/instances/{id}/hold"}

// TestEveryRouteRefusesWhatItDoesNotUnderstand goes through the document of the API: whatever the route, a body that is too
// large, says something twice, says what nobody knows, is no JSON, or says that it is something else gets a problem with
// its code, status and a sentence that names what is wrong; and nothing is recorded.
func TestEveryRouteRefusesWhatItDoesNotUnderstand(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	task := w.Task("cleo")
	inst := w.Instance("cleo", task.ID)
	held := w.Push(inst, shown(), ".envrc")
	var doc struct {
		Paths map[string]map[string]struct {
			Security    []map[string][]string
			Description string
			RequestBody *struct{ Description string } `json:"requestBody"`
		}
	}
	if err := json.Unmarshal(server.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	ada := bearer(t, w, "ada")
	fill := func(path string) string {
		id := string(task.ID)
		switch {
		case strings.Contains(path, "/instances/"):
			id = string(inst.ID)
		case strings.Contains(path, "/approvals/"):
			id = string(held.Access)
		}
		return strings.NewReplacer("{org}", "acme", "{id}", id, "{name}", "coder", "{entry}", "3", "{code}", "BBBB-BBBB", "{digest}", "sha256:00", "{path}", "x").Replace(path)
	}
	routes, before := 0, head(w)
	for path, methods := range doc.Paths {
		short := strings.TrimPrefix(path, "/v1/orgs/{org}")
		post, ok := methods["post"]
		if !ok || slices.Contains(forms, short) {
			continue
		}
		if post.RequestBody == nil {
			t.Errorf("POST %s takes no body, and is no form", path)
			continue
		}
		routes++
		who := func(scheme string) bool {
			return slices.ContainsFunc(post.Security, func(m map[string][]string) bool { _, ok := m[scheme]; return ok })
		}
		auth := ""
		switch {
		case who("person"):
			auth = ada
		case who("instance"):
			auth = instanceAuth(inst)
		}
		large := `{"x":"` + strings.Repeat("x", 9<<20) + `"}`
		for _, c := range []struct {
			what, content, body string
			code                remit.Code
			says                string
		}{
			{"too large", "application/json", large, remit.TooLarge, "larger than"},
			{"a member twice", "application/json", `{"twofold":1,"twofold":2}`, remit.BadRequest, "twofold"},
			{"a member twice, deep", "application/json", `{"x":[{"twofold":1,"TWOFOLD":2}]}`, remit.BadRequest, "TWOFOLD"},
			{"an unknown member", "application/json", `{"nobody_knows":true}`, remit.BadRequest, "nobody_knows"},
			{"no JSON", "application/json", `agent=coder`, remit.BadRequest, "JSON"},
			{"nothing", "application/json", ``, remit.BadRequest, "JSON"},
			{"a list", "application/json", `[]`, remit.BadRequest, "JSON"},
			{"more behind it", "application/json", `{}{}`, remit.BadRequest, "more after"},
			{"nested without end", "application/json", strings.Repeat(`{"a":`, 1000), remit.BadRequest, "nested"},
			{"a number that no number is", "application/json", `{"x":1e999}`, remit.BadRequest, "too large"},
			{"a form", "application/x-www-form-urlencoded", `{}`, remit.MediaType, "Content-Type"},
			{"text", "text/plain; charset=utf-8", `{}`, remit.MediaType, "Content-Type"},
			{"a content type that is none", "application/json;;;=", `{}`, remit.MediaType, "Content-Type"},
		} {
			p, refused := problem(t, w, "POST", fill(path), auth, c.content, c.body)
			if who("executor") { // nobody shows an SVID here: the door is shut before the body is read
				if p.Code != remit.Unauthenticated && p.Code != remit.Forbidden && p.Code != remit.NotFound {
					t.Errorf("POST %s without an SVID: %+v", path, p)
				}
				break
			}
			if !refused || p.Code != c.code || !strings.Contains(p.Detail, c.says) {
				t.Errorf("POST %s, %s: %+v; want %s with %q", path, c.what, p, c.code, c.says)
			}
		}
	}
	if n := head(w); n != before {
		t.Errorf("%d entries were made", n-before)
	}
	if routes < 45 {
		t.Errorf("only %d routes", routes)
	}
}

// TestStatementsThatAreNotTheirOwn: votes and keys that somebody else signed, that are of another request, of another
// house, or of a time that has not come, are problems; and nothing is recorded.
func TestStatementsThatAreNotTheirOwn(t *testing.T) {
	w := world.New(t, world.Options{Profile: remit.Demo})
	w.Declare(w.Team())
	task := w.Task("cleo")
	held := w.Push(w.Instance("cleo", task.ID), shown(), ".envrc")
	v, err := w.SignIn("ben").Access(t.Context(), held.Access)
	if err != nil {
		t.Fatal(err)
	}
	ben := bearer(t, w, "ben")
	path := "/v1/orgs/acme/approvals/" + string(held.Access) + "/votes"
	changed := func(f func(*remit.AccessView)) remit.AccessView { x := v; f(&x); return x }
	for what, c := range map[string]struct {
		by string
		v  remit.AccessView
	}{
		"a key that nobody declared":        {"mallory", v},
		"a colleague's key":                 {"ada", v},
		"another request":                   {"ben", changed(func(x *remit.AccessView) { x.ID = "A-999" })},
		"another effect":                    {"ben", changed(func(x *remit.AccessView) { x.Effect = remit.Digest{1} })},
		"another card":                      {"ben", changed(func(x *remit.AccessView) { x.Card = remit.Digest{1} })},
		"a time that has not come":          {"ben", changed(func(x *remit.AccessView) { x.NotAfter = x.NotAfter.Add(24 * time.Hour) })},
		"a time that is over":               {"ben", changed(func(x *remit.AccessView) { x.NotAfter = x.NotAfter.Add(-24 * time.Hour) })},
		"a year that no statement can name": {"ben", changed(func(x *remit.AccessView) { x.NotAfter = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) })},
	} {
		before := head(w)
		text, sig := w.Statement(c.by, c.v, true)
		body, err := json.Marshal(remit.VoteRequest{Statement: text, Signature: sig})
		if err != nil {
			t.Fatal(err)
		}
		p, refused := problem(t, w, "POST", path, ben, "application/json", string(body))
		if !refused || p.Code != remit.BadVote && p.Code != remit.NotEligible || head(w) != before {
			t.Errorf("%s: %+v, %d entries", what, p, head(w)-before)
		}
	}
}

// TestWhatIsNotThere: addresses of what there is not, and queries that mean nothing, are problems.
func TestWhatIsNotThere(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	ada := bearer(t, w, "ada")
	before := head(w)
	for path, code := range map[string]remit.Code{
		"/v1/orgs/other/tasks": remit.NotFound, "/v1/orgs/acme/tasks/T-999": remit.NotFound, "/v1/orgs/acme/tasks/%00": remit.NotFound,
		"/v1/orgs/acme/tasks?all=maybe": remit.BadRequest, "/v1/orgs/acme/decisions/-1": remit.BadRequest, "/v1/orgs/acme/log/entries?from=x": remit.BadRequest,
		"/v1/orgs/acme/log/entries?format=tea": remit.BadRequest, "/v1/orgs/acme/approvals/A-999": remit.NotFound, "/v1/orgs/acme/agents/nobody": remit.NotFound,
		"/v1/orgs/acme/leases/L-9/receipt": remit.NotFound, "/v2": remit.NotFound,
	} {
		if p, refused := problem(t, w, "GET", path, ada, "", ""); !refused || p.Code != code {
			t.Errorf("%s: %+v; want %s", path, p, code)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		if p, refused := problem(t, w, method, "/v1/orgs/acme/tasks", ada, "application/json", "{}"); !refused || p.Code != remit.NotFound {
			t.Errorf("%s: %+v", method, p)
		}
	}
	if head(w) != before {
		t.Error("something was recorded")
	}
}
