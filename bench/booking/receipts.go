package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/service/booking"
)

// receiptsGoal is how long after a peak every booking has its receipt.
const receiptsGoal = 10 * time.Second

// receipts measures how long after a peak the last of its bookings has a receipt: with evidence in the same process, all
// connections in a closed loop, and one booking more once they have ended. Acts go to evidence in the order of the log,
// so that all before it then have theirs.
func (b *bench) receipts(ctx context.Context) error {
	for round := range b.rounds {
		q, err := b.startQiong(ctx, "up", "off", quota)
		if err != nil {
			return err
		}
		if err := b.receiptsRound(ctx, q, round); err != nil {
			return err
		}
		if err := q.Stop(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) receiptsRound(ctx context.Context, q *qiong, round int) error {
	var all visitors
	s, err := b.shoot(ctx, &all, shot{system: qiongName, load: "peak, with evidence", url: q.URL, path: "/api/booking/reserve", token: q.token, slot: q.slot, conns: b.conns,
		timeout: 10 * time.Second, each: 2 * b.each, meter: measure.Meter{"server": func() time.Duration { return proc.Tree(q.PID) }, "generator": proc.Self}, want: created})
	if err != nil {
		return err
	}
	b.add(s)
	over := time.Now()
	var made booking.Answer
	if err := q.all.Do(ctx, client.Request{Method: "POST", Path: "/api/booking/reserve", Header: map[string]string{"Idempotency-Key": "the-last-one"},
		Body: map[string]any{"slot": q.slot, "visitors": []any{map[string]any{"kind": "resident", "number": label.FakeIDCard(1 << 40)}}}}, &made); err != nil {
		return err
	}
	for ctx.Err() == nil {
		var got struct{ Items []booking.ActReceipt }
		if err := q.all.Do(ctx, client.Request{Method: "GET", Path: "/api/booking/bookings/" + made.ID + "/receipt", Timeout: time.Minute}, &got); err == nil && len(got.Items) > 0 && len(got.Items[0].Receipt) > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	took, verdict := time.Since(over), "met"
	if took > receiptsGoal {
		verdict = "missed"
	}
	note := fmt.Sprintf("Round %d: %d bookings in the peak; all have receipts %.1f s after it; goal %v %s", round+1, s.Ops, took.Seconds(), receiptsGoal, verdict)
	b.report.Notes = append(b.report.Notes, note)
	log.Print(note)
	return ctx.Err()
}
