// Package telemetry is what a house tells its operator: logs, metrics and traces.
//
// It promises that every request has a trace id, whether traces are exported or not; that the id stands in the logs,
// in the answers to the caller and, through [Telemetry.Inject], in the message table, so that one id follows a case from
// the request to its last message; and that a log line holds no value whose key names a secret.
// It starts no exporter, and calls nobody, unless an OTLP endpoint is configured.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/leak"
)

// Options say what to tell and where.
type Options struct {
	Service      string    // name of the program; default "qiong"
	Version      string    // version of the program
	LogFormat    string    // "text" (default) or "json"
	LogLevel     string    // "debug", "info" (default), "warn", "error"
	OTLPEndpoint string    // URL of an OTLP/HTTP collector, such as "http://127.0.0.1:4318"; empty: no traces leave
	Writer       io.Writer // of the log; default os.Stderr
	Color        bool      // colour the level in text logs
}

// Telemetry is the instruments of one house.
type Telemetry struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Tracer   trace.Tracer
	Labels   *leak.Labels // of profiles, under which every request runs

	provider *sdktrace.TracerProvider
	requests *prometheus.HistogramVec
	active   prometheus.Gauge
}

// Setup returns the instruments described by o. Errors are of kind Invalid and name the option.
func Setup(o Options) (*Telemetry, error) {
	if o.Service == "" {
		o.Service = "qiong"
	}
	if o.Writer == nil {
		o.Writer = os.Stderr
	}
	log, err := newLog(o)
	if err != nil {
		return nil, err
	}
	provider, err := newProvider(o, log)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{
		Log: log, Registry: prometheus.NewRegistry(), Labels: &leak.Labels{},
		Tracer: provider.Tracer("github.com/qiongdev/qiong"), provider: provider,
	}
	t.register(o)
	return t, nil
}

func newProvider(o Options, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	if o.OTLPEndpoint == "" {
		// Ids are made all the same: problems and messages carry them.
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())), nil
	}
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(o.OTLPEndpoint))
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "OTLP 地址无效", "the OTLP endpoint is not valid").WithField("otlp-endpoint")
	}
	about := resource.NewSchemaless(
		attribute.String("service.name", o.Service), attribute.String("service.version", o.Version))
	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(quietExporter{exporter, log}),
		sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample()))), nil
}

// quietExporter logs a failed export in our log, where OpenTelemetry would write to a global one.
type quietExporter struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

func (e quietExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.log.LogAttrs(ctx, slog.LevelWarn, "traces not exported", slog.Int("spans", len(spans)), slog.Any("err", err))
	}
	return nil
}

func (t *Telemetry) register(o Options) {
	t.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "http_server_request_duration_seconds",
		Help:    "Time from the request's headers to the end of its answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"route", "code"})
	t.active = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "http_server_active_requests", Help: "Requests being answered, streams included.",
	})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "qiong_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"service": o.Service, "version": o.Version},
	})
	build.Set(1)
	t.Registry.MustRegister(t.requests, t.active, build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Handler serves the metrics in the Prometheus exposition format.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{Registry: t.Registry})
}

// Shutdown exports what is left of the traces, as long as ctx allows.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down tracing: %w", err)
	}
	return nil
}

// Inject returns the trace context of ctx as a W3C traceparent, for a message's trace column; empty where there is none.
func Inject(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// Extract returns ctx continuing the trace of traceparent; ctx itself where that is empty or malformed.
func Extract(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// TraceID returns the trace id of ctx in 32 hexadecimal digits; empty where there is none.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}
