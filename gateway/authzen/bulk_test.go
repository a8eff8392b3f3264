package authzen_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

type handedAll struct {
	Task struct {
		ID       string            `json:"id"`
		Status   string            `json:"status"`
		Endpoint string            `json:"status_endpoint"`
		Links    map[string]string `json:"links"`
		Items    []struct {
			Resource map[string]any `json:"resource"`
			Action   map[string]any `json:"action"`
			Status   string         `json:"status"`
			Result   *struct {
				Mode     string          `json:"mode"`
				Approval json.RawMessage `json:"approval"`
			} `json:"result"`
		} `json:"items"`
	} `json:"task"`
	Result json.RawMessage `json:"result"`
	Type   string          `json:"type"`
	Detail string          `json:"detail"`
}

func (h handedAll) path() string { return strings.TrimPrefix(h.Task.Endpoint, base) }

// about is a question about one document.
func about(name string, approval any) map[string]any {
	q := question(approval)
	q["resource"] = entity("document", name, nil)
	return q
}

// inBulk asks about documents in one evaluations request, and makes one submission of its denials.
func inBulk(c *client, names ...string) map[string]any {
	c.t.Helper()
	var list []any
	for _, n := range names {
		list = append(list, map[string]any{"resource": entity("document", n, nil)})
	}
	q := question(nil)
	delete(q, "resource")
	q["evaluations"] = list
	var out struct{ Evaluations []denial }
	c.post(evaluations, q, http.StatusOK, &out)
	if len(out.Evaluations) != len(names) {
		c.t.Fatalf("%d answers", len(out.Evaluations))
	}
	var items []any
	for i, n := range names {
		items = append(items, map[string]any{"resource": entity("document", n, nil), "action": map[string]any{"name": "read"}, "denial": out.Evaluations[i].echoed()})
	}
	return map[string]any{"subject": q["subject"], "context": q["context"], "items": items}
}

// TestBulk: several denials of one batch have one task; each item is decided by itself, and is good for itself alone.
func TestBulk(t *testing.T) {
	c, d, _, _ := world(t)
	sent := inBulk(c, "a", "b", "c")
	var h, again handedAll
	w := c.post(requests, sent, http.StatusAccepted, &h, key("k"))
	if w.Header().Get("Location") != h.Task.Endpoint || w.Header().Get("Retry-After") == "" || h.Task.Status != "pending" || len(h.Task.Items) != 3 || len(d.all) != 3 || len(h.Result) > 0 {
		t.Fatalf("%+v", h)
	}
	for i, n := range []string{"a", "b", "c"} {
		if it := h.Task.Items[i]; it.Resource["id"] != n || it.Action["name"] != "read" || it.Status != "pending" || it.Result != nil {
			t.Errorf("item %d: %+v", i, it)
		}
		if !strings.Contains(d.cards[i], "together with 2 others") {
			t.Errorf("people are not told that it is one of three: %s", d.cards[i])
		}
	}
	// Again: by its key, also when the denials have long ended; without it by its tokens; another body under the key is refused.
	c.post(requests, sent, http.StatusAccepted, &again)
	if again.Task.ID != h.Task.ID || len(d.all) != 3 {
		t.Errorf("without its key: %+v", again.Task)
	}
	c.now = c.now.Add(time.Hour)
	c.post(requests, sent, http.StatusAccepted, &again, key("k"))
	if again.Task.ID != h.Task.ID || len(d.all) != 3 {
		t.Errorf("with its key: %+v", again.Task)
	}
	sent["client"] = map[string]any{"name": "another"}
	c.post(requests, sent, http.StatusConflict, &again, key("k"))
	c.post(requests, sent, http.StatusGone, &again)
	if !strings.HasSuffix(again.Type, "expired_denial") || !strings.HasPrefix(again.Detail, "items[0]: ") {
		t.Errorf("%+v", again)
	}

	// One is approved, one is refused: still pending, as the third one is; then partial.
	d.all[0].Status, d.all[1].Status, d.all[1].Why = remit.AccessMet, remit.AccessVoid, remit.Vetoed
	c.read(c.do(http.MethodGet, h.path(), ""), http.StatusOK, &again)
	if it := again.Task.Items; again.Task.Status != "pending" || it[0].Status != "approved" || it[0].Result == nil || it[0].Result.Mode != "reevaluate" || it[1].Status != "denied" || it[1].Result != nil {
		t.Errorf("%+v", again.Task)
	}
	c.read(c.do(http.MethodGet, h.path(), "", as("other")), http.StatusNotFound, &again)
	c.read(c.do(http.MethodPost, h.path()+"/cancel", "", as("other")), http.StatusNotFound, &again)
	if d.all[2].Status != remit.AccessOpen {
		t.Error("another task took an item back")
	}
	again = handedAll{}
	c.read(c.do(http.MethodPost, h.path()+"/cancel", ""), http.StatusOK, &again)
	if again.Task.Status != "partial" || again.Task.Items[0].Status != "approved" || again.Task.Items[2].Status != "cancelled" || again.Task.Links["cancel"] != "" {
		t.Errorf("%+v", again.Task)
	}
	c.read(c.do(http.MethodPost, h.path()+"/cancel", ""), http.StatusConflict, &again)

	// What was approved of one is not good for another.
	var yes denial
	approval := again.Task.Items[0].Result.Approval
	c.post(evaluation, about("b", approval), http.StatusOK, &yes)
	if yes.Decision || yes.Context.Reason != "out_of_scope" {
		t.Errorf("another item: %+v", yes)
	}
	yes = denial{}
	c.post(evaluation, about("a", approval), http.StatusOK, &yes)
	if !yes.Decision || d.used != 1 {
		t.Errorf("%+v", yes)
	}
	c.now = d.end
	c.read(c.do(http.MethodGet, h.path(), ""), http.StatusGone, &again)
}

// TestBulkOfTheSame: all approved is approved, and the state of a task is that of its items.
func TestBulkOfTheSame(t *testing.T) {
	for _, x := range []struct {
		first, second remit.AccessStatus
		why           remit.Code
		want          string
	}{
		{remit.AccessMet, remit.AccessUsed, "", "approved"}, {remit.AccessVoid, remit.AccessVoid, remit.Vetoed, "denied"}, {remit.AccessVoid, remit.AccessMet, remit.Vetoed, "partial"},
		{remit.AccessMet, remit.AccessOpen, "", "pending"}, {remit.AccessOpen, remit.AccessVoid, remit.Expired, "pending"},
	} {
		c, d, _, _ := world(t)
		var h handedAll
		c.post(requests, inBulk(c, "a", "b"), http.StatusAccepted, &h)
		d.all[0].Status, d.all[0].Why, d.all[1].Status, d.all[1].Why = x.first, x.why, x.second, x.why
		c.read(c.do(http.MethodGet, h.path(), ""), http.StatusOK, &h)
		if h.Task.Status != x.want {
			t.Errorf("%s and %s: %s; want %s", x.first, x.second, h.Task.Status, x.want)
		}
	}
}

// TestBulkIsAllOrNothing: whatever is wrong with one item, nobody is asked about any.
func TestBulkIsAllOrNothing(t *testing.T) {
	second := func(m map[string]any) map[string]any { return m["items"].([]any)[1].(map[string]any) }
	for _, x := range []struct {
		name   string
		change func(map[string]any)
		typ    string
		says   string
	}{
		{"a resource beside items", func(m map[string]any) { m["resource"] = entity("document", "a", nil) }, "", "resource"},
		{"an action beside items", func(m map[string]any) { m["action"] = map[string]any{"name": "read"} }, "", "action"},
		{"a callback", func(m map[string]any) { m["callback"] = map[string]any{"endpoint": calledBack} }, "", "callback"},
		{"no items", func(m map[string]any) { m["items"] = []any{} }, "", "items"},
		{"items that are none", func(m map[string]any) { m["items"] = "all" }, "", "items"},
		{"too many items", func(m map[string]any) {
			for range 9 {
				m["items"] = append(m["items"].([]any), second(m))
			}
		}, "", "items"},
		{"an item without its denial", func(m map[string]any) { m["denial"] = second(m)["denial"]; delete(second(m), "denial") }, "invalid_denial_binding", "items[1].denial"},
		{"an item without an action", func(m map[string]any) { delete(second(m), "action") }, "", "items[1]: action"},
		{"another item's denial", func(m map[string]any) { second(m)["denial"] = m["items"].([]any)[0].(map[string]any)["denial"] }, "invalid_denial_binding", "items[1]"},
		{"an item twice", func(m map[string]any) { m["items"].([]any)[1] = m["items"].([]any)[0] }, "", "items[1].denial"},
		{"another resource", func(m map[string]any) { second(m)["resource"] = entity("document", "z", nil) }, "invalid_denial_binding", "items[1]"},
		{"another context", func(m map[string]any) { m["context"] = map[string]any{"purpose": "fun"} }, "invalid_denial_binding", "items[0]"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, d, _, _ := world(t)
			m := inBulk(c, "a", "b")
			x.change(m)
			var p handedAll
			c.post(requests, m, http.StatusBadRequest, &p)
			if !strings.HasSuffix(p.Type, x.typ) || !strings.Contains(p.Detail, x.says) || len(d.all) != 0 {
				t.Errorf("%+v, and %d were asked for", p, len(d.all))
			}
		})
	}
	// One hold too many: what was opened before it is taken back.
	c, d, _, submission := world(t)
	d.most = 2
	var p handedAll
	c.post(requests, submission(nil), http.StatusAccepted, &p)
	c.post(requests, inBulk(c, "a", "b"), http.StatusBadRequest, &p)
	if !strings.HasSuffix(p.Type, "not_requestable") || !strings.HasPrefix(p.Detail, "items[1]: ") || len(d.all) != 2 || d.all[0].Status != remit.AccessOpen || d.all[1].Status != remit.AccessVoid {
		t.Errorf("%+v %+v", p, d.all)
	}
	// What is asked about alone is not asked about again, nor taken back with others.
	d.most = 0
	alone := submission(nil)
	var one handed
	c.post(requests, alone, http.StatusAccepted, &one)
	both := inBulk(c, "a", "b")
	both["items"].([]any)[1] = map[string]any{"resource": alone["resource"], "action": alone["action"], "denial": alone["denial"]}
	c.post(requests, both, http.StatusBadRequest, &p)
	if last := d.all[len(d.all)-1]; !strings.HasPrefix(p.Detail, "items[1]: ") || last.Status != remit.AccessVoid || d.all[len(d.all)-2].Status != remit.AccessOpen {
		t.Errorf("%+v", p)
	}
}

// TestHandlesOfBulk: nobody makes a handle of items of their own choice.
func TestHandlesOfBulk(t *testing.T) {
	c, _, _, submission := world(t)
	var one handed
	c.post(requests, submission(nil), http.StatusAccepted, &one)
	var h handedAll
	c.post(requests, inBulk(c, "a", "b"), http.StatusAccepted, &h)
	for _, bad := range []string{strings.Replace(one.Task.ID, "arq_", "arb_", 1), strings.Replace(h.Task.ID, "arb_", "arq_", 1), strings.Replace(h.Task.ID, "arb_", "apr_", 1), h.Task.ID + "AA", "arb_", "arb_" + strings.Repeat("A", 4000)} {
		if w := c.do(http.MethodGet, requests+"/"+bad, ""); w.Code != http.StatusNotFound {
			t.Errorf("%.40s: %d", bad, w.Code)
		}
	}
	var no denial
	c.post(evaluation, question(map[string]any{"id": h.Task.ID}), http.StatusOK, &no)
	if no.Decision || no.Context.Reason != "approval_unverifiable" {
		t.Errorf("%+v", no)
	}
}
