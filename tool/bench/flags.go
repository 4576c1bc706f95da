package bench

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/tool/bench/scenario"
)

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
	fs.Bool("i-may-load-this-host", false, say("目标不是本机，其管理者已同意压测", "the target is another machine, and its operator agrees to the load"))
}

// override puts into the definition what the flags say.
func (s *session) override(fs *pflag.FlagSet) error {
	d := s.definition
	for name, into := range map[string]*int{"connections": &d.Connections, "workers": &d.Workers, "streams": &d.Streams} {
		if n, _ := fs.GetInt(name); fs.Changed(name) { // all flags here are declared above
			*into = n
		}
	}
	if t, _ := fs.GetDuration("timeout"); fs.Changed("timeout") {
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
	s.mayLoad, _ = fs.GetBool("i-may-load-this-host")
	return s.overridePhases(fs)
}

// overridePhases puts rate, arrivals and length into the phases.
func (s *session) overridePhases(fs *pflag.FlagSet) error {
	length, _ := fs.GetDuration("for")
	rate, _ := fs.GetFloat64("rate")
	arrivals, _ := fs.GetString("arrivals")
	for i := range s.definition.Phases {
		p := &s.definition.Phases[i]
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

// definitionOf returns the definition of a load on one address, by the flags.
func definitionOf(fs *pflag.FlagSet, base, path string) (*scenario.Definition, error) {
	r := scenario.RequestDef{Name: "request", Path: path, Headers: map[string]string{}}
	r.Method, _ = fs.GetString("method")
	headers, _ := fs.GetStringArray("header")
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errs.New(errs.Invalid, "应写作 名: 值", "is written name: value").WithField("--header")
		}
		r.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	r.Body, _ = fs.GetString("body")
	if name, ok := strings.CutPrefix(r.Body, "@"); ok {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField("--body")
		}
		r.Body = string(data)
	}
	d := &scenario.Definition{Name: "url", Target: base, Requests: []scenario.RequestDef{r}, Data: map[string]scenario.FeedDef{"uuid": {Kind: "uuid"}, "sequence": {Kind: "sequence"}, "id-card": {Kind: "id-card"}}}
	d.Phases = phasesOf(fs)
	return d, nil
}

// phasesOf returns what is done with one address: what the flags ask for, or the ceiling and then three quarters of it.
func phasesOf(fs *pflag.FlagSet) []scenario.PhaseDef {
	rate, _ := fs.GetFloat64("rate")
	closed, _ := fs.GetBool("closed")
	const each = yamlfile.Duration(10 * time.Second)
	switch {
	case fs.Changed("rate"):
		return []scenario.PhaseDef{{Name: "open", Open: &scenario.OpenDef{Rate: rate, For: each}}}
	case closed:
		return []scenario.PhaseDef{{Name: "closed", Closed: &scenario.ClosedDef{For: each}}}
	}
	return []scenario.PhaseDef{
		{Name: "ceiling", Closed: &scenario.ClosedDef{Connections: 1, To: 1024, For: yamlfile.Duration(2 * time.Second)}},
		{Name: "open", Open: &scenario.OpenDef{Share: 0.75, For: each}},
	}
}
