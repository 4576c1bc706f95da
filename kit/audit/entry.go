package audit

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
)

// Entry is one act: who did what to which object, and what became of it. It holds names of things and never their
// content: of data that was read the operation, the grade and the object's id.
type Entry struct {
	Time      beijing.Time `json:"time"`
	Who       string       `json:"who,omitempty"` // id of the principal; empty where nobody was signed in, House for the house itself
	What      string       `json:"what"`          // such as token.issue
	Object    string       `json:"object,omitempty"`
	Outcome   string       `json:"outcome"`             // done, begun or refused; of accesses passed, masked or refused
	Route     string       `json:"route,omitempty"`     // of an access: method and pattern
	Grade     string       `json:"grade,omitempty"`     // of an access: of the route
	Clearance string       `json:"clearance,omitempty"` // of an access: of who asked
	Detail    string       `json:"detail,omitempty"`
	Trace     string       `json:"traceId,omitempty"`
}

// House is who acts where no person does.
const House = "house"

// The outcomes.
const (
	Done    = "done"
	Begun   = "begun" // recorded before it is done, so that what fails is on record too
	Refused = "refused"
)

// What is recorded. Services and tools add their own words, "<noun>.<verb>".
const (
	Access      = "access"         // graded data were asked for
	SignIn      = "sign-in"        // a one-time token was exchanged for a session
	SignOut     = "sign-out"       //
	TokenIssue  = "token.issue"    //
	TokenRevoke = "token.revoke"   //
	TokenRedeem = "token.redeem"   // a one-time token was exchanged for an ordinary one
	Start       = "house.start"    // the detail has the program's version
	Stop        = "house.stop"     //
	Config      = "config"         // the object is the SM3 of the effective configuration without its secrets
	Keys        = "keys"           // the object is the SM3 of the detail: names and fingerprints of the public keys
	Operate     = "operate"        // an operation that steers the house, such as sending dead letters anew
	Restore     = "audit.restored" // the log was put back from a backup; the object is the range of leaves that it lacks, the detail the SM3 of the statement, and why
	Expire      = "audit.expire"   // entries left for the archive; the object is their range, the detail the archive's SM3
)

// most is the longest value of a member, in bytes: longer ones are cut, and end with an ellipsis.
const most = 400

// fields are the members after the time, in the order of the canonical form.
func (e *Entry) fields() [9]struct {
	name  string
	value *string
	must  bool
} {
	return [9]struct {
		name  string
		value *string
		must  bool
	}{
		{"who", &e.Who, false}, {"what", &e.What, true}, {"object", &e.Object, false}, {"outcome", &e.Outcome, true},
		{"route", &e.Route, false}, {"grade", &e.Grade, false}, {"clearance", &e.Clearance, false},
		{"detail", &e.Detail, false}, {"traceId", &e.Trace, false},
	}
}

// Append appends the canonical form: one line of JSON, members in their fixed order, empty ones left out, and LF.
func (e *Entry) Append(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = append(append(b, e.Time.String()...), '"')
	for _, f := range e.fields() {
		if *f.value != "" || f.must {
			b = append(append(append(b, `,"`...), f.name...), `":`...)
			b = appendString(b, clip(*f.value))
		}
	}
	return append(b, "}\n"...)
}

// clip cuts what is too long between two runes.
func clip(s string) string {
	if len(s) <= most {
		return s
	}
	n := most - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// appendString appends a JSON string as encoding/json writes it without escaping for HTML.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			var text bytes.Buffer
			enc := json.NewEncoder(&text)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // a string always has a JSON
			return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// CodeSyntax is the code of what is not in its one canonical form.
const CodeSyntax = "audit.syntax"

func malformed(zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithCode(CodeSyntax)
}

// Parse reads what [Entry.Append] writes and nothing else: with or without its LF.
func Parse(line []byte) (Entry, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	var e Entry
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if dec.Decode(&e) != nil || !bytes.Equal(bytes.TrimSuffix(e.Append(nil), []byte("\n")), line) {
		return Entry{}, malformed("不是审计条目的规范写法", "not an audit entry in its canonical form")
	}
	return e, nil
}

// parseLeaf reads the entries of a leaf: one line after the other.
func parseLeaf(data []byte) ([]Entry, error) {
	text, ended := strings.CutSuffix(string(data), "\n")
	if !ended {
		return nil, malformed("审计条目不完整", "an audit entry is cut")
	}
	lines := strings.Split(text, "\n")
	all := make([]Entry, len(lines))
	for i, line := range lines {
		var err error
		if all[i], err = Parse([]byte(line)); err != nil {
			return nil, err
		}
	}
	return all, nil
}
