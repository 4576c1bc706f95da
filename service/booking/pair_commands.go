package booking

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

var pairTool = &qiong.Tool{
	Name: "pair", Args: "status [URL] | pardon NAME", MinArgs: 1, MaxArgs: 2, Flags: client.Flags,
	Doc: lang.T("双机：谁负责、谁同步、落后多少；赦免断开的备机", "two servers: who leads, who is in sync, how far behind; pardon a standby"),
	Run: func(ctx context.Context, c *qiong.Console, args []string) error {
		house := client.FromFlags(c.Flags, c.Lang)
		switch {
		case args[0] == "status":
			if len(args) > 1 {
				house.URL = args[1]
			}
			return showPair(ctx, c, house)
		case args[0] == "pardon" && len(args) == 2:
			return house.Do(ctx, client.Request{Method: "POST", Path: pairBase + "/standbys/" + url.PathEscape(args[1]) + "/pardon"}, nil)
		}
		return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong booking pair --help 查看用法", "run qiong booking pair --help for the usage")
	},
}

func showPair(ctx context.Context, c *qiong.Console, house *client.Client) error {
	var v PairView
	if err := house.Do(ctx, client.Request{Method: "GET", Path: pairBase}, &v); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(v)
	}
	yes := func(b bool) string {
		if b {
			return c.Say("是", "yes")
		}
		return c.Say("否", "no")
	}
	switch v.Role {
	case "alone":
		_, err := fmt.Fprintln(c.Out, c.Say("本机独自承担预约", "this server has the bookings alone"))
		return err
	case "leader":
		fmt.Fprintf(c.Out, c.Say("%s 为主，任期 %d，同步：%s\n", "%s leads, epoch %d, in sync: %s\n"), v.Server, v.Epoch, strings.Join(v.InSync, " "))
	default:
		leader := v.Leader
		if leader == "" {
			leader = c.Say("（未知）", "(not known)")
		}
		fmt.Fprintf(c.Out, c.Say("%s 为备，主为 %s，任期 %d\n", "%s is a standby of %s, epoch %d\n"), v.Server, leader, v.Epoch)
	}
	w := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
	for _, s := range v.Standbys {
		fmt.Fprintf(w, c.Say("备机 %s\t连接 %s\t同步 %s\t落后 %d 条\t不实确认 %d\t%s\n", "standby %s\tconnected %s\tin sync %s\t%d records behind\tlies %d\t%s\n"),
			s.Name, yes(s.Connected), yes(s.InSync), s.Lag, s.Lies, s.Problem)
	}
	for _, l := range v.Logs {
		fmt.Fprintf(w, c.Say("分片 %d\t落盘 %d\t确认 %d\n", "shard %d\ton disk %d\tacknowledged %d\n"), l.Shard, l.Last, l.Durable)
	}
	if v.Problem != "" {
		fmt.Fprintln(w, v.Problem)
	}
	return w.Flush()
}
