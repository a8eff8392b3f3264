package authzen_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/authzen"
)

// TestTokensOfOthers: a token of another decision point that has the same key, or of another kind, binds nothing.
func TestTokensOfOthers(t *testing.T) {
	c, d, pdp, submission := world(t)
	elsewhere := &authzen.Point{Authn: bearers{"good": caller}, PDP: pdp, Desk: &desk{}, Base: "https://other.example/authzen", Key: pointKey, Seal: [32]byte{7}, Now: func() time.Time { return c.now }}
	h, err := elsewhere.Handler(prefix)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, prefix+evaluation, strings.NewReader(string(must(json.Marshal(question(nil))))))
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var theirs denial
	c.read(w, http.StatusOK, &theirs)
	other := submission(func(m map[string]any) { m["denial"] = theirs.echoed() })
	var p handed
	c.post(requests, other, http.StatusBadRequest, &p)
	if !strings.HasSuffix(p.Type, "invalid_denial_binding") || len(d.all) != 0 {
		t.Errorf("%+v", p)
	}

	c, d, _, approval := approvedOnce(t)
	var ours denial
	c.post(evaluation, question(nil), http.StatusOK, &ours)
	m := question(nil)
	m["denial"] = ours.echoed()
	m["denial"].(map[string]any)["binding_token"] = approval["state"]
	c.post(requests, m, http.StatusBadRequest, &p)
	if !strings.HasSuffix(p.Type, "invalid_denial_binding") || len(d.all) != 1 {
		t.Errorf("an approval is taken for a denial: %+v", p)
	}
	approval["state"] = ours.Context.Request.Token
	var no denial
	c.post(evaluation, question(approval), http.StatusOK, &no)
	if no.Decision || no.Context.Reason != "approval_unverifiable" || d.used != 0 {
		t.Errorf("a denial is taken for an approval: %+v", no)
	}
}

// TestTheStateOfAnotherApproval: two approvals of one question are two; the state of one is not good with the name of the
// other.
func TestTheStateOfAnotherApproval(t *testing.T) {
	c, d, _, first := approvedOnce(t)
	var ours, no denial
	c.post(evaluation, question(nil), http.StatusOK, &ours)
	m := question(nil)
	m["denial"] = ours.echoed()
	var task handed
	c.post(requests, m, http.StatusAccepted, &task)
	d.all[1].Status = remit.AccessMet
	c.read(c.do(http.MethodGet, task.path(), ""), http.StatusOK, &task)
	var second map[string]any
	if err := json.Unmarshal(task.Result.Approval, &second); err != nil {
		t.Fatal(err)
	}
	if first["id"] == second["id"] {
		t.Fatal("they have one name")
	}
	c.post(evaluation, question(map[string]any{"id": second["id"], "state": first["state"]}), http.StatusOK, &no)
	if no.Decision || no.Context.Reason != "approval_unverifiable" || d.used != 0 {
		t.Errorf("%+v", no)
	}
}
