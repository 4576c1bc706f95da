package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/qiongdev/qiong/bench/internal/program"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/service/booking"
)

// spot is one that sells for free, so that a reservation is a booking at once.
const spot = `
spot: rush
code: 1
title: { zh: 开抢, en: Rush }
realName: true
identities: [resident]
products: [{ name: entry, title: { zh: 入园, en: Entry }, price: 0 }]
party: 5
limits: { slot: 1, day: 1 }
hold: 15m
entry: { early: 1h, late: 1h }
sale: { ahead: 1, at: "00:00", room: "%s" }
hours:
  - { from: "00:00", to: "24:00", quotas: { online: %d, agency: 4000000, window: 1, walk-in: 1 } }
`

// qiong is a running `qiong booking`.
type qiong struct {
	*program.Program
	dir   string
	token string
	all   *client.Client
	slot  string // of tomorrow
	sale  string
}

// startQiong runs a command of the program: booking by itself, or up, with the evidence that gives receipts.
func (b *bench) startQiong(ctx context.Context, command, room string, quota int) (*qiong, error) {
	dir, err := os.MkdirTemp(b.dir, "qiong-bench-")
	if err != nil {
		return nil, err
	}
	spots := filepath.Join(dir, "spots")
	if err := os.MkdirAll(spots, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(spots, "rush.yaml"), fmt.Appendf(nil, spot, room, quota), 0o600); err != nil {
		return nil, err
	}
	p, err := program.StartIn(ctx, dir, command, "--booking.spots", spots, "--booking.attempts", "1000000")
	if err != nil {
		return nil, err
	}
	q := &qiong{Program: p, dir: dir}
	agency, err := p.As(ctx, "agency")
	if err != nil {
		return nil, err
	}
	if q.all, err = p.As(ctx, "operator"); err != nil {
		return nil, err
	}
	q.token = agency.Token
	for range 200 {
		var list struct{ Items []booking.SlotView }
		if err := q.all.Do(ctx, client.Request{Method: "GET", Path: "/api/booking/slots"}, &list); err != nil {
			return nil, err
		}
		for _, s := range list.Items {
			if time.UnixMilli(int64(s.Opens)).Before(time.Now()) {
				q.slot, q.sale = s.ID, s.Sale
			}
		}
		if q.slot != "" {
			return q, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, fmt.Errorf("no slot was opened")
}

// settle waits until the tables have what was booked.
func (q *qiong) settle(ctx context.Context) error {
	resp, err := q.all.Send(ctx, client.Request{Method: "GET", Path: "/api/booking/ledger?after=7ZZZZZZZZZZZZ", Timeout: 5 * time.Minute})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// live returns what the house says of its shards.
func (q *qiong) live(ctx context.Context) (v booking.LiveView, err error) {
	return v, q.all.Do(ctx, client.Request{Method: "GET", Path: "/api/booking/live"}, &v)
}
