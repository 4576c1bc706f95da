package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/schedule"
)

// visitors hands out numbers that nobody had before.
type visitors struct{ n atomic.Uint64 }

// source draws reservations, each of another visitor with another key.
type source struct {
	all           *visitors
	host          string
	path          string
	token         string
	slot, channel string
	many          int // reservations in one request; 0: one, as it is
	want          func(status int) bool
	body          []byte
	head          []byte
}

func (s *source) Next() load.Request {
	if s.many == 0 {
		n := s.all.n.Add(1)
		s.body = appendReservation(append(s.body[:0], '{'), n, s.slot, s.channel)
		s.head = strconv.AppendUint(append(s.head[:0], "Idempotency-Key: bench-"...), n, 10)
		s.head = append(s.head, "-key\r\n"...)
		return s
	}
	s.body = append(s.body[:0], `{"items":[`...)
	for i := range s.many {
		if i > 0 {
			s.body = append(s.body, ',')
		}
		n := s.all.n.Add(1)
		s.body = append(strconv.AppendUint(append(s.body, `{"key":"bench-`...), n, 10), `-key",`...)
		s.body = appendReservation(s.body, n, s.slot, s.channel)
	}
	s.body = append(s.body, "]}"...)
	return s
}

func appendReservation(body []byte, n uint64, slot, channel string) []byte {
	body = append(append(append(append(append(body, `"slot":"`...), slot...), `","channel":"`...), channel...), `","visitors":[{"kind":"resident","number":"`...)
	return append(append(body, label.FakeIDCard(n)...), `"}]}`...)
}

func (s *source) Kind() int                             { return 0 }
func (s *source) AppendTag(dst []byte) []byte           { return dst }
func (s *source) Method() string                        { return "POST" }
func (s *source) Path() string                          { return s.path }
func (s *source) Header(func(k, v string))              {}
func (s *source) AppendBody(dst []byte) []byte          { return append(dst, s.body...) }
func (s *source) NeedsBody() bool                       { return false }
func (s *source) Judge(_, status int, _, _ []byte) bool { return s.want(status) }

func (s *source) AppendHTTP1(dst []byte) []byte {
	dst = append(append(append(dst, "POST "...), s.path...), " HTTP/1.1\r\nHost: "...)
	dst = append(append(dst, s.host...), "\r\nContent-Type: application/json\r\nX-Region: 460200\r\nAuthorization: Bearer "...)
	dst = append(append(dst, s.token...), "\r\n"...)
	dst = append(dst, s.head...)
	dst = strconv.AppendInt(append(dst, "Content-Length: "...), int64(len(s.body)), 10)
	return append(append(dst, "\r\n\r\n"...), s.body...)
}

// shot is one round against one server.
type shot struct {
	system, load string
	url, path    string
	token, slot  string
	channel      string // default online
	many         int
	conns        int
	timeout      time.Duration
	schedule     schedule.Schedule // open loop; closed where it is empty
	each         time.Duration
	meter        measure.Meter
	want         func(status int) bool
}

// shoot carries a round out.
func (b *bench) shoot(ctx context.Context, all *visitors, s shot) (measure.Sample, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return measure.Sample{}, err
	}
	plan := load.Plan{Target: load.Target{Addr: u.Host, Host: u.Host}, Conns: s.conns, Workers: b.workers, Timeout: s.timeout, Kinds: []string{"reserve"},
		Schedule: s.schedule, Source: func(int, int) load.Source {
			return &source{all: all, host: u.Host, path: s.path, token: s.token, slot: s.slot, channel: cmp.Or(s.channel, "online"), many: s.many, want: s.want}
		}}
	if len(s.schedule.Steps) == 0 {
		plan.Closed = s.each
	}
	usage := s.meter.Begin()
	out, err := load.Run(ctx, plan)
	if err != nil {
		return measure.Sample{}, err
	}
	sample := measure.Of(out.Tally.Response, out.Took)
	usage.End(&sample)
	sample.System, sample.Load, sample.Failed, sample.Busy = s.system, s.load, out.Tally.Failed(), out.Busy
	if s.many > 0 {
		sample.Ops *= int64(s.many)
		for name := range sample.CPU {
			sample.CPU[name] /= float64(s.many)
		}
	}
	if len(out.Tally.Status) > 1 || sample.Failed > 0 {
		fmt.Printf("  %s: status %v, failures %v, dropped %d, late %d\n", s.system, out.Tally.Status, out.Tally.Failures, out.Tally.Dropped, out.Tally.Late)
	}
	return sample, nil
}
