// Package demo shows the main job: it starts a house, submits a real-world application, follows it through its agencies
// to the decision, and leaves the house running to be looked at. It also shows what a council of agencies does for
// receipts, and the rush when places at a scenic spot go on sale.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/apply"
)

// Tool is the command.
var Tool = &qiong.Tool{
	Name: "demo", Args: "[evidence|booking]", MaxArgs: 1,
	Doc: lang.T("演示：提交一件“企业开办”，看各部门联办到办结", "show the main job: open an enterprise, from the application to the decision"),
	Long: lang.T("启动一套服务，提交 examples/open-enterprise.json，实时显示各部门进度，最后列出各部门签发的内容。\n服务保持运行，按 Ctrl-C 结束；加 --once 则办结后退出。部门由沙箱代答，签发的均为样例。\n\nqiong demo evidence：四个部门各一个节点，轮流排序、各自签署；规则核验退货凭证；一个部门停机，其余照常，它回来后补签。\n一台机器握有全部密钥，证明力不超过单一运营者。\n\nqiong demo booking：景区时段开抢：等候室抽签、开售高峰、大屏，最后把每次答复与台账逐笔核对。",
		"Starts a house, submits examples/open-enterprise.json, shows each agency's progress, and ends with what each issued.\nThe house stays up until Ctrl-C; with --once it ends with the case. The sandbox answers for the agencies: what it issues is fake.\n\nqiong demo evidence: four agencies with a node each order by turns and sign; a rule judges return vouchers; one agency stops, the others go on, and back again it signs what it owes.\nOne machine holds all keys, so it proves no more than one operator could.\n\nqiong demo booking: an opening rush: a waiting room with a draw, the peak, a live page, and in the end every answer against the ledger."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.Bool("once", false, say("办结后退出", "end when the case is decided"))
		fs.String("data", "", say("数据目录；默认用临时目录，结束时删除", "data folder; default a temporary one, removed at the end"))
		fs.String("listen", "", say("监听地址；默认 127.0.0.1:8460，--once 时任选空闲端口", "address to listen on; default 127.0.0.1:8460, any free port with --once"))
		fs.Bool("alone", false, say("由本系统单独为办件存证，不启动各部门的节点", "order the evidence alone, without nodes of the agencies"))
		fs.String("file", "", say("要提交的申请；默认为自带的样例", "the application to submit; default the example that comes with the program"))
	},
	Run: run,
}

// council are the agencies of the example's matter: each stands behind the receipt with a node of its own.
const council = "fund,hr,market,police,tax"

func run(ctx context.Context, c *qiong.Console, args []string) (err error) {
	if len(args) == 1 {
		switch args[0] {
		case "evidence":
			return runEvidence(ctx, c)
		case "booking":
			return runBooking(ctx, c)
		}
		return errs.New(errs.Invalid, "没有这个演示", "there is no such show").WithHint("运行 qiong demo --help 查看用法", "run qiong demo --help for the usage")
	}
	once, _ := c.Flags.GetBool("once")
	data, _ := c.Flags.GetString("data")
	listen, _ := c.Flags.GetString("listen")
	path, _ := c.Flags.GetString("file")
	body, err := application(path, c)
	if err != nil {
		return err
	}
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
	set := map[string]string{"evidence.council": council, "evidence.origin": "open-enterprise"}
	if alone, _ := c.Flags.GetBool("alone"); alone {
		set = nil
	}
	house, err := c.Up(ctx, qiong.UpOptions{Data: data, Listen: listen, Set: set})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, house.Stop()) }()
	who := auth.Principal{ID: "demo", Name: c.Say("演示申请人", "demo applicant"), Roles: []auth.Role{auth.Applicant}}
	token, link, err := house.Issue(ctx, who)
	if err != nil {
		return err
	}
	what := " " + path
	switch path {
	case "":
		what = c.Say("“企业开办”申请", ` "open an enterprise"`)
	case "-":
		what = c.Say("标准输入中的申请", " what came on standard input")
	}
	say(c, "琼已启动：%s\n数据目录：%s\n\n提交%s（部门由沙箱代答，签发的均为样例）：\n\n", "Qiong is up: %s\ndata folder: %s\n\nSubmitting%s (the sandbox answers for the agencies; what it issues is fake):\n\n", house.URL, house.Data, what)
	if err := submit(ctx, c, &client.Client{URL: house.URL, Token: token, Lang: c.Lang}, body, house.Data); err != nil || once {
		return err
	}
	say(c, "\n看页面（链接只能用一次）：%s\n接口文档：%s/api/\n指标：    %s/metrics\n再提交一件：QIONG_TOKEN=%s qiong apply --url %s FILE\n\n按 Ctrl-C 结束。\n",
		"\nthe pages (the link works once): %s\nthe API: %s/api/\nmetrics: %s/metrics\nsubmit another: QIONG_TOKEN=%s qiong apply --url %s FILE\n\nCtrl-C ends it.\n", link, house.URL, house.URL, token, house.URL)
	select {
	case <-ctx.Done():
		return nil
	case err := <-house.Done:
		return err
	}
}

func application(path string, c *qiong.Console) ([]byte, error) {
	if path == "" {
		return apply.WithSubmit(examples.OpenEnterprise)
	}
	return apply.Read(path, c.In)
}

func submit(ctx context.Context, c *qiong.Console, house *client.Client, body []byte, data string) error {
	made, err := apply.Submit(ctx, house, body, "demo")
	if err != nil {
		return err
	}
	last, err := apply.Follow(ctx, house, made.ID, apply.NewBoard(c).Show)
	if err != nil {
		return err
	}
	say(c, "\n", "\n")
	if err := apply.Print(c, last); err != nil {
		return err
	}
	if last.Status != "decided" {
		return errs.Newf(errs.Conflict, "办件未获办结：%s", "the case was not decided: %s", last.StatusText)
	}
	kept, err := apply.Keep(ctx, house, made.ID, data)
	if err != nil {
		return err
	}
	say(c, "\n回执：%s（%s）\n离线核验：qiong-verify verify %s --data %s\n", "\nreceipt: %s (%s)\nverify it offline: qiong-verify verify %s --data %s\n",
		kept.Receipt, kept.State(c.Lang), kept.Receipt, kept.Original)
	return nil
}

// say tells a person; a program reads the case alone.
func say(c *qiong.Console, zh, en string, args ...any) {
	if !c.JSON {
		_, _ = fmt.Fprintf(c.Out, c.Say(zh, en), args...) // a display, not an answer
	}
}
