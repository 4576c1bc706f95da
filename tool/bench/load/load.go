// Package load sends requests and measures their answers: in a closed loop, where each connection asks again as soon as
// it is answered, or in an open loop, where requests are due by a schedule whatever the server does.
//
// In an open loop it promises that every request of the schedule is in the figures: measured from the moment it was due,
// however late a free connection came, or counted as dropped where none came within the time-out. A server that stops
// therefore shows every request that queued behind it. What the generator itself was late by is measured apart (lag),
// so that it can be told from what the server did.
//
// HTTP/1.1 without TLS has an engine of its own on Linux: few workers, each an event loop over epoll with its share of
// the connections, requests formed in place, answers read from where they lie. Everything else (TLS, HTTP/2, gRPC, other
// systems) goes through connections of the standard kind, a goroutine each.
package load

import (
	"context"
	"crypto/tls"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// Source draws requests for one worker, or one connection. It is used by one goroutine.
type Source interface {
	// Next draws a request. What belongs to it stays valid until the next is drawn.
	Next() Request
	// Judge reports whether an answer is as expected, and takes down what is to be kept of it. tag is that of the request.
	Judge(kind, status int, body, tag []byte) bool
}

// Request is a request that was drawn.
type Request interface {
	Kind() int                     // its number among the names of the plan
	AppendHTTP1(dst []byte) []byte // as HTTP/1.1 has it, head and body
	AppendTag(dst []byte) []byte   // what Judge needs to know it by; may append nothing
	Method() string                // of HTTP, or /package.Service/Method of gRPC
	Path() string                  // with its query
	Header(each func(k, v string)) // but for Host and Content-Length
	AppendBody(dst []byte) []byte  //
	NeedsBody() bool               // whether Judge reads the body of its answer
}

// Protocol is how requests travel.
type Protocol uint8

// The protocols.
const (
	HTTP1 Protocol = iota
	HTTP2          // over TLS, or in clear text with prior knowledge
	GRPC           // unary
)

// Target is where requests go.
type Target struct {
	Addr     string // host:port
	Host     string // of the URL, for the field Host and for TLS
	TLS      *tls.Config
	Protocol Protocol
}

// Plan is what a generator does.
type Plan struct {
	Target   Target
	Conns    int
	Workers  int // event loops; 0: as many as there are processors, at most 4
	Streams  int // requests at a time on one connection of HTTP/2 and gRPC; 0: 1
	Timeout  time.Duration
	Kinds    []string // names of the requests
	Source   func(part, parts int) Source
	Closed   time.Duration     // a closed loop for this time; otherwise:
	Schedule schedule.Schedule // an open loop
	Seed     uint64            // of Poisson arrivals
	Shard    int               // which of Shards generators this is
	Shards   int               // 0: 1
	Start    func() time.Time  // asked once all connections are open, when to begin; nil: now
	Watch    *Watch            // may be nil
	dial     dialer            // of tests
	Portable bool              // keep away from the engine for Linux
}

// Watch is what others may read while a plan runs.
type Watch struct {
	Sent, Done, Failed, Dropped atomic.Int64
	Connected                   atomic.Int64
}

// Outcome is what came of a plan.
type Outcome struct {
	Tally *tally.Tally
	Took  time.Duration // from the beginning to the last answer, or to the end of the plan where that is later
	Busy  float64       // share of the time that the busiest worker did not wait; 0 where nobody knows
	Ended bool          // by its context, before its time
}

// Normal returns the plan with what was left out filled in.
func (p Plan) Normal() Plan {
	if p.Workers <= 0 {
		p.Workers = min(runtime.GOMAXPROCS(0), 4)
	}
	p.Conns = max(p.Conns, 1)
	p.Workers = min(p.Workers, p.Conns)
	p.Streams = max(p.Streams, 1)
	p.Shards = max(p.Shards, 1)
	if p.Timeout <= 0 {
		p.Timeout = 10 * time.Second
	}
	if p.Watch == nil {
		p.Watch = new(Watch)
	}
	if p.Start == nil {
		p.Start = time.Now
	}
	return p
}

// length is how long requests are sent.
func (p *Plan) length() time.Duration {
	if p.Closed > 0 {
		return p.Closed
	}
	return p.Schedule.Duration()
}

// Run opens the connections, carries the plan out and returns what came of it; where ctx ends before, of what was done
// until then. Connections that can't be opened at the beginning are an error of kind Unavailable.
func Run(ctx context.Context, p Plan) (*Outcome, error) {
	p = p.Normal()
	if !p.Portable && p.Target.Protocol == HTTP1 && p.Target.TLS == nil {
		if o, err := runEpoll(ctx, &p); o != nil || err != nil {
			return o, err
		}
	}
	return runPortable(ctx, &p)
}

// sum merges the tallies of workers.
func sum(p *Plan, all []*tally.Tally) *tally.Tally {
	t := tally.New(p.Kinds, tally.IntervalOf(p.length()))
	for _, one := range all {
		t.Merge(one)
	}
	t.Sum()
	return t
}
