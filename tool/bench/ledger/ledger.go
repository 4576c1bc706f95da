// Package ledger holds what a booking service acknowledged under load against what its ledger says afterwards. It promises
// to find every place sold twice, every acknowledgement that is not in the ledger, and every key that made two bookings,
// from two readings: GET /api/booking/slots and GET /api/booking/ledger.
package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
)

// Report is what a check found. Clean ledgers have zero in the first five.
type Report struct {
	Oversold int64 `json:"oversold"` // places in live bookings above what their slots have, by channel
	Lost     int64 `json:"lost"`     // acknowledged, and not in the ledger with that id and key
	Double   int64 `json:"double"`   // keys with more than one booking, counted once for each too many
	Repeated int64 `json:"repeated"` // bookings that the ledger lists more than once
	Unknown  int64 `json:"unknown"`  // slots with live bookings that the service does not list

	Acknowledged int64 `json:"acknowledged"`
	Bookings     int64 `json:"bookings"` // in the ledger
	Live         int64 `json:"live"`     // places in bookings that are held, confirmed or used
	Slots        int64 `json:"slots"`
	Past         int64 `json:"past,omitempty"` // slots of days gone by, which the service has forgotten: not compared
}

// Clean reports whether nothing is wrong.
func (r *Report) Clean() bool {
	return r.Oversold == 0 && r.Lost == 0 && r.Double == 0 && r.Repeated == 0 && r.Unknown == 0
}

// Booking is a line of the ledger.
type Booking struct {
	ID       string `json:"id"`
	Key      string `json:"key"`
	Slot     string `json:"slot"`
	Channel  string `json:"channel"`
	Quantity int64  `json:"quantity"`
	State    string `json:"state"`
}

// live are the states in which a booking takes up places.
func (b *Booking) live() (bool, error) {
	switch b.State {
	case "held", "confirmed", "used", "missed": // who did not come had the place none the less
		return true, nil
	case "cancelled", "expired", "refunded":
		return false, nil
	}
	return false, wrong("账本中有未知的状态", "the ledger has an unknown state")
}

func wrong(zh, en string) *errs.Error {
	return errs.New(errs.Unavailable, zh, en).WithHint("目标是否为 qiong 的预约服务？", "is the target the booking service of qiong?")
}

// Check reads slots and ledger of the service behind c and compares them with what was acknowledged: pairs of the
// Idempotency-Key that was sent and the id that was answered. Nothing may be under way any more.
func Check(ctx context.Context, c *client.Client, acknowledged iter.Seq2[string, string]) (*Report, error) {
	k := &checker{c: c, seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, acked: map[[2]string]bool{}, keys: map[hash]bool{}, ids: map[hash]bool{},
		quotas: map[string]map[string]int64{}, taken: map[string]map[string]int64{}}
	for key, id := range acknowledged {
		k.r.Acknowledged++
		k.acked[[2]string{id, key}] = true
	}
	// The ledger first: a booking that appears between the two readings is then of a slot that is listed.
	if err := k.ledger(ctx); err != nil {
		return nil, fmt.Errorf("couldn't read the ledger: %w", err)
	}
	if err := k.slots(ctx); err != nil {
		return nil, fmt.Errorf("couldn't read the slots: %w", err)
	}
	k.r.Lost += int64(len(k.acked)) // those that were found are gone from it
	kept := time.Now().In(beijing.Zone).AddDate(0, 0, -keep).Format("20060102")
	for slot, taken := range k.taken {
		quotas, known := k.quotas[slot]
		switch {
		case known:
			for channel, n := range taken {
				k.r.Oversold += max(0, n-quotas[channel])
			}
		case dayOf(slot) < kept:
			k.r.Past++
		default:
			k.r.Unknown++
		}
	}
	return &k.r, nil
}

// keep is for how many days a service lists slots that are over.
const keep = 2

// dayOf returns the day in a slot's id, such as 20261001 in bay-20261001-0800; something after every day where there is none.
func dayOf(slot string) string {
	parts := strings.Split(slot, "-")
	if n := len(parts); n >= 3 && len(parts[n-2]) == 8 && strings.Trim(parts[n-2], "0123456789") == "" {
		return parts[n-2]
	}
	return "none"
}

// hash stands for a text of the ledger: 128 bits under seeds of this process, so that ten million fit into memory.
type hash [2]uint64

type checker struct {
	c      *client.Client
	r      Report
	seed   [2]maphash.Seed
	acked  map[[2]string]bool // ids with their keys; what the ledger confirms is taken out
	keys   map[hash]bool
	ids    map[hash]bool
	quotas map[string]map[string]int64 // of slots, by channel
	taken  map[string]map[string]int64
}

func (k *checker) hash(s string) hash {
	return hash{maphash.String(k.seed[0], s), maphash.String(k.seed[1], s)}
}

// page is how many bookings are asked for at a time, and maxPages how often, so that a server that never comes to an end
// does not keep us.
const (
	page     = 10_000
	maxPages = 1_000_000
	maxLine  = 64 << 10
)

// ledger reads all pages of the ledger.
func (k *checker) ledger(ctx context.Context) error {
	after := ""
	for range maxPages {
		query := url.Values{"limit": {fmt.Sprint(page)}}
		if after != "" {
			query.Set("after", after)
		}
		resp, err := k.c.Send(ctx, client.Request{Method: "GET", Path: "/api/booking/ledger?" + query.Encode(), Header: map[string]string{"Accept": "application/x-ndjson"}, Timeout: 5 * time.Minute})
		if err != nil {
			return err
		}
		next := resp.Header.Get("Next-After")
		err = k.lines(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if next == "" {
			return nil
		}
		if next == after {
			break
		}
		after = next
	}
	return wrong("账本没有尽头", "the ledger has no end")
}

func (k *checker) lines(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var b Booking
		if err := json.Unmarshal(lines.Bytes(), &b); err != nil || b.ID == "" || b.Slot == "" || b.Channel == "" || b.Quantity < 1 {
			return wrong("账本的一行无法读取", "a line of the ledger can't be read")
		}
		if err := k.booking(&b); err != nil {
			return err
		}
	}
	return lines.Err()
}

// booking takes a line of the ledger in.
func (k *checker) booking(b *Booking) error {
	k.r.Bookings++
	id := k.hash(b.ID)
	if k.ids[id] {
		k.r.Repeated++
		return nil
	}
	k.ids[id] = true
	if b.Key != "" {
		key := k.hash(b.Key)
		if k.keys[key] {
			k.r.Double++
		}
		k.keys[key] = true
	}
	delete(k.acked, [2]string{b.ID, b.Key})
	live, err := b.live()
	if live {
		k.r.Live += b.Quantity
		if k.taken[b.Slot] == nil {
			k.taken[b.Slot] = map[string]int64{}
		}
		k.taken[b.Slot][b.Channel] += b.Quantity
	}
	return err
}

// slots reads all pages of slots.
func (k *checker) slots(ctx context.Context) error {
	after := ""
	for range maxPages {
		var answer struct {
			Items []struct {
				ID     string           `json:"id"`
				Quotas map[string]int64 `json:"quotas"`
			} `json:"items"`
			Next string `json:"next"`
		}
		path := "/api/booking/slots"
		if after != "" {
			path += "?" + url.Values{"after": {after}}.Encode()
		}
		if err := k.c.Do(ctx, client.Request{Method: "GET", Path: path}, &answer); err != nil {
			return err
		}
		for _, s := range answer.Items {
			if s.ID == "" || s.Quotas == nil {
				return wrong("时段没有编号或名额", "a slot has no id or quotas")
			}
			if _, twice := k.quotas[s.ID]; !twice {
				k.r.Slots++
			}
			k.quotas[s.ID] = s.Quotas
		}
		if answer.Next == "" {
			return nil
		}
		if answer.Next == after {
			break
		}
		after = answer.Next
	}
	return wrong("时段列表没有尽头", "the list of slots has no end")
}
