package demo

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/tool/bench/agent"
	"github.com/qiongdev/qiong/tool/bench/ledger"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/scenario"
	"github.com/qiongdev/qiong/tool/bench/schedule"
)

//go:embed rush.yaml
var rushSpot []byte

//go:embed rush-load.yaml
var rushLoad []byte

// What the rush is made of.
const (
	places   = 20_000 // of travel agencies
	online   = 500    // through the waiting room
	early    = 200    // people who join the waiting room before the opening
	peak     = 4000   // requests a second
	rushFor  = 8 * time.Second
	openIn   = 6 * time.Second
	trickles = 5 // requests a second when the rush is over
)

// opening is the show of an opening rush.
type opening struct {
	c        *qiong.Console
	house    *client.Client // of the operator
	agency   string         // token of a travel agency
	person   string         // token of somebody who has no place in the waiting room
	issue    func(context.Context, auth.Principal) (token, link string, err error)
	slot     string
	sale     string
	opens    time.Time
	mu       sync.Mutex
	told     map[string]string // booking by key
	admitted atomic.Int64
}

// outcome is what a program reads of the show.
type outcome struct {
	Slot     string `json:"slot"`
	Places   int    `json:"places"`
	Requests int64  `json:"requests"`
	Failed   int64  `json:"failed"` // without an answer, or with another than was expected
	P50      string `json:"p50"`    // of the response times, from when each request was due
	P99      string `json:"p99"`
	Admitted int64  `json:"admitted"` // through the waiting room
	*ledger.Report
}

func runBooking(ctx context.Context, c *qiong.Console) (err error) {
	for _, name := range []string{"file", "alone"} {
		if c.Flags.Changed(name) {
			return errs.Newf(errs.Invalid, "demo booking 没有 --%s", "demo booking has no --%s", name).WithField("--" + name)
		}
	}
	once, _ := c.Flags.GetBool("once")
	data, _ := c.Flags.GetString("data")
	listen, _ := c.Flags.GetString("listen")
	if listen == "" && once {
		listen = "127.0.0.1:0"
	}
	temp, err := os.MkdirTemp("", "qiong-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if data == "" {
		data = filepath.Join(temp, "data")
	}
	spots := filepath.Join(temp, "spots")
	if err := errors.Join(os.Mkdir(spots, 0o700), os.WriteFile(filepath.Join(spots, "rush.yaml"), rushSpot, 0o600)); err != nil {
		return err
	}
	house, err := c.Up(ctx, qiong.UpOptions{Data: data, Listen: listen, Set: map[string]string{"booking.spots": spots, "booking.attempts": "60000"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, house.Stop()) }()
	operator, link, err := house.Issue(ctx, auth.Principal{ID: "demo-operator", Name: c.Say("演示管理员", "demo operator"), Roles: []auth.Role{auth.Official, auth.Operator}})
	if err != nil {
		return err
	}
	agency, _, err := house.Issue(ctx, auth.Principal{ID: "demo-channel", Name: c.Say("演示旅行社", "demo travel agency"), Roles: []auth.Role{auth.Agency}})
	if err != nil {
		return err
	}
	person, _, err := house.Issue(ctx, auth.Principal{ID: "demo-latecomer", Name: c.Say("演示游客", "demo visitor"), Roles: []auth.Role{auth.Applicant}})
	if err != nil {
		return err
	}
	o := &opening{c: c, house: &client.Client{URL: house.URL, Token: operator, Lang: c.Lang}, agency: agency, person: person, issue: house.Issue, told: map[string]string{}}
	say(c, "琼已启动：%s\n数据目录：%s\n大屏（链接只能用一次，登录后打开 %s/booking/live）：%s\n\n", "Qiong is up: %s\ndata folder: %s\nthe live page (the link works once; then open %s/booking/live): %s\n\n", house.URL, house.Data, house.URL, link)
	if err := o.run(ctx); err != nil {
		return stopped(ctx, err)
	}
	if once {
		return nil
	}
	say(c, "\n此后每秒 %d 次请求，供大屏观看。按 Ctrl-C 结束。\n", "\nFrom here on %d requests a second, for the live page. Ctrl-C ends it.\n", trickles)
	return stopped(ctx, o.trickle(ctx, house.Done))
}

// run plays the rush and checks the ledger.
func (o *opening) run(ctx context.Context) error {
	tokens := make([]string, early)
	for n := range tokens {
		var err error
		if tokens[n], _, err = o.issue(ctx, auth.Principal{ID: fmt.Sprintf("demo-visitor-%03d", n), Name: "demo", Roles: []auth.Role{auth.Applicant}}); err != nil {
			return err
		}
	}
	if err := o.openSlot(ctx); err != nil {
		return err
	}
	say(o.c, "1. 时段 %s，线上 %d 个、旅行社 %d 个名额，%s 开售；%d 人先进入等候室，开售时抽签排序。\n", "1. Slot %s with %d places online and %d for travel agencies, on sale at %s; %d people join the waiting room before, and are drawn at the opening.\n",
		o.slot, online, places, o.opens.In(beijing.Zone).Format("15:04:05"), early)
	var people sync.WaitGroup
	fail := make(chan error, early)
	for n, token := range tokens {
		people.Go(func() {
			if err := o.visitor(ctx, &client.Client{URL: o.house.URL, Token: token, Lang: o.c.Lang}, uint64(n)); err != nil {
				fail <- err
			}
		})
	}
	answer, err := o.rush(ctx)
	people.Wait()
	close(fail)
	if err = errors.Join(err, <-fail); err != nil {
		return err
	}
	say(o.c, "3. 对账：把每一次“预约成功”的答复与台账逐笔核对。\n", "3. The check: every booking that somebody was told of, against the ledger.\n")
	report, err := ledger.Check(ctx, o.house, maps.All(o.told))
	if err != nil {
		return err
	}
	at := func(q float64) string {
		return fmt.Sprintf("%.1fms", float64(answer.Tally.Response.ValueAtQuantile(q))/1000)
	}
	out := outcome{Slot: o.slot, Places: places, Requests: answer.Tally.Done(), Failed: answer.Tally.Failed(), P50: at(50), P99: at(99), Admitted: o.admitted.Load(), Report: report}
	if o.c.JSON {
		return json.NewEncoder(o.c.Out).Encode(out)
	}
	say(o.c, "   请求 %d，无答复或答复有误 %d，响应时间 p50 %s、p99 %s；经等候室预约 %d 人\n   答复成功 %d，台账 %d，占用名额 %d\n   超售 %d，丢失 %d，重复 %d\n",
		"   %d requests, %d failed, response times p50 %s, p99 %s; %d people came through the waiting room\n   told of %d, in the ledger %d, places taken %d\n   oversold %d, lost %d, double %d\n",
		out.Requests, out.Failed, out.P50, out.P99, out.Admitted, report.Acknowledged, report.Bookings, report.Live, report.Oversold, report.Lost, report.Double)
	if !report.Clean() {
		return errs.New(errs.Conflict, "台账与答复不符", "the ledger is not what people were told")
	}
	return nil
}

// openSlot opens tomorrow morning's slot, on sale in a moment.
func (o *opening) openSlot(ctx context.Context) error {
	day := time.Now().In(beijing.Zone).AddDate(0, 0, 1)
	start := time.Date(day.Year(), day.Month(), day.Day(), 8, 0, 0, 0, beijing.Zone)
	o.opens = time.Now().Add(openIn).Truncate(time.Second)
	var slot struct{ ID, Sale string }
	open := func() error {
		return o.house.Do(ctx, client.Request{Method: "POST", Path: "/api/booking/slots", Body: map[string]any{"spot": "golden-bay", "start": beijing.At(start), "end": beijing.At(start.Add(2 * time.Hour)),
			"opens": beijing.At(o.opens), "quotas": map[string]int{"online": online, "agency": places, "window": 100, "walk-in": 100, "elderly": 100}}}, &slot)
	}
	err := open()
	for errs.Is(err, errs.Unavailable) && ctx.Err() == nil { // the shard is being opened
		if err = rest(ctx, 100*time.Millisecond); err == nil {
			err = open()
		}
	}
	o.slot, o.sale = slot.ID, slot.Sale
	return err
}

// visitor joins the waiting room, waits to be let in, and books.
func (o *opening) visitor(ctx context.Context, c *client.Client, n uint64) error {
	path := "/api/booking/sales/" + o.sale + "/place"
	var place struct{ State, Admission string }
	for { // the room opens a moment after its slot
		err := c.Do(ctx, client.Request{Method: "POST", Path: path, Body: map[string]string{}}, &place)
		if err == nil {
			break
		}
		if !errs.Is(err, errs.NotFound) || time.Now().After(o.opens.Add(rushFor)) {
			return err
		}
		if err := rest(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	for place.Admission == "" {
		if err := rest(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		if err := c.Do(ctx, client.Request{Method: "GET", Path: path}, &place); err != nil {
			return err
		}
		if place.State == "sold-out" {
			return nil
		}
	}
	key := fmt.Sprintf("demo-visitor-%06d", n)
	var made struct{ ID string }
	err := c.Do(ctx, client.Request{Method: "POST", Path: "/api/booking/reserve", Header: map[string]string{"Idempotency-Key": key}, Body: map[string]any{
		"slot": o.slot, "admission": place.Admission, "visitors": []any{map[string]any{"kind": "resident", "number": label.FakeIDCard(1<<40 + n)}}}}, &made)
	if e := errs.As(err); e != nil && e.Code == "booking.sold-out" {
		return nil
	}
	if err != nil {
		return err
	}
	o.admitted.Add(1)
	o.tell(key, made.ID)
	return nil
}

func (o *opening) tell(key, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told[key] = id
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// job is the load of travel agencies, and of people without a place.
func (o *opening) job(s schedule.Schedule) (*agent.Job, error) {
	def, at, err := scenario.Parse(rushLoad)
	if err != nil {
		return nil, err
	}
	def.Target = o.house.URL
	def.Variables["slot"], def.Variables["agency"], def.Variables["person"] = o.slot, o.agency, o.person
	return agent.Order{Definition: def, Schedule: s, Connections: def.Connections, Workers: 1, Keep: true}.Prepare(nil, at)
}

// rush sends the crowd at the moment of the opening.
func (o *opening) rush(ctx context.Context) (*agent.Answer, error) {
	job, err := o.job(schedule.Schedule{Steps: []schedule.Step{{From: 0, To: peak, For: time.Second}, {From: peak, To: peak, For: rushFor}}})
	if err != nil {
		return nil, err
	}
	if err := rest(ctx, time.Until(o.opens)); err != nil {
		return nil, err
	}
	say(o.c, "2. 开售：一秒内升至每秒 %d 次请求，持续 %.0f 秒（开放式负载，不等任何答复）；四分之一没有等候室的位置，会被请去等候室。\n", "2. The opening: %d requests a second within one, for %.0f seconds (an open loop, which waits for nobody); a fourth have no place in the waiting room, and are shown to it.\n", peak, rushFor.Seconds())
	watch := &load.Watch{}
	ended := make(chan struct{})
	defer close(ended)
	go o.progress(watch, ended)
	answer, err := job.Run(ctx, nil, watch)
	if err != nil {
		return nil, err
	}
	for key, id := range agent.Acknowledged([]*agent.Answer{answer}) {
		o.tell(key, id)
	}
	return answer, nil
}

// progress says every second how far the rush is.
func (o *opening) progress(w *load.Watch, ended <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-ticker.C:
			say(o.c, "   已发 %d，已答 %d\n", "   sent %d, answered %d\n", w.Sent.Load(), w.Done.Load())
		}
	}
}

// trickle keeps a little going for the live page.
func (o *opening) trickle(ctx context.Context, done <-chan error) error {
	job, err := o.job(schedule.Constant(trickles, 24*time.Hour))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, err := job.Run(ctx, nil, &load.Watch{})
		ended <- err
	}()
	select {
	case err := <-done:
		return err
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
