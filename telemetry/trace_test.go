package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// memory keeps spans.
type memory struct{ all []sdktrace.ReadOnlySpan }

func (m *memory) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	m.all = append(m.all, spans...)
	return nil
}

func (m *memory) Shutdown(context.Context) error { return nil }

func remembered(t *testing.T) (*Telemetry, *memory) {
	t.Helper()
	m := &memory{}
	tel, err := New(t.Context(), Config{Version: "test", Org: "acme", Read: well, Exporter: m})
	if err != nil {
		t.Fatal(err)
	}
	return tel, m
}

// house is everything that a pipeline needs, with secrets in every place that could leak.
type house struct{ verdict remit.Verdict }

const hidden = "s3cret-intent-or-path"

func (h house) Authenticate(*http.Request) (remit.Caller, error) {
	return remit.Caller{Instance: "I-1", Agent: "coder", Task: "T-1"}, nil
}

func (h house) Classify(context.Context, remit.Caller, *http.Request) (remit.Request, []remit.Payload, error) {
	return remit.Request{Gateway: "gateway/git", Steps: []remit.Step{{Action: "source.push", Resource: remit.Resource("repo:forge/" + hidden)}},
		Refs: []remit.RefChange{{Ref: "refs/heads/" + hidden}}, Order: []byte(hidden)}, []remit.Payload{{Body: []byte(hidden)}}, nil
}

func (h house) Authorize(context.Context, remit.Request, ...remit.Payload) (remit.Decision, error) {
	d := remit.Decision{Entry: 7, Verdict: h.verdict, Sentence: hidden, Permit: remit.Permit{ID: "P-7", Secret: [32]byte([]byte(strings.Repeat("s3cr", 8)))}}
	if h.verdict != remit.Allow {
		d.Code = remit.OutOfEnvelope
	}
	if h.verdict == remit.Hold {
		d.Access = "A-8"
	}
	return d, nil
}

func (h house) Redeem(context.Context, remit.Permit) (remit.Attempt, error) {
	return remit.Attempt{ID: "X-8"}, remit.Errorf(remit.NotLive, hidden)
}
func (h house) Revoked(remit.ID) <-chan struct{}                                 { return nil }
func (h house) Record(context.Context, remit.Attempt, gateway.Result) error      { return nil }
func (h house) Lease(context.Context, remit.Attempt) (gateway.Credential, error) { return nil, nil }
func (h house) Forward(context.Context, remit.Order, gateway.Credential, http.ResponseWriter) gateway.Result {
	return gateway.Result{}
}
func (h house) Refuse(http.ResponseWriter, *http.Request, remit.Decision) {}
func (h house) Fail(http.ResponseWriter, *http.Request, *remit.Error)     {}
func (h house) Reconcile(context.Context, remit.Order) gateway.Result     { return gateway.Result{} }

func (m *memory) names() (names []string) {
	for _, s := range m.all {
		names = append(names, s.Name())
	}
	return names
}

func (m *memory) leaks(t *testing.T) {
	t.Helper()
	for _, s := range m.all {
		for _, a := range s.Attributes() {
			if strings.Contains(a.Value.String(), "s3cr") || Attributes[string(a.Key)] == "" {
				t.Errorf("span %s carries %s=%s", s.Name(), a.Key, a.Value.String())
			}
		}
		if strings.Contains(s.Status().Description, "s3cr") || len(s.Events()) > 0 {
			t.Errorf("span %s says %v, %v", s.Name(), s.Status(), s.Events())
		}
	}
}

func TestOneStepIsOneTrace(t *testing.T) {
	for verdict, want := range map[remit.Verdict][]string{
		remit.Deny:  {"authenticate", "classify", "authorize", "step"},
		remit.Hold:  {"authenticate", "classify", "authorize", "hold", "step"},
		remit.Allow: {"authenticate", "classify", "authorize", "redeem", "step"}, // refused there
	} {
		tel, m := remembered(t)
		h := house{verdict}
		p := &gateway.Pipeline{Authn: h, Authz: h, Creds: h, Log: slog.New(slog.DiscardHandler), Observer: tel}
		r := httptest.NewRequest("POST", "/"+hidden, nil)
		r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
		r.Header.Set("Tracestate", "vendor="+hidden)
		p.Handle(h, httptest.NewRecorder(), r)
		if err := tel.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.names(), want) {
			t.Fatalf("%s: %v, want %v", verdict, m.names(), want)
		}
		m.leaks(t)
		step := m.all[len(m.all)-1]
		if step.Parent().IsValid() || step.SpanContext().TraceID().String() == "0af7651916cd43dd8448eb211c80319c" {
			t.Error("a stranger's trace was taken for our own")
		}
		if l := step.Links(); len(l) != 1 || l[0].SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || l[0].SpanContext.TraceState().Len() != 0 {
			t.Errorf("links %+v", l)
		}
		for _, s := range m.all[:len(m.all)-1] {
			if s.Parent().SpanID() != step.SpanContext().SpanID() {
				t.Errorf("%s is not part of the step", s.Name())
			}
		}
		authorize := map[string]string{}
		for _, a := range m.all[2].Attributes() {
			authorize[string(a.Key)] = a.Value.String()
		}
		if authorize["verdict"] != verdict.String() || authorize["entry"] != "7" || authorize["action"] != "source.push" || m.all[2].Status().Code == codes.Error {
			t.Errorf("%v %v", authorize, m.all[2].Status())
		}
		if s := m.all[3].Status(); verdict == remit.Allow && (s.Code != codes.Error || s.Description != string(remit.NotLive)) {
			t.Errorf("a permit that is refused: %v", s)
		}
		if got := scrape(t, tel)[`remit_call_duration_seconds{call="authorize"}`]; got != 1 {
			t.Errorf("%v decisions were timed", got)
		}
	}
}

// An order that was approved is a step of its own.
func TestACompletedOrderIsATrace(t *testing.T) {
	tel, m := remembered(t)
	h := house{remit.Allow}
	p := &gateway.Pipeline{Authn: h, Authz: works{h}, Creds: works{h}, Log: slog.New(slog.DiscardHandler), Observer: tel}
	if _, err := p.Complete(t.Context(), h, remit.Permit{}, remit.Order{}, nil); err == nil {
		t.Fatal("no deadline, and yet it was sent")
	}
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.names(), []string{"redeem", "forward", "record", "step"}) {
		t.Errorf("%v", m.names())
	}
	m.leaks(t)
}

type works struct{ house }

func (works) Redeem(context.Context, remit.Permit) (remit.Attempt, error) {
	return remit.Attempt{ID: "X-8"}, nil
}

func (works) Lease(context.Context, remit.Attempt) (gateway.Credential, error) {
	return nil, remit.Errorf(remit.UpstreamDown, hidden)
}

// Whoever hands a call more than a span may carry, sends no more than that.
func TestSpansCarryWhatIsListedOnly(t *testing.T) {
	tel, m := remembered(t)
	_, end := tel.Call(t.Context(), "classify")
	end(slog.String("path", hidden), slog.String("err", hidden), slog.String("why", hidden), slog.String("task", "T-1"), slog.String("agent", ""), slog.Attr{})
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := m.all[0].Attributes(); len(a) != 1 || a[0].Key != "task" {
		t.Errorf("%v", a)
	}
}
