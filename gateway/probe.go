package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
)

// Probe is the smallest gateway: a step that does nothing, taken through the whole pipeline. It shows what a protocol
// has to say, and is the canary with which `remit doctor` sees that what must be denied is denied.
//
//	POST …/probe/{read|write|privileged}?name=NAME
type Probe struct{}

// Classify reads the action from the path and the resource from the query.
func (Probe) Classify(_ context.Context, c remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	kind := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	res, err := remit.ParseResource("probe:" + r.URL.Query().Get("name"))
	if r.Method != http.MethodPost || err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "say POST …/probe/read?name=NAME")
	}
	return remit.Request{Gateway: "probe", Caller: c, Steps: []remit.Step{{Action: remit.Action("probe." + kind), Resource: res}}}, nil, nil
}

// Forward does nothing, successfully.
func (Probe) Forward(_ context.Context, _ remit.Order, _ Credential, w http.ResponseWriter) Result {
	if w != nil {
		writeJSON(w, http.StatusOK, remit.Decision{Verdict: remit.Allow})
	}
	return Result{Outcome: remit.Done}
}

// Refuse answers with the decision.
func (Probe) Refuse(w http.ResponseWriter, _ *http.Request, d remit.Decision) {
	writeJSON(w, d.Code.Info().HTTP, d)
}

// Fail answers with the problem.
func (Probe) Fail(w http.ResponseWriter, _ *http.Request, e *remit.Error) {
	i := e.Code.Info()
	writeJSON(w, i.HTTP, remit.Problem{Code: e.Code, Title: i.Meaning, Detail: e.Sentence, Status: i.HTTP})
}

// Reconcile: nothing ever happens.
func (Probe) Reconcile(context.Context, remit.Order) Result { return Result{Outcome: remit.Done} }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: there is nobody to tell
}
