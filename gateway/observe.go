package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
)

// Observer watches steps go through the calls. It changes nothing of them and does not wait; its attributes have the
// names that log lines use, and none is a secret, an intent or a path.
type Observer interface {
	// Step begins one; what is in the context goes with its calls. r is nil where an executor completes an order.
	Step(ctx context.Context, r *http.Request) (_ context.Context, end func())
	// Call begins one of the calls: authenticate, classify, authorize, hold, redeem, forward or record.
	Call(ctx context.Context, name string) (_ context.Context, end func(known ...slog.Attr))
}

// unobserved is the Observer of a pipeline that has none.
type unobserved struct{}

func (unobserved) Step(ctx context.Context, _ *http.Request) (context.Context, func()) {
	return ctx, func() {}
}

func (unobserved) Call(ctx context.Context, _ string) (context.Context, func(...slog.Attr)) {
	return ctx, func(...slog.Attr) {}
}

func (p *Pipeline) observer() Observer {
	if p.Observer == nil {
		return unobserved{}
	}
	return p.Observer
}

func (p *Pipeline) authenticate(ctx context.Context, r *http.Request) (remit.Caller, error) {
	_, end := p.observer().Call(ctx, "authenticate")
	caller, err := p.Authn.Authenticate(r)
	end(slog.String("agent", caller.Agent), slog.String("instance", string(caller.Instance)), slog.String("task", string(caller.Task)),
		slog.String("executor", caller.Executor), failed(remit.Unauthenticated, err))
	return caller, err
}

func (p *Pipeline) classify(ctx context.Context, proto Protocol, c remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	ctx, end := p.observer().Call(ctx, "classify")
	req, payloads, err := proto.Classify(ctx, c, r)
	end(slog.String("gateway", req.Gateway), actions(req.Steps), failed(remit.Internal, err))
	return req, payloads, err
}

func (p *Pipeline) authorize(ctx context.Context, r remit.Request, payloads ...remit.Payload) (remit.Decision, error) {
	ctx, end := p.observer().Call(ctx, "authorize")
	d, err := p.Authz.Authorize(ctx, r, payloads...)
	if err != nil {
		end(actions(r.Steps), failed(remit.Internal, err))
		return d, err
	}
	end(actions(r.Steps), slog.String("verdict", d.Verdict.String()), slog.String("code", string(d.Code)), slog.Uint64("entry", uint64(d.Entry)),
		slog.String("access", string(d.Access)))
	return d, nil
}

// refuse answers what is not allowed: for a hold, this is where the step leaves the caller and waits for people.
func (p *Pipeline) refuse(ctx context.Context, proto Protocol, w http.ResponseWriter, r *http.Request, d remit.Decision) {
	if d.Verdict == remit.Hold {
		_, end := p.observer().Call(ctx, "hold")
		defer end(slog.String("access", string(d.Access)), slog.Uint64("entry", uint64(d.Entry)))
	}
	proto.Refuse(w, r, d)
}

func (p *Pipeline) redeem(ctx context.Context, permit remit.Permit) (remit.Attempt, error) {
	ctx, end := p.observer().Call(ctx, "redeem")
	a, err := p.Authz.Redeem(ctx, permit)
	end(slog.String("attempt", string(a.ID)), failed(remit.Internal, err))
	return a, err
}

func (p *Pipeline) record(ctx context.Context, a remit.Attempt, res Result) error {
	ctx, end := p.observer().Call(ctx, "record")
	err := p.Authz.Record(ctx, a, res)
	end(slog.String("attempt", string(a.ID)), slog.String("outcome", string(res.Outcome)), failed(remit.Internal, err))
	return err
}

// failed is the code of an error: its text may hold what must not leave.
func failed(code remit.Code, err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	return slog.String("code", string(AsError(code, err).Code))
}

func actions(steps []remit.Step) slog.Attr {
	var names []string
	for _, s := range steps[:min(len(steps), 16)] {
		names = append(names, string(s.Action))
	}
	return slog.String("action", strings.Join(names, " "))
}
