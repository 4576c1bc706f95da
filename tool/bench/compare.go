package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/tool/bench/result"
	"github.com/qiongdev/qiong/tool/bench/scenario"
	"github.com/qiongdev/qiong/tool/bench/usage"
)

// maxRounds bounds a comparison.
const maxRounds = 1000

// runCompare loads two addresses by turns, who begins changing with each round.
func runCompare(ctx context.Context, c *qiong.Console) error {
	rounds, _ := c.Flags.GetInt("rounds")
	if rounds < 1 || rounds > maxRounds {
		return errs.Newf(errs.Invalid, "须在 1 与 %d 之间", "must be between 1 and %d", maxRounds).WithField("--rounds")
	}
	a, err := side(c, "a")
	if err != nil {
		return err
	}
	b, err := side(c, "b")
	if err != nil {
		return err
	}
	v := &result.Versus{Format: result.Format, A: a.definition.Target, B: b.definition.Target, Machine: usage.Machine()}
	for n := range rounds {
		order := []*session{a, b}
		if n%2 == 1 {
			order = []*session{b, a}
		}
		var got [2]*result.Phase
		for i, s := range order {
			ph, err := s.phase(ctx, &s.definition.Phases[0])
			if err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			got[i] = ph
		}
		if ctx.Err() != nil {
			break // what is not a whole round is left out
		}
		if n%2 == 1 {
			got[0], got[1] = got[1], got[0]
		}
		v.RoundsA, v.RoundsB = append(v.RoundsA, got[0]), append(v.RoundsB, got[1])
	}
	v.Rate()
	if err := tellVersus(c, a.o, v); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case v.Limited:
		return verdict(&result.Result{Complete: true, Verdict: result.Verdict{Outcome: result.Refused}})
	}
	return nil
}

// side returns the session of one side, with one phase: open where there is a rate, otherwise closed.
func side(c *qiong.Console, name string) (*session, error) {
	raw, _ := c.Flags.GetString(name)
	d, err := definitionOf(c.Flags, raw)
	if err != nil {
		return nil, err
	}
	const each = yamlfile.Duration(2 * time.Second)
	d.Phases = []scenario.PhaseDef{{Name: name, Closed: &scenario.ClosedDef{For: each}}}
	if rate, _ := c.Flags.GetFloat64("rate"); c.Flags.Changed("rate") {
		d.Phases = []scenario.PhaseDef{{Name: name, Open: &scenario.OpenDef{Rate: rate, For: each}}}
	}
	s := &session{c: c, definition: d, result: &result.Result{}}
	if err := override(d, c.Flags); err != nil {
		return nil, err
	}
	if s.o, err = optionsOf(c.Flags, false); err != nil {
		return nil, err
	}
	s.o.pid, _ = c.Flags.GetInt("pid-" + name)
	s.o.metrics, s.o.calibrate = "", false
	if len(d.Require) > 0 || s.o.check != "" || s.o.against != "" || s.o.report != "" {
		return nil, errs.New(errs.Invalid, "compare 不接受 --require、--check、--against、--report", "compare takes no --require, --check, --against, --report")
	}
	return s, s.compile()
}

func tellVersus(c *qiong.Console, o options, v *result.Versus) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if o.out != "" {
		if err := write(o.out, "--out", data); err != nil {
			return err
		}
	}
	if c.JSON {
		_, err := c.Out.Write(data)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A %s\nB %s\n%s\n\n", v.A, v.B, v.Machine)
	fmt.Fprintf(&b, c.Say("乙比甲，%d 轮，各轮比值的中位数（最低—最高）\n", "B by A, %d rounds, median of their ratios (lowest to highest)\n"), v.Rounds)
	for _, r := range v.Ratios {
		fmt.Fprintf(&b, "  %-12s %.3f  (%.3f – %.3f)\n", r.Figure, r.Median, r.Low, r.High)
	}
	_, err = c.Out.Write([]byte(b.String()))
	return err
}
