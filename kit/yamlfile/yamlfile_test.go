package yamlfile

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

type shop struct {
	Name  string   `yaml:"name"`
	Opens Duration `yaml:"opens"`
	Items []struct {
		Price int `yaml:"price"`
	} `yaml:"items"`
}

func parse(data []byte) (*shop, error) {
	s := &shop{}
	root, err := Decode(data, s)
	if err != nil {
		return nil, err
	}
	var f Findings
	for i, item := range s.Items {
		if item.Price < 0 {
			line, field := Find(root, "items", i, "price")
			f.Add(line, field, "不能为负", "must not be negative")
		}
	}
	return s, f.Err()
}

func TestFindings(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\nopens: 8h\nitems: [{price: 1}]":                          "",
		"name: a\nitems:\n  - price: 1\n  - price: -1\n  - {x: 1}":         "f:5: the YAML can't be read: field x not found in type struct { Price int \"yaml:\\\"price\\\"\" }",
		"name: a\nitems:\n  - price: 1\n  - price: -1\n  -\n    price: -2": "f:4: items[1].price: must not be negative\nf:6: items[2].price: must not be negative",
		"name: a\nopens: soon":                                             "f:2: must be a positive duration such as 90s, 15m or 72h",
		"name: a\nopens: -1h":                                              "f:2: must be a positive duration such as 90s, 15m or 72h",
		"name: [a]\nitems: x":                                              "f:1: the YAML can't be read: cannot unmarshal !!seq into string\nf:2: the YAML can't be read: cannot unmarshal !!str `x` into []struct { Price int \"yaml:\\\"price\\\"\" }",
		"name: a\n---\nname: b":                                            "f:1: a file holds one definition",
		"name: a: b":                                                       "f:1: the YAML can't be read: mapping values are not allowed in this context",
		"":                                                                 "f:1: the YAML can't be read: EOF",
	} {
		_, err := parse([]byte(text))
		var got strings.Builder
		if err != nil {
			Tell(&got, "f", err, lang.EN)
		}
		if strings.TrimSpace(got.String()) != want {
			t.Errorf("%q:\n%swant\n%s", text, &got, want)
		}
	}
}

func TestFindGoesAsFarAsThereIs(t *testing.T) {
	root, err := Decode([]byte("a:\n  b:\n    - c"), new(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path  []any
		line  int
		field string
	}{
		{nil, 1, ""}, {[]any{"a"}, 1, "a"}, {[]any{"a", "b"}, 2, "a.b"}, {[]any{"a", "b", 0}, 3, "a.b[0]"}, {[]any{"a", "b", 7, "x"}, 2, "a.b[7].x"}, {[]any{"z"}, 1, "z"},
	} {
		if line, field := Find(root, tc.path...); line != tc.line || field != tc.field {
			t.Errorf("%v: %d %s", tc.path, line, field)
		}
	}
}

func TestLoad(t *testing.T) {
	name := func(s *shop) string { return s.Name }
	files := fstest.MapFS{"b.yaml": {Data: []byte("name: b")}, "a.yaml": {Data: []byte("name: a")}, "c.yml": {Data: []byte("x: y")}}
	all, err := Load(files, "/shops", parse, name)
	if err != nil || len(all) != 2 || all[0].Name != "a" {
		t.Errorf("%v, %v", all, err)
	}
	files["d.yaml"] = &fstest.MapFile{Data: []byte("name: a")}
	if _, err := Load(files, "/shops", parse, name); err == nil || !strings.Contains(err.Error(), "d.yaml and a.yaml") {
		t.Errorf("one name twice: %v", err)
	}
	files["d.yaml"] = &fstest.MapFile{Data: []byte("nome: a")}
	if _, err := Load(files, "/shops", parse, name); errs.As(err).Field != "/shops/d.yaml" || errs.As(err).Line != 1 {
		t.Errorf("a bad file: %v", err)
	}
	if _, err := Load(fstest.MapFS{}, "shops", parse, name); errs.As(err).Field != "shops" {
		t.Errorf("an empty folder: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name: a\nopens: 8h\nitems: [{price: -1}]")
	f.Add("a: &x {b: *x}")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parse([]byte(text)); err != nil && (errs.KindOf(err) != errs.Invalid || errs.As(err).Line < 1) {
			t.Fatalf("%v", err)
		}
	})
}
