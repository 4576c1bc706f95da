package booking

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/strictjson"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/shard"
)

// Reservation is what somebody asks for.
type Reservation struct {
	Slot      string    `json:"slot" grade:"L1" doc:"时段编号 / id of the slot"`
	Channel   string    `json:"channel,omitempty" grade:"L1" enum:"online,window,walk-in,agency,elderly" doc:"渠道，缺省 online / default online"`
	Product   string    `json:"product,omitempty" grade:"L1" doc:"票种，缺省为第一种 / default the first"`
	Quantity  int       `json:"quantity,omitempty" grade:"L1" doc:"名额数，非实名景区用 / places, where no names are asked for"`
	Visitors  []Visitor `json:"visitors,omitempty" grade:"L3" doc:"游客，实名景区用 / visitors, where names are asked for"`
	Admission string    `json:"admission,omitempty" grade:"L2" doc:"等候室发放的入场凭证 / what the waiting room has given"`
}

// Answer is a booking that was made.
type Answer struct {
	_        struct{}      `grade:"L1"`
	ID       string        `json:"id"`
	Slot     string        `json:"slot"`
	Status   string        `json:"state" enum:"held,confirmed,used,expired,cancelled,refunded,missed"`
	Quantity int           `json:"quantity"`
	Amount   int64         `json:"amount" doc:"应付，分 / to be paid, in fen"`
	Until    *beijing.Time `json:"until,omitempty" doc:"须在此前支付 / to be paid before"`
}

const (
	minKey, maxKey = 8, 64
	maxReserve     = 64 << 10
	maxReserves    = 8 << 20
	// maxItems is how many bookings a batch has at most, and maxBatches how many batches are read and decided at a time.
	maxItems   = 4096
	maxBatches = 64
)

var errKey = errs.New(errs.Invalid, "幂等键应为 8 至 64 个字母、数字、下划线或连字符，且只出现一次",
	"the idempotency key is 8 to 64 letters, digits, underscores or hyphens, given once").WithCode("http.idempotency-key").WithField("Idempotency-Key")

func validKey(key string) bool {
	if len(key) < minKey || len(key) > maxKey {
		return false
	}
	for i := range len(key) {
		if c := key[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// request turns what somebody asks for into what the ledger decides on. body is what they sent, word for word: a key
// stands for it.
func (b *Booking) request(r *ledger.Request, in *Reservation, body []byte, key string, p *auth.Principal, slot *ledger.Slot) error {
	spot := b.spots[slot.Spot]
	channel, err := channelOf(in.Channel, p)
	if err != nil {
		return err
	}
	product, ok := spot.product(in.Product)
	if !ok {
		return errs.New(errs.Invalid, "没有此票种", "there is no such product").WithField("product").WithCode("booking.product")
	}
	places := in.Quantity
	visitors := r.Visitors
	if slot.Rules.RealName {
		if in.Quantity != 0 && in.Quantity != len(in.Visitors) {
			return errs.New(errs.Invalid, "与游客人数不符", "is not how many visitors there are").WithField("quantity").WithCode("booking.quantity")
		}
		places = len(in.Visitors)
		if places < 1 || places > slot.Rules.Party {
			return errs.Newf(errs.Invalid, "须有 1 至 %d 名游客", "there must be 1 to %d visitors", slot.Rules.Party).WithField("visitors").WithCode("booking.quantity")
		}
		if err := spot.admit(channel, p.Is(auth.Official), in.Visitors, time.Unix(slot.Start, 0).In(beijing.Zone)); err != nil {
			return err
		}
		visitors = b.persons(visitors, in.Visitors, slot)
	} else {
		if len(in.Visitors) > 0 {
			return errs.New(errs.Invalid, "此景区不收集游客身份", "this spot asks for no names").WithField("visitors").WithCode("booking.visitors")
		}
		if in.Quantity < 1 || in.Quantity > slot.Rules.Party {
			return errs.Newf(errs.Invalid, "应为 1 至 %d", "must be 1 to %d", slot.Rules.Party).WithField("quantity").WithCode("booking.quantity")
		}
		if !p.Is(auth.Official, auth.Agency) {
			visitors = append(visitors[:0], ledger.Visitor{Person: b.person("account\x00" + p.ID)})
		}
	}
	if len(p.ID) > ledger.MaxText {
		return errs.New(errs.Invalid, "账户标识过长", "the account's id is too long")
	}
	*r = ledger.Request{Slot: slot, Channel: channel, Product: product, Places: places, Owner: p.ID, Name: key, Visitors: visitors}
	var room [ledger.MaxText + 1 + maxKey]byte
	sum := gm.SM3(append(append(append(room[:0], p.ID...), 0), key...))
	copy(r.Key[:], sum[:])
	r.Digest = xxhash.Sum64(body)
	return nil
}

// channelOf returns the channel that somebody uses, where they may.
func channelOf(name string, p *auth.Principal) (ledger.Channel, error) {
	if name == "" {
		return ledger.Online, nil
	}
	channel, ok := ledger.ParseChannel(name)
	if !ok {
		return 0, errs.New(errs.Invalid, "渠道应为 online、window、walk-in、agency 或 elderly", "a channel is online, window, walk-in, agency or elderly").
			WithField("channel").WithCode("booking.channel")
	}
	staffed := channel == ledger.Window || channel == ledger.WalkIn
	if staffed && !p.Is(auth.Official) || channel == ledger.Agency && !p.Is(auth.Agency) {
		return 0, errs.New(errs.Forbidden, "此渠道须由窗口或旅行社办理", "this channel is for window staff or travel agencies").WithField("channel").WithCode("booking.channel")
	}
	return channel, nil
}

// reserve is the hot path: it books, and answers when the booking is durable.
func (b *Booking) reserve(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	keys := r.Header["Idempotency-Key"]
	if len(keys) != 1 || !validKey(keys[0]) {
		return errKey
	}
	body, err := readBody(r, maxReserve)
	if err != nil {
		return err
	}
	defer body.free()
	in := &body.in
	if err := in.decode(body.data); err != nil {
		return err
	}
	running, slot, err := b.slot(in.Slot)
	if err != nil {
		return err
	}
	if !p.Is(auth.Official, auth.Agency) && !b.pace.allow(p.ID, b.host.Now()) {
		return errPace
	}
	ask := shard.NewAsk(1)
	if err := b.request(ask.Request(0), in, body.data, keys[0], p, slot); err != nil {
		ask.Release()
		return err
	}
	result, err := b.one(r.Context(), running, ask, slot, in, p, r.RemoteAddr)
	if err != nil {
		return err
	}
	return b.answer(w, &result, body.data[:0])
}

// one carries out an ask for one booking, past the waiting room and the limits of a network. It releases the ask.
func (b *Booking) one(ctx context.Context, running *shard.Shard, ask shard.Ask, slot *ledger.Slot, in *Reservation, p *auth.Principal, remote string) (shard.Result, error) {
	entry, err := b.mayEnter(slot, in.Admission, p, ask.Request(0))
	if err != nil {
		ask.Release()
		return shard.Result{}, err
	}
	waiting, size := running.Waiting()
	place, err := b.networks.enter(remote, waiting, size)
	if err != nil {
		entry.end(false)
		ask.Release()
		return shard.Result{}, err
	}
	err = running.Book(ctx, ask)
	place.leave()
	if err != nil {
		entry.end(true)
		return shard.Result{}, err // the ask may still be on its way
	}
	result := *ask.Result(0)
	ask.Release()
	entry.end(result.Refused == nil)
	if result.Refused != nil {
		return result, result.Refused
	}
	return result, nil
}

// answer writes a booking that was made. The text is put into room, where it is large enough.
func (b *Booking) answer(w http.ResponseWriter, r *shard.Result, room []byte) error {
	w.Header()["Content-Type"] = jsonType
	status := http.StatusCreated
	if !r.Fresh {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, err := w.Write(append(appendAnswer(room, &r.View), '\n'))
	return err
}

var jsonType = []string{"application/json"}

// appendAnswer appends an Answer. Nothing in it needs escaping.
func appendAnswer(out []byte, v *ledger.View) []byte {
	out = append(append(append(out, `{"id":"`...), v.Number.String()...), `","slot":"`...)
	out = append(append(append(out, v.Slot.ID...), `","state":"`...), v.Status.String()...)
	out = strconv.AppendInt(append(out, `","quantity":`...), int64(v.Places), 10)
	amount := v.Slot.Rules.Products[v.Product].Price * int64(v.Places)
	out = strconv.AppendInt(append(out, `,"amount":`...), amount, 10)
	if v.Status == ledger.Held {
		out = append(out, `,"until":"`...)
		out = time.Unix(v.Until, 0).In(beijing.Zone).AppendFormat(out, beijing.Layout)
		out = append(out, '"')
	}
	return append(out, '}')
}

// Reservations are many at once, for agencies and for the back ends of other channels.
type Reservations struct {
	Items []Item `json:"items" grade:"L3"`
}

// Item is one of many.
type Item struct {
	Key string `json:"key" grade:"L1" doc:"该笔的幂等键 / idempotency key of this one"`
	Reservation
}

// reserveMany books many at once: they are decided together, each by itself, and answered in their order.
func (b *Booking) reserveMany(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	if b.batches.Add(1) > maxBatches {
		b.batches.Add(-1)
		return shard.ErrTurned
	}
	defer b.batches.Add(-1)
	body, err := readBody(r, maxReserves)
	if err != nil {
		return err
	}
	defer body.free()
	var in struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := strictjson.Check(body.data, strictjson.Limits{}); err != nil {
		return err
	}
	if err := json.Unmarshal(body.data, &in); err != nil || len(in.Items) == 0 || len(in.Items) > maxItems {
		return errs.Newf(errs.Invalid, "须有 1 至 %d 笔预约", "there must be 1 to %d reservations", maxItems).WithField("items")
	}
	results := make([]manyResult, len(in.Items))
	byShard := map[*shard.Shard][]int{}
	requests := make([]ledger.Request, len(in.Items))
	entries := make([]claim, len(in.Items))
	for i, data := range in.Items {
		running, err := b.item(&requests[i], &entries[i], data, p)
		if err != nil {
			results[i].refused = errs.As(err)
			continue
		}
		byShard[running] = append(byShard[running], i)
	}
	for running, places := range byShard {
		ask := shard.NewAsk(len(places))
		for j, i := range places {
			*ask.Request(j) = requests[i]
		}
		if err := running.Book(r.Context(), ask); err != nil {
			return err // admissions stay with their keys: bookings may still be on their way
		}
		for j, i := range places {
			results[i].Result = *ask.Result(j)
			entries[i].end(results[i].Refused == nil)
		}
		ask.Release()
	}
	w.Header()["Content-Type"] = jsonType
	_, err = w.Write(appendMany(nil, results))
	return err
}

type manyResult struct {
	shard.Result
	refused *errs.Error
}

// item reads one of many.
func (b *Booking) item(r *ledger.Request, entry *claim, data []byte, p *auth.Principal) (*shard.Shard, error) {
	var in Item
	if err := in.decode(data); err != nil {
		return nil, err
	}
	if !validKey(in.Key) {
		return nil, errKey
	}
	running, slot, err := b.slot(in.Slot)
	if err != nil {
		return nil, err
	}
	if err := b.request(r, &in.Reservation, data, in.Key, p, slot); err != nil {
		return nil, err
	}
	*entry, err = b.mayEnter(slot, in.Admission, p, r)
	return running, err
}

func appendMany(out []byte, results []manyResult) []byte {
	out = append(out, `{"results":[`...)
	for i := range results {
		if i > 0 {
			out = append(out, ',')
		}
		r := &results[i]
		if refused := r.refused; refused != nil || r.Refused != nil {
			if refused == nil {
				refused = r.Refused
			}
			said, _ := json.Marshal(map[string]string{"code": refused.Code, "kind": refused.Kind.String(), "field": refused.Field})
			out = append(out, said...)
			continue
		}
		out = appendAnswer(out, &r.View)
	}
	return append(out, "]}\n"...)
}

// buffered is a request's body in memory that is used again.
type buffered struct {
	data []byte
	in   Reservation
}

func readBody(r *http.Request, limit int64) (*buffered, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if media := r.Header.Get("Content-Type"); media != "application/json" && media != "application/json; charset=utf-8" {
		return nil, errs.New(errs.Unsupported, "请求体应为 UTF-8 编码的 application/json", "the request body must be application/json in UTF-8").
			WithCode("http.content-type").WithField("Content-Type")
	}
	body := bodies.Get().(*buffered)
	data := body.data[:0]
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			break
		}
		if err == nil && int64(len(data)) > limit {
			err = tooLarge(limit)
		}
		if err != nil {
			body.data = data
			body.free()
			return nil, err
		}
	}
	body.data = data
	return body, nil
}

func tooLarge(limit int64) error {
	return errs.Newf(errs.TooLarge, "请求体超过 %d 字节", "the request body is longer than %d bytes", limit).WithCode("http.body-too-large")
}

func (b *buffered) free() {
	if cap(b.data) <= 1<<20 {
		visitors := b.in.Visitors[:0]
		clear(visitors[:cap(visitors)])
		b.in = Reservation{Visitors: visitors}
		clear(b.data)
		bodies.Put(b)
	}
}

var bodies = sync.Pool{New: func() any { return new(buffered) }}
