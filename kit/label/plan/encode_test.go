package plan_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/plan"
)

type named string

type shouting string

func (s shouting) MarshalText() ([]byte, error) { return []byte(s + "!"), nil }

type inner struct {
	X string  `json:"x,omitempty" grade:"L2,pii=name"`
	Y *int    `json:"y,omitempty" grade:"L3"`
	Z float32 `json:"z" grade:"L1"`
}

type every struct {
	inner
	*Other
	S   string                `grade:"L1"`
	N   named                 `json:"n" grade:"L2,mask=all"`
	M   shouting              `json:"m,omitempty" grade:"L2"`
	B   bool                  `json:"b,omitempty" grade:"L1"`
	I   int8                  `json:"i,omitempty" grade:"L3"`
	U   uint64                `json:"u" grade:"L1"`
	F   float64               `json:"f" grade:"L1"`
	T   time.Time             `json:"t" grade:"L2"`
	IP  netip.Addr            `json:"ip,omitempty" grade:"L2"`
	P   *string               `json:"p,omitempty" grade:"L3,mask=1-1"`
	PP  **inner               `json:"pp,omitempty"`
	L   []inner               `json:"l,omitempty"`
	LL  [][]string            `json:"ll" grade:"L2,mask=1-0"`
	A   [2]inner              `json:"a"`
	E   [0]string             `json:"e,omitempty" grade:"L1"`
	By  []byte                `json:"by,omitempty" grade:"L3"`
	Map map[string]inner      `json:"map,omitempty" grade:"L1"`
	Ids map[string]string     `json:"ids,omitempty" grade:"L3"`
	R   json.RawMessage       `json:"r,omitempty" grade:"L2,mask=detect"`
	Any any                   `json:"any,omitempty" grade:"L2"`
	Sub struct{ Q, W string } `json:"sub" grade:"L2,mask=1-0"`
}

type Other struct {
	O string `json:"o" grade:"L4,mask=2-0"`
}

// same compares Marshal with encoding/json of what Mask returns, for every clearance.
func same(t *testing.T, p *plan.Plan, v any) {
	t.Helper()
	for c := label.Ungraded; c <= label.Core; c++ {
		shown, err := p.Mask(v, c)
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := json.Marshal(shown)
		got, gotErr := p.Marshal(v, c)
		if (gotErr == nil) != (wantErr == nil) || string(got) != string(want) {
			t.Errorf("%s:\n got %s, %v\nwant %s, %v", c, got, gotErr, want, wantErr)
		}
	}
}

func TestMarshalIsEncodingJSON(t *testing.T) {
	n, s := 5, "<a>&\u2028\u2029\"\\\b\f\n\r\t\x00\x7f\xff\xe4\xb8䶮𠮷\xe2\x80"
	in := &inner{X: s, Y: &n, Z: 1e-9}
	full := every{
		inner: *in, Other: &Other{O: "abc"}, S: s, N: "n", M: "m", B: true, I: -3, U: math.MaxUint64, F: 1e21, T: time.Unix(0, 1).UTC(),
		IP: netip.MustParseAddr("10.0.0.1"), P: &s, PP: &in, L: []inner{*in, {}}, LL: [][]string{nil, {}, {"ab", ""}}, A: [2]inner{1: *in},
		By: []byte("x"), Map: map[string]inner{"b": *in, "a": {}}, Ids: map[string]string{"x": "y"}, R: json.RawMessage(` { "a" : "<13800000000>" } `),
		Any: map[string]any{"x": []int{1}},
	}
	full.Sub.Q = "小明"
	p := made(t, every{})
	empty, broken, odd := every{}, full, full
	broken.R = json.RawMessage(`{`)
	odd.F, odd.L, odd.P = math.NaN(), []inner{}, new(string)
	for _, v := range []every{full, empty, broken, odd} {
		same(t, p, v)
		same(t, p, &v)
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, 0.1, 1e-6, 9.9e-7, 1e20, 123456789.125, math.Inf(1), -1e300} {
		same(t, p, every{F: f})
	}
	same(t, made(t, []inner{}), []inner(nil))
	same(t, made(t, []inner{}), []inner{{}, *in})
	same(t, made(t, person{}), sample())
	same(t, made(t, person{}), (*person)(nil))
}

// What the encoder leaves to encoding/json as a whole comes out masked all the same.
func TestOptionsThatEncodingJSONMustDo(t *testing.T) {
	type quoted struct {
		N int64     `json:"n,string" grade:"L1"`
		T time.Time `json:"t,omitzero" grade:"L2"`
		S string    `json:"s" grade:"L2,mask=1-0"`
	}
	type twice struct {
		inner
		X string `json:"x" grade:"L2,mask=all"`
	}
	same(t, made(t, quoted{}), quoted{7, time.Unix(0, 0).UTC(), "小明"})
	same(t, made(t, twice{}), twice{inner{X: "小明"}, "小明"})
}

func TestValuesThatHoldThemselvesEnd(t *testing.T) {
	v := &person{Name: "x"}
	v.Next = v
	p := made(t, person{})
	if _, err := p.Mask(v, label.L1); err == nil {
		t.Error("masked to the end")
	}
	if _, err := p.Marshal(v, label.L1); err == nil {
		t.Error("encoded to the end")
	}
	if _, err := p.Marshal("x", label.L1); err == nil {
		t.Error("a value of another type")
	}
}

func TestFields(t *testing.T) {
	var got []string
	for _, f := range made(t, every{}).Fields()[:6] {
		got = append(got, f.Path+" "+f.Tag.String())
	}
	want := []string{"x L2,pii=name,mask=1-0", "y L3,mask=drop", "z L1,mask=drop", "o L4,mask=2-0", "S L1,mask=all", "n L2,mask=all"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	for _, f := range made(t, person{}).Fields() {
		if f.Path == "**.next.idCard" || f.Path == "**.idCard" {
			return
		}
	}
	t.Errorf("%+v", made(t, person{}).Fields())
}

func FuzzMarshal(f *testing.F) {
	whole, err := json.Marshal(every{S: "<\u2028", L: []inner{{X: "王小明"}}, Map: map[string]inner{"a": {}}, R: json.RawMessage(`"13800000000"`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	p, err := plan.For[every](plan.New(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v every
		if json.Unmarshal(data, &v) == nil {
			same(t, p, v)
		}
	})
}
