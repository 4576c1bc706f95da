package witness

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/lease"
)

const base = "/api/witness"

func (x *Witness) routes() {
	op := func(method, path, id, zh, en string) httpapi.Operation {
		return httpapi.Operation{Method: method, Path: base + path, ID: id, Tag: "witness", Summary: lang.T(zh, en)}
	}
	ask := op(http.MethodPost, strings.TrimPrefix(lease.Path, base), "ask-witness", "请投票者表态（请求须由副本以 SM2 签名）", "Ask for the vote; a replica has signed the request with SM2")
	ask.Public, ask.Grade, ask.Accepts, ask.Produces, ask.MaxBody = true, label.L1, []string{"application/json"}, "application/json", 16<<10
	httpapi.Handle(x.host.API, ask, x.handler.Serve)

	status := op(http.MethodGet, "/status", "witness-status", "投票者的状态", "The state of the voter")
	status.Public = true
	httpapi.Register(x.host.API, status, x.getStatus)

	leases := op(http.MethodGet, "/leases", "list-leases", "列出租约：谁可写入，哪些副本同步", "List the leases: who may write, which replicas are in sync")
	leases.Roles = []auth.Role{auth.Operator, auth.Auditor}
	httpapi.Register(x.host.API, leases, x.listLeases)

	promotions := op(http.MethodGet, "/promotions", "list-promotions", "列出人工提升副本的记录，最新的在前", "List promotions by hand, newest first")
	promotions.Roles = []auth.Role{auth.Operator, auth.Auditor}
	httpapi.Register(x.host.API, promotions, x.listPromotions)
}

// VoterView is the state of the voter.
type VoterView struct {
	_        struct{} `grade:"L1"`
	Name     string   `json:"name" doc:"投票者名称 / the voter's name"`
	Key      string   `json:"key" doc:"公钥标识 / id of its public key"`
	Replicas []string `json:"replicas" doc:"可取得租约的副本 / who may take leases"`
	Leases   int      `json:"leases" doc:"租约数 / how many leases there are"`
	Held     int      `json:"held" doc:"有人持有的租约数 / how many of them somebody holds"`
}

type statusAnswer struct{ Body VoterView }

func (x *Witness) getStatus(ctx context.Context, _ *struct{}) (*statusAnswer, error) {
	all, err := x.voter.List(ctx)
	if err != nil {
		return nil, err
	}
	v := VoterView{Name: x.cfg.Name, Key: gm.KeyID(x.key.PublicKey()), Replicas: append([]string{}, x.cfg.Replicas...), Leases: len(all)}
	for _, s := range all {
		if s.Left > 0 {
			v.Held++
		}
	}
	return &statusAnswer{v}, nil
}

// LeaseView is a lease as this voter knows it, which may be behind the others.
type LeaseView struct {
	_        struct{} `grade:"L1"`
	Lease    string   `json:"lease"`
	Holder   string   `json:"holder" doc:"持有者，或最近的持有者 / the replica that holds it, or did last"`
	Epoch    uint64   `json:"epoch" doc:"任期 / the holder's epoch, by which older ones are refused"`
	InSync   []string `json:"inSync" doc:"持有全部已确认记录的副本 / replicas that hold every acknowledged record"`
	TTL      int64    `json:"ttl" doc:"租期，毫秒 / how long it lasts, in milliseconds"`
	Left     int64    `json:"left" doc:"其他副本还须等待的毫秒数 / for how many milliseconds others are kept out"`
	Released bool     `json:"released" doc:"已交还 / whether it was given up"`
}

type leasesAnswer struct {
	Body struct {
		Items []LeaseView `json:"items"`
	}
}

func (x *Witness) listLeases(ctx context.Context, _ *struct{}) (*leasesAnswer, error) {
	all, err := x.voter.List(ctx)
	if err != nil {
		return nil, err
	}
	a := &leasesAnswer{}
	a.Body.Items = []LeaseView{} // never null
	for _, s := range all {
		r := s.Register
		a.Body.Items = append(a.Body.Items, LeaseView{Lease: s.Lease, Holder: r.Holder, Epoch: r.Epoch, InSync: append([]string{}, r.InSync...),
			TTL: r.TTL, Left: s.Left.Milliseconds(), Released: r.Released})
	}
	return a, nil
}

type promotionsAnswer struct{ Body httpapi.Page[promotion] }

func (x *Witness) listPromotions(ctx context.Context, in *httpapi.PageQuery) (*promotionsAnswer, error) {
	position, err := in.Position()
	if err != nil {
		return nil, err
	}
	at, name := int64(1)<<53, ""
	if position != "" {
		moment, rest, _ := strings.Cut(position, "/")
		if at, err = strconv.ParseInt(moment, 10, 64); err != nil {
			return nil, errs.New(errs.Invalid, "不是合法的游标", "is not a cursor").WithField("cursor")
		}
		name = rest
	}
	rows, err := x.store.promotions(ctx, at, name, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &promotionsAnswer{httpapi.PageOf(rows, in.Limit, func(p promotion) string { return strconv.FormatInt(int64(p.At), 10) + "/" + p.Lease })}, nil
}
