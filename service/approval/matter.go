package approval

import (
	"embed"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

//go:embed matters/*.yaml
var embeddedMatters embed.FS

// Matter is something that can be applied for (事项), as its YAML file says it.
type Matter struct {
	Name        string               `yaml:"matter"`
	Version     int                  `yaml:"version"` // raised with every change: cases under way finish on their own
	Title       lang.Text            `yaml:"title"`
	Subject     string               `yaml:"subject"`  // path of the form field that a case is listed by
	Deadline    yamlfile.Duration    `yaml:"deadline"` // to reach the pivot; then what was done is undone and the case refused
	Attachments Attachments          `yaml:"attachments"`
	Stages      []stage              `yaml:"steps"`
	Agencies    map[string]lang.Text `yaml:"agencies"`
	Labels      map[string]lang.Text `yaml:"labels"` // what the fields that agencies issue are called
	Form        yaml.Node            `yaml:"form"`   // JSON Schema, draft 2020-12

	source []byte
	form   *form
	saga   *saga.Definition
}

// Attachments bounds what may be uploaded to a case of a matter.
type Attachments struct {
	Max   int      `yaml:"max"`   // files
	Size  size     `yaml:"size"`  // of each
	Types []string `yaml:"types"` // media types
}

// stage is one step, or several that run in parallel.
type stage struct {
	steps []Step
	line  int
}

// Step is what one agency is asked for.
type Step struct {
	Name     string            `yaml:"name"`
	Title    lang.Text         `yaml:"title"`
	Agency   string            `yaml:"agency"`
	Resource string            `yaml:"resource"`
	Pivot    bool              `yaml:"pivot"`   // once done there is no way back
	Undo     bool              `yaml:"undo"`    // the agency can take it back; a pivot, only while it is under way
	Durable  bool              `yaml:"durable"` // its result is on stable storage before the next step begins
	Send     []string          `yaml:"send"`    // which parts of the form the agency gets
	Timeout  yamlfile.Duration `yaml:"timeout"` // of one request; default 10s
	Answer   yamlfile.Duration `yaml:"answer"`  // how long a pending answer may take before a person is asked; default for ever
	Retry    struct {
		Initial  yamlfile.Duration `yaml:"initial"`
		Max      yamlfile.Duration `yaml:"max"`
		Attempts int               `yaml:"attempts"`
	} `yaml:"retry"`
	line int
}

// UnmarshalYAML implements yaml.Unmarshaler: a stage is a step, or a mapping with the one key parallel.
func (s *stage) UnmarshalYAML(n *yaml.Node) error {
	s.line = n.Line
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "parallel" {
		return n.Content[1].Decode(&s.steps)
	}
	s.steps = make([]Step, 1)
	return n.Decode(&s.steps[0])
}

// UnmarshalYAML implements yaml.Unmarshaler: it keeps the line, and refuses unknown keys, which the library does not do
// below a custom unmarshaler.
func (s *Step) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if !slices.Contains(stepKeys, n.Content[i].Value) {
				return errs.New(errs.Invalid, "环节没有这个键", "a step has no such key").WithLine(n.Content[i].Line).WithField(n.Content[i].Value)
			}
		}
	}
	type plain Step
	s.line = n.Line
	return n.Decode((*plain)(s))
}

var stepKeys = []string{"name", "title", "agency", "resource", "pivot", "undo", "durable", "send", "timeout", "answer", "retry"}

// size is written as 20MiB.
type size int64

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *size) UnmarshalYAML(n *yaml.Node) error {
	var b config.Bytes
	if err := b.UnmarshalText([]byte(n.Value)); err != nil || b <= 0 {
		return errs.New(errs.Invalid, "应为大小，如 20MiB", "must be a size such as 20MiB").WithLine(n.Line)
	}
	*s = size(b)
	return nil
}

// Step returns the step called name.
func (m *Matter) Step(name string) (Step, bool) {
	for i := range m.Stages {
		for _, s := range m.Stages[i].steps {
			if s.Name == name {
				return s, true
			}
		}
	}
	return Step{}, false
}

// AgencyTitle returns what an agency is called.
func (m *Matter) AgencyTitle(name string) lang.Text {
	if t, ok := m.Agencies[name]; ok {
		return t
	}
	return lang.T(name, name)
}

// ParseMatter reads and checks a matter. The error is an *errs.Error with every finding, each with its line.
func ParseMatter(data []byte) (*Matter, error) {
	m := &Matter{source: data}
	root, err := yamlfile.Decode(data, m)
	if err != nil {
		return nil, err
	}
	l := &linter{m: m, root: root}
	l.check()
	if err := l.found.Err(); err != nil {
		return nil, err
	}
	return m, nil
}

// linter collects what is wrong with a matter.
type linter struct {
	m     *Matter
	root  *yaml.Node
	found yamlfile.Findings
}

// top reports a finding about a top-level key.
func (l *linter) top(key, field, zh, en string) {
	line, _ := yamlfile.Find(l.root, key)
	l.add(line, field, zh, en)
}

func (l *linter) add(line int, field, zh, en string) { l.found.Add(line, field, zh, en) }

func (l *linter) check() {
	m := l.m
	if !agency.ValidName(m.Name) {
		l.top("matter", "matter", "应为小写字母、数字和连字符，以字母开头", "must be lower-case letters, digits and hyphens, a letter first")
	}
	if m.Version < 1 {
		l.top("version", "version", "应为从 1 起的整数", "must be a whole number from 1")
	}
	if m.Title.ZH == "" || m.Title.EN == "" {
		l.top("title", "title", "须有中文（zh）和英文（en）", "must have both zh and en")
	}
	for _, t := range m.Attachments.Types {
		if !strings.Contains(t, "/") {
			l.top("attachments", "attachments.types", "应为媒体类型，如 application/pdf", "must be media types such as application/pdf")
		}
	}
	if len(m.Stages) == 0 {
		l.top("steps", "steps", "至少要有一个环节", "there must be a step")
	}
	l.steps()
	l.formAndSaga()
}

func (l *linter) steps() {
	seen, afterPivot := map[string]bool{}, false
	for i := range l.m.Stages {
		st := &l.m.Stages[i]
		if len(st.steps) == 0 {
			l.add(st.line, "parallel", "并行组中没有环节", "the parallel group has no step")
			continue
		}
		for _, s := range st.steps {
			l.step(s, seen)
			if s.Pivot && (afterPivot || len(st.steps) > 1) {
				l.add(s.line, s.Name, "关键环节只能有一个，且单独成阶段", "the pivot is one step, alone in its stage")
			}
			if !afterPivot && !s.Pivot && !s.Undo && l.hasPivot() {
				l.add(s.line, s.Name, "关键环节之前的环节必须可撤销（undo: true）", "a step before the pivot must be undoable (undo: true)")
			}
		}
		afterPivot = afterPivot || st.steps[0].Pivot
	}
}

func (l *linter) hasPivot() bool {
	for i := range l.m.Stages {
		if len(l.m.Stages[i].steps) > 0 && l.m.Stages[i].steps[0].Pivot {
			return true
		}
	}
	return false
}

func (l *linter) step(s Step, seen map[string]bool) {
	switch {
	case !agency.ValidName(s.Name):
		l.add(s.line, "name", "环节名应为小写字母、数字和连字符，以字母开头", "a step's name must be lower-case letters, digits and hyphens, a letter first")
	case seen[s.Name]:
		l.add(s.line, s.Name, "环节名重复", "the name is used twice")
	}
	seen[s.Name] = true
	if s.Title.ZH == "" || s.Title.EN == "" {
		l.add(s.line, s.Name+".title", "须有中文（zh）和英文（en）", "must have both zh and en")
	}
	if !agency.ValidName(s.Agency) {
		l.add(s.line, s.Name+".agency", "须指明部门", "must name an agency")
	} else if _, ok := l.m.Agencies[s.Agency]; !ok {
		l.add(s.line, s.Name+".agency", "该部门未在 agencies 中列出", "the agency is not listed under agencies")
	}
	if !agency.ValidName(s.Resource) {
		l.add(s.line, s.Name+".resource", "须指明部门的资源", "must name the agency's resource")
	}
	if s.Retry.Attempts < 0 {
		l.add(s.line, s.Name+".retry.attempts", "不能为负", "must not be negative")
	}
}

// formAndSaga compiles the form, checks what refers to it, and makes the definition.
func (l *linter) formAndSaga() {
	m := l.m
	var err error
	if m.form, err = compileForm(m.Name, &m.Form); err != nil {
		l.add(m.Form.Line, "form", "JSON Schema 无效："+err.Error(), "the JSON Schema is invalid: "+err.Error())
		return
	}
	for i := range m.Stages {
		for _, s := range m.Stages[i].steps {
			for _, part := range s.Send {
				if !slices.Contains(m.form.parts, part) {
					l.add(s.line, s.Name+".send", "表单中没有要发送的部分", "the form has no such part")
				}
			}
		}
	}
	if top, _, _ := strings.Cut(m.Subject, "."); !slices.Contains(m.form.parts, top) {
		l.top("subject", "subject", "表单中没有这个字段", "the form has no such field")
	}
	m.saga = m.definition()
	if l.found.None() {
		if err := m.saga.Check(); err != nil {
			l.top("steps", "steps", err.Error(), err.Error())
		}
	}
}

// definition returns the saga that decides a case of m.
func (m *Matter) definition() *saga.Definition {
	d := &saga.Definition{Name: m.Name, Version: m.Version, Title: m.Title, Deadline: time.Duration(m.Deadline)}
	for i := range m.Stages {
		var st saga.Stage
		for _, s := range m.Stages[i].steps {
			st = append(st, saga.Step{
				Name: s.Name, Title: s.Title, Participant: s.Agency, Pivot: s.Pivot, Undo: s.Undo, Durable: s.Durable,
				Timeout: time.Duration(s.Timeout), Answer: time.Duration(s.Answer),
				Retry: saga.Retry{Initial: time.Duration(s.Retry.Initial), Max: time.Duration(s.Retry.Max), Attempts: s.Retry.Attempts},
			})
		}
		d.Stages = append(d.Stages, st)
	}
	return d
}

// LoadMatters reads the matters of a folder, or the embedded ones where dir is empty.
func LoadMatters(dir string) ([]*Matter, error) {
	var files fs.FS
	if dir == "" {
		sub, err := fs.Sub(embeddedMatters, "matters")
		if err != nil {
			return nil, err
		}
		files = sub
	} else {
		files = os.DirFS(dir)
	}
	return yamlfile.Load(files, dir, ParseMatter, func(m *Matter) string { return m.Name })
}
