package han

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han"
	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/lang"
)

// policy is what a text file may have: lines, and what is legible.
var policy = han.Policy{Lines: true, Lenient: true}

// finding is one thing found in a file.
type finding struct {
	place
	Size      int    `json:"size"`                // in bytes
	CodePoint string `json:"codePoint,omitempty"` // such as U+E81E; empty where the bytes are none
	Level     string `json:"level"`               // error or warning
	Code      string `json:"code"`
	Text      string `json:"text"`
}

// report is what is said of a file.
type report struct {
	File       string         `json:"file"`
	Encoding   string         `json:"encoding"`
	Detected   bool           `json:"detected"`
	Bytes      int64          `json:"bytes"`
	Characters int64          `json:"characters"`
	Lines      int64          `json:"lines"`
	Errors     int64          `json:"errors"`
	Warnings   int64          `json:"warnings"`
	Counts     map[string]int `json:"counts"` // by code
	Findings   []finding      `json:"findings"`
}

func check(ctx context.Context, c *qiong.Console, from charset, most int, files []string) error {
	wrong := 0
	for _, file := range files {
		r, err := checkFile(ctx, c, from, most, file)
		if err != nil {
			return err
		}
		if r.Errors > 0 {
			wrong++
		}
		if err := r.print(c); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return errs.Newf(errs.Invalid, "%d 个文件有错误", "%d files have errors", wrong)
	}
	return nil
}

func checkFile(ctx context.Context, c *qiong.Console, from charset, most int, file string) (*report, error) {
	in, err := open(c, file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	shown := newProgress(c, in)
	defer shown.done()
	k := &checker{most: most, lang: c.Lang, previous: -1, report: &report{File: file, Counts: map[string]int{}, Findings: []finding{}}}
	k.charset = from
	err = k.each(ctx, in, func(data []byte, atEOF bool) (int, error) {
		shown.at(k.place.Offset)
		return k.look(data, atEOF), nil
	})
	if err != nil {
		return nil, err
	}
	r := k.report
	r.Encoding, r.Detected, r.Bytes, r.Lines = k.name(), k.detected, k.place.Offset, k.place.Line
	if k.place.Column == 1 {
		r.Lines-- // the last line has ended
	}
	return r, nil
}

// checker looks at a file character by character.
type checker struct {
	stream
	report   *report
	most     int
	lang     lang.Lang
	previous rune
}

func (k *checker) look(data []byte, atEOF bool) int {
	used, charset := 0, k.reads()
	for used < len(data) {
		r, size, kind := charset.next(data[used:], atEOF)
		if size == 0 {
			break
		}
		switch found, ok := policy.CheckRune(r, k.previous); {
		case kind.IsError():
			k.add(size, -1, "error", kind.Code(), kind.Text())
		case ok && found.Level == han.Refuse:
			k.add(size, r, "error", found.Code, found.Text)
		case kind == gb18030.Changed || kind == gb18030.Alias:
			k.add(size, r, "warning", kind.Code(), kind.Text())
		case ok:
			k.add(size, r, "warning", found.Code, found.Text)
		}
		k.report.Characters++
		k.place.pass(r, size)
		k.previous = r
		used += size
	}
	return used
}

func (k *checker) add(size int, r rune, level, code string, text lang.Text) {
	if level == "error" {
		k.report.Errors++
	} else {
		k.report.Warnings++
	}
	k.report.Counts[code]++
	if len(k.report.Findings) >= k.most {
		return
	}
	f := finding{place: k.place, Size: size, Level: level, Code: code, Text: text.In(k.lang)}
	if r >= 0 {
		f.CodePoint = fmt.Sprintf("%U", r)
	}
	k.report.Findings = append(k.report.Findings, f)
}

func (r *report) print(c *qiong.Console) error {
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(r)
	}
	levels := map[string]string{"error": c.Say("错误", "error"), "warning": c.Say("注意", "warning")}
	for _, f := range r.Findings {
		where := fmt.Sprintf(c.Say("第 %d 字节起 %d 字节", "%[2]d bytes at byte %[1]d"), f.Offset, f.Size)
		if f.CodePoint != "" {
			where += c.Say("，", ", ") + f.CodePoint
		}
		if _, err := fmt.Fprintf(c.Out, c.Say("%s:%d:%d: %s: %s（%s）\n", "%s:%d:%d: %s: %s (%s)\n"), r.File, f.Line, f.Column, levels[f.Level], f.Text, where); err != nil {
			return err
		}
	}
	if more := r.Errors + r.Warnings - int64(len(r.Findings)); more > 0 {
		if _, err := fmt.Fprintf(c.Out, c.Say("%s: 另有 %d 条未列出\n", "%s: %d more are not listed\n"), r.File, more); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.Out, c.Say("%s: %s，%d 行，%d 字，%d 字节；错误 %d，注意 %d\n",
		"%s: %s, %d lines, %d characters, %d bytes; %d errors, %d warnings\n"),
		r.File, r.Encoding, r.Lines, r.Characters, r.Bytes, r.Errors, r.Warnings)
	return err
}
