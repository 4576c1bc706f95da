package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/strictjson"
)

const maxScenario = 1 << 20

// parseScenario reads the YAML by its nodes, since every finding is to have a line, and no key may pass unread.
func parseScenario(data []byte) (Scenario, error) {
	if len(data) > maxScenario {
		return Scenario{}, errs.New(errs.TooLarge, "场景文件超过 1 MiB", "the scenario is longer than 1 MiB").WithCode("sandbox.scenario")
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return Scenario{}, errs.New(errs.Invalid, "场景文件为空", "the scenario is empty").WithCode("sandbox.scenario").WithLine(1)
	case err != nil:
		return Scenario{}, badYAML(err)
	}
	r := &reader{}
	s := Scenario{map[key]*Behaviour{}}
	r.object(doc.Content[0], "", map[string]read{"agencies": func(n *yaml.Node, path string) { r.agencies(s, n, path) }}, "agencies")
	if err := dec.Decode(&more); err == nil {
		r.add(more.Line, "", "只应有一个文档", "there must be one document only")
	} else if !errors.Is(err, io.EOF) {
		return Scenario{}, badYAML(err)
	}
	return s, r.err()
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func badYAML(err error) error {
	line := 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	return errs.New(errs.Invalid, "不是合法的 YAML", "this is not YAML").WithCode("sandbox.scenario").WithLine(line)
}

// reader reads nodes and collects findings.
type reader struct{ findings }

// read reads the value of one key.
type read func(n *yaml.Node, path string)

// each reads every key of a mapping once.
func (r *reader) each(n *yaml.Node, path string, f func(name, value *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		r.add(n.Line, path, "应为键值表，且不支持别名", "expected a mapping; aliases are not supported")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		shown, ok := strictjson.Name(name.Value)
		if !ok {
			shown = "*"
		}
		at := strings.TrimPrefix(path+"."+shown, ".")
		switch {
		case name.Kind != yaml.ScalarNode || !ok:
			r.add(name.Line, at, "键名不合法", "this cannot be a key")
		case seen[name.Value]:
			r.add(name.Line, at, "键重复", "the key stands twice")
		default:
			seen[name.Value] = true
			f(name, value, at)
		}
	}
}

// object reads a mapping whose keys are known.
func (r *reader) object(n *yaml.Node, path string, fields map[string]read, required ...string) {
	before, got := len(r.findings), map[string]bool{}
	r.each(n, path, func(name, value *yaml.Node, path string) {
		got[name.Value] = true
		if f, ok := fields[name.Value]; ok {
			f(value, path)
		} else {
			r.add(name.Line, path, "未知的键", "there is no such key")
		}
	})
	for _, name := range required {
		if !got[name] && len(r.findings) == before {
			r.add(n.Line, strings.TrimPrefix(path+"."+name, "."), "缺少此键", "the key is missing")
		}
	}
}

// text returns a read that stores a string.
func (r *reader) text(to *string) read {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "" || len(n.Value) > 1000 {
			r.add(n.Line, path, "应为 1 至 1000 字节的文字", "expected text of 1 to 1000 bytes")
			return
		}
		*to = n.Value
	}
}

// number returns a read that stores a number between 0 and top.
func (r *reader) number(to *float64, top float64) read {
	return func(n *yaml.Node, path string) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || v < 0 || v > top {
			r.add(n.Line, path, "应为 0 至 "+strconv.FormatFloat(top, 'g', -1, 64)+" 的数", "expected a number from 0 to "+strconv.FormatFloat(top, 'g', -1, 64))
			return
		}
		*to = v
	}
}

func (r *reader) agencies(s Scenario, n *yaml.Node, path string) {
	r.each(n, path, func(name, value *yaml.Node, path string) {
		if !agency.ValidName(name.Value) {
			r.add(name.Line, path, "不是合法的部门名", "is not the name of an agency")
			return
		}
		agencyName := name.Value
		r.each(value, path, func(name, value *yaml.Node, path string) {
			if !agency.ValidName(name.Value) {
				r.add(name.Line, path, "不是合法的资源名", "is not the name of a resource")
				return
			}
			b := &Behaviour{line: name.Line}
			r.behaviour(b, value, path)
			s.resources[key{agency: agencyName, resource: name.Value}] = b
		})
	})
}

func (r *reader) behaviour(b *Behaviour, n *yaml.Node, path string) {
	r.object(n, path, map[string]read{
		"mode":      func(n *yaml.Node, path string) { r.mode(&b.Mode, n, path) },
		"latency":   func(n *yaml.Node, path string) { r.latency(&b.Latency, n, path) },
		"revocable": func(n *yaml.Node, path string) { r.boolean(&b.Revocable, n, path) },
		"output":    func(n *yaml.Node, path string) { r.output(b, n, path) },
		"refuse":    func(n *yaml.Node, path string) { r.rules(b, n, path) },
		"faults":    func(n *yaml.Node, path string) { r.faults(b, n, path) },
	}, "mode", "latency", "revocable", "output")
}

func (r *reader) mode(to *Mode, n *yaml.Node, path string) {
	switch m := Mode(n.Value); m {
	case Now, Callback, Poll:
		*to = m
	default:
		r.add(n.Line, path, "应为 now、callback 或 poll", "expected now, callback or poll")
	}
}

func (r *reader) boolean(to *bool, n *yaml.Node, path string) {
	if n.Tag != "!!bool" || n.Decode(to) != nil {
		r.add(n.Line, path, "应为 true 或 false", "expected true or false")
	}
}

func (r *reader) latency(to *Latency, n *yaml.Node, path string) {
	r.object(n, path, map[string]read{
		"median": func(n *yaml.Node, path string) {
			d, err := time.ParseDuration(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || d < 0 || d > maxLatency {
				r.add(n.Line, path, "应为时长，如 900ms，最长 10m", "expected a duration such as 900ms, at most 10m")
				return
			}
			to.Median = d
		},
		"sigma": r.number(&to.Sigma, 2),
	}, "median", "sigma")
}

func (r *reader) output(b *Behaviour, n *yaml.Node, path string) {
	r.each(n, path, func(name, value *yaml.Node, path string) {
		t := template{name: name.Value}
		switch {
		case name.Value == "fake":
			r.add(name.Line, path, "由沙箱自动加入，不可改写", "is always added by the sandbox and cannot be set")
		case value.Kind != yaml.ScalarNode:
			r.add(value.Line, path, "应为文字、数或布尔值", "expected text, a number or a boolean")
		case value.Tag == "!!str":
			var ok bool
			if t.text, ok = parseTemplate(value.Value); !ok || len(value.Value) > 1000 {
				r.add(value.Line, path, "占位符有误", "a placeholder is wrong")
			}
		default:
			t.fixed = json.RawMessage(value.Value)
			if value.Tag != "!!int" && value.Tag != "!!float" && value.Tag != "!!bool" || !json.Valid(t.fixed) {
				r.add(value.Line, path, "应为文字、十进制数、true 或 false", "expected text, a decimal number, true or false")
			}
		}
		b.output = append(b.output, t)
	})
}

func (r *reader) rules(b *Behaviour, n *yaml.Node, path string) {
	if n.Kind != yaml.SequenceNode {
		r.add(n.Line, path, "应为列表", "expected a list")
		return
	}
	for i, item := range n.Content {
		var rule Rule
		before, path := len(r.findings), path+"["+strconv.Itoa(i)+"]"
		r.object(item, path, map[string]read{
			"field":    r.text(&rule.Field),
			"contains": r.text(&rule.Contains),
			"equals":   r.text(&rule.Equals),
			"code":     r.text(&rule.Code),
			"reason": func(n *yaml.Node, path string) {
				r.object(n, path, map[string]read{"zh": r.text(&rule.Reason.ZH), "en": r.text(&rule.Reason.EN)}, "zh", "en")
			},
		}, "field", "code", "reason")
		if len(r.findings) == before && (rule.Contains == "") == (rule.Equals == "") {
			r.add(item.Line, path, "contains 与 equals 应恰有其一", "expected either contains or equals")
		}
		b.Refuse = append(b.Refuse, rule)
	}
}

func (r *reader) faults(b *Behaviour, n *yaml.Node, path string) {
	chance := map[string]*float64{}
	fields := map[string]read{}
	for _, kind := range faultKinds {
		chance[string(kind)] = new(float64)
		fields[string(kind)] = r.number(chance[string(kind)], 1)
	}
	r.object(n, path, fields)
	sum := 0.0
	for _, kind := range faultKinds {
		if p := *chance[string(kind)]; p > 0 {
			b.faults = append(b.faults, odds{kind, p})
			sum += p
		}
	}
	if sum > 1 {
		r.add(n.Line, path, "概率之和不得超过 1", "the probabilities must not sum to more than 1")
	}
}
