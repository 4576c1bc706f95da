package scenario

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/tool/bench/schedule"
)

// The limits of a scenario.
const (
	MaxConnections = 60_000 // a machine has about as many ports for one target
	MaxWorkers     = 256
	MaxRate        = 10_000_000
	MaxDuration    = 24 * time.Hour
	maxBytes       = 4 << 20 // of the file
)

// At finds the line of a part of a definition, and the part's name as a path.
type At = func(steps ...any) (line int, field string)

// Parse reads a definition and holds everything in it to its limits, but for what Compile looks at.
func Parse(data []byte) (*Definition, At, error) {
	if len(data) > maxBytes {
		var f yamlfile.Findings
		f.Add(1, "", "文件过大", "the file is too large")
		return nil, nil, f.Err()
	}
	d := &Definition{}
	root, err := yamlfile.Decode(data, d)
	if err != nil {
		return nil, nil, err
	}
	at := func(steps ...any) (int, string) { return yamlfile.Find(root, steps...) }
	return d, at, d.Validate(at)
}

// where is at, or without a file the steps alone.
func where(at At, steps ...any) (line int, field string) {
	if at != nil {
		return at(steps...)
	}
	return 0, strings.ReplaceAll(strings.TrimSpace(fmt.Sprintln(steps...)), " ", ".")
}

// Validate holds numbers and phases to their limits.
func (d *Definition) Validate(at At) error {
	var f yamlfile.Findings
	find := func(zh, en string, steps ...any) {
		line, field := where(at, steps...)
		f.Add(line, field, zh, en)
	}
	if d.Connections < 0 || d.Connections > MaxConnections {
		find("连接数须在 1 与 60000 之间", "connections are between 1 and 60000", "connections")
	}
	if d.Workers < 0 || d.Workers > MaxWorkers {
		find("工作线程数须在 1 与 256 之间", "workers are between 1 and 256", "workers")
	}
	if d.Streams < 0 || d.Streams > 1000 {
		find("并发流数须在 1 与 1000 之间", "streams are between 1 and 1000", "streams")
	}
	if !slices.Contains([]string{"", "http1", "http2", "grpc"}, d.Protocol) {
		find("应为 http1、http2 或 grpc", "must be http1, http2 or grpc", "protocol")
	}
	seen := map[string]bool{}
	for i := range d.Phases {
		p := &d.Phases[i]
		if p.Name != "" && seen[p.Name] {
			find("与另一阶段同名", "another phase has this name", "phases", i, "name")
		}
		seen[p.Name] = true
		if zh, en := p.wrong(); zh != "" {
			find(zh, en, "phases", i)
		}
	}
	return f.Err()
}

// wrong says what is wrong with a phase, or nothing.
func (p *PhaseDef) wrong() (zh, en string) {
	switch {
	case (p.Closed == nil) == (p.Open == nil):
		return "阶段须为 closed 或 open 之一", "a phase is closed or open"
	case p.Closed != nil:
		c := p.Closed
		if c.Connections < 0 || c.Connections > MaxConnections || c.To < 0 || c.To > MaxConnections || c.To > 0 && c.To < c.Connections {
			return "连接数须在 1 与 60000 之间，to 不小于 connections", "connections are between 1 and 60000, and to is not below them"
		}
		if !lasts(c.For) {
			return "for 须为正，最长一天", "for must be positive, a day at most"
		}
		return "", ""
	}
	return p.Open.wrong()
}

func lasts(d yamlfile.Duration) bool { return d > 0 && time.Duration(d) <= MaxDuration }

func (o *OpenDef) wrong() (zh, en string) {
	forms := 0
	for _, is := range []bool{o.Rate != 0, o.From != 0 || o.To != 0, o.Share != 0, len(o.Steps) > 0} {
		if is {
			forms++
		}
	}
	switch {
	case forms != 1:
		return "open 须为 rate、from 与 to、share、steps 之一", "open has one of rate, from and to, share, steps"
	case o.Arrivals != "" && o.Arrivals != "even" && o.Arrivals != "poisson":
		return "arrivals 应为 even 或 poisson", "arrivals are even or poisson"
	case len(o.Steps) > 0 && o.For != 0, len(o.Steps) == 0 && !lasts(o.For):
		return "须有正的 for，最长一天；steps 则各自有之", "needs a positive for, a day at most; of steps, each has its own"
	case !(o.Share >= 0 && o.Share <= 2):
		return "share 须在 0 与 2 之间", "share is between 0 and 2"
	}
	total := time.Duration(0)
	for _, s := range o.steps() {
		bad := func(r float64) bool { return !(r >= 0 && r <= MaxRate) || math.IsInf(r, 0) }
		if total += s.For; s.For <= 0 || total > MaxDuration || bad(s.From) || bad(s.To) {
			return "速率须在 0 与 1000 万之间，时长须为正，合计最长一天", "rates are between 0 and ten million, times are positive, and a day together at most"
		}
	}
	return "", ""
}

// steps returns the steps of the loop; of a share of the ceiling, as if that were 1.
func (o *OpenDef) steps() []schedule.Step {
	if len(o.Steps) == 0 {
		return []schedule.Step{stepOf(o.Rate+o.Share, o.From, o.To, o.For)}
	}
	var all []schedule.Step
	for _, s := range o.Steps {
		all = append(all, stepOf(s.Rate, s.From, s.To, s.For))
	}
	return all
}

func stepOf(rate, from, to float64, d yamlfile.Duration) schedule.Step {
	if rate != 0 {
		from, to = rate, rate
	}
	return schedule.Step{From: from, To: to, For: time.Duration(d)}
}

// Schedule returns the schedule of the loop. ceiling is what a share is of.
func (o *OpenDef) Schedule(ceiling float64) schedule.Schedule {
	s := schedule.Schedule{Steps: o.steps(), Poisson: o.Arrivals == "poisson"}
	if o.Share != 0 {
		for i := range s.Steps {
			s.Steps[i].From *= ceiling
			s.Steps[i].To *= ceiling
		}
	}
	return s
}
