package world

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
)

// Authorizer is an engine as a gateway sees it.
type Authorizer struct{ *engine.Engine }

// Record says what came of an attempt.
func (a Authorizer) Record(ctx context.Context, at remit.Attempt, r gateway.Result) error {
	return a.Engine.Record(ctx, at, r.Outcome, r.Code, r.Receipt, r.Made)
}

// Credentials carries redemptions from an engine to a broker.
type Credentials struct {
	Engine *engine.Engine
	Broker *broker.Broker
}

// Lease gives the credential of an attempt.
func (c Credentials) Lease(ctx context.Context, a remit.Attempt) (gateway.Credential, error) {
	r, err := c.Engine.Take(ctx, a)
	if err != nil {
		return nil, err
	}
	l, err := c.Broker.Lease(ctx, r)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Orders is an engine as an executor sees it. The requests that were held are told to it, where a server reads them from
// the log.
type Orders struct {
	Engine *engine.Engine

	mu   sync.Mutex
	held map[remit.ID]remit.Request
}

// Held keeps the request that an access request is about.
func (o *Orders) Held(access remit.ID, r remit.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held == nil {
		o.held = map[remit.ID]remit.Request{}
	}
	o.held[access] = r
}

func (o *Orders) request(access remit.ID) remit.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held[access]
}

// Next waits for an approval that is met and not passed over.
func (o *Orders) Next(ctx context.Context, after map[remit.ID]bool) (id remit.ID, err error) {
	err = o.Engine.Wait(ctx, func(s *authority.State) bool {
		for _, a := range slices.Sorted(maps.Keys(s.OpenHolds)) {
			if s.Accesses[a].Status == remit.AccessMet && !after[a] {
				id = a
				return true
			}
		}
		return false
	})
	return id, err
}

// Claim has a request judged again.
func (o *Orders) Claim(ctx context.Context, access remit.ID) (executor.Claimed, remit.Decision, error) {
	r := o.request(access)
	d, err := o.Engine.Authorize(ctx, Claim(access, r))
	return executor.Claimed{Access: access, Protocol: r.Gateway, Permit: d.Permit, Order: remit.Order{Caller: r.Caller, Steps: r.Steps, Body: r.Order}}, d, err
}

// Unfinished lists the attempts without an outcome.
func (o *Orders) Unfinished(context.Context) (open []executor.Open, _ error) {
	o.Engine.View(func(s *authority.State) {
		for _, id := range slices.Sorted(maps.Keys(s.Attempts)) {
			r := o.request(s.Attempts[id].Access)
			open = append(open, executor.Open{Attempt: remit.Attempt{ID: id}, Protocol: r.Gateway, Order: remit.Order{Steps: r.Steps, Body: r.Order}})
		}
	})
	return open, nil
}
