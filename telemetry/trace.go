package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/remit-dev/remit"
)

// openTraces begins to export spans, if somebody takes them.
func (t *Telemetry) openTraces(ctx context.Context) error {
	exporter := t.cfg.Exporter
	if exporter == nil {
		var options []otlptracehttp.Option
		switch {
		case t.cfg.OTLP != "":
			u, err := url.Parse(t.cfg.OTLP)
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
				return remit.Errorf(remit.BadRequest, "--otlp wants the base URL of a collector that takes OTLP over HTTP: http://127.0.0.1:4318")
			}
			// A base URL, as OTEL_EXPORTER_OTLP_ENDPOINT: the signal's path is put behind it (OTLP specification, "Endpoint URLs").
			options = append(options, otlptracehttp.WithEndpointURL(u.JoinPath("v1", "traces").String()))
		case os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "":
			return nil
		}
		var err error
		if exporter, err = otlptracehttp.New(ctx, options...); err != nil {
			return fmt.Errorf("opening the export of traces: %w", err)
		}
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "remit"),
		attribute.String("service.version", t.cfg.Version), attribute.String("service.namespace", string(t.cfg.Org))))
	if err != nil {
		return fmt.Errorf("opening the export of traces: %w", err)
	}
	// The batcher drops spans when the collector is slow; it never holds a step up.
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	t.tracer, t.flush = provider.Tracer("github.com/remit-dev/remit"), provider.Shutdown
	return nil
}

// Step begins the trace of one step. What a request says of a trace that it belongs to is a stranger's claim: it becomes
// a link, and neither the parent nor the decision whether to sample.
func (t *Telemetry) Step(ctx context.Context, r *http.Request) (context.Context, func()) {
	if t.tracer == nil {
		return ctx, func() {}
	}
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindInternal)}
	if r != nil {
		options[1] = trace.WithSpanKind(trace.SpanKindServer)
		claimed := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
		if claimed.IsValid() {
			claimed = claimed.WithTraceState(trace.TraceState{}) // free text
			options = append(options, trace.WithLinks(trace.Link{SpanContext: claimed}))
		}
	}
	ctx, span := t.tracer.Start(ctx, "step", options...)
	return ctx, func() { span.End() }
}

// Call begins one of the calls of a step. What is known at its end is put on it, under the names that log lines use.
func (t *Telemetry) Call(ctx context.Context, name string) (context.Context, func(...slog.Attr)) {
	began := time.Now()
	var span trace.Span
	if t.tracer != nil {
		ctx, span = t.tracer.Start(ctx, name)
	}
	return ctx, func(known ...slog.Attr) {
		t.metrics.calls.WithLabelValues(name).Observe(time.Since(began).Seconds())
		if span == nil {
			return
		}
		failed := ""
		for _, a := range known {
			value := a.Value.String()
			if !traced[a.Key] || value == "" {
				continue
			}
			span.SetAttributes(attribute.String(a.Key, value))
			failed = cmp.Or(failed, map[string]string{"verdict": "decided", "code": value}[a.Key])
		}
		if failed != "" && failed != "decided" { // a denial is an answer, and no error
			span.SetStatus(codes.Error, failed)
		}
		span.End()
	}
}

// Lines gives a handler that puts the trace of a line's context on it.
func Lines(h slog.Handler) slog.Handler { return lines{h} }

type lines struct{ slog.Handler }

func (l lines) Handle(ctx context.Context, r slog.Record) error {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	return l.Handler.Handle(ctx, r)
}

func (l lines) WithAttrs(attrs []slog.Attr) slog.Handler { return lines{l.Handler.WithAttrs(attrs)} }
func (l lines) WithGroup(name string) slog.Handler       { return lines{l.Handler.WithGroup(name)} }
