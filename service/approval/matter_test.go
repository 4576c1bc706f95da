package approval

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// source is the embedded matter, which each case below spoils in one place.
func source(t testing.TB) string {
	t.Helper()
	data, err := embeddedMatters.ReadFile("matters/open-enterprise.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// lineOf returns the number of the first line that holds text.
func lineOf(t *testing.T, source, text string) int {
	t.Helper()
	for i, line := range strings.Split(source, "\n") {
		if strings.Contains(line, text) {
			return i + 1
		}
	}
	t.Fatalf("no line has %q", text)
	return 0
}

func TestParseMatter(t *testing.T) {
	m, err := ParseMatter([]byte(source(t)))
	if err != nil {
		t.Fatal(err)
	}
	d := m.definition()
	if len(d.Stages) != 2 || !d.Stages[0][0].Pivot || len(d.Stages[1]) != 4 || d.Deadline != 72*time.Hour {
		t.Errorf("definition: %+v", d)
	}
	if m.Attachments.Size != 20<<20 {
		t.Errorf("size: %d", m.Attachments.Size)
	}
}

func TestLintNamesLineAndField(t *testing.T) {
	good := source(t)
	for name, c := range map[string]struct{ old, new, at, field string }{
		"unknown key":         {"deadline: 72h", "dead-line: 72h", "dead-line", ""},
		"unknown key of step": {"    pivot: true", "    pivots: true", "pivots", "pivots"},
		"bad duration":        {"deadline: 72h", "deadline: soon", "deadline", ""},
		"bad size":            {"size: 20MiB", "size: big", "attachments:", ""},
		"bad agency name":     {"    agency: market", "    agency: Market!", "- name: registration", "registration.agency"},
		"unlisted agency":     {"    agency: market", "    agency: moon", "- name: registration", "registration.agency"},
		"unknown part":        {"send: [enterprise, legal, finance]", "send: [enterprise, nothing]", "- name: invoice", "invoice.send"},
		"no title":            {"title: {zh: 发票申领, en: Invoice set-up}", "title: {zh: 发票申领}", "- name: invoice", "invoice.title"},
		"name used twice":     {"- name: fund", "- name: seal", "resource: deposit-accounts", "seal"},
		"two pivots":          {"        resource: seals", "        resource: seals\n        pivot: true", "- name: seal", "seal"},
		"bad schema":          {"  type: object\n  additionalProperties: false\n  required: [enterprise, legal,", "  type: objekt\n  additionalProperties: false\n  required: [enterprise, legal,", "type: objekt", "form"},
		"foreign reference":   {`$ref: "#/$defs/person"`, `$ref: "http://127.0.0.1/x"`, "type: object", "form"},
		"subject not in form": {"subject: enterprise.name", "subject: nobody.name", "subject: nobody", "subject"},
		"version 0":           {"version: 1", "version: 0", "version: 0", "version"},
		"not YAML":            {"steps:", "steps: [", "", ""},
		"tab":                 {"  - parallel:", "\t- parallel:", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the matter has no %q", c.old)
			}
			bad := strings.Replace(good, c.old, c.new, 1)
			_, err := ParseMatter([]byte(bad))
			var e *errs.Error
			if !errors.As(err, &e) || e.Kind != errs.Invalid {
				t.Fatalf("got %v", err)
			}
			if e.Line == 0 || e.Msg.ZH == "" || e.Msg.EN == "" || e.Msg.ZH == e.Msg.EN && c.field != "form" {
				t.Errorf("no line or no words: %+v", e)
			}
			if c.field != "" && e.Field != c.field {
				t.Errorf("field %q, want %q", e.Field, c.field)
			}
			if c.at != "" {
				want := lineOf(t, bad, c.at)
				if e.Line < want-8 || e.Line > want+1 {
					t.Errorf("line %d, want about %d: %v", e.Line, want, e)
				}
			}
		})
	}
}

func TestAnUndoableStepIsNeededBeforeThePivot(t *testing.T) {
	bad := strings.Replace(source(t), "steps:\n", `steps:
  - name: name-check
    title: {zh: 名称核准, en: Name}
    agency: market
    resource: names
`, 1)
	_, err := ParseMatter([]byte(bad))
	if e := errs.As(err); e.Field != "name-check" || !strings.Contains(e.Msg.EN, "undo") {
		t.Errorf("got %v", err)
	}
}

func TestLoadMattersNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadMatters(dir); !errs.Is(err, errs.Invalid) {
		t.Errorf("an empty folder: %v", err)
	}
	for name, data := range map[string]string{"a.yaml": source(t), "b.yaml": source(t)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadMatters(dir); err == nil || !strings.Contains(err.Error(), "b.yaml and a.yaml") {
		t.Errorf("one matter in two files: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("matter: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMatters(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "a.yaml")) {
		t.Errorf("a bad file: %v", err)
	}
}

func TestCheckFileName(t *testing.T) {
	for name, ok := range map[string]bool{
		"章程.pdf": true, "𠮷 䶮（1）.pdf": true, "a.b.c": true,
		"": false, "..": false, ".": false, "a/b": false, `a\b`: false, "a\nb": false, "a\u202eb": false, ".x": false, "x ": false,
		"con:": false, "\xff": false, strings.Repeat("长", 201): false,
	} {
		if err := checkFileName(name); (err == nil) != ok {
			t.Errorf("checkFileName(%q) = %v", name, err)
		}
	}
}

func FuzzParseMatter(f *testing.F) {
	f.Add([]byte(source(f)))
	f.Add([]byte("matter: x\nversion: 1\nsteps:\n  - parallel: []\n"))
	f.Add([]byte("steps: [{parallel: 1}]\nform: {type: object}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMatter(data)
		if err != nil {
			if e := errs.As(err); e.Kind != errs.Invalid {
				t.Fatalf("an error of kind %s: %v", e.Kind, err)
			}
			return
		}
		if err := m.saga.Check(); err != nil {
			t.Fatalf("lint let through what the engine refuses: %v", err)
		}
	})
}
