package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/lease"
)

var statusTool = &qiong.Tool{
	Name: "status", Args: "[URL]", MaxArgs: 1, Flags: client.Flags, Run: showStatus,
	Doc: lang.T("投票者的状态；有令牌时列出租约", "the state of a voter; with a token, its leases"),
}

// standing is what the command tells of a voter.
type standing struct {
	VoterView
	Items []LeaseView `json:"items,omitempty"`
}

func showStatus(ctx context.Context, c *qiong.Console, args []string) error {
	house := client.FromFlags(c.Flags, c.Lang)
	if len(args) > 0 {
		house.URL = args[0]
	}
	var v standing
	if err := house.Do(ctx, client.Request{Method: "GET", Path: base + "/status"}, &v.VoterView); err != nil {
		return err
	}
	if house.Token != "" {
		if err := house.Do(ctx, client.Request{Method: "GET", Path: base + "/leases"}, &v); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(v)
	}
	fmt.Fprintf(c.Out, c.Say("投票者 %s（%s）：%d 个租约，%d 个有人持有；副本：%s\n", "voter %s (%s): %d leases, %d held; replicas: %s\n"),
		v.Name, v.Key, v.Leases, v.Held, strings.Join(v.Replicas, " "))
	w := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
	for _, l := range v.Items {
		state := fmt.Sprintf(c.Say("还有 %v", "%v left"), time.Duration(l.Left)*time.Millisecond)
		switch {
		case l.Released:
			state = c.Say("已交还", "released")
		case l.Left == 0:
			state = c.Say("已到期", "run out")
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", l.Lease, l.Holder, l.Epoch, strings.Join(l.InSync, ","), state)
	}
	return w.Flush()
}

var promoteTool = &qiong.Tool{
	Name: "promote", Args: "LEASE", MinArgs: 1, MaxArgs: 1, Run: promote,
	Doc: lang.T("人工提升本机副本：可能丢失已确认的记录", "promote this machine's replica by hand: acknowledged records may be lost"),
	Long: lang.T("在要提升的副本所在机器上运行。只有当同步的副本都确定不再回来时才这样做：\n本副本可能缺少已向用户确认的记录，提升后这些记录就此丢失，且不可恢复。\n仍有副本持有租约时不会成功。每个投票者都留下记录（qiong witness 的 promotions 接口），并作为办理事项存证。",
		"Run it on the machine of the replica. Do so only when no replica in sync will ever come back: this one may lack\nrecords that were acknowledged to people, and from then on they are lost for good. It does not succeed while another\nreplica holds the lease. Every voter keeps a record (promotions in the API), which goes to evidence as an act."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("data", "./qiong-data", say("数据目录，用其中的密钥", "data folder, whose key is used"))
		fs.String("master-key", "", say("主密钥文件；留空用数据目录内的", "file of the master secret; empty: the one in the data folder"))
		fs.String("name", "", say("要提升的副本：本机的名称", "the replica to promote: this machine's name"))
		fs.StringSlice("voters", nil, say("全部投票者，名称=地址", "all voters, NAME=URL"))
		fs.String("reason", "", say("原因，留作记录", "the reason, for the record"))
		fs.Bool("lose-acknowledged-records", false, say("确认：接受丢失已确认的记录", "yes: accept that acknowledged records are lost"))
	},
}

func promote(ctx context.Context, c *qiong.Console, args []string) error {
	text := func(flag string) string { s, _ := c.Flags.GetString(flag); return s } // all are declared above
	voters, _ := c.Flags.GetStringSlice("voters")
	if agreed, _ := c.Flags.GetBool("lose-acknowledged-records"); !agreed {
		return errs.New(errs.Invalid, "可能丢失已确认的记录，须明确接受", "acknowledged records may be lost; say that you accept it").WithField("--lose-acknowledged-records")
	}
	ring, err := keys.Open(filepath.Join(text("data"), "keys"), keys.Options{MasterFile: text("master-key"), ReadOnly: true})
	if err != nil {
		return err
	}
	who, err := lease.Connect(ring, text("name"), voters, 0, false)
	if err != nil {
		return err
	}
	defer who.Close()
	was, is, err := who.Force(ctx, args[0], text("reason"))
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(map[string]lease.Register{"was": was, "is": is})
	}
	_, err = fmt.Fprintf(c.Out, c.Say("已提升 %s：租约 %s，任期 %d。此前持有者 %s，任期 %d，同步的副本：%s。它们确认过而 %s 没有的记录已经丢失；在它们重新同步之前，不要让它们以旧配置启动。\n",
		"promoted %s: lease %s, epoch %d. Before, %s held it at epoch %d, and in sync were: %s. What they acknowledged and %s lacks is lost; do not start them with an old configuration.\n"),
		is.Holder, args[0], is.Epoch, was.Holder, was.Epoch, strings.Join(was.InSync, " "), is.Holder)
	return err
}
