package client

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"github.com/remit-dev/remit"
)

// An instance is started on what was delegated, and the chain of parents that is said must be the one that the server
// knows: T-1 delegates T-2, that T-3, that T-4; T-5 was requested by T-1 of another function, and delegates T-6.
func TestAnInstanceStartsOnlyWhatWasDelegated(t *testing.T) {
	tasks := map[string]remit.TaskView{"T-1": {}, "T-2": {Parent: "T-1", Delegated: true}, "T-3": {Parent: "T-2", Delegated: true}, "T-4": {Parent: "T-3", Delegated: true},
		"T-5": {Parent: "T-1"}, "T-6": {Parent: "T-5", Delegated: true}}
	started := ""
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			var in remit.InstanceRequest
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			started = string(in.Task)
			_ = json.NewEncoder(w).Encode(remit.InstanceView{ID: "I-9", Task: in.Task})
			return
		}
		v, ok := tasks[path.Base(r.URL.Path)]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(remit.Problem{Code: remit.NotFound, Detail: "there is no such task"})
			return
		}
		_ = json.NewEncoder(w).Encode(v)
	}))
	defer ts.Close()
	s := (&Client{base: ts.URL, org: "acme", http: ts.Client()}).Session()
	for _, c := range []struct {
		task remit.ID
		from []remit.ID
		ok   bool
	}{
		{"T-2", []remit.ID{"T-1"}, true},
		{"T-3", []remit.ID{"T-1"}, true},
		{"T-4", []remit.ID{"T-2", "T-1"}, true},
		{"T-4", []remit.ID{"T-3", "T-2", "T-1"}, true},
		{"T-6", []remit.ID{"T-5"}, true},
		{"T-1", []remit.ID{"T-1"}, false},
		{"T-2", []remit.ID{"T-2"}, false},
		{"T-2", []remit.ID{"T-2", "T-1"}, false},
		{"T-2", []remit.ID{"T-3", "T-1"}, false},
		{"T-3", []remit.ID{"T-1", "T-2"}, false},
		{"T-5", []remit.ID{"T-1"}, false},
		{"T-6", []remit.ID{"T-1"}, false},
		{"T-6", []remit.ID{"T-5", "T-1"}, false},
		{"T-7", []remit.ID{"T-1"}, false},
	} {
		started = ""
		_, err := s.StartDelegated(t.Context(), c.from, InstanceStart{Task: c.task, Confinement: remit.ConfineHome})
		if c.ok {
			if err != nil || started != string(c.task) {
				t.Errorf("%s from %v: %v, started %q", c.task, c.from, err, started)
			}
			continue
		}
		var e *remit.Error
		if !errors.As(err, &e) || e.Code != remit.Forbidden || started != "" {
			t.Errorf("%s from %v: %v, started %q", c.task, c.from, err, started)
		}
	}
}
