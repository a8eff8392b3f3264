// Package server is the HTTP API of one organisation, /v1/orgs/{org}/…, as package client speaks it. One table of
// routes makes both the mux and the OpenAPI document, so that what is served and what is described cannot differ.
//
// To find where a request is let in, read in this order: route.go (what a route says of itself), routes.go (the table),
// auth.go (who calls), then the handler. A handler judges nothing: it turns a request into a command, and package
// authority decides.
package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/identity/signin"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/passkey"
)

// Bundles keeps policy bundles. A file that is wrong is a *remit.Error.
type Bundles interface {
	// Compile makes files a policy and keeps nothing.
	Compile(context.Context, []remit.PolicyFile) (authority.Policy, error)
	// Install keeps files, so that the policy of that digest can be found by an engine and by every later replay.
	Install(context.Context, []remit.PolicyFile) (remit.Digest, error)
	// Files gives back what was installed.
	Files(context.Context, remit.Digest) ([]remit.PolicyFile, error)
}

// Log is the log as a whole, for those who check it.
type Log interface {
	// Head is the newest signed head with all that an outsider keeps of it.
	Head(context.Context) (remit.LogHead, error)
	// Export writes a bundle that can be verified offline.
	Export(context.Context, io.Writer) error
	// Tile gives a tile under the newest signed head, and Receipt the proof of an entry under one that covers it;
	// NOT_FOUND for what the log does not have.
	Tile(context.Context, ledger.Tile) ([]byte, error)
	Receipt(context.Context, remit.EntryIndex) ([]byte, error)
}

// Config is what a server needs. All members are required but those with a zero value beside them.
type Config struct {
	Engine   *engine.Engine
	Follow   *follow.Follower
	CA       *identity.CA
	Sessions *identity.Sessions // of people
	Tokens   *identity.Tokens   // of instances
	Bundles  Bundles
	Log      Log
	Secrets  Secrets
	Base     string   // https://HOST:PORT, as clients name this server
	Key      [32]byte // of this server: for digests of peers' addresses and links to cards; the same after a restart

	Jobs    Jobs                    // makes CI jobs instances; Engine
	Version string                  // what Health says; dev
	Mounts  map[string]http.Handler // by name: git is served under /v1/orgs/{org}/git/ and does its own authentication; none
	Clock   identity.Clock          // that of the machine
	Slog    *slog.Logger            // discards

	// Executors serves executors in other processes, Places says where they deploy to and which namespaces are governed,
	// AttemptSecrets has the secrets that targets declare; none.
	Executors      Executors
	Places         Places
	AttemptSecrets AttemptSecrets

	// Providers are the OpenID providers at which people sign in; none.
	Providers *signin.Providers

	// Erased is told of requests whose payloads were erased, so that what else they name goes too; none.
	Erased func(context.Context, []remit.Request)

	// PolicyWidens tells by the rules themselves why a bundle (the second) may let pass what another does not; empty where
	// it cannot. Without it, every changed file widens.
	PolicyWidens func(had, files []remit.PolicyFile) string

	Attestor Attestor // signs provenance; none
	// Packs proves entries under a signed head, for packs of evidence; none. Settings are what this server says of itself there.
	Packs    func(context.Context, remit.LogHead) evidence.Prover
	Settings remit.EvidenceSettings
	Notifier Notifier // tells people what waits; none

	// Card renders the page that a card's link leads to, with its Content-Security-Policy; none.
	Card func(remit.Org, remit.AccessView) (page []byte, policy string, err error)

	Formats map[string]Format // that entries can be asked for in, by name; none
	// Contain ends what was made at an upstream, also what the log does not know of; none.
	Contain func(ctx context.Context, upstream string) error

	Scan Scan // looks at upstreams for authority outside; none

	// PublicLog lets anyone read the entries of the log: they hold declared names, nothing personal. Hashes and the signed
	// head are for anyone in any case.
	PublicLog bool
}

// Server is the API. Make one with New.
type Server struct {
	cfg Config
	mux *http.ServeMux

	heavy chan struct{} // a place for each request that reads the whole log

	mu     sync.Mutex
	polls  map[string]int         // long requests under way, by who holds them
	beats  map[remit.ID]time.Time // when each instance was last heard of; soft state
	closed chan struct{}

	seats     seats
	launchers launchers
	issuers   *identity.Issuers
	site      passkey.Site // of this server's passkeys; zero where it has no host name
	devices   *signin.Devices
	running   running
	failures  failures                      // of exchanges
	control   sync.Mutex                    // one completion of control steps at a time; guards stuck
	stuck     map[remit.ID]remit.EntryIndex // approvals that could not be completed under the set of that entry
	secrets   sync.Mutex                    // one value is put at a time
	cards     sync.Mutex
	scanning  sync.Mutex                               // one look at an upstream at a time
	explained map[remit.EntryIndex]*engine.Explanation // by the decision that a card is of; guarded by cards
	graphs    graphs
}

const (
	// Lost is how long an instance lives without a heartbeat of its launcher.
	Lost = 15 * time.Second

	beat       = 5 * time.Second  // between lines of a held connection
	patience   = 30 * time.Second // of a long poll
	maxPolls   = 16               // long requests of one person or instance at a time
	maxAll     = 2048             // and of everybody
	maxHeavy   = 2
	readWithin = 30 * time.Second // a request's body
	sendWithin = time.Minute      // an answer, or a piece of one that streams
)

// New is the server of c. A config without what it requires is a fault of the program and panics.
func New(c Config) *Server {
	if c.Engine == nil || c.Follow == nil || c.CA == nil || c.Sessions == nil || c.Tokens == nil || c.Bundles == nil || c.Log == nil ||
		c.Base == "" || c.Key == [32]byte{} {
		panic("server: a required member of Config is not set")
	}
	if c.Jobs == nil {
		c.Jobs = c.Engine
	}
	if c.Providers == nil {
		c.Providers = &signin.Providers{}
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Clock == nil {
		c.Clock = identity.SystemClock{}
	}
	if c.Slog == nil {
		c.Slog = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: c, mux: http.NewServeMux(), heavy: make(chan struct{}, maxHeavy), polls: map[string]int{},
		beats: map[remit.ID]time.Time{}, closed: make(chan struct{}), explained: map[remit.EntryIndex]*engine.Explanation{},
		stuck: map[remit.ID]remit.EntryIndex{}, issuers: identity.NewIssuers(c.Clock.Now), devices: signin.NewDevices(c.Clock.Now)}
	if site, err := passkey.NewSite(c.Base, "Remit "+string(s.org())); err == nil {
		s.site = site
	}
	for _, r := range table() {
		s.mux.Handle(r.method+" "+r.path, s.serve(r))
	}
	for name, h := range c.Mounts {
		s.mux.Handle("/v1/orgs/{org}/"+name+"/", s.mounted(h))
		s.mux.Handle("/v1/orgs/{org}/"+name, s.mounted(h)) // a POST does not survive the redirect to the other
	}
	s.mux.Handle("/", s.guard(func(http.ResponseWriter, *http.Request) error {
		return remit.Errorf(remit.NotFound, "the API has nothing at this address with this method; GET /v1/openapi.json describes it")
	}))
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody {
		// HTTP/1 reads what a handler left of a body before it answers: without an end, a stranger could hold a
		// connection forever. A handler that reads for longer sets deadlines of its own.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readWithin))
	}
	s.mux.ServeHTTP(w, r)
}

// Close lets go of every held connection without ending its instance: after a restart launchers have Lost to come back.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
}

// Tick does what is due: it ends instances that nobody holds, and completes control steps that were approved and whose
// completion a crash prevented. It is called about once a second.
func (s *Server) Tick(ctx context.Context) error {
	if err := s.endUnheld(ctx); err != nil {
		return err
	}
	return s.CompleteControl(ctx)
}

// now is the time that requests are judged by.
func (s *Server) now() time.Time { return s.cfg.Clock.Now() }

// view reads the committed state.
func (s *Server) view(f func(*authority.State)) { s.cfg.Engine.View(f) }

// org is the organisation that this server is of.
func (s *Server) org() (org remit.Org) {
	s.view(func(st *authority.State) { org = st.Org })
	return org
}

// mounted serves a gateway, which does its own authentication and keeps its own time.
func (s *Server) mounted(h http.Handler) http.Handler {
	return s.guard(func(w http.ResponseWriter, r *http.Request) error {
		if err := s.checkOrg(r); err != nil {
			return err
		}
		s.offerNonce(w, r)
		// What comes through a gateway is written by upstreams and agents, at the origin of the console: a person's browser that
		// is led there shows it as a page of nobody's.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		h.ServeHTTP(w, r)
		return nil
	})
}

func (s *Server) checkOrg(r *http.Request) error {
	if want := s.org(); remit.Org(r.PathValue("org")) != want {
		return remit.Errorf(remit.NotFound, "this server has no organisation %.64q", r.PathValue("org"))
	}
	return nil
}

// enter takes a place for a long request of who; leave gives it back.
func (s *Server) enter(who string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.polls[who] >= maxPolls || s.polls[""] >= maxAll {
		return nil, remit.Errorf(remit.Overload, "too many requests wait for an answer here (%d of yours); let one of them end", s.polls[who])
	}
	s.polls[who]++
	s.polls[""]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.polls[""]--
		if s.polls[who]--; s.polls[who] == 0 {
			delete(s.polls, who)
		}
	}, nil
}

// work takes a place among the requests that read the whole log.
func (s *Server) work(ctx context.Context) (done func(), err error) {
	select {
	case s.heavy <- struct{}{}:
		return func() { <-s.heavy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
