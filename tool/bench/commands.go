package bench

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/tool/bench/agent"
	"github.com/qiongdev/qiong/tool/bench/noop"
	"github.com/qiongdev/qiong/tool/bench/scenario"
)

//go:embed golden-week.yaml
var goldenWeek []byte

// runURL loads one address.
func runURL(ctx context.Context, c *qiong.Console, raw string) error {
	d, err := definitionOf(c.Flags, raw)
	if err != nil {
		return err
	}
	d.Phases = phasesOf(c.Flags)
	return (&session{c: c, definition: d}).start(ctx)
}

// runFile runs a scenario that a person wrote.
func runFile(ctx context.Context, c *qiong.Console, name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return errs.Wrap(err, errs.NotFound, "文件无法读取", "the file can't be read").WithField(name)
	}
	d, at, err := scenario.Parse(data)
	if err != nil {
		return yamlfile.In(name, err)
	}
	err = (&session{c: c, definition: d, at: at, files: os.DirFS(filepath.Dir(name))}).start(ctx)
	if e := new(errs.Error); errors.As(err, &e) && e.Line > 0 {
		return yamlfile.In(name, err)
	}
	return err
}

// runGolden runs the preset of Golden Week.
func runGolden(ctx context.Context, c *qiong.Console, base string) error {
	d, at, err := scenario.Parse(goldenWeek)
	if err != nil {
		return err
	}
	d.Target = strings.TrimSuffix(base, "/")
	if scaled, _ := c.Flags.GetBool("scaled"); scaled {
		d.Phases[0].Open.Rate = 120_000
	}
	if token := os.Getenv("QIONG_TOKEN"); token != "" {
		d.Variables["token"] = token
	}
	return (&session{c: c, definition: d, at: at}).start(ctx)
}

// start takes the flags in, and runs.
func (s *session) start(ctx context.Context) (err error) {
	if err := override(s.definition, s.c.Flags); err != nil {
		return err
	}
	if s.o, err = optionsOf(s.c.Flags, len(s.definition.Require) > 0); err != nil {
		return err
	}
	authorize(s.definition)
	if err := s.compile(); err != nil {
		return err
	}
	return s.run(ctx)
}

// authorize sends the variable token with every request that has no authorization of its own, where there is one.
func authorize(d *scenario.Definition) {
	if d.Variables["token"] == "" {
		return
	}
	for i := range d.Requests {
		r := &d.Requests[i]
		if r.Headers == nil {
			r.Headers = map[string]string{}
		}
		r.Headers["Authorization"] = cmp.Or(r.Headers["Authorization"], "Bearer ${token}")
	}
}

// definitionOf returns the definition of a load on one address, by the flags, without its phases.
func definitionOf(fs *pflag.FlagSet, raw string) (*scenario.Definition, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errs.New(errs.Invalid, "地址应为 http://主机:端口/路径", "the address is http://host:port/path").WithField("URL")
	}
	r := scenario.RequestDef{Name: "request", Path: cmp.Or(u.EscapedPath(), "/"), Headers: map[string]string{}}
	if u.RawQuery != "" {
		r.Path += "?" + u.RawQuery
	}
	r.Path = strings.NewReplacer("%7B", "{", "%7D", "}").Replace(r.Path) // so that ${uuid} may stand in it
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
	data := map[string]scenario.FeedDef{"uuid": {Kind: "uuid"}, "sequence": {Kind: "sequence"}, "id-card": {Kind: "id-card"}}
	return &scenario.Definition{Name: "url", Target: u.Scheme + "://" + u.Host, Requests: []scenario.RequestDef{r}, Data: data}, nil
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
		{Name: "ceiling", Closed: &scenario.ClosedDef{Connections: 4, To: 1024, For: yamlfile.Duration(2 * time.Second)}},
		{Name: "open", Open: &scenario.OpenDef{Share: 0.75, For: each}},
	}
}

// runAgent waits for orders until it is interrupted.
func runAgent(ctx context.Context, c *qiong.Console) error {
	token, err := agentToken(c.Flags)
	if err != nil {
		return err
	}
	if token == "" {
		return errs.New(errs.Invalid, "须以 QIONG_BENCH_TOKEN 或 --token-file 给出令牌", "needs a token, in QIONG_BENCH_TOKEN or --token-file")
	}
	allow, _ := c.Flags.GetStringSlice("allow")
	a, err := agent.New(token, allow)
	if err != nil {
		return err
	}
	return listening(c, func(l net.Listener) error { return a.Serve(ctx, l) })
}

// runNoop serves nothing until it is interrupted.
func runNoop(ctx context.Context, c *qiong.Console) error {
	protocol, _ := c.Flags.GetString("protocol")
	return listening(c, func(l net.Listener) error {
		if protocol == "http2" || protocol == "grpc" {
			return noop.ServeHTTP2(ctx, l, false)
		}
		return noop.Serve(ctx, l)
	})
}

// listening listens where --listen says, tells where that is, and serves.
func listening(c *qiong.Console, serve func(net.Listener) error) error {
	addr, _ := c.Flags.GetString("listen")
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return errs.Wrap(err, errs.Unavailable, "无法监听", "can't listen").WithField("--listen")
	}
	if _, err := fmt.Fprintf(c.Out, c.Say("监听 %s\n", "listening on %s\n"), l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	return serve(l)
}
