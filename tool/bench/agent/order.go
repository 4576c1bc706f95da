// Package agent has one or several generators carry out the same load. An Order says everything one of them is to do; an
// Agent takes orders over HTTP, from those who know its token and for targets that it was started for, one at a time; a
// Fleet deals a load out to agents, has them begin at one moment, and puts together what they counted.
//
// It promises that a load on several generators is the load on one: the schedule is dealt without gaps or repetitions,
// and histograms are merged whole.
package agent

import (
	"cmp"
	"context"
	"io/fs"
	"iter"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/scenario"
	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/tally"
	"github.com/qiongdev/qiong/tool/bench/usage"
)

// Order is what one generator is to do.
type Order struct {
	Definition  *scenario.Definition
	Closed      time.Duration     // a closed loop for this time; otherwise:
	Schedule    schedule.Schedule // an open loop
	Connections int
	Workers     int
	Shard       int // which of Shards generators this is
	Shards      int
	Keep        bool   // take down what requests want kept
	Addr        string // instead of the definition's target: host:port
	Files       map[string][]byte
}

// Job is an order that can be carried out.
type Job struct {
	order   Order
	program *scenario.Program
	plan    load.Plan
	kept    []*scenario.Kept
}

// The defaults of orders.
const (
	DefaultConnections = 64
	DefaultTimeout     = 10 * time.Second
)

// Prepare compiles an order. files is where the definition's files lie; at finds its lines, and may be nil.
func (o Order) Prepare(files fs.FS, at scenario.At) (*Job, error) {
	target, err := o.Definition.Address()
	if err != nil {
		return nil, err
	}
	if err := o.Definition.Validate(at); err != nil {
		return nil, err
	}
	program, err := o.Definition.Compile(target.Host, files, at)
	if err != nil {
		return nil, err
	}
	if o.Addr != "" {
		target.Addr = o.Addr
		if target.TLS != nil {
			target.TLS.InsecureSkipVerify = true // the no-op has a certificate of its own making
		}
	}
	if o.Connections < 0 || o.Connections > scenario.MaxConnections || o.Workers < 0 || o.Workers > scenario.MaxWorkers || o.Shard < 0 || o.Shards < 0 || o.Shard >= max(o.Shards, 1) || o.length() > scenario.MaxDuration {
		return nil, errs.New(errs.Invalid, "连接数、线程数、份额或时长超出范围", "connections, workers, shares or time are out of range")
	}
	j := &Job{order: o, program: program}
	j.plan = load.Plan{
		Target: target, Conns: cmp.Or(o.Connections, DefaultConnections), Workers: o.Workers, Streams: o.Definition.Streams,
		Timeout: cmp.Or(time.Duration(o.Definition.Timeout), DefaultTimeout), Kinds: program.Names(), Seed: o.Definition.Seed,
		Closed: o.Closed, Schedule: o.Schedule, Shard: o.Shard, Shards: o.Shards, Source: j.source,
	}.Normal()
	return j, nil
}

func (o *Order) length() time.Duration { return max(o.Closed, o.Schedule.Duration()) }

// Plan returns what the job will do.
func (j *Job) Plan() load.Plan { return j.plan }

// Keeps reports whether requests want something kept.
func (j *Job) Keeps() bool { return j.program.Keeps() }

// source returns the source of a part. The parts are asked for before any of them is used.
func (j *Job) source(part, parts int) load.Source {
	var kept *scenario.Kept
	if j.order.Keep {
		kept = &scenario.Kept{}
		j.kept = append(j.kept, kept)
	}
	return j.program.Stream(part, parts, j.order.Definition.Seed, kept)
}

// Answer is what one generator has done.
type Answer struct {
	Name  string // of the agent; empty for this process
	Tally *tally.Tally
	Took  time.Duration
	Busy  float64
	CPU   time.Duration // of the generator's process
	Kept  []*scenario.Kept
	Ended bool // before its time
}

// Run carries the job out. start is asked once all connections are open; nil begins at once. watch may be nil.
func (j *Job) Run(ctx context.Context, start func() time.Time, watch *load.Watch) (*Answer, error) {
	p := j.plan
	var before time.Duration
	p.Start = func() time.Time {
		before = usage.Self()
		if start == nil {
			return time.Now()
		}
		return start()
	}
	if watch != nil {
		p.Watch = watch
	}
	o, err := load.Run(ctx, p)
	if err != nil {
		return nil, err
	}
	return &Answer{Tally: o.Tally, Took: o.Took, Busy: o.Busy, CPU: usage.Self() - before, Kept: j.kept, Ended: o.Ended}, nil
}

// Acknowledged returns what all generators have kept.
func Acknowledged(all []*Answer) iter.Seq2[string, string] {
	return func(yield func(key, id string) bool) {
		for _, a := range all {
			for _, kept := range a.Kept {
				for key, id := range kept.All() {
					if !yield(key, id) {
						return
					}
				}
			}
		}
	}
}

// Merge puts together what several generators have done, as if it had been one.
func Merge(all []*Answer) *load.Outcome {
	o := &load.Outcome{Tally: all[0].Tally}
	for i, a := range all {
		if i > 0 {
			o.Tally.Merge(a.Tally)
		}
		o.Took = max(o.Took, a.Took)
		o.Busy = max(o.Busy, a.Busy)
		o.Ended = o.Ended || a.Ended
	}
	o.Tally.Sum()
	return o
}
