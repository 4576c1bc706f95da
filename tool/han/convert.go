package han

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han/gb18030"
)

func convert(ctx context.Context, c *qiong.Console, from, to charset, replace bool, files []string) error {
	out := bufio.NewWriterSize(c.Out, 1<<16)
	for _, file := range files {
		k := &converter{to: to, replace: replace, file: file, out: out}
		k.charset = from
		err := k.convert(ctx, c)
		if flushed := out.Flush(); err == nil && flushed != nil {
			err = flushed
		}
		if err != nil {
			return err
		}
		if err := k.tell(c); err != nil {
			return err
		}
	}
	return nil
}

// converter converts a file.
type converter struct {
	stream
	to       charset
	replace  bool
	file     string
	out      io.Writer
	text     []byte // of a block, in UTF-8
	code     []byte // of a block, in the target's encoding
	replaced int64
	first    place // of the first that was replaced
	aliases  int64 // what will not come back with the same code
}

func (k *converter) convert(ctx context.Context, c *qiong.Console) error {
	in, err := open(c, k.file)
	if err != nil {
		return err
	}
	defer in.Close()
	shown := newProgress(c, in)
	defer shown.done()
	return k.each(ctx, in, func(data []byte, atEOF bool) (int, error) {
		shown.at(k.place.Offset)
		return k.block(data, atEOF)
	})
}

// block converts a block as a whole, or character by character where there is something in it that can't be converted.
func (k *converter) block(data []byte, atEOF bool) (used int, err error) {
	var ok bool
	aliases := int64(0)
	report := func(n gb18030.Note) {
		if n.Kind == gb18030.Alias {
			aliases++
		}
	}
	k.text, used, ok = k.reads().decode(k.text[:0], data, atEOF, report)
	if ok {
		k.code, ok = k.to.encode(k.code[:0], k.text, report)
	}
	if ok {
		k.aliases += aliases
		k.place.passText(k.text, used)
	} else if used, err = k.slowly(data, atEOF); err != nil {
		_, _ = k.out.Write(k.code) // what precedes the trouble; that is the error to tell
		return used, err
	}
	_, err = k.out.Write(k.code)
	return used, err
}

func (k *converter) slowly(data []byte, atEOF bool) (used int, err error) {
	from := k.reads()
	k.code = k.code[:0]
	for used < len(data) {
		r, size, kind := from.next(data[used:], atEOF)
		if size == 0 {
			break
		}
		alias := kind == gb18030.Alias
		if !kind.IsError() {
			k.code, kind = k.to.put(k.code, r)
		}
		if alias || kind == gb18030.Alias {
			k.aliases++
		}
		if kind.IsError() {
			if !k.replace {
				return used, k.fail(r, size, kind)
			}
			if k.replaced == 0 {
				k.first = k.place
			}
			k.code = append(k.code, k.to.replacement()...)
			k.replaced++
		}
		k.place.pass(r, size)
		used += size
	}
	return used, nil
}

// fail says where and what cannot be converted.
func (k *converter) fail(r rune, size int, kind gb18030.Kind) error {
	point := ""
	if r != utf8.RuneError {
		point = fmt.Sprintf(" %U", r)
	}
	text, at := kind.Text(), k.place
	e := errs.New(errs.Invalid,
		fmt.Sprintf("第 %d 行第 %d 列: %s%s，共 %d 字节", at.Line, at.Column, text.ZH, point, size),
		fmt.Sprintf("line %d, column %d: %s%s, %d bytes", at.Line, at.Column, text.EN, point, size))
	return e.WithCode(kind.Code()).WithField(k.file).WithOffset(at.Offset).
		WithHint("加 --replace 可替换后继续；qiong han check 列出全部", "--replace goes on with a replacement; qiong han check lists them all")
}

// tell says at the end what is not as it was: on standard error, since the text is on standard output.
func (k *converter) tell(c *qiong.Console) error {
	if k.aliases > 0 {
		if _, err := fmt.Fprintf(c.Err, c.Say("%s: %d 个字符的旧编码已按 GB 18030-2022 换成新编码；用 gb18030-2022-strict 可逐一保留\n",
			"%s: %d characters had old codes, which became those of GB 18030-2022; gb18030-2022-strict keeps each\n"), k.file, k.aliases); err != nil {
			return err
		}
	}
	if k.replaced == 0 {
		return nil
	}
	_, err := fmt.Fprintf(c.Err, c.Say("%s: %d 处无法转换，已替换；第一处在第 %d 行第 %d 列（第 %d 字节）\n",
		"%s: %d places could not be converted and were replaced; the first at line %d, column %d (byte %d)\n"),
		k.file, k.replaced, k.first.Line, k.first.Column, k.first.Offset)
	return err
}
