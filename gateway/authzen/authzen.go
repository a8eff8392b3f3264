// Package authzen is Remit as a policy decision point for enforcement points that are not Remit's: OpenID AuthZEN
// Authorization API 1.0 (evaluation, evaluations, searches, discovery), and its Access Request and Approval Profile as
// the API of what waits for people. Whoever asks enforces the answer.
//
// An evaluation is advice: decided by the rules and the policy that decide at Remit's own gateways, recorded like any
// other decision, and it opens nothing. What needs a person is answered false, with a binding token. Handing that back
// (POST …/access/v1/requests) asks for real: people see a card and vote on it. What they approved is good once, for the
// very same question, and is judged again when the enforcement point evaluates it with context.approval.
package authzen

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "authzen"

// Paths below the address of the decision point, AuthZEN §10.1, and of the profile.
const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
	searchPath      = "/access/v1/search/"
	requestsPath    = "/access/v1/requests"
	keysPath        = "/access/v1/jwks"
)

// ConfigurationPath stands between the host and the path of a decision point's address (RFC 8615; AuthZEN §9.2).
const ConfigurationPath = "/.well-known/authzen-configuration"

// capability is what a point says that takes access requests.
const capability = "urn:openid:authzen:capability:access-request"

// PDP decides. Remit's own is Authority; another one serves another organisation's data.
type PDP interface {
	// Evaluate answers a question. A refusal is an answer; the error is of what cannot be judged at all.
	Evaluate(ctx context.Context, c remit.Caller, q Question) (Answer, error)
	// Search lists what could stand in the part of the question that is looked for, sorted. What the point does not know
	// is in no list, and is no error.
	Search(ctx context.Context, c remit.Caller, find Find, q Question) ([]Entity, error)
}

// Answer is a decision.
type Answer struct {
	Decision bool
	Why      Reason
	// Requestable: people can be asked for it. Relevant are the members of the context that it was judged by; they bind.
	Requestable bool
	Template    string
	Relevant    []string
}

// Reason is the context of an answer: why, in the words of every other refusal, and what can be done about it.
type Reason struct {
	Verdict  *remit.Verdict   `json:"verdict,omitempty"`
	Code     remit.Code       `json:"code,omitempty"`
	Rules    []string         `json:"rules,omitempty"`
	Sentence string           `json:"sentence,omitempty"`
	Entry    remit.EntryIndex `json:"entry,omitempty"`
	Error    *itemError       `json:"error,omitempty"`

	// The profile's members.
	Evaluation string          `json:"evaluation_id,omitempty"`
	At         *time.Time      `json:"evaluated_at,omitempty"`
	Reason     string          `json:"reason,omitempty"` // for programs
	Request    *accessRequest  `json:"access_request,omitempty"`
	Approval   *approvalBounds `json:"approval,omitempty"`
	Next       string          `json:"next_action,omitempty"`
	RetryAfter int             `json:"retry_after,omitempty"` // seconds
}

// itemError is an error of one question of a batch (AuthZEN §7.2.2).
type itemError struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// answer is AuthZEN §6.2.
type answer struct {
	Decision bool    `json:"decision"`
	Context  *Reason `json:"context,omitempty"`
}

// Point is the decision point of one organisation.
type Point struct {
	Authn gateway.Authenticator
	PDP   PDP
	Desk  Desk              // of what waits for people; nil: nothing is requestable
	Base  string            // its address, as clients name it
	Key   *ecdsa.PrivateKey // P-256; signs binding tokens and approvals
	Seal  [32]byte          // makes handles that nobody can guess
	Now   func() time.Time
	// Callable tells whether an endpoint is declared to be called back; nil: none is.
	Callable func(ctx context.Context, endpoint string) bool

	signs signer
	seats gateway.Seats // of searches
}

// Handler serves the point below prefix.
func (p *Point) Handler(prefix string) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+prefix+evaluationPath, p.asked(p.evaluation))
	mux.HandleFunc("POST "+prefix+evaluationsPath, p.asked(p.evaluations))
	for _, find := range []Find{Subjects, Resources, Actions} {
		mux.HandleFunc("POST "+prefix+searchPath+string(find), p.asked(func(w http.ResponseWriter, r *http.Request, c remit.Caller) error { return p.search(w, r, c, find) }))
	}
	mux.HandleFunc("GET "+prefix+ConfigurationPath, p.configuration)
	if p.Desk == nil {
		return mux, nil
	}
	var err error
	if p.signs, err = newSigner(p.Key); err != nil {
		return nil, err
	}
	mux.HandleFunc("POST "+prefix+requestsPath, p.asked(p.submit))
	mux.HandleFunc("GET "+prefix+requestsPath+"/{task}", p.asked(p.status))
	mux.HandleFunc("POST "+prefix+requestsPath+"/{task}/cancel", p.asked(p.cancel))
	mux.HandleFunc("DELETE "+prefix+requestsPath+"/{task}/cancel", p.asked(p.cancel))
	mux.HandleFunc("GET "+prefix+keysPath, p.keys)
	return mux, nil
}

// Configuration serves the metadata where clients look for it: the well-known path, and then that of the point's address.
func (p *Point) Configuration() (path string, h http.Handler) {
	at, err := url.Parse(p.Base)
	if err != nil {
		return ConfigurationPath, http.NotFoundHandler()
	}
	return ConfigurationPath + at.EscapedPath(), http.HandlerFunc(p.configuration)
}

// configuration is AuthZEN §9.1: what this point can be asked.
func (p *Point) configuration(w http.ResponseWriter, r *http.Request) {
	p.echo(w, r)
	m := map[string]any{"policy_decision_point": p.Base, "access_evaluation_endpoint": p.Base + evaluationPath, "access_evaluations_endpoint": p.Base + evaluationsPath}
	for _, find := range []Find{Subjects, Resources, Actions} {
		m["search_"+string(find)+"_endpoint"] = p.Base + searchPath + string(find)
	}
	if p.Desk != nil {
		m["access_request_endpoint"], m["jwks_uri"], m["capabilities"] = p.Base+requestsPath, p.Base+keysPath, []string{capability}
	}
	reply(w, http.StatusOK, m)
}

// asked wraps what answers somebody who proved who they are.
func (p *Point) asked(f func(http.ResponseWriter, *http.Request, remit.Caller) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.echo(w, r)
		c, err := p.Authn.Authenticate(r)
		if err != nil {
			fail(w, gateway.AsError(remit.Unauthenticated, err))
			return
		}
		if err := f(w, r, c); err != nil {
			fail(w, err)
		}
	}
}

// echo gives the client's own name of its request back, so that it finds its answer again (AuthZEN §10.1.4).
func (p *Point) echo(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Values("X-Request-ID"); len(id) == 1 && len(id[0]) <= 512 {
		w.Header().Set("X-Request-ID", id[0])
	}
}

// fault is an error that the profile has a name for.
type fault struct {
	kind   string
	detail string
}

func (f *fault) Error() string { return f.detail }

// document is RFC 9457 with Remit's stable code.
type document struct {
	Type   string     `json:"type"`
	Title  string     `json:"title"`
	Status int        `json:"status"`
	Detail string     `json:"detail,omitempty"`
	Code   remit.Code `json:"code,omitempty"`
}

// fail answers what is no question.
func fail(w http.ResponseWriter, err error) {
	d := document{}
	switch e := err.(type) {
	case *fault:
		title, status := e.info()
		d = document{Type: faultType + e.kind, Title: title, Status: status, Detail: e.detail}
	default:
		known := gateway.AsError(remit.Internal, err)
		i := known.Code.Info()
		d = document{Type: "about:blank", Title: i.Meaning, Status: i.HTTP, Detail: known.Sentence, Code: i.Code}
		if known.Code == remit.Internal {
			d.Detail = i.Meaning
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if d.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="remit"`)
	}
	w.WriteHeader(d.Status)
	_ = json.NewEncoder(w).Encode(d) // the client is gone: there is nobody to tell
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: there is nobody to tell
}
