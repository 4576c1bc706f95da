// Package errs has the kinds of error Qiong knows, mapped once to HTTP, gRPC and exit status.
//
// An [Error] says what went wrong in words for people (both languages), which field or byte it stands at, and what to
// do next. It never holds a submitted value: what a person typed must not come back in a log or an answer. The cause
// kept in Err is for the log alone.
package errs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/lang"
)

// Kind is what a caller can act on. The zero Kind is Internal: an error nobody classified is ours.
type Kind uint8

// The kinds, in the order of their HTTP status.
const (
	Internal        Kind = iota // a defect or a broken machine: 500
	Invalid                     // the request is wrong and stays wrong: 400
	Unauthenticated             // nobody knows who asks: 401
	Forbidden                   // known, and not allowed: 403
	NotFound                    // no such thing, or not for this caller: 404
	Conflict                    // the state does not allow it: 409
	Precondition                // the ETag moved on: 412
	TooLarge                    // over a limit of size: 413
	Unsupported                 // a media type we do not read: 415
	Canceled                    // the caller went away: 499
	TooMany                     // over a limit of rate or backlog; try again: 429
	Unavailable                 // something we need is away; try again: 503
	Timeout                     // something we need did not answer in time: 504
	Full                        // no room to store it: 507
)

var table = [...]struct {
	name string
	http int
	grpc uint32 // google.golang.org/grpc/codes, as numbers so that this package imports nothing
	exit int
}{
	Internal:        {"internal", 500, 13, 1},
	Invalid:         {"invalid", 400, 3, 2},
	Unauthenticated: {"unauthenticated", 401, 16, 3},
	Forbidden:       {"forbidden", 403, 7, 3},
	NotFound:        {"not-found", 404, 5, 4},
	Conflict:        {"conflict", 409, 10, 5},
	Precondition:    {"precondition-failed", 412, 9, 5},
	TooLarge:        {"too-large", 413, 3, 2},
	Unsupported:     {"unsupported", 415, 3, 2},
	Canceled:        {"canceled", 499, 1, 130},
	TooMany:         {"too-many", 429, 8, 6},
	Unavailable:     {"unavailable", 503, 14, 6},
	Timeout:         {"timeout", 504, 4, 6},
	Full:            {"full", 507, 8, 7},
}

// String returns the kind's stable name, such as "not-found". It is part of the API.
func (k Kind) String() string { return k.row().name }

// HTTP returns the kind's HTTP status.
func (k Kind) HTTP() int { return k.row().http }

// GRPC returns the kind's gRPC status code.
func (k Kind) GRPC() uint32 { return k.row().grpc }

// Exit returns the kind's process exit status: 1 internal, 2 bad input, 3 not allowed, 4 not found, 5 conflict,
// 6 try again, 7 storage full, 130 interrupted.
func (k Kind) Exit() int { return k.row().exit }

func (k Kind) row() struct {
	name string
	http int
	grpc uint32
	exit int
} {
	if int(k) >= len(table) {
		k = Internal
	}
	return table[k]
}

// FromHTTP returns the kind whose status is code, by its class where none has that very status.
func FromHTTP(code int) Kind {
	for k, row := range table {
		if row.http == code {
			return Kind(k)
		}
	}
	switch {
	case code == 422:
		return Invalid
	case code == 408:
		return Timeout
	case code == 502:
		return Unavailable
	case code >= 400 && code < 500:
		return Invalid
	}
	return Internal
}

// Error is an error with a kind, words for people, and a place.
type Error struct {
	Kind   Kind
	Code   string    // stable slug for programs, such as "json.duplicate-key"; may be empty
	Msg    lang.Text // what went wrong; never a submitted value
	Hint   lang.Text // what to do next; may be empty
	Field  string    // where in the request: a dotted path, header or parameter name; may be empty
	Offset int64     // byte offset in the request body; meaningful where HasOffset
	Line   int       // 1-based line in a file; 0 where there is none

	HasOffset  bool
	RetryAfter time.Duration // when to come back; 0 where unknown
	Err        error         // the cause, for the log; may be nil
	Also       []*Error      // further findings of the same request, such as other fields
}

// New returns an Error of kind k that says msg.
func New(k Kind, zh, en string) *Error { return &Error{Kind: k, Msg: lang.T(zh, en)} }

// Newf is New with the same arguments formatted into both languages. Arguments must not be submitted values.
func Newf(k Kind, zh, en string, args ...any) *Error {
	return New(k, fmt.Sprintf(zh, args...), fmt.Sprintf(en, args...))
}

// Wrap returns an Error of kind k that says msg and keeps err as its cause.
func Wrap(err error, k Kind, zh, en string) *Error {
	e := New(k, zh, en)
	e.Err = err
	return e
}

// The With methods set one part and return e, for building an error in one expression.

// WithCode sets the stable slug.
func (e *Error) WithCode(code string) *Error { e.Code = code; return e }

// WithField sets the field.
func (e *Error) WithField(field string) *Error { e.Field = field; return e }

// WithOffset sets the byte offset.
func (e *Error) WithOffset(offset int64) *Error { e.Offset, e.HasOffset = offset, true; return e }

// WithLine sets the line.
func (e *Error) WithLine(line int) *Error { e.Line = line; return e }

// WithHint sets what to do next.
func (e *Error) WithHint(zh, en string) *Error { e.Hint = lang.T(zh, en); return e }

// WithRetryAfter sets when to come back.
func (e *Error) WithRetryAfter(d time.Duration) *Error { e.RetryAfter = d; return e }

// Error returns the English words with place and cause, for logs.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.In(lang.EN))
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// In returns the words in l with the place, without the cause, for people.
func (e *Error) In(l lang.Lang) string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, lang.T("第 %d 行: ", "line %d: ").In(l), e.Line)
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
	b.WriteString(e.Msg.In(l))
	if e.HasOffset {
		fmt.Fprintf(&b, lang.T("（第 %d 字节）", " (byte %d)").In(l), e.Offset)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err: that of the first [Error] in its chain, Canceled and Timeout for the context's own
// errors, Internal for any other. It must not be asked about nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Is reports whether err is of kind k; false for nil.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// As returns the first [Error] in err's chain, or one of err's kind around it whose words tell a person no inner detail.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	switch KindOf(err) {
	case Canceled:
		return Wrap(err, Canceled, "请求已取消", "the request was canceled")
	case Timeout:
		return Wrap(err, Timeout, "处理超时，请稍后再试", "it took too long; try again later")
	}
	return Wrap(err, Internal, "系统内部错误", "internal error").
		WithHint("请凭追踪号联系运维人员", "give the operator the trace id")
}
