package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/tool/bench/ledger"
)

// crowdSpot sells two slots: one that nobody empties, and one that is gone at once.
const crowdSpot = `
spot: rush
code: 1
title: { zh: 开抢, en: Rush }
realName: true
identities: [resident]
products: [{ name: entry, title: { zh: 入园, en: Entry }, price: 0 }]
party: 3
limits: { slot: 1, day: 0 }
hold: 15m
entry: { early: 1h, late: 1h }
sale: { ahead: 2, at: "00:00", room: "off" }
hours:
  - { from: "00:00", to: "12:00", quotas: { online: 500, window: 1, walk-in: 1 } }
  - { from: "12:00", to: "24:00", quotas: { online: 1000000, window: 1, walk-in: 1 } }
`

// crowdSpots returns a folder with crowdSpot.
func crowdSpots(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rush.yaml"), []byte(crowdSpot), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// crowd is people who book, each visitor with keys of their own, and asks again with the same key where it was told
// nothing.
type crowd struct {
	t     *testing.T
	c     *client.Client
	stop  context.CancelFunc
	group sync.WaitGroup
	mu    sync.Mutex
	told  map[string]string // id by key
}

func newCrowd(t *testing.T, c *client.Client, workers int, slots []string) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	r := &crowd{t: t, c: c, stop: cancel, told: map[string]string{}}
	for w := range workers {
		r.group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				r.one(ctx, fmt.Sprintf("rush-%03d-%06d", w, i), slots[i%len(slots)], uint64(w*1_000_000+i))
			}
		})
	}
	return r
}

func (r *crowd) one(ctx context.Context, key, slot string, n uint64) {
	visitors := []map[string]string{}
	for i := range 1 + n%3 {
		visitors = append(visitors, map[string]string{"kind": "resident", "number": label.FakeIDCard(n*4 + i)})
	}
	for ctx.Err() == nil {
		var made booking.Answer
		err := r.c.Do(ctx, client.Request{Method: "POST", Path: "/api/booking/reserve", Header: map[string]string{"Idempotency-Key": key},
			Body: map[string]any{"slot": slot, "visitors": visitors}}, &made)
		e := errs.As(err)
		switch {
		case err == nil:
			r.mu.Lock()
			r.told[key] = made.ID
			r.mu.Unlock()
			return
		case e != nil && e.Code == "booking.sold-out":
			return
		case ctx.Err() != nil:
			return
		case errs.Is(err, errs.Unavailable) || errs.Is(err, errs.TooMany) || broken(err):
			select { // killed, or starting
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			r.t.Errorf("%s: %v", key, err)
			return
		}
	}
}

// broken reports whether a connection ended before there was an answer.
func broken(err error) bool {
	var syntax *json.SyntaxError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.As(err, &syntax)
}

func (r *crowd) end() map[string]string {
	r.stop()
	r.group.Wait()
	return r.told
}

// slotsOf returns the slots on sale, once there are some.
func slotsOf(t *testing.T, c *client.Client) (all []string) {
	t.Helper()
	for range 200 {
		var list struct{ Items []booking.SlotView }
		if err := c.Do(context.Background(), client.Request{Method: "GET", Path: "/api/booking/slots"}, &list); err == nil {
			for _, s := range list.Items {
				if time.UnixMilli(int64(s.End)).After(time.Now().Add(time.Hour)) && time.UnixMilli(int64(s.Opens)).Before(time.Now()) {
					all = append(all, s.ID)
				}
			}
		}
		if len(all) > 0 {
			return all
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatal("no slot was opened")
	return nil
}

// TestKillBooking kills the real program at random moments of a rush: what anybody was told of is there, no slot is
// oversold, and no key has booked twice.
func TestKillBooking(t *testing.T) {
	t.Parallel()
	const seed = 5
	n, r := kills(t), rand.New(rand.NewPCG(seed, 0))
	p := newProgram(t, filepath.Join(t.TempDir(), "data"), build(t, "build"), "up", "--booking.spots", crowdSpots(t), "--booking.attempts", "1000000")
	p.start()
	applicant, operator := p.tokens()
	slots := slotsOf(t, applicant)
	people := newCrowd(t, applicant, 16, slots)
	for range n {
		<-time.After(time.Duration(20+r.IntN(380)) * time.Millisecond) // the moment is the test
		p.kill()
		if t.Failed() {
			return
		}
		p.start()
	}
	told := people.end()
	slotsOf(t, applicant) // it has recovered
	checkBookings(t, operator, told)
	if log := p.said(); strings.Contains(log, "panic") || strings.Contains(log, "dead letter") {
		t.Errorf("the house logged:\n%s", log)
	}
	t.Logf("%d kills, %d bookings told of", n, len(told))
}

// checkBookings holds what callers were told against the ledger.
func checkBookings(t *testing.T, operator *client.Client, told map[string]string) {
	t.Helper()
	found, err := ledger.Check(context.Background(), operator, maps.All(told))
	if err != nil {
		t.Fatal(err)
	}
	if !found.Clean() || len(told) == 0 || found.Bookings < int64(len(told)) {
		t.Errorf("%+v", found)
	}
}
