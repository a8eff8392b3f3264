package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/change"
	"github.com/remit-dev/remit/gateway/git"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/policy"
	"github.com/remit-dev/remit/sshsig"
)

// bundles keeps policy bundles as blobs, under the digest that the log names them by.
type bundles struct {
	blobs ledger.Blobs
	mu    sync.Mutex
	known map[remit.Digest]*policy.Bundle
}

// Policy compiles the bundle of a digest, once.
func (b *bundles) Policy(ctx context.Context, d remit.Digest) (authority.Policy, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.known[d]; p != nil {
		return p, nil
	}
	files, err := b.Files(ctx, d)
	if err != nil {
		return nil, err
	}
	p, err := policy.Compile(ctx, files)
	if err != nil {
		return nil, err
	}
	if b.known == nil {
		b.known = map[remit.Digest]*policy.Bundle{}
	}
	b.known[d] = p
	return p, nil
}

// Files is the text of a bundle.
func (b *bundles) Files(ctx context.Context, d remit.Digest) ([]remit.PolicyFile, error) {
	r, _, err := b.blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return policy.Decode(body)
}

// Install compiles and tests a bundle and keeps its text. Nothing is in force by that.
func (b *bundles) Install(ctx context.Context, files []remit.PolicyFile) (remit.Digest, error) {
	report, err := policy.Test(ctx, files)
	if err != nil {
		return remit.Digest{}, err
	}
	if failed := report.Failed(); len(failed) > 0 {
		return remit.Digest{}, remit.Errorf(remit.BadRequest, "the policy's own test %s fails: %s", failed[0].Name, failed[0].Why)
	}
	body, err := policy.Encode(files)
	if err != nil {
		return remit.Digest{}, err
	}
	d, _, err := b.blobs.Put(ctx, bytes.NewReader(body))
	return d, err
}

// Compile makes a policy of files that are kept nowhere.
func (b *bundles) Compile(ctx context.Context, files []remit.PolicyFile) (authority.Policy, error) {
	return policy.Compile(ctx, files)
}

// authorizer is the engine as a gateway sees it.
type authorizer struct{ *engine.Engine }

func (a authorizer) Record(ctx context.Context, at remit.Attempt, r gateway.Result) error {
	return a.Engine.Record(ctx, at, r.Outcome, r.Code, r.Receipt, r.Made)
}

// credentials carries a redemption from the engine to the broker: the only way to a credential.
type credentials struct {
	engine  *engine.Engine
	broker  *broker.Broker
	secrets *secrets
}

func (c credentials) Lease(ctx context.Context, a remit.Attempt) (gateway.Credential, error) {
	r, err := c.engine.Take(ctx, a)
	if err != nil {
		return nil, err
	}
	switch name, typ := ownResource(r); typ {
	case "task":
		return noCredential{}, nil
	case "secret":
		return secretLease{c.secrets, name}, nil
	case "environment":
		if targetKind(c.engine, name) == remit.KindCommand {
			return noCredential{}, nil // what a command needs are declared secrets
		}
	}
	l, err := c.broker.Lease(ctx, r)
	if err != nil {
		return nil, err // never a typed nil in the interface
	}
	return l, nil
}

// ownResource is the one resource of a redemption that Remit itself keeps: a task or a secret.
func ownResource(r *authority.Redemption) (name, typ string) {
	if !r.Valid() || len(r.Steps()) != 1 {
		return "", ""
	}
	res := r.Steps()[0].Resource
	return res.Name(), res.Type()
}

// upstreams finds what is declared of upstreams and repositories.
type upstreams struct {
	engine     *engine.Engine
	git        string // binary; empty: found in PATH
	config     string // directory for what git is told
	mu         sync.Mutex
	transports map[remit.Digest]http.RoundTripper // by commitment of the declaration
}

// Upstream is the declaration of an upstream in force.
func (u *upstreams) Upstream(ctx context.Context, name string) (remit.Upstream, error) {
	up, _, err := u.declared(ctx, name)
	return up, err
}

func (u *upstreams) declared(ctx context.Context, name string) (remit.Upstream, remit.Digest, error) {
	var spec remit.Digest
	u.engine.View(func(s *authority.State) {
		if up := s.Upstreams[name]; up != nil {
			spec = up.Spec
		}
	})
	var up remit.Upstream
	if spec.IsZero() {
		return up, spec, remit.Errorf(remit.UnknownResource, "no upstream %q is declared", name)
	}
	body, ok := u.engine.Text(ctx, spec)
	if !ok {
		return up, spec, remit.Errorf(remit.UpstreamDown, "the declaration of upstream %s was erased; apply it again", name)
	}
	if err := json.Unmarshal(body, &up); err != nil {
		return up, spec, remit.Errorf(remit.Internal, "the declaration of upstream %s cannot be read: %w", name, err)
	}
	return up, spec, nil
}

// Repo is a declared repository with how to reach it.
func (u *upstreams) Repo(ctx context.Context, name string) (git.Repo, error) {
	var decl *authority.Repository
	u.engine.View(func(s *authority.State) {
		if r := s.Repositories[name]; r != nil {
			c := *r
			decl = &c
		}
	})
	if decl == nil {
		return git.Repo{}, remit.Errorf(remit.UnknownResource, "no repository %q is declared", name)
	}
	upstream, _, _ := strings.Cut(name, "/")
	up, spec, err := u.declared(ctx, upstream)
	if err != nil {
		return git.Repo{}, err
	}
	transport, base, err := u.transport(ctx, up, spec)
	if err != nil {
		return git.Repo{}, err
	}
	repo := git.Repo{Name: name, URL: base + "/" + decl.Path, Transport: transport, DefaultBranch: decl.DefaultBranch,
		Watched: watched(decl)}
	if up.Observer.From != "" {
		repo.Observer = func(r *http.Request) error {
			h, err := broker.Authorization(r.Context(), up.Observer)
			if err == nil {
				r.Header.Set("Authorization", h)
			}
			return err
		}
	}
	return repo, nil
}

// watched are the paths that what a push sets off depends on.
func watched(r *authority.Repository) []remit.Pattern {
	out := slices.Clone(authority.Workflows)
	for _, e := range r.Effects {
		out = append(out, e.Runs...)
	}
	return out
}

// request gives back what a gateway asked in an entry.
func (o orders) request(ctx context.Context, at remit.EntryIndex) (remit.Request, error) {
	_, c, err := o.engine.Entry(ctx, at)
	if err != nil {
		return remit.Request{}, err
	}
	a, ok := c.(*authority.Authorize)
	if !ok {
		return remit.Request{}, remit.Errorf(remit.NotFound, "the work order of entry %d was erased", at)
	}
	return a.Request, nil
}

// signers says whose declared key signed a commit.
type signers struct{ people identity.People }

// commitNamespace is the SSHSIG namespace in which git signs (gpg.format=ssh).
const commitNamespace = "git"

func (g signers) Signer(_ context.Context, payload, signature []byte) (remit.ID, bool, error) {
	pub, err := sshsig.Signer(signature)
	if err != nil {
		return "", false, nil // an OpenPGP signature, or none that is understood
	}
	if _, err := sshsig.Verify(pub, commitNamespace, payload, signature); err != nil {
		return "", false, nil
	}
	id, ok := g.people.ByKey(pub.Marshal())
	return id, ok, nil
}

// packs keeps the packs of pushes. A held push's pack stays as long as its access request is open.
type packs struct {
	ledger.Blobs
	mu     sync.Mutex
	held   map[remit.Digest]int
	pinned map[remit.Digest]bool // open orders rest on them; another push may carry the same bytes
}

// pin says which packs open orders rest on: Drop leaves them to the next sweep.
func (p *packs) pin(needed map[remit.Digest]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pinned = needed
}

func (p *packs) PutFile(ctx context.Context, path string) (remit.Digest, error) {
	d, _, err := p.Blobs.PutFile(ctx, path)
	if err != nil {
		return d, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[remit.Digest]int{}
	}
	p.held[d]++
	return d, nil
}

func (p *packs) Open(ctx context.Context, d remit.Digest) (io.ReadCloser, int64, error) {
	return p.Blobs.Open(ctx, d)
}

func (p *packs) Drop(ctx context.Context, d remit.Digest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, known := p.held[d]
	switch {
	case !known: // from before a restart: the sweep finds out who else needs it
		return nil
	case n > 1:
		p.held[d] = n - 1
		return nil
	}
	delete(p.held, d)
	if p.pinned[d] {
		return nil
	}
	if err := p.Blobs.Erase(ctx, d); err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return err
	}
	return nil
}

// forget erases the packs of requests that were erased, unless an open order rests on the same bytes.
func (p *packs) forget(ctx context.Context, requests []remit.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range requests {
		if d, ok := packOf(r); ok && p.held[d] == 0 && !p.pinned[d] {
			_ = p.Blobs.Erase(ctx, d) // most are gone already; the sweep finds what stays
		}
	}
}

// packOf is the pack that a request's order names.
func packOf(r remit.Request) (remit.Digest, bool) {
	if r.Gateway == change.Name {
		return git.PackOf(change.PushOf(r.Order))
	}
	return git.PackOf(r.Order)
}

// systemClock is the machine's.
type systemClock struct{}

func (systemClock) Now() time.Time      { return time.Now() }
func (systemClock) Boot() time.Duration { return sinceBoot() }

// machine is the clock that a server decides by, and that people are told times by. Tests of the whole binary put one in its place that they can move on.
var machine clock = systemClock{}

// clock is that of the engine and of the API, which go by the same time.
type clock interface {
	engine.Clock
	identity.Clock
}

func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// transport reaches an upstream. It is made once for each declaration.
func (u *upstreams) transport(ctx context.Context, up remit.Upstream, spec remit.Digest) (http.RoundTripper, string, error) {
	base := strings.TrimSuffix(up.Location, "/")
	if up.Kind == remit.KindLocal {
		base = git.LocalURL
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if t := u.transports[spec]; t != nil {
		return t, base, nil
	}
	t, err := u.dial(ctx, up)
	if err != nil {
		return nil, "", err
	}
	if u.transports == nil {
		u.transports = map[remit.Digest]http.RoundTripper{}
	}
	u.transports[spec] = t
	return t, base, nil
}

func (u *upstreams) dial(ctx context.Context, up remit.Upstream) (http.RoundTripper, error) {
	switch up.Kind {
	case remit.KindLocal:
		return git.NewLocal(context.WithoutCancel(ctx), u.git, u.config, up.Location)
	case remit.KindHTTP, remit.KindGitea, remit.KindRegistry, remit.KindKubernetes, remit.KindMCP:
		c := git.RemoteConfig{URL: up.Location, Insecure: up.Insecure}
		if up.CA != "" {
			pem, err := os.ReadFile(up.CA)
			if err != nil {
				return nil, remit.Errorf(remit.UpstreamDown, "the certificates of upstream %s: %w", up.Name, err)
			}
			c.Roots = x509.NewCertPool()
			if !c.Roots.AppendCertsFromPEM(pem) {
				return nil, remit.Errorf(remit.UpstreamDown, "%s, the certificates of upstream %s, holds none in PEM", up.CA, up.Name)
			}
		}
		return git.NewRemote(c)
	}
	return nil, remit.Errorf(remit.Internal, "upstream %s is of kind %q, which this release does not know", up.Name, up.Kind)
}
