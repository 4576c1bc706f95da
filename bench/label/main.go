// Label measures what masking costs: a document of about 100 KB, in which the name, the identity number and the phone of
// 300 people are masked, by way of any values, of Go types, and of the bytes alone; and the gate in front of a route.
//
// All on one processor, in interleaved rounds; ratios are taken round by round. It is run in the folder bench:
// go run ./label
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
	"github.com/qiongdev/qiong/kit/label/plan"
)

// person is a row of the document.
type person struct {
	ID      int    `json:"id" grade:"L1"`
	Name    string `json:"name" grade:"L2,pii=name"`
	IDCard  string `json:"idCard" grade:"L3,pii=id_card"`
	Phone   string `json:"phone" grade:"L2,pii=phone"`
	Address string `json:"address" grade:"L1"`
	Matter  string `json:"matter" grade:"L1"`
	State   string `json:"state" grade:"L1"`
	Note    string `json:"note" grade:"L1"`
	At      string `json:"submittedAt" grade:"L1"`
	Done    bool   `json:"done" grade:"L1"`
}

type page struct {
	Items []person `json:"items"`
	Next  string   `json:"next" grade:"L1"`
}

func people() page {
	var p page
	for i := range 300 {
		p.Items = append(p.Items, person{i, "王小明", label.FakeIDCard(uint64(i)), "13800000000", "海南省海口市龙华区国贸大道 1 号",
			"enterprise-opening", "decided", "材料齐全，已于窗口核验原件；电子证照同步归集。", "2024-06-15T09:23:45.123+08:00", i%2 == 0})
	}
	return p
}

// system masks the document once.
type system struct {
	name string
	do   func() error
}

const (
	viaAny    = "any, mask, encode"
	bare      = "encoding/json, no mask"
	copied    = "masked copy, encoding/json"
	typed     = "typed mask"
	byPath    = "scanner by path"
	detecting = "scanner by detection"

	document = "100 KB document"
	requests = "1000 requests"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 15, "rounds of each system")
	each := flag.Duration("each", 200*time.Millisecond, "length of a round")
	out := flag.String("json", "", "also write the results as JSON to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *each, *out); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, rounds int, each time.Duration, out string) error {
	runtime.GOMAXPROCS(1)
	documents, size, err := maskers()
	if err != nil {
		return err
	}
	gates, err := gates()
	if err != nil {
		return err
	}
	r := report.New("Label: masking JSON, and the gate in front of a route",
		fmt.Sprintf("One processor; %d rounds of %v each, interleaved; medians. The document has %d bytes.", rounds, each, size))
	for range rounds {
		for load, systems := range map[string][]system{document: documents, requests: gates} {
			for _, s := range systems {
				sample, err := measure.Closed(ctx, 1, each, nil, func(context.Context, int) error { return s.do() })
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				sample.System, sample.Load = s.name, load
				r.Add(sample)
			}
		}
	}
	figures(r, documents, gates, size)
	r.Judge(report.Goal{Load: document, System: typed, Peer: bare, Figure: "rate", Want: 0.87})
	r.Judge(report.Goal{Load: document, System: copied, Peer: bare, Figure: "rate"})
	r.Judge(report.Goal{Load: document, System: byPath, Peer: viaAny, Figure: "rate"})
	r.Judge(report.Goal{Load: document, System: byPath, Peer: typed, Figure: "rate"})
	return r.Write(os.Stdout, out)
}

// figures notes bytes a second and allocations.
func figures(r *report.Report, documents, gates []system, size int) {
	for _, s := range append(documents, gates...) {
		var rates []float64
		for _, sample := range r.Samples {
			if sample.System == s.name {
				rates = append(rates, sample.Rate())
			}
		}
		do := s.do
		allocations := testing.AllocsPerRun(20, func() { _ = do() }) // it has run without an error
		figure, unit := func(rate float64) float64 { return rate * float64(size) / 1e6 }, "MB/s"
		if strings.HasPrefix(s.name, "gate") {
			figure, unit, allocations = func(rate float64) float64 { return 1e6 / rate }, "ns a request", allocations/1000
		}
		r.Notes = append(r.Notes, fmt.Sprintf("%s: %.0f %s (%.0f in the fastest round), %.0f allocations",
			s.name, figure(report.Median(rates)), unit, figure(slices.Max(rates)), allocations))
	}
}

// maskers returns the ways to mask the document, all proven to give the same, and its size.
func maskers() ([]system, int, error) {
	v := people()
	whole, err := json.Marshal(v)
	if err != nil {
		return nil, 0, err
	}
	planned, err := plan.For[page](plan.New(nil))
	if err != nil {
		return nil, 0, err
	}
	scanner, err := jsonmask.New(jsonmask.Options{Rules: []jsonmask.Rule{
		{Path: "items.name", Mask: label.Keep(1, 0)}, {Path: "items.idCard", Mask: label.Keep(3, 4)}, {Path: "items.phone", Mask: label.Keep(3, 4)}}})
	if err != nil {
		return nil, 0, err
	}
	masked, err := planned.Marshal(v, label.L1)
	if err != nil {
		return nil, 0, err
	}
	again, err := scanner.Append(nil, whole)
	if err != nil || string(again) != string(masked) || string(masked) == string(whole) {
		return nil, 0, fmt.Errorf("the scanner and the plan differ: %v", err)
	}
	dst := make([]byte, 0, 2*len(whole))
	scan := func(m *jsonmask.Masker) func() error {
		return func() error {
			_, err := m.Append(dst, whole)
			return err
		}
	}
	return []system{
		{viaAny, func() error { return throughAny(whole) }},
		{bare, func() error {
			_, err := json.Marshal(v)
			return err
		}},
		{copied, func() error {
			shown, err := planned.Mask(v, label.L1)
			if err == nil {
				_, err = json.Marshal(shown)
			}
			return err
		}},
		{typed, func() error {
			_, err := planned.Marshal(v, label.L1)
			return err
		}},
		{byPath, scan(scanner)},
		{detecting, scan(jsonmask.Detecting())},
	}, len(whole), nil
}

// throughAny is what one writes who has no other means: decode into any, mask by name, encode.
func throughAny(whole []byte) error {
	var v any
	if err := json.Unmarshal(whole, &v); err != nil {
		return err
	}
	maskAny(v)
	_, err := json.Marshal(v)
	return err
}

var byName = map[string]label.Mask{"name": label.Keep(1, 0), "idCard": label.Keep(3, 4), "phone": label.Keep(3, 4)}

func maskAny(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			maskAny(item)
		}
	case map[string]any:
		for name, item := range v {
			if s, ok := item.(string); ok && !byName[name].IsZero() {
				v[name] = byName[name].Apply(s)
			} else {
				maskAny(item)
			}
		}
	}
}

// nothing is a ResponseWriter that keeps its header, and a recorder that keeps nothing.
type nothing struct{ h http.Header }

func (n nothing) Header() http.Header                         { return n.h }
func (n nothing) Write(p []byte) (int, error)                 { return len(p), nil }
func (n nothing) WriteHeader(int)                             {}
func (n nothing) Record(context.Context, access.Access) error { return nil }

// gates returns a route whose callers pass, and one whose callers see a small answer masked; a thousand requests each.
func gates() (all []system, err error) {
	body := []byte(`{"items":[{"id":1,"name":"王小明","idCard":"11010519491231002X","phone":"13800000000"}],"next":""}`)
	media := []string{"application/json"}
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		return nil, err
	}
	for _, c := range []struct {
		name      string
		clearance label.Grade
	}{{"gate, caller passes", label.L3}, {"gate, answer masked", label.L1}} {
		w := nothing{http.Header{}}
		routes := httplabel.New(httplabel.Options{Guard: access.Guard{Recorder: w,
			Clearance: func(context.Context) (string, label.Grade) { return "caller", c.clearance }}})
		gate, err := routes.Add(httplabel.Route{Name: "GET /", Out: reflect.TypeFor[page](), Policy: access.Mask})
		if err != nil {
			return nil, err
		}
		h := gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = media
			_, _ = w.Write(body) // it can't fail
		}))
		all = append(all, system{c.name, func() error {
			for range 1000 {
				h.ServeHTTP(w, r)
			}
			return nil
		}})
	}
	return all, nil
}
