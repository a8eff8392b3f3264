// Package web is the gateway for the REST API of a forge, Gitea or Forgejo: clients that speak it work unchanged with
// this gateway's address and the task's token.
//
// To find where a request is decided, read in this order: table.go (every operation that is served, and why the others
// are not), route.go (how a request is found in the table), body.go (what bodies may hold), classify.go, push.go and
// pull.go (what a request would do), gateway.Pipeline.Handle (the decision), forward.go and merge.go (carrying it out),
// answer.go (what the client is told).
//
// What was judged is what is sent: a request is parsed whole, and what goes to the forge is written anew from what was
// parsed. Operations that move a ref are not sent at all: Remit makes the objects and pushes them, so that one set of
// facts and rules holds for git and API alike.
package web

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself.
const Name = "gateway/web"

// Forge is one declared forge, and how to reach it.
type Forge struct {
	Name      string                    // of the upstream
	URL       string                    // below which /api/v1 lies, without a slash at the end
	Transport http.RoundTripper         // it follows no redirects
	Observer  func(*http.Request) error // adds Remit's own read-only credential; nil: none is needed
}

// Forges finds what is declared. What is not declared is a *remit.Error with UNKNOWN_RESOURCE.
type Forges interface {
	Forge(ctx context.Context, name string) (Forge, error)
	// Repository gives the declared name, UPSTREAM/PATH, of the repository that the forge calls OWNER/NAME; names are
	// compared byte for byte.
	Repository(ctx context.Context, forge, path string) (string, error)
}

// Git makes, judges and carries changes of refs; the git gateway does.
type Git interface {
	Maker
	Carrier
}

// Maker says what changes would do.
type Maker interface {
	Make(context.Context, gateway.Making) (gateway.Made, error)
	Merge(context.Context, gateway.Making) (gateway.Made, error)
	Drop(context.Context, remit.Digest) error
	// Commit reads a commit itself: what a forge says of one is not what its id binds.
	Commit(ctx context.Context, repo, commit string) (tree string, parents []string, err error)
}

// Carrier carries them out.
type Carrier interface {
	Forward(context.Context, remit.Order, gateway.Credential, http.ResponseWriter) gateway.Result
	Reconcile(context.Context, remit.Order) gateway.Result
}

// Config of a Gateway. Forges and Git are required; the zero value of the rest means what stands beside it.
type Config struct {
	Prefix string // path under which the gateway is mounted, such as /v1/orgs/acme/forge; none
	Forges Forges
	Git    Git

	MaxAnswer int64         // bytes of one answer of the forge; 256 MiB
	Stall     time.Duration // without a byte to the client; 60 s
	Again     time.Duration // until a forge that is still looking at a pull request is asked again; 500 ms
	Now       func() time.Time
	Random    io.Reader
	Log       *slog.Logger
}

// Gateway is the protocol. Requests come through its Handler; work orders through gateway.Pipeline.Complete.
type Gateway struct{ Config }

var _ gateway.Protocol = (*Gateway)(nil)

// New checks c.
func New(c Config) (*Gateway, error) {
	if c.Forges == nil || c.Git == nil {
		return nil, errors.New("gateway/web: Forges and Git are required")
	}
	if c.MaxAnswer <= 0 {
		c.MaxAnswer = 256 << 20
	}
	if c.Stall <= 0 {
		c.Stall = time.Minute
	}
	if c.Again <= 0 {
		c.Again = 500 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Gateway{c}, nil
}

// Handler serves the API through p. Mount it at Config.Prefix.
func (g *Gateway) Handler(p *gateway.Pipeline) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{g: g}
		defer x.end(r.Context())
		if at, err := parse(g.Prefix, r); err == nil && at.version {
			g.version(p, w, r, at)
			return
		}
		p.Handle(x, w, r)
	})
}

// exchange is one request on its way through the pipeline.
type exchange struct {
	g    *Gateway
	pack remit.Digest // that this request answers for
}

// Classify says what the request would do.
func (x *exchange) Classify(ctx context.Context, caller remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	c, err := x.g.classify(ctx, caller, r)
	if c != nil {
		x.pack = c.order.Pack
	}
	if err != nil {
		return remit.Request{}, nil, err
	}
	return c.req, c.payloads, nil
}

// Forward carries out what was allowed, and answers the client.
func (x *exchange) Forward(ctx context.Context, o remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	res := x.g.Forward(ctx, o, cred, w)
	if res.Outcome == remit.Done {
		x.pack = remit.Digest{} // the git gateway let it go
	}
	return res
}

// Refuse answers what was denied or held.
func (x *exchange) Refuse(w http.ResponseWriter, r *http.Request, d remit.Decision) {
	if d.Verdict == remit.Hold {
		x.pack = remit.Digest{} // the order rests on it
	}
	x.g.Refuse(w, r, d)
}

// Fail answers an error.
func (x *exchange) Fail(w http.ResponseWriter, r *http.Request, err *remit.Error) {
	x.g.Fail(w, r, err)
}

// Reconcile is the gateway's.
func (x *exchange) Reconcile(ctx context.Context, o remit.Order) gateway.Result {
	return x.g.Reconcile(ctx, o)
}

// end gives back what the request still holds.
func (x *exchange) end(ctx context.Context) {
	if x.pack.IsZero() {
		return
	}
	if err := x.g.Git.Drop(context.WithoutCancel(ctx), x.pack); err != nil {
		x.g.Log.Error("dropping a pack", "digest", x.pack, "err", err)
	}
}

// Classify is part of gateway.Protocol; the gateway's own Handler also lets go of what a denied request made.
func (g *Gateway) Classify(ctx context.Context, caller remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	c, err := g.classify(ctx, caller, r)
	if err != nil {
		return remit.Request{}, nil, err
	}
	return c.req, c.payloads, nil
}
