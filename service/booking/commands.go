package booking

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

var commands = []*qiong.Tool{
	pairTool,
	gateTool,
	drawTool,
	{
		Name: "lint", Args: "FILE...", MinArgs: 1, MaxArgs: -1,
		Doc: lang.T("检查景区文件，错误附行号", "check spot files; errors have their line"),
		Run: lint,
	},
	{
		Name: "close", Args: "SLOT", MinArgs: 1, MaxArgs: 1,
		Doc: lang.T("关闭时段并退款，须写明原因", "close a slot and pay back; a reason is needed"),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.String("reason", "", say("原因，会告知游客", "the reason, which visitors are told"))
		},
		Run: func(ctx context.Context, c *qiong.Console, args []string) error {
			reason, _ := c.Flags.GetString("reason")
			return client.FromFlags(c.Flags, c.Lang).Do(ctx, client.Request{Method: "POST", Path: base + "/slots/" + url.PathEscape(args[0]) + "/close",
				Body: map[string]string{"reason": reason}}, nil)
		},
	},
}

func lint(_ context.Context, c *qiong.Console, files []string) error {
	wrong := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			_, err = ParseSpot(data)
		}
		if err != nil {
			wrong++
			yamlfile.Tell(c.Out, file, err, c.Lang)
		} else if _, err := fmt.Fprintf(c.Out, "%s: %s\n", file, c.Say("无误", "right")); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return errs.Newf(errs.Invalid, "%d 个景区文件有误", "%d spot files are wrong", wrong)
	}
	return nil
}
