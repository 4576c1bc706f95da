package booking

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// gates is what the gates of all spots need.
type gates struct {
	keys    *ticket.Keys
	visits  []atomic.Pointer[visits] // by shard
	scans   *prometheus.CounterVec   // by reason
	doubles *prometheus.CounterVec   // by reason
}

const gateBase = base + "/gate"

// gateRoutes opens what gates use.
func (b *Booking) gateRoutes() error {
	b.gates = gates{
		keys:    ticket.NewKeys(b.key.PublicKey()),
		visits:  make([]atomic.Pointer[visits], len(b.seats)),
		scans:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gate_scans_total", Help: "Codes that gates asked about, by what they were told."}, []string{"reason"}),
		doubles: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gate_doubles_total", Help: "Entries of uploaded journals that should not have been, by reason."}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{b.gates.scans, b.gates.doubles} {
		if err := b.host.Meter.Register(c); err != nil {
			return err
		}
	}
	op := func(method, path, id, zh, en string) httpapi.Operation {
		return httpapi.Operation{Method: method, Path: gateBase + path, ID: id, Tag: "booking", Summary: lang.T(zh, en), Roles: []auth.Role{auth.Official, auth.Agency}}
	}
	api := b.host.API
	enter := op("POST", "/enter", "enter-gate", "验码入园", "Let people in by their code")
	enter.Idempotent, enter.KeyNeeded = true, true
	httpapi.Register(api, enter, b.postEnter)

	keys := op("GET", "/keys", "get-gate-keys", "入园码的公钥（PEM）", "The public keys of codes (PEM)")
	keys.Roles, keys.Public, keys.Grade, keys.Produces = nil, true, label.L1, "application/x-pem-file"
	httpapi.Handle(api, keys, b.getGateKeys)

	list := op("GET", "/revocations", "get-revocations", "已失效的预约，签名名单", "Bookings that were given up, as a signed list")
	list.Grade, list.Produces = label.L2, octets
	httpapi.Handle(api, list, b.getRevocations)

	journal := op("POST", "/journal", "upload-journal", "上传闸机日志", "Upload a gate's journal")
	journal.Grade, journal.Accepts, journal.Produces, journal.MaxBody, journal.Answers = label.L2, []string{octets}, "application/json", maxJournal, typeOf[JournalAnswer]()
	httpapi.Handle(api, journal, b.postJournal)

	doubles := op("GET", "/doubles", "list-doubles", "列出重复入园", "List entries that should not have been")
	doubles.Roles = []auth.Role{auth.Operator, auth.Auditor}
	httpapi.Register(api, doubles, b.listDoubles)
	return nil
}

const octets = "application/octet-stream"

// Scan is a code that somebody shows at a gate.
type Scan struct {
	_     struct{} `grade:"L2"`
	Code  string   `json:"code" maxLength:"1024" doc:"扫到的内容 / what was scanned"`
	Count int      `json:"count,omitempty" minimum:"0" maximum:"65535" doc:"入园人数，0 为余下全部 / people; 0: all that are left"`
	Gate  string   `json:"gate" minLength:"1" maxLength:"40" pattern:"^[^#\\x00-\\x1f]+$" doc:"闸机名称 / name of the gate"`
	Spot  string   `json:"spot,omitempty" maxLength:"40" doc:"闸机所在景区，不填则不查 / spot of the gate; empty: any"`
}

// Passage is what a gate is to show.
type Passage struct {
	_        struct{} `grade:"L2"`
	Admitted bool     `json:"admitted"`
	Reason   string   `json:"reason" enum:"ok,malformed,unknown-key,forged,wrong-spot,too-early,too-late,revoked,all-in,too-many,unpaid,missed,unknown"`
	Text     string   `json:"text" doc:"给现场看的文字 / words for the people there"`
	People   int      `json:"people" doc:"现在入园人数 / who enter now"`
	Party    int      `json:"party" doc:"同行人数 / people of the booking"`
	Left     int      `json:"left" doc:"尚可入园人数 / who may still enter"`
	Booking  string   `json:"booking,omitempty"`
	Look     []string `json:"look,omitempty" doc:"须留意：real-name 核对证件，elderly、child、disabled / what to look at"`
}

// reason is why somebody is let in, or not.
type reason struct {
	name string
	text lang.Text
}

// Reasons that a code does not tell of itself.
var (
	reasonAllIn   = reason{"all-in", lang.T("该码人数均已入园", "all of this booking have entered")}
	reasonUnpaid  = reason{"unpaid", lang.T("预约尚未支付", "the booking is not paid yet")}
	reasonMissed  = reason{"missed", lang.T("已记为未到", "the booking is down as missed")}
	reasonUnknown = reason{"unknown", lang.T("没有此预约", "there is no such booking")}
)

func reasonOf(r ticket.Reason) reason {
	if r == ticket.Entered {
		return reasonAllIn
	}
	return reason{r.String(), r.Text()}
}

// passage is what is shown for a code, before anybody has decided on people.
func passage(t ticket.Ticket, why reason, l lang.Lang) Passage {
	p := Passage{Admitted: why.name == ticket.OK.String(), Reason: why.name, Text: why.text.In(l), Party: int(t.Party)}
	if t.Booking == 0 {
		return p
	}
	p.Booking = ledger.Number(t.Booking).String()
	for _, f := range []struct {
		flag ticket.Flags
		name string
	}{{ticket.RealName, "real-name"}, {ticket.Elderly, "elderly"}, {ticket.Child, "child"}, {ticket.Disabled, "disabled"}} {
		if t.Flags&f.flag != 0 {
			p.Look = append(p.Look, f.name)
		}
	}
	return p
}

// count says who enters, and how many of the party still may: nobody, where the reason is not how many they are.
func (p *Passage) count(people, left int) {
	if p.People = people; p.Admitted || p.Reason == ticket.TooMany.String() {
		p.Left = left
	}
}

func (b *Booking) postEnter(ctx context.Context, in *struct{ Body Scan }) (*struct{ Body Passage }, error) {
	call := httpapi.CallFrom(ctx)
	in.Body.Code = strings.TrimSpace(in.Body.Code) // what scanners add; no code begins or ends with it
	p, err := b.scan(ctx, &in.Body, &call)
	if err != nil {
		return nil, err
	}
	b.gates.scans.WithLabelValues(p.Reason).Inc()
	return &struct{ Body Passage }{p}, nil
}

// scan lets people of a code in. Whether it is too early or too late is the ledger's to say, since a call that is made
// again is answered as it was.
func (b *Booking) scan(ctx context.Context, in *Scan, call *httpapi.Call) (Passage, error) {
	spot, err := b.spotOfGate(in)
	if err != nil {
		return Passage{}, err
	}
	t, why := b.gates.keys.Verify(in.Code, spot, b.host.Now())
	if why != ticket.OK && why != ticket.TooEarly && why != ticket.TooLate {
		return passage(t, reasonOf(why), call.Lang), nil
	}
	key := gm.SM3([]byte(call.Principal.ID), []byte{0}, []byte(call.Key))
	a := &arrival{booking: ledger.Number(t.Booking), people: in.Count, gate: in.Gate, id: hex.EncodeToString(key[:12]), check: hex.EncodeToString(call.BodySM3[:4])}
	if err := b.arrive(ctx, []*arrival{a}); err != nil {
		return Passage{}, err
	}
	if a.reused {
		return Passage{}, errGateKey
	}
	said := a.reason()
	if (said == reasonUnknown || said == reasonMissed) && why != ticket.OK {
		said = reasonOf(why) // which is why the ledger knows it no more, or as missed
	}
	p := passage(t, said, call.Lang)
	p.count(a.admitted, a.left)
	return p, nil
}

var errGateKey = errs.New(errs.Conflict, "该幂等键已用于另一次入园", "this key has let in others").WithCode("booking.key").WithField("Idempotency-Key")

// spotOfGate returns the code of the spot where a gate stands; that of the code it was shown where it doesn't say.
func (b *Booking) spotOfGate(in *Scan) (uint16, error) {
	if in.Spot == "" {
		c, _ := ticket.Parse(in.Code) // whether it is one is asked again
		return c.Ticket.Spot, nil
	}
	spot, err := b.spotBy(in.Spot)
	if err != nil {
		return 0, err
	}
	return uint16(spot.Code), nil
}

func (b *Booking) getGateKeys(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, err := w.Write(b.key.PublicKey().PEM())
	return err
}
