package server

import (
	"net/http"
	"testing"
)

// What changes who may do what, or carries the log away, wants a proof of the last minutes (RFC 9470). Every route of
// people that does something stands here once: a new one is asked which kind it is.
func TestWhatWidensIsFresh(t *testing.T) {
	const (
		widens = "widens" // and is fresh
		takes  = "takes"  // away: that never waits
		signed = "signed" // the request carries a signature over what it does: a proof of its own
		work   = "work"   // within what the caller may do already
		either = "either" // the handler asks where the request widens
	)
	kinds := map[string]string{
		"POST /sign-in/challenge":         work,
		"POST /sign-in/session":           signed,
		"POST /sign-in/passkey":           signed,
		"POST /sign-in/hand-over":         signed,
		"POST /sign-in/hand-over/look":    work,
		"POST /sign-in/hand-over/accept":  work, // of a hand-over that was signed for a minute ago
		"POST /session/end":               takes,
		"POST /oauth/device":              work,
		"POST /device/{code}/confirm":     widens,
		"POST /device/{code}/deny":        takes,
		"POST /declarations":              widens,
		"POST /keys/confirm":              widens,
		"POST /keys/options":              widens,
		"POST /keys/statement":            widens,
		"POST /keys":                      widens,
		"POST /keys/remove":               takes,
		"POST /invitations":               widens,
		"POST /invitations/withdraw":      takes,
		"POST /invitations/open":          work,
		"POST /invitations/statement":     work,
		"POST /invitations/enrol":         signed,
		"POST /drain":                     work,
		"POST /erase":                     widens,
		"POST /clock/confirm":             widens,
		"POST /tasks":                     work,
		"POST /tasks/{id}/complete":       takes,
		"POST /tasks/{id}/cancel":         takes,
		"POST /break-glass":               signed,
		"POST /break-glass/{id}/review":   signed,
		"POST /tasks/{id}/plan/withdraw":  takes,
		"POST /kill":                      takes,
		"POST /agents/{name}/suspend":     takes,
		"POST /agents/{name}/resume":      widens,
		"POST /agents/{name}/retire":      takes,
		"POST /agents/{name}/revive":      widens,
		"POST /review-items/answers":      signed,
		"POST /review-items/{id}/regrant": widens,
		"POST /campaigns/{name}/open":     work, // what is asked about is what is there
		"POST /leases/{id}/abandon":       widens,
		"POST /upstreams/{name}/contain":  either,
		"POST /secrets/put":               widens,
		"POST /secrets/remove":            takes,
		"POST /instances":                 work,
		"POST /oauth/token":               signed,
		"POST /approvals/{id}/seen":       work,
		"POST /approvals/{id}/votes":      signed,
		"POST /notify/{name}/retry":       work,
		"GET /log/bundle":                 widens, // all that is in the log, for administrators
		"POST /executors":                 widens,
		"POST /policy/try":                work,
		"POST /paths/compare":             work, // it says what would be, and changes nothing
		"POST /workflows/plan":            work,
		"POST /upstreams/{name}/scan":     work,
	}
	for _, r := range table() {
		if r.auth == executor || r.auth == instance {
			continue
		}
		name := r.method + " " + r.path[min(len(org), len(r.path)):]
		kind, known := kinds[name]
		delete(kinds, name)
		switch {
		case r.method == http.MethodGet && !known && !r.fresh:
		case !known:
			t.Errorf("%s: say here what kind it is", name)
		case r.fresh != (kind == widens):
			t.Errorf("%s: it is called %q, and fresh is %v", name, kind, r.fresh)
		case r.fresh && (r.auth != person && r.auth != admin):
			t.Errorf("%s: only people prove that they are there", name)
		}
	}
	for name := range kinds {
		t.Errorf("%s: there is no such route any more", name)
	}
}
