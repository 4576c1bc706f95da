package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/qiongdev/qiong/bench/internal/report"
)

// council measures how soon receipts are complete: with a council as it is configured, with one that gathers for a fifth
// of the time, and in log mode, by turns.
func council(ctx context.Context, b *bench) error {
	fmt.Printf("From the answer to the complete receipt at %.0f records/s in requests of %d, half of them vouchers that the rule judges, ms:\n\n| mode | %s | CPU µs a record |\n|---|%s--:|\n",
		b.rate, inRequest, latencyHead, "--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	modes := []struct {
		name  string
		start func() (*system, error)
	}{
		{"council", func() (*system, error) { return b.startCouncil(ctx) }},
		{"council, gather 20 ms", func() (*system, error) { return b.startCouncil(ctx, "--evidence.gather", "20ms") }},
		{"log", func() (*system, error) { return b.startAlone(ctx, "up") }},
	}
	p50, p99 := map[string][]float64{}, map[string][]float64{}
	for range b.rounds {
		for _, m := range modes {
			s, err := m.start()
			if err != nil {
				return err
			}
			l, cpu, err := b.mixed(ctx, s)
			if err := errors.Join(err, s.stop()); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			fmt.Printf("| %s | %s | %.0f |\n", m.name, l, cpu)
			p50[m.name] = append(p50[m.name], quantile(l.accepted, 50))
			p99[m.name] = append(p99[m.name], quantile(l.accepted, 99))
		}
	}
	full, fifth := report.Median(p50["council"]), report.Median(p50["council, gather 20 ms"])
	fmt.Printf("\nGathering: %.0f ms less of it save %.0f ms of %.0f at the median; so it takes about %.0f %%.\n\n", 80.0, 1000*(full-fifth), 1000*full, 100*(full-fifth)*100/80/full)
	b.atMost("council, 202 to complete receipt, p50", full, 0.15, "s")
	b.atMost("council, 202 to complete receipt, p99", report.Median(p99["council"]), 0.4, "s")
	return nil
}

// mixed sends as many vouchers as orders, at the rate asked for in all. The orders of the vouchers come first. In log
// mode, which has no policy of types, all are commitments alone.
func (b *bench) mixed(ctx context.Context, s *system) (*latency, float64, error) {
	before, r := records{"mixed", orders}, records{"mixed", both}
	if s.council == nil {
		before, r = records{"mixed-1", plain}, records{"mixed-2", plain}
	}
	n := int(b.rate * b.each.Seconds())
	if _, err := s.flood(ctx, before, n, 1); err != nil {
		return nil, 0, err
	}
	if _, err := s.last(ctx, before, n); err != nil {
		return nil, 0, err
	}
	if _, err := s.open(ctx, records{"warm", before.kind}, b.rate, 2*time.Second, inRequest, "complete"); err != nil {
		return nil, 0, err
	}
	cpu := s.cpu()
	l, err := s.open(ctx, r, b.rate, b.each, inRequest, "complete")
	log.Printf("%.0f records/s for %v; load average %s", b.rate, b.each, loadAverage())
	return l, float64((s.cpu() - cpu).Microseconds()) / float64(n), err
}

// away measures provisional receipts while an agency is away, killed or hung, and how soon they are complete after its
// return.
func away(ctx context.Context, b *bench) error {
	fmt.Printf("One agency of four away, %.0f records/s, ms until the receipt is provisional; then until the last is complete:\n\n| away | %s | complete after its return, s |\n|---|%s--:|\n",
		b.rate, latencyHead, "--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, how := range []string{"stopped", "hung"} {
		s, err := b.startCouncil(ctx)
		if err != nil {
			return err
		}
		l, back, err := b.without(ctx, s, how)
		if err := errors.Join(err, s.stop()); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
		fmt.Printf("| %s | %s | %.2f |\n", how, l, back.Seconds())
		b.atMost("one agency "+how+", 202 to provisional receipt, p99", quantile(l.accepted, 99), 0.87, "s")
		b.atMost("one agency "+how+", complete after its return", back.Seconds(), 3, "s")
	}
	fmt.Println()
	return nil
}

func (b *bench) without(ctx context.Context, s *system, how string) (*latency, time.Duration, error) {
	if _, err := s.open(ctx, records{"warm", orders}, b.rate, 2*time.Second, inRequest, "complete"); err != nil {
		return nil, 0, err
	}
	tax := s.council.Node("tax")
	leave, again := tax.Kill, tax.Start
	if how == "hung" {
		leave, again = func() error { return tax.Signal(syscall.SIGSTOP) }, func() error { return tax.Signal(syscall.SIGCONT) }
	}
	if err := leave(); err != nil {
		return nil, 0, err
	}
	r := records{"away", orders}
	l, err := s.open(ctx, r, b.rate, b.each, inRequest, "provisional")
	begun := time.Now()
	if err := errors.Join(err, again()); err != nil {
		return nil, 0, err
	}
	v, err := s.await(ctx, r.id(int(b.rate*b.each.Seconds())-1), "complete")
	if err == nil && len(v.Owed) > 0 {
		err = errors.New("a complete receipt is owed signatures")
	}
	return l, time.Since(begun), err
}

// day measures how long a day of return vouchers takes from the first request to the last complete receipt.
func day(ctx context.Context, b *bench) (err error) {
	s, err := b.startCouncil(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, k := range []kind{orders, vouchers} {
		r := records{"day", k}
		cpu, begun := s.cpu(), time.Now()
		accepted, err := s.flood(ctx, r, b.day, 4)
		if err != nil {
			return err
		}
		v, err := s.last(ctx, r, b.day)
		if err != nil {
			return err
		}
		took := time.Since(begun)
		used := float64((s.cpu() - cpu).Microseconds()) / float64(b.day)
		if k == orders {
			fmt.Printf("%d orders: accepted in %.1f s, complete in %.1f s (%.0f/s), CPU %.0f µs a record.\n\n", b.day, accepted.Seconds(), took.Seconds(), float64(b.day)/took.Seconds(), used)
			continue
		}
		if v.Rule == nil || v.Rule.Outcome != "passed" {
			return errors.New("the last voucher did not pass its rule")
		}
		memory := s.memory()
		fmt.Printf("%d return vouchers, each judged by the rule: accepted in %.1f s, all with verdicts and complete in %.1f s (%.0f/s), CPU %.0f µs a record; PSS/anonymous MiB: %s.\n\n",
			b.day, accepted.Seconds(), took.Seconds(), float64(b.day)/took.Seconds(), used, memory)
		b.atMost(fmt.Sprintf("%d return vouchers with verdicts", b.day), took.Seconds(), 60, "s")
	}
	return nil
}

// last waits until every one of n records is complete: until none waits, and the last is.
func (s *system) last(ctx context.Context, r records, n int) (*view, error) {
	for {
		waiting, err := s.Metric("qiong_evidence_waiting_records")
		if err != nil {
			return nil, err
		}
		if waiting == 0 {
			return s.await(ctx, r.id(n-1), "complete")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// held measures 5,000 records a second.
func held(ctx context.Context, b *bench) (err error) {
	s, err := b.startCouncil(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	const rate = 5000
	r := records{"held", orders}
	cpu, begun := s.cpu(), time.Now()
	l, err := s.open(ctx, r, rate, b.held, 50, "complete")
	if err != nil {
		return err
	}
	took := time.Since(begun)
	n := rate * b.held.Seconds()
	memory := s.memory()
	fmt.Printf("%d records/s for %v, complete %.1f s after the last was to be sent, CPU %.0f µs a record; PSS/anonymous MiB: %s; ms:\n\n| %s |\n|%s\n| %s |\n\n",
		rate, b.held, (took - b.held).Seconds(), float64((s.cpu()-cpu).Microseconds())/n, memory, latencyHead, "--:|--:|--:|--:|--:|--:|--:|--:|--:|", l)
	b.atLeast(fmt.Sprintf("records/s over %v with complete receipts", b.held), n/took.Seconds(), rate*0.98, "/s")
	return nil
}

// logMode measures how many records a second are durable in log mode, in the whole house and by the service alone, and
// what the same producer reaches with a council.
func logMode(ctx context.Context, b *bench) error {
	fmt.Println("Commitments in requests of 1,000 over 4 connections: answered a second, and complete a second:\n\n| mode | answered/s | complete/s | CPU µs a record | PSS/anonymous MiB at the end | house's most RSS MiB | its most private, no file's |\n|---|--:|--:|--:|---|--:|--:|")
	modes := []struct {
		name  string
		start func() (*system, error)
	}{
		{"log", func() (*system, error) { return b.startAlone(ctx, "up") }},
		{"log, by itself", func() (*system, error) { return b.startAlone(ctx, "evidence") }},
		{"council", func() (*system, error) { return b.startCouncil(ctx) }},
	}
	rates, most := map[string][]float64{}, map[string]map[string]float64{}
	for range b.rounds {
		for _, m := range modes {
			s, err := m.start()
			if err != nil {
				return err
			}
			rate, house, err := b.saturate(ctx, s, m.name)
			if err := errors.Join(err, s.stop()); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			rates[m.name] = append(rates[m.name], rate)
			if most[m.name] == nil {
				most[m.name] = map[string]float64{}
			}
			for k, v := range house {
				most[m.name][k] = max(most[m.name][k], v)
			}
		}
	}
	fmt.Println()
	for _, m := range modes[:2] {
		b.atLeast(m.name+": records durable a second", report.Median(rates[m.name]), 50_000, "/s")
		b.atMost(m.name+": RSS of the house under that load", most[m.name]["Rss:"], 60e6/(1<<20), "MiB")
		b.atMost(m.name+": of that private, no file's", most[m.name]["Anonymous:"], 60e6/(1<<20), "MiB")
	}
	return nil
}

// saturate sends as much as is taken for a time, and prints and returns what a second brought.
func (b *bench) saturate(ctx context.Context, s *system, mode string) (rate float64, house map[string]float64, err error) {
	r := records{"full", plain}
	var answered atomic.Int64
	cpu, begun := s.cpu(), time.Now()
	most := s.mostMemory(ctx)
	took, err := s.floodFor(ctx, r, 1<<30, 4, b.each, &answered)
	house, memory := most(), s.memory()
	if err != nil {
		return 0, nil, err
	}
	n := int(answered.Load())
	if _, err := s.last(ctx, r, n); err != nil {
		return 0, nil, err
	}
	rate = float64(n) / took.Seconds()
	fmt.Printf("| %s | %.0f | %.0f | %.1f | %s | %.0f | %.0f |\n", mode, rate, float64(n)/time.Since(begun).Seconds(),
		float64((s.cpu()-cpu).Microseconds())/float64(n), memory, house["Rss:"], house["Anonymous:"])
	return rate, house, nil
}
