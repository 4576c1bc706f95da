// Package report writes a result as one page of HTML: figures, charts drawn as SVG, what was required and whether it
// holds. It promises a page that is whole by itself (no script, nothing fetched), in the language asked for, and readable
// on a phone, in print and in the dark.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"

	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/bench/result"
)

//go:embed report.html
var source string

// page is what the template is given.
type page struct {
	*result.Result
	Lang lang.Lang
}

// Write writes the report of a result.
func Write(w io.Writer, r *result.Result, l lang.Lang) error {
	if l != lang.EN {
		l = lang.ZH
	}
	t, err := template.New("report").Funcs(template.FuncMap{
		"say":      func(zh, en string) string { return lang.T(zh, en).In(l) },
		"ms":       millis,
		"n":        grouped[int64],
		"rate":     func(v float64) string { return grouped(int64(v + 0.5)) },
		"percent":  func(v float64) string { return fmt.Sprintf("%.1f%%", 100*v) },
		"micros":   func(v float64) string { return fmt.Sprintf("%.1f µs", v) },
		"mib":      func(v int64) string { return fmt.Sprintf("%.1f MiB", float64(v)/(1<<20)) },
		"figure":   func(v float64) string { return fmt.Sprintf("%.6g", v) },
		"statuses": func(m map[int]int64) []int { return slices.Sorted(maps.Keys(m)) },
		"throughput": func(p *result.Phase) template.HTML {
			return throughput(p, l)
		},
		"latency": func(p *result.Phase) template.HTML { return latency(p, l) },
		"percentiles": func(p *result.Phase) template.HTML {
			return percentiles(p, l)
		},
		"ceiling": func(p *result.Phase) template.HTML { return ceiling(p, l) },
	}).Parse(source)
	if err != nil {
		return err
	}
	return t.Execute(w, page{r, l})
}

// millis writes milliseconds with the digits that matter.
func millis(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f ms", v)
	case v < 1000:
		return fmt.Sprintf("%.0f ms", v)
	}
	return fmt.Sprintf("%.2f s", v/1000)
}

// grouped writes a number with its thousands apart.
func grouped[T int | int64](v T) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:] // a narrow blank that does not break
	}
	return s
}
