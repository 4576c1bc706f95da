package receipt

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/merkle"
)

const recordHeader = "qiong-record/v1"

// maxRecord is the longest record in bytes.
const maxRecord = 4096

// maxNeeds is how many cosignatures a record may need.
const maxNeeds = 16

// Record is one leaf of a log. It holds no personal data: what happened stands in the original alone.
type Record struct {
	ID         string       `json:"id"`         // unique in its log: 1 to 80 of a-z, 0-9 and -
	Type       string       `json:"type"`       // event type and version of its data: approval.case.decided/1
	Commitment merkle.Hash  `json:"commitment"` // SM3 of the original, or the root over a batch
	Time       beijing.Time `json:"time"`       // when the house accepted it
	Needs      []string     `json:"needs"`      // whose cosignatures complete it, sorted; at least one
	Rule       *Rule        `json:"rule,omitempty"`
	Batch      uint64       `json:"batch,omitempty"` // how many acts stand behind the commitment; 0 where it is an original
}

// Rule is a contract rule that was evaluated on the record.
type Rule struct {
	Name    string  `json:"name"` // 1 to 64 of a-z, 0-9, . and -
	Version uint64  `json:"version"`
	Outcome Outcome `json:"outcome"`
	Clause  string  `json:"clause,omitempty"` // which clause failed: 1 to 64 of a-z, 0-9, . and -; with Failed alone
}

// Outcome is what a rule found.
type Outcome string

// The outcomes.
const (
	Passed        Outcome = "passed"
	Failed        Outcome = "failed"
	NotApplicable Outcome = "n/a"
)

// Marshal returns the bytes of the record, which are the data of its leaf.
func (r *Record) Marshal() ([]byte, error) { return r.Append(nil) }

// Append appends the bytes of the record to b.
func (r *Record) Append(b []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	start := len(b)
	b = append(b, recordHeader+"\nid "...)
	b = append(b, r.ID...)
	b = append(b, "\ntype "...)
	b = append(b, r.Type...)
	b = append(b, "\ncommitment "...)
	b = base64.StdEncoding.AppendEncode(b, r.Commitment[:])
	b = append(b, "\ntime "...)
	b = r.Time.Time().AppendFormat(b, beijing.Layout)
	b = append(b, "\nneeds "...)
	for i, name := range r.Needs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	if r.Rule != nil {
		b = r.Rule.append(b)
	}
	if r.Batch > 0 {
		b = append(b, "batch "...)
		b = append(strconv.AppendUint(b, r.Batch, 10), '\n')
	}
	if len(b)-start > maxRecord {
		return nil, bad("record", "记录太长", "the record is too long")
	}
	return b, nil
}

func (r *Rule) append(b []byte) []byte {
	b = append(b, "rule "...)
	b = append(b, r.Name...)
	b = append(b, '/')
	b = strconv.AppendUint(b, r.Version, 10)
	b = append(b, ' ')
	b = append(b, r.Outcome...)
	if r.Outcome == Failed {
		b = append(b, ' ')
		b = append(b, r.Clause...)
	}
	return append(b, '\n')
}

// check returns an error where the record has no bytes of its own.
func (r *Record) check() error {
	name, version, ok := strings.Cut(r.Type, "/")
	switch n, err := strconv.ParseUint(version, 10, 31); {
	case !made(r.ID, "-", 80):
		return bad("id", "应为 1 至 80 个小写字母、数字或 -", "1 to 80 lower-case letters, digits or -")
	case !ok || err != nil || n == 0 || version[0] == '0' || version[0] == '+' || !made(name, ".-", 80):
		return bad("type", "应为“事件类型/版本”", "an event type, / and the version of its data")
	case r.Time < firstTime || r.Time > lastTime:
		return bad("time", "超出 1970 至 9999 年", "not within the years 1970 to 9999")
	case len(r.Needs) == 0 || len(r.Needs) > maxNeeds:
		return bad("needs", "应为 1 至 16 个名称", "1 to 16 names")
	case r.Batch > merkle.MaxSize:
		return bad("batch", "超出范围", "out of range")
	}
	for i, name := range r.Needs {
		if CheckName(name) != nil || i > 0 && r.Needs[i-1] >= name {
			return bad("needs", "名称应按次序排列，不重复", "names, sorted, none of them twice")
		}
	}
	if r.Rule != nil {
		return r.Rule.check()
	}
	return nil
}

// The times that a record or a cosignature may name, in milliseconds.
const (
	firstTime beijing.Time = 0
	lastTime  beijing.Time = 253402271999999 // 9999-12-31T23:59:59.999+08:00
)

func (r *Rule) check() error {
	switch {
	case !made(r.Name, ".-", 64) || r.Version == 0 || r.Version >= 1<<31:
		return bad("rule", "应为“名称/版本”", "a name, / and a version")
	case r.Outcome == Failed && !made(r.Clause, ".-", 64):
		return bad("rule", "未说明哪一条款不符", "it does not say which clause failed")
	case r.Outcome != Failed && r.Clause != "":
		return bad("rule", "只有不符时才有条款", "there is a clause only where one failed")
	case r.Outcome != Passed && r.Outcome != Failed && r.Outcome != NotApplicable:
		return bad("rule", "结果应为 passed、failed 或 n/a", "its outcome is passed, failed or n/a")
	}
	return nil
}

// ParseRecord reads what [Record.Marshal] writes and nothing else.
func ParseRecord(data []byte) (*Record, error) {
	text, ok := strings.CutSuffix(string(data), "\n")
	lines := strings.Split(text, "\n")
	if !ok || len(lines) < 6 || len(lines) > 8 || len(data) > maxRecord || lines[0] != recordHeader {
		return nil, bad("record", "不是记录", "not a record")
	}
	r := new(Record)
	var err error
	if r.ID, err = value(lines[1], "id"); err != nil {
		return nil, err
	}
	if r.Type, err = value(lines[2], "type"); err != nil {
		return nil, err
	}
	if r.Commitment, err = hash(lines[3], "commitment"); err != nil {
		return nil, err
	}
	written, err := value(lines[4], "time")
	if err != nil {
		return nil, err
	}
	if r.Time.UnmarshalText([]byte(written)) != nil {
		return nil, bad("time", "不是北京时间", "not a Beijing time")
	}
	needs, err := value(lines[5], "needs")
	if err != nil {
		return nil, err
	}
	r.Needs = strings.Split(needs, ",")
	if err := r.parseRest(lines[6:]); err != nil {
		return nil, err
	}
	return r, same(r.Marshal, data)
}

// parseRest reads the lines that may be absent.
func (r *Record) parseRest(lines []string) (err error) {
	if len(lines) > 0 && strings.HasPrefix(lines[0], "rule ") {
		if r.Rule, err = parseRule(strings.Split(lines[0], " ")); err != nil {
			return err
		}
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return nil
	}
	if len(lines) > 1 {
		return bad("record", "多出一行", "there is a line too much")
	}
	r.Batch, err = number(lines[0], "batch")
	return err
}

// parseRule reads the words of a line: rule, name/version, outcome, and the clause that failed.
func parseRule(words []string) (*Rule, error) {
	if len(words) != 3 && len(words) != 4 {
		return nil, bad("rule", "应为“名称/版本 结果”", "a name, / and a version, and an outcome")
	}
	name, version, _ := strings.Cut(words[1], "/")
	n, err := strconv.ParseUint(version, 10, 31)
	if err != nil {
		return nil, bad("rule", "版本不是数", "its version is not a number")
	}
	r := &Rule{Name: name, Version: n, Outcome: Outcome(words[2])}
	if len(words) == 4 {
		r.Clause = words[3]
	}
	return r, nil
}
