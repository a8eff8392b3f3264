package authzen_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/authzen"
)

const (
	prefix = "/v1/orgs/acme/authzen"
	base   = "https://remit.example" + prefix
)

var caller = remit.Caller{Instance: "I-3", Agent: "coder", Task: "T-2"}

// bearers knows callers by their tokens.
type bearers map[string]remit.Caller

func (b bearers) Authenticate(r *http.Request) (remit.Caller, error) {
	c, ok := b[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		return c, remit.Errorf(remit.Unauthenticated, "nobody proved who is calling")
	}
	return c, nil
}

var pointKey = func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}()

// point is a decision point over some PDP, with a clock that stands still.
func point(t testing.TB, pdp authzen.PDP, desk authzen.Desk) *client {
	t.Helper()
	c := &client{t: t, now: time.Date(2026, 4, 30, 20, 15, 0, 0, time.UTC)}
	p := &authzen.Point{Authn: bearers{"good": caller, "other": {Instance: "I-9", Agent: "coder", Task: "T-7"}}, PDP: pdp, Desk: desk, Base: base, Key: pointKey, Seal: [32]byte{7},
		Now: func() time.Time { return c.now }, Callable: func(_ context.Context, endpoint string) bool { return endpoint == calledBack }}
	c.p = p
	h, err := p.Handler(prefix)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	path, conf := p.Configuration()
	mux.Handle(path, conf)
	c.h = mux
	return c
}

// calledBack is the one endpoint that is declared for callbacks.
const calledBack = "https://agents.example.com/callbacks/access-requests"

type client struct {
	t   testing.TB
	p   *authzen.Point
	h   http.Handler
	now time.Time
}

// do sends a request; path is below the point's address.
func (c *client) do(method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, prefix+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer good")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return w
}

// post sends a body and reads the answer into v, which has to have a status.
func (c *client) post(path string, body any, status int, v any, change ...func(*http.Request)) *httptest.ResponseRecorder {
	c.t.Helper()
	text, ok := body.(string)
	if !ok {
		b, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(b)
	}
	w := c.do(http.MethodPost, path, text, change...)
	c.read(w, status, v)
	return w
}

func (c *client) read(w *httptest.ResponseRecorder, status int, v any) {
	c.t.Helper()
	if w.Code != status {
		c.t.Fatalf("status %d, wanted %d: %s", w.Code, status, w.Body)
	}
	if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(v); err != nil {
		c.t.Fatalf("%s: %v", w.Body, err)
	}
}

const (
	evaluation  = "/access/v1/evaluation"
	evaluations = "/access/v1/evaluations"
	search      = "/access/v1/search/"
	requests    = "/access/v1/requests"
)

type decision struct {
	Decision *bool          `json:"decision"`
	Context  map[string]any `json:"context"`
}

// data is a foreign PDP: entities by type, actions, and who may do what.
type data struct {
	subjects, resources map[string][]authzen.Entity // by type
	actions             []string
	may                 func(q authzen.Question) bool
}

func (d data) Evaluate(_ context.Context, _ remit.Caller, q authzen.Question) (authzen.Answer, error) {
	return authzen.Answer{Decision: d.may(q)}, nil
}

func (d data) Search(_ context.Context, _ remit.Caller, find authzen.Find, q authzen.Question) (out []authzen.Entity, _ error) {
	known := func(in map[string][]authzen.Entity, e *authzen.Entity) bool {
		return slices.ContainsFunc(in[e.Type], func(x authzen.Entity) bool { return x.ID == e.ID })
	}
	if find != authzen.Subjects && !known(d.subjects, q.Subject) || find != authzen.Resources && !known(d.resources, q.Resource) {
		return nil, nil
	}
	var all []authzen.Entity
	switch find {
	case authzen.Subjects:
		all = d.subjects[q.Subject.Type]
	case authzen.Resources:
		all = d.resources[q.Resource.Type]
	case authzen.Actions:
		for _, a := range d.actions {
			all = append(all, authzen.Entity{Name: a})
		}
	}
	for _, e := range all {
		one := q
		switch find {
		case authzen.Subjects:
			one.Subject = &e
		case authzen.Resources:
			one.Resource = &e
		case authzen.Actions:
			one.Action = &e
		}
		if d.may(one) {
			out = append(out, e)
		}
	}
	return out, nil
}

// text is a property that is a string.
func text(e *authzen.Entity, name string) (s string) {
	_ = json.Unmarshal(e.Properties[name], &s) // another type is no text
	return s
}

// property makes one.
func property(name, value string) map[string]json.RawMessage {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return map[string]json.RawMessage{name: b}
}
