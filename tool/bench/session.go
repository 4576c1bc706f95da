package bench

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/result"
	"github.com/qiongdev/qiong/tool/bench/scenario"
)

// session is one run of a definition against its target.
type session struct {
	c          *qiong.Console
	definition *scenario.Definition
	at         scenario.At // nil where there is no file
	files      fs.FS
	mayLoad    bool

	program *scenario.Program
	target  load.Target
	rules   []result.Threshold
	kept    []*scenario.Kept
	ceiling float64 // requests a second that a closed loop came to
}

// The defaults of a run.
const (
	defaultConnections = 64
	defaultTimeout     = 10 * time.Second
)

// runURL loads one address.
func runURL(ctx context.Context, c *qiong.Console, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return errs.New(errs.Invalid, "地址应为 http://主机:端口/路径", "the address is http://host:port/path").WithField("URL")
	}
	path := cmp.Or(u.EscapedPath(), "/")
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	d, err := definitionOf(c.Flags, u.Scheme+"://"+u.Host, path)
	if err != nil {
		return err
	}
	return prepared(ctx, &session{c: c, definition: d})
}

// runGolden runs the preset of Golden Week.
func runGolden(ctx context.Context, c *qiong.Console, base string) error {
	d, _, err := scenario.Parse(goldenWeek)
	if err != nil {
		return err
	}
	d.Target = strings.TrimSuffix(base, "/")
	if scaled, _ := c.Flags.GetBool("scaled"); scaled {
		d.Phases[0].Open.Rate = 120_000
	}
	s := &session{c: c, definition: d}
	s.authorize()
	return prepared(ctx, s)
}

func prepared(ctx context.Context, s *session) error {
	if err := s.override(s.c.Flags); err != nil {
		return err
	}
	s.authorize()
	if err := s.compile(); err != nil {
		return err
	}
	return s.run(ctx)
}

// authorize sends the token, where there is one.
func (s *session) authorize() {
	token := s.definition.Variables["token"]
	if token == "" {
		return
	}
	for i := range s.definition.Requests {
		r := &s.definition.Requests[i]
		if r.Headers == nil {
			r.Headers = map[string]string{}
		}
		if r.Headers["Authorization"] == "" {
			r.Headers["Authorization"] = "Bearer ${token}"
		}
	}
}

// compile makes ready what the definition says, and refuses what it must not do.
func (s *session) compile() (err error) {
	d := s.definition
	if s.target, err = target(d); err != nil {
		return err
	}
	if err := permitted(s.target.Addr, s.mayLoad); err != nil {
		return err
	}
	if s.program, err = d.Compile(s.target.Host, s.files, s.at); err != nil {
		return err
	}
	if err := d.Validate(s.at); err != nil {
		return err
	}
	for _, text := range d.Require {
		t, err := result.ParseThreshold(text)
		if err != nil {
			return err
		}
		s.rules = append(s.rules, t)
	}
	if len(d.Phases) == 0 {
		return errs.New(errs.Invalid, "没有阶段", "there are no phases").WithField("phases")
	}
	return nil
}

// run runs the phases, holds the result to what is required, and tells.
func (s *session) run(ctx context.Context) error {
	d := s.definition
	r := &result.Result{Format: result.Format, Scenario: d.Name, Target: d.Target, Protocol: cmp.Or(d.Protocol, "http1"), Machine: machine(), Started: time.Now(), Complete: true}
	for i := range d.Phases {
		ph, err := s.phase(ctx, &d.Phases[i])
		if ph != nil {
			r.Phases = append(r.Phases, ph)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if ctx.Err() != nil {
			r.Complete = false
			break
		}
	}
	r.Judge(s.rules)
	if err := s.tell(r); err != nil {
		return err
	}
	return verdict(r)
}

// phase runs one phase.
func (s *session) phase(ctx context.Context, def *scenario.PhaseDef) (*result.Phase, error) {
	p := s.plan()
	if def.Open != nil {
		if def.Open.Share != 0 && s.ceiling == 0 {
			return nil, errs.New(errs.Invalid, "share 之前须有闭环阶段", "share needs a closed phase before it").WithField("phases")
		}
		p.Schedule = def.Open.Schedule(s.ceiling)
		return s.measure(ctx, cmp.Or(def.Name, "open"), p)
	}
	p.Closed = time.Duration(def.Closed.For)
	p.Conns = cmp.Or(def.Closed.Connections, p.Conns)
	var ph *result.Phase
	var err error
	if def.Closed.To > 0 {
		ph, err = s.climb(ctx, cmp.Or(def.Name, "ceiling"), p, def.Closed.To)
	} else {
		ph, err = s.measure(ctx, cmp.Or(def.Name, "closed"), p)
	}
	if ph != nil {
		s.ceiling = max(s.ceiling, ph.Rate)
	}
	return ph, err
}

// climb runs closed loops with twice as many connections each time, until more bring less than a twentieth more twice,
// and returns the best.
func (s *session) climb(ctx context.Context, name string, p load.Plan, to int) (*result.Phase, error) {
	var best *result.Phase
	var steps []result.Step
	flat := 0
	for {
		ph, err := s.measure(ctx, name, p)
		if err != nil && ph == nil {
			if best == nil {
				return nil, err
			}
			break // so many connections are more than there can be
		}
		steps = append(steps, result.Step{Connections: ph.Connections, Rate: ph.Rate, P99: ph.Response.P99, Busy: ph.Busy})
		if best == nil || ph.Rate > best.Rate {
			if best != nil && ph.Rate < best.Rate*1.05 {
				flat++
			} else {
				flat = 0
			}
			best = ph
		} else {
			flat++
		}
		if flat >= 2 || p.Conns >= to || ctx.Err() != nil {
			break
		}
		p.Conns = min(p.Conns*2, to)
	}
	best.Steps = steps
	return best, nil
}

// plan returns what all phases have in common.
func (s *session) plan() load.Plan {
	d := s.definition
	p := load.Plan{
		Target: s.target, Conns: cmp.Or(d.Connections, defaultConnections), Workers: d.Workers, Streams: d.Streams,
		Timeout: cmp.Or(time.Duration(d.Timeout), defaultTimeout), Kinds: s.program.Names(), Seed: d.Seed,
	}
	return p
}

// measure runs a plan and returns what it came to.
func (s *session) measure(ctx context.Context, name string, p load.Plan) (*result.Phase, error) {
	p.Watch = new(load.Watch)
	p.Source = func(part, parts int) load.Source {
		kept := &scenario.Kept{}
		s.kept = append(s.kept, kept)
		return s.program.Stream(part, parts, s.definition.Seed, kept)
	}
	p = p.Normal()
	before := selfCPU()
	o, err := load.Run(ctx, p)
	if err != nil {
		return nil, err
	}
	ph := result.Of(name, p, o)
	if ph.Done > 0 {
		ph.Usage.Client = float64((selfCPU() - before).Microseconds()) / float64(ph.Done)
	}
	return ph, nil
}

// verdict turns what the result says into the exit status.
func verdict(r *result.Result) error {
	switch {
	case !r.Complete:
		return context.Canceled
	case r.Verdict.Outcome == result.Refused && r.Verdict.Reason == "incomplete":
		return context.Canceled
	case r.Verdict.Outcome == result.Refused:
		return errs.New(errs.Unavailable, "压测端自身是瓶颈，拒绝下结论", "the generator itself was the bottleneck: no verdict is given").
			WithHint("降低速率或连接数，换更快的机器，或以 --agents 用多台压测", "lower the rate or the connections, use a faster machine, or several, with --agents")
	case r.Verdict.Outcome == result.Missed:
		return errs.New(errs.Conflict, "未达阈值", "a threshold was missed")
	}
	return nil
}
