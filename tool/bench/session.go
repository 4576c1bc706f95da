package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/agent"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/result"
	"github.com/qiongdev/qiong/tool/bench/scenario"
	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/usage"
)

// session is one run of a definition against its target.
type session struct {
	c          *qiong.Console
	o          options
	definition *scenario.Definition
	at         scenario.At // nil where there is no file
	files      fs.FS

	target  load.Target
	rules   []result.Threshold
	server  usage.Reader    // nil where nobody can tell
	answers []*agent.Answer // of all phases, for the check
	ceiling float64         // requests a second that a closed loop came to
	result  *result.Result
}

// compile makes ready what the definition says, and refuses what it must not do.
func (s *session) compile() (err error) {
	d := s.definition
	if s.target, err = d.Address(); err != nil {
		return err
	}
	if !s.o.mayLoad {
		if err := scenario.Loopback(s.target.Addr); err != nil {
			return err
		}
	}
	for _, text := range d.Require {
		t, err := result.ParseThreshold(text)
		if err != nil {
			return err
		}
		s.rules = append(s.rules, t)
	}
	switch {
	case len(d.Phases) == 0:
		return errs.New(errs.Invalid, "没有阶段", "there are no phases").WithField("phases")
	case s.o.pid > 0:
		s.server = usage.Process(s.o.pid)
	case s.o.metrics != "":
		s.server = usage.Metrics(s.o.metrics, http.DefaultClient)
	}
	job, err := s.order().Prepare(s.files, s.at)
	if err == nil && s.o.check != "" && !job.Keeps() {
		return errs.New(errs.Invalid, "核对需要方案以 keep 留存应答的编号", "a check needs a scenario that keeps the ids of answers").WithField("--check")
	}
	return err
}

// run runs the phases, checks, holds the result to what is required, and tells.
func (s *session) run(ctx context.Context) error {
	d := s.definition
	s.result = &result.Result{Format: result.Format, Scenario: d.Name, Target: s.base(), Protocol: cmp.Or(d.Protocol, "http1"), Machine: usage.Machine(), Started: time.Now().Truncate(time.Second), Complete: true}
	for i := range d.Phases {
		ph, err := s.phase(ctx, &d.Phases[i])
		if ph != nil {
			s.result.Phases = append(s.result.Phases, ph)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if ctx.Err() != nil {
			s.result.Complete = false
			break
		}
	}
	if len(s.result.Phases) == 0 {
		return context.Canceled // before there was anything to tell
	}
	if err := s.check(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	s.result.Judge(s.rules)
	return s.finish()
}

// base is where the requests go, without a path.
func (s *session) base() string {
	scheme := "http://"
	if s.target.TLS != nil {
		scheme = "https://"
	}
	return scheme + s.target.Host
}

// phase runs one phase.
func (s *session) phase(ctx context.Context, def *scenario.PhaseDef) (*result.Phase, error) {
	o := s.order()
	if def.Open != nil {
		if def.Open.Share != 0 && s.ceiling == 0 {
			return nil, errs.New(errs.Invalid, "share 之前须有闭环阶段", "share needs a closed phase before it").WithField("phases")
		}
		o.Schedule = def.Open.Schedule(s.ceiling)
		if err := s.calibrate(ctx, o); err != nil {
			return nil, err
		}
		return s.measure(ctx, cmp.Or(def.Name, "open"), o)
	}
	o.Closed = time.Duration(def.Closed.For)
	o.Connections = cmp.Or(def.Closed.Connections, o.Connections)
	var ph *result.Phase
	var err error
	if def.Closed.To > 0 {
		ph, err = s.climb(ctx, cmp.Or(def.Name, "ceiling"), o, def.Closed.To)
	} else {
		ph, err = s.measure(ctx, cmp.Or(def.Name, "closed"), o)
	}
	if ph != nil {
		s.ceiling = max(s.ceiling, ph.Rate)
	}
	return ph, err
}

// grows is by how much more connections must bring more for the search to go on; flatSteps, how often they may not.
const (
	grows     = 1.05
	flatSteps = 2
)

// climb runs closed loops with twice as many connections each time, until more bring no more, and returns the best.
func (s *session) climb(ctx context.Context, name string, o agent.Order, to int) (*result.Phase, error) {
	var best *result.Phase
	var steps []result.Step
	for flat := 0; flat < flatSteps && ctx.Err() == nil; {
		ph, err := s.measure(ctx, name, o)
		if ph == nil {
			if best == nil {
				return nil, err
			}
			break // so many connections are more than there can be
		}
		steps = append(steps, result.Step{Connections: ph.Connections, Rate: ph.Rate, P99: ph.Response.P99, Busy: ph.Busy})
		flat++
		if best == nil || ph.Rate >= best.Rate*grows {
			flat = 0
		}
		if best == nil || ph.Rate > best.Rate {
			best = ph
		}
		if o.Connections >= to {
			break
		}
		o.Connections = min(o.Connections*2, to)
	}
	if best == nil {
		return nil, ctx.Err()
	}
	best.Steps = steps
	return best, nil
}

// order returns what all phases have in common.
func (s *session) order() agent.Order {
	d := s.definition
	return agent.Order{Definition: d, Connections: cmp.Or(d.Connections, agent.DefaultConnections), Workers: d.Workers, Keep: s.o.check != ""}
}

// measure carries an order out, here or on agents, and returns what it came to.
func (s *session) measure(ctx context.Context, name string, o agent.Order) (*result.Phase, error) {
	job, err := o.Prepare(s.files, s.at)
	if err != nil {
		return nil, err
	}
	before, err := s.serverUsage(ctx)
	if err != nil {
		return nil, err
	}
	answers, err := s.carry(ctx, name, o, job)
	if err != nil {
		return nil, err
	}
	after, gone := s.serverUsage(context.WithoutCancel(ctx))
	if gone != nil { // what was measured stands all the same
		fmt.Fprintln(s.c.Err, s.c.Say("压测结束时服务端的用量已不可知：", "at the end nobody could tell what the server used:"), gone)
	}
	for _, a := range answers {
		s.answers = append(s.answers, &agent.Answer{Kept: a.Kept})
	}
	var cpu time.Duration
	agents := agentsOf(answers)
	for _, a := range answers {
		cpu += a.CPU
	}
	plan := job.Plan()
	if n := len(s.o.agents); n > 0 {
		plan.Conns = (plan.Conns + n - 1) / n * n
		plan.Workers = min(cmp.Or(o.Workers, 4), plan.Conns/n) * n
	}
	ph := result.Of(name, plan, agent.Merge(answers))
	ph.Limit(s.o.maxLag)
	ph.Agents = agents
	if n := float64(ph.Done); n > 0 {
		ph.Usage.Client = float64(cpu.Nanoseconds()) / 1000 / n
		if gone == nil {
			ph.Usage.Server = float64((after.CPU - before.CPU).Nanoseconds()) / 1000 / n
		}
	}
	ph.Usage.ServerRSS = after.RSS
	return ph, nil
}

func (s *session) serverUsage(ctx context.Context) (usage.Usage, error) {
	if s.server == nil {
		return usage.Usage{}, nil
	}
	return s.server(ctx)
}

// carry has the order carried out here, or by agents, and shows how it goes.
func (s *session) carry(ctx context.Context, name string, o agent.Order, job *agent.Job) ([]*agent.Answer, error) {
	if len(s.o.agents) > 0 {
		var err error
		if o.Files, err = s.definition.ReadFiles(s.files); err != nil {
			return nil, err
		}
		defer s.progress(name, o, nil)()
		return (&agent.Fleet{Agents: s.o.agents, Token: s.o.agentToken, Lang: s.c.Lang}).Run(ctx, o)
	}
	watch := new(load.Watch)
	defer s.progress(name, o, watch)()
	a, err := job.Run(ctx, nil, watch)
	if err != nil {
		return nil, err
	}
	return []*agent.Answer{a}, nil
}

// agentsOf returns the share of each agent; nothing where there is none.
func agentsOf(answers []*agent.Answer) (all []result.Agent) {
	for _, a := range answers {
		if a.Name == "" {
			continue
		}
		one := result.Of("", load.Plan{Schedule: schedule.Schedule{}}, &load.Outcome{Tally: a.Tally, Took: a.Took, Busy: a.Busy})
		all = append(all, result.Agent{Name: a.Name, Sent: one.Sent, Done: one.Done, Rate: one.Rate, P99: one.Response.P99, Lag: one.Lag.P99, Busy: a.Busy})
	}
	return all
}
