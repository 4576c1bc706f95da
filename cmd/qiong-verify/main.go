// Command qiong-verify verifies receipts on a machine that has nothing else: it reads files, opens no connection, and
// needs no configuration.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/receipt/verifier"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// program is one run.
type program struct {
	verifier.Command
	stderr                io.Writer
	trust, original, lang string
	version               bool
}

// run executes one command line and returns the exit status; see errs.Kind.Exit.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	p := &program{Command: verifier.Command{Out: stdout}, stderr: stderr}
	words, err := p.parse(args)
	p.Lang = p.language(getenv)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, p.say(usageZH, usageEN))
		return 0
	}
	if err == nil {
		err = p.do(words)
	}
	if err == nil {
		return 0
	}
	return p.fail(err)
}

// parse reads flags and words in any order.
func (p *program) parse(args []string) (words []string, err error) {
	fs := flag.NewFlagSet("qiong-verify", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&p.trust, "trust", "", "")
	fs.StringVar(&p.original, "data", "", "")
	fs.StringVar(&p.lang, "lang", "", "")
	fs.BoolVar(&p.JSON, "json", false, "")
	fs.BoolVar(&p.version, "version", false, "")
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errs.Newf(errs.Invalid, "命令行参数有误：%s", "bad flag: %s", err.Error()).WithHint("加 --help 查看用法", "add --help for the usage")
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return words, nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(words, rest...), nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

func (p *program) language(getenv func(string) string) lang.Lang {
	for _, tag := range []string{p.lang, getenv("QIONG_LANG")} {
		if l, ok := lang.Parse(tag); ok {
			return l
		}
	}
	return lang.FromEnv(getenv)
}

func (p *program) say(zh, en string) string { return lang.T(zh, en).In(p.Lang) }

// do runs "FILE", "verify FILE" or "show FILE".
func (p *program) do(words []string) error {
	switch {
	case p.version && len(words) == 0:
		return p.printVersion()
	case len(words) == 1:
		return p.Verify(words[0], p.trust, p.original)
	case len(words) == 2 && words[0] == "verify":
		return p.Verify(words[1], p.trust, p.original)
	case len(words) == 2 && words[0] == "show":
		return p.Show(words[1])
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("加 --help 查看用法", "add --help for the usage")
}

func (p *program) printVersion() error {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	_, err := fmt.Fprintln(p.Out, "qiong-verify", version)
	return err
}

// fail tells the person, or the program, what went wrong and returns the exit status.
func (p *program) fail(err error) int {
	e := errs.As(err)
	if p.JSON {
		// The fields are those of the house's problems that mean something here.
		_ = json.NewEncoder(p.stderr).Encode(map[string]string{ // there is nobody else to tell
			"kind": e.Kind.String(), "code": e.Code, "detail": e.In(p.Lang), "hint": e.Hint.In(p.Lang)})
		return e.Kind.Exit()
	}
	fmt.Fprintf(p.stderr, "%s: %s\n", p.say("错误", "error"), e.In(p.Lang))
	if e.Err != nil {
		fmt.Fprintf(p.stderr, "  %s: %v\n", p.say("原因", "cause"), e.Err)
	}
	if hint := e.Hint.In(p.Lang); hint != "" {
		fmt.Fprintf(p.stderr, "%s: %s\n", p.say("提示", "hint"), hint)
	}
	return e.Kind.Exit()
}

const usageZH = `离线验证回执：记录在日志中，签名属实，由谁签名，还缺谁。只读文件，不联网。

用法:
  qiong-verify FILE        验证回执
  qiong-verify show FILE   显示回执的内容，不验证

参数:
  --trust FILE   所信任的公钥文件（PEM）；没有时用回执旁边的 trust.pem
  --data FILE    原件，须与回执相符
  --json         输出 JSON，供程序读取
  --lang zh|en   语言
  --version      显示版本

退出码: 0 有效；2 无效，或输入有误；4 文件无法读取
`

const usageEN = `Verifies receipts, offline: that the record is in the log, who signed it, and who has not yet. Reads files and asks no
network.

Usage:
  qiong-verify FILE        verify a receipt
  qiong-verify show FILE   show what stands in a receipt, unverified

Flags:
  --trust FILE   file of the public keys that you trust (PEM); without it, trust.pem beside the receipt
  --data FILE    file of the original, which must be what the receipt commits to
  --json         answer in JSON, for a program
  --lang zh|en   language
  --version      show the version

Exit status: 0 valid; 2 not valid, or bad input; 4 a file can't be read
`
