package leak

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/leak/trend"
)

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Parse(reportHTML))

// view is what the page shows.
type view struct {
	*trend.Report
	Lang lang.Lang
}

// The methods are for the template.

func (v view) Say(zh, en string) string              { return lang.T(zh, en).In(v.Lang) }
func (v view) Word(x trend.Verdict) string           { return verdicts[x].In(v.Lang) }
func (v view) Title(f trend.Finding) string          { return title(f, v.Lang) }
func (v view) Figures(f trend.Finding) string        { return figures(f, v.Lang) }
func (v view) Owner(labels map[string]string) string { return owner(labels, v.Lang) }
func (v view) Kind(s trend.Site) string              { return kinds[s.Kind].In(v.Lang) }
func (v view) Percent(share float64) string          { return fmt.Sprintf("%.0f%%", 100*share) }
func (v view) Each(x float64) string                 { return fmt.Sprintf("%+.2f", x) }

// Line returns the points of a curve in a box of 600 by 60.
func (v view) Line(values []int) string {
	if len(values) < 2 {
		return ""
	}
	low, high := slices.Min(values), slices.Max(values)
	var b strings.Builder
	for i, n := range values {
		y := 55.0
		if high > low {
			y = 55 - 50*float64(n-low)/float64(high-low)
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", 600*float64(i)/float64(len(values)-1), y)
	}
	return b.String()
}

// Range returns the lowest and the highest of values.
func (v view) Range(values []int) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%d … %d", slices.Min(values), slices.Max(values))
}

// writeHTML writes a report as a page that needs no other file.
func writeHTML(path string, r *trend.Report, l lang.Lang) error {
	f, err := os.Create(path)
	if err == nil {
		err = reportPage.Execute(f, view{r, l})
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "报告无法写出", "the report can't be written").WithField("--html")
	}
	return nil
}
