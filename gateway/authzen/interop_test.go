package authzen_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/authzen"
)

// lines are those of a table, in fields.
func lines(t *testing.T, file string) (out [][]string) {
	t.Helper()
	b, err := os.ReadFile("testdata/openid-authzen/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 0 && !strings.HasPrefix(l, "#") {
			out = append(out, f)
		}
	}
	return out
}

// entity is a JSON object with a type, an id and properties.
func entity(typ, id string, properties map[string]string) map[string]any {
	e := map[string]any{"type": typ, "id": id}
	if properties != nil {
		e["properties"] = properties
	}
	return e
}

// todoRoles are those of the Todo scenario.
var todoRoles = map[string][]string{"rick@the-citadel.com": {"admin", "evil_genius"}, "morty@the-citadel.com": {"editor"}, "summer@the-smiths.com": {"editor"},
	"beth@the-smiths.com": {"viewer"}, "jerry@the-smiths.com": {"viewer"}}

// todos is the policy of the Todo scenario.
func todos() data {
	return data{may: func(q authzen.Question) bool {
		roles, known := todoRoles[q.Subject.ID]
		is := func(role string) bool { return slices.Contains(roles, role) }
		own := text(q.Resource, "ownerID") == q.Subject.ID
		switch q.Action.Name {
		case "can_read_user", "can_read_todos":
			return known
		case "can_create_todo":
			return is("admin") || is("editor")
		case "can_update_todo":
			return is("evil_genius") || is("editor") && own
		case "can_delete_todo":
			return is("admin") || is("editor") && own
		}
		return false
	}}
}

// TestInteropTodo is the Todo scenario: 40 evaluations, and 3 batches.
func TestInteropTodo(t *testing.T) {
	c := point(t, todos(), nil)
	n, batches := 0, 0
	for _, f := range lines(t, "todo.txt") {
		if f[0] == "batch" {
			batches++
			items := []any{}
			for owner := range strings.SplitSeq(f[3], ",") {
				items = append(items, map[string]any{"resource": entity("todo", "7240d0db-8ff0-41ec-98b2-34a096273b9f", map[string]string{"ownerID": owner})})
			}
			var out struct{ Evaluations []decision }
			c.post(evaluations, map[string]any{"subject": entity("user", f[1], nil), "action": map[string]any{"name": f[2]}, "evaluations": items}, http.StatusOK, &out)
			var got []string
			for _, d := range out.Evaluations {
				got = append(got, map[bool]string{true: "yes", false: "no"}[*d.Decision])
			}
			if strings.Join(got, ",") != f[4] {
				t.Errorf("%v: %v", f, got)
			}
			continue
		}
		todo := func(owner string) map[string]any {
			return entity("todo", "7240d0db-8ff0-41ec-98b2-34a096273b92", map[string]string{"ownerID": owner})
		}
		for i, q := range []struct {
			action   string
			resource map[string]any
		}{
			{"can_read_user", entity("user", "beth@the-smiths.com", nil)}, {"can_read_user", entity("user", f[0], nil)}, {"can_read_todos", entity("todo", "todo-1", nil)},
			{"can_create_todo", entity("todo", "todo-1", nil)}, {"can_update_todo", todo("rick@the-citadel.com")}, {"can_update_todo", todo(f[9])},
			{"can_delete_todo", todo("rick@the-citadel.com")}, {"can_delete_todo", todo(f[9])},
		} {
			n++
			if got := asked(c, entity("user", f[0], nil), q.action, q.resource); got != (f[1+i] == "yes") {
				t.Errorf("%s %s %v: %v", f[0], q.action, q.resource, got)
			}
		}
	}
	if n != 40 || batches != 3 {
		t.Errorf("%d evaluations and %d batches", n, batches)
	}
}

func asked(c *client, subject map[string]any, action string, resource map[string]any) bool {
	c.t.Helper()
	var d decision
	c.post(evaluation, map[string]any{"subject": subject, "action": map[string]any{"name": action}, "resource": resource}, http.StatusOK, &d)
	return *d.Decision
}

// TestInteropGateways is the API gateway scenario: 25 evaluations.
func TestInteropGateways(t *testing.T) {
	names := []string{"rick@the-citadel.com", "morty@the-citadel.com", "summer@the-smiths.com", "beth@the-smiths.com", "jerry@the-smiths.com"}
	rows := lines(t, "gateways.txt")
	c := point(t, data{may: func(q authzen.Question) bool {
		i := slices.IndexFunc(rows, func(f []string) bool { return f[0] == q.Subject.ID })
		if i < 0 || q.Subject.Type != "identity" || q.Resource.Type != "route" {
			return false
		}
		// A gateway knows the route and not the todo: whoever may change their own may try.
		action := map[string]string{"GET /users/{userId}": "can_read_user", "GET /todos": "can_read_todos", "POST /todos": "can_create_todo", "PUT /todos/{todoId}": "can_update_todo",
			"DELETE /todos/{todoId}": "can_delete_todo"}[q.Action.Name+" "+q.Resource.ID]
		return todos().may(authzen.Question{Subject: &authzen.Entity{ID: names[i]}, Action: &authzen.Entity{Name: action}, Resource: &authzen.Entity{Properties: property("ownerID", names[i])}})
	}}, nil)
	n := 0
	for _, f := range rows {
		for i, q := range [][2]string{{"GET", "/users/{userId}"}, {"GET", "/todos"}, {"POST", "/todos"}, {"PUT", "/todos/{todoId}"}, {"DELETE", "/todos/{todoId}"}} {
			n++
			if got := asked(c, entity("identity", f[0], nil), q[0], entity("route", q[1], nil)); got != (f[1+i] == "yes") {
				t.Errorf("%s %v: %v", f[0], q, got)
			}
		}
	}
	if n != 25 {
		t.Errorf("%d evaluations", n)
	}
}

// records is the data set of the search scenario, with its policy: managers see everything, everybody what is theirs or
// their department's; owners and the managers of a department edit; owners delete.
func records(t *testing.T) data {
	users, things := map[string][2]string{}, map[string][2]string{}
	d := data{subjects: map[string][]authzen.Entity{}, resources: map[string][]authzen.Entity{}, actions: []string{"delete", "edit", "view"}}
	for _, f := range lines(t, "search.txt") {
		switch f[0] {
		case "user":
			users[f[1]] = [2]string{f[2], f[3]}
			d.subjects["user"] = append(d.subjects["user"], authzen.Entity{Type: "user", ID: f[1]})
		case "record":
			things[f[1]] = [2]string{f[2], f[3]}
			d.resources["record"] = append(d.resources["record"], authzen.Entity{Type: "record", ID: f[1]})
		}
	}
	d.may = func(q authzen.Question) bool {
		u, known := users[q.Subject.ID]
		r, exists := things[q.Resource.ID]
		owns, manages, same := r[1] == q.Subject.ID, u[0] == "manager", u[1] == r[0]
		switch {
		case !known || !exists:
			return false
		case q.Action.Name == "view":
			return owns || manages || same
		case q.Action.Name == "edit":
			return owns || manages && same
		}
		return q.Action.Name == "delete" && owns
	}
	return d
}

// TestInteropSearch is the search scenario: 60 searches for subjects, 18 for resources, 120 for actions.
func TestInteropSearch(t *testing.T) {
	d := records(t)
	c := point(t, d, nil)
	who, what := map[string][]string{}, map[string][]string{} // of record and action; of user and record
	resources := 0
	for _, f := range lines(t, "search.txt") {
		if f[0] != "may" {
			continue
		}
		resources++
		if got := look(c, "resource", map[string]any{"subject": entity("user", f[1], nil), "action": map[string]any{"name": f[2]}, "resource": map[string]any{"type": "record"}}); !slices.Equal(got, f[3:]) {
			t.Errorf("%v: %v", f, got)
		}
		for _, r := range f[3:] {
			who[r+" "+f[2]] = append(who[r+" "+f[2]], f[1])
			what[f[1]+" "+r] = append(what[f[1]+" "+r], f[2])
		}
	}
	subjects, actions := 0, 0
	for _, r := range d.resources["record"] {
		for _, a := range d.actions {
			subjects++
			if got := look(c, "subject", map[string]any{"subject": map[string]any{"type": "user"}, "action": map[string]any{"name": a}, "resource": entity("record", r.ID, nil)}); !slices.Equal(got, who[r.ID+" "+a]) {
				t.Errorf("who may %s %s: %v", a, r.ID, got)
			}
		}
		for _, u := range d.subjects["user"] {
			actions++
			got := look(c, "action", map[string]any{"subject": entity("user", u.ID, nil), "resource": entity("record", r.ID, nil)})
			want := slices.Sorted(slices.Values(what[u.ID+" "+r.ID]))
			if !slices.Equal(got, want) {
				t.Errorf("what may %s do with %s: %v", u.ID, r.ID, got)
			}
		}
	}
	if subjects != 60 || resources != 18 || actions != 120 {
		t.Errorf("%d, %d and %d searches", subjects, resources, actions)
	}
}

// look gives the ids, or names, of what is found.
func look(c *client, find string, body map[string]any) (out []string) {
	c.t.Helper()
	var r results
	c.post(search+find, body, http.StatusOK, &r)
	for _, x := range r.Results {
		out = append(out, x["id"]+x["name"])
	}
	return out
}

// TestInteropIdP is the identity provider scenario: 6 searches, each in pages of two.
func TestInteropIdP(t *testing.T) {
	c := point(t, records(t), nil)
	rows := lines(t, "idp.txt")
	for _, f := range rows {
		body := map[string]any{"subject": entity("user", f[1], nil), "action": map[string]any{"name": f[2]}, "resource": map[string]any{"type": "record"}, "page": map[string]any{"limit": 2}}
		var got []string
		for range 5 {
			var r results
			c.post(search+"resource", body, http.StatusOK, &r)
			for _, x := range r.Results {
				got = append(got, x["id"])
			}
			if r.Page == nil || *r.Page.Next == "" {
				break
			}
			body["page"] = map[string]any{"token": *r.Page.Next}
		}
		if !slices.Equal(got, f[3:]) {
			t.Errorf("%v: %v", f, got)
		}
	}
	if len(rows) != 6 {
		t.Errorf("%d searches", len(rows))
	}
}
