// Package authzen is Remit as a policy decision point for enforcement points that are not Remit's: OpenID AuthZEN
// Authorization API 1.0. A decision made here is recorded like any other, and opens nothing at Remit: whoever asks enforces
// it. What needs a person is answered false and says so; it is asked for where Remit itself carries it out.
package authzen

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "authzen"

// maxBody bounds a request, in bytes.
const maxBody = 64 << 10

// Paths below the address of the decision point, AuthZEN §10.1.
const (
	evaluationPath    = "/access/v1/evaluation"
	configurationPath = "/.well-known/authzen-configuration"
)

// subject, action, resource and evaluation are AuthZEN §5 and §6.1; properties decide nothing here and are passed over.
type (
	subject struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	action struct {
		Name string `json:"name"`
	}
	resource struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	evaluation struct {
		Subject  *subject  `json:"subject"`
		Action   *action   `json:"action"`
		Resource *resource `json:"resource"`
	}
)

// answer is AuthZEN §6.2. Context says why, in the words of every other refusal.
type answer struct {
	Decision bool    `json:"decision"`
	Context  *reason `json:"context,omitempty"`
}

type reason struct {
	Verdict  remit.Verdict    `json:"verdict"`
	Code     remit.Code       `json:"code,omitempty"`
	Rules    []string         `json:"rules,omitempty"`
	Sentence string           `json:"reason,omitempty"`
	Entry    remit.EntryIndex `json:"entry"`
}

// Point is the decision point of one organisation.
type Point struct {
	Authn gateway.Authenticator
	Authz gateway.Authorizer
	Base  string // its address, as clients name it
}

// Handler serves the point below prefix.
func (p *Point) Handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+prefix+evaluationPath, p.evaluate)
	mux.HandleFunc("GET "+prefix+configurationPath, p.configuration)
	return mux
}

// configuration is AuthZEN §9.1: what this point can be asked.
func (p *Point) configuration(w http.ResponseWriter, _ *http.Request) {
	reply(w, map[string]string{"policy_decision_point": p.Base, "access_evaluation_endpoint": p.Base + evaluationPath})
}

// evaluate answers one question. A refusal is an answer like any other, with status 200 (§6.2.1): only what cannot be
// judged at all is an error.
func (p *Point) evaluate(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Values("X-Request-ID"); len(id) == 1 && len(id[0]) <= 128 { // §10.1.3: the client finds its answer again
		w.Header().Set("X-Request-ID", id[0])
	}
	caller, err := p.Authn.Authenticate(r)
	if err != nil {
		fail(w, gateway.AsError(remit.Unauthenticated, err))
		return
	}
	q, err := read(r, caller)
	if err != nil {
		fail(w, gateway.AsError(remit.BadRequest, err))
		return
	}
	d, err := p.Authz.Authorize(r.Context(), q)
	if err != nil {
		fail(w, gateway.AsError(remit.Internal, err))
		return
	}
	reply(w, answer{Decision: d.Verdict == remit.Allow, Context: &reason{Verdict: d.Verdict, Code: d.Code, Rules: d.Rules, Sentence: d.Sentence, Entry: d.Entry}})
}

// read makes a request of a question. The subject is who asks: the instance that the token is of, or its agent. Nobody
// learns here what another may do.
func read(r *http.Request, c remit.Caller) (remit.Request, error) {
	none := remit.Request{}
	if t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(t), "application/json") {
		return none, remit.Errorf(remit.BadRequest, "the question has the Content-Type %q; send application/json", r.Header.Get("Content-Type"))
	}
	var in evaluation
	if err := remit.DecodeKnown(r.Body, maxBody, &in); err != nil {
		return none, err
	}
	switch {
	case in.Subject == nil || in.Subject.Type == "" || in.Subject.ID == "":
		return none, remit.Errorf(remit.BadRequest, "subject: say its type and id")
	case in.Action == nil || in.Action.Name == "":
		return none, remit.Errorf(remit.BadRequest, "action: say its name, one of the catalogue such as issue.comment")
	case in.Resource == nil || in.Resource.Type == "" || in.Resource.ID == "":
		return none, remit.Errorf(remit.BadRequest, "resource: say its type and id")
	}
	if !slices.Contains([]subject{{"instance", string(c.Instance)}, {"agent", c.Agent}}, *in.Subject) {
		return none, remit.Errorf(remit.Forbidden, "subject: the token is of instance %s of agent %s, which may ask for itself only", c.Instance, c.Agent)
	}
	res, err := remit.ParseResource(in.Resource.Type + ":" + in.Resource.ID)
	if err != nil {
		return none, remit.Errorf(remit.BadRequest, "resource: %w", err)
	}
	return remit.Request{Gateway: Name, Caller: c, Advice: true, Steps: []remit.Step{{Action: remit.Action(in.Action.Name), Resource: res}}}, nil
}

// fail answers what is no question: RFC 9457.
func fail(w http.ResponseWriter, e *remit.Error) {
	i := e.Code.Info()
	p := remit.Problem{Code: i.Code, Title: i.Meaning, Detail: e.Sentence, Status: i.HTTP}
	if e.Code == remit.Internal {
		p.Detail = i.Meaning
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="remit"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone: there is nobody to tell
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client is gone: there is nobody to tell
}
