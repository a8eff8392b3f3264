package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// world is a gateway between a real client and a registry, with a scripted authority that remembers what was published.
type world struct {
	t    *testing.T
	gw   *Gateway
	pipe *gateway.Pipeline
	srv  *httptest.Server
	up   *httptest.Server

	mu        sync.Mutex
	meddle    func(http.ResponseWriter, *http.Request) bool // before the upstream; true: it has answered
	seen      []string                                      // by the upstream: METHOD path?query
	creds     []string                                      // that the upstream was shown
	asked     []remit.Request
	outcomes  []gateway.Result
	decide    func(remit.Request) remit.Decision
	published map[string]Publication
	narrow    bool // the upstream's credential is good for one repository
}

const upstreamSecret = "upstream-secret"

// tokens of the test: which task and gateway each is for.
var testTokens = map[string]remit.Caller{
	"remit_one": {Instance: "I-1", Agent: "builder", Task: "T-1"},
	"remit_two": {Instance: "I-2", Agent: "builder", Task: "T-2"},
}

func newWorld(t *testing.T, tune ...func(*Config)) *world {
	w := &world{t: t, published: map[string]Publication{}}
	w.decide = func(remit.Request) remit.Decision { return remit.Decision{Verdict: remit.Allow, Entry: 7} }
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	w.up = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.seen, w.creds = append(w.seen, r.Method+" "+r.URL.RequestURI()), append(w.creds, r.Header.Get("Authorization"))
		meddle := w.meddle
		w.mu.Unlock()
		if meddle == nil || !meddle(rw, r) {
			inner.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(w.up.Close)
	c := Config{Registries: w, Publications: w, Realm: "http://front.invalid/token"}
	for _, f := range tune {
		f(&c)
	}
	var err error
	if w.gw, err = New(c); err != nil {
		t.Fatal(err)
	}
	w.pipe = &gateway.Pipeline{Authn: w, Authz: w, Creds: w, Log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	mux.Handle("/v2/", w.gw.Handler(w.pipe))
	mux.Handle("/token", w.gw.TokenHandler(w))
	w.srv = httptest.NewServer(mux)
	t.Cleanup(w.srv.Close)
	w.gw.Realm = w.srv.URL + "/token"
	return w
}

func (w *world) Registry(_ context.Context, upstream string) (Registry, error) {
	if upstream != "images" {
		return Registry{}, remit.Errorf(remit.UnknownResource, "no upstream %q is declared", upstream)
	}
	return Registry{Name: "images", URL: w.up.URL, Transport: http.DefaultTransport, Mounts: !w.narrow}, nil
}

func (w *world) Published(_ context.Context, a remit.Artifact) (Publication, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.published[a.String()]
	return p, ok
}

// Authenticate is as package identity does it: the token as Bearer or as the password of Basic.
func (w *world) Authenticate(r *http.Request) (remit.Caller, error) {
	text := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, p, ok := r.BasicAuth(); ok {
		text = p
	}
	if c, ok := testTokens[text]; ok {
		return c, nil
	}
	return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the token is not for this gateway")
}

func (w *world) Authorize(_ context.Context, r remit.Request, _ ...remit.Payload) (remit.Decision, error) {
	w.mu.Lock()
	w.asked = append(w.asked, r)
	decide := w.decide
	w.mu.Unlock()
	d := decide(r)
	if d.Verdict == remit.Allow {
		b, err := json.Marshal(r)
		if err != nil {
			return d, err
		}
		d.Permit.ID = remit.ID(b) // carries the request to Record
	}
	return d, nil
}

func (w *world) Redeem(_ context.Context, p remit.Permit) (remit.Attempt, error) {
	return remit.Attempt{ID: p.ID, NotAfter: farAway}, nil
}

func (w *world) Revoked(remit.ID) <-chan struct{} { return nil }

func (w *world) Record(_ context.Context, a remit.Attempt, o gateway.Result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, o)
	var r remit.Request
	if err := json.Unmarshal([]byte(a.ID), &r); err != nil {
		return err
	}
	if o.Outcome == remit.Done {
		for _, art := range r.Artifacts {
			if _, ok := w.published[art.String()]; !ok {
				w.published[art.String()] = Publication{Task: r.Caller.Task}
			}
		}
	}
	return nil
}

func (w *world) Lease(context.Context, remit.Attempt) (gateway.Credential, error) { return w, nil }
func (w *world) End(context.Context) error                                        { return nil }
func (w *world) Apply(r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+upstreamSecret)
	return nil
}

// deny makes a decision for an action on a resource, and allows the rest.
func (w *world) deny(action remit.Action, res remit.Resource, d remit.Decision) {
	w.decide = func(r remit.Request) remit.Decision {
		for _, st := range r.Steps {
			if st.Action == action && (res == "" || st.Resource == res) {
				return d
			}
		}
		return remit.Decision{Verdict: remit.Allow}
	}
}

// ref is an image behind the front.
func (w *world) ref(s string) name.Reference {
	w.t.Helper()
	r, err := name.ParseReference(strings.TrimPrefix(w.srv.URL, "http://") + "/images/" + s)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func as(token string) remote.Option {
	return remote.WithAuth(&authn.Basic{Username: "whoever", Password: token})
}

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(2<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digest(t *testing.T, img interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func rawManifest(t *testing.T, img interface{ RawManifest() ([]byte, error) }) []byte {
	t.Helper()
	b, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answer is what a plain request came to.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) code() string {
	var e struct {
		Errors []struct {
			Code   string
			Detail struct{ Remit string }
		}
	}
	if json.Unmarshal(a.body, &e) != nil || len(e.Errors) != 1 {
		return ""
	}
	return e.Errors[0].Code + " " + e.Errors[0].Detail.Remit
}

// do makes one plain request as task T-1; headers are pairs.
func (w *world) do(method, path string, body []byte, headers ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.srv.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:remit_one")))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		w.t.Fatal(err)
	}
	return answer{resp, b}
}

// reached tells which requests came to the upstream since the last call.
func (w *world) reached() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	w.seen = nil
	return s
}
