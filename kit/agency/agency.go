// Package agency speaks the agency protocol (doc/formats/agency.md): a step of a matter is one resource of one agency,
// and one signed request does it, one asks about it, one undoes it.
//
// It promises that an [Answer] it returns was given by the agency, to this very request, whole and well formed.
// Everything else is an error, and an error never says that nothing happened: what an unsigned, cut or late answer
// stands for is unknown until the agency has been asked again. See [Client] for the kinds.
package agency

import (
	"encoding/json"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
)

// MaxBody bounds a request, an answer and a callback, in bytes.
const MaxBody = 1 << 20

// Window is how old a signature may be, and how far ahead of the reader's clock: clocks must be set, and the agency
// remembers every nonce for a few windows.
const Window = time.Minute

// Grade is the grade of a Request and of an Answer, for what they hold of a form and of what was issued. It goes with
// them in the header X-Data-Grade.
const Grade = label.L3

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"    // the agency acted; or, asked to undo, nothing of the request is left
	Refused Outcome = "refused" // the agency will not act; or, asked to undo, cannot
	Pending Outcome = "pending" // not decided yet
	Unseen  Outcome = "unseen"  // Query only: the agency has no such request
)

// Request is the body of a do.
type Request struct {
	_         struct{}                   `grade:"L1"`
	RequestID string                     `json:"requestId"` // the same for every attempt; see ValidID
	Case      string                     `json:"case"`
	Matter    string                     `json:"matter"`
	Step      string                     `json:"step"`
	Callback  string                     `json:"callback"`           // where to POST the outcome of a pending request; may be empty
	Form      json.RawMessage            `json:"form" grade:"L3"`    // the part of the application form that this agency is sent, an object
	Earlier   map[string]json.RawMessage `json:"earlier" grade:"L3"` // what earlier steps issued, by step
}

// Answer is what the agency says of a request, in an answer or in a callback.
type Answer struct {
	_         struct{}        `grade:"L1"`
	RequestID string          `json:"requestId"`
	Outcome   Outcome         `json:"outcome"`
	Code      string          `json:"code,omitempty"`              // of a refusal: a stable slug
	Reason    lang.Text       `json:"reason,omitzero" grade:"L2"`  // of a refusal: for people
	Output    json.RawMessage `json:"output,omitempty" grade:"L3"` // of a done: what was issued, an object
	PollAfter Milliseconds    `json:"pollAfter,omitempty"`         // of a pending: when to ask again
}

// Milliseconds is a length of time as the protocol writes it.
type Milliseconds int64

// Duration returns m as a time.Duration.
func (m Milliseconds) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// maxPoll bounds PollAfter.
const maxPoll = Milliseconds(24 * time.Hour / time.Millisecond)

// Check reports whether the parts of a suit its outcome; otherwise the error is of kind Invalid and names the field.
func (a Answer) Check() error {
	wrong := func(field, zh, en string) error { return errs.New(errs.Invalid, zh, en).WithField(field) }
	switch {
	case !ValidID(a.RequestID):
		return wrong("requestId", "不是合法的请求编号", "is not a request id")
	case a.Outcome != Done && a.Outcome != Refused && a.Outcome != Pending && a.Outcome != Unseen:
		return wrong("outcome", "不是已知的结果", "is not a known outcome")
	case (a.Outcome == Refused) == (a.Code == ""):
		return wrong("code", "拒绝时且仅在拒绝时应有", "belongs to a refusal, and every refusal has one")
	case (a.Outcome == Refused) == (a.Reason.ZH == "" || a.Reason.EN == ""):
		return wrong("reason", "拒绝时且仅在拒绝时应有，且须有中英文", "belongs to a refusal, and every refusal has one in both languages")
	case len(a.Output) > 0 && (a.Outcome != Done || a.Output[0] != '{'):
		return wrong("output", "仅在办结时可有，且须为对象", "belongs to what is done, and is an object")
	case a.PollAfter < 0 || a.PollAfter > maxPoll || a.PollAfter != 0 && a.Outcome != Pending:
		return wrong("pollAfter", "仅在办理中可有，为 0 至 1 天的毫秒数", "belongs to what is pending, 0 to one day in milliseconds")
	}
	return nil
}

// ValidID reports whether s can name a request: 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-', of which the first is a letter
// or digit. It stands in a path as it is.
func ValidID(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && (i == 0 || s[i] != '.' && s[i] != '_' && s[i] != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// ValidName reports whether s can name an agency or a resource: 1 to 64 of a-z, 0-9 and '-', of which the first is a
// letter.
func ValidName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z') && (i == 0 || c != '-' && !(c >= '0' && c <= '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
