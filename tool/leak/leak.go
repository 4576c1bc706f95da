// Package leak finds goroutines that never end, in any Go service that mounts the handler of package kit/leak: it watches
// for a while, and names the route, the place, what they wait for and how many there are. It prints names of functions and
// routes alone: never an argument, a query or a token.
package leak

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/stack"
	"github.com/qiongdev/qiong/tool/leak/trend"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "leak", Args: "watch [URL] | show FILE", MinArgs: 1, MaxArgs: 2,
	Doc: lang.T("定位协程泄漏：哪个路由、哪一行、在等什么、多少个", "find leaking goroutines: which route, which line, what they wait for, how many"),
	Long: lang.T("watch [URL]  观察一段时间（--for，Ctrl-C 提前结束），给出结论；发现泄漏则以 5 退出\nshow FILE    查看快照、报告、协程剖析文件（goroutine、goroutineleak）或协程转储；- 为标准输入\n\nURL 是任何装有 leak.Handler 的 Go 服务；不带路径的网址视为琼，默认 --url。琼需要系统管理员的令牌（QIONG_TOKEN）；\n环境变量中的令牌只发给 --url 所指的服务，--token 则发给所给的 URL。\n每个请求净增的协程超过 5 个时，全部调用栈自动保存到 --stacks 目录。",
		"watch [URL]  watch for a while (--for, or until Ctrl-C) and give a verdict; ends with 5 where something leaks\nshow FILE    show a snapshot, a report, a profile (goroutine, goroutineleak) or a dump of goroutines; - for standard input\n\nURL is any Go service that mounts leak.Handler; one without a path is a house, by default that of --url, which wants the\ntoken of a system administrator (QIONG_TOKEN). The token of the environment goes to the service of --url alone, --token to\nthe URL that is given. Where requests leave more than 5 goroutines each, all stacks are kept in the folder --stacks."),
	Flags: func(fs *pflag.FlagSet, say func(zh, en string) string) {
		client.Flags(fs, say)
		fs.Duration("for", time.Minute, say("观察多久；0 为直到 Ctrl-C", "how long to watch; 0: until Ctrl-C"))
		fs.Duration("every", 0, say("每隔多久看一次；默认为 --for 的十二分之一", "how often to look; default a twelfth of --for"))
		fs.String("html", "", say("另将报告写成一个 HTML 文件", "also write the report as one HTML file"))
		fs.String("stacks", ".", say("自动保存调用栈的目录", "folder in which stacks are kept"))
		fs.Bool("strict", false, say("可疑也以 5 退出", "end with 5 where something is suspicious, too"))
	},
	Run: run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	switch verb, rest := args[0], args[1:]; {
	case verb == "watch":
		return watch(ctx, c, strings.Join(rest, ""))
	case verb == "show" && len(rest) == 1:
		return show(c, rest[0])
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong leak --help 查看用法", "run qiong leak --help for the usage")
}

// maxFile bounds what is read of a file.
const maxFile = 64 << 20

// show reads a file of any of the forms and reports on it.
func show(c *qiong.Console, path string) error {
	in := c.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(path)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(path)
	}
	r, err := parse(data)
	if err != nil {
		return err
	}
	return conclude(c, r)
}

// parse reads a report, a snapshot, a profile or a dump.
func parse(data []byte) (*trend.Report, error) {
	var head struct {
		Format string `json:"format"`
	}
	if json.Unmarshal(data, &head) == nil {
		switch head.Format {
		case trend.Format:
			r := new(trend.Report)
			return r, decode(data, r)
		case leak.Format:
			s := new(leak.Snapshot)
			if err := decode(data, s); err != nil {
				return nil, err
			}
			return one(s), nil
		}
	}
	groups, err := stack.Read(data)
	if err != nil {
		return nil, err
	}
	s := &leak.Snapshot{Format: leak.Format, Profile: "goroutine", Groups: groups}
	for _, g := range groups {
		s.Goroutines += g.Count
	}
	return one(s), nil
}

func decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return errs.Wrap(err, errs.Invalid, "文件内容不对", "the file is not what it says to be").WithCode("leak.file")
	}
	return nil
}

// one reports on a single snapshot. What it says to be leaked is looked at as a leak profile is.
func one(s *leak.Snapshot) *trend.Report {
	var series trend.Series
	leaked := *s
	leaked.Profile, leaked.Groups = "leak", nil
	for _, g := range s.Groups {
		if g.Leaked > 0 {
			g.Count = g.Leaked
			leaked.Groups = append(leaked.Groups, g)
		}
	}
	if s.Profile != "leak" {
		series.Add(s)
	}
	if s.Profile == "leak" || len(leaked.Groups) > 0 {
		series.Add(&leaked)
	}
	return series.Judge()
}

// conclude prints a report and turns its verdict into the command's end.
func conclude(c *qiong.Console, r *trend.Report) error {
	if path, _ := c.Flags.GetString("html"); path != "" { // declared above, as is strict
		if err := writeHTML(path, r, c.Lang); err != nil {
			return err
		}
	}
	err := error(nil)
	if c.JSON {
		err = json.NewEncoder(c.Out).Encode(r)
	} else {
		err = printText(c, r)
	}
	if err != nil {
		return err
	}
	leaks, suspects := 0, 0
	for _, f := range r.Findings {
		switch f.Verdict {
		case trend.Leak:
			leaks++
		case trend.Suspicious:
			suspects++
		}
	}
	strict, _ := c.Flags.GetBool("strict")
	switch {
	case leaks > 0:
		return errs.Newf(errs.Conflict, "发现 %d 处泄漏", "%d leaks", leaks).WithCode("leak.found")
	case suspects > 0 && strict:
		return errs.Newf(errs.Conflict, "发现 %d 处可疑", "%d suspicious findings", suspects).WithCode("leak.suspicious")
	}
	return nil
}

// where is the service to watch.
type where struct {
	client *client.Client
	path   string // with its query, which is never shown
	shown  string // without
}

// house is where a house serves what we ask for.
const house = "/api/house/goroutines"

// whereTo reads the address. The token of the environment is meant for the service of --url, and goes nowhere else.
func whereTo(c *qiong.Console, address string) (*where, error) {
	own := client.FromFlags(c.Flags, c.Lang)
	if address == "" {
		address = own.URL
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errs.New(errs.Invalid, "应为 http 或 https 地址", "must be an http or https URL").WithField("URL")
	}
	if u.User != nil {
		return nil, errs.New(errs.Invalid, "地址中不应含有口令", "an address must not hold a password").WithField("URL").
			WithHint("用 --token 或 QIONG_TOKEN", "use --token or QIONG_TOKEN")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = house
	}
	origin := u.Scheme + "://" + u.Host
	if home, err := url.Parse(own.URL); err != nil || home.Scheme+"://"+home.Host != origin {
		own.Token, _ = c.Flags.GetString("token")
	}
	own.URL = origin
	return &where{client: own, path: u.RequestURI(), shown: origin + u.Path}, nil
}

// take asks for a snapshot: of all goroutines, or the leak profile.
func (w *where) take(ctx context.Context, leaks bool) (*leak.Snapshot, error) {
	path := w.path
	if leaks {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "profile=leak"
	}
	s := new(leak.Snapshot)
	if err := w.client.Do(ctx, client.Request{Method: "GET", Path: path, Timeout: 30 * time.Second}, s); err != nil {
		var e *errs.Error
		if !errors.As(err, &e) && ctx.Err() == nil {
			err = strange()
		}
		return nil, err
	}
	if s.Format != leak.Format {
		return nil, strange()
	}
	return s, nil
}

func strange() error {
	return errs.New(errs.Invalid, "该地址不是 leak.Handler", "this address is no leak.Handler").WithCode("leak.address").
		WithHint("在服务中加一行 mux.Handle(\"GET /debug/leak\", leak.Handler())", "add one line to the service: mux.Handle(\"GET /debug/leak\", leak.Handler())")
}
