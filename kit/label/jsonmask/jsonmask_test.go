package jsonmask_test

import (
	"testing"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
)

func masker(t testing.TB, o jsonmask.Options) *jsonmask.Masker {
	t.Helper()
	m, err := jsonmask.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var rules = []jsonmask.Rule{
	{Path: "data.items.idCard", Mask: label.Keep(3, 4)},
	{Path: "**.name", Mask: label.Keep(1, 0)},
	{Path: "secret", Mask: label.MaskDrop},
	{Path: "a.*.c", Mask: label.MaskAll},
	{Path: "open", Pass: true},
}

func TestByPath(t *testing.T) {
	m := masker(t, jsonmask.Options{Rules: rules})
	for in, want := range map[string]string{
		`{"data":{"items":[{"idCard":"11010519491231002X","x":1}]}}`:             `{"data":{"items":[{"idCard":"110***********002X","x":1}]}}`,
		`{"data":{"items":[[{"IDCARD":"11010519491231002X"}]]}}`:                 `{"data":{"items":[[{"IDCARD":"110***********002X"}]]}}`,
		`{"data":{"items":{"\u0069dCard":"\u0031\u003101051949123100\u0032X"}}}`: `{"data":{"items":{"\u0069dCard":"110***********002X"}}}`,
		`{"idCard":"11010519491231002X"}`:                                        `{"idCard":"11010519491231002X"}`,
		`{"name":"王小明","x":{"y":[{"name":"𠮷田"}]}}`:                               `{"name":"王**","x":{"y":[{"name":"𠮷*"}]}}`,
		`{"secret":"x","secrets":"y","open":{"name":"a"}}`:                       `{"secret":null,"secrets":"y","open":{"name":"*"}}`,
		`{"a":{"b":{"c":{"d":[1,"x",true,null,""]}}}}`:                           `{"a":{"b":{"c":{"d":["******","******",null,null,""]}}}}`,
		` [ { "secret" : 12 } , 3.5e-7 ] `:                                       ` [ { "secret" : null } , 3.5e-7 ] `,
		`{"secret":{"deep":{"deeper":"x"}}}`:                                     `{"secret":{"deep":{"deeper":null}}}`,
		"{\"name\":\"a\"}\n{\"name\":\"bc\"}\n":                                  "{\"name\":\"*\"}\n{\"name\":\"b*\"}\n",
	} {
		got, err := m.Append(nil, []byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s\n got %s, %v\nwant %s", in, got, err, want)
		}
	}
}
