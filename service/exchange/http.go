package exchange

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
)

const base = "/api/exchange"

// maxFile bounds one file, before its manifest does.
const maxFile = 1 << 42

func (x *Exchange) routes() {
	op := func(method, path, id, zh, en string, set ...func(*httpapi.Operation)) httpapi.Operation {
		o := httpapi.Operation{Method: method, Path: base + path, ID: id, Tag: "exchange", Summary: lang.T(zh, en)}
		for _, f := range set {
			f(&o)
		}
		return o
	}
	status := func(code int) func(*httpapi.Operation) { return func(o *httpapi.Operation) { o.Status = code } }
	roles := func(r ...auth.Role) func(*httpapi.Operation) { return func(o *httpapi.Operation) { o.Roles = r } }
	partner := roles(auth.Agency, auth.Operator)
	operator := roles(auth.Operator)
	reader := roles(auth.Operator, auth.Auditor)
	// Whoever is to correct a record must read it, also where they are not cleared for such data elsewhere; each such access
	// is on record.
	cleared := func(o *httpapi.Operation) { o.Clears = label.L3 }

	httpapi.Register(x.host.API, op("GET", "/feeds", "list-feeds", "列出数据流及其积压", "List the feeds and what waits for their targets", reader), x.listFeeds)
	httpapi.Register(x.host.API, op("POST", "/transfers", "announce-transfer", "以签名清单预告一个文件", "Announce a file by its signed manifest", partner, status(201)), x.announce)
	httpapi.Handle(x.host.API, op("PUT", "/transfers/{id}/content", "send-content", "发送文件内容（?offset=起始字节，可用 gzip）", "Send the file's content (?offset=, gzip allowed)", partner,
		func(o *httpapi.Operation) { o.MaxBody, o.Produces, o.Grade = maxFile, "application/json", label.L1 }), x.putContent)
	httpapi.Register(x.host.API, op("GET", "/transfers/{id}", "get-transfer", "查看传输", "Show a transfer", roles(auth.Agency, auth.Operator, auth.Auditor)), x.getTransfer)
	httpapi.Register(x.host.API, op("GET", "/transfers", "list-transfers", "列出传输，最新的在前", "List transfers, newest first", reader), x.listTransfers)
	httpapi.Register(x.host.API, op("GET", "/quarantine", "list-quarantine", "列出隔离的记录，最新的在前", "List the records in quarantine, newest first", reader), x.listHeld)
	httpapi.Register(x.host.API, op("GET", "/quarantine/{id}", "get-held", "查看隔离的记录及其内容", "Show a record in quarantine with its content", operator, cleared), x.getHeld)
	httpapi.Register(x.host.API, op("POST", "/quarantine/{id}/replay", "replay-held", "更正后重放", "Replay a record, corrected", operator, status(201)), x.postReplay)
	httpapi.Register(x.host.API, op("POST", "/quarantine/{id}/dismiss", "dismiss-held", "不再处理，须写明理由", "Dismiss a record; a reason is needed", operator, status(204)), x.postDismiss)
	httpapi.Register(x.host.API, op("GET", "/reconciliation", "reconcile", "按日对账", "Reconcile a day", reader), x.getReconciliation)
	httpapi.Register(x.host.API, op("POST", "/retry", "retry-deliveries", "立即重试等待中的投递", "Retry waiting deliveries now", operator), x.postRetry)
}

// FeedView is a feed as the API shows it.
type FeedView struct {
	_       struct{}     `grade:"L1"`
	Name    string       `json:"name"`
	Version int          `json:"version"`
	Title   lang.Text    `json:"title"`
	Grade   string       `json:"grade"`
	Targets []TargetView `json:"targets"`
}

// TargetView is a target and what waits for it.
type TargetView struct {
	_         struct{} `grade:"L1"`
	Name      string   `json:"name" grade:"L1"`
	Kind      string   `json:"kind" enum:"table,file,push"`
	Transfers int64    `json:"transfers" doc:"待送的传输 / transfers that wait"`
	Chunks    int64    `json:"chunks"`
	Attempts  int64    `json:"attempts,omitempty" doc:"连续失败次数 / failures in a row"`
	Reason    string   `json:"reason,omitempty"`
	Lag       float64  `json:"lag,omitempty" doc:"最早一批已等待的秒数 / seconds that the oldest has waited"`
	oldest    time.Duration
}

type feedsAnswer struct {
	Body struct {
		Items []FeedView `json:"items"`
	}
}

func (x *Exchange) listFeeds(ctx context.Context, _ *struct{}) (*feedsAnswer, error) {
	out := &feedsAnswer{}
	var err error
	out.Body.Items, err = x.feedViews(ctx, httpapi.CallFrom(ctx).Lang)
	return out, err
}

func (x *Exchange) feedViews(ctx context.Context, l lang.Lang) ([]FeedView, error) {
	lags, err := x.store.lags(ctx)
	if err != nil {
		return nil, err
	}
	views := []FeedView{}
	for _, f := range x.current {
		v := FeedView{Name: f.Name, Version: f.Version, Title: f.Title, Grade: f.grade().String(), Targets: []TargetView{}}
		for i := range f.To {
			t := TargetView{Name: f.To[i].Name, Kind: f.To[i].kind()}
			if at := slices.IndexFunc(lags, func(g lag) bool { return g.Feed == f.Name && g.Target == t.Name }); at >= 0 {
				g := lags[at]
				t.Transfers, t.Chunks, t.Attempts, t.Reason = g.Transfers, g.Chunks, g.Attempts, words(g.Reason, l)
				oldest, err := x.store.transfer(ctx, x.host.DB, g.Oldest)
				if err != nil {
					return nil, err
				}
				t.oldest = x.host.Now().Sub(time.UnixMilli(oldest.Ended))
				t.Lag = t.oldest.Round(time.Millisecond).Seconds()
			}
			v.Targets = append(v.Targets, t)
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b FeedView) int { return strings.Compare(a.Name, b.Name) })
	return views, nil
}

func (t *Target) kind() string {
	switch {
	case t.Table != nil:
		return "table"
	case t.File != nil:
		return "file"
	}
	return "push"
}

// TransferView is a transfer as the API shows it.
type TransferView struct {
	_           struct{}       `grade:"L1"`
	ID          string         `json:"id"`
	Feed        string         `json:"feed"`
	Version     int64          `json:"version"`
	Kind        string         `json:"kind" enum:"file,page,correction"`
	Name        string         `json:"name" doc:"文件：清单的 id / of a file: the manifest's id"`
	Day         string         `json:"day"`
	Status      string         `json:"status" enum:"receiving,accepted,refused"`
	Reason      string         `json:"reason,omitempty"`
	Offset      int64          `json:"offset" doc:"接收中：下一字节的位置 / while receiving: where the next byte belongs"`
	Records     int64          `json:"records" doc:"已接收的记录 / records taken in"`
	Quarantined int64          `json:"quarantined"`
	Created     beijing.Time   `json:"created"`
	Ended       *beijing.Time  `json:"ended,omitempty"`
	Deliveries  []DeliveryView `json:"deliveries,omitempty"`
}

// DeliveryView is how far a target has got.
type DeliveryView struct {
	_           struct{} `grade:"L1"`
	Target      string   `json:"target"`
	Status      string   `json:"status" enum:"pending,done"`
	Chunks      int64    `json:"chunks"`
	Next        int64    `json:"next" doc:"下一数据块 / the next chunk"`
	Delivered   int64    `json:"delivered"`
	Quarantined int64    `json:"quarantined"`
	Attempts    int64    `json:"attempts,omitempty"`
	Reason      string   `json:"reason,omitempty"`
}

func (t *transfer) view(l lang.Lang) (TransferView, error) {
	p, err := t.progress()
	v := TransferView{ID: t.ID, Feed: t.Feed, Version: t.Version, Kind: t.Kind, Name: t.Name, Day: t.Day, Status: t.Status, Reason: words(t.Reason, l),
		Offset: p.Split.Offset, Records: t.Good, Quarantined: t.Bad, Created: beijing.Time(t.Created)}
	if t.Ended > 0 {
		ended := beijing.Time(t.Ended)
		v.Ended = &ended
	}
	return v, err
}

type transferAnswer struct{ Body TransferView }

// announce takes a manifest. The same one again is the same transfer, wherever it stands.
func (x *Exchange) announce(ctx context.Context, in *struct {
	Body struct {
		Manifest string `json:"manifest" grade:"L2" minLength:"1" maxLength:"4096" doc:"清单全文，含签名 / the manifest with its signature"`
	}
}) (*transferAnswer, error) {
	m, sig, err := parseManifest([]byte(in.Body.Manifest))
	if err != nil {
		return nil, err
	}
	f, err := x.offered(m.Feed)
	if err != nil {
		return nil, err
	}
	if f.From.Table != nil {
		return nil, errs.New(errs.Conflict, "该数据流来自表，不接收文件", "the feed comes from a table and takes no files").WithField("feed").WithCode("exchange.not-files")
	}
	pub, err := x.host.Keys.Public("exchange." + f.From.Partner)
	if err != nil {
		return nil, errs.Wrap(err, errs.Forbidden, "尚未信任发送方的公钥", "the sender's public key is not trusted yet").
			WithHint("由运维执行 qiong keys trust exchange."+f.From.Partner+" FILE", "an operator runs qiong keys trust exchange."+f.From.Partner+" FILE")
	}
	if err := sig.verify(m, pub); err != nil {
		return nil, err
	}
	t, err := x.begin(ctx, f, m, in.Body.Manifest)
	if err != nil {
		return nil, err
	}
	v, err := t.view(httpapi.CallFrom(ctx).Lang)
	return &transferAnswer{v}, err
}

func (x *Exchange) begin(ctx context.Context, f *Feed, m Manifest, text string) (*transfer, error) {
	for range 2 {
		have, err := x.store.named(ctx, m.Feed, m.ID)
		if err != nil {
			return nil, err
		}
		if have != nil {
			if known, _, err := parseManifest([]byte(have.Manifest)); err != nil || known != m {
				return nil, errs.New(errs.Conflict, "这个清单 id 已用于另一个文件", "this manifest id was used for another file").WithField("id").WithCode("exchange.name-used")
			}
			return have, nil
		}
		if err := x.overloaded(ctx, f); err != nil {
			return nil, err
		}
		t := &transfer{ID: x.newID(), Feed: f.Name, Version: int64(f.Version), Kind: kindFile, Name: m.ID, Day: m.Day, Status: receiving,
			Manifest: text, Created: x.host.Now().UnixMilli()}
		err = x.host.DB.Append(ctx, t.row())
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, sqldb.ErrUnique) { // another connection announced it meanwhile
			return nil, err
		}
	}
	return nil, errs.New(errs.Conflict, "请重试", "try again")
}

// putContent takes in the bytes of a file from an offset on.
func (x *Exchange) putContent(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), r.PathValue("id")
	if !x.claim(id) {
		return errs.New(errs.Conflict, "此传输正由另一个连接接收", "another connection is sending this transfer").WithCode("exchange.busy").WithRetryAfter(time.Second)
	}
	defer x.release(id)
	t, err := x.store.transfer(ctx, x.host.DB, id)
	if err != nil {
		return err
	}
	if t.Status == receiving {
		if err := x.take(ctx, t, r); err != nil {
			return err
		}
	}
	v, err := t.view(httpapi.CallFrom(ctx).Lang)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

func (x *Exchange) claim(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sending[id] {
		return false
	}
	x.sending[id] = true
	return true
}

func (x *Exchange) release(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.sending, id)
}

func (x *Exchange) take(ctx context.Context, t *transfer, r *http.Request) error {
	m, _, err := parseManifest([]byte(t.Manifest))
	if err != nil {
		return err
	}
	f, err := x.feed(t.Feed, t.Version)
	if err != nil {
		return err
	}
	p, err := t.progress()
	if err != nil {
		return err
	}
	var offset int64
	if text := r.URL.Query().Get("offset"); text != "" {
		if offset, err = strconv.ParseInt(text, 10, 64); err != nil || offset < 0 {
			return errs.New(errs.Invalid, "应为字节位置", "must be a byte offset").WithField("offset")
		}
	}
	if offset > p.Split.Offset {
		return errs.Newf(errs.Conflict, "应从第 %d 字节继续", "go on from byte %d", p.Split.Offset).WithField("offset").WithCode("exchange.offset")
	}
	body, err := decoded(r)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, body, p.Split.Offset-offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return x.receive(ctx, f, t, m, body)
}

// decoded returns the file's own bytes. Offsets count those, so that a compressed file is sent again from its beginning
// and what is known of it passed over.
func decoded(r *http.Request) (io.Reader, error) {
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, errs.Wrap(err, errs.Invalid, "不是 gzip", "not gzip").WithField("Content-Encoding")
		}
		return z, nil
	}
	return nil, errs.New(errs.Unsupported, "只接受 gzip 压缩", "gzip is the only compression taken").WithField("Content-Encoding")
}

func (x *Exchange) getTransfer(ctx context.Context, in *struct {
	ID string `path:"id" grade:"L1" maxLength:"64"`
}) (*transferAnswer, error) {
	t, err := x.store.transfer(ctx, x.host.DB, in.ID)
	if err != nil {
		return nil, err
	}
	l := httpapi.CallFrom(ctx).Lang
	v, err := t.view(l)
	if err != nil {
		return nil, err
	}
	v.Deliveries, err = x.deliveryViews(ctx, t.ID, l)
	return &transferAnswer{v}, err
}

func (x *Exchange) deliveryViews(ctx context.Context, transfer string, l lang.Lang) ([]DeliveryView, error) {
	list, err := x.store.deliveries(ctx, transfer)
	views := make([]DeliveryView, len(list))
	for i, d := range list {
		views[i] = DeliveryView{Target: d.Target, Status: d.Status, Chunks: d.Chunks, Next: d.Next, Delivered: d.Delivered,
			Quarantined: d.Quarantined, Attempts: d.Attempts, Reason: words(d.Reason, l)}
	}
	return views, err
}

type transfersAnswer struct{ Body httpapi.Page[TransferView] }

func (x *Exchange) listTransfers(ctx context.Context, in *struct {
	httpapi.PageQuery
	Feed   string `query:"feed" grade:"L1" maxLength:"64"`
	Status string `query:"status" grade:"L1" enum:"receiving,accepted,refused"`
	Day    string `query:"day" grade:"L1" maxLength:"10"`
}) (*transfersAnswer, error) {
	before, err := position(in.PageQuery)
	if err != nil {
		return nil, err
	}
	rows, err := x.store.transfers(ctx, filter{feed: in.Feed, status: in.Status, day: in.Day, before: before, limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	page := httpapi.PageOf(rows, in.Limit, func(t *transfer) string { return t.ID })
	out := &transfersAnswer{httpapi.Page[TransferView]{Next: page.Next, Items: make([]TransferView, len(page.Items))}}
	for i, t := range page.Items {
		if out.Body.Items[i], err = t.view(httpapi.CallFrom(ctx).Lang); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func position(q httpapi.PageQuery) (string, error) {
	if q.Cursor == "" {
		return "", nil
	}
	return httpapi.DecodeCursor(q.Cursor)
}

// HeldView is a record in quarantine, without its content.
type HeldView struct {
	_          struct{}      `grade:"L1"`
	ID         string        `json:"id"`
	Feed       string        `json:"feed"`
	Transfer   string        `json:"transfer"`
	Seq        int64         `json:"seq" doc:"文件中的第几条 / which record of the file"`
	Target     string        `json:"target,omitempty" doc:"留空：接收时即不合要求 / empty: it was not even taken in"`
	Offset     int64         `json:"offset" doc:"文件中的字节位置 / byte offset in the file"`
	Line       int64         `json:"line"`
	Field      string        `json:"field,omitempty"`
	Code       string        `json:"code"`
	Reason     string        `json:"reason"`
	Status     string        `json:"status" enum:"open,replayed,dismissed"`
	Note       string        `json:"note,omitempty" grade:"L2"`
	ClosedBy   string        `json:"closedBy,omitempty" grade:"L2,pii=account"`
	Closed     *beijing.Time `json:"closed,omitempty"`
	Correction string        `json:"correction,omitempty" doc:"重放它的传输 / the transfer that replayed it"`
	Created    beijing.Time  `json:"created"`
}

func (h *held) view(l lang.Lang) HeldView {
	v := HeldView{ID: h.ID, Feed: h.Feed, Transfer: h.Transfer, Seq: h.Seq, Target: h.Target, Offset: h.Offset, Line: h.Line, Field: h.Field,
		Code: h.Code, Reason: h.Reason.In(l), Status: h.Status, Note: h.Note, ClosedBy: h.By, Correction: h.Correction, Created: beijing.Time(h.Created)}
	if h.Closed > 0 {
		closed := beijing.Time(h.Closed)
		v.Closed = &closed
	}
	return v
}

type heldsAnswer struct{ Body httpapi.Page[HeldView] }

func (x *Exchange) listHeld(ctx context.Context, in *struct {
	httpapi.PageQuery
	Feed     string `query:"feed" grade:"L1" maxLength:"64"`
	Status   string `query:"status" grade:"L1" enum:"open,replayed,dismissed"`
	Transfer string `query:"transfer" grade:"L1" maxLength:"64"`
}) (*heldsAnswer, error) {
	before, err := position(in.PageQuery)
	if err != nil {
		return nil, err
	}
	rows, err := x.store.quarantined(ctx, in.Feed, in.Status, in.Transfer, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	page := httpapi.PageOf(rows, in.Limit, func(h *held) string { return h.ID })
	out := &heldsAnswer{httpapi.Page[HeldView]{Next: page.Next, Items: make([]HeldView, len(page.Items))}}
	for i, h := range page.Items {
		out.Body.Items[i] = h.view(httpapi.CallFrom(ctx).Lang)
	}
	return out, nil
}

type heldAnswer struct {
	Body struct {
		HeldView
		Fields map[string]string `json:"fields,omitempty" grade:"L3" doc:"已接收的记录：各字段 / of a record that was taken in: its fields"`
		Text   string            `json:"text,omitempty" grade:"L3" doc:"未接收的记录：原文；无法解码时为 hex:… / of one that was not: as it came, or hex:… where that is no text"`
	}
}

func (x *Exchange) getHeld(ctx context.Context, in *struct {
	ID string `path:"id" grade:"L1" maxLength:"64"`
}) (*heldAnswer, error) {
	h, err := x.store.held(ctx, x.host.DB, in.ID)
	if err != nil {
		return nil, err
	}
	f, err := x.feed(h.Feed, h.Version)
	if err != nil {
		return nil, err
	}
	if err := httpapi.Raise(ctx, f.grade()); err != nil {
		return nil, err
	}
	out := &heldAnswer{}
	out.Body.HeldView = h.view(httpapi.CallFrom(ctx).Lang)
	out.Body.Fields, out.Body.Text, err = x.content(h)
	return out, err
}

func (x *Exchange) postReplay(ctx context.Context, in *struct {
	ID   string `path:"id" grade:"L1" maxLength:"64"`
	Body struct {
		Values map[string]string `json:"values,omitempty" grade:"L3" doc:"接收时被隔离：按来源列名给出整条记录；投递时被隔离：只给要改的字段 / of a record that was not taken in: all of it, by source column; of one that a target can't have: the fields to change"`
	}
}) (*transferAnswer, error) {
	t, err := x.replay(ctx, in.ID, auth.From(ctx).ID, in.Body.Values)
	if err != nil {
		return nil, err
	}
	v, err := t.view(httpapi.CallFrom(ctx).Lang)
	return &transferAnswer{v}, err
}

func (x *Exchange) postDismiss(ctx context.Context, in *struct {
	ID   string `path:"id" grade:"L1" maxLength:"64"`
	Body struct {
		Reason string `json:"reason" grade:"L2" minLength:"1" maxLength:"500"`
	}
}) (*struct{}, error) {
	return nil, x.dismiss(ctx, in.ID, auth.From(ctx).ID, in.Body.Reason)
}

type reconciliationAnswer struct{ Body Reconciliation }

func (x *Exchange) getReconciliation(ctx context.Context, in *struct {
	Feed   string `query:"feed" grade:"L1" required:"true" maxLength:"64"`
	Target string `query:"target" grade:"L1" required:"true" maxLength:"64"`
	Day    string `query:"day" grade:"L1" required:"true" maxLength:"10"`
}) (*reconciliationAnswer, error) {
	f, err := x.offered(in.Feed)
	if err != nil {
		return nil, err
	}
	to := f.target(in.Target)
	if to == nil {
		return nil, errs.New(errs.NotFound, "没有这个目标", "there is no such target").WithField("target").WithCode("exchange.no-target")
	}
	if _, err := beijing.ParseDate(in.Day); err != nil {
		return nil, errs.As(err).WithField("day")
	}
	out, err := x.reconcile(ctx, f, to, in.Day)
	if err != nil {
		return nil, err
	}
	return &reconciliationAnswer{*out}, nil
}

type countAnswer struct {
	Body struct {
		Count int64 `json:"count" grade:"L1"`
	}
}

func (x *Exchange) postRetry(ctx context.Context, in *struct {
	Body struct {
		Feed   string `json:"feed,omitempty" grade:"L1" maxLength:"64" doc:"留空为全部 / all where absent"`
		Target string `json:"target,omitempty" grade:"L1" maxLength:"64"`
	}
}) (*countAnswer, error) {
	n, err := x.host.DB.Exec(ctx, sqldb.Relaxed, "UPDATE delivery SET due_at = 0 WHERE status = 'pending' AND due_at > 0 AND ($1 = '' OR feed = $1) AND ($2 = '' OR target = $2)",
		in.Body.Feed, in.Body.Target)
	for r := range x.wake {
		x.wakeUp(r)
	}
	out := &countAnswer{}
	out.Body.Count = n
	return out, err
}
