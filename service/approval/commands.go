package approval

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
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

var commands = []*qiong.Tool{
	{
		Name: "lint", Args: "[FILE|DIR]...", MaxArgs: -1,
		Doc: lang.T("检查事项文件，错误附行号", "check matter files; errors have their line"),
		Run: lint,
	},
	{
		Name: "picture", Args: "FILE", MinArgs: 1, MaxArgs: 1,
		Doc: lang.T("画出事项的流程（Mermaid）", "draw a matter's flow (Mermaid)"),
		Run: drawMatter,
	},
	{
		Name: "stuck", Doc: lang.T("列出停滞的办件", "list the cases that do not get on"), Flags: client.Flags,
		Run: func(ctx context.Context, c *qiong.Console, _ []string) error {
			return list(ctx, c, "/stuck", func(r row) string {
				return fmt.Sprintf("%s\t%s\t%s\t%s", r["saga"], r["name"], strings.TrimSpace(fmt.Sprint(r["on"])), map[bool]string{true: "parked", false: "retrying"}[r["parked"] == true])
			})
		},
	},
	{
		Name: "retry", Doc: lang.T("部门恢复后，立即重试等它的全部环节", "retry all that waits, as when an agency is back"),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.String("agency", "", say("只重试该部门的环节", "only steps of this agency"))
			fs.String("case", "", say("只重试该办件", "only this case"))
			fs.String("step", "", say("只重试该环节", "only this step"))
		},
		Run: func(ctx context.Context, c *qiong.Console, _ []string) error {
			body := map[string]string{}
			for _, name := range []string{"agency", "case", "step"} {
				if v, _ := c.Flags.GetString(name); v != "" {
					body[name] = v
				}
			}
			return count(ctx, c, "/retry", body, "已重试 %d 个环节", "retried %d steps")
		},
	},
	{
		Name: "skip", Args: "CASE STEP", MinArgs: 2, MaxArgs: 2,
		Doc: lang.T("跳过停放的环节，须写明理由", "skip a parked step; a reason is needed"),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.String("reason", "", say("理由", "the reason"))
		},
		Run: func(ctx context.Context, c *qiong.Console, args []string) error {
			reason, _ := c.Flags.GetString("reason")
			return client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "POST", Path: base + "/cases/" + url.PathEscape(args[0]) + "/skip",
				Body: map[string]string{"step": args[1], "reason": reason}}, nil)
		},
	},
	{
		Name: "dead", Doc: lang.T("列出死信", "list the dead letters"), Flags: client.Flags,
		Run: func(ctx context.Context, c *qiong.Console, _ []string) error {
			return list(ctx, c, "/dead", func(r row) string {
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", r["message"], r["consumer"], r["type"], r["key"], r["reason"])
			})
		},
	},
	{
		Name: "requeue", Doc: lang.T("重发死信", "send dead letters anew"),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.String("consumer", "", say("只重发给该消费者的", "only those to this consumer"))
			fs.String("message", "", say("只重发这一条", "only this message"))
		},
		Run: func(ctx context.Context, c *qiong.Console, _ []string) error {
			body := map[string]string{}
			for _, name := range []string{"consumer", "message"} {
				if v, _ := c.Flags.GetString(name); v != "" {
					body[name] = v
				}
			}
			return count(ctx, c, "/requeue", body, "已重发 %d 条", "sent %d again")
		},
	},
}

// row is an item of a list, as JSON has it.
type row map[string]any

// list prints every page of a list, a line an item, or the items as JSON lines.
func list(ctx context.Context, c *qiong.Console, path string, line func(row) string) error {
	house, cursor := client.FromFlags(c.Flags, c.Lang), ""
	for {
		var page struct {
			Items []row
			Next  string
		}
		if err := house.Do(ctx, client.Request{Method: "GET", Path: base + path + "?limit=200&cursor=" + url.QueryEscape(cursor)}, &page); err != nil {
			return err
		}
		for _, r := range page.Items {
			text := ""
			if c.JSON {
				encoded, err := json.Marshal(r)
				if err != nil {
					return err
				}
				text = string(encoded)
			} else {
				text = line(r)
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

func count(ctx context.Context, c *qiong.Console, path string, body any, zh, en string) error {
	var answer struct{ Count int64 }
	if err := client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "POST", Path: base + path, Body: body}, &answer); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(answer)
	}
	_, err := fmt.Fprintf(c.Out, c.Say(zh, en)+"\n", answer.Count)
	return err
}

// lint checks the named files, every matter of the named folders, or the embedded ones.
func lint(_ context.Context, c *qiong.Console, args []string) error {
	if len(args) == 0 {
		_, err := LoadMatters("")
		if err == nil {
			_, err = fmt.Fprintln(c.Out, c.Say("程序自带的事项无误", "the matters that come with the program are right"))
		}
		return err
	}
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return errs.Wrap(err, errs.NotFound, "文件不存在", "there is no such file").WithField(arg)
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		found, err := filepath.Glob(filepath.Join(arg, "*.yaml"))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	wrong := 0
	for _, path := range files {
		if _, err := readMatter(path); err != nil {
			wrong++
			yamlfile.Tell(c.Out, path, err, c.Lang)
		} else if _, err := fmt.Fprintf(c.Out, "%s: %s\n", path, c.Say("无误", "right")); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return errs.Newf(errs.Invalid, "%d 个事项文件有误", "%d matter files are wrong", wrong)
	}
	return nil
}

func readMatter(path string) (*Matter, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(path)
	}
	return ParseMatter(data)
}

func drawMatter(_ context.Context, c *qiong.Console, args []string) error {
	m, err := readMatter(args[0])
	if err != nil {
		return yamlfile.In(args[0], err)
	}
	_, err = fmt.Fprint(c.Out, saga.Mermaid(m.saga, nil, c.Lang))
	return err
}
