package demo

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/demo/agencies"
)

// members are the agencies of the show; absent is the one that stops for a while.
var members = []string{"clearing", "customs", "forex", "tax"}

const absent = "tax"

// runEvidence shows what a council of agencies does.
func runEvidence(ctx context.Context, c *qiong.Console) (err error) {
	for _, name := range []string{"file", "alone"} {
		if c.Flags.Changed(name) {
			return errs.Newf(errs.Invalid, "demo evidence 没有 --%s", "demo evidence has no --%s", name).WithField("--" + name)
		}
	}
	once, _ := c.Flags.GetBool("once")
	data, _ := c.Flags.GetString("data")
	listen, _ := c.Flags.GetString("listen")
	if listen == "" && once {
		listen = "127.0.0.1:0"
	}
	if data == "" {
		temp, err := os.MkdirTemp("", "qiong-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		data = filepath.Join(temp, "data")
	}
	council, err := found(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, council.Stop()) }()
	if err := council.Start(); err != nil {
		return err
	}
	house, err := c.Up(ctx, qiong.UpOptions{Data: data, Listen: listen, Set: council.Settings()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, house.Stop()) }()
	token, link, err := house.Issue(ctx, auth.Principal{ID: "demo", Name: c.Say("演示商户系统", "demo merchant system"), Roles: []auth.Role{auth.Agency, auth.Operator}})
	if err != nil {
		return err
	}
	s := &show{c: c, council: council, house: &client.Client{URL: house.URL, Token: token, Lang: c.Lang}, data: house.Data, secret: token}
	say(c, "琼已启动：%s\n数据目录：%s\n四个部门的节点由 qiong evidence key、init、node 建立，各为一个进程。\n\n", "Qiong is up: %s\ndata folder: %s\nThe nodes of four agencies were made by qiong evidence key, init and node; each is a process.\n\n", house.URL, house.Data)
	if err := s.begin(ctx); err != nil {
		return stopped(ctx, err)
	}
	if err := s.run(ctx); err != nil {
		return stopped(ctx, err)
	}
	if once {
		return nil
	}
	say(c, "\n看页面（链接只能用一次）：%s\n日志与部门：qiong evidence log --url %s\n每 5 秒来一笔订单。按 Ctrl-C 结束。\n\n",
		"\nthe pages (the link works once): %s\nlog and agencies: qiong evidence log --url %s\nAn order comes every 5 seconds. Ctrl-C ends it.\n\n", link, house.URL)
	select {
	case err := <-s.goOn(ctx):
		return stopped(ctx, err)
	case err := <-house.Done:
		return err
	}
}

// stopped is nil where what went wrong is that a person has ended the show.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// found founds the council beside the house's data. What an earlier show has left stays.
func found(ctx context.Context, data string) (*agencies.Council, error) {
	if _, err := os.Stat(filepath.Join(data, "council")); err == nil {
		return nil, errs.New(errs.Conflict, "数据目录中已有一个理事会", "the data folder holds a council already").WithField("--data").
			WithHint("换一个文件夹", "choose another folder")
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return agencies.Found(ctx, agencies.Plan{Program: program, Data: data, Chain: "trade", Names: members, Policy: examples.TradePolicy})
}

// begin waits for the nodes.
func (s *show) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.council.Ready(ctx)
}

// run is the show.
func (s *show) run(ctx context.Context) error {
	s.title("一、订单入链：过法定数的部门签署为暂定，应签者签齐为齐签", "1. An order: provisional when a quorum has signed, complete when all who must have")
	order := s.order(19900)
	if err := s.send(ctx, order, s.order(8800)); err != nil {
		return err
	}
	if _, err := s.follow(ctx, order, "complete"); err != nil {
		return err
	}
	s.title("二、退货凭证由链上规则自动核验", "2. Return vouchers, judged by the rule on the chain")
	good, bad := s.voucher(order, 9900), s.voucher(order, 990000)
	if err := s.send(ctx, bad, good); err != nil {
		return err
	}
	if _, err := s.follow(ctx, bad, "complete"); err != nil {
		return err
	}
	proof, err := s.follow(ctx, good, "complete")
	if err != nil {
		return err
	}
	if err := s.absence(ctx); err != nil {
		return err
	}
	kept, err := s.keep(ctx, good, proof.Receipt)
	if err != nil {
		return err
	}
	say(s.c, "\n回执：%s\n离线核验：qiong-verify verify %s --data %s\n", "\nreceipt: %s\nverify it offline: qiong-verify verify %s --data %s\n", kept.Receipt, kept.Receipt, kept.Original)
	if !s.c.JSON {
		return nil
	}
	kept.Records = s.seen
	enc := json.NewEncoder(s.c.Out)
	enc.SetIndent("", "  ")
	return enc.Encode(kept)
}

// absence has an agency stop and come back.
func (s *show) absence(ctx context.Context) error {
	s.title("三、税务停机：其余部门照常，回执为暂定，写明还欠谁的签名", "3. Tax stops: the others go on, and the receipt is provisional and says who owes a signature")
	tax := s.council.Node(absent)
	if err := tax.Stop(); err != nil {
		return err
	}
	order := s.order(3300)
	if err := s.send(ctx, order); err != nil {
		return err
	}
	without, err := s.follow(ctx, order, "provisional")
	if err != nil {
		return err
	}
	if without.State != "provisional" || len(without.Owed) != 1 || without.Owed[0] != absent {
		return errs.New(errs.Internal, "停机部门的签名不应在回执中", "a receipt bears the signature of an agency that was stopped")
	}
	s.title("四、税务恢复：补上所欠的签名", "4. Tax is back, and signs what it owes")
	if err := tax.Start(); err != nil {
		return err
	}
	_, err = s.follow(ctx, order, "complete")
	return err
}

// goOn sends an order now and then until ctx ends.
func (s *show) goOn(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(5 * time.Second):
				}
				order := s.order(12800)
				if err := s.send(ctx, order); err != nil {
					return err
				}
				if _, err := s.follow(ctx, order, "complete"); err != nil {
					return err
				}
			}
		}()
	}()
	return done
}
