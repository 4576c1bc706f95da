package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/tool/bench/result"
)

// tell prints a result: as JSON for a program, otherwise for a person.
func (s *session) tell(r *result.Result) error {
	if s.c.JSON {
		enc := json.NewEncoder(s.c.Out)
		enc.SetIndent("", " ")
		return enc.Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s\n%s\n", r.Scenario, r.Target, r.Protocol, r.Machine)
	for _, p := range r.Phases {
		s.phaseText(&b, p)
	}
	s.verdictText(&b, r)
	_, err := io.WriteString(s.c.Out, b.String())
	return err
}

func (s *session) phaseText(b *strings.Builder, p *result.Phase) {
	say := s.c.Say
	loop := say("闭环", "closed loop")
	if p.Loop == "open" {
		loop = fmt.Sprintf(say("开环 %.0f/s", "open loop, %.0f a second"), p.Offered)
	}
	fmt.Fprintf(b, "\n%s  %s  %d %s  %d %s  %.1f s\n", p.Name, loop, p.Connections, say("连接", "connections"), p.Workers, say("线程", "workers"), p.Seconds)
	for _, a := range p.Agents {
		fmt.Fprintf(b, "  %-24s %10.0f/s  p99 %s  %s %s\n", a.Name, a.Rate, millis(a.P99), say("滞后", "lag"), millis(a.Lag))
	}
	for _, step := range p.Steps {
		fmt.Fprintf(b, "  %6d %s  %10.0f/s  p99 %s\n", step.Connections, say("连接", "connections"), step.Rate, millis(step.P99))
	}
	fmt.Fprintf(b, "  %s %.0f/s  %s %d  %s %d  %s %d  %s %d  %s %d\n", say("速率", "rate"), p.Rate, say("已发", "sent"), p.Sent, say("应答", "answered"), p.Done,
		say("错误", "errors"), p.Errors, say("迟发", "late"), p.Late, say("未发", "dropped"), p.Dropped)
	fmt.Fprintf(b, "  %-10s %10s %10s %10s %10s %10s %10s\n", "", "p50", "p90", "p99", "p99.9", "p99.99", "max")
	for _, row := range []struct {
		name string
		t    result.Times
	}{{say("响应", "response"), p.Response}, {say("服务", "service"), p.Service}, {say("压测端滞后", "lag"), p.Lag}} {
		fmt.Fprintf(b, "  %-10s %10s %10s %10s %10s %10s %10s\n", row.name, millis(row.t.P50), millis(row.t.P90), millis(row.t.P99), millis(row.t.P999), millis(row.t.P9999), millis(row.t.Max))
	}
	fmt.Fprintf(b, "  %s ", say("状态", "status"))
	for _, code := range slices.Sorted(maps.Keys(p.Status)) {
		fmt.Fprintf(b, " %d×%d", code, p.Status[code])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Failures)) {
		fmt.Fprintf(b, " %s×%d", name, p.Failures[name])
	}
	fmt.Fprintf(b, "\n  CPU %s %.1f µs", say("压测端", "client"), p.Usage.Client)
	if p.Usage.Server > 0 {
		fmt.Fprintf(b, "  %s %.1f µs", say("服务端", "server"), p.Usage.Server)
	}
	if p.Usage.ServerRSS > 0 {
		fmt.Fprintf(b, "  %s %.1f MiB", say("服务端内存", "server memory"), float64(p.Usage.ServerRSS)/(1<<20))
	}
	fmt.Fprintf(b, "  %s %.0f%%\n", say("最忙线程", "busiest worker"), 100*p.Busy)
}

func (s *session) verdictText(b *strings.Builder, r *result.Result) {
	say := s.c.Say
	b.WriteString("\n")
	if c := r.Calibration; c != nil {
		fmt.Fprintf(b, say("校准（空服务）：%.0f/s 于 %.0f/s，p99 %s，滞后 p99 %s\n", "calibration (no-op server): %.0f a second of %.0f, p99 %s, lag p99 %s\n"), c.Rate, c.Offered, millis(c.P99), millis(c.LagP99))
	}
	if r.Check != nil {
		line, _ := json.Marshal(r.Check) // numbers
		fmt.Fprintf(b, "%s\n", line)
	}
	for _, change := range r.Against {
		fmt.Fprintf(b, "%s %-12s %12.6g → %12.6g", change.Phase, change.Figure, change.Before, change.After)
		if change.Ratio > 0 {
			fmt.Fprintf(b, "  ×%.3f", change.Ratio)
		}
		b.WriteString("\n")
	}
	for _, rule := range r.Verdict.Rules {
		state := say("达到", "met")
		if !rule.Met {
			state = say("未达", "missed")
		}
		got := fmt.Sprintf("%.6g", rule.Got)
		if !rule.Known {
			got = say("无此数据", "not known")
		}
		fmt.Fprintf(b, "%s  %s  (%s)\n", state, rule.Text, got)
	}
	if !r.Complete {
		fmt.Fprintln(b, say("被中断：以上为已测部分", "interrupted: the above is what was measured until then"))
	}
}

// millis writes milliseconds with the digits that matter.
func millis(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.3f ms", v)
	case v < 1000:
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.2f s", v/1000)
}
