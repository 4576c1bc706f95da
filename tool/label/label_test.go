package label_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	known "github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/label"
)

// run calls the tool with flags by name and value.
func run(t *testing.T, flags map[string]string, args ...string) (string, error) {
	t.Helper()
	var out, complaints bytes.Buffer
	c := &qiong.Console{In: strings.NewReader(""), Out: &out, Err: &complaints, Lang: lang.EN, Flags: pflag.NewFlagSet("label", pflag.ContinueOnError)}
	label.Tool.Flags(c.Flags, c.Say)
	for name, value := range flags {
		if err := c.Flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	err := label.Tool.Run(context.Background(), c, args)
	return out.String(), err
}

// folder writes files into a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const source = `package people

import "time"

type Page[T any] struct {
	Items []T    ` + "`json:\"items\"`" + `
	Next  string ` + "`json:\"next\" grade:\"L1\"`" + `
}

type Person struct {
	Base
	Name  string    ` + "`json:\"name\" grade:\"L2,pii=name\"`" + `
	Phone string    ` + "`json:\"phone\"`" + `
	Born  time.Time ` + "`json:\"born\"`" + `
	Where Place     ` + "`json:\"where\"`" + `
	Other struct {
		X, Y int
	} ` + "`json:\"other\" grade:\"L1\"`" + `
	Wrong string ` + "`json:\"wrong\" grade:\"L9\"`" + `
	Gone  string ` + "`json:\"-\"`" + `
	inner string
}

type Place struct {
	_    struct{} ` + "`grade:\"L3,pii=location\"`" + `
	Town string   ` + "`json:\"town\"`" + `
}

type plain struct{ A string }
`

func TestScanFindsUngradedFieldsOfGoSource(t *testing.T) {
	dir := folder(t, map[string]string{"people/people.go": source, "people/people_test.go": "package people\n\ntype T struct {\n\tA string `json:\"a\"`\n}\n"})
	out, err := run(t, nil, "scan", dir)
	if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "3 findings") {
		t.Errorf("%v", err)
	}
	file := filepath.Join(dir, "people/people.go")
	want := file + ":13:2: ungraded Person.phone, perhaps L2,pii=phone\n" +
		file + ":14:2: ungraded Person.born\n" +
		file + ":19:2: ungraded Person.wrong\n"
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestScanFindsNumbersAndNeverPrintsThem(t *testing.T) {
	long := strings.Repeat(`"海南",`, 200_000)
	dir := folder(t, map[string]string{
		"a.csv":              "姓名,证件\n王小明,11010519491231002X\n",
		"b.json":             `{"a":"\u0031\u0031010519491231002X","n":13800000000}`,
		"c.txt":              "fake " + known.FakeIDCard(1) + "\n\n  call 138-0000-0000\n",
		"d.json":             "[" + long + `"11010519491231002X"]`,
		"e.bin":              "\x00 11010519491231002X",
		".git/x":             "11010519491231002X",
		"node_modules/x/y.z": "11010519491231002X",
	})
	out, err := run(t, nil, "scan", dir)
	if !errs.Is(err, errs.Conflict) {
		t.Errorf("%v", err)
	}
	want := ""
	for _, line := range []string{"a.csv:2:5: id_card 110***********002X", "b.json:1:7: id_card 110***********002X", "b.json:1:41: phone 138****0000",
		"c.txt:3:8: phone 138******0000", "d.json:1:1000003: id_card 110***********002X"} {
		want += filepath.Join(dir, line) + "\n"
	}
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestNothingFound(t *testing.T) {
	if out, err := run(t, nil, "scan", folder(t, map[string]string{"a.txt": "nothing\n"})); err != nil || out != "" {
		t.Errorf("%q, %v", out, err)
	}
}

const document = `{"openapi":"3.1.0","paths":{
 "/api/people/{id}":{"parameters":[],"get":{"x-data-grade":"L3","operationId":"g","parameters":[{"name":"id","in":"path","x-data-grade":"L2","x-data-category":"account","schema":{"type":"string"}}],
  "responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Person"}}}},"default":{"content":{"application/problem+json":{"schema":{"type":"object","properties":{"title":{"type":"string"}}}}}}}}},
 "/other":{"post":{"tags":["x"],"requestBody":{"content":{"application/json":{"schema":{"type":"array","items":{"type":["null","integer"]}}}}},"responses":{"204":{}}}}},
 "components":{"schemas":{"Person":{"type":"object","additionalProperties":false,"properties":{
  "idCard":{"type":"string","x-data-grade":"L3","x-data-category":"id_card","x-data-mask":"3-4"},"title":{"$ref":"#/components/schemas/Text","x-data-grade":"L1"},
  "phone":{"type":"string"},"next":{"$ref":"#/components/schemas/Person"},"by":{"type":"object","additionalProperties":{"type":"number","x-data-grade":"L1"}}}},
  "Text":{"type":"object","properties":{"zh":{"type":"string"}}}}}}`

func TestReportOfARunningHouse(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/openapi.json" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(document))
	}))
	defer s.Close()
	out, err := run(t, map[string]string{"format": "csv"}, "report", s.URL)
	want := `service,API,direction,field,type,category,class,grade,mask
people,GET /api/people/{id},request,path id,string,account,personal,L2,2-2
people,GET /api/people/{id},response,by.*,number,,,L1,
people,GET /api/people/{id},response,idCard,string,id_card,sensitive,L3,3-4
people,GET /api/people/{id},response,phone,string,,,ungraded,
people,GET /api/people/{id},response,title.zh,string,,,L1,
x,POST /other,,,,,,ungraded,
x,POST /other,request,*,integer,,,ungraded,
`
	if err != nil || out != want {
		t.Errorf("%v, got\n%s", err, out)
	}
	out, err = run(t, nil, "scan", s.URL+"/")
	if !errs.Is(err, errs.Conflict) || out != "GET /api/people/{id}: ungraded response phone, perhaps L2,pii=phone\nPOST /other: ungraded *\nPOST /other: ungraded request *\n" {
		t.Errorf("%v, got\n%s", err, out)
	}
	if _, err := run(t, nil, "scan", s.URL+"/absent"); !errs.Is(err, errs.NotFound) {
		t.Errorf("%v", err)
	}
}

func TestScanOfJSONByURL(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"x":"11010519491231002X"}`)) }))
	defer s.Close()
	if out, err := run(t, nil, "scan", s.URL+"/data"); !errs.Is(err, errs.Conflict) || out != s.URL+"/data:1:7: id_card 110***********002X\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestReportOfGoSource(t *testing.T) {
	dir := folder(t, map[string]string{"people/people.go": source})
	out, err := run(t, nil, "report", filepath.Join(dir, "people"))
	for _, want := range []string{"| Person.name | string | name | personal | L2 | 1-0 |", "| Place.town | string | location | sensitive | L3 | all |",
		"| Person.other.X | int |  |  | L1 |  |", "| Person.born | time.Time |  |  | ungraded |  |"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
	if err != nil || !strings.HasPrefix(out, "| service | API |") || strings.Contains(out, "Person.where") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run(t, map[string]string{"format": "json"}, "report", dir); err != nil || !strings.Contains(out, `"class": "personal"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestBadInput(t *testing.T) {
	dir := folder(t, map[string]string{"bad/a.go": "package", "x.json": "{}", "catalog.yaml": "categories: 1\n"})
	for _, c := range []struct {
		flags map[string]string
		args  []string
		kind  errs.Kind
	}{
		{nil, []string{"dance", dir}, errs.Invalid},
		{nil, []string{"scan", "/no/such/folder"}, errs.NotFound},
		{nil, []string{"report", filepath.Join(dir, "x.json")}, errs.Invalid},
		{nil, []string{"report", filepath.Join(dir, "bad")}, errs.Invalid},
		{map[string]string{"format": "pdf"}, []string{"report", folder(t, nil)}, errs.Invalid},
		{map[string]string{"catalog": filepath.Join(dir, "catalog.yaml")}, []string{"scan", dir}, errs.Invalid},
		{map[string]string{"catalog": "/no/such/file"}, []string{"scan", dir}, errs.NotFound},
		{nil, []string{"scan", "http://127.0.0.1:1/x"}, errs.Unavailable},
	} {
		if _, err := run(t, c.flags, c.args...); !errs.Is(err, c.kind) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}
