package bench

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/tool/bench/result"
	"github.com/qiongdev/qiong/tool/bench/scenario"
)

// options are what a run is told beside its definition.
type options struct {
	mayLoad    bool
	calibrate  bool
	maxLag     time.Duration
	check      string // booking, or empty
	checkToken string
	pid        int
	metrics    string
	agents     []string
	agentToken string
	out        string
	report     string
	against    string
}

func flags(fs *pflag.FlagSet, say func(zh, en string) string) {
	fs.Int("connections", 0, say("连接数（默认 64，或方案所定）", "connections (default 64, or what the scenario says)"))
	fs.Int("workers", 0, say("工作线程数（默认为处理器数，最多 4）", "workers (default: the processors, at most 4)"))
	fs.Int("streams", 0, say("HTTP/2、gRPC 每连接的并发请求数（默认 1）", "requests at a time on a connection of HTTP/2 or gRPC (default 1)"))
	fs.Duration("timeout", 0, say("请求时限（默认 10s）", "time-out of a request (default 10s)"))
	fs.Float64("rate", 0, say("开环：每秒请求数", "open loop: requests a second"))
	fs.Bool("closed", false, say("闭环", "closed loop"))
	fs.Duration("for", 0, say("每个阶段的时长（默认 10s，或方案所定）", "how long each phase lasts (default 10s, or what the scenario says)"))
	fs.String("arrivals", "", say("开环的到达：even（均匀）或 poisson", "arrivals of an open loop: even or poisson"))
	fs.String("protocol", "", say("http1、http2 或 grpc", "http1, http2 or grpc"))
	fs.Bool("insecure", false, say("不验证目标的证书", "do not verify the target's certificate"))
	fs.String("method", "", say("请求方法", "method of the request"))
	fs.StringArrayP("header", "H", nil, say("请求头 名: 值", "header of the request, name: value"))
	fs.String("body", "", say("请求体；@文件 读取文件", "body of the request; @FILE reads a file"))
	fs.StringArray("set", nil, say("变量 名=值（方案或预案的）", "variable name=value (of a scenario or preset)"))
	fs.Bool("scaled", false, say("golden-week：每秒 120000 请求", "golden-week: 120,000 requests a second"))
	fs.StringArray("require", nil, say("阈值，如 'p99<=250ms'、'errors==0'、'rate>=8000'", "threshold, such as 'p99<=250ms', 'errors==0', 'rate>=8000'"))
	fs.Bool("calibrate", false, say("先对空服务校准（有阈值或核对时默认如此）", "first calibrate against a no-op server (default where something is required or checked)"))
	fs.Duration("max-lag", result.TooLate, say("压测端滞后的 p99 超过此值即拒绝下结论", "refuse a verdict where the p99 of the generator's own lag is above this"))
	fs.String("check", "", say("压测后核对：booking（预约账本）", "check afterwards: booking (its ledger)"))
	fs.Int("pid", 0, say("服务端的进程号（本机），以计其处理器时间与内存", "process of the server on this machine, for its processor time and memory"))
	fs.String("metrics", "", say("服务端的 Prometheus 指标地址，用途同上", "address of the server's Prometheus metrics, for the same"))
	fs.StringSlice("agents", nil, say("由这些压测端（主机:端口）共同压测；令牌取自 QIONG_BENCH_TOKEN 或 --token-file", "have these agents (host:port) do it together; their token is in QIONG_BENCH_TOKEN or --token-file"))
	fs.String("token-file", "", say("压测端令牌的文件", "file with the token of agents"))
	fs.String("listen", "127.0.0.1:0", say("agent、noop：监听地址", "agent, noop: where to listen"))
	fs.StringSlice("allow", nil, say("agent：允许压测的目标 主机:端口", "agent: targets that it may load, host:port"))
	fs.String("a", "", say("compare：甲的地址", "compare: address of A"))
	fs.String("b", "", say("compare：乙的地址", "compare: address of B"))
	fs.Int("rounds", 5, say("compare：轮数", "compare: rounds"))
	fs.Int("pid-a", 0, say("compare：甲的进程号", "compare: process of A"))
	fs.Int("pid-b", 0, say("compare：乙的进程号", "compare: process of B"))
	fs.String("out", "", say("结果另存为 JSON 文件", "also write the result to this file, as JSON"))
	fs.String("report", "", say("结果另存为 HTML 报告", "also write a report to this file, as HTML"))
	fs.String("against", "", say("与先前的 JSON 结果比较", "compare with an earlier result (JSON)"))
	fs.Bool("i-may-load-this-host", false, say("目标不是本机，其管理者已同意压测", "the target is another machine, and its operator agrees to the load"))
}

// optionsOf reads the options. required tells whether something is required of the run.
func optionsOf(fs *pflag.FlagSet, required bool) (o options, err error) {
	o.mayLoad, _ = fs.GetBool("i-may-load-this-host") // all flags here are declared above
	o.maxLag, _ = fs.GetDuration("max-lag")
	o.check, _ = fs.GetString("check")
	o.pid, _ = fs.GetInt("pid")
	o.metrics, _ = fs.GetString("metrics")
	o.agents, _ = fs.GetStringSlice("agents")
	o.out, _ = fs.GetString("out")
	o.report, _ = fs.GetString("report")
	o.against, _ = fs.GetString("against")
	if o.calibrate, _ = fs.GetBool("calibrate"); !fs.Changed("calibrate") {
		o.calibrate = required || o.check != ""
	}
	if o.check != "" && o.check != "booking" {
		return o, errs.New(errs.Invalid, "只有 booking", "there is booking alone").WithField("--check")
	}
	o.checkToken = os.Getenv("QIONG_TOKEN")
	if len(o.agents) > 0 {
		o.agentToken, err = agentToken(fs)
	}
	return o, err
}

// agentToken reads the token of agents from its file or the environment; never from an argument, which everyone on the
// machine can read.
func agentToken(fs *pflag.FlagSet) (string, error) {
	name, _ := fs.GetString("token-file")
	if name == "" {
		return strings.TrimSpace(os.Getenv("QIONG_BENCH_TOKEN")), nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField("--token-file")
	}
	return strings.TrimSpace(string(data)), nil
}

// override puts into the definition what the flags say.
func override(d *scenario.Definition, fs *pflag.FlagSet) error {
	for name, into := range map[string]*int{"connections": &d.Connections, "workers": &d.Workers, "streams": &d.Streams} {
		if n, _ := fs.GetInt(name); fs.Changed(name) {
			*into = n
		}
	}
	if t, _ := fs.GetDuration("timeout"); fs.Changed("timeout") {
		if t <= 0 {
			return errs.New(errs.Invalid, "须为正", "must be positive").WithField("--timeout")
		}
		d.Timeout = yamlfile.Duration(t)
	}
	if p, _ := fs.GetString("protocol"); p != "" {
		d.Protocol = p
	}
	if yes, _ := fs.GetBool("insecure"); yes {
		d.Insecure = true
	}
	sets, _ := fs.GetStringArray("set")
	for _, set := range sets {
		name, value, ok := strings.Cut(set, "=")
		if !ok || name == "" {
			return errs.New(errs.Invalid, "应写作 名=值", "is written name=value").WithField("--set")
		}
		if d.Variables == nil {
			d.Variables = map[string]string{}
		}
		d.Variables[name] = value
	}
	required, _ := fs.GetStringArray("require")
	d.Require = append(d.Require, required...)
	return overridePhases(d, fs)
}

// overridePhases puts rate, arrivals and length into the phases.
func overridePhases(d *scenario.Definition, fs *pflag.FlagSet) error {
	length, _ := fs.GetDuration("for")
	rate, _ := fs.GetFloat64("rate")
	arrivals, _ := fs.GetString("arrivals")
	if fs.Changed("for") && length <= 0 {
		return errs.New(errs.Invalid, "须为正", "must be positive").WithField("--for")
	}
	for i := range d.Phases {
		p := &d.Phases[i]
		switch {
		case p.Closed != nil && p.Closed.To == 0 && length > 0:
			p.Closed.For = yamlfile.Duration(length)
		case p.Open != nil && (fs.Changed("rate") || length > 0) && (len(p.Open.Steps) > 0 || p.Open.From != p.Open.To):
			return errs.New(errs.Invalid, "方案的速率分级或渐变，不能以 --rate、--for 更改", "the scenario has steps or a ramp, which --rate and --for can't change").WithField("--rate, --for")
		case p.Open != nil:
			if fs.Changed("rate") {
				p.Open.Rate, p.Open.Share = rate, 0
			}
			if length > 0 {
				p.Open.For = yamlfile.Duration(length)
			}
			if arrivals != "" {
				p.Open.Arrivals = arrivals
			}
		}
	}
	return nil
}
