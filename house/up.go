package house

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/lean"
	"github.com/qiongdev/qiong/kit/telemetry"
)

// short names of the commonest flags.
var short = map[string]string{"listen": "house.listen", "data": "house.data"}

func bindSections(fs *pflag.FlagSet, services []*qiong.Service, say func(zh, en string) string) error {
	if err := config.BindFlags(fs, Sections(services), say); err != nil {
		return err
	}
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if long, ok := short[name]; ok {
			name = long
		}
		return pflag.NormalizedName(name)
	})
	return nil
}

func (p *program) up() *cobra.Command {
	cmd := p.run(p.services, "up", qiong.Text{ZH: "在一个进程中运行全部服务", EN: "Run all services in one process"})
	cmd.GroupID = "run"
	return cmd
}

// run is the command that runs a house of the given services.
func (p *program) run(services []*qiong.Service, name string, doc qiong.Text) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: doc.In(p.console.Lang), Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(services, cmd.Flags())
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(services, func(s *qiong.Service) bool { return !s.Lean }) {
				lean.Collect(50)
			}
			h, tel, err := p.open(cmd.Context(), services, cfg, p.console.Err)
			if err != nil {
				return err
			}
			defer func() { _ = tel.Shutdown(context.Background()) }() // traces are a courtesy
			if err := h.banner(cmd.Context(), p.console); err != nil {
				_ = h.Close() // the banner's error says more
				return err
			}
			return h.Run(cmd.Context())
		},
	}
	if err := p.bind(cmd.Flags(), services); err != nil {
		panic(err) // a defect in a service's Config
	}
	return cmd
}

func (p *program) load(services []*qiong.Service, fs *pflag.FlagSet) (*config.Config, error) {
	return config.Load(Sections(services), config.Options{File: p.file, Env: p.env, Flags: fs, Reserve: reserved})
}

// reserved are the QIONG_ variables that belong to the command line and to tests.
var reserved = []string{"QIONG_LANG", "QIONG_TOKEN", "QIONG_URL", "QIONG_POSTGRES", childEnv}

func (p *program) open(ctx context.Context, services []*qiong.Service, cfg *config.Config, log io.Writer) (*House, *telemetry.Telemetry, error) {
	c := config.Of[Config](cfg, "house")
	tel, err := telemetry.Setup(telemetry.Options{Service: "qiong", Version: Version().Version, LogFormat: c.LogFormat,
		LogLevel: c.LogLevel, OTLPEndpoint: c.OTLP, Writer: log, Color: p.console.Color && log == p.console.Err})
	if err != nil {
		return nil, nil, err
	}
	h, err := Open(ctx, services, cfg, Options{Telemetry: tel})
	return h, tel, err
}

// start runs a house for a tool.
func (p *program) start(ctx context.Context, o qiong.UpOptions) (*qiong.Running, error) {
	fs := pflag.NewFlagSet("up", pflag.ContinueOnError)
	if err := bindSections(fs, p.services, p.console.Say); err != nil {
		return nil, err
	}
	settings := map[string]string{"house.log-level": "warn"}
	for k, v := range o.Set {
		settings[k] = v
	}
	if o.Data != "" {
		settings["house.data"] = o.Data
	}
	if o.Listen != "" {
		settings["house.listen"] = o.Listen
	}
	for k, v := range settings {
		if err := fs.Set(k, v); err != nil {
			return nil, fmt.Errorf("setting %s: %w", k, err)
		}
	}
	cfg, err := p.load(p.services, fs)
	if err != nil {
		return nil, err
	}
	h, tel, err := p.open(ctx, p.services, cfg, p.console.Err)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		err := h.Run(life)
		_ = tel.Shutdown(context.Background()) // traces are a courtesy
		done <- err
		close(finished)
	}()
	return &qiong.Running{
		URL: h.URL(), Data: h.Config.Data, Done: done,
		Issue: func(ctx context.Context, pr auth.Principal) (string, string, error) {
			token, err := h.Issue(ctx, pr, 24*time.Hour, false, "demo")
			if err != nil {
				return "", "", err
			}
			link, err := h.Link(ctx, pr)
			return token, link, err
		},
		Stop: func() error {
			end()
			<-finished
			select {
			case err := <-done:
				return err
			default:
				return nil
			}
		},
	}, nil
}

// banner tells a person what they need to know of a house that is about to run.
func (h *House) banner(ctx context.Context, c *qiong.Console) error {
	v := Version()
	var b strings.Builder
	line := func(zh, en, value string) { fmt.Fprintf(&b, "%s%s\n", pad(c.Say(zh, en)), value) }
	fmt.Fprintf(&b, "%s %s (%s, %s)\n", c.Say("琼", "Qiong"), v.Version, v.Go, v.Platform)
	line("数据目录", "data", h.Config.Data)
	line("页面", "pages", h.URL()+"/")
	line("接口", "API", h.URL()+"/api/")
	line("指标", "metrics", h.URL()+"/metrics")
	for _, w := range h.warnings() {
		line("注意", "not safe yet", w.In(c.Lang))
	}
	if !h.administered() {
		secret, err := h.Issue(ctx, auth.Principal{ID: "security", Name: c.Say("安全管理员", "security administrator"), Roles: []auth.Role{auth.Security}},
			time.Hour, true, "bootstrap")
		if err != nil {
			return err
		}
		line("一次性令牌", "one-time token", secret+c.Say("（安全管理员，一小时内有效，只显示这一次）", " (security administrator; within an hour; shown this once)"))
		line("下一步", "next", "qiong token redeem "+secret)
	} else {
		line("下一步", "next", "qiong apply --help")
	}
	_, err := io.WriteString(c.Out, b.String())
	return err
}

// administered reports whether somebody can still issue tokens. Without that the house asks for a security administrator
// on the terminal of whoever starts it: at the first start, and after the last such token has expired.
func (h *House) administered() bool {
	all, _ := h.tokens.Store.List(context.Background()) // in memory, it can't fail
	return slices.ContainsFunc(all, func(t auth.Token) bool {
		return !t.OneTime && t.Principal.Is(auth.Security) && (t.Expires.IsZero() || h.clock.Now().Before(t.Expires))
	})
}

// pad brings a label to a column of 16, counting a Han character as two.
func pad(label string) string {
	width := 0
	for _, r := range label {
		width++
		if r > 0x2e80 {
			width++
		}
	}
	return "  " + label + strings.Repeat(" ", max(16-width, 1))
}

// warnings lists what keeps this house from being fit for production.
func (h *House) warnings() []qiong.Text {
	var all []qiong.Text
	if h.keys.MasterIsLocal() {
		all = append(all, qiong.Text{ZH: "主密钥与数据放在一起；请用 house.master-key 指定别处的文件", EN: "the master key lies beside the data; keep it elsewhere with house.master-key"})
	}
	if !strings.HasPrefix(h.URL(), "https://") {
		all = append(all, qiong.Text{ZH: "未经 TLS 访问；请在前面加 TLS 并设置 house.url", EN: "reached without TLS; put TLS in front and set house.url"})
	}
	if len(h.Services) > 0 {
		for _, s := range h.Services {
			if s.Name == "sandbox" {
				all = append(all, qiong.Text{ZH: "部门接口由沙箱代答，签发的证照均为样例", EN: "the sandbox answers for the agencies; what it issues is fake"})
			}
		}
	}
	return all
}

func (p *program) config() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: p.console.Say("查看配置", "Look at the configuration"), GroupID: "use", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use: "print", Short: p.console.Say("输出带说明的配置模板", "Print the template, with its manual"), Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return config.Print(p.console.Out, Sections(p.services), p.console.Lang)
		},
	})
	explain := &cobra.Command{
		Use: "explain", Short: p.console.Say("逐项说明当前取值及其来源", "Show each value and where it came from"), Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(p.services, cmd.Flags())
			if err != nil {
				return err
			}
			if p.console.JSON {
				return cfg.ExplainJSON(p.console.Out, p.console.Lang)
			}
			return cfg.Explain(p.console.Out, p.console.Lang)
		},
	}
	if err := p.bind(explain.Flags(), p.services); err != nil {
		panic(err) // a defect in a service's Config
	}
	cmd.AddCommand(explain)
	return cmd
}
