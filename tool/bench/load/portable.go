package load

import (
	"context"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// answer is what a request was answered.
type answer struct {
	status int
	body   []byte // where it was asked for; valid until the next request
	size   int64
}

// caller makes one request after the other on a connection, which it opens anew where it was lost.
type caller interface {
	call(ctx context.Context, r Request) (answer, error)
	close()
}

// dialer opens a connection for so many callers at a time.
type dialer func(ctx context.Context, p *Plan, callers int) ([]caller, error)

func dialerOf(t *Target) dialer {
	switch t.Protocol {
	case HTTP2:
		return dialHTTP2
	case GRPC:
		return dialGRPC
	}
	return dialHTTP1
}

// runner carries a plan out with a goroutine for each request that may be under way.
type runner struct {
	plan   *Plan
	begin  time.Time
	groups []*group
}

// group is the callers that share a tally and a part of the schedule.
type group struct {
	mu     sync.Mutex
	tally  *tally.Tally
	cursor *schedule.Cursor
}

// runPortable runs the plan on connections of the standard kind.
func runPortable(ctx context.Context, p *Plan) (*Outcome, error) {
	callers, err := openAll(ctx, p)
	defer func() {
		for _, c := range callers {
			c.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	r := &runner{plan: p}
	for i := range p.Workers {
		g := &group{tally: tally.New(p.Kinds, tally.IntervalOf(p.length()))}
		if p.Closed == 0 {
			g.cursor = p.Schedule.Part(p.Shard*p.Workers+i, p.Shards*p.Workers, p.Seed)
		}
		r.groups = append(r.groups, g)
	}
	sources := make([]Source, len(callers))
	for i := range sources {
		sources[i] = p.Source(p.Shard*len(callers)+i, p.Shards*len(callers))
	}
	r.groups[0].tally.Connects = int64(p.Conns)
	r.begin = p.Start()
	var wg sync.WaitGroup
	for i, c := range callers {
		wg.Go(func() { r.caller(ctx, c, sources[i], r.groups[i%len(r.groups)]) })
	}
	wg.Wait()
	o := &Outcome{Took: time.Since(r.begin), Ended: ctx.Err() != nil}
	var all []*tally.Tally
	for _, g := range r.groups {
		all = append(all, g.tally)
	}
	o.Tally = sum(p, all)
	return o, nil
}

// openAll opens all connections, a few at a time.
func openAll(ctx context.Context, p *Plan) ([]caller, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var all []caller
	var wg sync.WaitGroup
	places := make(chan struct{}, atOncePortable)
	dial := p.dial
	if dial == nil {
		dial = dialerOf(&p.Target)
	}
	for range p.Conns {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			some, err := dial(ctx, p, p.Streams)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, some...)
			if err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return all, errs.Wrap(err, errs.Unavailable, "无法连接目标", "the target can't be reached").WithHint("目标是否在运行？协议是否正确？连接数是否超过其上限？", "does the target run? is the protocol right? are these more connections than it takes?")
	}
	return all, nil
}

const atOncePortable = 64

func (r *runner) now() time.Duration { return time.Since(r.begin) }

// caller makes requests until there are no more.
func (r *runner) caller(ctx context.Context, c caller, source Source, g *group) {
	ready := time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, ok := r.next(g)
		if !ok || !sleep(ctx, timer, due-r.now()) {
			return
		}
		now := r.now()
		if g.cursor != nil && now-due > r.plan.Timeout {
			g.mu.Lock()
			g.tally.Drop(due, now)
			g.mu.Unlock()
			r.plan.Watch.Dropped.Add(1)
			continue
		}
		r.one(ctx, c, source, g, due, max(ready, 0))
		ready = r.now()
	}
}

// next returns when the next request of a group is due.
func (r *runner) next(g *group) (time.Duration, bool) {
	if g.cursor == nil {
		now := max(r.now(), 0)
		return now, now < r.plan.Closed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cursor.Next()
}

// sleep waits for d; false where ctx ends.
func sleep(ctx context.Context, t *time.Timer, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t.Reset(d)
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// one makes a request and counts what comes of it.
func (r *runner) one(ctx context.Context, c caller, source Source, g *group, due, ready time.Duration) {
	request := source.Next()
	kind, tag := request.Kind(), request.AppendTag(nil)
	limited, cancel := context.WithTimeout(ctx, r.plan.Timeout)
	defer cancel()
	sent := r.now()
	a, err := c.call(limited, request)
	now := r.now()
	if err != nil && ctx.Err() != nil {
		return // we ended it ourselves
	}
	ok := err == nil && source.Judge(kind, a.status, a.body, tag)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cursor == nil {
		due = sent
	}
	g.tally.SendAt(due, ready, sent)
	r.plan.Watch.Sent.Add(1)
	if !ok {
		r.plan.Watch.Failed.Add(1)
	}
	if err != nil {
		g.tally.Fail(kind, failureOf(limited, err), due, now)
		return
	}
	r.plan.Watch.Done.Add(1)
	g.tally.Answer(kind, a.status, a.size, due, sent, now, ok)
}
