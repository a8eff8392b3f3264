package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/gitea"
	"github.com/remit-dev/remit/broker/kubernetes"
	"github.com/remit-dev/remit/gateway/deploy"
	"github.com/remit-dev/remit/gateway/web"
	"github.com/remit-dev/remit/seal"
	"github.com/remit-dev/remit/server"
)

// openBroker opens the broker with a provider for each kind of upstream at which credentials are made.
func (h *House) openBroker(ups *upstreams, where places, images *registries, box *seal.Box) (*broker.Broker, error) {
	prefix := ""
	h.Engine.View(func(s *authority.State) { prefix = broker.Prefix(s) })
	return broker.Open(broker.Config{Upstreams: ups, Books: leaseBooks{h.Engine}, Box: box, Dir: layout(h.Data).at("leases"), Targets: where, Log: h.Log,
		Providers: map[string]broker.Provider{remit.KindGitea: gitea.New(prefix), remit.KindKubernetes: kubernetes.New(prefix, time.Now), remit.KindRegistry: images.signer}})
}

// forges are the declared forges, as the gateway of their API sees them.
type forges struct{ ups *upstreams }

func (f forges) Forge(ctx context.Context, name string) (web.Forge, error) {
	up, spec, err := f.ups.declared(ctx, name)
	if err != nil {
		return web.Forge{}, err
	}
	if up.Kind != remit.KindGitea {
		return web.Forge{}, remit.Errorf(remit.UnknownResource, "upstream %s is of kind %s, whose API Remit does not know", name, up.Kind)
	}
	t, base, err := f.ups.transport(ctx, up, spec)
	if err != nil {
		return web.Forge{}, err
	}
	out := web.Forge{Name: name, URL: base, Transport: t}
	if up.Observer.From != "" {
		out.Observer = func(r *http.Request) error {
			header, err := broker.Authorization(r.Context(), up.Observer)
			if err == nil {
				r.Header.Set("Authorization", header)
			}
			return err
		}
	}
	return out, nil
}

// Repository finds the declared name of what the forge calls OWNER/NAME.
func (f forges) Repository(_ context.Context, forge, path string) (name string, err error) {
	f.ups.engine.View(func(s *authority.State) {
		for _, r := range s.Repositories {
			if up, _, _ := strings.Cut(r.Name, "/"); up == forge && strings.TrimSuffix(r.Path, ".git") == path {
				name = r.Name
			}
		}
	})
	if name == "" {
		return "", remit.Errorf(remit.UnknownResource, "no repository %.200q of upstream %s is declared", path, forge)
	}
	return name, nil
}

// Use gives a target's declared secret to the attempt that deploys there.
func (s *secrets) Use(ctx context.Context, attempt remit.ID, res remit.Resource) ([]byte, error) {
	environment := ""
	s.engine.View(func(st *authority.State) {
		if x := st.Attempts[attempt]; x != nil {
			environment = x.Deploy.Environment
		}
	})
	if environment == "" {
		return nil, remit.Errorf(remit.NotLive, "attempt %s deploys nothing", attempt)
	}
	t, err := places{engine: s.engine}.Target(ctx, environment)
	if err != nil {
		return nil, err
	}
	for _, declared := range t.Secrets {
		if declared == res {
			return s.value(res.Name())
		}
	}
	return nil, remit.Errorf(remit.OutOfScope, "the target of environment %s does not use %s", environment, res)
}

// admission lets into governed namespaces what approved releases name.
func (h *House) admission() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := server.Admissions{Server: h.api}
		(&deploy.Admission{Releases: a, Known: a.Known, Namespace: a.Namespace}).ServeHTTP(w, r)
	})
}
