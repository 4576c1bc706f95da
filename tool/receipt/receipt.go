// Package receipt verifies receipts on the command line, offline.
package receipt

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/receipt/verifier"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "receipt", Args: "verify FILE | show FILE", MinArgs: 2, MaxArgs: 2,
	Doc: lang.T("离线验证回执", "verify receipts, offline"),
	Long: lang.T("verify FILE  验证回执：记录在日志中，签名属实，由谁签名，还缺谁\nshow FILE    显示回执的内容，不验证\n\n只读文件，不联网。没有 --trust 时，公钥取自回执旁边的 trust.pem。\n不需要整个程序的地方，用 qiong-verify：同一个命令，单独的小程序。",
		"verify FILE  verify a receipt: that the record is in the log, who signed it, and who has not yet\nshow FILE    show what stands in a receipt, unverified\n\nReads files and asks no network. Without --trust the public keys are those of trust.pem beside the receipt.\nWhere the whole program is not wanted: qiong-verify is the same command alone."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("trust", "", say("所信任的公钥文件（PEM）", "file of the public keys that you trust (PEM)"))
		fs.String("data", "", say("原件，须与回执相符", "file of the original, which must be what the receipt commits to"))
	},
	Run: run,
}

func run(_ context.Context, c *qiong.Console, args []string) error {
	trust, _ := c.Flags.GetString("trust") // both are declared above
	original, _ := c.Flags.GetString("data")
	command := verifier.Command{Out: c.Out, Lang: c.Lang, JSON: c.JSON}
	switch args[0] {
	case "verify":
		return command.Verify(args[1], trust, original)
	case "show":
		return command.Show(args[1])
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong receipt --help 查看用法", "run qiong receipt --help for the usage")
}
