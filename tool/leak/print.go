package leak

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/stack"
	"github.com/qiongdev/qiong/tool/leak/trend"
)

var kinds = map[stack.Kind]lang.Text{
	stack.Send:    lang.T("阻塞的通道发送", "blocked channel send"),
	stack.Receive: lang.T("阻塞的通道接收", "blocked channel receive"),
	stack.Select:  lang.T("阻塞的 select", "blocked select"),
	stack.Timer:   lang.T("未停止的定时器", "unstopped timer or ticker"),
	stack.Mutex:   lang.T("等待锁", "mutex"),
	stack.Group:   lang.T("等待 WaitGroup 或信号量", "WaitGroup or semaphore"),
	stack.Cond:    lang.T("等待条件变量", "condition variable"),
	stack.IO:      lang.T("网络或文件", "network or files"),
	stack.Running: lang.T("运行", "running"),
	stack.Unknown: lang.T("等待，原因不详", "waiting, unknown for what"),
}

var verdicts = map[trend.Verdict]lang.Text{
	trend.Clean:      lang.T("正常", "clean"),
	trend.Suspicious: lang.T("可疑", "suspicious"),
	trend.Leak:       lang.T("泄漏", "leak"),
}

var reasons = map[trend.Reason]lang.Text{
	trend.Profile:     lang.T("运行时判定永远阻塞", "the runtime found them blocked for ever"),
	trend.Rate:        lang.T("每个请求净增的协程过多", "too many goroutines more by request"),
	trend.Outlive:     lang.T("请求结束后仍在，持续增多", "they outlive their requests, and grow in number"),
	trend.Stuck:       lang.T("等待者持续增多", "ever more of them wait"),
	trend.Growing:     lang.T("持续增多（未统计请求）", "ever more of them; no requests are counted"),
	trend.Timers:      lang.T("在用的定时器持续增多", "ever more timers in use"),
	trend.Parked:      lang.T("停在 select 的协程超过四成且持续增多", "over 40 % of all goroutines are parked in a select, and ever more"),
	trend.Heap:        lang.T("堆内存持续增长", "the heap only grows"),
	trend.Descriptors: lang.T("打开的文件与连接持续增多", "open files and connections only grow"),
}

// owner writes labels for a person.
func owner(labels map[string]string, l lang.Lang) string {
	if key := leak.Key(labels); key != "" {
		return key
	}
	return lang.T("（未标记）", "(no label)").In(l)
}

// title is the first line of a finding.
func title(f trend.Finding, l lang.Lang) string {
	if f.Place == "" {
		return reasons[f.Reason].In(l)
	}
	return kinds[f.Kind].In(l) + "  " + owner(f.Labels, l) + "  " + f.Place
}

// figures is its second.
func figures(f trend.Finding, l lang.Lang) string {
	text := ""
	switch f.Reason {
	case trend.Heap:
		text = fmt.Sprintf("%.1f MiB, %+.1f", float64(f.Count)/(1<<20), float64(f.Growth)/(1<<20))
	default:
		text = fmt.Sprintf(lang.T("%d 个，净增 %+d", "%d, %+d in the watch").In(l), f.Count, f.Growth)
	}
	if f.Requests > 0 {
		text += fmt.Sprintf(lang.T("；%d 个请求，每个 %+.2f", "; %d requests, %+.2f each").In(l), f.Requests, f.PerRequest)
	}
	if f.Place != "" {
		text += lang.T("；", "; ").In(l) + reasons[f.Reason].In(l)
	}
	return text
}

func printText(c *qiong.Console, r *trend.Report) error {
	var b strings.Builder
	if n := min(len(r.Goroutines), len(r.Heap), len(r.Descriptors)) - 1; n >= 0 && r.URL != "" {
		fmt.Fprintf(&b, c.Say("%s\n查看 %d 次，历时 %.0f 秒；协程 %d → %d，堆 %.1f → %.1f MiB，文件与连接 %d → %d，停在 select 的占 %.0f%%\n",
			"%s\n%d looks in %.0f s; goroutines %d → %d, heap %.1f → %.1f MiB, files and connections %d → %d, %.0f%% parked in a select\n"),
			r.URL, r.Looks, r.To.Sub(r.From).Seconds(), r.Goroutines[0], r.Goroutines[n], float64(r.Heap[0])/(1<<20), float64(r.Heap[n])/(1<<20),
			r.Descriptors[0], r.Descriptors[n], 100*r.Select)
		if r.Restarts > 0 {
			fmt.Fprintf(&b, c.Say("服务重启了 %d 次；只看最后一次启动之后\n", "the service began anew %d times; what follows is of the last\n"), r.Restarts)
		}
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%s: %s\n  %s\n", verdicts[f.Verdict].In(c.Lang), title(f, c.Lang), figures(f, c.Lang))
		writeFrames(&b, f.Stack, 8)
	}
	if err := tables(&b, c, r); err != nil {
		return err
	}
	for _, name := range r.Kept {
		fmt.Fprintf(&b, c.Say("调用栈已保存到 %s\n", "stacks are kept in %s\n"), name)
	}
	fmt.Fprintf(&b, c.Say("\n结论：%s\n", "\nverdict: %s\n"), verdicts[r.Verdict].In(c.Lang))
	_, err := io.WriteString(c.Out, plain(b.String()))
	return err
}

// plain takes out what would steer a terminal: names come from the service that is watched.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// writeFrames writes the innermost calls.
func writeFrames(w io.Writer, frames []stack.Frame, most int) {
	for i, f := range frames {
		if i == most {
			fmt.Fprintf(w, "    … %d\n", len(frames)-most)
			return
		}
		fmt.Fprintf(w, "    %s %s:%d\n", f.Func, f.File, f.Line)
	}
}

// tables lists the labels of a watch, or the sites of a file.
func tables(b *strings.Builder, c *qiong.Console, r *trend.Report) error {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	if r.URL == "" {
		if len(r.Sites) > 0 {
			fmt.Fprintln(w, c.Say("\n数量\t等待\t归属\t位置", "\ncount\twaits for\twhose\tplace"))
		}
		for _, s := range r.Sites {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s %s\n", s.Count, kinds[s.Kind].In(c.Lang), owner(s.Labels, c.Lang), s.Place, s.Func)
		}
		return w.Flush()
	}
	fmt.Fprintln(w, c.Say("\n归属\t协程\t净增\t请求\t每请求\tselect", "\nwhose\tgoroutines\tmore\trequests\teach\tselect"))
	for _, t := range r.Tasks {
		if t.Before == 0 && t.After == 0 && t.Requests == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%+d\t%d\t%+.2f\t%.0f%%\n", owner(t.Labels, c.Lang), t.After, t.After-t.Before, t.Requests, t.PerRequest, 100*t.Select)
	}
	return w.Flush()
}

// writeStacks writes all sites of a label in full.
func writeStacks(w io.Writer, t trend.Task, sites []trend.Site) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d goroutines, %+d by %d requests, %+.2f each\n", leak.Key(t.Labels), t.After, t.After-t.Before, t.Requests, t.PerRequest)
	for _, s := range sites {
		fmt.Fprintf(&b, "\n%d (%+d) %s at %s\n", s.Count, s.Growth, kinds[s.Kind].EN, s.Place)
		writeFrames(&b, s.Stack, len(s.Stack))
	}
	_, err := io.WriteString(w, plain(b.String()))
	return err
}
