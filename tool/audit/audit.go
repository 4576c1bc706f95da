// Package audit lists, exports and verifies the audit log: of a running house, of a data folder, or in an exported file.
package audit

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// tool is the command with what it is given.
type tool struct {
	open func(path string) (sqldb.DB, error)
}

// New returns the command. open opens a SQLite file, for data folders of houses that do not run.
func New(open func(path string) (sqldb.DB, error)) *qiong.Tool {
	t := &tool{open}
	return &qiong.Tool{
		Name: "audit", Args: "list | export FILE | verify [FILE] | restored | gaps | accept FILE", MinArgs: 1, MaxArgs: 2,
		Doc: lang.T("查询、导出、核验审计日志，登记恢复", "list, export and verify the audit log, and enter restores"),
		Long: lang.T("list         列出审计日志，最新的在前\nexport FILE  导出到文件（NDJSON，或以 .csv 结尾则为 CSV），旁边写出 FILE.proof 和 trust.pem\nverify       重新计算整个日志，与签名和见证者的记忆核对；发现改动则以 5 退出\nverify FILE  离线核验导出的文件（凭 FILE.proof 和 trust.pem）；归档文件亦可\nrestored     数据目录由备份恢复后，登记缺少了什么、为什么（--reason），日志由此继续；被改写的日志不能登记\ngaps         输出历次恢复的签署声明\naccept FILE  认可另一系统的恢复声明，为它见证的本系统（--data，未在运行；--trust 为其日志的公钥）由此继续；先显示会退回到多少组，核对后用 --to 写明才认可\n\n默认询问 --url 处运行中的服务，需要审计管理员的令牌（QIONG_TOKEN）；--data 直接读取未在运行的数据目录。\n时间写作 2026-11-22 或 2026-11-22T20:00:00.000+08:00，--until 不含当刻。",
			"list         list the audit log, newest first\nexport FILE  export to a file (NDJSON, or CSV where its name ends with .csv), with FILE.proof and trust.pem beside it\nverify       compute the whole log anew and hold it to the signatures and to what the witness remembers; ends with 5 where something was changed\nverify FILE  verify an exported file offline (by FILE.proof and trust.pem); archived files too\nrestored     after the data folder was put back from a backup: enter what is missing and why (--reason), from where the log goes on; a log that was rewritten can't be entered\ngaps         print the signed statements of restores\naccept FILE  accept the statement of another house's restore: this one (--data, not running), which witnesses it, goes on from there; --trust has the keys of its log; it tells first how far that goes back, and accepts it once --to says the same\n\nBy default the running house at --url is asked, with the token of an audit administrator (QIONG_TOKEN); --data reads the folder of a house that does not run.\nTimes are written 2026-11-22 or 2026-11-22T20:00:00.000+08:00; --until is exclusive."),
		Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
			client.Flags(fs, say)
			fs.String("data", "", say("未在运行的数据目录", "data folder of a house that does not run"))
			fs.String("trust", "", say("公钥文件；默认 trust.pem", "file of public keys; default trust.pem"))
			fs.String("since", "", say("起始时间", "from this time on"))
			fs.String("until", "", say("截止时间（不含）", "up to this time, exclusive"))
			fs.String("who", "", say("只列此主体", "of this principal alone"))
			fs.String("what", "", say("只列此类操作，如 token.issue", "of this act alone, such as token.issue"))
			fs.String("outcome", "", say("只列此结果，如 refused", "of this outcome alone, such as refused"))
			fs.String("reason", "", say("restored：为什么恢复、用的哪份备份", "restored: why, and from which backup"))
			fs.String("master-key", "", say("restored、accept：主密钥文件；留空用数据目录内的", "restored, accept: file of the master secret; empty: the one in the data folder"))
			fs.String("signer", "", say("restored、accept：持有密钥的签名进程的套接字", "restored, accept: socket of the signer that has the keys"))
			fs.Uint64("to", 0, say("accept：见证者将退回到的组数", "accept: how many leaves the witness goes back to"))
			fs.Bool("unsigned", false, say("accept：声明中没有本见证者自己的签名也认可", "accept: also where no signature of this witness's own is in the statement"))
			fs.Int("limit", 100, say("最多列出的条数；0 为全部", "how many to list at most; 0 for all"))
		},
		Run: t.run,
	}
}

func (t *tool) run(ctx context.Context, c *qiong.Console, args []string) error {
	f, err := filterOf(c.Flags)
	if err != nil {
		return err
	}
	if args[0] == "verify" && len(args) == 2 {
		return verifyFile(c, args[1])
	}
	switch {
	case args[0] == "restored" && len(args) == 1:
		return t.restored(ctx, c)
	case args[0] == "accept" && len(args) == 2:
		return t.accept(ctx, c, args[1])
	}
	from, err := t.source(ctx, c)
	if err != nil {
		return t.opened(c, args[0], err)
	}
	defer from.Close()
	switch {
	case args[0] == "list" && len(args) == 1:
		return list(ctx, c, from, f)
	case args[0] == "export" && len(args) == 2:
		return export(ctx, c, from, f, args[1])
	case args[0] == "verify":
		return verify(ctx, c, from)
	case args[0] == "gaps" && len(args) == 1:
		return gaps(ctx, c, from)
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong audit --help 查看用法", "run qiong audit --help for the usage")
}

// opened says of a log that could not even be opened what that means.
func (t *tool) opened(c *qiong.Console, verb string, err error) error {
	if verb == "verify" && audit.Broken(err) {
		return tampered(c, errs.As(err).Msg)
	}
	return err
}

// source is where entries come from.
type source interface {
	List(ctx context.Context, f audit.Filter, each func(e *audit.Entry) (more bool, err error)) error
	Span(ctx context.Context, f audit.Filter) (from, to uint64, p *audit.Proof, err error)
	Leaves(ctx context.Context, from uint64, limit int) ([][]byte, error)
	// Check computes the log anew. What is broken is told in the state.
	Check(ctx context.Context) (*state, error)
	// Gaps returns the statements of restores.
	Gaps(ctx context.Context) ([]*audit.Gap, error)
	// Trust returns the public keys that lie beside the entries, as a file.
	Trust(ctx context.Context) ([]byte, error)
	Close() error
}

// state is what a check has found.
type state struct {
	Origin  string       `json:"origin"`
	Leaves  uint64       `json:"leaves"`
	Expired uint64       `json:"expired"`
	Broken  lang.Text    `json:"broken,omitzero"`
	Note    string       `json:"note,omitempty"`
	At      beijing.Time `json:"checked"`

	gaps      []*audit.Gap
	witnesses []audit.WitnessState
}

func (t *tool) source(ctx context.Context, c *qiong.Console) (source, error) {
	if dir, _ := c.Flags.GetString("data"); dir != "" {
		return openFolder(ctx, c, dir, t.open)
	}
	return &house{client.FromFlags(c.Flags, c.Lang)}, nil
}

// filterOf reads the flags that say which entries.
func filterOf(fs *pflag.FlagSet) (f audit.Filter, err error) {
	f.Who, _ = fs.GetString("who") // all of them were added above
	f.What, _ = fs.GetString("what")
	f.Outcome, _ = fs.GetString("outcome")
	if f.Since, err = moment(fs, "since"); err != nil {
		return f, err
	}
	f.Until, err = moment(fs, "until")
	return f, err
}

func moment(fs *pflag.FlagSet, name string) (beijing.Time, error) {
	text, _ := fs.GetString(name)
	if text == "" {
		return 0, nil
	}
	var at time.Time
	at, err := beijing.ParseDate(text)
	if err != nil {
		at, err = beijing.Parse(text)
	}
	if err != nil {
		return 0, errs.New(errs.Invalid, "时间应写作 2026-11-22 或 2026-11-22T20:00:00.000+08:00", "a time is written 2026-11-22 or 2026-11-22T20:00:00.000+08:00").WithField("--" + name)
	}
	return beijing.At(at), nil
}
