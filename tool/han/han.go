// Package han promises to say where a text file is not what it should be, and to convert it without losing a character
// in silence.
package han

import (
	"context"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "han", Args: "check | convert FILE...", MinArgs: 2, MaxArgs: -1,
	Doc: lang.T("检查、转换文本编码（UTF-8、GB 18030、GBK）", "check and convert the encoding of texts (UTF-8, GB 18030, GBK)"),
	Long: lang.T(`check FILE...    列出无法读取、看不见或他处无法辨认的字符，给出行、列、字节位置；有错误则退出码为 2
convert FILE...  转换编码，依次写到标准输出；遇到无法转换的字符即停止并指出位置

FILE 为 - 时读标准输入。编码可为 utf-8、utf-16le、utf-16be、gb18030、gb18030-2005、gb18030-2022-strict、gbk、cp936、gb2312。`,
		`check FILE...    list what cannot be read, cannot be seen, or cannot be read elsewhere, with line, column and byte; errors end with status 2
convert FILE...  convert to standard output, one after the other; stops at the first character that cannot be converted, and says where

A FILE of - is standard input. Encodings: utf-8, utf-16le, utf-16be, gb18030, gb18030-2005, gb18030-2022-strict, gbk, cp936, gb2312.`),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		fs.String("from", "auto", say("输入的编码；auto 为自动识别", "encoding of the input; auto finds out"))
		fs.String("to", "utf-8", say("convert 输出的编码", "encoding that convert writes"))
		fs.Bool("replace", false, say("convert 遇到无法转换的字符时写替代符并继续，结束时报告数目", "convert writes a replacement for what cannot be converted, goes on, and counts at the end"))
		fs.Int("max", 100, say("check 每个文件最多列出的条数；其余只计数", "how many findings check lists of a file; the rest is counted"))
	},
	Run: run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	from, _ := c.Flags.GetString("from") // all are declared above
	to, _ := c.Flags.GetString("to")
	replace, _ := c.Flags.GetBool("replace")
	most, _ := c.Flags.GetInt("max")
	source, err := charsetOf(from, "--from", true)
	if err != nil {
		return err
	}
	target, err := charsetOf(to, "--to", false)
	if err != nil {
		return err
	}
	switch verb, files := args[0], args[1:]; verb {
	case "check":
		return check(ctx, c, source, max(most, 0), files)
	case "convert":
		return convert(ctx, c, source, target, replace, files)
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong han --help 查看用法", "run qiong han --help for the usage")
}

// file is an open file, or standard input.
type file struct {
	io.ReadCloser
	name string
	size int64 // 0 where it is not known
}

// open opens a file, or standard input for -.
func open(c *qiong.Console, name string) (*file, error) {
	if name == "-" {
		return &file{io.NopCloser(c.In), name, 0}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(err, name)
	}
	info, err := f.Stat()
	switch {
	case err == nil && info.IsDir():
		f.Close()
		return nil, errs.New(errs.Invalid, "是目录，不是文件", "it is a folder, not a file").WithField(name)
	case err == nil && info.Mode().IsRegular():
		return &file{f, name, info.Size()}, nil
	}
	return &file{f, name, 0}, nil
}

// Read names the file in the errors of reading it.
func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = unreadable(err, f.name)
	}
	return n, err
}

func unreadable(err error, name string) error {
	return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(name)
}
