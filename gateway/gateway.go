// Package gateway is the enforcement pipeline: every gateway is the same seven calls, and protocols differ in how they
// classify and forward only. It declares the small interfaces that it needs, in the vocabulary of package remit; the
// binary plugs in identity, engine and broker, or the client of an authority elsewhere.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/remit-dev/remit"
)

// Authenticator says who calls. An error answers the request; nothing of it is logged to the ledger.
type Authenticator interface {
	Authenticate(*http.Request) (remit.Caller, error)
}

// Authorizer is the authority, as a gateway sees it.
type Authorizer interface {
	// Authorize decides. The decision is durable when it returns; payloads are kept beside it, by their commitments.
	Authorize(ctx context.Context, r remit.Request, payloads ...remit.Payload) (remit.Decision, error)
	// Redeem turns a permit into an attempt, at most once.
	Redeem(context.Context, remit.Permit) (remit.Attempt, error)
	// Revoked is closed when the authority of an attempt ends: cancel what is not sent, cut streams.
	Revoked(attempt remit.ID) <-chan struct{}
	// Record says what came of an attempt; code and receipt (at most 64 KiB) are kept with it.
	Record(ctx context.Context, a remit.Attempt, o Result) error
}

// Credential is one upstream credential, for one attempt.
type Credential interface {
	Apply(*http.Request) error
	End(context.Context) error
}

// Credentials gives the credential that an attempt entitles to.
type Credentials interface {
	Lease(context.Context, remit.Attempt) (Credential, error)
}

// Protocol is what differs from gateway to gateway.
type Protocol interface {
	// Classify reads the request and says what it would do. It may keep what Forward needs in Request.Order and blobs.
	// The payloads are those that the request names by commitment. A *remit.Error answers the client.
	Classify(context.Context, remit.Caller, *http.Request) (remit.Request, []remit.Payload, error)
	// Forward does it. It never returns an error: what went wrong is in the result's outcome, code and receipt.
	// respond is where the answer streams to; nil when Remit itself completes a held order.
	Forward(ctx context.Context, o remit.Order, c Credential, respond http.ResponseWriter) Result
	// Refuse answers what was denied or held, in the protocol's own terms.
	Refuse(http.ResponseWriter, *http.Request, remit.Decision)
	// Fail answers an error in the protocol's own terms.
	Fail(http.ResponseWriter, *http.Request, *remit.Error)
	// Reconcile finds out what became of an attempt whose outcome was never recorded.
	Reconcile(context.Context, remit.Order) Result
}

// Result is what came of an attempt.
type Result struct {
	Outcome remit.Outcome
	Code    remit.Code // why not, if not done
	Receipt []byte     // what the upstream said, at most 64 KiB
	Made    string     // what the upstream made of it, by its immutable name, at most 128 bytes: the commit of a merge
	Yet     bool       // of Reconcile: it is what is seen now; the upstream may still be at work, or answer later
}

// Pipeline takes requests through the seven calls.
type Pipeline struct {
	Authn Authenticator
	Authz Authorizer
	Creds Credentials
	Log   *slog.Logger

	Observer Observer // watches; none
}

// Handle is the hot path of every gateway: authenticate, classify, authorize, (hold), redeem, forward, record.
func (p *Pipeline) Handle(proto Protocol, w http.ResponseWriter, r *http.Request) {
	ctx, end := p.observer().Step(r.Context(), r)
	defer end()
	caller, err := p.authenticate(ctx, r)
	if err != nil {
		proto.Fail(w, r, AsError(remit.Unauthenticated, err))
		return
	}
	req, payloads, err := p.classify(ctx, proto, caller, r)
	if err != nil {
		proto.Fail(w, r, AsError(remit.Internal, err))
		return
	}
	d, err := p.authorize(ctx, req, payloads...)
	if err != nil {
		proto.Fail(w, r, AsError(remit.Internal, err))
		return
	}
	if d.Verdict != remit.Allow {
		p.refuse(ctx, proto, w, r, d)
		return
	}
	order := remit.Order{Caller: caller, Steps: req.Steps, Deploy: req.Deploy, Body: req.Order}
	if _, err := p.complete(ctx, proto, d.Permit, order, w); err != nil {
		proto.Fail(w, r, AsError(remit.Internal, err))
	}
}

// Complete is redeem, forward, record: the same for an allow and for an approved work order. An error means that
// nothing was forwarded, or that forwarding failed in a way that no protocol foresees. Whatever happens after the
// redemption, an outcome is recorded; if that fails, the log shows an attempt without one, which is reconciled at the
// next start.
func (p *Pipeline) Complete(ctx context.Context, proto Protocol, permit remit.Permit, o remit.Order, w http.ResponseWriter) (Result, error) {
	ctx, end := p.observer().Step(ctx, nil)
	defer end()
	return p.complete(ctx, proto, permit, o, w)
}

func (p *Pipeline) complete(ctx context.Context, proto Protocol, permit remit.Permit, o remit.Order, w http.ResponseWriter) (res Result, err error) {
	attempt, err := p.redeem(ctx, permit)
	if err != nil {
		return Result{}, err
	}
	o.Attempt = attempt.ID
	// Until it is known better: if this function is left by a panic, nobody can tell what came of the attempt.
	res = Result{Outcome: remit.Ambiguous, Code: remit.Internal}
	defer func() {
		failure := recover()
		if failure != nil {
			res, err = Result{Outcome: remit.Ambiguous, Code: remit.Internal}, remit.Errorf(remit.Internal, "carrying out attempt %s failed", attempt.ID)
			p.Log.ErrorContext(ctx, "carrying out an attempt", "attempt", attempt.ID, "panic", failure, "stack", string(debug.Stack()))
		}
		if !res.Outcome.Valid() {
			res.Outcome = remit.Ambiguous
		}
		// A client that goes away must not leave the outcome unrecorded.
		if rerr := p.record(context.WithoutCancel(ctx), attempt, res); rerr != nil {
			p.Log.ErrorContext(ctx, "recording an outcome", "attempt", attempt.ID, "outcome", res.Outcome, "err", rerr)
		}
		if failure == http.ErrAbortHandler { // net/http's own way to end an answer
			panic(failure)
		}
	}()
	return p.forward(ctx, proto, attempt, o, w)
}

// forward leases the credential and sends what was allowed, unless its authority has ended meanwhile.
func (p *Pipeline) forward(ctx context.Context, proto Protocol, attempt remit.Attempt, o remit.Order, w http.ResponseWriter) (res Result, err error) {
	ctx, end := p.observer().Call(ctx, "forward")
	defer func() {
		end(slog.String("attempt", string(attempt.ID)), slog.String("outcome", string(res.Outcome)), slog.String("code", string(res.Code)), failed(remit.Internal, err))
	}()
	revoked := p.Authz.Revoked(attempt.ID)
	parent := ctx
	ctx, cancel := context.WithDeadline(ctx, attempt.NotAfter)
	defer cancel()
	go func() {
		select {
		case <-revoked:
			cancel()
		case <-ctx.Done():
		}
	}()
	cred, err := p.Creds.Lease(ctx, attempt)
	if err != nil {
		return Result{Outcome: remit.NotApplied, Code: AsError(remit.UpstreamDown, err).Code}, err
	}
	defer func() {
		if err := cred.End(context.WithoutCancel(ctx)); err != nil {
			p.Log.ErrorContext(ctx, "ending a credential", "attempt", attempt.ID, "err", err)
		}
	}()
	// What was revoked, has expired, or nobody waits for any more is not sent (R8).
	unsent := func(code remit.Code, format string, args ...any) (Result, error) {
		return Result{Outcome: remit.NotApplied, Code: code}, remit.Errorf(code, format, args...)
	}
	select {
	case <-revoked:
		return unsent(remit.NotLive, "the authority of attempt %s ended before it was sent", attempt.ID)
	default:
	}
	switch {
	case parent.Err() != nil:
		return unsent(remit.UpstreamDown, "the caller of attempt %s went away before it was sent: %w", attempt.ID, parent.Err())
	case ctx.Err() != nil:
		return unsent(remit.Expired, "attempt %s expired before it was sent", attempt.ID)
	}
	return proto.Forward(ctx, o, cred, w), nil
}

// AsError is err as what a user may see; what is not a *remit.Error becomes code, without its text.
func AsError(code remit.Code, err error) *remit.Error {
	var e *remit.Error
	if errors.As(err, &e) {
		return e
	}
	return &remit.Error{Code: code, Sentence: code.Info().Meaning, Err: err}
}
