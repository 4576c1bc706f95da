// Package bench is qiong bench: it puts a load on a service and tells what the service did with it. It promises figures
// that can be trusted or none: response times run from the moment a request was due, every request of the schedule is in
// them, and where the generator itself was the bottleneck no verdict is given.
//
// It loads this machine alone unless it is told otherwise, for a bounded time, and ends cleanly when interrupted, with
// what was measured until then.
package bench

import (
	"context"
	"strings"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Tool is the command. Its first argument says what to do.
var Tool = &qiong.Tool{
	Name: "bench", Args: "URL | run FILE | golden-week URL | compare | agent | noop", MinArgs: 1, MaxArgs: 2,
	Doc: lang.T("压测 HTTP 与 gRPC 服务：闭环探顶，开环定速", "load HTTP and gRPC services: a closed loop for the ceiling, an open one for the rate"),
	Long: lang.T("URL              压测一个地址：给 --rate 则按此速率开环；给 --closed 则闭环；都不给则先探顶，再以其七成五开环\nrun FILE         按方案文件（YAML）压测\ngolden-week URL  黄金周预案：5000 连接、30 工作线程、每秒 8000 请求、60 秒；--scaled 为每秒 120000\ncompare          交替压测 --a 与 --b，给出各轮比值的中位数\nagent            在此机器上听候压测任务\nnoop             什么也不做的服务，供比照\n\n响应时间自应发时刻算起，服务时间自实发时刻算起。\n退出码：0 通过；2 输入有误；3 不许压测该主机，或令牌不对；5 未达阈值或核对不符；6 无法连接，或压测端自身是瓶颈而拒绝下结论；130 被中断。",
		"URL              load one address: with --rate an open loop at that rate, with --closed a closed one; otherwise the ceiling is looked for, and then an open loop at three quarters of it\nrun FILE         run a scenario (YAML)\ngolden-week URL  the preset of Golden Week: 5,000 connections, 30 workers, 8,000 requests a second, 60 s; --scaled for 120,000\ncompare          load --a and --b by turns, and tell the median of the ratios of the rounds\nagent            wait on this machine for orders to load a target\nnoop             a server that does nothing, to compare with\n\nResponse times run from when a request was due, service times from when it was sent.\nExit status: 0 passed; 2 bad input; 3 that host may not be loaded, or a wrong token; 5 a threshold was missed or the check failed; 6 no connection, or the generator itself was the bottleneck and a verdict is refused; 130 interrupted."),
	Flags: flags,
	Run:   run,
}

func run(ctx context.Context, c *qiong.Console, args []string) error {
	switch {
	case len(args) == 1 && strings.Contains(args[0], "://"):
		return runURL(ctx, c, args[0])
	case args[0] == "run" && len(args) == 2:
		return runFile(ctx, c, args[1])
	case args[0] == "golden-week" && len(args) == 2:
		return runGolden(ctx, c, args[1])
	case args[0] == "compare" && len(args) == 1:
		return runCompare(ctx, c)
	case args[0] == "agent" && len(args) == 1:
		return runAgent(ctx, c)
	case args[0] == "noop" && len(args) == 1:
		return runNoop(ctx, c)
	}
	return errs.New(errs.Invalid, "参数不对", "wrong arguments").WithHint("运行 qiong bench --help 查看用法", "run qiong bench --help for the usage")
}
