package scenario

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

const whole = `
name: market
target: http://127.0.0.1:8080
protocol: http1
connections: 100
workers: 2
timeout: 5s
seed: 7
variables: {shop: "island", deep: "${shop}-${n}"}
data:
  n: {kind: sequence, from: 5, width: 4}
  key: {kind: uuid}
  price: {kind: integer, from: -2, to: 2}
  region: {kind: choice, of: [HN, GD], weights: [3, 1]}
  turn: {kind: choice, of: [a, b], order: sequence}
  city: {kind: csv, file: cities.csv, order: sequence}
  person: {kind: id-card}
requests:
  - name: buy
    path: /shop/${shop}?q=${city.name}
    weight: 3
    headers: {X-Region: "${region}", X-City: "${city.name}", Idempotency-Key: "${key}"}
    body: '{"n":"${n}","again":"${n}","city":"${city.note}","price":${price},"person":"${person}","deep":"${deep}","literal":"$${n}"}'
    checks: [{status: [200, 201]}, {json: "items[0].id"}, {json: state, equals: ok}, {contains: id}, {lacks: error}]
    keep: {key: "${key}", field: id}
  - {name: look, path: "/turn/${turn}"}
phases:
  - {name: top, closed: {connections: 1, to: 64, for: 1s}}
  - {name: steady, open: {share: 0.5, for: 10s, arrivals: poisson}}
  - {name: rush, open: {steps: [{from: 0, to: 100, for: 1s}, {rate: 100, for: 2s}]}}
  - {name: ramp, open: {from: 10, to: 20, for: 1s}}
require: ["p99<=250ms"]
`

var files = fstest.MapFS{
	"cities.csv": {Data: []byte("\ufeffname,note\n海口,\"say \"\"hi\"\"\"\n三亚,back\\slash\n")},
	"bad.csv":    {Data: []byte("name,note\na,b\nc\n")},
	"none.csv":   {Data: []byte("name\n")},
	"odd.csv":    {Data: []byte("na me\nx\n")},
}

func compiled(t testing.TB, text string) (*Definition, *Program) {
	t.Helper()
	d, at, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Compile("127.0.0.1:8080", files, at)
	if err != nil {
		t.Fatal(err)
	}
	return d, p
}

func TestRequestsAreWhatWasWritten(t *testing.T) {
	d, p := compiled(t, whole)
	if got := d.Phases[2].Open.Schedule(0); got.Expected() != 250 || d.Phases[1].Open.Schedule(1000).Expected() != 5000 || !d.Phases[1].Open.Schedule(1).Poisson {
		t.Errorf("%+v", got)
	}
	request := regexp.MustCompile(`^POST /shop/island\?q=%E6%B5%B7%E5%8F%A3 HTTP/1\.1\r\nHost: 127\.0\.0\.1:8080\r\nIdempotency-Key: ([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\r\nX-City: 海口\r\nX-Region: (HN|GD)\r\nContent-Type: application/json\r\nContent-Length: (\d+)\r\n\r\n(.*)$`)
	s := p.Stream(0, 1, 7, nil)
	r := s.Next()
	for r.Kind() != 0 {
		r = s.Next()
	}
	m := request.FindStringSubmatch(string(r.AppendHTTP1(nil)))
	if m == nil {
		t.Fatalf("%q", r.AppendHTTP1(nil))
	}
	var body struct {
		N, Again, City, Person, Deep, Literal string
		Price                                 int
	}
	if err := json.Unmarshal([]byte(m[4]), &body); err != nil || fmt.Sprint(len(m[4])) != m[3] {
		t.Fatalf("%v; %d bytes, said %s: %s", err, len(m[4]), m[3], m[4])
	}
	if body.N != "0005" || body.Again != body.N || body.City != `say "hi"` || label.IDCard(body.Person) != nil || !label.IsFake(body.Person) || body.Deep != "island-0005" || body.Literal != "${n}" || body.Price < -2 || body.Price > 2 {
		t.Errorf("%+v", body)
	}
	if string(r.AppendTag(nil)) != m[1] || !r.NeedsBody() || r.Method() != "POST" || r.Path() != "/shop/island?q=%E6%B5%B7%E5%8F%A3" || string(r.AppendBody(nil)) != m[4] {
		t.Errorf("tag %q, path %q", r.AppendTag(nil), r.Path())
	}
}

func TestDrawingAllocatesNothing(t *testing.T) {
	d := Definition{Data: map[string]FeedDef{"key": {Kind: "uuid"}, "n": {Kind: "sequence"}, "r": {Kind: "choice", Of: []string{"a", "b"}}},
		Requests: []RequestDef{{Path: "/", Headers: map[string]string{"Idempotency-Key": "${key}", "X-Region": "${r}"}, Body: `{"n":"${n}"}`}}}
	p, err := d.Compile("h", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, buf := p.Stream(0, 1, 1, nil), make([]byte, 0, 1024)
	s.Next().AppendHTTP1(buf)
	if n := testing.AllocsPerRun(100, func() { s.Next().AppendHTTP1(buf) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Parts never draw the same number of a sequence or the same person, and a seed draws the same again.
func TestPartsDoNotMeet(t *testing.T) {
	_, p := compiled(t, strings.Replace(whole, "weight: 3", "weight: 1e9", 1))
	seen := map[string]bool{}
	for part := range 3 {
		a, b := p.Stream(part, 3, 7, nil), p.Stream(part, 3, 7, nil)
		for range 100 {
			one, two := string(a.Next().AppendHTTP1(nil)), string(b.Next().AppendHTTP1(nil))
			if one != two {
				t.Fatalf("%q and %q", one, two)
			}
			for _, re := range []string{`"n":"\d+"`, `"person":"\w+"`, `Idempotency-Key: \S+`} {
				value := regexp.MustCompile(re).FindString(one)
				if seen[value] {
					t.Fatalf("%s came twice", value)
				}
				seen[value] = true
			}
		}
	}
}

func TestWeights(t *testing.T) {
	_, p := compiled(t, whole)
	s := p.Stream(0, 1, 1, nil)
	var kinds [2]int
	regions := 0
	const n = 40_000
	for range n {
		r := s.Next()
		if kinds[r.Kind()]++; r.Kind() == 0 && strings.Contains(string(r.AppendHTTP1(nil)), "X-Region: HN") {
			regions++
		}
	}
	// Three quarters each; the seed is fixed, and the bounds five standard errors.
	if kinds[0] < n*3/4-440 || kinds[0] > n*3/4+440 || regions < kinds[0]*3/4-380 || regions > kinds[0]*3/4+380 {
		t.Errorf("%v, %d of them from HN", kinds, regions)
	}
}

func TestChecksAndKeeping(t *testing.T) {
	_, p := compiled(t, whole)
	for _, c := range []struct {
		status int
		body   string
		ok     bool
		kept   int
	}{
		{201, `{"id":"a","state":"ok","items":[{"id":"b"}]}`, true, 1},
		{200, `{"items":[{"id":7}],"state":"ok","id":"\u0061"}`, true, 1},
		{200, `{"id":"a","state":"ok","items":[]}`, false, 1},
		{200, `{"id":"a","state":"no","items":[{"id":"b"}]}`, false, 1},
		{200, `{"id":"a","state":"ok","items":[{"id":"error"}]}`, false, 1},
		{202, `{"id":"a","state":"ok","items":[{"id":"b"}]}`, false, 1},
		{409, `{"id":"a","state":"ok","items":[{"id":"b"}]}`, false, 0},
		{200, `{"state":"ok","items":[{"id":"b"}]}`, false, 0},
		{200, `not JSON`, false, 0},
	} {
		kept := &Kept{}
		if ok := p.Stream(0, 1, 1, kept).Judge(0, c.status, []byte(c.body), []byte("key")); ok != c.ok || kept.Count != c.kept {
			t.Errorf("%d %s: %v, %d kept", c.status, c.body, ok, kept.Count)
		}
		for key, id := range kept.All() {
			if key != "key" || id != "a" {
				t.Errorf("kept %q, %q", key, id)
			}
		}
	}
	if s := p.Stream(0, 1, 1, nil); !s.Judge(1, 399, nil, nil) || s.Judge(1, 400, nil, nil) {
		t.Error("without a check, any status below 400 will do, and no other")
	}
}

func TestKeptTravels(t *testing.T) {
	k := &Kept{}
	k.Add("", "x")
	k.Add(strings.Repeat("k", 300), "y")
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	var back Kept
	if err := json.Unmarshal(b, &back); err != nil || back.Count != 2 || string(back.data) != string(k.data) {
		t.Errorf("%v, %+v", err, back)
	}
	for _, bad := range [][]byte{{1}, {1, 'a'}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, {0x80}} {
		text, err := json.Marshal(bad)
		if err != nil || json.Unmarshal(text, &back) == nil {
			t.Errorf("%v was read", bad)
		}
	}
}

// Values can't break out of where they stand.
func TestValuesAreEscaped(t *testing.T) {
	evil := "a\"b\\c\r\nX-Evil: 1\x00 ö/?#"
	d := Definition{Data: map[string]FeedDef{"v": {Kind: "choice", Of: []string{evil}}},
		Requests: []RequestDef{{Path: "/p/${v}", Headers: map[string]string{"X-Value": "${v}"}, Body: `{"v":"${v}"}`}}}
	p, err := d.Compile("h", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Stream(0, 1, 1, nil).Next()
	head, body, _ := strings.Cut(string(r.AppendHTTP1(nil)), "\r\n\r\n")
	var back struct{ V string }
	if err := json.Unmarshal([]byte(body), &back); err != nil || back.V != evil {
		t.Errorf("%v, %q", err, back.V)
	}
	if n := strings.Count(head, "\r\n"); n != 4 || strings.Contains(r.Path(), " ") || strings.ContainsAny(head, "\x00") {
		t.Errorf("%q", head)
	}
}

func TestFindings(t *testing.T) {
	for edit, want := range map[string]string{
		"name: market>nome: market":                            "f:2: .*field nome not found",
		"connections: 100>connections: 1000000":                "f:5: connections: connections are between 1 and 60000",
		"workers: 2>workers: -1":                               "f:6: workers: ",
		"protocol: http1>protocol: spdy":                       "f:4: protocol: must be http1, http2 or grpc",
		"timeout: 5s>timeout: soon":                            "f:7: must be a positive duration",
		"kind: uuid>kind: guid":                                "f:12: data.key: kind is sequence",
		"from: -2, to: 2>from: 2, to: -2":                      "f:13: data.price: to is not below from",
		"weights: [3, 1]>weights: [3]":                         "f:14: data.region: of needs values",
		"weights: [3, 1]>weights: [0, 0]":                      "f:14: data.region: weights are not negative",
		"weights: [3, 1]>weights: [.nan, 1]":                   "f:14: data.region: weights are not negative",
		"file: cities.csv>file: ../secret.csv":                 "f:16: data.city: file can't be read",
		"file: cities.csv>file: bad.csv":                       "f:16: data.city: line 3: the CSV can't be read",
		"file: cities.csv>file: none.csv":                      "f:16: data.city: line 1: the file has no data",
		"file: cities.csv>file: odd.csv":                       "f:16: data.city: line 1: the first line has names",
		"q=${city.name}>q=${city.nome}":                        "f:20: requests\\[0\\].path: a name in",
		"q=${city.name}>q=${nobody}":                           "f:20: requests\\[0\\].path: a name in",
		"path: /shop>path: shop":                               "f:20: requests\\[0\\].path: must begin with /",
		"weight: 3>weight: -3":                                 "f:21: requests\\[0\\].weight: a weight is between",
		"X-City>X City":                                        "f:22: requests\\[0\\].headers.X City: not a header field",
		"X-City>Content-Length":                                "f:22: requests\\[0\\].headers.Content-Length: this field is written",
		"{contains: id}>{contains: id, lacks: x}":              "f:24: requests\\[0\\].checks\\[3\\]: a check is one of",
		"items[0].id>items[x].id":                              "f:24: requests\\[0\\].checks\\[1\\]: a check is one of",
		"field: id}>field: ''}":                                "f:25: requests\\[0\\].keep: needs key and field",
		"name: look>name: buy":                                 "f:26: requests\\[1\\].name: another request",
		"closed: {connections: 1, to: 64, for: 1s}>closed: {}": "f:28: phases\\[0\\]: for must be positive",
		"share: 0.5>rate: 5, share: 0.5":                       "f:29: phases\\[1\\]: open has one of",
		"share: 0.5>share: .inf":                               "f:29: phases\\[1\\]: share is between",
		"arrivals: poisson>arrivals: random":                   "f:29: phases\\[1\\]: arrivals are even or poisson",
		"rate: 100, for: 2s>rate: 1e12, for: 2s":               "f:30: phases\\[2\\]: rates are between",
		"rate: 100, for: 2s>rate: .nan, for: 2s":               "f:30: phases\\[2\\]: rates are between",
		"open: {from: 10, to: 20, for: 1s}>open: {from: 1}":    "f:31: phases\\[3\\]: needs a positive for",
		"name: ramp>name: rush":                                "f:31: phases\\[3\\].name: another phase",
		"open: {from: 10, to: 20, for: 1s}>opened: {from: 1}":  "f:31: .*field opened not found",
		"data:\n  n: {kind: sequence>data:\n  shop: {kind: uuid}\n  n: {kind: sequence": "f:11: data.shop: a name has letters",
	} {
		from, to, _ := strings.Cut(edit, ">")
		text := strings.Replace(whole, from, to, 1)
		if text == whole {
			t.Fatalf("%q changes nothing", edit)
		}
		d, at, err := Parse([]byte(text))
		if err == nil {
			_, err = d.Compile("h", files, at)
		}
		var got strings.Builder
		if err != nil {
			yamlfile.Tell(&got, "f", err, lang.EN)
		}
		if !regexp.MustCompile("(?m)^" + want).MatchString(got.String()) {
			t.Errorf("%s:\n%swant %s", edit, got.String(), want)
		}
	}
}

// descriptors is a folder with the descriptors of the health service of gRPC.
func descriptors(t *testing.T) fstest.MapFS {
	t.Helper()
	b, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(grpc_health_v1.File_grpc_health_v1_health_proto)}})
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"health.pb": {Data: b}, "junk.pb": {Data: []byte("junk")}}
}

func TestDescribedCalls(t *testing.T) {
	d := Definition{Protocol: "grpc", Descriptors: "health.pb", Data: map[string]FeedDef{"s": {Kind: "sequence"}},
		Requests: []RequestDef{{Path: "/grpc.health.v1.Health/Check", Body: `{"service":"s${s}"}`, Checks: []CheckDef{{JSON: "status", Equals: ptr("SERVING")}}}}}
	p, err := d.Compile("h", descriptors(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Stream(3, 4, 1, nil)
	var in grpc_health_v1.HealthCheckRequest
	if err := proto.Unmarshal(s.Next().AppendBody(nil), &in); err != nil || in.Service != "s3" {
		t.Errorf("%v, %q", err, in.Service)
	}
	for state, ok := range map[grpc_health_v1.HealthCheckResponse_ServingStatus]bool{grpc_health_v1.HealthCheckResponse_SERVING: true, grpc_health_v1.HealthCheckResponse_NOT_SERVING: false} {
		out, err := proto.Marshal(&grpc_health_v1.HealthCheckResponse{Status: state})
		if err != nil || s.Judge(0, 0, out, nil) != ok || s.Judge(0, 5, out, nil) {
			t.Errorf("%v: %v", state, err)
		}
	}
	for name, change := range map[string]func(d *Definition){
		"descriptors": func(d *Definition) { d.Descriptors = "junk.pb" },
		"file":        func(d *Definition) { d.Descriptors = "absent.pb" },
		"method":      func(d *Definition) { d.Requests[0].Path = "/grpc.health.v1.Health/Dance" },
		"stream":      func(d *Definition) { d.Requests[0].Path = "/grpc.health.v1.Health/Watch" },
		"message":     func(d *Definition) { d.Requests[0].Body = `{"dance":1}` },
	} {
		bad := d
		bad.Requests = slices.Clone(d.Requests)
		change(&bad)
		if _, err := bad.Compile("h", descriptors(t), nil); !errs.Is(err, errs.Invalid) {
			t.Errorf("wrong %s: %v", name, err)
		}
	}
}

func ptr(s string) *string { return &s }

func TestAddresses(t *testing.T) {
	for url, want := range map[string]string{"http://127.0.0.1": "127.0.0.1:80", "https://[::1]": "[::1]:443", "http://localhost:8080": "localhost:8080",
		"ftp://x": "", "http://": "", "http://u:p@h": "", "127.0.0.1:80": "", "": ""} {
		got, err := (&Definition{Target: url}).Address()
		if (err == nil) != (want != "") || want != "" && got.Addr != want {
			t.Errorf("%s: %q, %v", url, got.Addr, err)
		}
	}
	for addr, ok := range map[string]bool{"127.0.0.1:80": true, "127.8.8.8:1": true, "[::1]:80": true, "localhost:80": true, "10.0.0.1:80": false, "example.com:80": false, "localhost.example.com:80": false, "[::ffff:127.0.0.1]:1": true, "0.0.0.0:80": false} {
		if err := Loopback(addr); (err == nil) != ok || err != nil && !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Fuzz(func(t *testing.T, text string) {
		d, at, err := Parse([]byte(text))
		if err == nil {
			var p *Program
			if p, err = d.Compile("h", files, at); err == nil {
				p.Stream(0, 1, 1, nil).Next().AppendHTTP1(nil)
				for _, phase := range d.Phases {
					if phase.Open != nil {
						phase.Open.Schedule(10).Part(0, 1, 1).Next()
					}
				}
			}
		}
		if err != nil && errs.KindOf(err) != errs.Invalid {
			t.Fatalf("%v", err)
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add("name,note\n海口,\"say \"\"hi\"\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		columns, all, err := parseCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, row := range all {
			if len(row) != len(columns) {
				t.Fatalf("%d columns, a row of %d", len(columns), len(row))
			}
		}
	})
}

func FuzzField(f *testing.F) {
	f.Add("items[0].id", `{"items":[{"id":"x"}]}`)
	f.Add("id", `{"id":"x\"y","state":1}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		p := parseField(path)
		if p == nil {
			return
		}
		p.text([]byte(body))
		if len(p) != 1 || p[0].index >= 0 || !json.Valid([]byte(body)) {
			return
		}
		if v, ok := quick([]byte(body), p[0].name); ok { // it is the first member, and says what the library reads
			dec := json.NewDecoder(strings.NewReader(body))
			for _, want := range []any{json.Delim('{'), p[0].name, string(v)} {
				if got, err := dec.Token(); err != nil || got != want {
					t.Fatalf("%q: %v, %v; want %v", body, got, err, want)
				}
			}
		}
	})
}
