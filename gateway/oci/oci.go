// Package oci is the gateway for OCI registries (OCI distribution-spec 1.1): unchanged clients push and pull through it.
//
// A client names an image HOST/UPSTREAM/NAME; the resource is artifact:UPSTREAM/NAME. Read in this order: routes.go (what
// is served at all), classify.go (which steps a request is), gateway.Pipeline.Handle (the decision), forward.go (carrying
// it out), answer.go (what the client is told).
//
// Uploading blobs makes nothing known. Publishing is decided at the manifest, by the digest of its bytes: a tag is a
// label and never decides. The client never reaches the upstream: what goes there is written anew, with a credential
// that the client never sees, and no address of the upstream reaches the client.
package oci

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Registry is one declared upstream of kind registry, and how to reach it.
type Registry struct {
	Name      string            // of the upstream
	URL       string            // without a slash at the end; its API lies at URL/v2/
	Transport http.RoundTripper // reaches this one host and no other; it follows no redirects
	// Observer adds Remit's own read-only credential for one repository; nil: none is needed.
	Observer func(r *http.Request, repository string) error
	// Mounts: the credential is good for all repositories, so that blobs can be mounted from one into another. One that is
	// made for a task and a repository is not, and blobs are uploaded instead.
	Mounts bool
}

// Registries finds declared registries. What is not declared is a *remit.Error with UNKNOWN_RESOURCE.
type Registries interface {
	Registry(ctx context.Context, upstream string) (Registry, error)
}

// Publication is what Remit knows of an artifact that was published through it.
type Publication struct {
	Task remit.ID
	// Built: that task rested on a commit of a repository that declares the artifact.
	Built bool
}

// Publications finds what was published through Remit.
type Publications interface {
	Published(context.Context, remit.Artifact) (Publication, bool)
}

// Name of the gateway: in requests, and of the tokens that are good here.
const Name = "oci"

// Config of a Gateway. Registries, Publications and Realm are required; the zero value of the rest means what stands
// beside it.
type Config struct {
	Registries   Registries
	Publications Publications
	// Realm is the address of TokenHandler, https://HOST/v1/orgs/ORG/registry/token; Service is what this front is called
	// in challenges: HOST.
	Realm, Service string
	// Keys is the JWK set of the key that signs tokens for registries that trust Remit; KeysHandler gives it out. None.
	Keys []byte

	MaxBlob  int64         // bytes of one request's body; 10 GiB
	Stall    time.Duration // without a byte from or to the client; 60 s
	Patience time.Duration // for the upstream's answer to a manifest; 1 min

	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
}

// Gateway is the protocol. Requests come through Handler; work orders through gateway.Pipeline.Complete.
type Gateway struct {
	Config
	// key authenticates the names of upload sessions. It dies with the process: a client then begins its upload anew.
	key [32]byte
}

var _ gateway.Protocol = (*Gateway)(nil)

// New checks c.
func New(c Config) (*Gateway, error) {
	if c.Registries == nil || c.Publications == nil || c.Realm == "" {
		return nil, errors.New("gateway/oci: Registries, Publications and Realm are required")
	}
	if c.MaxBlob <= 0 {
		c.MaxBlob = 10 << 30
	}
	if c.Stall <= 0 {
		c.Stall = time.Minute
	}
	if c.Patience <= 0 {
		c.Patience = time.Minute
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
	g := &Gateway{Config: c}
	_, err := io.ReadFull(c.Random, g.key[:])
	return g, err
}

// Handler serves the registry's API through p. Clients know it at the root of a host only: mount it at /v2/.
func (g *Gateway) Handler(p *gateway.Pipeline) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := g.begin(w, r)
		defer x.stream.end()
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox") // what is pulled is no page of this origin
		if x.err != nil || x.route.kind != ping {
			p.Handle(x, w, r)
			return
		}
		if _, err := p.Authn.Authenticate(r); err != nil {
			x.Fail(w, r, gateway.AsError(remit.Unauthenticated, err))
			return
		}
		writeJSON(w, http.StatusOK, struct{}{})
	})
}

// tokenLife is what clients are told: the least that they accept. The token may be good for longer; when it is not, they
// are challenged and ask again.
const tokenLife = 60

// TokenHandler is the token server of this front (distribution, "Token Authentication Specification"): it takes the
// instance's token for this gateway as the password, whoever the user says to be, and gives that token back. Whatever
// scope is asked for, it widens nothing: what the token may do is judged at each request.
func (g *Gateway) TokenHandler(a gateway.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet { // clients that try OAuth's POST first come back with GET
			w.Header().Set("Allow", http.MethodGet)
			writeErrors(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "tokens are given by GET", nil)
			return
		}
		_, password, basic := r.BasicAuth()
		_, err := a.Authenticate(r)
		if err == nil && !basic {
			err = remit.Errorf(remit.Unauthenticated, "the password is to be the task's token for the gateway oci, by Basic authentication")
		}
		if err != nil {
			e := gateway.AsError(remit.Unauthenticated, err)
			w.Header().Set("WWW-Authenticate", `Basic realm="Remit"`)
			writeErrors(w, http.StatusUnauthorized, "UNAUTHORIZED", scrub(e.Sentence), detail{Code: e.Code})
			return
		}
		writeJSON(w, http.StatusOK, struct {
			Token       string    `json:"token"`
			AccessToken string    `json:"access_token"` // the name that some clients look for
			ExpiresIn   int       `json:"expires_in"`
			IssuedAt    time.Time `json:"issued_at"`
		}{password, password, tokenLife, g.Now().UTC()})
	})
}

// KeysHandler gives out Config.Keys, for the configuration of registries that trust Remit as their token server.
func (g *Gateway) KeysHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || len(g.Keys) == 0 {
			writeErrors(w, http.StatusNotFound, "NAME_UNKNOWN", "no registry trusts this server as its token server", nil)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json") // RFC 7517 §8.5.2
		_, _ = w.Write(g.Keys)                                     // the client is gone: there is nobody to tell
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone: there is nobody to tell
}
