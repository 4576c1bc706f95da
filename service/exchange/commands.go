package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

var commands = []*qiong.Tool{
	{Name: "lint", Args: "FILE|DIR...", MinArgs: 1, MaxArgs: -1, Run: lint,
		Doc: lang.T("检查数据流文件，错误附行号", "check feed files; errors have their line")},
	{Name: "send", Args: "FEED FILE", MinArgs: 2, MaxArgs: 2, Flags: sendFlags, Run: send,
		Doc:  lang.T("签名并发送一个文件，断点续传", "sign and send a file, going on where a connection broke off"),
		Long: lang.T("以密钥环中的私钥签名清单，再发送内容。网络中断后自动从断点继续；再次执行同一命令也是如此。", "Signs the manifest with a key of the ring, then sends the content. Where the network breaks off it goes on from there by itself, as it does when the same command is run again.")},
	{Name: "transfers", Flags: client.Flags, Doc: lang.T("列出传输", "list the transfers"),
		Run: func(ctx context.Context, c *qiong.Console, _ []string) error {
			return list(ctx, c, "/transfers?", func(v TransferView) string {
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%d\t%s", v.ID, v.Feed, v.Day, v.Status, v.Records, v.Quarantined, v.Reason)
			})
		}},
	{Name: "quarantine", Args: "[ID]", MaxArgs: 1, Run: quarantine, Doc: lang.T("列出隔离的记录，或查看其中一条", "list the records in quarantine, or show one"),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.Bool("all", false, say("包括已处理的", "also those that were dealt with"))
		}},
	{Name: "replay", Args: "ID [NAME=VALUE]...", MinArgs: 1, MaxArgs: -1, Flags: client.Flags, Run: replay,
		Doc: lang.T("更正后重放一条隔离的记录", "replay a record in quarantine, corrected")},
	{Name: "dismiss", Args: "ID", MinArgs: 1, MaxArgs: 1, Doc: lang.T("不再处理一条隔离的记录，须写明理由", "dismiss a record in quarantine; a reason is needed"),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.String("reason", "", say("理由", "the reason"))
		},
		Run: func(ctx context.Context, c *qiong.Console, args []string) error {
			reason, _ := c.Flags.GetString("reason") // declared above
			return client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "POST", Path: base + "/quarantine/" + url.PathEscape(args[0]) + "/dismiss",
				Body: map[string]string{"reason": reason}}, nil)
		}},
	{Name: "reconcile", Args: "FEED TARGET DAY", MinArgs: 3, MaxArgs: 3, Flags: client.Flags, Run: reconcile,
		Doc: lang.T("按日对账，列出差异；不一致时以错误退出", "reconcile a day and list the differences; an error where there are any")},
	{Name: "retry", Doc: lang.T("立即重试等待中的投递", "retry waiting deliveries now"),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.String("feed", "", say("只重试该数据流", "only this feed"))
			fs.String("target", "", say("只重试该目标", "only this target"))
		},
		Run: func(ctx context.Context, c *qiong.Console, _ []string) error {
			body := map[string]string{}
			for _, name := range []string{"feed", "target"} {
				if v, _ := c.Flags.GetString(name); v != "" {
					body[name] = v
				}
			}
			var answer struct{ Count int64 }
			if err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "POST", Path: base + "/retry", Body: body}, &answer); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.Out, c.Say("已重试 %d 个\n", "retried %d\n"), answer.Count)
			return err
		}},
}

// lint checks the named files, or every feed of the named folders.
func lint(_ context.Context, c *qiong.Console, args []string) error {
	wrong := 0
	for _, arg := range args {
		files := []string{arg}
		if info, err := os.Stat(arg); err != nil {
			return errs.Wrap(err, errs.NotFound, "文件不存在", "there is no such file").WithField(arg)
		} else if info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(arg, "*.yaml")); err != nil {
				return err
			}
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err == nil {
				_, err = ParseFeed(data)
			}
			if err == nil {
				fmt.Fprintf(c.Out, "%s: %s\n", file, c.Say("无误", "right"))
				continue
			}
			wrong++
			yamlfile.Tell(c.Out, file, err, c.Lang)
		}
	}
	if wrong > 0 {
		return errs.Newf(errs.Invalid, "%d 个数据流文件有误", "%d feed files are wrong", wrong)
	}
	return nil
}

// list prints every page of a list, a line an item, or the items as JSON lines.
func list[T any](ctx context.Context, c *qiong.Console, path string, line func(T) string) error {
	house, cursor := client.FromFlags(c.Flags, c.Lang), ""
	for {
		var page struct {
			Items []T
			Next  string
		}
		if err := house.Do(ctx, client.Request{Method: "GET", Path: base + path + "&limit=200&cursor=" + url.QueryEscape(cursor)}, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			text := line(item)
			if c.JSON {
				encoded, err := json.Marshal(item)
				if err != nil {
					return err
				}
				text = string(encoded)
			}
			if _, err := fmt.Fprintln(c.Out, text); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

func quarantine(ctx context.Context, c *qiong.Console, args []string) error {
	if len(args) == 0 {
		path := "/quarantine?status=open"
		if all, _ := c.Flags.GetBool("all"); all {
			path = "/quarantine?"
		}
		return list(ctx, c, path, func(v HeldView) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s", v.ID, v.Feed, v.Status, v.Target, v.Line, v.Offset, v.Field, v.Reason)
		})
	}
	var held json.RawMessage
	if err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "GET", Path: base + "/quarantine/" + url.PathEscape(args[0])}, &held); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Out, "%s\n", held)
	return err
}

func replay(ctx context.Context, c *qiong.Console, args []string) error {
	values := map[string]string{}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return errs.New(errs.Invalid, "应写作 名称=值", "write NAME=VALUE")
		}
		values[name] = value
	}
	var t TransferView
	err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "POST", Path: base + "/quarantine/" + url.PathEscape(args[0]) + "/replay",
		Body: map[string]any{"values": values}}, &t)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(t)
	}
	_, err = fmt.Fprintf(c.Out, c.Say("已重放，传输 %s\n", "replayed as transfer %s\n"), t.ID)
	return err
}

func reconcile(ctx context.Context, c *qiong.Console, args []string) error {
	q := url.Values{"feed": {args[0]}, "target": {args[1]}, "day": {args[2]}}
	var r Reconciliation
	if err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "GET", Path: base + "/reconciliation?" + q.Encode(), Timeout: -1}, &r); err != nil {
		return err
	}
	if c.JSON {
		if err := json.NewEncoder(c.Out).Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.Out, c.Say("本方 %d 条 %s\n对方 %d 条 %s\n", "ours   %d %s\ntheirs %d %s\n"), r.Ours.Records, r.Ours.SM3, r.Theirs.Records, r.Theirs.SM3)
		fmt.Fprintf(c.Out, c.Say("已被取代 %d，隔离 %d，待送数据块 %d\n", "superseded %d, in quarantine %d, chunks waiting %d\n"), r.Superseded, r.Quarantined, r.Pending)
		for _, d := range r.Differences {
			what := strings.Join(d.Fields, " ")
			if d.Missing {
				what = c.Say("缺失", "missing")
			}
			fmt.Fprintf(c.Out, "%s\t%d\t%s\n", d.Transfer, d.Seq, what)
		}
	}
	if !r.Equal {
		return errs.New(errs.Conflict, "两方不一致", "the sides are not equal").WithCode("exchange.unequal")
	}
	return nil
}
