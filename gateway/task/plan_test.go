package task_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/task"
)

func TestAPlanIsClassified(t *testing.T) {
	g := task.Gateway{Tasks: &tasks{}}
	req, payloads, err := g.Classify(t.Context(), caller, post("plan", `{"intent":"close it","for":60000000000,"steps":[
		{"action":"tool.call","resource":"tool:jira/close","arguments":{"b":1,"a":"<x>"},"intent":"the ticket"},
		{"action":"source.merge","resource":"repo:forge/acme/app","refs":["refs/heads/main"],"paths":["src/**"],"uses":2},
		{"action":"artifact.publish","resource":"artifact:oci/app","artifacts":[{"resource":"artifact:oci/app","digest":"sha256:`+strings.Repeat("a", 64)+`"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p := req.Plan
	if req.Caller != caller || len(req.Steps) != 1 || req.Steps[0] != (remit.Step{Action: "task.plan", Resource: "task:coder", Args: p.Digest()}) || p.For != 60e9 || len(p.Steps) != 3 {
		t.Fatalf("%+v", req)
	}
	if p.Steps[0].Args != remit.ToolDigest("tools/call", json.RawMessage(`{"a":"<x>","b":1}`)) || p.Steps[1].Exact() || p.Steps[2].Args != remit.ArtifactsDigest([]remit.Artifact{{Resource: "artifact:oci/app", Digest: "sha256:" + strings.Repeat("a", 64)}}) {
		t.Fatalf("the digests are not of what the steps say: %+v", p.Steps)
	}
	var shown remit.Shown
	if err := json.Unmarshal(payloads[0].Body, &shown); err != nil || req.Card != payloads[0].Commitment() {
		t.Fatal(err)
	}
	for _, words := range []string{`in the agent's own words: "close it"`, `in the agent's own words: "the ticket"`, `"b": 1`, "steps[1], an envelope", "2 times", "steps[2], exact, 1 times"} {
		if !strings.Contains(shown.Diff, words) {
			t.Errorf("people do not read %s in\n%s", words, shown.Diff)
		}
	}
	w := httptest.NewRecorder()
	if res := g.Forward(t.Context(), remit.Order{Steps: req.Steps, Body: req.Order}, nil, w); res.Outcome != remit.Done || w.Code != 201 || !strings.Contains(w.Body.String(), `"in_force":true`) {
		t.Errorf("%+v %d %s", res, w.Code, w.Body)
	}
	if res := g.Reconcile(t.Context(), remit.Order{Steps: req.Steps, Body: req.Order}); res.Outcome != remit.NotApplied {
		t.Errorf("%+v", res)
	}
}

func TestAPlanThatCannotBeRead(t *testing.T) {
	g := task.Gateway{Tasks: &tasks{}}
	digest := strings.Repeat("ab", 32)
	for name, body := range map[string]string{
		"no intent":                  `{"steps":[]}`,
		"an unknown member":          `{"intent":"x","stepz":[]}`,
		"a member twice":             `{"intent":"x","steps":[{"action":"tool.call","action":"tool.read","resource":"tool:a/b"}]}`,
		"arguments of no tool":       `{"intent":"x","steps":[{"action":"source.push","resource":"repo:f/a","arguments":{}}]}`,
		"artifacts of no publishing": `{"intent":"x","steps":[{"action":"source.push","resource":"repo:f/a","artifacts":[{"resource":"artifact:o/a","digest":"x"}]}]}`,
		"another digest":             `{"intent":"x","steps":[{"action":"tool.call","resource":"tool:a/b","arguments":{},"args":"` + digest + `"}]}`,
		"long words":                 `{"intent":"x","steps":[{"action":"tool.call","resource":"tool:a/b","intent":"` + strings.Repeat("x", 513) + `"}]}`,
		"more than people can read":  `{"intent":"x","steps":[` + strings.TrimSuffix(strings.Repeat(`{"action":"tool.call","resource":"tool:a/b","arguments":{"x":[`+strings.TrimSuffix(strings.Repeat("1,", 4000), ",")+`]}},`, 1), ",") + `]}`,
	} {
		if _, _, err := g.Classify(t.Context(), caller, post("plan", body)); err == nil {
			t.Errorf("%s: it is a plan", name)
		}
	}
	req, payloads, err := g.Classify(t.Context(), caller, post("plan", `{"intent":"x","steps":[{"action":"secret.read","resource":"secret:a/b","effect":"`+digest+`"}]}`))
	if err != nil || !req.Plan.Steps[0].Exact() || !strings.Contains(string(payloads[0].Body), "nothing can be shown") {
		t.Errorf("%v %s", err, payloads[0].Body)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(`{"intent":"x","steps":[{"action":"tool.call","resource":"tool:a/b","arguments":{"a":[1e5,"\u2028"]}}]}`)
	f.Add(`{"intent":"x","steps":[{"action":"source.push","resource":"repo:f/**","paths":["src/**"],"uses":3}]}`)
	g := task.Gateway{Tasks: &tasks{}}
	f.Fuzz(func(t *testing.T, body string) {
		req, payloads, err := g.Classify(t.Context(), caller, post("plan", body))
		if err != nil {
			return
		}
		if req.Plan == nil || req.Steps[0].Args != req.Plan.Digest() || len(payloads) != 1 || len(payloads[0].Body) > remit.MaxPayload*4 {
			t.Errorf("%+v", req)
		}
	})
}
