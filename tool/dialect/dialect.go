// Package dialect promises to turn logs and comments in a team's slang into records that programs can count, and to say
// what it could not read.
package dialect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/dialect"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/yamlfile"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "dialect", Args: "parse FILE... | terms", MinArgs: 1, MaxArgs: -1,
	Doc: lang.T("按词汇表把夹杂土话的日志变成结构化记录", "turn logs in a team's slang into records, by a glossary"),
	Long: lang.T(`parse FILE...  每行日志输出一条 JSON 记录（NDJSON）；读不准的地方列在标准错误，从不猜测
terms          列出词汇表

FILE 为 - 时读标准输入；文件应为 UTF-8，其他编码先用 qiong han convert 转换。`,
		`parse FILE...  write a JSON record for each line (NDJSON); what can't be read in one way is listed on standard error, never guessed
terms          list the glossary

A FILE of - is standard input. Files are UTF-8; convert others with qiong han convert first.`),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("glossary", "", say("本团队词汇表（YAML），加在自带的词汇之上", "the team's own glossary (YAML), added to the built-in one"))
		fs.String("naive", "refuse", say("没有时区的时间：beijing 视为北京时间，refuse 列为问题", "a time without a zone: beijing takes it as Beijing time, refuse lists it"))
		fs.Bool("strict", false, say("有读不准的地方则退出码为 5", "end with status 5 where there are findings"))
		fs.Int("max", 20, say("最多列出多少处；其余只计数", "how many findings to list; the rest is counted"))
	},
	Run: run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	file, _ := c.Flags.GetString("glossary") // all are declared above
	naive, _ := c.Flags.GetString("naive")
	strict, _ := c.Flags.GetBool("strict")
	most, _ := c.Flags.GetInt("max")
	glossary, err := load(file)
	if err != nil {
		return err
	}
	policy, ok := map[string]beijing.Naive{"refuse": beijing.Refuse, "beijing": beijing.Assume}[naive]
	if !ok {
		return errs.New(errs.Invalid, "应为 beijing 或 refuse", "must be beijing or refuse").WithField("--naive")
	}
	switch verb, files := args[0], args[1:]; {
	case verb == "parse" && len(files) > 0:
		p := &parser{Console: c, Parser: &dialect.Parser{Glossary: glossary, Naive: policy}, most: most}
		return p.parse(ctx, files, strict)
	case verb == "terms" && len(files) == 0:
		return terms(c, glossary)
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong dialect --help 查看用法", "run qiong dialect --help for the usage")
}

// load reads the team's glossary, where it has one.
func load(file string) (*dialect.Glossary, error) {
	if file == "" {
		return dialect.Builtin(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(err, file)
	}
	g, err := dialect.ParseGlossary(data)
	if err != nil {
		return nil, yamlfile.In(file, err)
	}
	return g, nil
}

func unreadable(err error, file string) error {
	kind := errs.Invalid
	if errors.Is(err, os.ErrNotExist) {
		kind = errs.NotFound
	}
	return errs.Wrap(err, kind, "文件无法读取", "the file can't be read").WithField(file)
}

// terms lists the glossary.
func terms(c *qiong.Console, g *dialect.Glossary) error {
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(struct {
			Version string         `json:"version"`
			Terms   []dialect.Term `json:"terms"`
		}{g.Version(), g.Terms()})
	}
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	for _, t := range g.Terms() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Code, t.Kind, t.Term, t.Meaning.In(c.Lang)) // the error is Flush's
	}
	fmt.Fprintf(w, c.Say("词汇表版本 %s\n", "version %s of the glossary\n"), g.Version())
	return w.Flush()
}

// parser parses files and counts what it found.
type parser struct {
	*qiong.Console
	*dialect.Parser
	most     int
	findings int
}

func (p *parser) parse(ctx context.Context, files []string, strict bool) error {
	out := bufio.NewWriter(p.Out)
	for _, file := range files {
		if err := p.file(ctx, out, file); err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	switch {
	case p.findings == 0:
		return nil
	case strict:
		return errs.Newf(errs.Conflict, "发现 %d 处", "%d findings", p.findings)
	}
	_, err := fmt.Fprintf(p.Err, p.Say("发现 %d 处\n", "%d findings\n"), p.findings)
	return err
}

func (p *parser) file(ctx context.Context, out *bufio.Writer, name string) error {
	in := io.NopCloser(p.In)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return unreadable(err, name)
		}
		in = f
	}
	defer in.Close()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	record := struct {
		File string `json:"file"`
		*dialect.Record
	}{name, new(dialect.Record)}
	lines := dialect.NewReader(in, p.Parser)
	for {
		if lines.Buffered() == 0 { // a log that is followed: what it said so far is to be seen
			if err := out.Flush(); err != nil {
				return err
			}
		}
		err := lines.Next(record.Record)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unreadable(err, name)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if err := enc.Encode(record); err != nil {
			return err
		}
		if err := p.tell(name, record.Record); err != nil {
			return err
		}
	}
}

// tell lists what was found in a line. Of the line it shows a term at most.
func (p *parser) tell(file string, r *dialect.Record) error {
	for _, f := range r.Findings {
		if p.findings++; p.findings > p.most {
			continue
		}
		shown := ""
		if f.Code == dialect.UnknownTerm || f.Code == dialect.AmbiguousTerm {
			shown = fmt.Sprintf(" %q", r.Text[f.Offset:f.Offset+f.Size])
		}
		if _, err := fmt.Fprintf(p.Err, p.Say("%s:%d: %s%s（第 %d 字节）\n", "%s:%d: %s%s (byte %d)\n"),
			file, r.Line, f.Message().In(p.Lang), shown, f.Offset); err != nil {
			return err
		}
	}
	return nil
}
