package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/depend"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/assist"
	"github.com/remit-dev/remit/gateway/authzen"
	"github.com/remit-dev/remit/gateway/change"
	"github.com/remit-dev/remit/gateway/deploy"
	"github.com/remit-dev/remit/gateway/git"
	"github.com/remit-dev/remit/gateway/hook"
	"github.com/remit-dev/remit/gateway/mcp"
	"github.com/remit-dev/remit/gateway/oci"
	secretgw "github.com/remit-dev/remit/gateway/secret"
	"github.com/remit-dev/remit/gateway/task"
	"github.com/remit-dev/remit/gateway/web"
	"github.com/remit-dev/remit/guardian"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
	"github.com/remit-dev/remit/notify"
	"github.com/remit-dev/remit/policy"
	"github.com/remit-dev/remit/seal"
	"github.com/remit-dev/remit/secret"
	"github.com/remit-dev/remit/server"
	"github.com/remit-dev/remit/telemetry"
)

// Config is all that a server is told. Zero values are useful unless it says otherwise.
type Config struct {
	// Data is the directory that `remit init` made, 0700: log.db (the log), blobs and packs, ca, keys, git (mirrors and
	// spool), second-head, pending-kills. Required.
	Data string
	// Listen is the address of the API and the gateways; 127.0.0.1:8443.
	Listen string
	// Names are the host names and addresses that clients use, for the certificate; localhost and 127.0.0.1 always are.
	Names []string
	// Public is the base URL that clients are told, https://HOST:PORT; made of the first name and Listen's port.
	Public string
	// Certificate and CertificateKey are PEM files of a certificate that browsers trust, for the names that it holds; all other
	// names are served with the built-in CA's. Both or none.
	Certificate, CertificateKey string
	// SecondHead is where the head of the log is written a second time, to find a restored old copy at start; in Data,
	// where it protects against accidents only.
	SecondHead string
	// Executors are the zones whose approved work this process carries out itself; S and B by default, and in the demo
	// profile also P. What is left out waits for an executor of its own: remit executor.
	Executors []remit.Zone
	// PublicLog lets anyone read the entries of the log as tiles; signed-in people can in any case.
	PublicLog bool
	// Metrics is the address on which operators find /metrics, /healthz and /readyz, without TLS and for whoever reaches
	// it; none. OTLP is the base URL of a collector of traces; as the environment says. MaxDebt is how many leases in debt
	// leave the server ready.
	Metrics string
	OTLP    string
	MaxDebt int
	// Settle is how long upstreams may still be at work on what a server before this one sent; executor.Settle.
	Settle time.Duration
	// HoldOpen is how long a call of a tool that waits for people keeps its request open, where the client can do nothing
	// else than wait; 20 s.
	HoldOpen time.Duration
	// Providers is a file of OpenID providers at which people sign in; none.
	Providers string
	// Git is the git binary; found in PATH.
	Git string
	Log *slog.Logger
}

const (
	reserve   = 256 << 20 // bytes of the disk that only the log may use
	packQuota = 8 << 30   // bytes of all packs that wait
)

// layout is where things lie in the data directory.
type layout string

func (l layout) at(name string) string { return filepath.Join(string(l), name) }

func (l layout) db() string    { return l.at("log.db") }
func (l layout) roots() string { return l.at("ca.crt") } // for clients: certificates only
func (l layout) ca() string    { return l.at("ca") }
func (l layout) key() string   { return l.at(filepath.Join("keys", "log.key")) }
func (l layout) blobs() string { return l.at("blobs") }
func (l layout) packs() string { return l.at("packs") }
func (l layout) org() string   { return l.at("org") }

// detections is how far the log was searched.
func (l layout) detections() string { return l.at("detections") }

// secondHead is the file that was given, or the one in the data directory.
func (l layout) secondHead(given string) string {
	if given != "" {
		return given
	}
	return l.at("second-head")
}

func (l layout) serverKey() string { return l.at(filepath.Join("keys", "server.key")) }

// House is a running server: everything wired, for `remit server`, `remit quickstart` and tests alike.
type House struct {
	Config
	Engine *engine.Engine
	CA     *identity.CA
	URL    string // base URL of the API
	Org    remit.Org

	own       *ownCertificate // of the operator; nil
	store     *sqlite.Store
	api       *server.Server
	gitgw     *git.Gateway
	packs     *packs
	executors []*executor.Executor
	broker    *broker.Broker
	images    http.Handler // of registries, at /v2/
	tools     *tools
	toolgw    *mcp.Gateway
	point     *foreign
	follower  *follow.Follower
	notifier  *notify.Outbox
	heads     *checkpoints
	watch     *watcher
	listener  net.Listener
	http      *http.Server
	cancel    context.CancelFunc
	group     sync.WaitGroup
}

// Open reads the data directory and wires the house. Nothing is served before Run.
func Open(ctx context.Context, c Config) (_ *House, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8443"
	}
	l := layout(c.Data)
	org, err := readOrg(l)
	if err != nil {
		return nil, err
	}
	h := &House{Config: c, Org: org.Org}
	second := ledger.SecondHead{Path: l.secondHead(c.SecondHead)}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	signer, err := ledger.LoadKey(l.key())
	if err != nil {
		return nil, err
	}
	verifier, err := ledger.VerifierKey(org.Origin, signer.Public())
	if err != nil {
		return nil, err
	}
	if h.CA, err = identity.OpenCA(l.ca(), h.Org, time.Now); err != nil {
		return nil, err
	}
	if h.store, err = sqlite.Open(l.db(), sqlite.Options{Existing: true}); err != nil {
		return nil, err
	}
	if err = ledger.CheckHead(ctx, h.store, second, verifier); err != nil {
		return nil, err
	}
	h.heads = &checkpoints{store: h.store, signer: signer, second: second, origin: org.Origin, log: c.Log}
	blobs, err := ledger.OpenBlobDir(l.blobs(), ledger.BlobOptions{Reserve: reserve})
	if err != nil {
		return nil, err
	}
	packDir, err := ledger.OpenBlobDir(l.packs(), ledger.BlobOptions{Quota: packQuota, Reserve: reserve})
	if err != nil {
		return nil, err
	}
	h.packs = &packs{Blobs: packDir}
	policies := &bundles{blobs: blobs}
	h.Engine, err = engine.Open(ctx, engine.Config{Store: timedStore{h.store, h}, Blobs: blobs, Policies: policies, Clock: machine,
		Log: c.Log, Kills: l.at("pending-kills")})
	if err != nil {
		return nil, err
	}
	if err = h.openWatch(ctx, blobs, packDir); err != nil {
		return nil, err
	}
	if err = h.listen(); err != nil {
		return nil, err
	}
	return h, h.wire(ctx, blobs, policies)
}

// listen takes the port before anything else happens, so that a port in use is said at once.
func (h *House) listen() error {
	var err error
	if h.listener, err = net.Listen("tcp", h.Listen); err != nil {
		return remit.Errorf(remit.Conflict, "cannot listen on %s: %w; choose another address with --listen", h.Listen, err)
	}
	if h.Certificate != "" || h.CertificateKey != "" {
		if h.own, err = newOwnCertificate(h.Certificate, h.CertificateKey, h.Engine.Now, h.Log); err != nil {
			return err
		}
	}
	host, port, err := net.SplitHostPort(h.listener.Addr().String())
	if err != nil {
		return err
	}
	if len(h.Names) > 0 {
		host = h.Names[0]
	} else if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = "localhost"
	}
	h.URL = h.Public
	if h.URL == "" {
		h.URL = "https://" + strings.TrimSuffix(net.JoinHostPort(host, port), ":443") // as browsers name the origin
	}
	return nil
}

// wire makes the parts and says who knows whom. Nothing is looked up by name later.
func (h *House) wire(ctx context.Context, blobs ledger.Blobs, policies *bundles) error {
	l := layout(h.Data)
	ups := &upstreams{engine: h.Engine, git: h.Git, config: l.at("git-local")}
	if err := os.MkdirAll(ups.config, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", ups.config, err)
	}
	h.follower = follow.New(h.Engine, h.Log)
	prefix := "/v1/orgs/" + string(h.Org)
	authz, who := authorizer{h.Engine}, server.Authority{Engine: h.Engine}
	var err error
	h.gitgw, err = git.New(ctx, git.Config{Prefix: prefix + "/git", Repos: ups, Blobs: h.packs, Explainer: depend.Explainer{}, Provenance: h.follower,
		Signers: signers{who}, Git: h.Git, Dir: l.at("git"), Agent: "remit/" + version, Log: h.Log,
		Preview: func(ctx context.Context, r remit.Request) (remit.Decision, error) { return authz.Authorize(ctx, r) }})
	if err != nil {
		return err
	}
	key, err := readKey(l.serverKey())
	if err != nil {
		return err
	}
	tokens := identity.NewTokens(identity.TokensConfig{Domain: h.CA.TrustDomain(), Instances: who, Now: time.Now, Base: h.URL, Key: key})
	sessions, err := identity.NewSessions(h.URL, h.Org, who, machine.Now)
	if err != nil {
		return err
	}
	box, err := seal.New(l.at("seal"))
	if err != nil {
		return err
	}
	store, err := secret.Open(l.at("secrets"), box)
	if err != nil {
		return err
	}
	named := &secrets{engine: h.Engine, store: store}
	where := places{h.Engine, ups}
	known, err := newRegistries(ups, h.Engine, h.Org, l.at(filepath.Join("keys", "registry.key")))
	if err != nil {
		return err
	}
	if h.broker, err = h.openBroker(ups, where, known, box); err != nil {
		return err
	}
	creds := credentials{h.Engine, h.broker, named}
	pipeline := func(name string) *gateway.Pipeline {
		return &gateway.Pipeline{Authn: tokens.Authenticator(name), Authz: authz, Creds: creds, Log: h.Log, Observer: h.watch.t}
	}
	signed, err := newAttestor(h.Org, l.at(filepath.Join("keys", "attest.key")))
	if err != nil {
		return err
	}
	tasks := task.Gateway{Tasks: children{h.Engine}}
	changes := &change.Gateway{Git: h.gitgw, Push: h.gitgw, Now: time.Now}
	uses := &secretgw.Gateway{Places: named, Answers: &gateway.Answers{Now: time.Now}}
	forge, err := web.New(web.Config{Prefix: prefix + "/forge", Forges: forges{ups}, Git: h.gitgw, Log: h.Log})
	if err != nil {
		return err
	}
	images, err := oci.New(oci.Config{Registries: known, Publications: known, Realm: h.URL + prefix + "/registry/token",
		Service: strings.TrimPrefix(h.URL, "https://"), Keys: known.signer.Keys(), Log: h.Log})
	if err != nil {
		return err
	}
	deployer, err := deploy.New(deploy.Config{Environments: where, Secrets: named, Observer: observer, Dir: l.at("deploy")})
	if err != nil {
		return err
	}
	protocols := map[string]gateway.Protocol{"gateway/git": h.gitgw, "probe": gateway.Probe{}, task.Name: tasks, change.Name: changes,
		secretgw.Name: uses, web.Name: forge, oci.Name: images, deploy.Name: deployer}
	h.tools = &tools{engine: h.Engine, ups: ups, blobs: blobs, base: h.URL + prefix, homes: l.at("tools")}
	answers := &gateway.Answers{Now: time.Now}
	h.toolgw = mcp.New(mcp.Config{Prefix: prefix + "/" + mcp.Name, Base: h.URL, Servers: h.tools, Holds: h.tools, Definitions: h.tools, Ended: h.tools.Ended,
		Answers: answers, Log: h.Log, Key: key, Hosts: h.Names, HoldOpen: h.HoldOpen})
	protocols[mcp.Name], protocols[authzen.Name] = h.toolgw.Orders(), &authzen.Handover{}
	hooks := &hook.Gateway{Holds: h.tools, Answers: &gateway.Answers{Now: time.Now}, Payload: h.Engine.NewPayload, Now: time.Now}
	protocols[hook.Name] = hooks
	if h.Executors == nil {
		h.Executors = []remit.Zone{remit.ZoneSource, remit.ZoneBuild}
		h.Engine.View(func(s *authority.State) {
			if s.Profile == remit.Demo {
				h.Executors = append(h.Executors, remit.ZoneProduction)
			}
		})
	}
	for _, zone := range []remit.Zone{remit.ZoneSource, remit.ZoneBuild, remit.ZoneProduction} {
		name := authority.ExecutorOf(zone)
		part := zoned{orders: orders{h.Engine}, name: name}
		if !slices.Contains(h.Executors, zone) {
			part.share = onlyHere
		}
		h.executors = append(h.executors, &executor.Executor{Orders: part, Pipeline: pipeline(name), Protocols: protocols, Log: h.Log, Settle: h.Settle})
	}
	through := func(name string, proto gateway.Protocol) http.Handler {
		p := pipeline(name)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Handle(proto, w, r) })
	}
	agents := desk{engine: h.Engine, holds: h.tools, answers: answers, tasks: tasks, asking: pipeline(task.Name)}
	helps := assist.New(assist.Config{Authn: tokens.Authenticator(mcp.Name), Metadata: h.URL + mcp.MetadataPath + prefix + "/" + mcp.Name + "/remit", Version: version,
		Rooms: agents, Plans: agents})
	servers := h.toolgw.Handler(pipeline(mcp.Name))
	registry := http.NewServeMux()
	registry.Handle(prefix+"/registry/token", images.TokenHandler(tokens.Authenticator(oci.Name)))
	registry.Handle(prefix+"/registry/keys", images.KeysHandler())
	h.images = images.Handler(pipeline(oci.Name))
	if err := h.openNotify(named, prefix); err != nil {
		return err
	}
	decides, err := h.openPoint(prefix+"/"+authzen.Name, tokens.Authenticator(authzen.Name), authz, key)
	if err != nil {
		return err
	}
	signIn, err := readProviders(h.Providers, h.URL+prefix)
	if err != nil {
		return err
	}
	h.api = server.New(server.Config{
		Engine: h.Engine, Follow: h.follower, CA: h.CA, Sessions: sessions, Tokens: tokens, Bundles: policies, PolicyWidens: policy.Widens,
		Log: logbook{h, blobs, policies}, Secrets: store, Base: h.URL, Key: key, Version: version, Slog: h.Log, Clock: machine, Providers: signIn,
		Formats: h.formats(signed), PublicLog: h.PublicLog, Executors: newFar(h.Engine, where, creds, authz), Places: where, AttemptSecrets: named, Attestor: signed, Packs: h.provers, Settings: h.settings(), Notifier: h.notifier, Card: cardPage, Contain: h.broker.Contain, Scan: scans{engine: h.Engine, ups: ups, follower: h.follower, base: h.URL, clock: identity.SystemClock{}}.Scan, Erased: h.packs.forget,
		Mounts: map[string]http.Handler{
			"git":         h.gitgw.Handler(pipeline("git")),
			"forge":       forge.Handler(pipeline("forge")),
			"probe":       through("probe", gateway.Probe{}),
			task.Name:     agents.withdrawing(prefix+"/"+task.Name+"/plan/withdraw", tokens.Authenticator(task.Name), through(task.Name, tasks)),
			change.Name:   through(change.Name, changes),
			secretgw.Name: uses.Handler(pipeline(secretgw.Name), named),
			"registry":    registry,
			authzen.Name:  decides,
			oci.Name:      http.NotFoundHandler(), // clients know a registry at the root of a host only: /v2/
			"admission":   h.admission(),
			mcp.Name: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == prefix+"/"+mcp.Name+"/remit" { // no upstream is called so
					helps.ServeHTTP(w, r)
					return
				}
				servers.ServeHTTP(w, r)
			}),
			hook.Name:     hooks.Handler(pipeline(hook.Name)),
			guardian.Name: newGuardian(h.Org, prefix, key, tokens.Authenticator(guardian.Name), hooks.Handler(pipeline(guardian.Name)), h.Log),
			"approve":     http.HandlerFunc(approve),
		},
	})
	return nil
}

// readKey reads the server's own key: for what only it must recognise, also after a restart.
func readKey(path string) (key [32]byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return key, remit.Errorf(remit.Internal, "the server's key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return key, remit.Errorf(remit.Forbidden, "%s can be read by others; say: chmod 600 %s", path, path)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) != len(key) {
		return key, remit.Errorf(remit.Internal, "%s is not the 32 bytes that remit init wrote", path)
	}
	return [32]byte(b), nil
}

// Run serves until ctx ends. It first finds out what became of what a crash left open.
func (h *House) Run(ctx context.Context) error {
	ctx, h.cancel = context.WithCancel(ctx)
	defer h.cancel()
	names := append([]string{"localhost", "127.0.0.1", "::1"}, h.Names...)
	tlsConfig, err := h.CA.TLSConfig(names...)
	if err != nil {
		return err
	}
	if h.own != nil {
		h.own.over(tlsConfig)
	}
	h.Engine.DrainKills()
	if err := h.Engine.FinishErasures(ctx); err != nil {
		return err
	}
	if err := h.sweepPacks(ctx); err != nil {
		return err
	}
	for _, x := range h.executors {
		if err := x.Reconcile(ctx); err != nil {
			h.Log.Error("finding out what became of open attempts", "err", err)
		}
	}
	root := http.NewServeMux()
	root.Handle("/v2/", h.images)
	root.Handle(mcp.MetadataPath+"/", h.toolgw.Metadata())
	root.Handle(h.point.Configuration())
	root.Handle("/", h.pages())
	root.HandleFunc("GET /healthz", telemetry.Alive)
	root.HandleFunc("GET /readyz", h.watch.t.ReadyCode)
	h.http = &http.Server{Handler: h.watch.t.HTTP(root), TLSConfig: tlsConfig, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	failed := make(chan error, 8)
	h.work(ctx, failed, "follower", func(ctx context.Context) error { h.follower.Run(ctx); return nil })
	for _, x := range h.executors {
		h.work(ctx, failed, "executor", x.Run)
	}
	h.work(ctx, failed, "broker", h.broker.Run)
	h.work(ctx, failed, "watch", h.watch.follow)
	h.work(ctx, failed, "notify", h.notifier.Run)
	h.work(ctx, failed, "tools", h.tools.watch)
	h.work(ctx, failed, "metrics", h.watch.serve)
	h.work(ctx, failed, "callbacks", h.point.tell)
	h.work(ctx, failed, "clock", h.tick)
	h.work(ctx, failed, "checkpoints", func(ctx context.Context) error { return h.heads.run(ctx, h.Engine) })
	go func() {
		<-ctx.Done()
		// Held connections are let go of, without ending what they hold; what is being answered gets a moment.
		h.api.Close()
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := h.http.Shutdown(done); err != nil {
			h.http.Close()
		}
	}()
	served := make(chan error, 1)
	go func() { served <- h.http.ServeTLS(h.listener, "", "") }()
	select {
	case err = <-failed:
		h.cancel()
		<-served
	case err = <-served:
	}
	h.cancel()
	h.group.Wait()
	// A server that was stopped leaves no entry unsigned: an older copy of its log would be found at the next start.
	if _, serr := h.heads.sign(context.WithoutCancel(ctx)); serr != nil {
		h.Log.Error("signing the head of the log", "err", serr)
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (h *House) work(ctx context.Context, failed chan<- error, name string, run func(context.Context) error) {
	h.group.Add(1)
	go func() {
		defer h.group.Done()
		if err := run(ctx); err != nil && ctx.Err() == nil {
			failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// tick makes true what time alone decides.
func (h *House) tick(ctx context.Context) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sweep.C:
			if err := h.sweepPacks(ctx); err != nil {
				h.Log.Error("sweeping packs", "err", err)
			}
		case <-every.C:
			h.Engine.DrainKills()
			h.openDeployments(ctx)
			if err := h.Engine.Tick(ctx); err != nil {
				h.Log.Error("tick", "err", err)
			}
			if err := h.api.Tick(ctx); err != nil && ctx.Err() == nil {
				h.Log.Error("tick of the API", "err", err)
			}
		}
	}
}

// packAge is how old a pack is before it can be an orphan: it is put before the entry that names it.
const packAge = 30 * time.Minute

// sweepPacks removes the packs that no open access request and no open attempt needs.
func (h *House) sweepPacks(ctx context.Context) error {
	var at []remit.EntryIndex
	h.Engine.View(func(s *authority.State) {
		for id := range s.OpenHolds {
			at = append(at, s.Accesses[id].Decision)
		}
		for _, a := range s.Attempts {
			at = append(at, a.Decision)
		}
	})
	needed := map[remit.Digest]bool{}
	defer h.packs.pin(needed)
	for _, i := range at {
		req, err := orders{h.Engine}.request(ctx, i)
		if err != nil {
			continue
		}
		if d, ok := packOf(req); ok {
			needed[d] = true
		}
	}
	for b, err := range h.packs.List(ctx) {
		if err != nil {
			return err
		}
		if !needed[b.Digest] && time.Since(b.Put) > packAge {
			if err := h.packs.Erase(ctx, b.Digest); err != nil && !errors.Is(err, ledger.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// Close ends what Open began. It may be called at any time, also twice.
func (h *House) Close() {
	if h.cancel != nil {
		h.cancel()
	}
	h.group.Wait()
	if h.listener != nil {
		h.listener.Close()
	}
	if h.watch != nil {
		h.watch.close()
	}
	if h.broker != nil {
		h.broker.Close()
	}
	if h.toolgw != nil {
		h.toolgw.Close()
	}
	if h.gitgw != nil {
		h.gitgw.Close()
		h.gitgw = nil
	}
	if h.Engine != nil {
		h.Engine.Close()
	}
	if h.store != nil {
		if err := h.store.Close(); err != nil {
			h.Log.Error("closing the log", "err", err)
		}
		h.store = nil
	}
}
