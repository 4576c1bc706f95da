package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"text/tabwriter"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func commands() []*qiong.Tool {
	return []*qiong.Tool{
		monitorTool,
		{Name: "publish", Flags: client.Flags, Run: publishNow, Doc: lang.T("立即对外锚定最新检查点", "anchor the newest checkpoint outward now")},
		{Name: "log", Flags: client.Flags, Run: showLog, Doc: lang.T("日志与各部门的状态", "the state of the log and of the agencies")},
		{Name: "records", Flags: client.Flags, Run: listRecords, Doc: lang.T("列出记录，最新的在前", "list the records, newest first")},
		{Name: "receipt", Args: "ID", MinArgs: 1, MaxArgs: 1, Flags: client.Flags, Run: printReceipt, Doc: lang.T("输出一条记录的回执", "print the receipt of a record")},
		{Name: "erase", Args: "ID", MinArgs: 1, MaxArgs: 1, Flags: client.Flags, Run: eraseOriginal,
			Doc: lang.T("清除一条记录的原文与盐，不可恢复", "erase the original and the salt of a record, for good")},
	}
}

func showLog(ctx context.Context, c *qiong.Console, _ []string) error {
	var v StatusView
	if err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "GET", Path: base + "/status"}, &v); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(v)
	}
	fmt.Fprintf(c.Out, c.Say("日志 %s：%d 条记录，%d 条待排序\n%s\n", "log %s: %d records, %d waiting\n%s\n"), v.Origin, v.Size, v.Waiting, v.Meaning)
	w := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
	for _, s := range v.Signers {
		state := ""
		if s.Up != nil && !*s.Up {
			state = c.Say("没有应答", "does not answer")
		}
		if s.Turn {
			state = c.Say("轮到该部门", "its turn")
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", s.Name, s.Size, s.Key, state)
	}
	return w.Flush()
}

func listRecords(ctx context.Context, c *qiong.Console, _ []string) error {
	house, cursor := client.FromFlags(c.Flags, c.Lang), ""
	for {
		var page struct {
			Items []RecordView
			Next  string
		}
		if err := house.Do(ctx, client.Request{Method: "GET", Path: base + "/records?limit=200&cursor=" + url.QueryEscape(cursor)}, &page); err != nil {
			return err
		}
		for _, v := range page.Items {
			line := fmt.Sprintf("%s\t%s\t%s\t%s", v.ID, v.Type, v.Accepted, v.State)
			if c.JSON {
				text, err := json.Marshal(v)
				if err != nil {
					return err
				}
				line = string(text)
			}
			if _, err := fmt.Fprintln(c.Out, line); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

func printReceipt(ctx context.Context, c *qiong.Console, args []string) error {
	var v RecordView
	if err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "GET", Path: base + "/" + url.PathEscape(args[0])}, &v); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(v)
	}
	_, err := fmt.Fprint(c.Out, v.Receipt)
	return err
}

func eraseOriginal(ctx context.Context, c *qiong.Console, args []string) error {
	return client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "DELETE", Path: base + "/" + url.PathEscape(args[0]) + "/original"}, nil)
}

func publishNow(ctx context.Context, c *qiong.Console, _ []string) error {
	var all struct{ Items []AnchoringView }
	if err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "POST", Path: base + "/publish"}, &all); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(all.Items)
	}
	failed := 0
	for _, v := range all.Items {
		state := c.Say("已锚定", "anchored")
		if !v.Done {
			state = c.Say("未成功", "failed")
			failed++
		}
		fmt.Fprintf(c.Out, "%s\t%d\t%s\t%s\t%s\n", v.Target, v.Size, state, v.At, v.Answer)
	}
	if failed > 0 {
		return errs.Newf(errs.Unavailable, "%d 个目标未成功", "%d targets failed", failed)
	}
	return nil
}
