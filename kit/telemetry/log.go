package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/sloglabel"
)

// Redacted stands in the log where the value of a secret would.
const Redacted = "••••"

func newLog(o Options) (*slog.Logger, error) {
	var level slog.Level
	if o.LogLevel != "" {
		if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
			return nil, errs.New(errs.Invalid, "日志级别应为 debug、info、warn 或 error",
				"the log level is debug, info, warn or error").WithField("log-level")
		}
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	var out slog.Handler
	switch o.LogFormat {
	case "", "text":
		w := o.Writer
		if o.Color {
			w = colorWriter{w}
		}
		out = slog.NewTextHandler(w, options)
	case "json":
		out = slog.NewJSONHandler(o.Writer, options)
	default:
		return nil, errs.New(errs.Invalid, "日志格式应为 text 或 json", "the log format is text or json").WithField("log-format")
	}
	// What is graded, and numbers that name people, are masked before anything is written; trace ids are neither.
	return slog.New(sloglabel.New(traceHandler{out}, sloglabel.Options{})), nil
}

// redact hides the value of an attribute whose key names a secret. It sees attributes, not the fields of a struct
// logged whole: those are shown by their grades (see sloglabel), and without grades not at all.
func redact(_ []string, a slog.Attr) slog.Attr {
	if secret(a.Key) {
		a.Value = slog.StringValue(Redacted)
	}
	return a
}

// secret reports whether key names a secret: it says password, token and the like, or is or ends in the word key.
func secret(key string) bool {
	lower := strings.ToLower(key)
	for _, word := range []string{"password", "passwd", "secret", "token", "authorization", "cookie", "credential"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	stem, found := strings.CutSuffix(lower, "key")
	return found && (stem == "" || strings.HasSuffix(key, "Key") || strings.ContainsAny(stem[len(stem)-1:], "_-. "))
}

// traceHandler adds the ids of the context's trace.
type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}

// colorWriter colours the level of each line that a text handler writes; one line is one Write.
type colorWriter struct{ w io.Writer }

func (c colorWriter) Write(line []byte) (int, error) {
	before, rest, found := bytes.Cut(line, []byte(" level="))
	word, after, ended := bytes.Cut(rest, []byte(" "))
	if !found || !ended {
		return c.w.Write(line)
	}
	colored := make([]byte, 0, len(line)+16)
	colored = append(append(colored, before...), " level="...)
	colored = append(append(colored, colorOf(word)...), word...)
	colored = append(append(colored, "\x1b[0m "...), after...)
	if _, err := c.w.Write(colored); err != nil {
		return 0, err
	}
	return len(line), nil
}

func colorOf(level []byte) string {
	switch {
	case bytes.HasPrefix(level, []byte("ERROR")):
		return "\x1b[31m" // red
	case bytes.HasPrefix(level, []byte("WARN")):
		return "\x1b[33m" // yellow
	case bytes.HasPrefix(level, []byte("INFO")):
		return "\x1b[32m" // green
	}
	return "\x1b[36m" // cyan
}
