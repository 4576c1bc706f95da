package strictjson

import (
	"encoding/json"
	"reflect"
	"testing"
)

type flatBody struct {
	Matter string          `json:"matter"`
	Form   json.RawMessage `json:"form"`
	Submit bool            `json:"submit,omitempty"`
	Kind   flatKind        `json:"kind"`
	Hidden string          `json:"-"`
	Plain  string
}

type flatKind string

func TestFillDoesWhatUnmarshalDoes(t *testing.T) {
	for _, doc := range []string{
		`{}`, ` { "matter" : "open-enterprise" , "form" : {"a": [1, "}"]} , "submit" : true } `,
		`{"matter":"\u8eab\ud842\udfb7\n","form":null,"submit":false,"kind":"a","Plain":"b"}`,
		`{"matter":null}`, `{"matter":1}`, `{"submit":"true"}`, `{"f\u006frm":{}}`, `{"form":"x"}`, `[]`, `null`, `{"Hidden":"x"}`,
	} {
		var got, want flatBody
		filled := Fill([]byte(doc), &got)
		if !filled {
			got = flatBody{}
		}
		if err := json.Unmarshal([]byte(doc), &want); filled && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%s: filled %+v, want %+v, %v", doc, got, want, err)
		}
	}
	var b flatBody
	if !Fill([]byte(`{"matter":"m","form":{"x":1},"submit":true,"kind":"k"}`), &b) || string(b.Form) != `{"x":1}` || b.Kind != "k" {
		t.Errorf("a plain body is not filled: %+v", b)
	}
}

func TestFillLeavesOtherTypesToUnmarshal(t *testing.T) {
	type inner struct{ A string }
	for _, v := range []any{new(int), new(any), new([]string), new(map[string]string), &struct{ inner }{}, &struct{ N int }{},
		&struct{ P *string }{}, &struct {
			S string `json:"s,string"`
		}{}, flatBody{}, (*flatBody)(nil), nil} {
		if Fill([]byte(`{"s":"x"}`), v) {
			t.Errorf("%T was filled", v)
		}
	}
}

func FuzzFill(f *testing.F) {
	f.Add([]byte(`{"matter":"m","form":{"x":[1,2]},"submit":true}`))
	f.Add([]byte(`{"matter":"\ud842\udfb7","form":1e9}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if Check(doc, Limits{}) != nil || Fields(doc, reflect.TypeFor[flatBody]()) != nil {
			return
		}
		var got, want flatBody
		if !Fill(doc, &got) {
			return
		}
		if err := json.Unmarshal(doc, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: filled %+v, want %+v, %v", doc, got, want, err)
		}
	})
}

func BenchmarkFill(b *testing.B) {
	doc := []byte(`{"matter":"open-enterprise","form":{"name":"海南𠮷祥商贸有限公司","people":[{"name":"张䶮","id":"460100199001011234"}],"capital":"1000000.00"},"submit":true}`)
	for _, fill := range []struct {
		name string
		f    func(any) bool
	}{{"fill", func(v any) bool { return Fill(doc, v) }}, {"encoding-json", func(v any) bool { return json.Unmarshal(doc, v) == nil }}} {
		b.Run(fill.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var v flatBody
				if !fill.f(&v) {
					b.Fatal("not filled")
				}
			}
		})
	}
}
