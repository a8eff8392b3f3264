// Package broker turns a redemption into an upstream credential. It accepts nothing but a redemption that the engine
// hands over, so whoever can reach a broker cannot thereby obtain authority.
//
// There are two ways to a credential. Where an upstream can only be told a secret that the organisation declared, that
// is injected into what Remit itself sends: it ends with its one use. Where there is a Provider, a credential is made
// for one task on one target, shared by the task's attempts, and ended with the task; machine.go takes it through its
// life, end.go to its end. Neither is ever handed out, so an agent cannot keep what it never had.
package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Upstreams finds what was declared of an upstream.
type Upstreams interface {
	Upstream(ctx context.Context, name string) (remit.Upstream, error)
}

// Config is what a broker needs. Upstreams alone serve upstreams with declared credentials; with Providers, all members
// without a zero value beside them are required.
type Config struct {
	Upstreams Upstreams
	Providers map[string]Provider // by kind of upstream
	Books     Books
	Box       Box
	Dir       string // of the sealed credentials, of this process alone

	Targets Targets      // of environments; none
	Clock   Clock        // that of the machine
	Log     *slog.Logger // discards
}

// Broker leases credentials.
type Broker struct {
	upstreams Upstreams
	machine   *machine // nil: no providers
}

// New is a broker over upstreams with declared credentials.
func New(u Upstreams) *Broker { return &Broker{upstreams: u} }

// Open is a broker with providers. It takes up what an earlier process left, and at once begins to end what must end;
// Run goes on with that. The state must have its genesis.
func Open(c Config) (*Broker, error) {
	if c.Upstreams == nil || c.Books == nil || len(c.Providers) == 0 {
		return nil, errors.New("broker: Upstreams, Books and Providers are required")
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	v, err := openVault(c.Dir, c.Box)
	if err != nil {
		return nil, err
	}
	m := &machine{Config: c, vault: v, kick: make(chan struct{}, 1), shared: map[sharing]*held{}, known: map[remit.ID]*held{},
		makers: map[remit.ID]*held{}, queues: map[string]*queue{}, strays: map[string]bool{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if err := m.takeUp(); err != nil {
		m.close()
		return nil, err
	}
	return &Broker{c.Upstreams, m}, nil
}

// Run ends leases when they must end, and sweeps, until ctx ends or the books cannot be read any more.
func (b *Broker) Run(ctx context.Context) error {
	if b.machine == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	done, err := b.machine.begin()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.machine.ctx, cancel)()
	b.machine.work.Go(func() { b.machine.sweeps(ctx) })
	return b.machine.watch(ctx)
}

// Close stops everything that is under way. What is not done is taken up by the next Open.
func (b *Broker) Close() {
	if b.machine != nil {
		b.machine.close()
	}
}

// Contain ends at once everything that Remit made at an upstream: when its credentials may be in the wrong hands. Tasks
// that live get new ones when they next need them; to prevent that, suspend their agents first.
func (b *Broker) Contain(ctx context.Context, upstream string) error {
	if b.machine == nil {
		return remit.Errorf(remit.UnknownResource, "nothing is made at upstream %s", upstream)
	}
	done, err := b.machine.begin()
	if err != nil {
		return err
	}
	defer done()
	return b.machine.contain(ctx, upstream)
}

// ErrNoRedemption is what Lease says to anything but a redemption.
var ErrNoRedemption = errors.New("a credential is leased for a redemption, and this is none")

// Lease gives the credential for one redemption: of the upstream that its one resource lies at, for writing only where
// the steps write, and only in the zone that the credential serves (R4d). Steps that need no credential get an empty
// one.
func (b *Broker) Lease(ctx context.Context, r *authority.Redemption) (*Lease, error) {
	if !r.Valid() {
		return nil, ErrNoRedemption
	}
	n := need{attempt: r.Attempt(), notAfter: time.Unix(0, r.NotAfter()), key: sharing{task: r.Task()}}
	call := slices.ContainsFunc(r.Steps(), func(st remit.Step) bool { return st.Resource.Type() == "tool" })
	for _, st := range r.Steps() {
		if typ := st.Resource.Type(); typ == "probe" || typ == "task" || typ == "secret" || call && typ != "tool" {
			continue // Remit itself is what these steps act on; what a call of a tool does besides, it does with its server's
		}
		if remit.ToolServer(st.Resource.Name()) == remit.LocalTools && st.Resource.Type() == "tool" {
			continue // within the agent's own process, and with nothing of Remit's
		}
		name, err := b.upstreamOf(st.Resource)
		if err != nil {
			return nil, err
		}
		if n.key.upstream != "" && n.key.upstream != name {
			return nil, remit.Errorf(remit.CrossesBoundary, "one credential does not serve both %s and %s", n.key.upstream, name)
		}
		if n.key.target != "" && n.key.target != st.Resource {
			return nil, remit.Errorf(remit.CrossesBoundary, "one credential does not serve both %s and %s", n.key.target, st.Resource)
		}
		n.key.upstream, n.key.target = name, st.Resource
		if info, _ := remit.Lookup(st.Action); info.Impact != remit.Read {
			n.key.write = true
		}
	}
	if n.key.upstream == "" {
		return &Lease{}, nil
	}
	// What is declared is looked up after the zone where that is known without: an upstream of no provider is of zone S.
	if b.machine == nil && r.Zone() != remit.ZoneSource && !call {
		return nil, crosses(n.key.upstream, remit.ZoneSource, r.Zone())
	}
	u, err := b.upstreams.Upstream(ctx, n.key.upstream)
	if err != nil {
		return nil, err
	}
	if b.machine != nil {
		// A registry with a declared credential does not take Remit for its token server.
		if p := b.machine.Providers[u.Kind]; p != nil && (u.Kind != remit.KindRegistry || u.Write.From == "") {
			// A step of no zone, such as a comment on an issue, is taken with a credential of its upstream's zone.
			if r.Zone() != remit.ZoneNone && r.Zone() != u.Zone() {
				return nil, crosses(u.Name, u.Zone(), r.Zone())
			}
			n.provider, n.upstream = p, u
			return b.machine.lease(ctx, n)
		}
	}
	return declared(ctx, u, n.key.write, r.Zone())
}

func crosses(upstream string, serves, zone remit.Zone) error {
	return remit.Errorf(remit.CrossesBoundary, "the credential of upstream %s serves zone %s, not %q", upstream, serves, zone)
}

// upstreamOf is the upstream that a resource lies at.
func (b *Broker) upstreamOf(res remit.Resource) (name string, _ error) {
	switch typ := res.Type(); typ {
	case "repo", "artifact", "tool":
		name, _, _ = strings.Cut(res.Name(), "/")
		return name, nil
	case "environment":
		if b.machine != nil {
			b.machine.Books.View(func(s *authority.State) {
				if e := s.Environments[res.Name()]; e != nil {
					name = e.Upstream
				}
			})
		}
		if name == "" {
			return "", remit.Errorf(remit.UnknownResource, "%s has no declared target", res)
		}
		return name, nil
	default:
		return "", remit.Errorf(remit.UnknownResource, "there are no credentials for resources of type %s", typ)
	}
}

// declared is the credential that was declared for an upstream. The one of an upstream that providers make credentials
// at is their own, and serves nobody else.
func declared(ctx context.Context, u remit.Upstream, write bool, zone remit.Zone) (*Lease, error) {
	switch u.Kind {
	case remit.KindCommand: // what it needs are secrets, not a credential
		if zone != u.Zone() {
			return nil, crosses(u.Name, u.Zone(), zone)
		}
		return &Lease{}, nil
	case remit.KindMCP: // its zone is the one of its tools, and so of what was redeemed
		zone = u.Zone()
	case remit.KindRegistry:
		if u.Write.From != "" && zone == u.Zone() {
			break
		}
		fallthrough
	case remit.KindGitea, remit.KindKubernetes:
		return nil, remit.Errorf(remit.UnknownResource, "nothing here makes credentials for upstream %s, of kind %s", u.Name, u.Kind)
	}
	if zone != u.Zone() {
		return nil, crosses(u.Name, u.Zone(), zone)
	}
	source := u.Observer
	if write || u.Kind == remit.KindMCP && source.From == "" {
		source = u.Write
	}
	value, err := read(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("the credential of upstream %s: %w", u.Name, err)
	}
	return &Lease{secret: Secret{User: source.User, Value: value}}, nil
}

// Lease is a credential for one attempt.
type Lease struct {
	secret Secret // declared; empty: none

	machine *machine // of a provider's
	held    *held

	ended atomic.Bool
}

// Use lends the credential to f, for what is no HTTP request. f keeps nothing of it.
func (l *Lease) Use(f func(Secret) error) error {
	switch {
	case l.ended.Load():
		return remit.Errorf(remit.NotLive, "the credential's attempt has ended")
	case l.held != nil:
		return l.machine.use(l.held, f)
	}
	return f(l.secret)
}

// Apply puts the credential on a request that Remit is about to send upstream.
func (l *Lease) Apply(r *http.Request) error {
	r.Header.Del("Authorization")
	return l.Use(func(s Secret) error {
		if h := s.header(); h != "" {
			r.Header.Set("Authorization", h)
		}
		return nil
	})
}

// End makes the lease useless to this attempt. A credential that a provider made lives on for its task.
func (l *Lease) End(context.Context) error {
	if !l.ended.Swap(true) && l.held != nil {
		l.held.leave()
	}
	return nil
}

// header is basic authentication where there is a user, bearer otherwise, nothing for no secret.
func (s Secret) header() string {
	switch {
	case s.Value == "":
		return ""
	case s.User == "":
		return "Bearer " + s.Value
	}
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(s.User, s.Value)
	return r.Header.Get("Authorization")
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

const (
	maxSecret = 8 << 10
	execTime  = 10 * time.Second
)

// Authorization reads a secret from where it was declared to be and makes the header of it: basic where a user is
// declared, bearer otherwise, nothing for an empty source. The error never contains the secret.
func Authorization(ctx context.Context, s remit.Source) (string, error) {
	secret, err := read(ctx, s)
	if err != nil {
		return "", err
	}
	return Secret{User: s.User, Value: secret}.header(), nil
}

// Value reads a secret from where it was declared to be, for what gets it in its environment.
func Value(ctx context.Context, s remit.Source) (string, error) { return read(ctx, s) }

func read(ctx context.Context, s remit.Source) (string, error) {
	var raw []byte
	switch s.From {
	case "":
		return "", nil
	case "file":
		var err error
		if raw, err = readFile(s.Name); err != nil {
			return "", err
		}
	case "env":
		v, ok := os.LookupEnv(s.Name)
		if !ok {
			return "", remit.Errorf(remit.UpstreamDown, "the variable %s, which has the secret, is not set in the server's environment", s.Name)
		}
		raw = []byte(v)
	case "exec":
		if len(s.Argv) == 0 {
			return "", remit.Errorf(remit.BadRequest, "the command that prints the secret is empty")
		}
		ctx, cancel := context.WithTimeout(ctx, execTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, s.Argv[0], s.Argv[1:]...)
		cmd.WaitDelay = time.Second // what it started itself may hold its output open
		out, err := cmd.Output()
		if err != nil {
			return "", remit.Errorf(remit.UpstreamDown, "%s, which prints the secret, failed: %w", s.Argv[0], err)
		}
		raw = out
	default:
		return "", remit.Errorf(remit.BadRequest, "a secret comes from a file, env or exec, not from %q", s.From)
	}
	secret := string(bytes.TrimRight(raw, "\r\n"))
	if secret == "" || len(secret) > maxSecret || strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", remit.Errorf(remit.UpstreamDown, "the secret from %s is empty, longer than %d bytes, has more than one line or a control character", s.From, maxSecret)
	}
	return secret, nil
}

// readFile reads a file that only its owner may read. The file that is looked at is the one that is read.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the secret's file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the secret's file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, remit.Errorf(remit.BadRequest, "%s, which has the secret, is no regular file", name)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, remit.Errorf(remit.Forbidden, "%s can be read by others; say: chmod 600 %s", name, name)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+16)) // a longer one is refused, not cut
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the secret's file: %w", err)
	}
	return raw, nil
}
