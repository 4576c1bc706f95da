package bench

import (
	"context"
	"net"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/agent"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/noop"
	"github.com/qiongdev/qiong/tool/bench/result"
	"github.com/qiongdev/qiong/tool/bench/schedule"
)

// calibration is how long the generator is tried at the highest rate.
const calibration = 2 * time.Second

// enough is the share of the rate at which it must then come.
const enough = 0.98

// calibrate sends what a phase of an open loop will send, at its highest rate, to a server in this process that does
// nothing. What can't be sent to that can't be sent to any other, and the phase would measure the generator. Agents,
// which are elsewhere, are judged by their lag alone.
func (s *session) calibrate(ctx context.Context, o agent.Order) error {
	if !s.o.calibrate || len(s.o.agents) > 0 {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errs.Wrap(err, errs.Unavailable, "校准用的空服务无法监听", "the no-op server of the calibration can't listen")
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		if s.target.Protocol == load.HTTP1 && s.target.TLS == nil {
			ended <- noop.Serve(serving, l)
		} else {
			ended <- noop.ServeHTTP2(serving, l, s.target.TLS != nil)
		}
	}()
	defer func() {
		stop()
		<-ended
	}()
	o.Addr, o.Keep = l.Addr().String(), false
	o.Schedule = schedule.Constant(o.Schedule.Peak(), min(calibration, o.Schedule.Duration()))
	job, err := o.Prepare(s.files, s.at)
	if err != nil {
		return err
	}
	watch := new(load.Watch)
	clear := s.progress(s.c.Say("校准", "calibration"), o, watch)
	a, err := job.Run(ctx, nil, watch)
	clear()
	if err != nil {
		return err
	}
	ph := result.Of("calibration", job.Plan(), agent.Merge([]*agent.Answer{a}))
	ph.Limit(s.o.maxLag)
	c := &result.Calibration{Offered: ph.Offered, Rate: ph.Rate, P99: ph.Response.P99, LagP99: ph.Lag.P99, Busy: ph.Busy,
		Enough: !ph.Limited && (a.Ended || ph.Rate >= ph.Offered*enough)}
	if ph.Done > 0 {
		c.CPU = float64(a.CPU.Nanoseconds()) / 1000 / float64(ph.Done)
	}
	if s.result.Calibration == nil || !c.Enough || s.result.Calibration.Enough && c.Offered > s.result.Calibration.Offered {
		s.result.Calibration = c
	}
	return nil
}
