package scenario

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
)

// feed compiles one feed.
func (c *compiler) feed(name string, d FeedDef, files fs.FS) {
	if _, twice := c.d.Variables[name]; twice || !isName(name) {
		c.find("名字须由字母、数字、_ 和 - 组成，且不与变量同名", "a name has letters, digits, _ and -, and is no variable's", "data", name)
		return
	}
	made, err := c.make(name, d, files)
	if err != nil {
		e := errs.As(err)
		line, field := c.at("data", name)
		if e.Line > 0 {
			e.Msg.ZH = fmt.Sprintf("第 %d 行：%s", e.Line, e.Msg.ZH)
			e.Msg.EN = fmt.Sprintf("line %d: %s", e.Line, e.Msg.EN)
		}
		c.f.Add(line, field, e.Msg.ZH, e.Msg.EN)
	}
	c.byName[name] = len(c.p.feeds)
	c.p.feeds, c.p.slots = append(c.p.feeds, made), append(c.p.slots, nil)
}

func (c *compiler) make(name string, d FeedDef, files fs.FS) (feed, error) {
	if d.Order != "" && d.Order != "random" && d.Order != "sequence" {
		return nil, errs.New(errs.Invalid, "order 应为 random 或 sequence", "order is random or sequence")
	}
	switch d.Kind {
	case "sequence":
		if d.From < 0 || d.Width < 0 || d.Width > 40 {
			return nil, errs.New(errs.Invalid, "from 不能为负，width 最大 40", "from is not negative, width at most 40")
		}
		return sequence{uint64(d.From), d.Width}, nil
	case "uuid":
		return uuid{}, nil
	case "id-card":
		return idCard{uint64(max(d.From, 0))}, nil
	case "integer":
		if d.To < d.From {
			return nil, errs.New(errs.Invalid, "to 不能小于 from", "to is not below from")
		}
		return integer{d.From, d.To}, nil
	case "choice":
		return choice(d)
	case "csv":
		columns, all, err := readCSV(files, d.File)
		if err != nil {
			return nil, err
		}
		c.columns[name] = columns
		return rows{rows: all, inTurn: d.Order == "sequence"}, nil
	}
	return nil, errs.New(errs.Invalid, "kind 应为 sequence、uuid、integer、choice、csv 或 id-card", "kind is sequence, uuid, integer, choice, csv or id-card")
}

func choice(d FeedDef) (feed, error) {
	if len(d.Of) == 0 || d.Weights != nil && (len(d.Weights) != len(d.Of) || d.Order == "sequence") {
		return nil, errs.New(errs.Invalid, "of 须有值；weights 须与之一一对应，且不按顺序", "of needs values; weights, one for each, and not in sequence")
	}
	r := rows{inTurn: d.Order == "sequence"}
	for _, v := range d.Of {
		r.rows = append(r.rows, []string{v})
	}
	if d.Weights != nil {
		r.weights = sums(d.Weights)
		if !slices.IsSorted(r.weights) || r.weights[0] < 0 || !(r.weights[len(r.weights)-1] > 0) {
			return nil, errs.New(errs.Invalid, "weights 不能为负，且不能全为 0", "weights are not negative, and not all 0")
		}
	}
	return r, nil
}

// maxRows bounds a file of data.
const maxRows = 1 << 20

// readCSV reads a file whose first line has the names of its columns.
func readCSV(files fs.FS, name string) (columns []string, all [][]string, err error) {
	if files == nil || name == "" {
		return nil, nil, errs.New(errs.Invalid, "须有 file", "needs file")
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, nil, errs.Wrap(err, errs.NotFound, "file 无法读取；路径相对于方案文件，且在其目录之内", "file can't be read; its path is relative to the scenario and within its folder")
	}
	defer f.Close()
	return parseCSV(f)
}

func parseCSV(r io.Reader) (columns []string, all [][]string, err error) {
	in := csv.NewReader(r)
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var at *csv.ParseError
			line := 1
			if errors.As(err, &at) {
				line = at.Line
			}
			return nil, nil, errs.Wrap(err, errs.Invalid, "CSV 无法读取，或列数与首行不同", "the CSV can't be read, or has other columns than its first line").WithLine(line)
		}
		if columns == nil {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			if i := slices.IndexFunc(row, func(s string) bool { return !isName(s) }); i >= 0 {
				return nil, nil, errs.New(errs.Invalid, "首行应为列名，由字母、数字、_ 和 - 组成", "the first line has names of columns: letters, digits, _ and -").WithLine(1)
			}
			columns = row
			continue
		}
		if all = append(all, row); len(all) > maxRows {
			return nil, nil, errs.Newf(errs.TooLarge, "最多 %d 行", "at most %d lines", maxRows)
		}
	}
	if len(all) == 0 {
		return nil, nil, errs.New(errs.Invalid, "文件没有数据", "the file has no data").WithLine(1)
	}
	return columns, all, nil
}
