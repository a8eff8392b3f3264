package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/authzen"
	"github.com/remit-dev/remit/gateway/mcp"
)

// maxRemembered is how many requests of one task are looked through for one that was made before.
const maxRemembered = 64

// foreign is the organisation as enforcement points that are not Remit's see it.
type foreign struct {
	*authzen.Point
	engine   *engine.Engine
	follower *follow.Follower
	tools    *mcp.Gateway
	holds    mcp.Holds
	asks     *authzen.Authority
	pipeline *gateway.Pipeline // of approvals that are spent
	log      *slog.Logger
	call     func(ctx context.Context, endpoint, id string, body []byte) error
}

// openPoint makes the decision point. What people approve there is carried out by whoever asked.
func (h *House) openPoint(prefix string, authn gateway.Authenticator, authz gateway.Authorizer, seal [32]byte) (http.Handler, error) {
	key, err := tokenKey(layout(h.Data).at("keys/authzen.key"))
	if err != nil {
		return nil, err
	}
	f := &foreign{engine: h.Engine, follower: h.follower, tools: h.toolgw, holds: h.tools, log: h.Log, call: h.notifier.Callback,
		pipeline: &gateway.Pipeline{Authz: authz, Creds: untouched{h.Engine}, Log: h.Log, Observer: h.watch.t}}
	f.asks = &authzen.Authority{Authz: authz, House: f}
	f.Point = &authzen.Point{Authn: authn, PDP: f.asks, Desk: f, Base: h.URL + prefix, Key: key, Seal: seal, Now: h.Engine.Now, Callable: h.notifier.Callable}
	h.point = f
	return f.Handler(prefix)
}

// untouched takes redemptions and gives no credential: what was approved is not done by Remit.
type untouched struct{ engine *engine.Engine }

func (u untouched) Lease(ctx context.Context, a remit.Attempt) (gateway.Credential, error) {
	if _, err := u.engine.Take(ctx, a); err != nil {
		return nil, err
	}
	return noCredential{}, nil
}

// Requester is the name of the person who requested the caller's task.
func (f *foreign) Requester(ctx context.Context, c remit.Caller) (string, error) {
	var who authority.Person
	known := false
	f.engine.View(func(s *authority.State) {
		if t := s.Tasks[c.Task]; t != nil && s.People[t.Requester] != nil {
			who, known = *s.People[t.Requester], true
		}
	})
	if !known {
		return "", nil
	}
	return f.follower.Directory(ctx, []authority.Person{who}).Name(who.ID), nil
}

// Tool says what a call of a tool would do, as the gateway of tools sees it.
func (f *foreign) Tool(ctx context.Context, c remit.Caller, server, tool string, arguments json.RawMessage) ([]remit.Step, *remit.ToolCall, error) {
	return f.tools.Asks(ctx, c, server, tool, arguments)
}

// Named lists what is declared of a type and the caller's grant names.
func (f *foreign) Named(_ context.Context, c remit.Caller, typ string) (out []remit.Resource, err error) {
	f.engine.View(func(s *authority.State) {
		var names []string
		switch typ {
		case "repo":
			names = keysOf(s.Repositories)
		case "environment":
			names = keysOf(s.Environments)
		case "secret":
			names = keysOf(s.Secrets)
		case "tool":
			for name := range s.Tools {
				if !strings.HasSuffix(name, "*") {
					names = append(names, name)
				}
			}
		}
		t := s.Tasks[c.Task]
		if t == nil {
			return
		}
		for _, name := range names {
			r, err := remit.ParseResource(typ + ":" + name)
			if err == nil && slices.ContainsFunc(t.Grant, func(g remit.Scope) bool {
				return slices.ContainsFunc(g.Resources, func(p remit.Pattern) bool { return p.Match(r) })
			}) {
				out = append(out, r)
			}
		}
	})
	slices.Sort(out)
	return out, nil
}

func keysOf[V any](m map[string]V) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

// Foresee says what would be decided now.
func (f *foreign) Foresee(ctx context.Context, r remit.Request) (remit.Decision, error) {
	return f.engine.Foresee(ctx, r)
}

// Open asks for real.
func (f *foreign) Open(ctx context.Context, c remit.Caller, q authzen.Question, order, card []byte) (remit.Decision, error) {
	r, err := f.asks.Request(ctx, c, q)
	if err != nil {
		return remit.Decision{}, err
	}
	shown, err := f.engine.NewPayload(card)
	if err != nil {
		return remit.Decision{}, err
	}
	r.Order, r.Card = order, shown.Commitment()
	return f.asks.Authz.Authorize(ctx, r, shown)
}

// Look tells how a request of the caller's task stands.
func (f *foreign) Look(ctx context.Context, c remit.Caller, access remit.ID) (authzen.Held, error) {
	var a authority.Access
	f.engine.View(func(s *authority.State) {
		if x := s.Accesses[access]; x != nil && x.Task == c.Task && c.Task != "" {
			a = *x
			a.Votes = slices.Clone(x.Votes)
		}
	})
	none := remit.Errorf(remit.NotFound, "there is no access request %.32s of your task", access)
	if a.ID == "" {
		return authzen.Held{}, none
	}
	h, ours := f.held(ctx, a)
	if !ours {
		return authzen.Held{}, none
	}
	return h, nil
}

// held is an access request as the decision point has it; ours tells whether it was made there, and can still be read.
func (f *foreign) held(ctx context.Context, a authority.Access) (h authzen.Held, ours bool) {
	req, err := orders{f.engine}.request(ctx, a.Decision)
	if err != nil || req.Gateway != authzen.Name {
		return h, false
	}
	h = authzen.Held{Access: a.ID, Status: a.Status, Why: a.Why, NotAfter: time.Unix(0, a.NotAfter), Order: req.Order, URL: f.holds.URL(a.ID)}
	if n := len(a.Votes); n > 0 && a.Status != remit.AccessOpen {
		if l, _, err := f.engine.Entry(ctx, a.Votes[n-1].Entry); err == nil {
			h.Approved = l.At
		}
	}
	return h, true
}

// Of lists what the caller's task asked for at the decision point, newest first.
func (f *foreign) Of(ctx context.Context, c remit.Caller) (out []authzen.Held, err error) {
	var all []authority.Access
	f.engine.View(func(s *authority.State) {
		for _, a := range s.Accesses {
			if a.Task == c.Task && c.Task != "" {
				x := *a
				x.Votes = slices.Clone(a.Votes)
				all = append(all, x)
			}
		}
	})
	slices.SortFunc(all, func(a, b authority.Access) int { return cmp.Compare(b.Entry, a.Entry) })
	for _, a := range all[:min(len(all), maxRemembered)] {
		if h, ours := f.held(ctx, a); ours {
			out = append(out, h)
		}
	}
	return out, nil
}

// Use spends an approval: the order that people approved is claimed, judged again and redeemed, and the enforcement point
// is told. Only the very step that it asks about now is spent so.
func (f *foreign) Use(ctx context.Context, c remit.Caller, q authzen.Question, access remit.ID) (remit.Decision, time.Time, error) {
	var until time.Time
	now, err := f.asks.Request(ctx, c, q)
	if err != nil {
		return remit.Decision{}, until, err
	}
	if _, err := f.Look(ctx, c, access); err != nil {
		return remit.Decision{}, until, err
	}
	var at remit.EntryIndex
	var executor string
	f.engine.View(func(s *authority.State) {
		if a := s.Accesses[access]; a != nil {
			at, executor = a.Decision, s.Executor(a)
		}
	})
	o := orders{f.engine}
	was, err := o.request(ctx, at)
	switch {
	case err != nil:
		return remit.Decision{}, until, err
	case !slices.Equal(was.Steps, now.Steps): // what is declared of a tool has changed since
		return remit.Decision{Verdict: remit.Deny, Code: remit.Stale, Rules: []string{"R6"}, Sentence: "what would be done is not what was approved"}, until, nil
	}
	claimed, d, err := o.claim(ctx, executor, access, at)
	if err != nil || d.Verdict != remit.Allow {
		return d, until, err
	}
	var told authzen.Handover
	res, err := f.pipeline.Complete(ctx, &told, claimed.Permit, claimed.Order, nil)
	if err == nil && res.Outcome != remit.Done {
		err = remit.Errorf(remit.NotLive, "the approval was not spent")
	}
	return d, told.Until, err
}

// Cancel takes a request back.
func (f *foreign) Cancel(ctx context.Context, c remit.Caller, access remit.ID) error {
	_, err := f.engine.Do(ctx, &authority.DropHold{Instance: c.Instance, Access: access})
	return err
}
