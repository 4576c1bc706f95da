package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"golang.org/x/sys/unix"
	"os"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/schedule"
)

func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// rushPart has everybody come at once: from nothing to the peak within a second, by a schedule that waits for nobody,
// while a waiting room is on. Those who have no admission are told to go there; nobody may be left without an answer.
func (b *bench) rushPart(ctx context.Context) error {
	for range b.rounds {
		q, err := b.startQiong(ctx, "booking", "on", quota)
		if err != nil {
			return err
		}
		if err := b.rushRound(ctx, q); err != nil {
			return err
		}
		if err := q.Stop(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) rushRound(ctx context.Context, q *qiong) error {
	visitor, err := q.As(ctx, "applicant")
	if err != nil {
		return err
	}
	join := func() error {
		return visitor.Do(ctx, client.Request{Method: "POST", Path: "/api/booking/sales/" + q.sale + "/place", Body: map[string]string{}}, nil)
	}
	for err = join(); errs.Is(err, errs.NotFound) && ctx.Err() == nil; err = join() { // it opens a moment after the house
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("joining the room: %w", err)
	}
	for _, who := range []struct{ name, token, channel string }{{"the room's door", visitor.Token, "online"}, {"bookings", q.token, "agency"}} {
		var all visitors
		all.n.Store(1 << 32)
		peak := schedule.Schedule{Steps: []schedule.Step{{From: 0, To: b.rush, For: time.Second}, {From: b.rush, To: b.rush, For: b.each}}}
		s, err := b.shoot(ctx, &all, shot{system: qiongName, load: fmt.Sprintf("rush to %.0f/s, %s", b.rush, who.name), url: q.URL, path: "/api/booking/reserve", token: who.token, channel: who.channel,
			slot: q.slot, conns: 2048, timeout: 10 * time.Second, schedule: peak, want: func(status int) bool { return status == 201 || status == 429 },
			meter: measure.Meter{"server": func() time.Duration { return proc.Tree(q.PID) }, "generator": proc.Self}})
		if err != nil {
			return err
		}
		b.add(s)
	}
	live, err := q.live(ctx)
	if err != nil {
		return err
	}
	for _, room := range live.Sales {
		if room.Sale == q.sale {
			log.Printf("waiting room: engaged %v, %d people", room.Engaged, room.People)
		}
	}
	return nil
}
