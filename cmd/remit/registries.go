package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/attest"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/registry"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/gateway/git"
	"github.com/remit-dev/remit/gateway/oci"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/server"
)

// registries are the declared OCI registries, as the gateway sees them.
type registries struct {
	ups    *upstreams
	engine *engine.Engine
	signer *registry.TokenSigner

	mu         sync.Mutex
	transports map[remit.Digest]http.RoundTripper // by commitment of the declaration
}

// newRegistries makes them, with the signer of tokens for those that trust this server; key is its file.
func newRegistries(ups *upstreams, e *engine.Engine, org remit.Org, key string) (*registries, error) {
	k, err := tokenKey(key)
	if err != nil {
		return nil, err
	}
	r := &registries{ups: ups, engine: e, transports: map[remit.Digest]http.RoundTripper{}}
	r.signer, err = registry.New(registry.Config{Key: k, Issuer: "remit/" + string(org), Service: serviceOf, Client: r.client})
	return r, err
}

// serviceOf is what a registry calls itself in auth.token.service: its host.
func serviceOf(up remit.Upstream) string {
	if u, err := url.Parse(up.Location); err == nil && u.Host != "" {
		return u.Host
	}
	return up.Name
}

// client reaches a registry for the broker.
func (r *registries) client(ctx context.Context, up remit.Upstream) (*http.Client, error) {
	reg, err := r.Registry(ctx, up.Name)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: reg.Transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// Registry is a declared registry. Without a declared credential it trusts this server as its token server.
func (r *registries) Registry(ctx context.Context, upstream string) (oci.Registry, error) {
	up, spec, err := r.ups.declared(ctx, upstream)
	if err != nil {
		return oci.Registry{}, err
	}
	if up.Kind != remit.KindRegistry {
		return oci.Registry{}, remit.Errorf(remit.UnknownResource, "upstream %s is of kind %s, not a registry", upstream, up.Kind)
	}
	t, err := r.transport(up, spec)
	if err != nil {
		return oci.Registry{}, err
	}
	reg := oci.Registry{Name: up.Name, URL: strings.TrimSuffix(up.Location, "/"), Transport: t}
	switch {
	case up.Observer.From != "":
		reg.Observer = func(q *http.Request, _ string) error {
			h, err := broker.Authorization(q.Context(), up.Observer)
			if err == nil {
				q.Header.Set("Authorization", h)
			}
			return err
		}
	case up.Write.From == "":
		reg.Observer = func(q *http.Request, repository string) error {
			s, err := r.signer.Sign(up, "remit:observer", repository, false, time.Now().Add(registry.Longest))
			if err == nil {
				q.Header.Set("Authorization", "Bearer "+s.Value)
			}
			return err
		}
	}
	return reg, nil
}

func (r *registries) transport(up remit.Upstream, spec remit.Digest) (http.RoundTripper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.transports[spec]; t != nil {
		return t, nil
	}
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
	t, err := git.NewRemote(c)
	if err == nil {
		r.transports[spec] = t
	}
	return t, err
}

// Published is what the log says of an artifact.
func (r *registries) Published(_ context.Context, a remit.Artifact) (p oci.Publication, ok bool) {
	r.engine.View(func(s *authority.State) {
		if known := s.Artifacts[a.String()]; known != nil {
			p, ok = oci.Publication{Task: known.Task, Built: builtOf(s, known)}, true
		}
	})
	return p, ok
}

// builtOf tells whether an artifact rests on a commit of a repository that declares it.
func builtOf(s *authority.State, p *authority.Published) bool {
	for _, in := range p.Inputs {
		repo := s.Repositories[in.Resource.Name()]
		if in.Resource.Type() != "repo" || repo == nil {
			continue
		}
		for _, pattern := range repo.Artifacts {
			if pattern.Match(p.Resource) {
				return true
			}
		}
	}
	return false
}

// attestor signs provenance with a key of its own: the log's key signs heads of the log, and digests of what was read from it.
type attestor struct {
	org    remit.Org
	signer ledger.Signer
}

// newAttestor makes the key at the first start.
func newAttestor(org remit.Org, path string) (*attestor, error) {
	load := ledger.LoadKey
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		load = ledger.GenerateKey
	}
	signer, err := load(path)
	if err != nil {
		return nil, err
	}
	return &attestor{org, signer}, nil
}

func (a *attestor) Key() ([]byte, error) { return attest.FormatKey(a.signer.Public()) }

func (a *attestor) Provenance(ctx context.Context, origin string, v remit.ArtifactView) ([]byte, error) {
	td, err := identity.TrustDomain(a.org)
	if err != nil {
		return nil, err
	}
	p := attest.Published{Artifact: v.Artifact, Builder: "spiffe://" + td.Name() + "/agent/" + v.Agent, Inputs: v.Inputs,
		Task: v.Task, Requester: v.RequestedBy, Where: attest.Where{Origin: origin, Entry: v.Entry, At: v.At}}
	if v.Job != nil {
		p.Workflow, p.Issuer = v.Job.Workflow, v.Job.Issuer
	}
	return a.sign(ctx)(attest.Provenance(p))
}

func (a *attestor) Review(ctx context.Context, origin string, v remit.ReviewView) ([]byte, error) {
	td, err := identity.TrustDomain(a.org)
	if err != nil {
		return nil, err
	}
	return a.sign(ctx)(attest.Review(attest.Reviewed{Repository: v.Repository, Ref: v.Ref, Base: v.Base, Head: v.Head, Tree: v.Tree, Diff: v.Diff,
		Verdict: v.Verdict, Reviewer: "spiffe://" + td.Name() + "/agent/" + v.Agent, Task: v.Task, Where: attest.Where{Origin: origin, Entry: v.Entry, At: v.At}}))
}

func (a *attestor) Release(ctx context.Context, origin string, r server.Released) ([]byte, error) {
	out := attest.Released{Deploy: r.Deploy, Allowed: true, Policy: r.Policy, Evidence: r.Evidence, Rules: r.Rules, Task: r.Task, Access: r.Access,
		Executor: r.Executor, Attempt: r.Attempt, Outcome: r.Outcome, Where: attest.Where{Origin: origin, Entry: r.Decision, At: r.At}}
	for _, v := range r.Approvals {
		out.Votes = append(out.Votes, attest.Approval{Person: v.Person, Assurance: v.Assurance})
	}
	return a.sign(ctx)(attest.Release(out))
}

func (a *attestor) Source(ctx context.Context, origin, repository string, v remit.SourceView, leaves []remit.Digest) ([]byte, error) {
	r := attest.Revised{Repository: repository, Ref: v.Ref, Commit: v.Commit, Levels: v.Levels, Policy: v.Policy, Rules: v.Rules, Task: v.Task, Where: attest.Where{Origin: origin, Entry: v.Outcome, At: v.At}}
	for n, d := range leaves {
		r.Inputs = append(r.Inputs, attest.Input{Entry: v.Entries[n], Leaf: d})
	}
	return a.sign(ctx)(attest.Source(r))
}

func (a *attestor) sign(ctx context.Context) func([]byte, error) ([]byte, error) {
	return func(statement []byte, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return attest.Sign(ctx, statement, a.signer)
	}
}
