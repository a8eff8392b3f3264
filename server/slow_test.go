package server_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit/internal/world"
)

// timed notes the deadlines that a handler sets.
type timed struct {
	*httptest.ResponseRecorder
	first *time.Time
}

func (t timed) SetReadDeadline(at time.Time) error {
	if t.first.IsZero() {
		*t.first = at
	}
	return nil
}

// A body that nobody asked for and that never comes ends in time, whoever sends it: net/http reads it before it answers.
func TestNobodyHoldsAConnectionWithABodyThatNeverComes(t *testing.T) {
	w := world.New(t, world.Options{})
	for _, to := range []string{"GET /v1/health", "POST /nowhere", "POST /v1/orgs/acme/instances/I-1/hold", "POST /v1/orgs/acme/git/x", "GET /v1/orgs/acme/tasks",
		"POST /v1/orgs/acme/sign-in/challenge"} {
		method, path, _ := strings.Cut(to, " ")
		var first time.Time
		w.Server.ServeHTTP(timed{httptest.NewRecorder(), &first}, httptest.NewRequest(method, path, strings.NewReader("x")))
		if in := time.Until(first); in <= 0 || in > time.Minute {
			t.Errorf("%s: a body has until %v", to, first)
		}
	}
}
