package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/server"
)

// house is the probe behind the whole pipeline: tokens, engine, broker.
type house struct {
	*world.Core
	pipeline *gateway.Pipeline
	token    string
	caller   remit.Caller
}

func newHouse(t *testing.T) *house {
	t.Helper()
	c, err := world.OpenCore(t.Context(), world.CoreOptions{Store: &ledgertest.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Engine.Close)
	h := &house{Core: c}
	if h.caller, err = c.Task(t.Context(), "canary", "mia"); err != nil {
		t.Fatal(err)
	}
	tokens := identity.NewTokens(identity.TokensConfig{Instances: server.Authority{Engine: c.Engine}, Now: c.Clock.Now})
	token, err := tokens.Issue(h.caller.Instance, [32]byte{}, "probe")
	if err != nil {
		t.Fatal(err)
	}
	h.token = token.Text
	h.pipeline = &gateway.Pipeline{Authn: tokens.Authenticator("probe"), Authz: world.Authorizer{Engine: c.Engine},
		Creds: world.Credentials{Engine: c.Engine, Broker: broker.New(nil)}, Log: slog.New(slog.DiscardHandler)}
	return h
}

func (h *house) post(proto gateway.Protocol, token, what string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/orgs/acme/probe/"+what, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.pipeline.Handle(proto, w, r)
	return w
}

func TestTheProbeGoesThroughTheWholePipeline(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name, token, what string
		status            int
		verdict           string
		code              remit.Code
	}{
		{"an allow", h.token, "write?name=canary", 200, "allow", ""},
		{"a hold", h.token, "privileged?name=canary", 409, "hold", remit.ImpactHeld},
		{"a resource that is not granted", h.token, "write?name=other", 403, "deny", remit.OutOfScope},
		{"an action that does not exist", h.token, "dance?name=canary", 403, "deny", remit.UnknownAction},
		{"no resource", h.token, "write", 400, "", remit.BadRequest},
		{"nobody", "", "write?name=canary", 401, "", remit.Unauthenticated},
		{"somebody else's token", "remit-token-of-somebody", "write?name=canary", 401, "", remit.Unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := h.post(gateway.Probe{}, c.token, c.what)
			var got struct {
				Verdict string     `json:"verdict"`
				Code    remit.Code `json:"code"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != c.status || got.Verdict != c.verdict || got.Code != c.code {
				t.Fatalf("%d %+v %v: %s", w.Code, got, err, w.Body)
			}
		})
	}
	h.Engine.View(func(s *authority.State) {
		if len(s.Attempts) != 0 || len(s.Permits) != 0 {
			t.Errorf("%d attempts and %d permits are left", len(s.Attempts), len(s.Permits))
		}
	})
	if (gateway.Probe{}).Reconcile(t.Context(), remit.Order{}).Outcome != remit.Done {
		t.Fatal("a probe that nobody recorded has done nothing, successfully")
	}
	if err := h.Engine.Kill(authority.Kill{By: "p-mia", What: "agent", ID: "canary"}); err != nil {
		t.Fatal(err)
	}
	if w := h.post(gateway.Probe{}, h.token, "write?name=canary"); w.Code != 401 {
		t.Fatalf("a killed agent is answered %d", w.Code)
	}
}

// sender is a probe whose Forward is given by the test.
type sender struct {
	gateway.Probe
	send func(ctx context.Context) gateway.Result
}

func (s sender) Forward(ctx context.Context, _ remit.Order, _ gateway.Credential, _ http.ResponseWriter) gateway.Result {
	return s.send(ctx)
}

// books is an authority and a broker that note what happens.
type books struct {
	mu       sync.Mutex
	notAfter time.Time
	revoked  chan struct{}
	leased   func() error
	recorded []gateway.Result
	ended    int
	broken   error // of Record
}

func (b *books) Authorize(context.Context, remit.Request, ...remit.Payload) (remit.Decision, error) {
	return remit.Decision{Verdict: remit.Allow}, nil
}

func (b *books) Redeem(context.Context, remit.Permit) (remit.Attempt, error) {
	return remit.Attempt{ID: "X-1", NotAfter: b.notAfter}, nil
}

func (b *books) Revoked(remit.ID) <-chan struct{} { return b.revoked }

func (b *books) Record(ctx context.Context, _ remit.Attempt, r gateway.Result) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recorded = append(b.recorded, r)
	return errors.Join(ctx.Err(), b.broken)
}

func (b *books) Lease(context.Context, remit.Attempt) (gateway.Credential, error) {
	if b.leased != nil {
		if err := b.leased(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *books) Apply(*http.Request) error { return nil }
func (b *books) End(ctx context.Context) error {
	b.ended++
	return errors.Join(ctx.Err(), errors.New("the upstream does not want it back"))
}

func TestEveryRedemptionHasExactlyOneOutcome(t *testing.T) {
	done := func(context.Context) gateway.Result { return gateway.Result{Outcome: remit.Done} }
	never := func(context.Context) gateway.Result { panic("it was sent") }
	waits := func(ctx context.Context) gateway.Result {
		<-ctx.Done()
		return gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}
	}
	for _, c := range []struct {
		name   string
		before func(b *books, cancel func())
		send   func(context.Context) gateway.Result
		want   gateway.Result
		code   remit.Code // of the error; empty: none
		ended  int
	}{
		{"done", nil, done, gateway.Result{Outcome: remit.Done}, "", 1},
		{"not applied", nil, func(context.Context) gateway.Result {
			return gateway.Result{Outcome: remit.NotApplied, Code: remit.Stale}
		},
			gateway.Result{Outcome: remit.NotApplied, Code: remit.Stale}, "", 1},
		{"a panic", nil, func(context.Context) gateway.Result { panic("oops") }, gateway.Result{Outcome: remit.Ambiguous, Code: remit.Internal}, remit.Internal, 1},
		{"an outcome that does not exist", nil, func(context.Context) gateway.Result { return gateway.Result{Outcome: "fine"} },
			gateway.Result{Outcome: remit.Ambiguous}, "", 1},
		{"no credential", func(b *books, _ func()) { b.leased = func() error { return errors.New("vault is sealed") } }, never,
			gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown}, "-", 0},
		{"a credential of another zone", func(b *books, _ func()) {
			b.leased = func() error { return remit.Errorf(remit.CrossesBoundary, "no") }
		}, never, gateway.Result{Outcome: remit.NotApplied, Code: remit.CrossesBoundary}, remit.CrossesBoundary, 0},
		{"a panic in the broker", func(b *books, _ func()) { b.leased = func() error { panic("oops") } }, never,
			gateway.Result{Outcome: remit.Ambiguous, Code: remit.Internal}, remit.Internal, 0},
		{"revoked before it was sent", func(b *books, _ func()) { close(b.revoked) }, never,
			gateway.Result{Outcome: remit.NotApplied, Code: remit.NotLive}, remit.NotLive, 1},
		{"revoked while the credential was fetched", func(b *books, _ func()) { b.leased = func() error { close(b.revoked); return nil } }, never,
			gateway.Result{Outcome: remit.NotApplied, Code: remit.NotLive}, remit.NotLive, 1},
		{"revoked while it was sent", func(b *books, _ func()) { time.AfterFunc(time.Second, func() { close(b.revoked) }) }, waits,
			gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}, "", 1},
		{"expired before it was sent", func(b *books, _ func()) { b.notAfter = time.Now().Add(-time.Second) }, never,
			gateway.Result{Outcome: remit.NotApplied, Code: remit.Expired}, remit.Expired, 1},
		{"expired while it was sent", nil, waits, gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}, "", 1},
		{"a client that went away before", func(_ *books, cancel func()) { cancel() }, never,
			gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown}, remit.UpstreamDown, 1},
		{"a client that goes away meanwhile", func(_ *books, cancel func()) { time.AfterFunc(time.Second, cancel) }, waits,
			gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}, "", 1},
		{"a log that does not take it", func(b *books, _ func()) { b.broken = errors.New("full") }, done, gateway.Result{Outcome: remit.Done}, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b := &books{notAfter: time.Now().Add(time.Minute), revoked: make(chan struct{})}
				p := &gateway.Pipeline{Authz: b, Creds: b, Log: slog.New(slog.DiscardHandler)}
				if c.before != nil {
					c.before(b, cancel)
				}
				res, err := p.Complete(ctx, sender{send: c.send}, remit.Permit{}, remit.Order{}, nil)
				if fmt.Sprint(b.recorded) != fmt.Sprint([]gateway.Result{c.want}) || fmt.Sprint(res) != fmt.Sprint(c.want) {
					t.Fatalf("recorded %v, returned %v; want %v once", b.recorded, res, c.want)
				}
				var e *remit.Error
				switch {
				case c.code == "" && err != nil, c.code != "" && err == nil, c.code != "" && c.code != "-" && (!errors.As(err, &e) || e.Code != c.code):
					t.Fatalf("got %v, want %q", err, c.code)
				case b.ended != c.ended:
					t.Fatalf("the credential was ended %d times", b.ended)
				}
			})
		})
	}
}

func TestAnAbortedAnswerIsRecordedAndStillAborts(t *testing.T) {
	b := &books{notAfter: time.Now().Add(time.Minute)}
	p := &gateway.Pipeline{Authz: b, Creds: b, Log: slog.New(slog.DiscardHandler)}
	defer func() {
		if r := recover(); r != http.ErrAbortHandler || len(b.recorded) != 1 || b.recorded[0].Outcome != remit.Ambiguous {
			t.Fatalf("%v %v", r, b.recorded)
		}
	}()
	_, _ = p.Complete(t.Context(), sender{send: func(context.Context) gateway.Result { panic(http.ErrAbortHandler) }}, remit.Permit{}, remit.Order{}, nil)
}

// TestWhatIsDoneAfterItsRevocationSaysSo kills the task while its step is on its way.
func TestWhatIsDoneAfterItsRevocationSaysSo(t *testing.T) {
	h := newHouse(t)
	w := h.post(sender{send: func(ctx context.Context) gateway.Result {
		if err := h.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: h.caller.Task}); err != nil {
			t.Error(err)
		}
		<-ctx.Done() // the stream is cut; the upstream has it already
		return gateway.Result{Outcome: remit.Done}
	}}, h.token, "write?name=canary")
	if w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	var last remit.Event
	for i := remit.EntryIndex(0); ; i++ {
		l, _, err := h.Engine.Entry(t.Context(), i)
		if err != nil {
			break
		}
		last = l.Event
	}
	if r, ok := last.(*remit.Recorded); !ok || r.Outcome != remit.AfterRevocation {
		t.Fatalf("the log ends with %+v", last)
	}
}

func TestAnErrorOfOursDoesNotShowItsCause(t *testing.T) {
	e := gateway.AsError(remit.Internal, errors.New("password=hunter2"))
	if e.Code != remit.Internal || strings.Contains(e.Sentence, "hunter2") {
		t.Fatal(e.Sentence)
	}
	if e := gateway.AsError(remit.Internal, fmt.Errorf("wrapped: %w", remit.Errorf(remit.Stale, "moved"))); e.Code != remit.Stale {
		t.Fatal(e)
	}
}
