package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
)

// orders is the engine as the executor of zone S sees it; of gives that of another zone.
type orders struct {
	engine *engine.Engine
}

func (o orders) of(name string) zoned { return zoned{orders: o, name: name} }

func (o orders) Next(ctx context.Context, after map[remit.ID]bool) (remit.ID, error) {
	return o.of(executor.Source).Next(ctx, after)
}

func (o orders) Claim(ctx context.Context, access remit.ID) (executor.Claimed, remit.Decision, error) {
	return o.of(executor.Source).Claim(ctx, access)
}

func (o orders) Unfinished(ctx context.Context) ([]executor.Open, error) {
	return o.of(executor.Source).Unfinished(ctx)
}

// zoned are the orders of one executor: those of its own zone (R4d). The others do not exist for it. Values of secrets
// never leave the server, and its tools are reached from nowhere else, so what is done with them is done in its process,
// whatever the zone: share says which part of a zone's orders this executor takes.
type zoned struct {
	orders
	name  string
	share share
}

type share uint8

const (
	everything share = iota
	onlyHere
	notHere
)

// takes tells whether steps are of this executor's share.
func (o zoned) takes(steps []remit.Step) bool {
	here := slices.ContainsFunc(steps, func(st remit.Step) bool { return st.Resource.Type() == "secret" || st.Resource.Type() == "tool" })
	return o.share == everything || here == (o.share == onlyHere)
}

// stepsOf are the steps of an access request.
func stepsOf(a *authority.Access) []remit.Step {
	var out []remit.Step
	for _, f := range a.Steps {
		out = append(out, f.Step)
	}
	return out
}

// Next passes over what enforcement points that are not Remit's asked for: they carry it out.
func (o zoned) Next(ctx context.Context, after map[remit.ID]bool) (remit.ID, error) {
	elsewhere := map[remit.ID]bool{}
	for {
		var id remit.ID
		var at remit.EntryIndex
		err := o.engine.Wait(ctx, func(s *authority.State) bool {
			for a := range s.OpenHolds {
				if acc := s.Accesses[a]; acc.Status == remit.AccessMet && acc.Task != "" && !after[a] && !elsewhere[a] && (id == "" || a < id) && s.Executor(acc) == o.name && o.takes(stepsOf(acc)) {
					id, at = a, acc.Decision
				}
			}
			return id != ""
		})
		if err != nil {
			return "", err
		}
		if req, err := o.request(ctx, at); err == nil && req.Elsewhere {
			elsewhere[id] = true
			continue
		}
		return id, nil
	}
}

func (o zoned) Claim(ctx context.Context, access remit.ID) (executor.Claimed, remit.Decision, error) {
	var at remit.EntryIndex
	own := false
	o.engine.View(func(s *authority.State) {
		if a := s.Accesses[access]; a != nil && (!s.OpenHolds[access] || s.Executor(a) == o.name && o.takes(stepsOf(a))) {
			at, own = a.Decision, true
		}
	})
	if req, err := o.request(ctx, at); own && err == nil && req.Elsewhere {
		own = false
	}
	if !own {
		return executor.Claimed{}, remit.Decision{}, remit.Errorf(remit.NotFound, "%s has no access request %.32s to carry out", o.name, access)
	}
	return o.claim(ctx, o.name, access, at)
}

// claim has what was decided on in an entry judged again, for the executor that may carry it out.
func (o orders) claim(ctx context.Context, name string, access remit.ID, at remit.EntryIndex) (executor.Claimed, remit.Decision, error) {
	req, err := o.request(ctx, at)
	if err != nil {
		return executor.Claimed{}, remit.Decision{}, err
	}
	order := remit.Order{Caller: req.Caller, Steps: req.Steps, Deploy: req.Deploy, Body: req.Order}
	req.Access = access
	req.Caller = remit.Caller{Task: req.Caller.Task, Executor: name}
	d, err := o.engine.Authorize(ctx, req)
	return executor.Claimed{Access: access, Protocol: req.Gateway, Permit: d.Permit, Order: order}, d, err
}

// Unfinished lists the attempts of this executor without an outcome. Those that an instance made, and a gateway of this
// process carried out, are the source executor's to clear up.
func (o zoned) Unfinished(ctx context.Context) ([]executor.Open, error) {
	type open struct {
		id       remit.ID
		at       remit.EntryIndex
		notAfter int64
	}
	var found []open
	o.engine.View(func(s *authority.State) {
		for id, a := range s.Attempts {
			if (a.Executor == o.name || a.Executor == "" && o.name == executor.Source) && o.takes(a.Steps) {
				found = append(found, open{id, a.Decision, a.NotAfter})
			}
		}
	})
	slices.SortFunc(found, func(a, b open) int { return strings.Compare(string(a.id), string(b.id)) })
	var out []executor.Open
	for _, f := range found {
		req, err := o.request(ctx, f.at)
		if err != nil && !errors.As(err, new(*remit.Error)) {
			return nil, err
		}
		// What cannot be read any more has no protocol, and so is ambiguous.
		out = append(out, executor.Open{Attempt: remit.Attempt{ID: f.id, NotAfter: time.Unix(0, f.notAfter)}, Protocol: req.Gateway,
			Order: remit.Order{Caller: req.Caller, Steps: req.Steps, Deploy: req.Deploy, Body: req.Order, Attempt: f.id}})
	}
	return out, nil
}

// places finds where environments are deployed, for the deploy gateway, the broker and executors elsewhere.
type places struct {
	engine *engine.Engine
	ups    *upstreams
}

// targetKind is the kind of upstream that an environment is deployed to; empty: none is declared.
func targetKind(e *engine.Engine, environment string) (kind string) {
	e.View(func(s *authority.State) {
		if env := s.Environments[environment]; env != nil && s.Upstreams[env.Upstream] != nil {
			kind = s.Upstreams[env.Upstream].Type
		}
	})
	return kind
}

// Target is what is declared of an environment's target.
func (p places) Target(ctx context.Context, environment string) (t remit.Target, err error) {
	var spec remit.Digest
	known := false
	p.engine.View(func(s *authority.State) {
		if e := s.Environments[environment]; e != nil {
			spec, known = e.Spec, true
		}
	})
	switch {
	case !known:
		return t, remit.Errorf(remit.UnknownResource, "no environment %.128q is declared", environment)
	case spec.IsZero():
		return t, remit.Errorf(remit.Conflict, "environment %s declares no target to deploy to", environment)
	}
	body, ok := p.engine.Text(ctx, spec)
	if !ok {
		return t, remit.Errorf(remit.UpstreamDown, "the target of environment %s was erased; apply its declaration again", environment)
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return t, remit.Errorf(remit.Internal, "the target of environment %s cannot be read: %w", environment, err)
	}
	return t, nil
}

// Environment is an environment with where it runs. The source of the credential that writes is not part of it.
func (p places) Environment(ctx context.Context, name string) (remit.Place, error) {
	t, err := p.Target(ctx, name)
	if err != nil {
		return remit.Place{}, err
	}
	out := remit.Place{Environment: remit.Environment{Name: name, Target: &t}, Registries: map[string]string{}}
	var registries []string
	p.engine.View(func(s *authority.State) {
		if e := s.Environments[name]; e != nil {
			out.Environment.Tier, out.Environment.Artifacts = e.Tier, slices.Clone(e.Artifacts)
		}
		for up, u := range s.Upstreams {
			if u.Type == remit.KindRegistry {
				registries = append(registries, up)
			}
		}
	})
	if out.Upstream, err = p.ups.Upstream(ctx, t.Upstream); err != nil {
		return remit.Place{}, err
	}
	out.Upstream.Write = remit.Source{}
	for _, name := range registries {
		up, err := p.ups.Upstream(ctx, name)
		if err != nil {
			return remit.Place{}, err
		}
		if at, err := url.Parse(up.Location); err == nil && at.Host != "" {
			out.Registries[name] = at.Host + strings.TrimSuffix(at.Path, "/")
		}
	}
	return out, nil
}

// observer puts Remit's own read-only credential of a cluster on requests.
func observer(_ context.Context, up remit.Upstream) (func(*http.Request) error, error) {
	if up.Observer.From == "" {
		return nil, nil
	}
	return func(r *http.Request) error {
		h, err := broker.Authorization(r.Context(), up.Observer)
		if err == nil {
			r.Header.Set("Authorization", h)
		}
		return err
	}, nil
}

// far serves executors in other processes.
type far struct {
	orders orders
	places places
	creds  gateway.Credentials
	authz  gateway.Authorizer

	mu   sync.Mutex
	live map[remit.ID]gateway.Credential // handed out; ended when the outcome is recorded
}

func newFar(e *engine.Engine, p places, creds gateway.Credentials, authz gateway.Authorizer) *far {
	return &far{orders: orders{e}, places: p, creds: creds, authz: authz, live: map[remit.ID]gateway.Credential{}}
}

func (f *far) Next(ctx context.Context, name string, after map[remit.ID]bool) (remit.ID, error) {
	return f.share(name).Next(ctx, after)
}

// share is all of a zone's orders but those on secrets and tools.
func (f *far) share(name string) zoned {
	return zoned{orders: f.orders, name: name, share: notHere}
}

func wireOrder(protocol string, o remit.Order) remit.WireOrder {
	return remit.WireOrder{Gateway: protocol, Caller: o.Caller, Steps: o.Steps, Deploy: o.Deploy, Body: o.Body, Attempt: o.Attempt}
}

func (f *far) Claim(ctx context.Context, name string, access remit.ID) (remit.ClaimAnswer, error) {
	c, d, err := f.share(name).Claim(ctx, access)
	if err != nil {
		return remit.ClaimAnswer{}, err
	}
	out := remit.ClaimAnswer{Decision: d}
	if d.Verdict == remit.Allow {
		w := wireOrder(c.Protocol, c.Order)
		out.Permit, out.Order = &remit.WireSecret{ID: c.Permit.ID, Secret: c.Permit.Secret[:]}, &w
	}
	return out, nil
}

func (f *far) Unfinished(ctx context.Context, name string) ([]remit.WireOrder, error) {
	open, err := f.share(name).Unfinished(ctx)
	var out []remit.WireOrder
	for _, o := range open {
		o.Order.Attempt = o.Attempt.ID
		out = append(out, wireOrder(o.Protocol, o.Order))
	}
	return out, err
}

// Lease takes the credential of an attempt and gives it as the header that carries it.
func (f *far) Lease(ctx context.Context, a remit.Attempt) (out remit.LeasedSecret, err error) {
	environment := ""
	f.orders.engine.View(func(s *authority.State) {
		if x := s.Attempts[a.ID]; x != nil {
			environment = x.Deploy.Environment
		}
	})
	place, err := f.places.Environment(ctx, environment)
	if err != nil {
		return out, err
	}
	c, err := f.creds.Lease(ctx, a)
	if err != nil {
		return out, err
	}
	f.mu.Lock()
	f.live[a.ID] = c
	f.mu.Unlock()
	if place.Upstream.Kind == remit.KindCommand {
		return out, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, place.Upstream.Location, nil)
	if err != nil {
		return out, err
	}
	if err := c.Apply(r); err != nil {
		return out, err
	}
	out.Authorization = r.Header.Get("Authorization")
	return out, nil
}

// Record keeps the outcome; the credential that was handed out for it ends.
func (f *far) Record(ctx context.Context, r remit.RecordRequest) error {
	f.mu.Lock()
	c := f.live[r.Attempt]
	delete(f.live, r.Attempt)
	f.mu.Unlock()
	if c != nil {
		_ = c.End(context.WithoutCancel(ctx)) // what cannot be ended now is tried again by the broker; the outcome is kept whatever
	}
	return f.authz.Record(ctx, remit.Attempt{ID: r.Attempt}, gateway.Result{Outcome: r.Outcome, Code: r.Code, Receipt: r.Receipt, Made: r.Made})
}
