package house

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/lean"
)

// Main is the program of a house with these services and tools. It does not return.
func Main(services []*qiong.Service, tools []*qiong.Tool) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if lean.Collect(200) {
		go lean.Bound(ctx, 1<<30, 2*time.Second)
	}
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	code := Execute(ctx, services, tools, Terminal(), os.Args[1:], os.Environ())
	stop()
	os.Exit(code)
}

// Terminal is the console of this process.
func Terminal() *qiong.Console {
	live := term.IsTerminal(int(os.Stdout.Fd()))
	return &qiong.Console{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Live: live,
		Color: live && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// Execute runs one command line and returns the exit status; see errs.Kind.Exit for what it means.
func Execute(ctx context.Context, services []*qiong.Service, tools []*qiong.Tool, console *qiong.Console, args, env []string) int {
	c := *console
	c.Lang = language(args, env)
	p := &program{services: services, tools: tools, console: &c, env: env}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return p.fail(err)
}

// language reads --lang before the flags are parsed, since help is written in it, then QIONG_LANG and the locale.
func language(args, env []string) lang.Lang {
	get := func(name string) string {
		for _, e := range slices.Backward(env) {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return ""
	}
	for i, a := range args {
		value, ok := strings.CutPrefix(a, "--lang=")
		if a == "--lang" && i+1 < len(args) {
			value, ok = args[i+1], true
		}
		if l, known := lang.Parse(value); ok && known {
			return l
		}
	}
	if l, ok := lang.Parse(get("QIONG_LANG")); ok {
		return l
	}
	return lang.FromEnv(get)
}

// program is one run of the command line.
type program struct {
	services []*qiong.Service
	tools    []*qiong.Tool
	console  *qiong.Console
	env      []string
	file     string // --config
}

func (p *program) root() *cobra.Command {
	say := p.console.Say
	root := &cobra.Command{
		Use:           "qiong",
		Short:         say("琼：自贸港合规公共服务的一个程序", "Qiong: one program for compliant public services"),
		SilenceErrors: true, SilenceUsage: true,
		Version: Version().Version,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return errs.New(errs.Invalid, "没有这个命令", "there is no such command").WithHint("运行 qiong --help 查看全部命令", "run qiong --help for all commands")
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.PersistentFlags().String("lang", "", say("语言：zh 或 en", "language: zh or en"))
	root.PersistentFlags().BoolVar(&p.console.JSON, "json", false, say("输出 JSON，供程序读取", "answer in JSON, for a program"))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return errs.Newf(errs.Invalid, "命令行参数有误：%s", "bad flag: %s", err.Error()).WithHint("加 --help 查看用法", "add --help for the usage")
	})
	root.SetUsageTemplate(usageTemplate(say))
	root.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Root().Help() }})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(&cobra.Group{ID: "run", Title: say("运行", "Run")}, &cobra.Group{ID: "use", Title: say("使用", "Use")},
		&cobra.Group{ID: "service", Title: say("单个服务及其命令", "One service, and its commands")})
	root.AddCommand(p.up(), p.config(), p.version(), p.completion())
	for _, t := range p.tools {
		cmd := p.tool(t)
		cmd.GroupID = "use"
		root.AddCommand(cmd)
	}
	for _, s := range p.services {
		root.AddCommand(p.service(s))
	}
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	for _, c := range append(root.Commands(), root) {
		translateHelp(c, say)
	}
	return root
}

func translateHelp(c *cobra.Command, say func(zh, en string) string) {
	c.InitDefaultHelpFlag()
	c.Flags().Lookup("help").Usage = say("显示帮助", "show help")
	if f := c.Flags().Lookup("version"); f != nil {
		f.Usage = say("显示版本", "show the version")
	}
	for _, sub := range c.Commands() {
		translateHelp(sub, say)
	}
}

func usageTemplate(say func(zh, en string) string) string {
	return say("用法", "Usage") + `:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} ` + say("[命令]", "[command]") + `{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

` + say("命令", "Commands") + `:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}:{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

` + say("参数", "Flags") + `:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

` + say("通用参数", "Common flags") + `:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`
}

// noArgs refuses arguments in the house's own words; a mistyped subcommand is one.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	path := cmd.CommandPath()
	return errs.Newf(errs.Invalid, "%s 没有这个子命令或参数", "%s has no such command or argument", path).
		WithHint("运行 "+path+" --help 查看用法", "run "+path+" --help for the usage")
}

func (p *program) service(s *qiong.Service) *cobra.Command {
	cmd := p.run([]*qiong.Service{s}, s.Name, s.Doc)
	cmd.GroupID = "service"
	for _, t := range s.Commands {
		cmd.AddCommand(p.tool(t))
	}
	return cmd
}

func (p *program) tool(t *qiong.Tool) *cobra.Command {
	cmd := &cobra.Command{
		Use: strings.TrimSpace(t.Name + " " + t.Args), Short: t.Doc.In(p.console.Lang), Long: t.Long.In(p.console.Lang),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < t.MinArgs || t.MaxArgs >= 0 && len(args) > t.MaxArgs {
				return errs.New(errs.Invalid, "参数个数不对", "wrong number of arguments").WithHint("加 --help 查看用法", "add --help for the usage")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c := *p.console
			c.Flags = cmd.Flags()
			c.Up = p.start
			return t.Run(cmd.Context(), &c, args)
		},
	}
	if t.Flags != nil {
		t.Flags(cmd.Flags(), p.console.Say)
	}
	return cmd
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: p.console.Say("显示版本", "Show the version"), GroupID: "use", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := Version()
			if p.console.JSON {
				return printJSON(p.console.Out, v)
			}
			_, err := fmt.Fprintf(p.console.Out, "qiong %s %s %s %s\n", v.Version, v.Revision, v.Go, v.Platform)
			return err
		},
	}
}

func (p *program) completion() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", GroupID: "use", ValidArgs: []string{"bash", "zsh", "fish"},
		Short: p.console.Say("输出命令补全脚本", "Print the shell completion script"),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains([]string{"bash", "zsh", "fish"}, args[0]) {
				return errs.New(errs.Invalid, "应为 bash、zsh 或 fish", "must be bash, zsh or fish")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(p.console.Out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(p.console.Out)
			}
			return cmd.Root().GenFishCompletion(p.console.Out, true)
		},
	}
}

// fail tells the person, or the program, what went wrong and returns the exit status.
func (p *program) fail(err error) int {
	e := errs.As(err)
	if e.Kind == errs.Canceled {
		return e.Kind.Exit()
	}
	if p.console.JSON {
		_ = printJSON(p.console.Err, httpapi.ProblemOf(err, p.console.Lang, "")) // there is nobody else to tell
		return e.Kind.Exit()
	}
	if e.Kind == errs.Internal {
		// What the operator of this machine needs is the cause itself.
		e = errs.Newf(errs.Internal, "%s", "%s", err.Error())
	}
	fmt.Fprintf(p.console.Err, "%s: %s\n", p.console.Say("错误", "error"), e.In(p.console.Lang))
	for _, also := range e.Also {
		fmt.Fprintf(p.console.Err, "  - %s\n", also.In(p.console.Lang))
	}
	var cause *errs.Error
	if e.Err != nil && !errors.As(e.Err, &cause) {
		fmt.Fprintf(p.console.Err, "  %s: %v\n", p.console.Say("原因", "cause"), e.Err)
	}
	if hint := e.Hint.In(p.console.Lang); hint != "" {
		fmt.Fprintf(p.console.Err, "%s: %s\n", p.console.Say("提示", "hint"), hint)
	}
	return e.Kind.Exit()
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// bind gives fs the flags of the sections, and short names for the commonest.
func (p *program) bind(fs *pflag.FlagSet, services []*qiong.Service) error {
	fs.StringVar(&p.file, "config", "", p.console.Say("配置文件（YAML）", "configuration file (YAML)"))
	return bindSections(fs, services, p.console.Say)
}
