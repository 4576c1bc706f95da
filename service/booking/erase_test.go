package booking_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/evidence"
)

// forgetful is a house whose clock and whose hourly erasing a test moves.
type forgetful struct {
	*qiongtest.House
	host   *qiong.Host // of the bookings
	folder string      // of their log
	ahead  atomic.Int64
}

func startForgetful(t *testing.T, database string) *forgetful {
	t.Helper()
	h, spots, data := &forgetful{}, t.TempDir(), filepath.Join(t.TempDir(), "data")
	h.folder = filepath.Join(data, "booking", "shard-000")
	if err := os.WriteFile(filepath.Join(spots, "bay.yaml"), []byte(strings.Replace(bay, "online: 200", "online: 1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	bookings := *booking.Service
	bookings.New = func(ctx context.Context, host *qiong.Host, cfg any) (qiong.Runner, error) {
		h.host = host
		return booking.Service.New(ctx, host, cfg)
	}
	h.House = qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{&bookings, evidence.New()}, Database: database, Data: data,
		Clock: func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) },
		Set:   map[string]string{"booking.spots": spots, "booking.erase": "1h"}})
	eventually(t, "slots", func() bool { return len(slots(t, h.House)) > 1 })
	return h
}

// files returns the contents of the log's folder.
func (h *forgetful) files(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := os.ReadDir(h.folder)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range names {
		all[e.Name()], err = os.ReadFile(filepath.Join(h.folder, e.Name()))
		if errors.Is(err, fs.ErrNotExist) { // it has got its name, or was dropped
			return h.files(t)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// documents returns the sealed documents in a copy of the log, in their order.
func (h *forgetful) documents(t *testing.T) (all [][]byte) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range h.files(t) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := wal.Open(dir, wal.Options{Unfenced: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for r, err := range log.Read(0) {
		if err != nil {
			t.Fatal(err)
		}
		var e ledger.Event
		if err := e.Parse(r.Data); err != nil {
			t.Fatal(err)
		}
		for _, v := range e.Visitors {
			all = append(all, v.Sealed)
		}
	}
	return all
}

// where returns the endings of the files in which a document stands, and "table" where one of the bookings has it.
func (h *forgetful) where(t *testing.T, document []byte) (places []string) {
	t.Helper()
	for name, data := range h.files(t) {
		if bytes.Contains(data, document) {
			places = append(places, filepath.Ext(name))
		}
	}
	rows, err := sqldb.All(t.Context(), h.host.DB, func(r sqldb.Scanner) (visitors []byte, err error) { return visitors, r.Scan(&visitors) }, "SELECT visitors FROM booking")
	if err != nil {
		t.Fatal(err)
	}
	for _, visitors := range rows {
		if bytes.Contains(visitors, document) {
			places = append(places, "table")
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// newest returns the name of the newest snapshot.
func (h *forgetful) newest(t *testing.T) (name string) {
	t.Helper()
	for n := range h.files(t) {
		if strings.HasSuffix(n, ".snap") {
			name = max(name, n)
		}
	}
	return name
}

// hour lets an hour go by: all is in the tables and with evidence, the job runs, and the snapshot that it asks for is made.
func (h *forgetful) hour(t *testing.T) {
	t.Helper()
	h.ahead.Add(int64(time.Hour))
	eventually(t, "everybody has read the log", func() bool {
		var live booking.LiveView
		get(t, h.As("operator", auth.Operator), "/api/booking/live", &live)
		at, err := sqldb.Value[int64](t.Context(), h.host.DB, "SELECT min(lsn) FROM progress WHERE name IN ('rows/0', 'acts/0')")
		if err != nil {
			t.Fatal(err)
		}
		return uint64(at) >= live.Shards[0].Durable
	})
	before := h.newest(t)
	_, jobs := h.host.Registered()
	i := slices.IndexFunc(jobs, func(j qiong.Job) bool { return j.Name == "erase" })
	if err := jobs[i].Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a snapshot", func() bool { return h.newest(t) > before })
}

// Of somebody who came, and of somebody who waited for a place in vain, nothing is left once the visit is over and the time
// has passed, although nobody books any more: neither in the tables, nor in the log, nor in what is kept of it.
func TestDocumentsLeaveTheLogAfterTheVisit(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		h := startForgetful(t, database)
		visitor, slot := h.As("visitor", auth.Applicant), slots(t, h.House)[1].ID
		if _, err := reserve(visitor, "erase-000001", map[string]any{"slot": slot, "visitors": []any{someone(1)}}); err != nil {
			t.Fatal(err)
		}
		if err := visitor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/waitlist", Body: map[string]any{"slot": slot, "visitors": []any{someone(2)}},
			Header: map[string]string{"Idempotency-Key": "erase-000002"}}, nil); err != nil {
			t.Fatal(err)
		}
		documents := h.documents(t)
		if len(documents) != 2 || len(documents[0]) == 0 || len(documents[1]) == 0 {
			t.Fatalf("the log has %d documents", len(documents))
		}
		h.hour(t)
		for i, want := range [][]string{{".wal", "table"}, {".snap", ".wal"}} {
			if got := h.where(t, documents[i]); !slices.Equal(got, want) {
				t.Fatalf("before the visit document %d stands in %v", i, got)
			}
		}
		h.ahead.Add(int64(51 * time.Hour)) // the slot is over, and its day not forgotten yet
		for range 3 {
			h.hour(t)
		}
		for i := range documents {
			if got := h.where(t, documents[i]); got != nil {
				t.Errorf("after the visit document %d stands in %v", i, got)
			}
		}
	})
}
