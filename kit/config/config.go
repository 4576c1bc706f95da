// Package config reads the configuration of one house: a struct per section, from flags, environment, one YAML file and
// defaults, in that order.
//
// It promises that nothing is ignored: a key, variable or value that fits no field is an error that names the line or
// the variable, and every finding is reported at once. Every value can be traced to where it came from, and the manual
// (template, explanation, flags) is made from the structs themselves, so that it cannot be out of date. Messages never
// repeat a value, since it may be a secret.
package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong/kit/errs"
)

// Section is one part of the configuration, belonging to one service or engine.
//
// The fields of the struct carry `koanf:"name"` (or "-"), `zh:"中文说明"` and, for secrets, `secret:"true"`; the English
// words are the field's Go comment. Fields are strings, booleans, numbers, time.Duration, Bytes, []string, types with
// UnmarshalText, structs of these, and maps from string to structs of these. A method Validate() error of the struct is
// called when all is read.
type Section struct {
	Name     string // such as "approval": the key in the file, the prefix of flags and variables
	Defaults any    // pointer to the struct with its default values; it is not changed
	Source   string // Go source of the file that declares the struct, embedded by its package; may be empty
}

// Options say where values come from.
type Options struct {
	File    string         // path of the YAML file; empty: none. A named file must exist.
	Env     []string       // "NAME=value" as from os.Environ; nil: none
	Flags   *pflag.FlagSet // as bound by BindFlags; nil: none
	Reserve []string       // QIONG_ variables that mean something else than a field, beyond the known ones
}

// Prefix is how the variables begin.
const Prefix = "QIONG_"

// reserved are variables with the prefix that are read elsewhere: the language, the file, and what tests look at.
var reserved = []string{"QIONG_LANG", "QIONG_CONFIG", "QIONG_POSTGRES", "QIONG_TOKEN", "QIONG_URL"}

// Source says where a value came from.
type Source struct {
	Kind string `json:"kind"`           // "flag", "env", "file" or "default"
	Name string `json:"name,omitempty"` // the flag, the variable, or the path of the file
	Line int    `json:"line,omitempty"` // in the file
}

// String returns the source in a word, such as "file qiong.yaml:12".
func (s Source) String() string {
	switch {
	case s.Line > 0:
		return fmt.Sprintf("%s %s:%d", s.Kind, s.Name, s.Line)
	case s.Name != "":
		return s.Kind + " " + s.Name
	}
	return s.Kind
}

// Config is a configuration that was read.
type Config struct {
	sections []*section
	values   map[string]any // section name -> pointer to the filled struct
	sources  map[string]Source
}

// Load reads the configuration. The error is an *errs.Error of kind Invalid (NotFound where the file is missing) with
// all findings in Also.
func Load(sections []Section, o Options) (*Config, error) {
	described, err := describe(sections)
	if err != nil {
		return nil, err
	}
	c := &Config{sections: described, values: map[string]any{}, sources: map[string]Source{}}
	l := &loader{c: c, k: koanf.New(".")}
	for _, s := range described {
		l.defaults(s)
	}
	if o.File != "" {
		if err := l.file(o.File); err != nil {
			return nil, err
		}
	}
	l.env(o.Env, append(slices.Clone(o.Reserve), reserved...))
	l.flags(o.Flags)
	if l.found == nil {
		l.fill()
	}
	if l.found != nil {
		return nil, l.found
	}
	return c, nil
}

// Get returns the filled struct of the named section, of the type of its Defaults; nil where there is no such section.
func (c *Config) Get(name string) any { return c.values[name] }

// Of returns the filled section name as a *T. It panics where that is not its type: a defect of the program.
func Of[T any](c *Config, name string) *T {
	v, ok := c.values[name].(*T)
	if !ok {
		panic(fmt.Sprintf("config: section %s is %T", name, c.values[name]))
	}
	return v
}

// Source returns where the value of key, such as "approval.time-limit", came from.
func (c *Config) Source(key string) Source {
	if s, ok := c.sources[key]; ok {
		return s
	}
	return Source{Kind: "default"}
}

// loader collects values and findings.
type loader struct {
	c     *Config
	k     *koanf.Koanf
	found *errs.Error
}

func (l *loader) report(e *errs.Error) {
	if l.found == nil {
		l.found = e
	} else {
		l.found.Also = append(l.found.Also, e)
	}
}

// set enters a typed value of key.
func (l *loader) set(key string, value any, from Source) {
	// A confmap provider cannot fail, and neither can merging without strictness.
	_ = l.k.Load(confmap.Provider(map[string]any{key: value}, "."), nil)
	l.c.sources[key] = from
}

func (l *loader) defaults(s *section) {
	for _, f := range s.fields {
		if !f.dynamic {
			_ = l.k.Load(confmap.Provider(map[string]any{f.key: f.value.Interface()}, "."), nil)
			continue
		}
		for name, element := range f.value.Seq2() {
			for _, inner := range f.element {
				at := f.key + "." + name.String() + "." + inner.key
				_ = l.k.Load(confmap.Provider(map[string]any{at: inner.of(element).Interface()}, "."), nil)
			}
		}
	}
}

func (l *loader) env(environ, reserved []string) {
	byName := map[string]*field{}
	for _, f := range l.c.allFields() {
		byName[f.env()] = f
	}
	for _, entry := range environ {
		name, raw, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, Prefix) || slices.Contains(reserved, name) {
			continue
		}
		f, ok := byName[name]
		if !ok {
			e := errs.New(errs.Invalid, "环境变量不对应任何配置项", "the environment variable names no configuration key").
				WithCode("config.unknown-env").WithField(name)
			if near := nearest(name, byName); near != "" {
				e.WithHint("是否应为 "+near, "did you mean "+near+"?")
			}
			l.report(e)
			continue
		}
		l.text(f, raw, Source{Kind: "env", Name: name}, name)
	}
}

func (l *loader) flags(fs *pflag.FlagSet) {
	if fs == nil {
		return
	}
	for _, f := range l.c.allFields() {
		if flag := fs.Lookup(f.key); flag != nil && flag.Changed {
			l.text(f, flag.Value.String(), Source{Kind: "flag", Name: "--" + f.key}, "--"+f.key)
		}
	}
}

// text enters a value given as text; shown is how messages call its place.
func (l *loader) text(f *field, raw string, from Source, shown string) {
	value, e := fromText(f.typ, raw)
	if e != nil {
		l.report(e.WithCode("config.type").WithField(shown))
		return
	}
	l.set(f.key, value, from)
}

// fill decodes each section into a fresh struct and lets it validate itself.
func (l *loader) fill() {
	for _, s := range l.c.sections {
		target := reflect.New(s.typ).Interface()
		err := l.k.UnmarshalWithConf(s.name, target, koanf.UnmarshalConf{DecoderConfig: decoder(target)})
		if err != nil {
			l.report(errs.Wrap(err, errs.Internal, "配置无法读入", "the configuration cannot be read").WithField(s.name))
			continue
		}
		l.c.values[s.name] = target
		v, ok := target.(interface{ Validate() error })
		if !ok {
			continue
		}
		if err := v.Validate(); err != nil {
			l.report(l.invalid(s, err))
		}
	}
}

// invalid places what Validate says: in its section, and at the line where the value was written.
func (l *loader) invalid(s *section, err error) *errs.Error {
	said := errs.As(err)
	e := *said
	if errs.Is(err, errs.Internal) { // a plain error: its words are the program's own
		e = *errs.New(errs.Invalid, err.Error(), err.Error())
	}
	e.Kind = errs.Invalid
	e.Field = strings.TrimSuffix(s.name+"."+e.Field, ".")
	if from := l.c.sources[e.Field]; from.Line > 0 && e.Line == 0 {
		e.Line = from.Line
	}
	return &e
}

func (c *Config) allFields() []*field {
	var all []*field
	for _, s := range c.sections {
		for _, f := range s.fields {
			if !f.dynamic {
				all = append(all, f)
			}
		}
	}
	return all
}

// BindFlags registers a flag --section.field for every field of sections that can be written in one line, with words
// in the language of usage.
func BindFlags(fs *pflag.FlagSet, sections []Section, usage func(zh, en string) string) error {
	described, err := describe(sections)
	if err != nil {
		return err
	}
	c := &Config{sections: described}
	for _, f := range c.allFields() {
		shown := toText(f.value)
		if f.secret {
			shown = ""
		}
		flag := fs.VarPF(&rawFlag{text: shown, kind: f.typ.String()}, f.key, "", usage(f.zh, f.en))
		if f.typ.Kind() == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	}
	return nil
}

// rawFlag keeps the text; Load reads it, so that flags, variables and file are read by one rule.
type rawFlag struct{ text, kind string }

func (f *rawFlag) Set(text string) error { f.text = text; return nil }
func (f *rawFlag) String() string        { return f.text }
func (f *rawFlag) Type() string          { return f.kind[strings.LastIndexByte(f.kind, '.')+1:] }

func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
		return nil, errs.Wrap(err, errs.NotFound, "找不到配置文件", "the configuration file does not exist").WithField(path)
	case err != nil:
		return nil, errs.Wrap(err, errs.Invalid, "无法读取配置文件", "the configuration file cannot be read").WithField(path)
	}
	return data, nil
}
