package server_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/server"
)

var update = flag.Bool("update", false, "write testdata/openapi.json anew")

func TestTheDocumentIsTheOneThatWasReviewed(t *testing.T) {
	const golden = "testdata/openapi.json"
	got := server.OpenAPI()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("the API differs from testdata/openapi.json; look at the difference, then: go test ./server -update")
	}
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			Schemas map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(got, &doc); err != nil {
		t.Fatal(err)
	}
	for _, ref := range strings.Split(string(got), `"$ref": "#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("the document refers to %s, which it does not have", name)
		}
	}
	if len(doc.Paths) < 35 {
		t.Errorf("%d paths", len(doc.Paths))
	}
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Declare(w.Team())
	cleo := bearer(t, w, "cleo")
	for name, c := range map[string]struct {
		path, body string
		code       remit.Code
	}{
		"an unknown member":           {"/tasks", `{"agent":"coder","intent":"x","root":true}`, remit.BadRequest},
		"a member twice":              {"/tasks", `{"agent":"coder","agent":"other","intent":"x"}`, remit.BadRequest},
		"a member twice, in capitals": {"/tasks", `{"agent":"coder","AGENT":"other","intent":"x"}`, remit.BadRequest},
		"a member twice, long s":      {"/tasks", `{"scope":[],"ſcope":[],"agent":"coder","intent":"x"}`, remit.BadRequest},
		"more after the value":        {"/tasks", `{"agent":"coder","intent":"x"}{}`, remit.BadRequest},
		"no JSON":                     {"/tasks", `agent=coder`, remit.BadRequest},
		"nothing":                     {"/tasks", ``, remit.BadRequest},
		"a body beyond the limit":     {"/tasks", `{"intent":"` + strings.Repeat("x", 65<<10) + `"}`, remit.TooLarge},
		"an intent that is empty":     {"/tasks", `{"agent":"coder","intent":""}`, remit.BadRequest},
		"a kill of nothing known":     {"/kill", `{"what":"planet","id":"x"}`, remit.BadRequest},
		"a budget below zero":         {"/tasks", `{"agent":"coder","intent":"x","budget":{"holds":-1}}`, remit.BadRequest},
		"a confinement of fantasy":    {"/instances", `{"task":"T-1","confinement":"moon"}`, remit.NotFound},
	} {
		status, h, body := call(t, w, "POST", "/v1/orgs/acme"+c.path, cleo, c.body)
		var p remit.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || p.Code != c.code || p.Status != status || p.Detail == "" || p.Title == "" ||
			h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for _, path := range []string{"/nowhere", "/v1/orgs/acme/nowhere", "/v1/orgs/other", "/v1/orgs/acme/tasks/T-999", "/v1/orgs/acme/decisions/99999"} {
		status, h, body := call(t, w, "GET", path, cleo, "")
		if status != http.StatusNotFound || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/v1/orgs/acme/tasks?all=maybe", "/v1/orgs/acme/decisions/x", "/v1/orgs/acme/log/entries?from=-1"} {
		if status, _, body := call(t, w, "GET", path, cleo, ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestEveryAnswerSaysToBrowsersThatNothingIsKeptOrLoaded(t *testing.T) {
	w := world.New(t, world.Options{})
	for _, path := range []string{"/v1/health", "/v1/orgs/acme", "/nowhere", "/v1/orgs/acme/session"} {
		_, h, _ := call(t, w, "GET", path, "", "")
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s: %q", path, name, h.Get(name))
			}
		}
		if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestAPanicIsAnsweredWithoutItsText(t *testing.T) {
	w := world.New(t, world.Options{Mounts: map[string]http.Handler{"web": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("the secret of the house")
	})}})
	status, _, body := call(t, w, "GET", "/v1/orgs/acme/web/x", "", "")
	if status != http.StatusInternalServerError || strings.Contains(body, "secret") || !strings.Contains(body, `"INTERNAL"`) {
		t.Fatalf("%d %s", status, body)
	}
}
