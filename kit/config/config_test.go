package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func english(_, en string) string { return en }

// load reads file (YAML text; none where empty), variables and arguments.
func load(t *testing.T, file string, env []string, args ...string) (*config.Config, error) {
	t.Helper()
	o := config.Options{Env: env}
	if file != "" {
		o.File = filepath.Join(t.TempDir(), "qiong.yaml")
		if err := os.WriteFile(o.File, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	if err := config.BindFlags(fs, sections(), english); err != nil {
		t.Fatal(err)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	o.Flags = fs
	return config.Load(sections(), o)
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "", []string{"PATH=/bin", "QIONG_LANG=zh", "QIONG_POSTGRES=x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections() {
		if got := c.Get(s.Name); !reflect.DeepEqual(got, s.Defaults) {
			t.Errorf("%s: %+v, want %+v", s.Name, got, s.Defaults)
		}
	}
}

func TestPrecedence(t *testing.T) {
	const file = "server:\n  timeout: 10s\n  listen: file:1\n  max-body: 2MiB\n  limit:\n    rate: 7\n"
	env := []string{"QIONG_SERVER_LISTEN=env:1", "QIONG_SERVER_TIMEOUT=20s", "QIONG_SERVER_LIMIT_BURST=9", "QIONG_SERVER_HOSTS=x.test, y.test"}
	c, err := load(t, file, env, "--server.listen=flag:1", "--server.debug")
	if err != nil {
		t.Fatal(err)
	}
	s := config.Of[server](c, "server")
	if s.Listen != "flag:1" || s.Timeout != 20*time.Second || s.MaxBody != 2<<20 || s.Limit != (limit{7, 9}) ||
		!s.Debug || s.Share != 0.5 || !reflect.DeepEqual(s.Hosts, []string{"x.test", "y.test"}) {
		t.Errorf("%+v", s)
	}
	for key, want := range map[string]string{
		"server.listen": "flag --server.listen", "server.timeout": "env QIONG_SERVER_TIMEOUT",
		"server.max-body": "qiong.yaml:4", "server.limit.rate": "qiong.yaml:6", "server.share": "default",
	} {
		if got := c.Source(key).String(); !strings.HasSuffix(got, want) {
			t.Errorf("%s from %s, want %s", key, got, want)
		}
	}
}

func TestDefaultsAreNotChanged(t *testing.T) {
	shared := sections()
	if _, err := config.Load(shared, config.Options{Env: []string{"QIONG_SERVER_LISTEN=x", "QIONG_SERVER_HOSTS=z"}}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(shared[0].Defaults, sections()[0].Defaults) {
		t.Errorf("Load changed the defaults: %+v", shared[0].Defaults)
	}
}

func TestMapOfStructs(t *testing.T) {
	c, err := load(t, "agencies:\n  of:\n    tax:\n      timeout: 5s\n    seal:\n      url: http://seal.test\n      retry: {times: 3}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	of := config.Of[agencies](c, "agencies").Of
	if of["tax"].URL != "http://127.0.0.1:1" || of["tax"].Timeout != 5*time.Second || of["seal"].URL != "http://seal.test" || of["seal"].Retry.Times != 3 {
		t.Errorf("%+v", of)
	}
}

func TestErrorsNameTheirPlace(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env, args  []string
		code       string
		field      string
		line       int
		hint       string
	}{
		{name: "unknown section", file: "# c\nsrver:\n  listen: geheim\n", code: "config.unknown-key", field: "srver", line: 2, hint: "server"},
		{name: "unknown key", file: "server:\n  timeout: 1s\n  listn: geheim\n", code: "config.unknown-key", field: "server.listn", line: 3, hint: "listen"},
		{name: "unknown nested", file: "server:\n  limit:\n    rat: 1\n", code: "config.unknown-key", field: "server.limit.rat", line: 3, hint: "rate"},
		{name: "unknown in a map", file: "agencies:\n  of:\n    x:\n      urll: geheim\n", code: "config.unknown-key", field: "agencies.of.x.urll", line: 4, hint: "url"},
		{name: "hidden field", file: "server:\n  Hidden: geheim\n", code: "config.unknown-key", field: "server.Hidden", line: 2},
		{name: "duplicate", file: "server:\n  listen: a\n  listen: geheim\n", code: "config.duplicate", field: "server.listen", line: 3},
		{name: "duration", file: "server:\n\n  timeout: geheim\n", code: "config.type", field: "server.timeout", line: 3},
		{name: "bare number as duration", file: "server:\n  timeout: 30\n", code: "config.type", field: "server.timeout", line: 2},
		{name: "size", file: "server:\n  max-body: 8 geheim\n", code: "config.type", field: "server.max-body", line: 2},
		{name: "size overflow", file: "server:\n  max-body: 99999999TiB\n", code: "config.type", field: "server.max-body", line: 2},
		{name: "list", file: "server:\n  hosts: geheim\n", code: "config.type", field: "server.hosts", line: 2},
		{name: "list item", file: "server:\n  hosts:\n    - a\n    - 1\n", code: "config.type", field: "server.hosts", line: 4},
		{name: "number for text", file: "server:\n  listen: 8460\n", code: "config.type", field: "server.listen", line: 2},
		{name: "null", file: "server:\n  listen:\n", code: "config.type", field: "server.listen", line: 2},
		{name: "mapping for text", file: "server:\n  listen: {geheim: 1}\n", code: "config.type", field: "server.listen", line: 2},
		{name: "text for mapping", file: "server: geheim\n", code: "config.type", field: "server", line: 1},
		{name: "range", file: "server:\n  limit:\n    rate: 70000\n", code: "config.type", field: "server.limit.rate", line: 3},
		{name: "bool", file: "server:\n  debug: geheim\n", code: "config.type", field: "server.debug", line: 2},
		{name: "validation", file: "server:\n  limit:\n    burst: -1\n", field: "server.limit.burst", line: 3},
		{name: "syntax", file: "server:\n  listen: \"geheim\n", code: "config.yaml", line: 2},
		{name: "two documents", file: "server:\n---\nserver:\n", code: "config.yaml", line: 2},
		{name: "dotted name", file: "agencies:\n  of:\n    a.b: {}\n", code: "config.name", field: "agencies.of", line: 3},
		{name: "unknown variable", env: []string{"QIONG_SERVER_LISTN=geheim"}, code: "config.unknown-env", field: "QIONG_SERVER_LISTN", hint: "QIONG_SERVER_LISTEN"},
		{name: "variable of a wrong type", env: []string{"QIONG_SERVER_TIMEOUT=geheim"}, code: "config.type", field: "QIONG_SERVER_TIMEOUT"},
		{name: "flag of a wrong type", args: []string{"--server.limit.rate=geheim"}, code: "config.type", field: "--server.limit.rate"},
	} {
		_, err := load(t, c.file, c.env, c.args...)
		if err == nil {
			t.Errorf("%s: passed", c.name)
			continue
		}
		e := errs.As(err)
		if e.Kind != errs.Invalid || e.Code != c.code || c.field != "" && e.Field != c.field || e.Line != c.line {
			t.Errorf("%s: %s %s %q line %d: %v", c.name, e.Kind, e.Code, e.Field, e.Line, err)
		}
		if c.hint != "" && !strings.Contains(e.Hint.EN, c.hint) {
			t.Errorf("%s: hint %q, want %s", c.name, e.Hint.EN, c.hint)
		}
		if strings.Contains(err.Error(), "geheim") || strings.Contains(e.In(lang.ZH), "geheim") {
			t.Errorf("%s: echoes the value: %v", c.name, err)
		}
	}
}

func TestAllFindingsAtOnce(t *testing.T) {
	_, err := load(t, "server:\n  a: 1\n  timeout: x\n", []string{"QIONG_X=1"}, "--server.share=x")
	if e := errs.As(err); len(e.Also) != 3 {
		t.Errorf("%d further findings: %v", len(e.Also), e.Also)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := config.Load(sections(), config.Options{File: filepath.Join(t.TempDir(), "none.yaml")})
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, file := range []string{"\n", "# nothing\n", "server:\n"} {
		if _, err := load(t, file, nil); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestTemplate(t *testing.T) {
	for _, l := range []lang.Lang{lang.ZH, lang.EN} {
		var b bytes.Buffer
		if err := config.Print(&b, sections(), l); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/template." + string(l) + ".yaml")
		if err != nil || b.String() != string(want) {
			t.Errorf("template in %s (%v):\n%s", l, err, &b)
		}
		c, err := load(t, b.String(), nil)
		if err != nil {
			t.Fatalf("the template is refused: %v", err)
		}
		for _, s := range sections() {
			if got := c.Get(s.Name); !reflect.DeepEqual(got, s.Defaults) {
				t.Errorf("%s read back: %+v, want %+v", s.Name, got, s.Defaults)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	c, err := load(t, "server:\n  key: geheim\nagencies:\n  of:\n    tax:\n      secret: geheim\n", []string{"QIONG_SERVER_DEBUG=true"})
	if err != nil {
		t.Fatal(err)
	}
	var table, machine bytes.Buffer
	if err := c.Explain(&table, lang.ZH); err != nil {
		t.Fatal(err)
	}
	if err := c.ExplainJSON(&machine, lang.EN); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(table.String()+machine.String(), "geheim") {
		t.Errorf("a secret is shown:\n%s%s", &table, &machine)
	}
	for _, want := range []string{"监听地址", "环境变量 QIONG_SERVER_DEBUG", "默认", "1h30m", config.Hidden, "qiong.yaml:2"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %s:\n%s", want, &table)
		}
	}
	var settings []config.Setting
	if err := json.Unmarshal(machine.Bytes(), &settings); err != nil {
		t.Fatal(err)
	}
	found := map[string]config.Setting{}
	for _, s := range settings {
		found[s.Key] = s
	}
	if s := found["agencies.of.tax.secret"]; s.Value != config.Hidden || s.Source.Line != 6 {
		t.Errorf("%+v", s)
	}
	if s := found["server.max-body"]; s.Value != "8MiB" || s.About != "The largest request body." || s.Env != "QIONG_SERVER_MAX_BODY" {
		t.Errorf("%+v", s)
	}
}

func TestFlagsAreExplained(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	if err := config.BindFlags(fs, sections(), func(zh, _ string) string { return zh }); err != nil {
		t.Fatal(err)
	}
	if f := fs.Lookup("server.limit.rate"); f == nil || f.Usage != "每秒请求数" || f.DefValue != "100" {
		t.Errorf("%+v", f)
	}
}

func TestDefectiveSections(t *testing.T) {
	type untagged struct{ A int }
	type strange struct {
		A chan int `koanf:"a"`
	}
	type clash struct {
		A int `koanf:"x-y"`
		B struct {
			Y int `koanf:"y"`
		} `koanf:"x"`
	}
	for name, s := range map[string]config.Section{
		"no pointer": {Name: "a", Defaults: server{}}, "no tag": {Name: "a", Defaults: &untagged{}}, "type": {Name: "a", Defaults: &strange{}},
		"dotted": {Name: "a.b", Defaults: &server{}}, "one variable for two": {Name: "a", Defaults: &clash{}},
		"source": {Name: "a", Defaults: &server{}, Source: "not Go"},
	} {
		if _, err := config.Load([]config.Section{s}, config.Options{}); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
	twice := []config.Section{{Name: "a", Defaults: &server{}}, {Name: "a", Defaults: &server{}}}
	if _, err := config.Load(twice, config.Options{}); err == nil {
		t.Error("one name for two sections passed")
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]config.Bytes{"0": 0, "512": 512, "512B": 512, "1KiB": 1024, "3 MiB": 3 << 20, "1TiB": 1 << 40} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q = %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "1MB", "KiB", "9999999999TiB", "0x10"} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q = %d", text, b)
		}
	}
}

func FuzzBytes(f *testing.F) {
	f.Add("8MiB")
	f.Fuzz(func(t *testing.T, text string) {
		var b, back config.Bytes
		if b.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(b.String())); err != nil || back != b || b < 0 {
			t.Fatalf("%q: %d is written %q and read %d, %v", text, int64(b), b, int64(back), err)
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add("server:\n  hosts: [a]\n  limit: &a {rate: 1}\n")
	f.Add("agencies: {of: {x: {url: y}}}")
	path := filepath.Join(f.TempDir(), "f.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(sections(), config.Options{File: path})
		if err != nil {
			if e := errs.As(err); e.Kind != errs.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if err := c.Explain(&bytes.Buffer{}, lang.ZH); err != nil {
			t.Fatal(err)
		}
	})
}
