// Package sloglabel keeps graded values out of logs: values whose type has grades are shown as a plan shows them to
// somebody of the log's clearance, and numbers that name a person or an organization are masked wherever they stand, in
// messages, keys and attributes.
package sloglabel

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/plan"
)

// Options configure a Handler.
type Options struct {
	Clearance label.Grade   // of whoever reads the log; default L1
	Planner   *plan.Planner // default plan.New(nil)
}

// Handler masks records and hands them to the next.
type Handler struct {
	next slog.Handler
	o    Options
}

// New returns a Handler before next.
func New(next slog.Handler, o Options) *Handler {
	if o.Clearance == label.Ungraded {
		o.Clearance = label.L1
	}
	if o.Planner == nil {
		o.Planner = plan.New(nil)
	}
	return &Handler{next, o}
}

// Enabled is the next handler's.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle masks r and hands it on. It works on a copy: r is not changed.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	shown := slog.NewRecord(r.Time, r.Level, text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		shown.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, shown)
}

// WithAttrs masks attrs once and for all.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	shown := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		shown[i] = h.attr(a)
	}
	return &Handler{h.next.WithAttrs(shown), h.o}
}

// WithGroup is the next handler's.
func (h *Handler) WithGroup(name string) slog.Handler { return &Handler{h.next.WithGroup(name), h.o} }

func (h *Handler) attr(a slog.Attr) slog.Attr {
	a.Key = text(a.Key)
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(text(v.String()))
	case slog.KindInt64, slog.KindUint64:
		if s := v.String(); len(s) > 6 {
			if shown := text(s); shown != s {
				a.Value = slog.StringValue(shown)
			}
		}
	case slog.KindGroup:
		group := make([]slog.Attr, len(v.Group()))
		for i, inner := range v.Group() {
			group[i] = h.attr(inner)
		}
		a.Value = slog.GroupValue(group...)
	case slog.KindAny:
		a.Value = h.any(v.Any())
	default:
		a.Value = v
	}
	return a
}

// any shows a value of any type. What has grades is shown by them. Errors and what writes itself are looked through as
// text, and so is, as JSON, what is built of plain values alone; of all else the type is named, since nobody knows what
// it holds.
func (h *Handler) any(v any) slog.Value {
	if v == nil {
		return slog.AnyValue(nil)
	}
	t := reflect.TypeOf(v)
	if p, err := h.o.Planner.Of(t); err == nil && !bare(v) && (t == p.Type() || t.Kind() == reflect.Pointer && t.Elem() == p.Type()) {
		shown, err := p.Mask(v, h.o.Clearance)
		if err != nil {
			return typeOf(v)
		}
		return encoded(shown)
	}
	switch v := v.(type) {
	case error:
		return slog.StringValue(text(safe(v.Error)))
	case fmt.Stringer:
		return slog.StringValue(text(safe(v.String)))
	case []byte:
		return slog.StringValue(text(string(v)))
	}
	if flat(t) {
		return encoded(v)
	}
	return typeOf(v)
}

// bare reports whether v is an error without exported fields: one that errors.Join made, for instance, has all it says in
// its text.
func bare(v any) bool {
	if _, ok := v.(error); !ok {
		return false
	}
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			return false
		}
	}
	return true
}

func encoded(v any) slog.Value {
	b, err := json.Marshal(v)
	if err != nil {
		return typeOf(v)
	}
	return slog.StringValue(text(string(b)))
}

func typeOf(v any) slog.Value { return slog.StringValue(fmt.Sprintf("(%T)", v)) }

// flat reports whether a type is built of strings, numbers and booleans alone.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Pointer:
		return flat(t.Elem())
	case reflect.Map:
		return flat(t.Key()) && flat(t.Elem())
	case reflect.Struct, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false
	}
	return true
}

// safe calls a method of what may be a nil pointer.
func safe(method func() string) (s string) {
	defer func() {
		if recover() != nil {
			s = "<nil>"
		}
	}()
	return method()
}

// text masks the numbers in s.
func text(s string) string {
	if _, ok := label.Find(s, 0); !ok {
		return s
	}
	return string(label.AppendMasked(nil, s))
}
