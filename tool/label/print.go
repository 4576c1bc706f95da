package label

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// asset is one value that a system takes, keeps or gives.
type asset struct {
	Service   string      `json:"service"`             // a service, or a folder of Go source
	API       string      `json:"api,omitempty"`       // an operation
	Direction string      `json:"direction,omitempty"` // request or response
	Field     string      `json:"field"`               // a path in JSON; in Go source, after the type
	Type      string      `json:"type"`
	Category  string      `json:"category,omitempty"`
	Class     string      `json:"class,omitempty"`
	Grade     label.Grade `json:"grade"`
	Mask      string      `json:"mask,omitempty"`

	Tag          label.Tag `json:"-"`
	file         string
	line, column int
}

// ungraded is the asset as a finding, with a guess by the field's name.
func (a asset) ungraded(c *label.Catalog) finding {
	f := finding{Where: a.file, Line: a.line, Column: a.column, Kind: "ungraded", Field: strings.TrimSpace(a.Direction + " " + a.Field)}
	if a.file == "" {
		f.Where = a.API
	}
	if f.Field == "" {
		f.Field = "*"
	}
	last := a.Field[strings.LastIndexAny(a.Field, ". ")+1:]
	if k, ok := c.Suggest(last); ok {
		f.Suggests = label.Tag{Grade: k.Grade, Category: k.Name}.String()
	}
	return f
}

// fill adds what the catalogue knows of the category.
func (a *asset) fill(c *label.Catalog) {
	a.Category, a.Mask = a.Tag.Category, a.Tag.Mask.String()
	if k, ok := c.Category(a.Category); ok {
		a.Class = string(k.Class)
		if a.Mask == "" {
			a.Mask = k.Mask.String()
		}
	}
}

func printAssets(c *qiong.Console, catalog *label.Catalog, assets []asset) error {
	for i := range assets {
		assets[i].fill(catalog)
	}
	format, _ := c.Flags.GetString("format") // declared with the tool
	if c.JSON {
		format = "json"
	}
	head := []string{c.Say("服务", "service"), c.Say("接口", "API"), c.Say("方向", "direction"), c.Say("字段", "field"), c.Say("类型", "type"),
		c.Say("类别", "category"), c.Say("属性", "class"), c.Say("级别", "grade"), c.Say("掩码", "mask")}
	switch format {
	case "json":
		e := json.NewEncoder(c.Out)
		e.SetIndent("", "  ")
		if assets == nil {
			assets = []asset{}
		}
		return e.Encode(assets)
	case "csv":
		w := csv.NewWriter(c.Out)
		rows := [][]string{head}
		for _, a := range assets {
			rows = append(rows, a.row())
		}
		return w.WriteAll(rows)
	case "markdown":
		var b strings.Builder
		b.WriteString(line(head) + line(strings.Split(strings.Repeat("---|", len(head)-1)+"---", "|")))
		for _, a := range assets {
			b.WriteString(line(a.row()))
		}
		_, err := fmt.Fprint(c.Out, b.String())
		return err
	}
	return errs.New(errs.Invalid, "格式应为 markdown、csv 或 json", "the form is markdown, csv or json").WithField("--format")
}

func (a asset) row() []string {
	return []string{a.Service, a.API, a.Direction, a.Field, a.Type, a.Category, a.Class, a.Grade.String(), a.Mask}
}

// line is a row of a Markdown table.
func line(cells []string) string {
	escaped := make([]string, len(cells))
	for i, c := range cells {
		escaped[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(c)
	}
	return "| " + strings.Join(escaped, " | ") + " |\n"
}
