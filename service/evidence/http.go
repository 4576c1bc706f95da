package evidence

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

const base = "/api/evidence"

func (x *Evidence) routes() {
	op := func(method, path, id, zh, en string, set ...func(*httpapi.Operation)) httpapi.Operation {
		o := httpapi.Operation{Method: method, Path: base + path, ID: id, Tag: "evidence", Summary: lang.T(zh, en)}
		for _, f := range set {
			f(&o)
		}
		return o
	}
	roles := func(r ...auth.Role) func(*httpapi.Operation) { return func(o *httpapi.Operation) { o.Roles = r } }
	public := func(o *httpapi.Operation) { o.Public = true }
	file := func(o *httpapi.Operation) { o.Grade, o.Produces = label.L1, "text/plain" }
	reader := roles(auth.Operator, auth.Auditor)

	httpapi.Register(x.host.API, op("GET", "/status", "evidence-status", "日志与各部门的状态", "The state of the log and of the agencies", public), x.getStatus)
	httpapi.Register(x.host.API, op("GET", "/records", "list-records", "列出记录，最新的在前", "List records, newest first", reader), x.listRecords)
	httpapi.Register(x.host.API, op("POST", "/records", "put-records", "提交记录（只含加盐承诺与约定的事实）", "Put records: salted commitments and agreed facts", roles(auth.Agency, auth.Operator),
		func(o *httpapi.Operation) { o.Status, o.MaxBody, o.OwnRules = http.StatusAccepted, 4<<20, true }), x.putRecords)
	httpapi.Register(x.host.API, op("GET", "/{id}", "get-record", "查看一条记录及其回执", "Show a record and its receipt", public), x.getRecord)
	httpapi.Handle(x.host.API, op("GET", "/{id}/receipt", "get-receipt", "下载回执文件", "Download the receipt", public, file), x.getReceipt)
	httpapi.Handle(x.host.API, op("GET", "/{id}/acts/{n}/receipt", "get-act-receipt", "下载批次中一件的回执文件（两级）", "Download the receipt of one act of a batch, of two levels", public, file), x.getActReceipt)
	httpapi.Register(x.host.API, op("GET", "/anchorings", "list-anchorings", "对外锚定的情况", "Checkpoints that were anchored outward", reader), x.listAnchorings)
	httpapi.Register(x.host.API, op("POST", "/publish", "publish-checkpoint", "立即对外锚定最新检查点", "Anchor the newest checkpoint outward now", roles(auth.Operator)), x.publishNow)
	httpapi.Register(x.host.API, op("DELETE", "/{id}/original", "erase-original", "清除原文与盐：记录从此不再说明任何内容", "Erase the original and its salt: the record says nothing any more",
		roles(auth.Operator, auth.Security)), x.deleteOriginal)

	log := x.log.Handler(x.host.API.Fail)
	x.host.Mux.Handle("GET /evidence/log/", http.StripPrefix("/evidence/log", log))
	x.host.Mux.HandleFunc("GET /evidence/trust.pem", x.serveTrust)
}

// serveTrust serves the keys of this log. Whoever verifies compares their fingerprints with what the agencies publish.
func (x *Evidence) serveTrust(w http.ResponseWriter, _ *http.Request) {
	sendKeys(w, x.trust())
}

// StatusView is the state of the log.
type StatusView struct {
	_       struct{}     `grade:"L1"`
	Origin  string       `json:"origin"`
	Mode    string       `json:"mode" enum:"log,council" doc:"log：由本系统单独排序；council：由多个部门共同排序 / one operator orders, or several agencies"`
	Size    uint64       `json:"size" doc:"日志中的记录数 / records in the log"`
	Root    merkle.Hash  `json:"root" doc:"根散列，base64 / the root in base64"`
	Waiting int64        `json:"waiting" doc:"待排序的记录数 / records that wait to be ordered"`
	Signers []SignerView `json:"signers"`
	Meaning string       `json:"meaning" doc:"这种模式能证明什么 / what this mode proves"`
	Problem string       `json:"problem,omitempty" doc:"为何现在不能排序 / why nothing can be ordered at the moment"`
	// Wrong roots that were signed, newest first, at most 20.
	Contradictions []ContradictionView `json:"contradictions,omitempty" doc:"与日志不符而被签署的根，最新的在前，至多 20 个 / wrong roots that were signed"`
}

// ContradictionView is a signed root that is not the log's. The note proves who signed it.
type ContradictionView struct {
	_    struct{}     `grade:"L1"`
	Name string       `json:"name"`
	Size uint64       `json:"size"`
	Root merkle.Hash  `json:"root"`
	Note string       `json:"note"`
	At   beijing.Time `json:"at" doc:"发现的时间 / when it was found"`
}

// AnchoringView is a checkpoint on its way to a target outside, or there.
type AnchoringView struct {
	_      struct{}     `grade:"L1"`
	Target string       `json:"target"`
	Size   uint64       `json:"size"`
	Root   merkle.Hash  `json:"root"`
	Done   bool         `json:"done"`
	Tried  int64        `json:"tried" doc:"试过几次 / how often it was tried"`
	At     beijing.Time `json:"at" doc:"最近一次的时间 / of the last try"`
	Answer string       `json:"answer" doc:"对方的答复，或失败的原因 / the other side's answer, or why it failed"`
}

// SignerView is a name that cosigns.
type SignerView struct {
	_       struct{}      `grade:"L1"`
	Name    string        `json:"name"`
	Role    receipt.Role  `json:"role" enum:"agency,operator,witness"`
	Key     string        `json:"key" doc:"公钥指纹 / fingerprint of its key"`
	Up      *bool         `json:"up,omitempty" doc:"其节点是否应答 / whether its node answers"`
	Size    uint64        `json:"size" doc:"已签署到第几条 / how far it has cosigned"`
	Turn    bool          `json:"turn,omitempty" doc:"是否轮到该部门提议 / whether it proposes now"`
	Heard   *beijing.Time `json:"heard,omitempty"`
	Problem string        `json:"problem,omitempty"`
}

type statusAnswer struct{ Body StatusView }

func (x *Evidence) getStatus(ctx context.Context, _ *struct{}) (*statusAnswer, error) {
	v, err := x.status(ctx, httpapi.CallFrom(ctx).Lang)
	return &statusAnswer{v}, err
}

func (x *Evidence) status(ctx context.Context, l lang.Lang) (StatusView, error) {
	last := x.log.Last()
	v := StatusView{Origin: x.cfg.Origin, Mode: "log", Size: last.Size, Root: last.Root, Meaning: meaningAlone.In(l)}
	if len(x.cfg.Nodes) > 0 {
		v.Mode, v.Meaning = "council", meaningCouncil.In(l)
	}
	if len(x.cfg.Council) > 0 {
		v.Meaning = meaningLocal.In(l)
	}
	var err error
	if v.Waiting, err = x.store.countWaiting(ctx); err != nil {
		return v, err
	}
	for _, name := range x.signers() {
		s := SignerView{Name: name}
		s.Role, s.Key = x.signer(name)
		if s.Size, err = x.log.CosignedUpTo(ctx, name); err != nil {
			return v, err
		}
		if f, ok := x.orderer.(*follower); ok && s.Role == receipt.Agency {
			f.describe(&s, l)
		}
		v.Signers = append(v.Signers, s)
	}
	if err := x.orderer.Ready(); err != nil {
		v.Problem = errs.As(err).In(l)
	}
	v.Contradictions, err = x.store.contradictions(ctx, 20)
	return v, err
}

var (
	meaningAlone = lang.T("由一个运营者排序并签署：可证明记录存在、未被改动；若无他人见证，不能证明运营者没有另一份日志。",
		"One operator orders and signs: records are proved to exist unchanged; that the operator has no second log is not proved unless others witness it.")
	meaningCouncil = lang.T("由多个部门轮流排序、各自签署：超过三分之二的部门一致才成立，任何一个部门都不能单独改写。",
		"Several agencies order by turns and each signs: what more than two thirds agree on stands, and none of them can rewrite it alone.")
)

var meaningLocal = lang.T("演示：各部门的节点在同一台机器上，密钥也都在这里，证明力不超过单一运营者。正式使用时，每个部门在自己的服务器上运行节点。",
	"For demonstration: the agencies' nodes, and their keys, are on one machine, which proves no more than one operator could. In earnest each agency runs its node on its own server.")

// signer returns the role of a name, and the fingerprint of its newest key.
func (x *Evidence) signer(name string) (role receipt.Role, print string) {
	for _, k := range x.trust().Keys() {
		if k.Name == name && k.Origin == x.cfg.Origin {
			role, print = k.Role, fingerprintOf(k)
		}
	}
	return role, print
}

// RecordView is a record and where it stands.
type RecordView struct {
	_        struct{}      `grade:"L1"`
	ID       string        `json:"id"`
	Type     string        `json:"type"`
	Accepted *beijing.Time `json:"accepted,omitempty"`
	State    string        `json:"state" enum:"waiting,refused,ordered,provisional,complete" doc:"waiting 待排序；refused 账本拒收；ordered 已排序待签；provisional 法定数已签；complete 应签者均已签"`
	Reason   string        `json:"reason,omitempty" doc:"账本拒收的原因 / why the ledger will not have it"`
	Index    *uint64       `json:"index,omitempty" doc:"在日志中的序号，从 0 起 / its place in the log, from 0"`
	Signed   []string      `json:"signed,omitempty"`
	Owed     []string      `json:"owed,omitempty" doc:"尚未签署的部门 / who has not cosigned yet"`
	Rule     *RuleView     `json:"rule,omitempty"`
	Receipt  string        `json:"receipt,omitempty" doc:"回执全文 / the receipt"`
}

// RuleView is what a rule has found of a record.
type RuleView struct {
	_       struct{} `grade:"L1"`
	Name    string   `json:"name"`
	Version uint64   `json:"version"`
	Outcome string   `json:"outcome" enum:"passed,failed,n/a"`
	Clause  string   `json:"clause,omitempty" doc:"不符的条款 / the clause that does not hold"`
}

// view says where a record stands.
func (s *standing) view(id string) (RecordView, error) {
	v := RecordView{ID: id, State: "waiting"}
	if s.act != nil {
		at := beijing.Time(s.act.acceptedAt)
		v.Type, v.Accepted = s.act.typ, &at
	}
	if s.receipt == nil {
		if s.act != nil {
			v.State, v.Reason = s.act.state(), s.act.refused
		}
		return v, nil
	}
	r := s.receipt.Record
	v.Type, v.Index, v.State = r.Type, &s.receipt.Index, "ordered"
	if r.Rule != nil {
		v.Rule = &RuleView{Name: r.Rule.Name, Version: r.Rule.Version, Outcome: string(r.Rule.Outcome), Clause: r.Rule.Clause}
	}
	if s.result == nil {
		return v, nil
	}
	v.State, v.Signed, v.Owed = string(s.result.State), s.result.Signed, s.result.Owed
	text, err := s.receipt.Marshal()
	v.Receipt = string(text)
	return v, err
}

// state is where an act is on its way into the log.
func (a *act) state() string {
	switch {
	case a.refused != "":
		return "refused"
	case a.placedAt > 0:
		return "ordered"
	default:
		return "waiting"
	}
}

type recordAnswer struct{ Body RecordView }

type recordID struct {
	ID string `path:"id" grade:"L1" maxLength:"80"`
}

func (x *Evidence) getRecord(ctx context.Context, in *recordID) (*recordAnswer, error) {
	s, err := x.stand(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	v, err := s.view(in.ID)
	if v.Receipt != "" {
		x.metrics.receipts.Inc()
	}
	return &recordAnswer{v}, err
}

func (x *Evidence) getReceipt(w http.ResponseWriter, r *http.Request) error {
	s, err := x.stand(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	text, err := s.file()
	if err != nil {
		return err
	}
	if text == nil {
		if s.act != nil && s.act.refused != "" {
			return errs.New(errs.Conflict, "账本拒收此记录，没有回执", "the ledger has refused this record: there is no receipt").WithCode("evidence.refused")
		}
		return unsigned()
	}
	return x.sendReceipt(w, text, s.receipt.Record.ID+".receipt")
}

func unsigned() error {
	return errs.New(errs.Unavailable, "记录已受理，尚未有部门签署", "the record is accepted and nobody has signed it yet").WithCode("evidence.unsigned").WithRetryAfter(time.Second)
}

func (x *Evidence) sendReceipt(w http.ResponseWriter, text []byte, name string) error {
	x.metrics.receipts.Inc()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	_, err := w.Write(text)
	return err
}

type recordsAnswer struct{ Body httpapi.Page[RecordView] }

func (x *Evidence) listRecords(ctx context.Context, in *struct{ httpapi.PageQuery }) (*recordsAnswer, error) {
	before, err := in.Position()
	if err != nil {
		return nil, err
	}
	acts, err := x.store.list(ctx, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	page := httpapi.PageOf(acts, in.Limit, func(a act) string { return a.id })
	out := &recordsAnswer{httpapi.Page[RecordView]{Next: page.Next, Items: make([]RecordView, len(page.Items))}}
	for i := range page.Items {
		at := beijing.Time(page.Items[i].acceptedAt)
		out.Body.Items[i] = RecordView{ID: page.Items[i].id, Type: page.Items[i].typ, Accepted: &at, State: page.Items[i].state(), Reason: page.Items[i].refused}
	}
	return out, nil
}

func (x *Evidence) deleteOriginal(ctx context.Context, in *recordID) (*struct{}, error) {
	n, err := x.store.erase(ctx, in.ID)
	if err == nil && n == 0 {
		err = noRecord()
	}
	if err == nil {
		x.host.Log.Info("an original was erased", "record", in.ID)
	}
	return nil, err
}
