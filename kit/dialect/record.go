package dialect

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/lang"
)

// Record is what a line says.
type Record struct {
	Line      int64        `json:"line,omitempty"`  // from 1 on; 0 where it was not read by a Reader
	Offset    int64        `json:"offset"`          // of the line in its stream, in bytes
	Time      beijing.Time `json:"time,omitzero"`   // zero where the line has none
	Level     Level        `json:"level,omitempty"` // empty where the line has none
	Trace     string       `json:"trace,omitempty"` // the trace id, 32 hexadecimal digits in small letters
	Events    []Event      `json:"events,omitempty"`
	Fields    Fields       `json:"fields,omitempty"`
	Durations []Duration   `json:"durations,omitempty"`
	Text      string       `json:"text"` // the line as it is
	Findings  []Finding    `json:"findings,omitempty"`
}

// Level is how much a line matters.
type Level string

// The levels.
const (
	LevelTrace Level = "trace"
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
	LevelFatal Level = "fatal"
)

// Event is a term of the glossary in a line.
type Event struct {
	Code    string `json:"code"`
	Kind    Kind   `json:"kind"`
	Term    string `json:"term"` // as it stands in the glossary
	Offset  int    `json:"offset"`
	Size    int    `json:"size"`
	Negated bool   `json:"negated,omitempty"` // 没埋单, 埋单失败
	Marked  bool   `json:"marked,omitempty"`  // by 【琼】
	Note    string `json:"note,omitempty"`    // what is said of a marked term
}

// Field is a key with its value.
type Field struct {
	Key, Value string
	Offset     int // of the value
}

// Fields are fields in the order of the line, each key once. In JSON they are an object.
type Fields []Field

// Get returns the value of a key.
func (fs Fields) Get(key string) (string, bool) {
	for _, f := range fs {
		if f.Key == key {
			return f.Value, true
		}
	}
	return "", false
}

// MarshalJSON writes an object whose members are in the order of the line.
func (fs Fields) MarshalJSON() ([]byte, error) {
	b := bytes.NewBufferString("{")
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false) // whoever encodes the record decides
	for i, f := range fs {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(f.Key); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(f.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Duration is a length of time in a line.
type Duration struct {
	Key    string // of its field; empty where it stands in the text
	Value  time.Duration
	Offset int
}

// MarshalJSON writes the duration in milliseconds.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Key    string  `json:"key,omitempty"`
		Millis float64 `json:"ms"`
		Offset int     `json:"offset"`
	}{d.Key, float64(d.Value) / float64(time.Millisecond), d.Offset})
}

// Finding is a part of a line that can't be read in one way.
type Finding struct {
	Code   string `json:"code"`
	Offset int    `json:"offset"`
	Size   int    `json:"size"`
}

// The codes of findings.
const (
	UnknownTerm   = "term.unknown"   // marked as slang, and not in the glossary
	MissingTerm   = "term.missing"   // 【琼】 without a term behind it
	AmbiguousTerm = "term.ambiguous" // none of its senses fits the context, or several do
	NaiveTime     = "time.naive"     // a time without a zone, where those are refused
	BadTime       = "time.syntax"    // looks like a time, and is none
	BadTrace      = "trace.syntax"   // not a trace id
	RepeatedField = "field.repeated" // the key has stood before; the first value is kept
	UnclosedQuote = "quote.unclosed" // a value whose quotation mark is not closed
	BadText       = "text.utf8"      // bytes that are no UTF-8, from here on
	LongLine      = "line.too-long"  // the line goes on; the rest was passed over
)

var findingText = map[string]lang.Text{
	UnknownTerm:   lang.T("词汇表中没有这个词", "the glossary has no such term"),
	MissingTerm:   lang.T("【琼】之后没有词", "there is no term behind 【琼】"),
	AmbiguousTerm: lang.T("按上下文不能确定词义", "the context does not tell what the term means"),
	NaiveTime:     lang.T("时间没有时区", "the time has no zone"),
	BadTime:       lang.T("不是有效的时间", "not a valid time"),
	BadTrace:      lang.T("不是有效的追踪号", "not a valid trace id"),
	RepeatedField: lang.T("字段重复，保留第一个值", "the field stands twice; the first value is kept"),
	UnclosedQuote: lang.T("引号没有结束", "a quotation mark is not closed"),
	BadText:       lang.T("不是有效的 UTF-8", "not valid UTF-8"),
	LongLine:      lang.T("行过长，其余部分已略过", "the line is too long; the rest was passed over"),
}

// Message says in words what was found.
func (f Finding) Message() lang.Text { return findingText[f.Code] }
