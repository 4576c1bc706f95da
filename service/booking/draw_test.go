package booking_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/room"
	"github.com/qiongdev/qiong/service/evidence"
)

// peak is a bay that is booked through its waiting room.
var peak = strings.Replace(bay, `room: "off"`, `room: "on"`, 1)

// openSale opens a slot far ahead that goes on sale in a moment, and returns the path of its sale.
func openSale(t testing.TB, operator *client.Client, opens time.Time) (slot booking.SlotView, sale string) {
	t.Helper()
	start := time.Now().AddDate(0, 0, 40).Truncate(time.Hour)
	if err := operator.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/slots", Body: map[string]any{"spot": "bay", "start": beijing.At(start.Add(13 * time.Minute)),
		"end": beijing.At(start.Add(2 * time.Hour)), "opens": beijing.At(opens), "quotas": map[string]int{"online": 50, "window": 1, "walk-in": 1}}}, &slot); err != nil {
		t.Fatal(err)
	}
	return slot, "/api/booking/sales/" + slot.Sale
}

// joinAll has so many people join the waiting room of a sale.
func joinAll(t testing.TB, h *qiongtest.House, sale string, n int) (people []*client.Client) {
	t.Helper()
	for i := range n {
		p := h.As(fmt.Sprint("visitor", i), auth.Applicant)
		eventually(t, "a place", func() bool {
			return p.Do(t.Context(), client.Request{Method: "POST", Path: sale + "/place", Body: map[string]string{}}, nil) == nil
		})
		people = append(people, p)
	}
	return people
}

// status is the status with which a path is answered.
func status(t testing.TB, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// disk is where rooms are kept; fault says what becomes of the records of one sale.
type disk struct {
	sqldb.DB
	mu    sync.Mutex
	sale  string
	fault func(record string) (keeps bool, err error)
	tried []string // records that met the fault
}

func (d *disk) set(sale string, fault func(record string) (bool, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sale, d.fault, d.tried = sale, fault, nil
}

func (d *disk) met() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tried
}

func (d *disk) Exec(ctx context.Context, durability sqldb.Durability, sql string, args ...any) (n int64, err error) {
	if !strings.HasPrefix(sql, "UPDATE room SET") {
		return d.DB.Exec(ctx, durability, sql, args...)
	}
	keeps, fault := true, error(nil)
	d.mu.Lock()
	if args[3] == d.sale {
		if keeps, fault = d.fault(args[0].(string)); fault != nil {
			d.tried = append(d.tried, args[0].(string))
		}
	}
	d.mu.Unlock()
	if keeps {
		n, err = d.DB.Exec(ctx, durability, sql, args...)
	}
	return n, errors.Join(err, fault)
}

// on returns the service with its rooms on d.
func (d *disk) on(s *qiong.Service) *qiong.Service {
	faulty := *s
	faulty.New = func(ctx context.Context, h *qiong.Host, config any) (qiong.Runner, error) {
		d.DB = h.DB
		h.DB = d
		return s.New(ctx, h, config)
	}
	return &faulty
}

// Nothing of a draw is seen before it is on the disk; what is there is what everybody sees from then on, also where the
// server ended between the two.
func TestADrawIsKeptBeforeItIsSeen(t *testing.T) {
	full := errors.New("the disk is full")
	refuse := func(line string) func(string) (bool, error) {
		return func(record string) (bool, error) {
			if strings.Contains(record, "\n"+line+" ") {
				return false, full
			}
			return true, nil
		}
	}
	d := &disk{}
	spots, data := t.TempDir(), filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(filepath.Join(spots, "bay.yaml"), []byte(peak), 0o600); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{"booking.spots": spots}
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{d.on(booking.Service), evidence.New()}, Data: data, Set: set})
	eventually(t, "slots", func() bool { return len(slots(t, h)) > 0 })
	slot, sale := openSale(t, h.As("operator", auth.Operator), time.Now().Add(3*time.Second).Truncate(time.Second))
	d.set(slot.Sale, refuse("root"))
	people := joinAll(t, h, sale, 5)
	record := func() string { return string(fetch(t, h.URL+sale+"/draw")) }
	committed := record()

	eventually(t, "the closed list is refused again and again", func() bool { return len(d.met()) > 2 })
	if got := record(); got != committed || status(t, h.URL+sale+"/draw/list") != http.StatusConflict {
		t.Fatalf("the list was not kept, and is seen:\n%s", got)
	}

	d.set(slot.Sale, refuse("seed"))
	eventually(t, "the draw is refused again and again", func() bool { return len(d.met()) > 2 })
	closed := record()
	if !strings.HasPrefix(closed, committed) || !strings.Contains(closed, "root ") || strings.Contains(closed, "seed ") || status(t, h.URL+sale+"/draw/list") != http.StatusOK {
		t.Fatalf("the draw was not kept, and the record is:\n%s", closed)
	}
	var place booking.PlaceView
	if get(t, people[0], sale+"/place", &place); place.State != "in-draw" {
		t.Errorf("the draw was not kept, and a place is %+v", place)
	}

	// The draw comes to the disk, and the power goes before anybody is told.
	d.set(slot.Sale, func(string) (bool, error) { return true, full })
	eventually(t, "the draw is kept", func() bool { return len(d.met()) > 0 })
	drawn := d.met()[0]
	if got := record(); got != closed {
		t.Fatalf("nobody knew that the draw was kept, and the record is:\n%s", got)
	}
	d.set(slot.Sale, func(string) (bool, error) { return false, nil })
	h.Stop()

	h = qiongtest.Start(t, qiongtest.Options{Services: services, Data: data, Set: set})
	eventually(t, "the room is open again", func() bool { return status(t, h.URL+sale+"/draw") == http.StatusOK })
	if got := record(); got != drawn {
		t.Fatalf("the draw that was kept:\n%sand the one that is seen:\n%s", drawn, got)
	}
	r, err := room.ParseRecord([]byte(drawn))
	if err != nil {
		t.Fatal(err)
	}
	order, err := room.VerifyDraw(r, fetch(t, h.URL+sale+"/draw/list"))
	if err != nil || len(order) != len(people) || len(r.Beacon) != 32 {
		t.Errorf("the order is %v, %v", order, err)
	}
	eventually(t, "people go in", func() bool {
		get(t, h.As("visitor0", auth.Applicant), sale+"/place", &place)
		return place.State == "admitted"
	})
}

// Who comes when the room has long closed finds the same record and the same list.
func TestTheDrawOutlastsItsRoom(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		var ahead atomic.Int64 // of the house's clock
		spots := t.TempDir()
		if err := os.WriteFile(filepath.Join(spots, "bay.yaml"), []byte(peak), 0o600); err != nil {
			t.Fatal(err)
		}
		h := qiongtest.Start(t, qiongtest.Options{Services: services, Database: database, Set: map[string]string{"booking.spots": spots},
			Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		eventually(t, "slots", func() bool { return len(slots(t, h)) > 0 })
		_, sale := openSale(t, h.As("operator", auth.Operator), time.Now().Add(2*time.Second).Truncate(time.Second))
		people := joinAll(t, h, sale, 5)
		eventually(t, "the draw", func() bool { return bytes.Contains(fetch(t, h.URL+sale+"/draw"), []byte("seed ")) })
		record, list := fetch(t, h.URL+sale+"/draw"), fetch(t, h.URL+sale+"/draw/list")
		for _, p := range people {
			if err := p.Do(t.Context(), client.Request{Method: "DELETE", Path: sale + "/place"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		ahead.Store(int64(8 * 24 * time.Hour))
		eventually(t, "the room closes", func() bool {
			var all struct{ Items []booking.SaleView }
			get(t, people[0], "/api/booking/sales", &all)
			for _, s := range all.Items {
				if strings.HasSuffix(sale, s.Sale) {
					return false
				}
			}
			return true
		})
		if got := fetch(t, h.URL+sale+"/draw"); !bytes.Equal(got, record) {
			t.Errorf("the record is\n%sand was\n%s", got, record)
		}
		if got := fetch(t, h.URL+sale+"/draw/list"); !bytes.Equal(got, list) {
			t.Errorf("the list is\n%sand was\n%s", got, list)
		}
		checks(t, record, list)
		for _, path := range []string{"/draw", "/draw/list"} {
			if got := status(t, h.URL+"/api/booking/sales/bay-20200101"+path); got != http.StatusNotFound {
				t.Errorf("%s of no sale: %d", path, got)
			}
		}
	})
}

// runDraw runs `qiong booking draw`.
func runDraw(t testing.TB, l lang.Lang, json bool, args ...string) (string, error) {
	t.Helper()
	i := slices.IndexFunc(booking.Service.Commands, func(c *qiong.Tool) bool { return c.Name == "draw" })
	if i < 0 {
		t.Fatal("there is no such command")
	}
	tool := booking.Service.Commands[i]
	var out bytes.Buffer
	c := &qiong.Console{Out: &out, Lang: l, JSON: json, Flags: pflag.NewFlagSet("draw", pflag.ContinueOnError)}
	tool.Flags(c.Flags, c.Say)
	if err := c.Flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := tool.Run(t.Context(), c, c.Flags.Args())
	return out.String(), err
}

// checks has the command check what the API served, as it is and with every byte changed.
func checks(t *testing.T, record, list []byte) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	files := []string{write("record", record), write("list", list)}
	before := write("before", bytes.Join(bytes.SplitAfter(record, []byte("\n"))[:4], nil))
	number, alias, _ := strings.Cut(strings.SplitN(string(list), "\n", 2)[0], " ")
	out, err := runDraw(t, lang.EN, true, "verify", files[0], files[1], "--earlier", before, number, alias)
	var told struct {
		Count   int
		Beacon  string
		Earlier bool
		Places  []struct {
			Number uint32
			Alias  string
			Place  int
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &told) != nil || told.Count != 5 || !told.Earlier || len(told.Places) != 2 || told.Places[0] != told.Places[1] {
		t.Fatalf("%s%v", out, err)
	}
	r, err := room.ParseRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	order, err := room.VerifyDraw(r, list)
	if p := told.Places[0]; err != nil || p.Alias != alias || order[p.Place-1] != p.Number {
		t.Errorf("%+v is not in %v, %v", p, order, err)
	}
	if out, err := runDraw(t, lang.ZH, false, "verify", files[0], files[1], number); err != nil || !strings.HasPrefix(out, "次序无误") || !strings.Contains(out, "1 号（"+alias+"）抽中第") {
		t.Errorf("%s%v", out, err)
	}
	for i, data := range [][]byte{record, list} {
		for at := range data {
			bad := bytes.Clone(data)
			bad[at] ^= 1
			changed := slices.Clone(files)
			changed[i] = write("changed", bad)
			if _, err := runDraw(t, lang.EN, false, append([]string{"verify"}, changed...)...); !errs.Is(err, errs.Invalid) || !slices.Contains(changed, errs.As(err).Field) {
				t.Errorf("with byte %d changed of\n%s%v", at, data, err)
			}
		}
	}
}
