package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/bench/ledger"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/report"
	"github.com/qiongdev/qiong/tool/bench/result"
	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// run is a result with everything that a report shows.
func run() *result.Result {
	y := tally.New([]string{"reserve", "ask"}, time.Second)
	for i := range 5000 {
		due := time.Duration(i) * time.Millisecond
		y.SendAt(due, due, due)
		y.Answer(i%2, 200, 10, due, due, due+time.Duration(i)*time.Microsecond, i%100 != 0)
	}
	y.Sum()
	p := result.Of("peak", load.Plan{Conns: 5, Workers: 2, Schedule: schedule.Constant(1000, 5*time.Second)}, &load.Outcome{Tally: y, Took: 5 * time.Second})
	p.Steps = []result.Step{{Connections: 1, Rate: 10}, {Connections: 2, Rate: 19}}
	p.Agents = []result.Agent{{Name: "10.0.0.1:80", Rate: 5}}
	p.Limited = true
	empty := result.Of("empty", load.Plan{Closed: time.Second}, &load.Outcome{Tally: tally.New([]string{"x"}, time.Second)})
	r := &result.Result{Scenario: "<script>alert(1)</script>", Target: "http://127.0.0.1", Phases: []*result.Phase{p, empty}, Calibration: &result.Calibration{}, Complete: true,
		Check: &ledger.Report{Oversold: 3}, Against: []result.Change{{Phase: "peak", Figure: "rate", Before: 1, After: 2, Ratio: 2}}}
	rule, _ := result.ParseThreshold("peak:p99<=1ms") // it is well formed
	r.Judge([]result.Threshold{rule})
	return r
}

func TestReport(t *testing.T) {
	for l, words := range map[lang.Lang][]string{lang.ZH: {"压测报告", "未达要求", "超卖", "吞吐", "分布"}, lang.EN: {"Load report", "requirements missed", "oversold", "Throughput", "by percentile"}} {
		var b bytes.Buffer
		if err := report.Write(&b, run(), l); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		for _, w := range append(words, "peak:p99&lt;=1ms", "10.0.0.1:80", "99.99") {
			if !strings.Contains(page, w) {
				t.Errorf("%s: no %q", l, w)
			}
		}
		for _, w := range []string{"<script", "http://www", "https://", "src=", "NaN", "Inf", "url("} {
			if strings.Contains(page, w) {
				t.Errorf("%s: %q", l, w)
			}
		}
		if strings.Contains(page, "<h1>Load") && strings.ContainsAny(page, "压应错") {
			t.Error("an English page with Chinese words")
		}
		if n := strings.Count(page, "<svg "); n != 7 {
			t.Errorf("%d charts", n)
		}
		wellFormed(t, page)
	}
}

// wellFormed parses every chart.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	for i := strings.Index(page, "<svg "); i >= 0; i = strings.Index(page, "<svg ") {
		page = page[i:]
		end := strings.Index(page, "</svg>") + len("</svg>")
		dec := xml.NewDecoder(strings.NewReader(page[:end]))
		for {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, page[:end])
			}
		}
		page = page[end:]
	}
}
