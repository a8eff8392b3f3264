package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"mime"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/server/internal/openapi"
)

// auth is who may call a route at all.
type auth uint8

const (
	anyone   auth = iota
	person        // signed in: Authorization: Bearer SESSION
	admin         // a signed-in administrator
	instance      // its launcher: Authorization: Remit-Instance ID:SECRET
	either        // a person, or an instance about its own task
	reader        // a person, and anyone where the log is public
	executor      // the executor of a zone, by the SVID of its connection
)

// route is one line of the table.
type route struct {
	method, path string
	auth         auth
	summary      string
	query        []openapi.Param
	in, out      reflect.Type // nil: none
	content      string       // of an answer that is not JSON
	limit        int64        // of the body, in bytes
	// interactive routes are for people at their own machine: a call that shows anything of an instance is refused, even
	// beside a person's session.
	interactive bool
	// fresh routes change who may do what: the person must have proved to be there a moment ago.
	fresh bool
	// dying routes also serve an instance whose task has just ended.
	dying  bool
	stream bool // the handler keeps its own time
	keyed  bool // takes an Idempotency-Key
	handle func(*Server, *call) error
}

// call is one request to a route.
type call struct {
	w        http.ResponseWriter
	r        *http.Request
	person   remit.ID         // empty: an instance, or nobody
	session  identity.Session // of person
	instance remit.ID
	executor string            // its name
	task     remit.ID          // of instance
	job      *identity.ByProof // set when the instance is a CI job's
	once     engine.Once       // under which the request is done once; zero: it has no Idempotency-Key
	body     hash.Hash         // of the request, where it has one
}

func (c *call) id() remit.ID { return remit.ID(c.r.PathValue("id")) }

// who is what long requests are counted by.
func (c *call) who() string {
	if c.person != "" {
		return string(c.person)
	}
	if c.executor != "" {
		return c.executor
	}
	return string(c.instance)
}

const (
	org      = "/v1/orgs/{org}"
	maxBody  = 64 << 10
	maxApply = 8 << 20
)

// get is a route without a body.
func get[Out any](path string, a auth, summary string, h func(*Server, *call) (Out, error)) route {
	return route{method: http.MethodGet, path: path, auth: a, summary: summary, out: reflect.TypeFor[Out](),
		handle: func(s *Server, c *call) error {
			out, err := h(s, c)
			if err != nil {
				return err
			}
			return c.answer(out)
		}}
}

// post is a route with a JSON body. The body is read strictly: what is not understood is refused.
func post[In, Out any](path string, a auth, summary string, h func(*Server, *call, In) (Out, error)) route {
	r := route{method: http.MethodPost, path: path, auth: a, summary: summary, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), limit: maxBody}
	if r.in == reflect.TypeFor[remit.ApplyRequest]() || r.in == reflect.TypeFor[remit.TryRequest]() || r.in == reflect.TypeFor[remit.PathsCompare]() {
		r.limit = maxApply
	}
	limit := r.limit
	r.handle = func(s *Server, c *call) error {
		var in In
		if err := c.isJSON(); err != nil {
			return err
		}
		if err := remit.DecodeStrict(c.r.Body, limit, &in); err != nil {
			return err
		}
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{}) // or it would end the answer as well
		c.read()
		out, err := h(s, c, in)
		if err != nil {
			return err
		}
		return c.answer(out)
	}
	return r
}

// isJSON refuses a body that says that it is something else: what another kind of program would read in it is not what is
// read here.
func (c *call) isJSON() error {
	said := c.r.Header.Get("Content-Type")
	if t, _, err := mime.ParseMediaType(said); said != "" && (err != nil || t != "application/json") {
		return remit.Errorf(remit.MediaType, "Content-Type: %.64q; send application/json", said)
	}
	return nil
}

// none is the body of a request that says all in its address, and the answer that says only that it was done.
type none struct{}

func (r route) asking(params ...openapi.Param) route { r.query = params; return r }
func (r route) inPerson() route                      { r.interactive = true; return r }
func (r route) freshly() route                       { r.fresh = true; return r }

// streaming is a route whose handler writes its own answer.
func streaming(method, path string, a auth, summary, content string, h func(*Server, *call) error) route {
	return route{method: method, path: path, auth: a, summary: summary, content: content, stream: true, handle: h}
}

// answer writes v as JSON.
func (c *call) answer(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return remit.Errorf(remit.Internal, "encoding the answer: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	_, err = c.w.Write(append(b, '\n'))
	if err != nil {
		return errGone
	}
	return nil
}

// errGone is returned when the client is: there is nobody to tell.
var errGone = errors.New("the client is gone")

// serve makes the handler of a route: deadlines, organisation, caller, handler, in this order.
func (s *Server) serve(rt route) http.Handler {
	return s.guard(func(w http.ResponseWriter, r *http.Request) error {
		secure(w.Header())
		rc := http.NewResponseController(w)
		// Deadlines of connections are the kernel's business and go by its clock, not by the organisation's. Where a
		// writer has none (tests), there is nothing to set.
		_ = rc.SetWriteDeadline(time.Now().Add(sendWithin + patience))
		if r.PathValue("org") != "" {
			if err := s.checkOrg(r); err != nil {
				return err
			}
		}
		s.offerNonce(w, r)
		c := &call{w: w, r: r}
		if err := s.authenticate(rt, c); err != nil {
			return err
		}
		leave, err := s.keyed(rt, c)
		if err != nil {
			return err
		}
		defer leave()
		return rt.handle(s, c)
	})
}

// secure sets what every answer of the API says to a browser: nothing is kept, framed, guessed at or loaded.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
}

// guard turns what a handler returns, or a panic of it, into the one form in which the API says no.
func (s *Server) guard(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.cfg.Slog.Error("a handler panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			writeProblem(w, remit.Problem{Code: remit.Internal})
		}()
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// fail is the one way in which an error reaches a user.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errGone) || r.Context().Err() != nil {
		return
	}
	secure(w.Header())
	var wrong *remit.DeclarationError
	if errors.As(err, &wrong) {
		writeProblem(w, remit.Problem{Code: remit.BadRequest, Detail: wrong.Sentence, Path: wrong.Path})
		return
	}
	var e *remit.Error
	if !errors.As(err, &e) {
		e = &remit.Error{Code: remit.Internal, Err: err}
	}
	var oauth *identity.OAuthError
	if errors.As(err, &oauth) { // RFC 9449 §7.1
		w.Header().Add("WWW-Authenticate", fmt.Sprintf("%s error=%q, algs=%q", identity.DPoPHeader, oauth.Reason, strings.Join(identity.ProofAlgs(), " ")))
	}
	var more *remit.Insufficient
	if errors.As(err, &more) { // RFC 9470 §3
		w.Header().Add("WWW-Authenticate", more.Challenge())
	}
	p := remit.Problem{Code: e.Code, Detail: e.Sentence}
	if e.Code == remit.Internal {
		s.cfg.Slog.Error("a request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		p.Detail = "" // what is wrong inside is not the caller's to read
	}
	writeProblem(w, p)
}

// writeProblem is RFC 9457.
func writeProblem(w http.ResponseWriter, p remit.Problem) {
	i := p.Code.Info()
	p.Code, p.Title, p.Status = i.Code, i.Meaning, i.HTTP
	if p.Detail == "" {
		p.Detail = i.Meaning
	}
	b, err := json.Marshal(p)
	if err != nil {
		b = []byte(`{"code":"INTERNAL"}`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", `Bearer realm="remit"`) // RFC 9110 §11.6.1: a 401 names a scheme
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(b, '\n')) // the client is gone: there is nobody to tell
}
