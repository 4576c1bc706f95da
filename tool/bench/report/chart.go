package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"

	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/bench/result"
)

// The size of a chart and the room around its plot, in its own units.
const (
	width, height            = 460, 220
	left, right, top, bottom = 56, 24, 12, 36
)

// line is one curve of a chart.
type line struct {
	name   string
	class  string
	points [][2]float64
}

// axis is one axis: what it says and how it is marked.
type axis struct {
	title string
	log   bool
	low   float64
	high  float64
	label func(float64) string
}

// at returns where a value stands, from 0 to 1.
func (a *axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(max(v, a.low)), math.Log10(low), math.Log10(high)
	}
	if high <= low {
		return 0
	}
	return min(max((v-low)/(high-low), 0), 1)
}

// marks returns round values of the axis, about five.
func (a *axis) marks() (all []float64) {
	if a.log {
		for v := math.Pow(10, math.Floor(math.Log10(a.low))); v <= a.high*1.0001; v *= 10 {
			if v >= a.low*0.9999 {
				all = append(all, v)
			}
		}
		return all
	}
	rough := (a.high - a.low) / 5
	if !(rough > 0) {
		return []float64{a.low}
	}
	step := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, by := range []float64{10, 5, 2} {
		if step*by/2 < rough && rough <= step*by {
			step *= by
			break
		}
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high*1.0001; v += step {
		all = append(all, v)
	}
	return all
}

// chart draws lines over two axes. Its title is read out to those who don't see it.
func chart(title string, x, y axis, lines []line) template.HTML {
	var b strings.Builder
	px := func(v float64) float64 { return left + x.at(v)*(width-left-right) }
	py := func(v float64) float64 { return height - bottom - y.at(v)*(height-top-bottom) }
	fmt.Fprintf(&b, `<figure><figcaption>%s</figcaption><svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, html.EscapeString(title), width, height, html.EscapeString(title))
	for _, v := range y.marks() {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, left, width-right, py(v), py(v), left-6, py(v)+4, html.EscapeString(y.label(v)))
	}
	for _, v := range x.marks() {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, px(v), height-bottom+16, html.EscapeString(x.label(v)))
	}
	fmt.Fprintf(&b, `<text class="title" x="%d" y="%d" text-anchor="end">%s</text>`, width-right, height-4, html.EscapeString(x.title))
	for _, l := range lines {
		fmt.Fprintf(&b, `<polyline class="%s" points="`, l.class)
		for _, p := range l.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", px(p[0]), py(p[1]))
		}
		b.WriteString(`"/>`)
		if len(l.points) == 1 {
			fmt.Fprintf(&b, `<circle class="%s" r="3" cx="%.1f" cy="%.1f"/>`, l.class, px(l.points[0][0]), py(l.points[0][1]))
		}
	}
	b.WriteString("</svg><p class=legend>")
	for _, l := range lines {
		fmt.Fprintf(&b, `<span class="%s">%s</span> `, l.class, html.EscapeString(l.name))
	}
	b.WriteString("</p></figure>")
	return template.HTML(b.String())
}

func seconds(l lang.Lang, p *result.Phase) axis {
	return axis{title: lang.T("秒", "seconds").In(l), high: max(float64(len(p.Series))*p.Interval, 1), label: func(v float64) string { return fmt.Sprintf("%g", v) }}
}

// throughput draws answers and failures a second over the time of a phase.
func throughput(p *result.Phase, l lang.Lang) template.HTML {
	done := line{name: lang.T("应答/秒", "answers a second").In(l), class: "one"}
	bad := line{name: lang.T("错误与未发/秒", "errors and dropped a second").In(l), class: "bad"}
	high := 1.0
	for i, point := range p.Series {
		length := min(p.Interval, p.Seconds-float64(i)*p.Interval)
		if length < 0.1*p.Interval && i > 0 {
			continue // what is left over of the last interval says nothing of a rate
		}
		length = max(length, 0.01)
		at := (float64(i) + 0.5) * p.Interval
		done.points = append(done.points, [2]float64{at, float64(point.Done) / length})
		bad.points = append(bad.points, [2]float64{at, float64(point.Errors) / length})
		high = max(high, float64(point.Done)/length, float64(point.Errors)/length)
	}
	y := axis{high: high * 1.05, label: func(v float64) string { return grouped(int64(v)) }}
	return chart(lang.T("吞吐", "Throughput").In(l), seconds(l, p), y, []line{done, bad})
}

// latency draws percentiles of the response time over the time of a phase.
func latency(p *result.Phase, l lang.Lang) template.HTML {
	lines := []line{{name: "p50", class: "one"}, {name: "p99", class: "two"}, {name: "max", class: "three"}}
	low, high := math.Inf(1), 0.0
	for i, point := range p.Series {
		if point.Max == 0 {
			continue // nothing was answered
		}
		at := (float64(i) + 0.5) * p.Interval
		for n, v := range []float64{point.P50, point.P99, point.Max} {
			v = max(v, 0.01)
			lines[n].points = append(lines[n].points, [2]float64{at, v})
			low, high = min(low, v), max(high, v)
		}
	}
	return chart(lang.T("响应时间随时间", "Response time over time").In(l), seconds(l, p), logAxis(low, high), lines)
}

// decade writes a power of ten in milliseconds.
func decade(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%g s", v/1000)
	}
	return fmt.Sprintf("%.4g ms", v)
}

// logAxis returns an axis of milliseconds in whole powers of ten.
func logAxis(low, high float64) axis {
	if !(low > 0) || math.IsInf(low, 0) || !(high > 0) {
		low, high = 0.1, 10
	}
	a := axis{log: true, low: math.Pow(10, math.Floor(math.Log10(low))), high: math.Pow(10, math.Ceil(math.Log10(high))), label: decade}
	if a.high <= a.low {
		a.high = a.low * 10
	}
	return a
}

// percentiles draws response and service time by percentile, the tail spread out: where the two part, requests waited
// for the server without it knowing.
func percentiles(p *result.Phase, l lang.Lang) template.HTML {
	x := axis{low: 0, high: 4, title: lang.T("百分位", "percentile").In(l), label: func(v float64) string {
		return map[float64]string{0: "0", 1: "90", 2: "99", 3: "99.9", 4: "99.99"}[v]
	}}
	lines := []line{{name: lang.T("响应（自应发）", "response (from due)").In(l), class: "two"}, {name: lang.T("服务（自实发）", "service (from sent)").In(l), class: "one"}}
	low, high := math.Inf(1), 0.0
	for n, t := range []result.Times{p.Response, p.Service} {
		h, err := t.Distribution()
		if err != nil {
			continue // nothing was answered
		}
		for at := 0.0; at <= 4; at += 0.05 {
			v := max(float64(h.ValueAtQuantile(100*(1-math.Pow(10, -at))))/1000, 0.01)
			lines[n].points = append(lines[n].points, [2]float64{at, v})
			low, high = min(low, v), max(high, v)
		}
	}
	return chart(lang.T("响应与服务时间的分布", "Response and service time by percentile").In(l), x, logAxis(low, high), lines)
}

// ceiling draws what each number of connections came to.
func ceiling(p *result.Phase, l lang.Lang) template.HTML {
	rate := line{name: lang.T("应答/秒", "answers a second").In(l), class: "one"}
	high, most := 1.0, 1.0
	for _, s := range p.Steps {
		rate.points = append(rate.points, [2]float64{math.Log2(float64(s.Connections)), s.Rate})
		high, most = max(high, s.Rate), max(most, math.Log2(float64(s.Connections)))
	}
	x := axis{high: math.Ceil(most), title: lang.T("连接数", "connections").In(l), label: func(v float64) string {
		if v != math.Trunc(v) {
			return ""
		}
		return grouped(int64(math.Exp2(v)))
	}}
	y := axis{high: high * 1.05, label: func(v float64) string { return grouped(int64(v)) }}
	return chart(lang.T("探顶", "The search for the ceiling").In(l), x, y, []line{rate})
}
