package exchange

import (
	"embed"
	"fmt"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/pages"
)

//go:embed pages
var pageFiles embed.FS

var templates = pages.Parse(pageFiles, "feeds", "transfers", "transfer", "quarantine", "reconciliation")

func (x *Exchange) pageRoutes() {
	site := &pages.Site{
		Brand: lang.T("数据交换", "Data exchange"), Home: "/exchange/", Who: x.host.Who, Fail: x.host.API.Fail,
		Nav: []pages.Link{
			{Name: "feeds", Path: "/exchange/", Text: lang.T("数据流", "Feeds")},
			{Name: "transfers", Path: "/exchange/transfers", Text: lang.T("传输", "Transfers")},
			{Name: "quarantine", Path: "/exchange/quarantine", Text: lang.T("隔离区", "Quarantine")},
			{Name: "reconciliation", Path: "/exchange/reconciliation", Text: lang.T("对账", "Reconciliation")},
		},
	}
	for path, show := range map[string]pages.Show{
		"GET /exchange/{$}": x.feedsPage, "GET /exchange/transfers": x.transfersPage, "GET /exchange/transfers/{id}": x.transferPage,
		"GET /exchange/quarantine": x.quarantinePage, "GET /exchange/reconciliation": x.reconciliationPage,
	} {
		// Pages show counts, places and reasons, never a record.
		gate := x.host.API.Gate(httplabel.Route{Name: path, Grade: label.L2})
		x.host.Mux.HandleFunc(path, site.Handle(func(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal) error {
			if _, err := gate.Enter(r.Context(), w.Header()); err != nil {
				return err
			}
			return show(w, r, p, who)
		}, auth.Operator, auth.Auditor))
	}
}

// feedRow is a feed as its page shows it.
type feedRow struct {
	Name, Title, Grade string
	Targets            []targetRow
}

type targetRow struct{ Name, Kind, Waiting, Lag, Tone, Reason string }

func (x *Exchange) feedsPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal) error {
	views, err := x.feedViews(r.Context(), p.Lang)
	if err != nil {
		return err
	}
	p.Title, p.At = p.Say("数据流", "Feeds"), "feeds"
	data := struct {
		pages.Page
		Feeds []feedRow
	}{Page: p}
	kinds := map[string]string{"table": p.Say("数据表", "table"), "file": p.Say("文件", "files"), "push": p.Say("接口", "interface")}
	for _, v := range views {
		row := feedRow{Name: v.Name, Title: v.Title.In(p.Lang), Grade: v.Grade}
		for _, t := range v.Targets {
			tr := targetRow{Name: t.Name, Kind: kinds[t.Kind], Waiting: p.Say("无积压", "up to date"), Tone: "good", Reason: t.Reason}
			if t.Transfers > 0 {
				tr.Waiting = fmt.Sprintf(p.Say("%d 批，%d 块", "transfers: %d, chunks: %d"), t.Transfers, t.Chunks)
				tr.Lag, tr.Tone = t.oldest.Round(time.Second).String(), "busy"
			}
			if t.Attempts > 0 {
				tr.Tone = "warn"
			}
			row.Targets = append(row.Targets, tr)
		}
		data.Feeds = append(data.Feeds, row)
	}
	return templates.Render(w, "feeds", data)
}

type transferRow struct {
	ID, Feed, Name, Day, Status, Tone, Reason, When string
	Good, Bad                                       int64
}

func (t *transfer) show(l lang.Lang) transferRow {
	status := map[string]lang.Text{receiving: lang.T("接收中", "receiving"), accepted: lang.T("已接收", "accepted"), refused: lang.T("已拒收", "refused")}
	tone := map[string]string{receiving: "busy", accepted: "good", refused: "bad"}
	return transferRow{ID: t.ID, Feed: t.Feed, Name: t.Name, Day: t.Day, Status: status[t.Status].In(l), Tone: tone[t.Status],
		Reason: words(t.Reason, l), When: pages.Clock(t.Created), Good: t.Good, Bad: t.Bad}
}

func (x *Exchange) transfersPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal) error {
	before, err := position(httpapi.PageQuery{Cursor: r.URL.Query().Get("cursor")})
	if err != nil {
		return err
	}
	rows, err := x.store.transfers(r.Context(), filter{feed: r.URL.Query().Get("feed"), before: before, limit: 51})
	if err != nil {
		return err
	}
	p.Title, p.At = p.Say("传输", "Transfers"), "transfers"
	list := httpapi.PageOf(rows, 50, func(t *transfer) string { return t.ID })
	data := struct {
		pages.Page
		Transfers []transferRow
		Next      string
	}{Page: p, Next: list.Next}
	for _, t := range list.Items {
		data.Transfers = append(data.Transfers, t.show(p.Lang))
	}
	return templates.Render(w, "transfers", data)
}

func (x *Exchange) transferPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal) error {
	t, err := x.store.transfer(r.Context(), x.host.DB, r.PathValue("id"))
	if err != nil {
		return err
	}
	deliveries, err := x.deliveryViews(r.Context(), t.ID, p.Lang)
	if err != nil {
		return err
	}
	p.Title, p.At = t.Feed+" "+t.Name, "transfers"
	return templates.Render(w, "transfer", struct {
		pages.Page
		Transfer   transferRow
		Deliveries []DeliveryView
		Manifest   string
	}{p, t.show(p.Lang), deliveries, t.Manifest})
}

type heldRow struct {
	ID, Feed, Transfer, Target, Where, Field, Reason, Status, Tone, When string
}

func (x *Exchange) quarantinePage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal) error {
	q := r.URL.Query()
	before, err := position(httpapi.PageQuery{Cursor: q.Get("cursor")})
	if err != nil {
		return err
	}
	status := open
	if q.Get("status") == "all" {
		status = ""
	}
	rows, err := x.store.quarantined(r.Context(), q.Get("feed"), status, q.Get("transfer"), before, 51)
	if err != nil {
		return err
	}
	p.Title, p.At = p.Say("隔离区", "Quarantine"), "quarantine"
	list := httpapi.PageOf(rows, 50, func(h *held) string { return h.ID })
	data := struct {
		pages.Page
		Held []heldRow
		Next string
		All  bool
	}{Page: p, Next: list.Next, All: status == ""}
	names := map[string]string{open: p.Say("待处理", "open"), replayed: p.Say("已重放", "replayed"), dismissed: p.Say("不再处理", "dismissed")}
	tones := map[string]string{open: "warn", replayed: "good", dismissed: "idle"}
	for _, h := range list.Items {
		where := fmt.Sprintf(p.Say("第 %d 行，第 %d 字节", "line %d, byte %d"), h.Line, h.Offset)
		if h.Line == 0 {
			where = fmt.Sprintf(p.Say("第 %d 条", "record %d"), h.Seq)
		}
		data.Held = append(data.Held, heldRow{h.ID, h.Feed, h.Transfer, h.Target, where, h.Field, h.Reason.In(p.Lang), names[h.Status], tones[h.Status], pages.Clock(h.Created)})
	}
	return templates.Render(w, "quarantine", data)
}

// choice is a feed and one of its targets.
type choice struct {
	Feed, Target string
	Chosen       bool
}

func (x *Exchange) reconciliationPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal) error {
	q := r.URL.Query()
	p.Title, p.At = p.Say("对账", "Reconciliation"), "reconciliation"
	data := struct {
		pages.Page
		Choices []choice
		Day     string
		Result  *Reconciliation
		Problem string
	}{Page: p, Day: q.Get("day")}
	if data.Day == "" {
		data.Day = beijing.Date(x.host.Now())
	}
	views, err := x.feedViews(r.Context(), p.Lang)
	if err != nil {
		return err
	}
	chosen := q.Get("of")
	for _, v := range views {
		for _, t := range v.Targets {
			data.Choices = append(data.Choices, choice{v.Name, t.Name, route{v.Name, t.Name}.String() == chosen})
			if (route{v.Name, t.Name}).String() != chosen {
				continue
			}
			f := x.current[v.Name]
			if _, err = beijing.ParseDate(data.Day); err == nil {
				data.Result, err = x.reconcile(r.Context(), f, f.target(t.Name), data.Day)
			}
			if err != nil { // the page stays, with what is wrong
				data.Problem = errs.As(err).Msg.In(p.Lang)
			}
		}
	}
	return templates.Render(w, "reconciliation", data)
}
