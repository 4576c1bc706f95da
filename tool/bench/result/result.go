// Package result is what a run came to: figures for people and programs, whole histograms for those who merge or compare,
// and thresholds that a run is held to. A result is written as JSON and read again; what is not of its form is refused.
package result

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/ledger"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// Format is the number of the form of results.
const Format = 1

// Result is a run.
type Result struct {
	Format      int            `json:"format"`
	Scenario    string         `json:"scenario"`
	Target      string         `json:"target"`
	Protocol    string         `json:"protocol"`
	Machine     string         `json:"machine"`
	Started     time.Time      `json:"started"`
	Calibration *Calibration   `json:"calibration,omitempty"`
	Phases      []*Phase       `json:"phases"`
	Check       *ledger.Report `json:"check,omitempty"`
	Against     []Change       `json:"against,omitempty"` // an earlier run
	Verdict     Verdict        `json:"verdict"`
	Complete    bool           `json:"complete"` // it was not ended before its time
}

// Calibration is how the generator did against a server that does nothing.
type Calibration struct {
	Offered float64 `json:"offered"` // requests a second; 0: as many as possible
	Rate    float64 `json:"rate"`
	P99     float64 `json:"p99Ms"` // response time
	LagP99  float64 `json:"lagP99Ms"`
	Busy    float64 `json:"busy"`
	CPU     float64 `json:"cpuMicros"` // of client and server, a request: they are one process
	Enough  bool    `json:"enough"`
}

// Phase is a part of a run.
type Phase struct {
	Name        string           `json:"name"`
	Loop        string           `json:"loop"` // closed, open
	Connections int              `json:"connections"`
	Workers     int              `json:"workers"`
	Offered     float64          `json:"offered,omitempty"` // requests a second on average, of an open loop
	Seconds     float64          `json:"seconds"`
	Rate        float64          `json:"rate"` // answers a second
	Sent        int64            `json:"sent"`
	Done        int64            `json:"done"`
	Errors      int64            `json:"errors"`
	Late        int64            `json:"late"`
	Dropped     int64            `json:"dropped"`
	Bytes       int64            `json:"bytes"`
	Connects    int64            `json:"connects"`
	Status      map[int]int64    `json:"status"`
	Failures    map[string]int64 `json:"failures,omitempty"`
	Response    Times            `json:"response"`
	Service     Times            `json:"service"`
	Lag         Times            `json:"lag"`
	Busy        float64          `json:"busy"` // share of the time that the busiest worker did not wait
	Usage       Usage            `json:"usage"`
	Requests    []Request        `json:"requests,omitempty"`
	Interval    float64          `json:"intervalSeconds"`
	Series      []Point          `json:"series"`
	Steps       []Step           `json:"steps,omitempty"`  // of the search for a ceiling
	Agents      []Agent          `json:"agents,omitempty"` // where several generators took part
	Limited     bool             `json:"limited"`          // the generator itself was the bottleneck
}

// Times are a distribution, in milliseconds, with the whole of it encoded.
type Times struct {
	Mean      float64 `json:"mean"`
	P50       float64 `json:"p50"`
	P90       float64 `json:"p90"`
	P99       float64 `json:"p99"`
	P999      float64 `json:"p999"`
	P9999     float64 `json:"p9999"`
	Max       float64 `json:"max"`
	Histogram string  `json:"histogram,omitempty"` // HdrHistogram V2, compressed, base64; microseconds
}

// Usage is what processor time and memory were used, where that is known.
type Usage struct {
	Client    float64 `json:"clientMicros"`           // processor time a request
	Server    float64 `json:"serverMicros,omitempty"` // likewise
	ServerRSS int64   `json:"serverRss,omitempty"`    // bytes, at the end
}

// Request is what came of the requests of one name.
type Request struct {
	Name     string `json:"name"`
	Done     int64  `json:"done"`
	Errors   int64  `json:"errors"`
	Response Times  `json:"response"`
}

// Point is an interval of a phase.
type Point struct {
	Done   int64   `json:"done"`
	Errors int64   `json:"errors,omitempty"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// Step is a step of the search for a ceiling.
type Step struct {
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate"`
	P99         float64 `json:"p99"`
	Busy        float64 `json:"busy"`
}

// Agent is the share of one generator.
type Agent struct {
	Name string  `json:"name"`
	Sent int64   `json:"sent"`
	Done int64   `json:"done"`
	Rate float64 `json:"rate"`
	P99  float64 `json:"p99"`
	Lag  float64 `json:"lagP99"`
	Busy float64 `json:"busy"`
}

// Of returns the phase that came of an outcome.
func Of(name string, p load.Plan, o *load.Outcome) *Phase {
	t := o.Tally
	ph := &Phase{
		Name: name, Loop: "open", Connections: p.Conns, Workers: p.Workers, Seconds: o.Took.Seconds(),
		Sent: t.Sent, Done: t.Done(), Errors: t.Failed(), Late: t.Late, Dropped: t.Dropped, Bytes: t.Bytes, Connects: t.Connects,
		Status: t.Status, Failures: map[string]int64{}, Response: TimesOf(t.Response), Service: TimesOf(t.Service), Lag: TimesOf(t.Lag), Busy: o.Busy,
		Interval: t.Series.Interval.Seconds(),
	}
	if p.Closed > 0 {
		ph.Loop = "closed"
	} else if d := p.Schedule.Duration(); d > 0 {
		ph.Offered = p.Schedule.Expected() / d.Seconds()
	}
	if ph.Seconds > 0 {
		ph.Rate = float64(ph.Done) / ph.Seconds
	}
	for f, n := range t.Failures {
		if n > 0 {
			ph.Failures[tally.Failure(f).String()] = n
		}
	}
	if len(t.Kinds) > 1 {
		for _, k := range t.Kinds {
			ph.Requests = append(ph.Requests, Request{k.Name, k.Done, k.Failed, TimesOf(k.Response)})
		}
	}
	for _, point := range t.Series.Points {
		one := Point{Done: point.Done, Errors: point.Failed}
		if h := point.Response; h != nil {
			one.P50, one.P99, one.Max = ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(99)), ms(h.Max())
		}
		ph.Series = append(ph.Series, one)
	}
	ph.Limit(TooLate)
	return ph
}

// TooLate is the lag of the generator, at its 99th percentile, beyond which its figures are not the server's.
const TooLate = 10 * time.Millisecond

// TooBusy is the share of the time in which the busiest worker did not wait, beyond which likewise.
const TooBusy = 0.95

// Limit decides whether the generator was the bottleneck: it had no time to wait, or requests that could have been sent
// were not, for longer than maxLag and than a tenth of what they then took.
func (p *Phase) Limit(maxLag time.Duration) {
	late := p.Lag.P99 > float64(maxLag)/float64(time.Millisecond) && p.Lag.P99 > p.Response.P99/10
	p.Limited = late || p.Busy > TooBusy
}

func ms(micros int64) float64 { return float64(micros) / 1000 }

// TimesOf returns the distribution in a histogram of microseconds.
func TimesOf(h *hdrhistogram.Histogram) Times {
	if h.TotalCount() == 0 {
		return Times{}
	}
	q := func(p float64) float64 { return ms(h.ValueAtQuantile(p)) }
	t := Times{Mean: h.Mean() / 1000, P50: q(50), P90: q(90), P99: q(99), P999: q(99.9), P9999: q(99.99), Max: ms(h.Max())}
	if data, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		t.Histogram = base64.StdEncoding.EncodeToString(data)
	}
	return t
}

// Distribution returns the histogram of times.
func (t Times) Distribution() (*hdrhistogram.Histogram, error) {
	data, err := base64.StdEncoding.DecodeString(t.Histogram)
	if err == nil && len(data) > 0 {
		var h *hdrhistogram.Histogram
		if h, err = tally.Decode(data); err == nil {
			return h, nil
		}
	}
	return nil, errs.Wrap(err, errs.Invalid, "没有可读的直方图", "no histogram that can be read")
}

// Parse reads a result.
func Parse(data []byte) (*Result, error) {
	r := &Result{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "不是压测结果（JSON）", "not a result (JSON)")
	}
	if r.Format != Format || len(r.Phases) == 0 || slices.Contains(r.Phases, nil) {
		return nil, errs.New(errs.Invalid, "不是此版本的压测结果", "not a result of this version")
	}
	return r, nil
}
